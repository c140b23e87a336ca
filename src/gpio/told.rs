//! Changes the daemon makes by itself (sequences) on their way to the hub: told one by one up to a rate, beyond it as
//! a number, as with edges. Requests of clients are always told one by one: there are as many as answers.

use std::time::{Duration, Instant};

use crate::types::line::{Level, Pin};

/// Changes of a line are counted over this time.
pub const WINDOW: Duration = Duration::from_millis(100);

/// Per line: what was told lately, and what was not.
pub struct Told {
    /// Changes told one by one within a window; 0 for all.
    limit: usize,
    lines: [Line; Pin::COUNT],
}

#[derive(Clone, Copy, Default)]
struct Line {
    since: Option<Instant>,
    told: usize,
    untold: u32,
    last: Option<Level>,
}

impl Told {
    pub fn new(limit: usize) -> Told {
        Told { limit, lines: [Line::default(); Pin::COUNT] }
    }

    pub fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// Whether this change may be told now; if not, it is counted.
    pub fn may_tell(&mut self, pin: Pin, level: Level, now: Instant) -> bool {
        let limit = self.limit;
        let line = self.line(pin);
        line.last = Some(level);
        if line.untold == 0 && line.since.is_none_or(|since| now >= since + WINDOW) {
            (line.since, line.told) = (Some(now), 0);
        }
        if line.untold == 0 && (limit == 0 || line.told < limit) {
            line.told += 1;
            return true;
        }
        line.untold = line.untold.saturating_add(1);
        false
    }

    /// The line was set by somebody who is told at once: what is still to be summed up ends with this level.
    pub fn overtaken(&mut self, pin: Pin, level: Level) {
        self.line(pin).last = Some(level);
    }

    /// The hub had no room for it.
    pub fn refused(&mut self, pin: Pin, count: u32) {
        let line = self.line(pin);
        line.untold = line.untold.saturating_add(count);
    }

    /// Takes the summaries that are due: line, level and how many changes.
    pub fn due(&mut self, now: Instant) -> Vec<(Pin, Level, u32)> {
        let mut due = Vec::new();
        for (line, pin) in self.lines.iter_mut().zip(Pin::ALL) {
            if let (Some(since), Some(level)) = (line.since, line.last)
                && line.untold > 0
                && since + WINDOW <= now
            {
                due.push((pin, level, std::mem::take(&mut line.untold)));
                // The next window starts as full as this one ended: a line that goes on is summarised on.
                line.since = Some(now);
            }
        }
        due
    }

    pub fn next_due(&self) -> Option<Instant> {
        let waiting = self.lines.iter().filter(|line| line.untold > 0);
        waiting.filter_map(|line| line.since.map(|since| since + WINDOW)).min()
    }

    fn line(&mut self, pin: Pin) -> &mut Line {
        &mut self.lines[usize::from(pin.number())]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rt::clock;

    #[test]
    fn what_is_told_and_what_is_summed_up_is_everything() {
        let pin = Pin::new(17).expect("a BCM number below 28");
        let (mut told, start) = (Told::new(5), clock::now());
        let mut one_by_one = 0;
        let mut summed_up = 0;
        for ms in 0..1000 {
            let now = start + Duration::from_millis(ms);
            one_by_one += u32::from(told.may_tell(pin, Level::from_bool(ms % 2 == 0), now));
            summed_up += told.due(now).iter().map(|(_, _, count)| count).sum::<u32>();
        }
        summed_up += told.due(start + Duration::from_secs(2)).iter().map(|(_, _, count)| count).sum::<u32>();
        assert_eq!((one_by_one + summed_up, told.next_due()), (1000, None));
        assert_eq!(one_by_one, 5, "a line that goes on is summarised on");
        assert!(told.may_tell(pin, Level::High, start + Duration::from_secs(3)));
    }
}
