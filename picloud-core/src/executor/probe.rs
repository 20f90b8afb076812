//! How many stacks this system has room for.

use crate::engine::fiber::STACK_BYTES;

/// Mappings left to everything else in the process.
const SPARE_MAPPINGS: usize = 8_192;

/// How many fibers may exist at once: each takes two mappings and 256 MiB of address space, none of it memory
/// until it is used.
#[cfg(target_os = "linux")]
pub(super) fn max_stacks() -> usize {
    let read = |path: &str| std::fs::read_to_string(path).ok();
    let number = |path: &str| read(path).and_then(|text| text.trim().parse::<usize>().ok());
    let mappings = number("/proc/sys/vm/max_map_count").unwrap_or(65_530);
    let by_mappings = mappings.saturating_sub(SPARE_MAPPINGS) / 2;
    let by_space = read("/proc/self/limits")
        .and_then(|limits| address_space(&limits))
        .map_or(usize::MAX, |bytes| bytes.saturating_sub(1 << 30) / STACK_BYTES);
    // Policy 2 counts every reservation against memory and swap.
    let by_policy = match number("/proc/sys/vm/overcommit_memory") {
        Some(2) => read("/proc/meminfo")
            .and_then(|info| commit_left(&info))
            .map_or(0, |bytes| bytes / 2 / STACK_BYTES),
        _ => usize::MAX,
    };
    // 47 bits of address space, half of it left alone.
    let by_width = (1_usize << 46) / STACK_BYTES;
    by_mappings.min(by_space).min(by_policy).min(by_width).max(1)
}

#[cfg(not(target_os = "linux"))]
pub(super) fn max_stacks() -> usize {
    let _ = SPARE_MAPPINGS;
    (1_usize << 46) / STACK_BYTES
}

/// The soft limit on address space, from `/proc/self/limits`; `None` when there is none.
#[cfg(target_os = "linux")]
fn address_space(limits: &str) -> Option<usize> {
    let line = limits.lines().find(|line| line.starts_with("Max address space"))?;
    line.split_whitespace().nth(3)?.parse().ok()
}

/// Bytes that may still be committed, from `/proc/meminfo`.
#[cfg(target_os = "linux")]
fn commit_left(info: &str) -> Option<usize> {
    let kilobytes = |name: &str| {
        info.lines().find_map(|line| {
            line.strip_prefix(name)?.trim().strip_suffix(" kB")?.trim().parse::<usize>().ok()
        })
    };
    Some(kilobytes("CommitLimit:")?.saturating_sub(kilobytes("Committed_AS:")?) << 10)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn the_limit_on_address_space_is_read_and_unlimited_is_none() {
        let text = "Limit Soft Hard Units\nMax address space         1073741824   unlimited  bytes\n";
        assert_eq!(address_space(text), Some(1 << 30));
        assert_eq!(address_space("Max address space  unlimited unlimited bytes\n"), None);
    }

    #[test]
    fn what_may_still_be_committed_is_the_limit_less_what_is() {
        assert_eq!(commit_left("CommitLimit:    2048 kB\nCommitted_AS:   1024 kB\n"), Some(1 << 20));
    }

    #[test]
    fn an_ordinary_system_has_room_for_at_least_one() {
        assert!(max_stacks() >= 1);
    }
}
