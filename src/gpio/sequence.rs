//! Sequences that play on the device: pulses, blinking, steps on several lines.
//!
//! Times count from the sequence's start, so a late step does not delay the next one: there is no drift, only the
//! scheduler's jitter. Rounds that are wholly past (the machine was asleep) are skipped, not caught up with.

use std::time::{Duration, Instant};

use super::id;
use super::lines::GpioError;
use crate::types::caller::Caller;
use crate::types::line::{Level, Pin};
use crate::types::output::{Sequence, Started};

/// All sequences that play. A line is in one of them at most, so there are never more than lines.
#[derive(Default)]
pub struct Sequences {
    all: Vec<Playing>,
}

struct Playing {
    id: String,
    caller: Caller,
    sequence: Sequence,
    pins: Vec<Pin>,
    /// When the round that plays started, or should have.
    start: Instant,
    /// Rounds to go, this one included; `None` without end.
    left: Option<u32>,
    step: usize,
    late: Lateness,
}

/// How much later than said the steps of a sequence were taken.
#[derive(Clone, Copy, Debug, Default)]
pub struct Lateness {
    pub steps: u32,
    pub total: Duration,
    pub most: Duration,
}

/// Levels that are due.
pub struct DueStep {
    pub id: String,
    pub caller: Caller,
    pub levels: Vec<(Pin, Level)>,
    /// With the last step, how punctual they all were.
    pub ended: Option<Lateness>,
}

impl Sequences {
    pub fn start(&mut self, caller: &Caller, sequence: Sequence, now: Instant) -> Started {
        let started = Started { id: id::fresh("sequence"), duration: sequence.duration() };
        let (id, caller) = (started.id.clone(), caller.clone());
        let (pins, left) = (sequence.pins(), sequence.rounds);
        self.all.push(Playing { id, caller, sequence, pins, start: now, left, step: 0, late: Lateness::default() });
        started
    }

    /// # Errors
    /// [`GpioError::NoSuch`] where it has ended.
    pub fn pins(&self, id: &str) -> Result<&[Pin], GpioError> {
        let playing = self.all.iter().find(|playing| playing.id == id);
        playing
            .map(|playing| playing.pins.as_slice())
            .ok_or_else(|| GpioError::NoSuch { what: "sequence", id: id.to_owned() })
    }

    pub fn cancel(&mut self, id: &str) {
        self.all.retain(|playing| playing.id != id);
    }

    /// Ends whatever plays on one of these lines.
    pub fn cancel_on(&mut self, pins: &[Pin]) {
        self.all.retain(|playing| !playing.pins.iter().any(|pin| pins.contains(pin)));
    }

    /// What plays on a line.
    pub fn on(&self, pin: Pin) -> Option<&str> {
        self.all.iter().find(|playing| playing.pins.contains(&pin)).map(|playing| playing.id.as_str())
    }

    /// Takes the earliest step that is due.
    pub fn due(&mut self, now: Instant) -> Option<DueStep> {
        let (place, at) = self.all.iter().map(Playing::next_at).enumerate().min_by_key(|(_, at)| *at)?;
        if at > now {
            return None;
        }
        let playing = &mut self.all[place];
        let levels = playing.sequence.steps[playing.step].levels.clone();
        let mut due = DueStep { id: playing.id.clone(), caller: playing.caller.clone(), levels, ended: None };
        playing.late.note(now.saturating_duration_since(at));
        if playing.advance(now) {
            due.ended = Some(playing.late);
            self.all.swap_remove(place);
        }
        Some(due)
    }

    pub fn next_due(&self) -> Option<Instant> {
        self.all.iter().map(Playing::next_at).min()
    }
}

impl Lateness {
    fn note(&mut self, late: Duration) {
        self.steps = self.steps.saturating_add(1);
        self.total += late;
        self.most = self.most.max(late);
    }
}

impl Playing {
    fn next_at(&self) -> Instant {
        self.start + self.sequence.steps[self.step].at
    }

    /// To the next step; says whether that was the last one.
    fn advance(&mut self, now: Instant) -> bool {
        self.step += 1;
        if self.step < self.sequence.steps.len() {
            return false;
        }
        self.step = 0;
        // The round that should be running plays late rather than not at all, and the last one in any case: it is
        // how the lines shall be in the end.
        let period = self.sequence.period;
        let passed = now.saturating_duration_since(self.start).as_nanos() / period.as_nanos().max(1);
        let most = self.left.map_or(u32::MAX, |left| left.saturating_sub(1)).max(1);
        let rounds = u32::try_from(passed).unwrap_or(u32::MAX).clamp(1, most);
        self.start += period * rounds;
        self.left = self.left.map(|left| left.saturating_sub(rounds));
        self.left == Some(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rt::clock;
    use crate::types::output::Step;

    fn blink(rounds: Option<u32>) -> Sequence {
        let pin = Pin::new(17).expect("a BCM number below 28");
        let step = |at, level| Step { at: Duration::from_millis(at), levels: vec![(pin, level)] };
        let steps = vec![step(0, Level::High), step(3, Level::Low)];
        Sequence { steps, period: Duration::from_millis(10), rounds }
    }

    /// The times (in ms after the start) at which steps come out when looked at every `look` ms.
    fn played(rounds: Option<u32>, look: impl Iterator<Item = u64>) -> Vec<(u64, Level)> {
        let caller = Caller { id: None, name: "test".into(), rights: None };
        let (mut sequences, start) = (Sequences::default(), clock::now());
        sequences.start(&caller, blink(rounds), start);
        let mut seen = Vec::new();
        for at in look {
            while let Some(step) = sequences.due(start + Duration::from_millis(at)) {
                seen.push((at, step.levels[0].1));
            }
        }
        seen
    }

    #[test]
    fn steps_come_at_their_time_counted_from_the_start() {
        use Level::{High, Low};
        assert_eq!(played(Some(2), 0..40), [(0, High), (3, Low), (10, High), (13, Low)]);
        // Looked at late, it plays late and does not drift.
        assert_eq!(played(Some(2), (0..40).step_by(4)), [(0, High), (4, Low), (12, High), (16, Low)]);
        assert_eq!(blink(Some(2)).duration(), Some(Duration::from_millis(13)));
    }

    #[test]
    fn rounds_that_are_past_are_skipped_but_never_the_last_one() {
        use Level::{High, Low};
        assert_eq!(played(Some(100), [0, 500, 501].into_iter()), [(0, High), (500, Low), (500, High)]);
        assert_eq!(played(Some(5), [0, 9000].into_iter()), [(0, High), (9000, Low), (9000, High), (9000, Low)]);
        assert_eq!(played(None, [0, 3, 10, 13].into_iter()).len(), 4);
    }
}
