//! PWM signals: from a block of the chip where the line has one that works, else from software.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::Inner;
use super::engine::State;
use super::lines::GpioError;
use super::output::{Change, Outputs};
use super::pwm::Hardware;
use crate::config::Safe;
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

struct Running {
    channel: Hardware,
    /// As clients see it: a duty of "on", whatever `active_low` makes of it on the wire.
    pwm: Pwm,
}

impl HardwarePwm {
    pub fn new(root: &Path) -> HardwarePwm {
        HardwarePwm { root: root.to_owned(), running: BTreeMap::new() }
    }

    pub fn read(&self, pin: Pin) -> Option<Pwm> {
        self.running.get(&pin).map(|running| running.pwm)
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
    fn set(
        &mut self,
        pin: Pin,
        found: Option<Hardware>,
        frequency: f64,
        duty: Duty,
        active_low: bool,
    ) -> Result<Pwm, String> {
        let on_wire = if active_low { duty.inverted() } else { duty };
        let signal = |pwm: Pwm| Pwm { duty, ..pwm };
        match (found, self.running.get_mut(&pin)) {
            (Some(mut channel), _) => {
                let pwm = signal(channel.set(frequency, on_wire)?);
                self.running.insert(pin, Running { channel, pwm });
                Ok(pwm)
            }
            (None, Some(running)) => {
                running.pwm = signal(running.channel.set(frequency, on_wire)?);
                Ok(running.pwm)
            }
            (None, None) => Err("its PWM channel is gone".into()),
        }
    }

    /// Drives these lines to their safe states, and says what changed.
    pub fn make_safe(&mut self, pins: &[Pin], outputs: &Outputs) -> Vec<Change> {
        let mut changes = Vec::new();
        for (pin, running) in self.running.iter_mut().filter(|(pin, _)| pins.contains(pin)) {
            let line = outputs.config(*pin);
            let duty = match line.safe {
                Safe::Hold => continue,
                Safe::Level(Level::High) => Duty::FULL,
                Safe::Level(Level::Low) | Safe::Input => Duty::ZERO,
            };
            let on_wire = if line.active_low { duty.inverted() } else { duty };
            let done = if on_wire == Duty::ZERO {
                running.channel.disable()
            } else {
                running.channel.set(running.pwm.frequency, on_wire).map(drop)
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

    /// Lets the channels go. One that has to go on as it is stays as it is.
    pub fn release(&mut self, outputs: &Outputs) {
        for (pin, running) in std::mem::take(&mut self.running) {
            if matches!(outputs.config(pin).safe, Safe::Hold | Safe::Level(Level::High)) {
                std::mem::forget(running);
            }
        }
    }
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
        let before = state.signal(pin).map(|pwm| pwm.duty);
        let on = Level::from_bool(duty > Duty::ZERO);
        state.outputs.check(&[(pin, state.outputs.output(pin, on))], now)?;
        let pwm = match self.block(state, pin) {
            Ok(found) => {
                let active_low = state.outputs.config(pin).active_low;
                let done = state.hardware.set(pin, found, frequency, duty, active_low);
                done.map_err(|why| GpioError::Refused { pin, why })?
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
    fn block(&self, state: &State, pin: Pin) -> Result<Option<Hardware>, String> {
        if self.backend.simulated {
            return Err("the lines are simulated".into());
        }
        // Whoever takes a line as a GPIO takes it away from the block, and nothing gives it back.
        if state.outputs.held(pin).is_some() {
            return Err("the line is in use as a GPIO".into());
        }
        state.hardware.find(pin)
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
        let limit = self.config.software_pwm_limit;
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
