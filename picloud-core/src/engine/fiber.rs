//! Fibers: scripts on stacks of their own, so that a host call inside a script can wait without a thread.
//!
//! The only module with `unsafe` besides the allocator. What makes it sound:
//!
//! - **A fiber never leaves its thread.** [`Fiber`] holds an `Rc` and is therefore neither `Send` nor `Sync`;
//!   the compiler keeps it where it was made. Whatever the interpreter has on the fiber's stack (lock guards,
//!   references to thread-locals) stays on its thread, too.
//! - **Futures are polled and dropped on the parent's stack.** A host call leaves its future in [`Local`] and
//!   suspends; the owner of the fiber polls it after [`Fiber::resume`] has returned. No poll, waker or runtime
//!   code ever runs on a fiber's stack.
//! - **`CURRENT` is right whenever it is set.** `resume` sets it to the `Local` of the fiber that is about to run
//!   and restores what was there before, also on unwinding; the `Local` is kept alive by an `Rc` in `Fiber` and by
//!   another on the fiber's stack. The yielder in it is set by the fiber itself as its first act and is valid
//!   until the body returns, and only code running on that stack can reach it through `CURRENT`.
//! - **No suspension while panicking**: the count of panics is the thread's, not the fiber's. [`suspend`] refuses.
//! - **A panic stays on its fiber.** The body runs under `catch_unwind`; the stack of a fiber that panicked is
//!   not used again.
//! - **An unfinished fiber is unwound by force when it is dropped**, after its owner asked it to stop. Natives
//!   see that as a panic, run their destructors, and the root catches it.
#![allow(unsafe_code, reason = "see the module documentation")]

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::rc::Rc;

use corosensei::{Coroutine, CoroutineResult, Yielder};

pub(crate) use stack::{STACK_BYTES, Stack};

/// Why a fiber handed control back before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Suspend {
    /// It left a future to wait for.
    Call,
    /// Its time slice is over.
    Preempted,
}

/// What [`Fiber::resume`] came back with.
#[derive(Debug)]
pub(crate) enum Resumed<R> {
    Suspended(Suspend),
    Done(R),
    Panicked(Box<dyn Any + Send>),
}

/// What a fiber's code reaches through [`current`]. `T` is the engine's data of one execution.
pub(crate) struct Local<T> {
    yielder: Cell<*const Yielder<(), Suspend>>,
    pub(crate) data: T,
}

thread_local! {
    static CURRENT: Cell<*const Local<super::run::Run>> = const { Cell::new(ptr::null()) };
}

type Body = super::run::Run;

/// A script on its way. Lives and dies on the thread that made it.
pub(crate) struct Fiber<R: 'static> {
    // Before `local`: dropping it may run code on the fiber that needs `local`.
    coroutine: Option<Coroutine<(), Suspend, std::thread::Result<R>, Stack>>,
    local: Rc<Local<Body>>,
}

/// Restores `CURRENT` when the fiber gives control back, by whatever way.
struct Restore(*const Local<Body>);

impl Drop for Restore {
    fn drop(&mut self) {
        CURRENT.set(self.0);
    }
}

impl<R: 'static> Fiber<R> {
    /// A fiber that will run `body` on `stack` when it is first resumed.
    pub(crate) fn new(stack: Stack, data: Body, body: impl FnOnce(&Body) -> R + 'static) -> Self {
        let local = Rc::new(Local { yielder: Cell::new(ptr::null()), data });
        let own = Rc::clone(&local);
        let coroutine = Coroutine::with_stack(stack, move |yielder: &Yielder<(), Suspend>, ()| {
            own.yielder.set(yielder);
            let result = catch_unwind(AssertUnwindSafe(|| body(&own.data)));
            own.yielder.set(ptr::null());
            result
        });
        Fiber { coroutine: Some(coroutine), local }
    }

    /// The execution's data.
    pub(crate) fn data(&self) -> &Body {
        &self.local.data
    }

    /// Runs the fiber until it suspends or ends. After its end this answers as if it had panicked.
    pub(crate) fn resume(&mut self) -> Resumed<R> {
        let Some(coroutine) = self.coroutine.as_mut().filter(|coroutine| !coroutine.done()) else {
            return Resumed::Panicked(Box::new("a finished fiber was resumed"));
        };
        let restore = Restore(CURRENT.replace(Rc::as_ptr(&self.local)));
        let resumed = coroutine.resume(());
        drop(restore);
        match resumed {
            CoroutineResult::Yield(why) => Resumed::Suspended(why),
            CoroutineResult::Return(Ok(value)) => Resumed::Done(value),
            CoroutineResult::Return(Err(panic)) => Resumed::Panicked(panic),
        }
    }

    /// Ends the fiber, by force if need be, and answers its data, and its stack for the next one if it ended by itself.
    pub(crate) fn into_parts(mut self) -> (Option<Body>, Option<Stack>) {
        let done = self.coroutine.as_ref().is_some_and(Coroutine::done);
        let stack = if done { self.coroutine.take().map(Coroutine::into_stack) } else { None };
        let local = Rc::clone(&self.local);
        drop(self);
        (Rc::try_unwrap(local).ok().map(|local| local.data), stack)
    }
}

