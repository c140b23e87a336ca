//! The workshop that owns the GPIO lines.
//!
//! [`Gpio`] checks what is asked (`output` holds the rules, `lease` who may), lets one backend do it, and reports
//! each change of a level, once and in order, to the sinks it was given. It knows nothing of who listens.
//!
//! Threads: `gpio-in` belongs to the backend and waits for edges, which go through `input` to the hub without
//! ever taking the lock of the lines; `gpio-out` waits for whatever is due: a lease's end, a longest time on, the
//! next step of a sequence, the next toggle of a software PWM.

mod cdev;
mod input;
mod lines;
mod select;
mod sim;
mod sysfs;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::config;
use crate::rt::clock;
use crate::types::caller::{Caller, CallerId};
use crate::types::event::{Body, Event};
use crate::types::line::{BackendInfo, Bias, Duty, Edge, Level, LineSetting, LineState, Pin, Pwm};
use crate::types::output::{Lease, LeaseWish, LineReport, Sequence, Started};

use input::Input;
use lines::{Hold, Lines, Role};

pub use lines::GpioError;

/// Where the facts go.
pub struct Sinks {
    /// Takes facts that a client's own request caused. Called with the lines locked, so that events keep the order
    /// of the changes: it must not block and must not call [`Gpio`].
    pub publish: Box<dyn Fn(Event) + Send + Sync>,
    /// Takes facts from the room's own threads; says whether there was room for it. It must never wait.
    pub post: Box<dyn Fn(Event) -> bool + Send + Sync>,
}

/// Lines whose pull-up is a resistor on the board (the I²C bus's), on every model.
const FIXED_PULL_UPS: [Pin; 2] = match (Pin::new(2), Pin::new(3)) {
    (Some(data), Some(clock)) => [data, clock],
    _ => panic!("BCM 2 and 3 exist"),
};

/// All lines of this device.
pub struct Gpio {
    inner: Arc<Inner>,
}

struct Inner {
    config: config::Gpio,
    /// Held for one line operation (microseconds) and the sink, nothing else.
    lines: Mutex<Box<dyn Lines>>,
    backend: BackendInfo,
    names: BTreeMap<String, Pin>,
    resources: Resources,
    input: Arc<Input>,
    sinks: Arc<Sinks>,
}

/// Every line's name in events.
type Resources = Arc<[Arc<str>; Pin::COUNT]>;

impl Gpio {
    /// Finds the backend. No line is touched before [`Gpio::start`].
    ///
    /// # Errors
    /// [`GpioError::NoBackend`] where the configured backend does not work here: to simulate what was meant to be
    /// real would be a lie.
    pub fn new(config: &config::Gpio, places: &Places, sinks: Sinks) -> Result<Gpio, GpioError> {
        let (lines, why) = select::backend(config, places)?;
        Ok(Gpio::with_lines(lines, why, config, sinks))
    }

    fn with_lines(lines: Box<dyn Lines>, why: String, config: &config::Gpio, sinks: Sinks) -> Gpio {
        let backend = BackendInfo { name: lines.name(), simulated: lines.simulated(), why };
        let names = config.lines.iter().map(|(name, line)| (name.clone(), line.pin)).collect();
        let resources: Resources = Arc::new(resources(&names));
        let sinks = Arc::new(sinks);
        let input = Arc::new(Input::new(config, &resources, &sinks, lines.debounces()));
        Gpio {
            inner: Arc::new(Inner {
                config: config.clone(),
                lines: Mutex::new(lines),
                backend,
                names,
                resources,
                input,
                sinks,
            }),
        }
    }

    /// Takes the configured lines and starts the threads.
    ///
    /// # Errors
    /// The first configured line that cannot be had, or no thread to be had.
    pub fn start(&self) -> Result<(), GpioError> {
        Ok(())
    }

    /// Which backend runs, and why.
    pub fn backend(&self) -> BackendInfo {
        self.inner.backend.clone()
    }

