//! What clients may ask of the lines: levels, leases, sequences, signals. Everything is checked before anything is
//! done.

use std::time::Duration;

use super::lines::{GpioError, Hold, Role};
use super::signals::Before;
use super::{Gpio, Inner, engine, output};
use crate::config::Mode;
use crate::rt::clock;
use crate::types::caller::Caller;
use crate::types::line::{Bias, Duty, Level, LineSetting, Pin, Pwm};
use crate::types::output::{Lease, LeaseWish, Sequence, Started};

/// The shortest time from one round of a sequence to the next: below it a thread would do nothing else.
const SHORTEST_ROUND: Duration = Duration::from_micros(200);

impl Gpio {
    /// Changes all the lines or, after any error, none. Whatever plays on one of them ends.
    ///
    /// # Errors
    /// [`GpioError::FixedPullUp`], [`GpioError::Conflict`] and [`GpioError::Denied`] for settings that cannot be,
    /// [`GpioError::Leased`] and [`GpioError::Rule`] for ones that cannot be now, else what the backend says.
    pub fn update(&self, caller: &Caller, settings: &[(Pin, LineSetting)]) -> Result<(), GpioError> {
        let mut guard = self.inner.lock();
        // Under the lock: what may be asked of a line is not another thing by the time it is done.
        let settings = self.inner.validated(settings)?;
        let pins: Vec<Pin> = settings.iter().map(|(pin, _)| *pin).collect();
        let state = &mut *guard;
        // Under the lock: what others have noted is never later than this.
        let now = clock::now();
        state.may_write(&pins, caller, now)?;
        // A line that a PWM block drives must not become a GPIO on the way to "on" or "off".
        let by_block = |pin: Pin| state.hardware.read(pin).is_some();
        if let Some((pin, _)) = settings.iter().find(|(pin, setting)| by_block(*pin) && setting.duty().is_none()) {
            let why = "a PWM block drives it, and could not have it back without a restart of the board".to_owned();
            return Err(GpioError::Refused { pin: *pin, why });
        }
        let is_signal = |pin: Pin| state.outputs.config(pin).mode == Some(Mode::Pwm) || by_block(pin);
        let (mut signals, plain): (Vec<_>, Vec<_>) =
            settings.into_iter().partition(|(pin, setting)| is_signal(*pin) && setting.duty().is_some());
        let holds: Vec<_> = plain.iter().map(|(pin, setting)| (*pin, state.outputs.wanted(*pin, *setting))).collect();
        // The rules look at all of it together: a signal counts as an output that is on.
        let mut together = holds.clone();
        together.extend(signals.iter().map(|(pin, setting)| {
            let on = setting.duty().is_some_and(|duty| duty > Duty::ZERO);
            (*pin, state.outputs.output(*pin, Level::from_bool(on)))
        }));
        state.outputs.check(&together, now)?;
        // Signals first: what can be refused of them is refused before a plain line has changed. Of them those that
        // end, because of interlocks.
        signals.sort_by_key(|(_, setting)| setting.duty() != Some(Duty::ZERO));
        let mut before = Vec::with_capacity(signals.len());
        for (pin, setting) in &signals {
            let line = state.outputs.config(*pin);
            let (signal, hold) = (state.signal(*pin), state.outputs.held(*pin));
            let frequency = signal.map_or(line.frequency as f64, |pwm| pwm.frequency);
            let duty = setting.duty().unwrap_or(Duty::ZERO);
            if let Err(error) = self.inner.modulate(state, *pin, frequency, duty, now) {
                self.inner.restore(state, &before, now);
                return Err(error);
            }
            before.push(Before { pin: *pin, signal, hold });
        }
        self.inner.arrange(state, &holds);
        let changes = match state.outputs.put(&holds, now) {
            Ok(changes) => changes,
            Err(error) => {
                self.inner.restore(state, &before, now);
                return Err(error);
            }
        };
        self.inner.taken(state, &holds);
        let ended = state.modulated(&holds.iter().map(|(pin, _)| *pin).collect::<Vec<_>>());
        let plain: Vec<Pin> = plain.iter().map(|(pin, _)| *pin).collect();
        state.end_on(&plain);
        state.sequences.cancel_on(&pins);
        for pin in pins {
            state.outputs.written_by(pin, caller.id);
        }
        let changes = state.with_ended(changes, &ended);
        self.inner.publish(state, &changes, now);
        self.inner.nudge_if_earlier(state);
        Ok(())
    }

