//! The functions of the language itself: its standard library without what can do harm, and our versions of what
//! could.
//!
//! A native function is one operation to the interpreter, however long it runs and whatever it builds. So ours
//! keep three rules: what can exceed its inputs is measured before it is built; what is linear in large data looks
//! at the budget while it works; and what fails says so instead of answering something else.

use rhai::packages::{
    ArithmeticPackage, BasicArrayPackage, BasicBlobPackage, BasicFnPackage, BasicIteratorPackage,
    BasicMapPackage, BasicMathPackage, BasicStringPackage, BasicTimePackage, BitFieldPackage, LogicPackage,
    MoreStringPackage, Package,
};
use rhai::{EvalAltResult, Module, Position, Shared};

use super::budget::Stop;
use super::limits::Limits;
use super::{fiber, run};
use crate::Error;

mod bytes;
mod compare;
mod containers;
mod language;
mod order;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod probe;
mod sizes;
mod slices;
mod strings;
#[cfg(test)]
mod tests;
mod text;

type Fallible<T> = Result<T, Box<EvalAltResult>>;

/// `Ok` with its error type said, for the closures that are registered.
#[allow(clippy::unnecessary_wraps, reason = "that is what it is for")]
fn answer<T>(value: T) -> Fallible<T> {
    Ok(value)
}

rhai::def_package! {
    /// The standard library, without the core of the language: that is where `sleep` and reflection are. What
    /// scripts need of it is in `language`.
    Standard(module):
        ArithmeticPackage,
        BasicStringPackage,
        BasicIteratorPackage,
        BasicFnPackage,
        BitFieldPackage,
        LogicPackage,
        BasicMathPackage,
        BasicArrayPackage,
        BasicBlobPackage,
        BasicMapPackage,
        BasicTimePackage,
        MoreStringPackage
    {
        module.set_id("picloud::standard");
    }
}

/// The packages of the interpreter that scripts get, as one module.
pub(crate) fn packages() -> Vec<Shared<Module>> {
    vec![Standard::new().as_shared_module()]
}

/// Our own versions. Registered after [`packages`], so that they are found first.
pub(crate) fn module() -> Shared<Module> {
    let mut module = Module::new();
    module.set_id("picloud::natives");
    language::register(&mut module);
    strings::register(&mut module);
    slices::register(&mut module);
    text::register(&mut module);
    bytes::register(&mut module);
    containers::register(&mut module);
    compare::register(&mut module);
    order::register(&mut module);
    module.build_index();
    module.into()
}

/// A value past a limit. Scripts cannot catch it.
pub(crate) fn too_large(limit: &str, size: impl std::fmt::Display, max: u64) -> Box<EvalAltResult> {
    EvalAltResult::ErrorDataTooLarge(format!("{limit}: {size} over {max}"), Position::NONE).into()
}

/// A call that cannot work whatever the state, as a map that scripts can catch.
fn invalid(code: &'static str, message: impl Into<String>) -> Box<EvalAltResult> {
    run::thrown(&Error::invalid(code, message))
}

/// The limits on the size of values of the execution that runs, or the defaults outside of one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes {
    pub(crate) string: u64,
    pub(crate) array: u64,
    map: u64,
    pub(crate) blob: u64,
    /// Bytes that may still be used, and the limit on them.
    memory_left: u64,
    memory: u64,
}

impl Sizes {
    pub(crate) fn current() -> Self {
        let of = |limits: &Limits, memory_left: u64| Sizes {
            string: limits.max_string_size,
            array: limits.max_array_size,
            map: limits.max_map_size,
            blob: limits.max_blob_size,
            memory_left,
            memory: limits.max_memory,
        };
        fiber::current(|run| of(&run.compiled.limits, run.budget.memory_left())).unwrap_or_else(|| {
            let limits = Limits::default();
            of(&limits, limits.max_memory)
        })
    }

    /// Checks a string that is about to be built from one of `before` bytes. What came in from outside may be
    /// longer than the limit already and may be worked on; it may not grow further.
    fn string(self, before: usize, after: usize) -> Fallible<()> {
        self.grow("max_string_size", self.string, before, after, 1)
    }

    /// Checks an array that is about to be built from one of `before` elements.
    fn array(self, before: usize, after: usize) -> Fallible<()> {
        self.grow("max_array_size", self.array, before, after, size_of::<rhai::Dynamic>())
    }

    /// Checks a blob that is about to be built from one of `before` bytes.
    fn blob(self, before: usize, after: usize) -> Fallible<()> {
        self.grow("max_blob_size", self.blob, before, after, 1)
    }

    fn grow(self, limit: &str, max: u64, before: usize, after: usize, each: usize) -> Fallible<()> {
        if after <= before {
            return Ok(());
        }
        if after as u64 > max {
            return Err(too_large(limit, after, max));
        }
        self.room((after as u128) * (each as u128))
    }

    /// Checks that there is memory for `bytes` more.
    fn room(self, bytes: u128) -> Fallible<()> {
        if bytes > u128::from(self.memory_left) {
            let used = self.memory.saturating_sub(self.memory_left);
            return Err(too_large("max_memory", bytes + u128::from(used), self.memory));
        }
        Ok(())
    }
}

/// Bytes that are worked on in about the time of one operation.
pub(crate) const BYTES_PER_OPERATION: usize = 16 << 10;

/// Counts one operation, and ends the script or lets others run if it is time.
fn tick() -> Fallible<()> {
    match run::on_progress(0) {
        None => Ok(()),
        Some(token) => Err(EvalAltResult::ErrorTerminated(token, Position::NONE).into()),
    }
}

/// Counts the work on `bytes` bytes. Nothing for less than an operation's worth: the call itself was counted.
fn charge(bytes: usize) -> Fallible<()> {
    for _ in 0..bytes / BYTES_PER_OPERATION {
        tick()?;
    }
    Ok(())
}

/// As [`charge`], for functions of script modules: the error they answer is of no account, since the execution ends.
pub(crate) fn spend(bytes: usize) -> crate::Result<()> {
    charge(bytes).map_err(|_| ending())
}

/// Counts one operation, as [`spend`].
pub(crate) fn turn() -> crate::Result<()> {
    tick().map_err(|_| ending())
}

fn ending() -> Error {
    Error::new(crate::ErrorKind::Cancelled, "cancelled", "the execution is ending")
}

/// A copy of `bytes`, made piece by piece.
pub(crate) fn copied(bytes: &[u8]) -> crate::Result<Vec<u8>> {
    let mut copy = Vec::with_capacity(bytes.len());
    in_pieces(bytes, BYTES_PER_OPERATION, |piece| copy.extend_from_slice(piece))?;
    Ok(copy)
}

/// Works on `bytes` piece by piece, each of them one operation, and lets others run in between.
pub(crate) fn in_pieces<'b>(
    bytes: &'b [u8],
    each: usize,
    mut work: impl FnMut(&'b [u8]),
) -> crate::Result<()> {
    let mut pieces = bytes.chunks(each);
    // The first is part of the call, which was counted.
    pieces.next().map(&mut work);
    for piece in pieces {
        turn()?;
        work(piece);
    }
    Ok(())
}

/// For natives whose errors the interpreter swallows, to carry on with something unbounded of its own: ends the
/// execution whatever is made of the answer.
fn stop_too_large() {
    fiber::current(|run| run.budget.stop(Stop::StringSize));
}
