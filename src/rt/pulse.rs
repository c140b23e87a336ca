//! Whether a thread still comes round: a question that it can only answer itself, where it waits for its work.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What a thread calls when it has come round.
pub type Answer = Box<dyn FnOnce() + Send>;

/// A thread that can be asked.
pub struct Asked {
    pub name: &'static str,
    /// Leaves the question and wakes the thread. Never waits.
    pub ask: Box<dyn Fn(Answer) + Send>,
}

/// Belongs to a thread, which calls [`Pulse::beat`] each time round; whoever leaves something here wakes it.
#[derive(Default)]
pub struct Pulse {
    /// There is something in `left`.
    pending: AtomicBool,
    left: Mutex<Left>,
}

#[derive(Default)]
struct Left {
    question: Option<Answer>,
    /// A failure test wants the thread to hang.
    hang: bool,
}

impl Pulse {
    /// Leaves a question; one that was not answered yet is forgotten.
    pub fn ask(&self, answer: Answer) {
        self.left().question = Some(answer);
        self.pending.store(true, Ordering::Release);
    }

    /// Has the thread hang when it comes round next, for tests of what becomes of the daemon then.
    pub fn debug_hang(&self) {
        self.left().hang = true;
        self.pending.store(true, Ordering::Release);
    }

    /// To be called by the thread, with nothing locked, after it has done what there was to do.
    pub fn beat(&self) {
        if !self.pending.load(Ordering::Relaxed) || !self.pending.swap(false, Ordering::AcqRel) {
            return;
        }
        let left = std::mem::take(&mut *self.left());
        if left.hang {
            let thread = std::thread::current();
            log::warn!("thread {} hangs, as asked by DEBUG_HANG", thread.name().unwrap_or("?"));
            loop {
                std::thread::park();
            }
        }
        if let Some(answer) = left.question {
            answer();
        }
    }

    fn left(&self) -> MutexGuard<'_, Left> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