    /// Drives an input from outside, as a button would; only a simulation can.
    ///
    /// # Errors
    /// [`GpioError::NotSimulated`] on real lines, [`GpioError::SimulatedOutput`] for an output.
    pub fn simulate_input(&self, caller: &Caller, pin: Pin, level: Level) -> Result<(), GpioError> {
        engine::may_write(caller, &[pin])?;
        let mut guard = self.inner.lock();
        let state = &mut *guard;
        let before = state.outputs.inspect(pin)?.level;
        state.outputs.lines().simulate(pin, level)?;
        if before != Some(level) {
            self.inner.publish(state, &[output::Change { pin, level, duty: None }], clock::now());
        }
        Ok(())
    }

    /// Leases lines to the caller.
    ///
    /// # Errors
    /// [`GpioError::Leased`] where one of them is in a lease, [`GpioError::Denied`].
    pub fn lease(&self, caller: &Caller, wish: &LeaseWish) -> Result<Lease, GpioError> {
        let mut state = self.inner.lock();
        self.inner.may_touch(&wish.pins)?;
        let now = clock::now();
        state.may_write(&wish.pins, caller, now)?;
        let lease = state.leases.grant(caller, wish, now)?;
        // Nobody else's sequence goes on with them.
        state.sequences.cancel_on(&wish.pins);
        self.inner.nudge();
        Ok(lease)
    }

    /// Starts a lease's time again, and makes the caller its holder.
    ///
    /// # Errors
    /// [`GpioError::NoSuch`] where it has ended.
    pub fn renew_lease(&self, caller: &Caller, id: &str) -> Result<Lease, GpioError> {
        let lease = self.inner.lock().leases.renew(caller, id, clock::now());
        self.inner.nudge();
        lease
    }

    /// Ends a lease; its lines stay as they are.
    ///
    /// # Errors
    /// [`GpioError::NoSuch`] where it has ended.
    pub fn release_lease(&self, caller: &Caller, id: &str) -> Result<(), GpioError> {
        self.inner.lock().leases.release(caller, id)
    }

    /// Plays a sequence; whatever plays on one of its lines ends.
    ///
    /// # Errors
    /// As [`Gpio::update`], for its first step; [`GpioError::Invalid`] for one that cannot be played.
    pub fn play(&self, caller: &Caller, sequence: Sequence) -> Result<Started, GpioError> {
        if sequence.rounds != Some(1) && sequence.period < SHORTEST_ROUND {
            let shortest = humantime::format_duration(SHORTEST_ROUND);
            let why = format!("a round that is played again takes at least {shortest}");
            return Err(GpioError::Invalid { field: "period", why });
        }
        let pins = sequence.pins();
        let mut guard = self.inner.lock();
        self.inner.may_drive(&pins)?;
        let state = &mut *guard;
        // Under the lock: what others have noted is never later than this.
        let now = clock::now();
        state.may_write(&pins, caller, now)?;
        // The lines become outputs before the clock starts, so that no step waits for that.
        if let Some(pin) = pins.iter().find(|pin| state.hardware.read(**pin).is_some()) {
            let why = "a PWM block drives it; sequences need a plain output".to_owned();
            return Err(GpioError::Refused { pin: *pin, why });
        }
        let mut first: Vec<(Pin, Hold)> = Vec::new();
        for pin in &pins {
            let level = sequence.steps.iter().flat_map(|step| &step.levels).find(|(other, _)| other == pin);
            let at_start = sequence.steps[0].at.is_zero() && sequence.steps[0].levels.iter().any(|(p, _)| p == pin);
            let hold = match level {
                Some((_, level)) if at_start => state.outputs.output(*pin, *level),
                _ => Hold { role: Role::OutputAsIs, ..state.outputs.output(*pin, Level::Low) },
            };
            if at_start || !state.outputs.is_driven(*pin) {
                first.push((*pin, hold));
            }
        }
        self.inner.arrange(state, &first);
        let changes = state.outputs.set(&first, now)?;
        let ended = state.modulated(&pins);
        state.end_on(&pins);
        for pin in &pins {
            state.outputs.written_by(*pin, caller.id);
        }
        let changes = state.with_ended(changes, &ended);
        self.inner.publish(state, &changes, now);
        let started = state.sequences.start(caller, sequence, now);
        self.inner.nudge();
        Ok(started)
    }

