//! PWM made by a thread that toggles lines: for pins without a PWM block, at a few hundred hertz, with the
//! scheduler's jitter. Good for a dimmed lamp, not for a servo.
//!
//! Like sequences it counts from a start, so it has no drift, and it skips periods that are past.

use std::time::{Duration, Instant};

use crate::types::line::{Duty, Level, Pin, Pwm, PwmSource};

/// All software PWM signals.
#[derive(Default)]
pub struct SoftPwm {
    all: Vec<Signal>,
}

struct Signal {
    pin: Pin,
    frequency: f64,
    duty: Duty,
    period: Duration,
    /// When the running period began.
    start: Instant,
    /// Whether the next change is to low.
    high: bool,
}

impl SoftPwm {
    /// Starts or changes a signal. It begins high, unless its duty is zero.
    pub fn set(&mut self, pin: Pin, frequency: f64, duty: Duty, now: Instant) {
        let period = Duration::from_secs_f64(1.0 / frequency);
        let high = duty > Duty::ZERO;
        let signal = Signal { pin, frequency, duty, period, start: now, high };
        match self.all.iter_mut().find(|signal| signal.pin == pin) {
            // The phase of a running signal stays, so that a change of duty is no extra pulse.
            Some(old) if old.goes_on(frequency, duty) => old.duty = duty,
            Some(old) => *old = signal,
            None => self.all.push(signal),
        }
    }

    /// The level a line has to have just before [`SoftPwm::set`].
    pub fn level_with(&self, pin: Pin, frequency: f64, duty: Duty) -> Level {
        let running = self.all.iter().find(|signal| signal.pin == pin && signal.goes_on(frequency, duty));
        Level::from_bool(running.map_or(duty > Duty::ZERO, |signal| signal.high))
    }

    pub fn stop(&mut self, pins: &[Pin]) {
        self.all.retain(|signal| !pins.contains(&signal.pin));
    }

    pub fn read(&self, pin: Pin) -> Option<Pwm> {
        let signal = self.all.iter().find(|signal| signal.pin == pin)?;
        Some(Pwm { frequency: signal.frequency, duty: signal.duty, source: PwmSource::Software })
    }

    /// Takes every toggle that is due, one for each line.
    pub fn due(&mut self, now: Instant) -> Vec<(Pin, Level)> {
        let due = self.all.iter_mut().filter(|signal| signal.next().is_some_and(|at| at <= now));
        due.map(|signal| (signal.pin, signal.toggle(now))).collect()
    }

    pub fn next_due(&self) -> Option<Instant> {
        self.all.iter().filter_map(Signal::next).min()
    }
}

impl Signal {
    /// Always on and always off need no toggling.
    fn toggles(&self) -> bool {
        toggles(self.duty)
    }

    fn goes_on(&self, frequency: f64, duty: Duty) -> bool {
        self.frequency == frequency && self.toggles() && toggles(duty)
    }

    fn next(&self) -> Option<Instant> {
        let after = if self.high { self.duty.of(self.period) } else { self.period };
        self.toggles().then(|| self.start + after)
    }

    fn toggle(&mut self, now: Instant) -> Level {
        if !self.high {
            let period = self.period.as_nanos().max(1);
            let passed = now.saturating_duration_since(self.start).as_nanos() / period;
            self.start += self.period * u32::try_from(passed).unwrap_or(u32::MAX).max(1);
        }
        self.high = !self.high;
        Level::from_bool(self.high)
    }
}

fn toggles(duty: Duty) -> bool {
    duty > Duty::ZERO && duty < Duty::FULL
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rt::clock;

    /// The toggles within the first 30 ms of a 100 Hz signal, as (ms, level).
    fn toggles(duty: f64, look: u64) -> Vec<(u64, Level)> {
        let pin = Pin::new(17).expect("a BCM number below 28");
        let (mut pwm, start) = (SoftPwm::default(), clock::now());
        let duty = Duty::from_fraction(duty).expect("a fraction");
        let mut seen = vec![(0, pwm.level_with(pin, 100.0, duty))];
        pwm.set(pin, 100.0, duty, start);
        for at in (0..31).step_by(look as usize) {
            seen.extend(pwm.due(start + Duration::from_millis(at)).into_iter().map(|(_, level)| (at, level)));
        }
        seen
    }

    #[test]
    fn the_duty_is_the_share_of_each_period() {
        use Level::{High, Low};
        let quarter = [(0, High), (3, Low), (10, High), (13, Low), (20, High), (23, Low), (30, High)];
        assert_eq!(toggles(0.25, 1), quarter);
        assert_eq!(toggles(0.0, 1), [(0, Low)]);
        assert_eq!(toggles(1.0, 1), [(0, High)]);
        assert_eq!(toggles(0.5, 30), [(0, High), (30, Low)], "past periods are skipped");
    }
}
