//! PWM signals: from a block of the chip where the line has one that works, else from software.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::Inner;
use super::engine::State;
use super::lines::{GpioError, Hold, NAMELESS};
use super::output::{Change, Outputs};
use super::pwm::{Hardware, NoSignal};
use crate::config::{Line, Safe};
use crate::rt::clock;
use crate::types::event::{Body, Event};
use crate::types::line::{Duty, Level, Pin, Pwm, PwmSource};

/// The slowest signal, in hertz.
const SLOWEST: f64 = 0.1;

/// The lines whose signals a block of the chip makes. Such a line is never taken as a GPIO.
pub struct HardwarePwm {
    root: PathBuf,
    running: BTreeMap<Pin, Running>,
}

/// A line before an update.
pub struct Before {
    pub pin: Pin,
    pub signal: Option<Pwm>,
    pub hold: Option<Hold>,
}

struct Running {
    channel: Hardware,
    /// As clients see it: a duty of "on", whatever `active_low` makes of it on the wire.
    pwm: Pwm,
}

impl HardwarePwm {
    pub fn new(root: &Path) -> HardwarePwm {
        HardwarePwm { root: root.to_owned(), running: BTreeMap::new() }
    }

    /// The signal as it was last set.
    pub fn read(&self, pin: Pin) -> Option<Pwm> {
        self.running.get(&pin).map(|running| running.pwm)
    }

    /// The signal as the kernel has it: others may have set it too.
    pub fn inspect(&self, line: &Line) -> Option<Pwm> {
        let running = self.running.get(&line.pin)?;
        match running.channel.read() {
            Ok(Some(pwm)) => Some(Pwm { duty: flipped(line, pwm.duty), ..pwm }),
            Ok(None) => Some(Pwm { duty: flipped(line, Duty::ZERO), ..running.pwm }),
            Err(error) => {
                log::warn!("PWM on {} is told as it was set: {error}", line.pin);
                Some(running.pwm)
            }
        }
    }

    /// Whether a block makes this line's signal, or could.
    ///
    /// # Errors
    /// Why not.
    fn find(&self, pin: Pin) -> Result<Option<Hardware>, String> {
        if self.running.contains_key(&pin) {
            return Ok(None);
        }
        let channel = Hardware::find(&self.root, pin)?;
        match self.running.iter().find(|(_, running)| running.channel.channel_key() == channel.channel_key()) {
            Some((other, _)) => Err(format!("its PWM channel is at work for {other}")),
            None => Ok(Some(channel)),
        }
    }

    /// Sets the signal of a line that has been found. The first time may take up to a second where udev has yet to
    /// give the daemon's group its files.
    fn set(&mut self, line: &Line, found: Option<Hardware>, frequency: f64, duty: Duty) -> Result<Pwm, NoSignal> {
        let on_wire = flipped(line, duty);
        let signal = |pwm: Pwm| Pwm { duty, ..pwm };
        match (found, self.running.get_mut(&line.pin)) {
            (Some(mut channel), _) => {
                let pwm = signal(channel.set(frequency, on_wire)?);
                self.running.insert(line.pin, Running { channel, pwm });
                Ok(pwm)
            }
            (None, Some(running)) => {
                running.pwm = signal(running.channel.set(frequency, on_wire)?);
                Ok(running.pwm)
            }
            (None, None) => Err(NoSignal::Channel("its PWM channel is gone".into())),
        }
    }

    /// Stops a signal and lets its channel go.
    fn end(&mut self, pin: Pin) {
        self.running.remove(&pin);
    }

    /// Lets a channel go whose line is in its safe state.
    pub fn let_go(&mut self, line: &Line) {
        if let Some(running) = self.running.remove(&line.pin) {
            running.let_go(line);
        }
    }