    /// Ends a sequence; its lines stay as they are.
    ///
    /// # Errors
    /// [`GpioError::NoSuch`] where it has ended, [`GpioError::Leased`] where its lines are somebody else's.
    pub fn cancel(&self, caller: &Caller, id: &str) -> Result<(), GpioError> {
        let mut state = self.inner.lock();
        let pins = state.sequences.pins(id)?.to_vec();
        state.may_write(&pins, caller, clock::now())?;
        state.sequences.cancel(id);
        Ok(())
    }

    /// Puts a PWM signal on a line: hertz, and the share of time it is high.
    ///
    /// # Errors
    /// As [`Gpio::update`]; [`GpioError::Invalid`] for a frequency that cannot be made.
    pub fn set_pwm(&self, caller: &Caller, pin: Pin, frequency: f64, duty: Duty) -> Result<Pwm, GpioError> {
        let mut guard = self.inner.lock();
        self.inner.may_drive(&[pin])?;
        let state = &mut *guard;
        // Under the lock: what others have noted is never later than this.
        let now = clock::now();
        state.may_write(&[pin], caller, now)?;
        let pwm = self.inner.modulate(state, pin, frequency, duty, now)?;
        state.sequences.cancel_on(&[pin]);
        state.outputs.written_by(pin, caller.id);
        Ok(pwm)
    }
}

impl Inner {
    fn may_touch(&self, pins: &[Pin]) -> Result<(), GpioError> {
        let config = self.config();
        match pins.iter().find(|pin| !config.may_touch(**pin)) {
            Some(pin) => Err(GpioError::Denied { pin: *pin }),
            None => Ok(()),
        }
    }

    /// What is configured as an input has something on it that drives it: a button to ground, say.
    fn may_drive(&self, pins: &[Pin]) -> Result<(), GpioError> {
        self.may_touch(pins)?;
        let config = self.config();
        for pin in pins {
            if let Some((name, line)) = config.line(*pin)
                && line.mode == Some(Mode::Input)
            {
                let why = format!("it is configured as an input (gpio.pins.{name}.mode)");
                return Err(GpioError::Refused { pin: *pin, why });
            }
        }
        Ok(())
    }

    /// Each line once, in the order first named; refused before anything has changed.
    fn validated(&self, settings: &[(Pin, LineSetting)]) -> Result<Vec<(Pin, LineSetting)>, GpioError> {
        let mut valid: Vec<(Pin, LineSetting)> = Vec::with_capacity(settings.len().min(Pin::COUNT));
        for (pin, setting) in settings.iter().copied() {
            if let LineSetting::Input { bias: Bias::Down | Bias::Floating } = setting
                && pin.has_fixed_pull_up()
            {
                return Err(GpioError::FixedPullUp { pin });
            }
            match setting.duty() {
                Some(_) => self.may_drive(&[pin])?,
                None => self.may_touch(&[pin])?,
            }
            match valid.iter().find(|(other, _)| *other == pin) {
                None => valid.push((pin, setting)),
                Some((_, same)) if *same == setting => {}
                Some(_) => return Err(GpioError::Conflict { pin }),
            }
        }
        Ok(valid)
    }
}
