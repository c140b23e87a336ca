//! The workshop that owns the GPIO lines.
//!
//! [`Gpio`] checks what is asked (`output` holds the rules, `lease` who may), lets one backend do it, and reports
//! each change of a level, once and in order, to the sinks it was given. It knows nothing of who listens.
//!
//! Threads: `gpio-in` belongs to the backend and waits for edges, which go through `input` to the hub without
//! ever taking the lock of the lines; `gpio-out` waits for whatever is due: a lease's end, a longest time on, the
//! next step of a sequence, the next toggle of a software PWM.

mod access;
mod cdev;
mod engine;
mod id;
mod input;
mod lease;
mod lines;
mod locked;
mod output;
mod persist;
mod pwm;
mod reload;
mod requests;
mod select;
mod sequence;
mod signals;
mod sim;
mod soft_pwm;
mod sysfs;
mod told;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::config::{self, Mode};
use crate::rt::clock;
use crate::rt::pulse::{Asked, Pulse};
use crate::rt::worker::Worker;
use crate::types::caller::CallerId;
use crate::types::event::Event;
use crate::types::line::{BackendInfo, LineState, Pin};
use crate::types::output::LineReport;

use engine::State;
use input::Input;

use output::Outputs;

use lines::Bell;
pub use lines::GpioError;
pub use reload::Kept;
pub use sysfs::{SysfsChip, sysfs_chip};

/// Where the facts go.
pub struct Sinks {
    /// Takes facts that a client's own request caused. Called with the lines locked, so that events keep the order
    /// of the changes: it must not block and must not call [`Gpio`].
    pub publish: Box<dyn Fn(Event) + Send + Sync>,
    /// Takes facts from the room's own threads; says whether there was room for it. It must never wait.
    pub post: Box<dyn Fn(Event) -> bool + Send + Sync>,
    /// The same for edges, which are in a hurry: it may stay where it is until `send` is called, right after.
    pub leave: Box<dyn Fn(Event) -> bool + Send + Sync>,
    /// Sees to it that what was left is on its way, with no line locked. It must never wait.
    pub send: Box<dyn Fn() + Send + Sync>,
}