    /// What the lines are now, in the order asked. Looking never changes a line.
    ///
    /// # Errors
    /// [`GpioError::Unsupported`] for the first line that the board lacks.
    pub fn read(&self, pins: &[Pin]) -> Result<Vec<LineState>, GpioError> {
        let mut lines = self.lock();
        pins.iter().map(|pin| lines.inspect(*pin)).collect()
    }

    /// All that is known of these lines.
    ///
    /// # Errors
    /// As [`Gpio::read`].
    pub fn report(&self, pins: &[Pin]) -> Result<Vec<LineReport>, GpioError> {
        let states = self.read(pins)?;
        let report = |(pin, state): (&Pin, LineState)| LineReport {
            pin: *pin,
            resource: self.resource(*pin),
            state,
            held: false,
            allowed: self.inner.config.may_touch(*pin),
            safe: "low",
            leased_by: None,
            sequence: None,
            edges: self.inner.input.counters(*pin),
        };
        Ok(pins.iter().zip(states).map(report).collect())
    }

    /// Changes all the lines or, after any error, none.
    ///
    /// # Errors
    /// [`GpioError::FixedPullUp`] and [`GpioError::Conflict`] for settings that cannot be, else what the backend
    /// says.
    pub fn update(&self, _caller: &Caller, settings: &[(Pin, LineSetting)]) -> Result<(), GpioError> {
        let holds = validated(settings)?;
        let mut lines = self.lock();
        let before = levels(&mut **lines, &holds)?;
        lines.hold(&holds)?;
        for ((pin, _), before) in holds.iter().zip(before) {
            self.tell(&mut **lines, *pin, before);
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
        self.tell(&mut **lines, pin, before);
        Ok(())
    }

    /// Leases lines to the caller.
    ///
    /// # Errors
    /// [`GpioError::Leased`] where somebody else has one of them, [`GpioError::Denied`].
    pub fn lease(&self, _caller: &Caller, wish: &LeaseWish) -> Result<Lease, GpioError> {
        Err(GpioError::Refused { pin: wish.pins[0], why: "leases come".into() })
    }

    /// Starts a lease's time again, and makes the caller its holder.
    ///
    /// # Errors
    /// [`GpioError::NoSuch`] where it has ended.
    pub fn renew_lease(&self, _caller: &Caller, id: &str) -> Result<Lease, GpioError> {
        Err(GpioError::NoSuch { what: "lease", id: id.into() })
    }

    /// Ends a lease; its lines stay as they are.
    ///
    /// # Errors
    /// [`GpioError::NoSuch`] where it has ended.
    pub fn release_lease(&self, _caller: &Caller, id: &str) -> Result<(), GpioError> {
        Err(GpioError::NoSuch { what: "lease", id: id.into() })
    }

    /// Plays a sequence; whatever plays on one of its lines ends.
    ///
    /// # Errors
    /// As [`Gpio::update`], for its first step; [`GpioError::Invalid`] for one that cannot be played.
    pub fn play(&self, _caller: &Caller, sequence: Sequence) -> Result<Started, GpioError> {
        Err(GpioError::Refused { pin: sequence.pins()[0], why: "sequences come".into() })
    }

    /// Ends a sequence; its lines stay as they are.
    ///
    /// # Errors
    /// [`GpioError::NoSuch`] where it has ended.
    pub fn cancel(&self, _caller: &Caller, id: &str) -> Result<(), GpioError> {
        Err(GpioError::NoSuch { what: "sequence", id: id.into() })
    }

    /// Puts a PWM signal on a line: hertz, and the share of time it is high.
    ///
    /// # Errors
    /// As [`Gpio::update`]; [`GpioError::Invalid`] for a frequency that cannot be made.
    pub fn set_pwm(&self, _caller: &Caller, pin: Pin, _frequency: f64, _duty: Duty) -> Result<Pwm, GpioError> {
        Err(GpioError::Refused { pin, why: "PWM comes".into() })
    }

    /// A caller's connection has ended.
    pub fn gone(&self, _caller: CallerId) {}

    /// Drives every output to its safe state. Bounded and never waits for a client.
    pub fn make_safe(&self, _why: &str) {}

    /// Makes the outputs safe for good, lets the lines go and ends the threads.
    pub fn stop(&self, _limit: Duration) {}

    /// The line with this name: `GPIO17`, `17`, `pin11`, or a configured one.
    pub fn resolve(&self, name: &str) -> Option<Pin> {
        Pin::parse(name).or_else(|| self.inner.names.get(name).copied())
    }

    /// What the line's events call it: its configured name, else `GPIO17`.
    pub fn resource(&self, pin: Pin) -> Arc<str> {
        self.inner.resources[usize::from(pin.number())].clone()
    }

    /// Tells the sink about a line whose level is no longer what it was. A line that cannot be looked at any more
    /// has no level to tell of; the change itself has succeeded.
    fn tell(&self, lines: &mut dyn Lines, pin: Pin, before: Option<Level>) {
        let Some(level) = lines.inspect(pin).ok().and_then(|state| state.level) else { return };
        if before == Some(level) {
            return;
        }
        let body = Body::GpioState { resource: self.resource(pin), pin, level, pwm_duty: None, edges: None };
        (self.inner.sinks.publish)(Event { at: clock::wall(), body });
    }

    /// A panic elsewhere leaves no line half set (each operation is the backend's own), so the lock stays usable.
    fn lock(&self) -> MutexGuard<'_, Box<dyn Lines>> {
        self.inner.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where a backend looks for what it needs.
#[derive(Clone, Debug)]
pub struct Places {
    /// `/sys/class/pwm` and the like are read below this directory.
    pub root: PathBuf,
    /// Where levels are kept that must outlive the process.
    pub state_dir: Option<PathBuf>,
}

/// Each line once, in the order first named; refused before anything has changed.
fn validated(settings: &[(Pin, LineSetting)]) -> Result<Vec<(Pin, Hold)>, GpioError> {
    let mut valid: Vec<(Pin, Hold)> = Vec::with_capacity(settings.len().min(Pin::COUNT));
    for (pin, setting) in settings.iter().copied() {
        if let LineSetting::Input { bias: Bias::Down | Bias::Floating } = setting
            && FIXED_PULL_UPS.contains(&pin)
        {
            return Err(GpioError::FixedPullUp { pin });
        }
        let hold = match setting {
            LineSetting::Input { bias } => Hold {
                active_low: false,
                bias: Some(bias),
                role: Role::Input { edge: Edge::Both, debounce: Duration::ZERO },
            },
            LineSetting::Output { level } => Hold { active_low: false, bias: None, role: Role::Output { level } },
            LineSetting::Fraction { .. } => {
                Hold { active_low: false, bias: None, role: Role::Output { level: Level::High } }
            }
        };
        match valid.iter().find(|(other, _)| *other == pin) {
            None => valid.push((pin, hold)),
            Some((_, same)) if *same == hold => {}
            Some(_) => return Err(GpioError::Conflict { pin }),
        }
    }
    Ok(valid)
}

fn levels(lines: &mut dyn Lines, holds: &[(Pin, Hold)]) -> Result<Vec<Option<Level>>, GpioError> {
    holds.iter().map(|(pin, _)| lines.inspect(*pin).map(|state| state.level)).collect()
}

/// Every line's name in events.
fn resources(names: &BTreeMap<String, Pin>) -> [Arc<str>; Pin::COUNT] {
    std::array::from_fn(|bcm| {
        let configured = names.iter().find(|(_, pin)| usize::from(pin.number()) == bcm);
        configured.map_or_else(|| format!("GPIO{bcm}").into(), |(name, _)| name.as_str().into())
    })
}

#[cfg(test)]
mod tests;