    /// Drives these lines to their safe states, and says what changed.
    pub fn make_safe(&mut self, pins: &[Pin], outputs: &Outputs) -> Vec<Change> {
        let mut changes = Vec::new();
        for (pin, running) in self.running.iter_mut().filter(|(pin, _)| pins.contains(pin)) {
            let line = outputs.config(*pin);
            let Some(duty) = safe_duty(line) else { continue };
            let on_wire = flipped(line, duty);
            let done = if on_wire == Duty::ZERO {
                running.channel.disable()
            } else {
                running.channel.set(running.pwm.frequency, on_wire).map(drop).map_err(|error| error.to_string())
            };
            match done {
                Ok(()) if running.pwm.duty == duty => {}
                Ok(()) => {
                    running.pwm.duty = duty;
                    let level = Level::from_bool(duty > Duty::ZERO);
                    changes.push(Change { pin: *pin, level, duty: Some(duty.percent()) });
                }
                Err(error) => log::error!("{pin} is not in its safe state: {error}"),
            }
        }
        changes
    }

    /// Whether this line's signal is what its safe state is, or there is none.
    pub fn is_safe(&self, line: &Line) -> bool {
        let signal = self.running.get(&line.pin).map(|running| running.pwm.duty);
        signal.zip(safe_duty(line)).is_none_or(|(duty, safe)| duty == safe)
    }

    /// Drives those of the lines whose signals a block makes to their safe states, also where another process has left
    /// them behind, and lets them go. Of lines that share a channel it is the first one's.
    pub fn drive_safe(&self, lines: &[&Line]) -> Vec<(Pin, Result<(), String>)> {
        let mut seen: Vec<String> = Vec::new();
        let mut done = Vec::new();
        for line in lines {
            let Ok(channel) = Hardware::find(&self.root, line.pin) else { continue };
            let key = channel.channel_key().to_owned();
            if !seen.contains(&key) {
                seen.push(key);
                done.push((line.pin, drive_safe(line, channel)));
            }
        }
        done
    }

    /// Lets the channels go. One that has to go on stays as it is: a block that stands still is low.
    pub fn release(&mut self, outputs: &Outputs) {
        for (pin, running) in std::mem::take(&mut self.running) {
            running.let_go(outputs.config(pin));
        }
    }
}

impl Running {
    /// One that has to go on stays as it is.
    fn let_go(self, line: &Line) {
        if safe_duty(line).is_none_or(|duty| flipped(line, duty) != Duty::ZERO) {
            self.channel.leave();
        }
    }
}

fn drive_safe(line: &Line, mut channel: Hardware) -> Result<(), String> {
    match safe_duty(line).map(|duty| flipped(line, duty)) {
        None => Ok(()),
        Some(Duty::ZERO) => channel.stop(),
        Some(on_wire) => {
            channel.set(line.frequency as f64, on_wire).map_err(|error| error.to_string())?;
            channel.leave();
            Ok(())
        }
    }
}

/// The duty of a line's safe state; `None` where it goes on as it is. A block cannot stop driving: off is next to that.
fn safe_duty(line: &Line) -> Option<Duty> {
    match line.safe {
        Safe::Hold => None,
        Safe::Level(Level::High) => Some(Duty::FULL),
        Safe::Level(Level::Low) | Safe::Input => Some(Duty::ZERO),
    }
}

/// From a share of "on" to a share of high on the wire, and back.
fn flipped(line: &Line, duty: Duty) -> Duty {
    if line.active_low { duty.inverted() } else { duty }
}

impl Inner {
    /// Puts a PWM signal on a line and tells of its duty. The caller has asked who may.
    ///
    /// # Errors
    /// [`GpioError::Invalid`] for a frequency that cannot be made, [`GpioError::Rule`], or the backend's.
    pub fn modulate(
        &self,
        state: &mut State,
        pin: Pin,
        frequency: f64,
        duty: Duty,
        now: Instant,
    ) -> Result<Pwm, GpioError> {
        let on = Level::from_bool(duty > Duty::ZERO);
        state.outputs.check(&[(pin, state.outputs.output(pin, on))], now)?;
        self.apply(state, pin, frequency, duty, now)
    }

