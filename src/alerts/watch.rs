//! From what a condition says now to an alert that is raised and resolved once. Pure: the clock is an argument.

use std::time::{Duration, Instant};

/// What a condition says of this moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Says {
    Holds,
    /// It holds no more, but has not come back far enough to count as gone.
    Between,
    Gone,
}

/// How long a condition has to hold before there is an alert, and to be gone before the alert is resolved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Patience {
    pub hold: Duration,
    pub settle: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Nothing,
    Raise,
    Resolve,
}

/// One condition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Watch {
    state: State,
    /// Since when it says what would change the state.
    since: Option<Instant>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Quiet,
    Open,
    /// Somebody resolved the alert while the condition held: no other until it has been gone once.
    Muted,
}

impl Watch {
    /// One whose alert is open.
    pub fn open() -> Watch {
        Watch { state: State::Open, since: None }
    }

    /// One whose alert was resolved by hand.
    pub fn muted() -> Watch {
        Watch { state: State::Muted, since: None }
    }

    pub fn step(&mut self, now: Instant, says: Says, patience: Patience) -> Step {
        let (awaited, long) = match self.state {
            State::Quiet => (Says::Holds, patience.hold),
            State::Open | State::Muted => (Says::Gone, patience.settle),
        };
        if says != awaited {
            self.since = None;
            return Step::Nothing;
        }
        let since = *self.since.get_or_insert(now);
        if now.saturating_duration_since(since) < long {
            return Step::Nothing;
        }
        self.since = None;
        let (next, step) = match self.state {
            State::Quiet => (State::Open, Step::Raise),
            State::Open => (State::Quiet, Step::Resolve),
            State::Muted => (State::Quiet, Step::Nothing),
        };
        self.state = next;
        step
    }

    /// Its alert was resolved by hand.
    pub fn mute(&mut self) {
        *self = Watch::muted();
    }

    /// Forgets for how long the condition has held: nobody knows whether it still does.
    pub fn interrupt(&mut self) {
        self.since = None;
    }

    /// When it would raise its alert if the condition went on holding.
    pub fn due(&self, hold: Duration) -> Option<Instant> {
        self.since.filter(|_| self.state == State::Quiet).map(|since| since + hold)
    }

    /// Whether there is nothing to remember.
    pub fn is_idle(&self) -> bool {
        *self == Watch::default()
    }

    pub fn is_muted(&self) -> bool {
        self.state == State::Muted
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rt::clock;

    const AT_ONCE: Patience = Patience { hold: Duration::ZERO, settle: Duration::ZERO };

    #[test]
    fn an_alert_is_raised_once_and_resolved_when_the_condition_has_gone() {
        let now = clock::now();
        let mut watch = Watch::default();
        assert_eq!(watch.step(now, Says::Gone, AT_ONCE), Step::Nothing);
        assert_eq!(watch.step(now, Says::Between, AT_ONCE), Step::Nothing);
        assert_eq!(watch.step(now, Says::Holds, AT_ONCE), Step::Raise);
        assert_eq!(watch.step(now, Says::Holds, AT_ONCE), Step::Nothing);
        assert_eq!(watch.step(now, Says::Between, AT_ONCE), Step::Nothing);
        assert_eq!(watch.step(now, Says::Gone, AT_ONCE), Step::Resolve);
        assert!(watch.is_idle());
    }

    #[test]
    fn a_condition_that_breaks_off_waits_again() {
        let start = clock::now();
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        let patience = Patience { hold: Duration::from_secs(10), settle: Duration::from_secs(5) };
        let mut watch = Watch::default();
        assert_eq!(watch.step(at(0), Says::Holds, patience), Step::Nothing);
        assert_eq!(watch.due(patience.hold), Some(at(10)));
        assert_eq!(watch.step(at(9), Says::Between, patience), Step::Nothing);
        assert_eq!(watch.step(at(10), Says::Holds, patience), Step::Nothing);
        watch.interrupt();
        assert_eq!(watch.step(at(20), Says::Holds, patience), Step::Nothing);
        assert_eq!(watch.step(at(30), Says::Holds, patience), Step::Raise);
        assert_eq!(watch.due(patience.hold), None);
        assert_eq!(watch.step(at(31), Says::Gone, patience), Step::Nothing);
        assert_eq!(watch.step(at(35), Says::Holds, patience), Step::Nothing);
        assert_eq!(watch.step(at(36), Says::Gone, patience), Step::Nothing);
        assert_eq!(watch.step(at(41), Says::Gone, patience), Step::Resolve);
    }

    #[test]
    fn what_was_resolved_by_hand_is_silent_until_it_has_been_gone_once() {
        let now = clock::now();
        let mut watch = Watch::open();
        watch.mute();
        assert_eq!(watch.step(now, Says::Holds, AT_ONCE), Step::Nothing);
        assert_eq!(watch.step(now, Says::Between, AT_ONCE), Step::Nothing);
        assert!(watch.is_muted());
        assert_eq!(watch.step(now, Says::Gone, AT_ONCE), Step::Nothing);
        assert_eq!(watch.step(now, Says::Holds, AT_ONCE), Step::Raise);
    }
}