impl<R: 'static> Drop for Fiber<R> {
    fn drop(&mut self) {
        if let Some(mut coroutine) = self.coroutine.take()
            && coroutine.started()
            && !coroutine.done()
        {
            let _restore = Restore(CURRENT.replace(Rc::as_ptr(&self.local)));
            coroutine.force_unwind();
        }
    }
}

/// Calls `f` with the data of the fiber that is running on this thread, if one is.
#[inline]
pub(crate) fn current<R>(f: impl FnOnce(&Body) -> R) -> Option<R> {
    let local = CURRENT.get();
    if local.is_null() {
        return None;
    }
    // SAFETY: non-null only while that fiber runs, during which `resume` borrows the `Fiber` that keeps the
    // `Local` alive; the fiber's own `Rc` keeps it alive for as long as any frame of its stack exists.
    Some(f(unsafe { &(*local).data }))
}

/// Gives control back to whoever resumed the running fiber; returns when it is resumed again.
///
/// Answers `false` at once, without suspending, outside a fiber and while the thread is panicking.
pub(crate) fn suspend(why: Suspend) -> bool {
    let local = CURRENT.get();
    if local.is_null() || std::thread::panicking() {
        return false;
    }
    // SAFETY: as in `current`.
    let yielder = unsafe { (*local).yielder.get() };
    if yielder.is_null() {
        return false;
    }
    // SAFETY: set by the fiber to the yielder on its own stack, cleared before the body returns; `CURRENT` names
    // this fiber, so the code calling here runs on that stack.
    unsafe { (*yielder).suspend(why) };
    true
}

/// An address on the current stack, for measuring depth.
#[inline(always)]
pub(crate) fn stack_address() -> usize {
    let here = 0_u8;
    ptr::from_ref(std::hint::black_box(&here)).addr()
}

#[cfg(unix)]
mod stack {
    use std::io;
    use std::num::NonZeroUsize;
    use std::ptr;

    use corosensei::stack::{Stack as CoroutineStack, StackPointer};

    /// Address space of one stack. Reserved, not used: pages come into being when they are touched. This much
    /// because dropping, cloning and comparing deep values recurses natively, where nothing is counted.
    pub(crate) const STACK_BYTES: usize = 256 << 20;

    /// How much of the lower end holds no mapping that can be written: an overflow faults instead of corrupting.
    const GUARD_BYTES: usize = 64 << 10;

    /// Pages that a stack keeps when it goes back to the pool.
    const KEPT_BYTES: usize = 32 << 10;

    /// A reserved stack. Returned to the system on drop.
    #[derive(Debug)]
    pub(crate) struct Stack {
        base: NonZeroUsize,
    }

