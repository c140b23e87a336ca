//! The newest answers of `vcgencmd`: put there by its thread, looked at by sessions.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::firmware::Question;

/// By question: nothing yet, or the outcome of the last run.
type Answers = [Option<Option<String>>; Question::ALL.len()];

/// The newest answers, shared between the thread and those who ask.
#[derive(Default)]
pub struct Board {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    answers: Answers,
    /// When somebody asked last.
    asked: Option<Instant>,
    /// No thread will put answers here any more.
    closed: bool,
}

impl Board {
    /// The last outcome, if there is one; remembers that somebody asked.
    pub fn ask(&self, question: Question, now: Instant) -> Option<Option<String>> {
        let mut state = self.lock();
        state.asked = Some(now);
        if state.closed { Some(None) } else { state.answers[question as usize].clone() }
    }

    /// Waits for the first outcome, up to `limit`.
    pub fn wait(&self, question: Question, limit: Duration) -> Option<String> {
        let none_yet = |state: &mut State| state.answers[question as usize].is_none() && !state.closed;
        let waited = self.changed.wait_timeout_while(self.lock(), limit, none_yet);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.answers[question as usize].clone().flatten()
    }

    /// Notes the outcome of a run.
    pub fn put(&self, question: Question, answer: Option<String>) {
        self.lock().answers[question as usize] = Some(answer);
        self.changed.notify_all();
    }

    /// Whether somebody asked within `limit` before `now`. If not, the answers are taken away under the same
    /// lock, so that whoever asks next finds none, wakes the thread and is not told yesterday's.
    pub fn is_wanted(&self, now: Instant, limit: Duration) -> bool {
        let mut state = self.lock();
        let wanted = state.asked.is_some_and(|asked| now.saturating_duration_since(asked) < limit);
        if !wanted {
            state.answers = Default::default();
            self.changed.notify_all();
        }
        wanted
    }

    /// Runs the thread's work and reports its crash, which must neither pass unnoticed nor leave sessions waiting
    /// for answers that will not come. The daemon goes on: only these answers are gone.
    pub fn guard(&self, work: impl FnOnce()) {
        if catch_unwind(AssertUnwindSafe(work)).is_err() {
            log::error!("the vcgencmd thread crashed; its answers are gone until the daemon is restarted");
        }
        self.close();
    }

    /// Takes the answers away for good: no thread will put any here.
    pub fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        state.answers = Default::default();
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the answers are the wanted ones.
    #[cfg(test)]
    pub fn wait_until(&self, limit: Duration, wanted: impl Fn(&Answers) -> bool) {
        let waited = self.changed.wait_timeout_while(self.lock(), limit, |state| !wanted(&state.answers)).unwrap();
        assert!(!waited.1.timed_out(), "not within {limit:?}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::testing::LIMIT;

    #[test]
    fn answers_that_nobody_wants_are_taken_away() {
        let board = Board::default();
        let start = Instant::now();
        let minute = Duration::from_secs(60);
        assert!(!board.is_wanted(start, minute), "nobody asked yet");
        assert_eq!(board.ask(Question::Throttled, start), None);
        board.put(Question::Throttled, Some("throttled=0x0".to_owned()));
        assert!(board.is_wanted(start + minute / 2, minute));
        assert_eq!(board.ask(Question::Throttled, start), Some(Some("throttled=0x0".to_owned())));
        assert!(!board.is_wanted(start + minute, minute));
        assert_eq!(board.ask(Question::Throttled, start + minute), None);
    }

    #[test]
    fn a_failure_is_an_outcome_too() {
        let board = Board::default();
        assert_eq!(board.wait(Question::ArmClock, Duration::ZERO), None);
        board.put(Question::ArmClock, None);
        assert_eq!(board.ask(Question::ArmClock, Instant::now()), Some(None));
        assert_eq!(board.wait(Question::ArmClock, LIMIT), None);
    }

    #[test]
    fn a_crash_leaves_nobody_waiting() {
        let board = Board::default();
        // Not `panic!`: its message would look like a failing test.
        board.guard(|| std::panic::resume_unwind(Box::new("crash")));
        assert_eq!(board.ask(Question::Throttled, Instant::now()), Some(None));
        assert_eq!(board.wait(Question::Throttled, LIMIT), None);
    }
}