    /// Puts back what was before an update that has failed on its way: the signals, or what was there in their place.
    pub fn restore(&self, state: &mut State, before: &[Before], now: Instant) {
        for Before { pin, signal, hold } in before.iter().rev() {
            let (pin, hold) = (*pin, *hold);
            let done = match (signal, hold) {
                (Some(signal), _) => self.apply(state, pin, signal.frequency, signal.duty, now).map(drop),
                (None, hold) => {
                    state.hardware.end(pin);
                    state.pwm.stop(&[pin]);
                    state.outputs.demodulated(&[pin]);
                    match hold {
                        Some(hold) => {
                            self.arrange(state, &[(pin, hold)]);
                            let done = state.outputs.put(&[(pin, hold)], now).map(drop);
                            self.taken(state, &[(pin, hold)]);
                            done
                        }
                        None => {
                            state.outputs.release(&[pin]);
                            Ok(())
                        }
                    }
                }
            };
            if let Err(error) = done {
                log::error!("{} is not what it was before an update that failed: {error}", self.resource(pin));
            }
        }
    }

    /// The same without asking the rules.
    fn apply(&self, state: &mut State, pin: Pin, frequency: f64, duty: Duty, now: Instant) -> Result<Pwm, GpioError> {
        let before = state.signal(pin).map(|pwm| pwm.duty);
        let on = Level::from_bool(duty > Duty::ZERO);
        let pwm = match self.block(state, pin) {
            Ok(found) => {
                let done = state.hardware.set(state.outputs.config(pin), found, frequency, duty);
                done.map_err(|error| match error {
                    NoSignal::Frequency(why) => GpioError::Invalid { field: "frequency", why },
                    NoSignal::Channel(why) => GpioError::Refused { pin, why },
                })?
            }
            Err(why) => self.toggle(state, pin, frequency, duty, &why, now)?,
        };
        state.outputs.modulated(pin, on == Level::High, now);
        if before != Some(duty) {
            let (resource, pwm_duty) = (self.resource(pin), Some(duty.percent()));
            let body = Body::GpioState { resource, pin, level: on, pwm_duty, edges: None };
            (self.sinks.publish)(Event { at: clock::wall(), body });
        }
        self.nudge();
        Ok(pwm)
    }

    /// The block for a line; nothing new where it is at work already.
    fn block(&self, state: &mut State, pin: Pin) -> Result<Option<Hardware>, String> {
        if self.backend.simulated {
            return Err("the lines are simulated".into());
        }
        // Whoever takes a line as a GPIO takes it away from the block, and nothing gives it back.
        if state.outputs.held(pin).is_some() {
            return Err("the line is in use as a GPIO".into());
        }
        let found = state.hardware.find(pin)?;
        // Nor is there a signal while somebody else holds it; a nameless holder may be the block itself.
        if let Some(holder) = state.outputs.inspect(pin).ok().and_then(|line| line.consumer)
            && found.is_some()
            && holder != NAMELESS
        {
            return Err(format!("the line is held by '{holder}'"));
        }
        Ok(found)
    }

    /// A signal made by software; `why` there is no other.
    fn toggle(
        &self,
        state: &mut State,
        pin: Pin,
        frequency: f64,
        duty: Duty,
        why: &str,
        now: Instant,
    ) -> Result<Pwm, GpioError> {
        let limit = self.config().software_pwm_limit;
        if !(SLOWEST..=limit as f64).contains(&frequency) {
            let why = format!(
                "{frequency} Hz is not from {SLOWEST} to {limit}, which is what software makes here \
                 (gpio.software_pwm_limit), and there is no hardware for this line: {why}"
            );
            return Err(GpioError::Invalid { field: "frequency", why });
        }
        if state.pwm.read(pin).is_none() {
            log::info!("{}: PWM by software, no hardware: {why}", self.resource(pin));
        }
        // A signal that goes on toggling goes on where it is.
        let level = state.pwm.level_with(pin, frequency, duty);
        let hold = state.outputs.output(pin, level);
        self.arrange(state, &[(pin, hold)]);
        state.outputs.put(&[(pin, hold)], now)?;
        state.pwm.set(pin, frequency, duty, now);
        Ok(Pwm { frequency, duty, source: PwmSource::Software })
    }
}
