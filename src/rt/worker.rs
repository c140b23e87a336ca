//! Threads: each has a name, an owner and an end that is reported.
//!
//! Two kinds: a **workshop** thread belongs to the daemon, and its crash ends the process with exit code 1
//! (systemd is the supervisor); a **visitor** thread serves connections, and a crash in a visit ends only that.
#![allow(clippy::disallowed_methods)] // the one place where threads start

use std::backtrace::Backtrace;
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver, bounded};

use super::memory::StackTop;
use super::stderr;

/// Stack of a visitor thread. Address space, not memory: only touched pages count. Unoptimised builds need
/// far deeper stacks for the same code (TLS handshake, JSON, logging).
pub const VISITOR_STACK: usize = if cfg!(debug_assertions) { 1024 * 1024 } else { 128 * 1024 };

/// Stack of a workshop thread.
pub const WORKSHOP_STACK: usize = if cfg!(debug_assertions) { 2 * 1024 * 1024 } else { 256 * 1024 };

/// Linux keeps 15 bytes of a thread's name.
const NAME_BYTES: usize = 15;

/// A running workshop thread.
pub struct Worker {
    name: &'static str,
    done: Receiver<()>,
    handle: JoinHandle<()>,
}

impl Worker {
    /// Starts a workshop thread.
    ///
    /// # Errors
    /// The system's refusal (`EAGAIN`: too many threads or too little memory).
    pub fn spawn(name: &'static str, body: impl FnOnce() + Send + 'static) -> std::io::Result<Worker> {
        debug_assert!(name.len() <= NAME_BYTES, "thread name {name:?} would be cut");
        let (alive, done) = bounded::<()>(0);
        let handle = Builder::new().name(name.into()).stack_size(WORKSHOP_STACK).spawn(move || {
            let _alive = alive;
            guarded(name, body);
        })?;
        Ok(Worker { name, done, handle })
    }

    /// Waits for the thread's end, at most `limit`. A thread that is still running then is named in the log
    /// and left to the process's end.
    pub fn join(self, limit: Duration) {
        // The channel never carries anything: it disconnects when the thread drops its end.
        if self.done.recv_timeout(limit) == Err(crossbeam_channel::RecvTimeoutError::Timeout) {
            log::warn!("thread {} did not end within {}", self.name, humantime::format_duration(limit));
        } else if self.handle.join().is_err() {
            log::warn!("thread {} ended by a crash", self.name);
        }
    }
}

/// Runs what only this thread does, the main one, too: a crash in it ends the daemon, and what is to be done then is
/// asked for again when the locks it held are free.
pub fn guarded<T>(name: &str, body: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|panic| {
        log::error!("thread {name} crashed: {}; the daemon ends", panic_text(&*panic));
        die()
    })
}

/// What is done when any thread has crashed, before anything else; see [`on_crash`].
static ON_CRASH: OnceLock<Box<dyn Fn() -> bool + Send + Sync>> = OnceLock::new();

thread_local! {
    /// This thread's crash, and where it came from, while there is something more urgent than to write it.
    static UNWRITTEN: RefCell<Option<(String, Backtrace)>> = const { RefCell::new(None) };
}

/// Sets what is done when a thread crashes: a bug has been met, so nothing in the process can be trusted to do it
/// later. Only the first call counts. It is done at once, while the crashed thread's stack is still in place, so
/// `action` must not wait without end for a lock that thread may hold, and returns `false` where it does hold it; and
/// again when a thread of ours has been unwound, and its locks are free.
pub fn on_crash(action: impl Fn() -> bool + Send + Sync + 'static) {
    if ON_CRASH.set(Box::new(action)).is_err() {
        return;
    }
    let previous = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        // First: writing a backtrace can take longer than a relay should stay on.
        if !crashed() {
            UNWRITTEN.set(Some((info.to_string(), Backtrace::capture())));
        } else if stderr::is_journal() {
            stderr::say(log::Level::Error, &format!("{info}\n{}", Backtrace::capture()));
        } else {
            previous(info);
        }
    }));
}

/// To be called where a crash was caught. Returns whether what is to be done could be done.
pub fn crashed() -> bool {
    let done = ON_CRASH.get().is_none_or(|action| action());
    if let Some((what, backtrace)) = UNWRITTEN.take() {
        stderr::say(log::Level::Error, &format!("{what}\n{backtrace}"));
    }
    done
}

/// Ends the process because a part of it is gone that it cannot work without.
pub fn die() -> ! {
    crashed();
    std::process::exit(1)
}

/// A visitor thread's stack.
#[derive(Clone, Copy)]
pub struct Stack(StackTop);

impl Stack {
    /// Gives back what deep calls have used and nobody uses now.
    pub fn give_back_unused(self) {
        self.0.give_back_unused(VISITOR_STACK);
    }
}

/// Starts a thread for visitors, one after the other. A crash in it ends the daemon, as it may be the only one that lets
/// them in; one in a [`visit`] does not.
///
/// # Errors
/// The system's refusal (`EAGAIN`: too many threads or too little memory); `body` has not run then.
pub fn spawn_visitor(name: &'static str, body: impl FnOnce(Stack) + Send + 'static) -> std::io::Result<()> {
    Builder::new().name(name.into()).stack_size(VISITOR_STACK).spawn(move || {
        let stack = Stack(StackTop::here());
        guarded("accept", || body(stack));
    })?;
    Ok(())
}

/// Serves a visitor under a guard: a crash is logged and ends nothing else.
pub fn visit(number: u64, body: impl FnOnce()) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(body)) {
        log::error!("connection c{number} crashed: {}", panic_text(&*panic));
        crashed();
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}
