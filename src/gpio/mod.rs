//! The workshop that owns the GPIO lines.
//!
//! [`Gpio`] checks what is asked, lets one backend do it and reports each change of a level, once and in order,
//! to the sink it was given. It knows nothing of who asks or who listens.

mod lines;
mod sim;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::config::{self, Backend};
use crate::rt::clock;
use crate::types::event::{Body, Event};
use crate::types::line::{BackendInfo, Bias, Level, LineSetting, LineState, Pin};

use sim::Sim;

pub use lines::{GpioError, Lines};

/// Where the facts go. Called with the lines locked, so that events keep the order of the changes: it must not
/// block and must not call [`Gpio`].
pub type Sink = Box<dyn Fn(Event) + Send + Sync>;

/// Lines whose pull-up is a resistor on the board (the I²C bus's), on every model.
const FIXED_PULL_UPS: [Pin; 2] = match (Pin::new(2), Pin::new(3)) {
    (Some(data), Some(clock)) => [data, clock],
    _ => panic!("BCM 2 and 3 exist"),
};

/// All lines of this device.
pub struct Gpio {
    /// Held for one line operation (microseconds) and the sink, nothing else.
    lines: Mutex<Box<dyn Lines>>,
    backend: BackendInfo,
    names: BTreeMap<String, Pin>,
    resources: [Arc<str>; Pin::COUNT],
    sink: Sink,
}

impl Gpio {
    /// Opens the configured backend.
    ///
    /// # Errors
    /// [`GpioError::NoSuchBackend`] for a backend that this version lacks: to simulate what was meant to be real
    /// would be a lie.
    pub fn new(settings: &config::Gpio, sink: Sink) -> Result<Gpio, GpioError> {
        let why = match settings.backend {
            Backend::Auto => "no GPIO character device support in this version; pins are simulated",
            Backend::Sim => "gpio.backend is \"sim\"; pins are simulated",
            Backend::Cdev => return Err(GpioError::NoSuchBackend { backend: "cdev" }),
            Backend::Sysfs => return Err(GpioError::NoSuchBackend { backend: "sysfs" }),
        };
        Ok(Gpio::with_lines(Box::new(Sim::new()), why, settings, sink))
    }

    fn with_lines(lines: Box<dyn Lines>, why: &str, settings: &config::Gpio, sink: Sink) -> Gpio {
        let backend = BackendInfo { name: lines.name(), simulated: lines.simulated(), why: why.to_owned() };
        let names = settings.names.clone();
        Gpio { lines: Mutex::new(lines), backend, resources: resources(&names), names, sink }
    }

    /// Which backend runs, and why.
    pub fn backend(&self) -> BackendInfo {
        self.backend.clone()
    }

    /// What the lines are now, in the order asked. Looking never changes a line.
    ///
    /// # Errors
    /// [`GpioError::Unsupported`] for the first line that the board lacks.
    pub fn read(&self, pins: &[Pin]) -> Result<Vec<LineState>, GpioError> {
        let mut lines = self.lock();
        pins.iter().map(|pin| lines.inspect(*pin)).collect()
    }

    /// Changes all the lines or, after any error, none.
    ///
    /// # Errors
    /// [`GpioError::FixedPullUp`] and [`GpioError::Conflict`] for settings that cannot be, else what the backend
    /// says.
    pub fn update(&self, settings: &[(Pin, LineSetting)]) -> Result<(), GpioError> {
        let settings = validated(settings)?;
        let mut lines = self.lock();
        let before = levels(&mut **lines, &settings)?;
        lines.apply(&settings)?;
        for ((pin, _), before) in settings.iter().zip(before) {
            self.report(&mut **lines, *pin, before);
        }
        Ok(())
    }

    /// Drives an input from outside, as a button would; only a simulation can.
    ///
    /// # Errors
    /// [`GpioError::NotSimulated`] on real lines, [`GpioError::SimulatedOutput`] for an output.
    pub fn simulate_input(&self, pin: Pin, level: Level) -> Result<(), GpioError> {
        let mut lines = self.lock();
        let before = lines.inspect(pin)?.level;
        lines.simulate(pin, level)?;
        self.report(&mut **lines, pin, before);
        Ok(())
    }

    /// The line with this name: `GPIO17`, `17`, `pin11`, or a configured one.
    pub fn resolve(&self, name: &str) -> Option<Pin> {
        Pin::parse(name).or_else(|| self.names.get(name).copied())
    }

    /// What the line's events call it: its configured name, else `GPIO17`.
    pub fn resource(&self, pin: Pin) -> Arc<str> {
        self.resources[usize::from(pin.number())].clone()
    }

    /// Tells the sink about a line whose level is no longer what it was. A line that cannot be looked at any more
    /// has no level to tell of; the change itself has succeeded.
    fn report(&self, lines: &mut dyn Lines, pin: Pin, before: Option<Level>) {
        let Some(level) = lines.inspect(pin).ok().and_then(|state| state.level) else { return };
        if before == Some(level) {
            return;
        }
        let body = Body::GpioState { resource: self.resource(pin), pin, level, pwm_duty: None };
        (self.sink)(Event { at: clock::wall(), body });
    }

    /// A panic elsewhere leaves no line half set (each operation is the backend's own), so the lock stays usable.
    fn lock(&self) -> MutexGuard<'_, Box<dyn Lines>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Each line once, in the order first named; refused before anything has changed.
fn validated(settings: &[(Pin, LineSetting)]) -> Result<Vec<(Pin, LineSetting)>, GpioError> {
    let mut valid: Vec<(Pin, LineSetting)> = Vec::with_capacity(settings.len().min(Pin::COUNT));
    for (pin, setting) in settings.iter().copied() {
        if let LineSetting::Input { bias: Bias::Down | Bias::Floating } = setting
            && FIXED_PULL_UPS.contains(&pin)
        {
            return Err(GpioError::FixedPullUp { pin });
        }
        match valid.iter().find(|(other, _)| *other == pin) {
            None => valid.push((pin, setting)),
            Some((_, same)) if *same == setting => {}
            Some(_) => return Err(GpioError::Conflict { pin }),
        }
    }
    Ok(valid)
}

fn levels(lines: &mut dyn Lines, settings: &[(Pin, LineSetting)]) -> Result<Vec<Option<Level>>, GpioError> {
    settings.iter().map(|(pin, _)| lines.inspect(*pin).map(|state| state.level)).collect()
}

/// Every line's name in events; of several configured names the first in alphabetical order.
fn resources(names: &BTreeMap<String, Pin>) -> [Arc<str>; Pin::COUNT] {
    std::array::from_fn(|bcm| {
        let configured = names.iter().find(|(_, pin)| usize::from(pin.number()) == bcm);
        configured.map_or_else(|| format!("GPIO{bcm}").into(), |(name, _)| name.as_str().into())
    })
}

#[cfg(test)]
mod tests;
