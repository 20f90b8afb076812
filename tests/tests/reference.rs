//! The contract with scripts, as it is published: the reference and the definitions for editors in `docs/` are what the
//! registered modules say. `UPDATE_REFERENCE=1 cargo test --test reference` writes them anew: a change to be looked at.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};

use picloud_core::alloc::CountingAllocator;
use picloud_core::{CallCx, Picloud, ScriptModule};
use picloud_memory::MemoryBackend;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator::system();

fn docs(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(file)
}

fn check(file: &str, now: &str) {
    let path = docs(file);
    if std::env::var_os("UPDATE_REFERENCE").is_some() {
        std::fs::create_dir_all(docs("")).unwrap();
        std::fs::write(&path, now).unwrap();
        return;
    }
    let stored = std::fs::read_to_string(&path).unwrap_or_default();
    if let Some((line, (stored, now))) =
        stored.lines().zip(now.lines()).enumerate().find(|(_, (stored, now))| stored != now)
    {
        panic!("{file}:{} is\n{stored}\nand the modules say\n{now}", line + 1);
    }
    assert_eq!(
        stored.lines().count(),
        now.lines().count(),
        "{file} has more or fewer lines than the modules say"
    );
}

#[tokio::test]
async fn the_published_reference_is_what_scripts_can_call() {
    let cloud = Picloud::builder(MemoryBackend::new()).start().await.unwrap();
    check("reference.md", &cloud.reference().to_markdown());
    check("picloud.d.rhai", &cloud.reference().to_definitions());
    assert_eq!(cloud.reference().undescribed(), Vec::<String>::new());
}

/// Each error code that the reference names is raised somewhere.
#[tokio::test]
async fn the_codes_of_the_reference_exist() {
    let cloud = Picloud::builder(MemoryBackend::new()).start().await.unwrap();
    let page = cloud.reference().to_markdown();
    let mut sources = String::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("../picloud-core/src")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                // Descriptions name codes, too.
                let text = std::fs::read_to_string(path).unwrap();
                sources.extend(text.lines().filter(|line| !line.trim_start().starts_with(".about(")));
            }
        }
    }
    let mut found = 0;
    for throws in page.lines().filter_map(|line| line.split_once("Throws ")).map(|(_, throws)| throws) {
        for code in throws.split('`').skip(1).step_by(2).filter(|word| word.contains('.')) {
            found += 1;
            // Those of ids are put together.
            let is_known = sources.contains(&format!("\"{code}\"")) || code.ends_with(".invalid_id");
            assert!(is_known, "nothing raises {code}");
        }
    }
    assert!(found > 20, "the reference names codes");
}

#[tokio::test]
async fn modules_of_the_host_are_in_its_reference() {
    let billing = ScriptModule::new("billing")
        .doc("Money.")
        .function(
            "charge(card: string, amount?: int) -> bool",
            |_cx: CallCx, _card: String, _amount: Option<i64>| true,
        )
        .about("charge", "Takes money; answers whether it did.");
    let cloud = Picloud::builder(MemoryBackend::new()).script_module(billing).start().await.unwrap();
    let page = cloud.reference().to_markdown();
    assert!(page.contains(
        "## `billing::`\n\nMoney.\n\n| function | |\n|---|---|\n| `billing::charge(card: string, amount?: int) -> bool` | Takes money"
    ));
    let definitions = cloud.reference().to_definitions();
    assert!(definitions.contains("/// Money.\nmodule billing {\n"));
    assert!(definitions.contains("    fn charge(card: String) -> bool;"));
    assert!(definitions.contains("    fn charge(card: String, amount: i64) -> bool;"));

    let wrong = ScriptModule::new("billing").about("charge", "There is no such function.");
    let error = Picloud::builder(MemoryBackend::new()).script_module(wrong).start().await.unwrap_err();
    assert_eq!(error.code(), "script_module.unknown_function");
}
