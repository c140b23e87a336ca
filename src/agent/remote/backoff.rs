//! How long to wait before the next attempt to reach the hub: for ever longer, and never all agents at once.

use std::time::{Duration, Instant};

/// The longest first wait, and the longest of all.
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60);

/// A connection that held for this long was a good one.
const STABLE: Duration = Duration::from_secs(60);

/// No wait is shorter: an attempt costs the hub something too.
const SHORTEST: Duration = Duration::from_millis(100);

/// The longest wait where the hub has asked us to come again, and how long it has to have been content before.
const SOON: Duration = Duration::from_secs(2);
const AGAIN: Duration = Duration::from_secs(5);

/// Exponential, with full jitter, without end.
#[derive(Debug)]
pub struct Backoff {
    ceiling: Duration,
}

impl Backoff {
    pub fn new() -> Backoff {
        Backoff { ceiling: FIRST }
    }

    /// The wait after an attempt that failed, or a connection that held from `since` to `now`. `random` is from 0 to 1.
    pub fn wait(&mut self, since: Option<Instant>, now: Instant, random: f64) -> Duration {
        if since.is_some_and(|since| now.saturating_duration_since(since) >= STABLE) {
            self.ceiling = FIRST;
        }
        let wait = self.ceiling.mul_f64(random.clamp(0.0, 1.0)).max(SHORTEST);
        self.ceiling = (self.ceiling * 2).min(LONGEST);
        wait
    }

    /// The wait after the hub has asked us to come again: short, but not for all agents at once. Where it has asked that
    /// a moment ago, as after an attempt that failed.
    pub fn soon(&mut self, since: Option<Instant>, now: Instant, random: f64) -> Duration {
        match since.is_some_and(|since| now.saturating_duration_since(since) >= AGAIN) {
            true => SOON.mul_f64(random.clamp(0.0, 1.0)).max(SHORTEST),
            false => self.wait(since, now, random),
        }
    }

    /// The wait after a refusal that time alone will not change: a revoked key, another session in our place.
    pub fn long(random: f64) -> Duration {
        LONGEST + LONGEST.mul_f64(random.clamp(0.0, 1.0) / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_minute_with_full_jitter_and_begin_anew_after_a_stable_one() {
        let now = Instant::now();
        let mut backoff = Backoff::new();
        let most: Vec<u64> = (0..9).map(|_| backoff.wait(None, now, 1.0).as_secs()).collect();
        assert_eq!(most, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        assert_eq!(backoff.wait(None, now, 0.5), Duration::from_secs(30));
        assert_eq!(backoff.wait(None, now, 0.0), SHORTEST);
        assert_eq!(backoff.wait(Some(now), now + Duration::from_secs(59), 1.0), LONGEST);
        assert_eq!(backoff.wait(Some(now), now + STABLE, 1.0), FIRST);
        let mut backoff = Backoff::new();
        let asked = |backoff: &mut Backoff, held| backoff.soon(Some(now), now + held, 1.0);
        assert_eq!((asked(&mut backoff, AGAIN), asked(&mut backoff, AGAIN)), (SOON, SOON));
        assert_eq!((asked(&mut backoff, SOON), asked(&mut backoff, SOON)), (FIRST, FIRST * 2));
        assert!(Backoff::long(0.0) == LONGEST && Backoff::long(1.0) <= LONGEST * 2);
    }
}