    impl Stack {
        /// Reserves a stack.
        ///
        /// # Errors
        /// The system's, when address space, mappings or its overcommit policy do not allow another.
        pub(crate) fn new() -> io::Result<Self> {
            // SAFETY: a fresh anonymous mapping at an address of the system's choice touches nothing of ours.
            let bottom = unsafe {
                libc::mmap(
                    ptr::null_mut(),
                    STACK_BYTES,
                    libc::PROT_READ | libc::PROT_WRITE,
                    libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE | STACK_FLAG,
                    -1,
                    0,
                )
            };
            if bottom == libc::MAP_FAILED {
                return Err(io::Error::last_os_error());
            }
            // A huge page for the first touch of each would make ten thousand stacks twenty gigabytes.
            #[cfg(target_os = "linux")]
            // SAFETY: advice on the mapping made above; a kernel that does not know it says so, which is fine.
            unsafe {
                libc::madvise(bottom, STACK_BYTES, libc::MADV_NOHUGEPAGE);
            }
            // SAFETY: the lowest pages of the mapping made above.
            let guarded = unsafe { libc::mprotect(bottom, GUARD_BYTES, libc::PROT_NONE) };
            let base = NonZeroUsize::new(bottom as usize + STACK_BYTES).map(|base| Stack { base });
            match base {
                Some(stack) if guarded == 0 => Ok(stack),
                _ => Err(io::Error::last_os_error()),
            }
        }

        /// The lowest address that may be used.
        pub(crate) fn lowest(&self) -> usize {
            self.top() - STACK_BYTES + GUARD_BYTES
        }

        /// The upper end, where use begins.
        pub(crate) fn top(&self) -> usize {
            self.base.get()
        }

        /// Gives the memory of deep use back to the system; the reservation stays.
        pub(crate) fn trim(&mut self) {
            // SAFETY: pages of our own mapping that no coroutine uses: `&mut self` and no coroutine holds it.
            unsafe {
                libc::madvise(
                    (self.lowest()) as *mut libc::c_void,
                    STACK_BYTES - GUARD_BYTES - KEPT_BYTES,
                    libc::MADV_DONTNEED,
                );
            }
        }
    }

    #[cfg(any(target_os = "linux", target_os = "android", target_os = "openbsd"))]
    const STACK_FLAG: libc::c_int = libc::MAP_STACK;
    #[cfg(not(any(target_os = "linux", target_os = "android", target_os = "openbsd")))]
    const STACK_FLAG: libc::c_int = 0;

    impl Drop for Stack {
        fn drop(&mut self) {
            // SAFETY: exactly the mapping made in `new`, which nothing uses any more.
            unsafe { libc::munmap((self.base.get() - STACK_BYTES) as *mut libc::c_void, STACK_BYTES) };
        }
    }

    // SAFETY: `base` is the page-aligned upper end of a mapping of STACK_BYTES whose lowest GUARD_BYTES fault on
    // every access; `limit` is its lower end, guard included, as the trait asks.
    unsafe impl CoroutineStack for Stack {
        fn base(&self) -> StackPointer {
            self.base
        }

        fn limit(&self) -> StackPointer {
            // The mapping does not begin at address zero.
            StackPointer::new(self.base.get() - STACK_BYTES).unwrap_or(self.base)
        }
    }
}

#[cfg(not(unix))]
mod stack {
    use std::io;

    use corosensei::stack::{DefaultStack, Stack as CoroutineStack, StackPointer};

    pub(crate) const STACK_BYTES: usize = 256 << 20;

    /// A reserved stack.
    pub(crate) struct Stack(DefaultStack);

    impl Stack {
        pub(crate) fn new() -> io::Result<Self> {
            DefaultStack::new(STACK_BYTES).map(Stack)
        }

        pub(crate) fn lowest(&self) -> usize {
            self.0.limit().get() + (64 << 10)
        }

        pub(crate) fn top(&self) -> usize {
            self.0.base().get()
        }

        pub(crate) fn trim(&mut self) {}
    }

    // SAFETY: forwards to a stack that upholds the contract.
    unsafe impl CoroutineStack for Stack {
        fn base(&self) -> StackPointer {
            self.0.base()
        }

        fn limit(&self) -> StackPointer {
            self.0.limit()
        }

        #[cfg(windows)]
        fn teb_fields(&self) -> corosensei::stack::StackTebFields {
            self.0.teb_fields()
        }

        #[cfg(windows)]
        fn update_teb_fields(&mut self, stack_limit: usize, guaranteed_stack_bytes: usize) {
            self.0.update_teb_fields(stack_limit, guaranteed_stack_bytes)
        }
    }
}