impl Sinks {
    /// Two that take everything at once.
    pub fn new(
        publish: impl Fn(Event) + Send + Sync + 'static,
        post: impl Fn(Event) -> bool + Send + Sync + 'static,
    ) -> Sinks {
        let post = Arc::new(post);
        let leave = Arc::clone(&post);
        let (post, leave) = (move |event| post(event), move |event| leave(event));
        Sinks { publish: Box::new(publish), post: Box::new(post), leave: Box::new(leave), send: Box::new(|| {}) }
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

/// All lines of this device.
pub struct Gpio {
    inner: Arc<Inner>,
}

/// Every line's name in events: its configured one, else `GPIO17`. A reload may change them.
struct Resources(RwLock<[Arc<str>; Pin::COUNT]>);

struct Inner {
    /// What is in use; replaced as a whole by a reload.
    config: RwLock<Arc<config::Gpio>>,
    /// Held for one operation (microseconds) and the sinks, nothing else.
    state: Mutex<State>,
    /// Who has to have that lock first.
    urgency: locked::Urgency,
    backend: BackendInfo,
    resources: Arc<Resources>,
    input: Arc<Input>,
    sinks: Arc<Sinks>,
    /// Wakes `gpio-out`; one pending wake-up is as good as many.
    nudge: (Sender<()>, Receiver<()>),
    stopping: AtomicBool,
    worker: Mutex<Option<Worker>>,
    /// Of `gpio-out`.
    pulse: Pulse,
    writer: persist::Writer,
    /// Wakes `gpio-in`, where there is one.
    bell: OnceLock<Bell>,
    /// A failure test wants `gpio-out` to crash.
    crash: AtomicBool,
    /// The same of the next reload.
    crash_reload: AtomicBool,
}

impl Gpio {
    /// Finds the backend. No line is touched before [`Gpio::start`].
    ///
    /// # Errors
    /// [`GpioError::NoBackend`] where the configured backend does not work here: to simulate what was meant to be
    /// real would be a lie.
    pub fn new(config: &config::Gpio, places: &Places, sinks: Sinks) -> Result<Gpio, GpioError> {
        let (lines, why) = select::backend(config, places)?;
        let backend = BackendInfo { name: lines.name(), simulated: lines.simulated(), why };
        let resources = Arc::new(Resources::new(config));
        let sinks = Arc::new(sinks);
        let input = Arc::new(Input::new(config, &resources, &sinks, lines.debounces()));
        let state = State {
            outputs: Outputs::new(lines, config),
            leases: lease::Leases::default(),
            sequences: sequence::Sequences::default(),
            pwm: soft_pwm::SoftPwm::default(),
            hardware: signals::HardwarePwm::new(&places.root),
            persist: persist::Persist::open(places.state_dir.as_deref()),
            told: told::Told::new(config.edge_events),
            sealed: false,
        };
        let inner = Arc::new(Inner {
            config: RwLock::new(Arc::new(config.clone())),
            state: Mutex::new(state),
            urgency: locked::Urgency::default(),
            backend,
            resources,
            input,
            sinks,
            nudge: bounded(1),
            stopping: AtomicBool::new(false),
            worker: Mutex::default(),
            pulse: Pulse::default(),
            writer: persist::Writer::default(),
            bell: OnceLock::new(),
            crash: AtomicBool::new(false),
            crash_reload: AtomicBool::new(false),
        });
        let chip = Arc::downgrade(&inner);
        inner.input.on_chip(move |present| {
            if let Some(inner) = chip.upgrade() {
                inner.chip(present);
            }
        });
        Ok(Gpio { inner })
    }

    /// Takes the configured lines and starts the threads. A line that cannot be had is reported in the log.
    ///
    /// # Errors
    /// No thread to be had.
    pub fn start(&self) -> std::io::Result<()> {
        let inner = &self.inner;
        let bell = {
            let mut state = inner.lock();
            let lines = state.outputs.lines();
            lines.watch(Arc::clone(&inner.input) as Arc<dyn lines::Watcher>)?;
            lines.bell()
        };
        if let Some(bell) = bell {
            let _ = inner.bell.set(bell);
        }
        inner.set_up();
        let own = Arc::clone(inner);
        let worker = Worker::spawn("gpio-out", move || own.run(&own.nudge.1))?;
        *inner.worker.lock().unwrap_or_else(PoisonError::into_inner) = Some(worker);
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
        let mut state = self.inner.lock();
        pins.iter().map(|pin| state.inspect(*pin)).collect()
    }

    /// All that is known of these lines.
    ///
    /// # Errors
    /// As [`Gpio::read`].
    pub fn report(&self, pins: &[Pin]) -> Result<Vec<LineReport>, GpioError> {
        let mut state = self.inner.lock();
        let config = self.inner.config();
        let report = |pin: &Pin| {
            Ok(LineReport {
                pin: *pin,
                resource: self.resource(*pin),
                state: state.inspect(*pin)?,
                held: state.outputs.held(*pin).is_some(),
                allowed: config.may_touch(*pin),
                safe: state.outputs.config(*pin).safe.as_str(),
                leased_by: state.leases.holder(*pin),
                sequence: state.sequences.on(*pin).map(str::to_owned),
                edges: self.inner.input.counters(*pin),
            })
        };
        pins.iter().map(report).collect()
    }

    /// A caller's connection has ended.
    pub fn gone(&self, caller: CallerId) {
        // From here on its grace runs, however long the lines are busy.
        let now = clock::now();
        let mut state = self.inner.lock_soon(engine::SAFE_LOCK_LIMIT);
        state.leases.gone(caller, now);
        state.outputs.orphan(caller, now);
        self.inner.nudge_if_earlier(&state);
    }

    /// Drives every output to its safe state; for a crash somewhere. What comes after is served again. Returns whether
    /// it was tried: it cannot be by the thread that is in here at the moment, which has to ask again on its way out.
    pub fn make_safe(&self, why: &str) -> bool {
        if locked::is_in_here() {
            return false;
        }
        if !self.inner.make_safe(why, false) {
            log::error!("the outputs could not be made safe: their lock is held");
        }
        true
    }

    /// Drives every output to its safe state for good: nobody writes after it.
    pub fn seal(&self, why: &str) {
        if !self.inner.make_safe(why, true) {
            log::error!("the outputs could not be made safe: their lock is held");
        }
    }

    /// Lets the lines go and ends the threads, each within `limit`. After [`Gpio::seal`].
    pub fn stop(&self, limit: Duration) {
        let inner = &self.inner;
        inner.stopping.store(true, Ordering::Release);
        inner.nudge();
        if let Some(worker) = inner.worker.lock().unwrap_or_else(PoisonError::into_inner).take() {
            worker.join(limit);
        }
        // Never let go of what is not safe: whoever had the lock then has it no more.
        if !inner.lock().sealed {
            self.seal("shutting down");
        }
        let mut guard = inner.lock();
        guard.outputs.lines().stop(limit);
        let pins = guard.outputs.held_pins();
        let state = &mut *guard;
        state.outputs.release(&pins);
        state.hardware.release(&state.outputs);
        let file = state.persist.take();
        drop(guard);
        if let Some(file) = file {
            inner.writer.write(file);
        }
        inner.writer.stop(limit);
    }

    /// Drives the configured outputs to their safe states, without a daemon, and lets them go. Says per line what was
    /// done, or why not.
    pub fn drive_safe(&self) -> Vec<(Arc<str>, Result<&'static str, GpioError>)> {
        let mut guard = self.inner.lock();
        let state = &mut *guard;
        let now = clock::now();
        let mut pins = state.outputs.configured(Mode::Output);
        // A line that is a PWM block's must not be taken as a GPIO, not even to be switched off.
        let signals = state.outputs.configured(Mode::Pwm);
        let by_block = if self.inner.backend.simulated {
            Vec::new()
        } else {
            let lines: Vec<_> = signals.iter().map(|pin| state.outputs.config(*pin)).collect();
            state.hardware.drive_safe(&lines)
        };
        pins.extend(signals.into_iter().filter(|pin| by_block.iter().all(|(other, _)| other != pin)));
        let by_block = by_block.into_iter().map(|(pin, done)| {
            let done = done.map(|()| state.outputs.config(pin).safe.as_str());
            (self.resource(pin), done.map_err(|why| GpioError::Refused { pin, why }))
        });
        let by_block: Vec<_> = by_block.collect();
        let wanted = pins.iter().filter_map(|pin| Some((*pin, state.outputs.safe_hold(*pin)?))).collect();
        let (_, mut failed) = state.outputs.put_each(wanted, now);
        let done = pins.into_iter().map(|pin| {
            let failed = failed.iter().position(|(other, _)| *other == pin).map(|place| failed.swap_remove(place).1);
            (self.resource(pin), failed.map_or(Ok(state.outputs.config(pin).safe.as_str()), Err))
        });
        let done = done.chain(by_block).collect();
        let held = state.outputs.held_pins();
        state.outputs.release(&held);
        done
    }

    /// Makes a thread of this room crash, for failure tests: `gpio-out` at once, `gpio-in` at its next edge, and who
    /// comes with the next reload. Says whether there is one with this name.
    pub fn debug_panic(&self, thread: &str) -> bool {
        match thread {
            "gpio-out" => {
                self.inner.crash.store(true, Ordering::Release);
                self.inner.nudge();
                true
            }
            "gpio-in" => {
                self.inner.input.debug_panic();
                true
            }
            "reload" => {
                self.inner.crash_reload.store(true, Ordering::Release);
                true
            }
            _ => false,
        }
    }

    /// This room's threads, to be asked whether they come round. After [`Gpio::start`].
    pub fn asked(&self) -> Vec<Asked> {
        let (gpio_in, gpio_out) = (Arc::clone(&self.inner), Arc::clone(&self.inner));
        let ask_in = move |answer| gpio_in.leave_for_in(|pulse| pulse.ask(answer));
        let ask_out = move |answer| gpio_out.leave_for_out(|pulse| pulse.ask(answer));
        let mut asked = vec![Asked { name: "gpio-out", ask: Box::new(ask_out) }];
        if self.inner.bell.get().is_some() {
            asked.push(Asked { name: "gpio-in", ask: Box::new(ask_in) });
        }
        asked
    }

    /// Has a thread of this room hang, for failure tests. Says whether there is one with this name.
    pub fn debug_hang(&self, thread: &str) -> bool {
        match thread {
            "gpio-out" => self.inner.leave_for_out(Pulse::debug_hang),
            "gpio-in" if self.inner.bell.get().is_some() => self.inner.leave_for_in(Pulse::debug_hang),
            _ => return false,
        }
        true
    }

    /// The line with this name: `GPIO17`, `17`, `pin11`, or a configured one.
    pub fn resolve(&self, name: &str) -> Option<Pin> {
        Pin::parse(name).or_else(|| Some(self.inner.config().lines.get(name)?.pin))
    }

    /// What the line's events call it: its configured name, else `GPIO17`.
    pub fn resource(&self, pin: Pin) -> Arc<str> {
        self.inner.resource(pin)
    }
}

impl Inner {
    fn resource(&self, pin: Pin) -> Arc<str> {
        self.resources.get(pin)
    }

    fn config(&self) -> Arc<config::Gpio> {
        Arc::clone(&self.config.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn nudge(&self) {
        let _ = self.nudge.0.try_send(());
    }

    fn leave_for_out(&self, leave: impl FnOnce(&Pulse)) {
        leave(&self.pulse);
        self.nudge();
    }

    fn leave_for_in(&self, leave: impl FnOnce(&Pulse)) {
        leave(self.input.pulse());
        if let Some(bell) = self.bell.get() {
            bell();
        }
    }

    /// Wakes `gpio-out` only where something became due that it cannot know of: a plain write has nothing.
    fn nudge_if_earlier(&self, state: &State) {
        if state.outputs.next_due().is_some() || state.leases.next_due().is_some() || state.persist.next_due().is_some()
        {
            self.nudge();
        }
    }

    fn stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }
}

impl Resources {
    fn new(config: &config::Gpio) -> Resources {
        Resources(RwLock::new(
            Pin::ALL.map(|pin| config.line(pin).map_or_else(|| pin.to_string().into(), |(name, _)| name.into())),
        ))
    }

    fn get(&self, pin: Pin) -> Arc<str> {
        let names = self.0.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&names[usize::from(pin.number())])
    }

    fn set(&self, pin: Pin, name: &str) {
        self.0.write().unwrap_or_else(PoisonError::into_inner)[usize::from(pin.number())] = name.into();
    }
}

#[cfg(test)]
mod tests;
