//! From a typed request to its answer: the one place where errors become what the wire says.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

pub use crate::actions::load::{Load, LoadMeter};
use crate::actions::{gpio, load, snapshot};
use crate::alerts::Alerts;
use crate::config::ErrorStyle;
use crate::gpio::Gpio;
pub use crate::gpio::GpioError;
use crate::hub::{Hub, Presence};
use crate::rt::clock;
use crate::telemetry::Telemetry;
use crate::types::caller::{Caller, CallerId};
use crate::types::debug::Victim;
use crate::types::line::BackendInfo;
use crate::types::reading::{Frequency, Memory, Platform, Reading, Temperature, Throttle, Uptime};
use crate::types::rights::{Lacks, Rights, Verb};
use crate::types::snapshot::Snapshot;
use crate::types::topic::Pattern;
use crate::types::wants::Wants;
use crate::wire::endrpi::{self, Call, Data, Known, Request};
use crate::wire::presence::Present;

/// The HTTP status of what became of a request to the lines.
pub fn status(error: &GpioError) -> u16 {
    match error {
        GpioError::Denied { .. } | GpioError::Lacks(_) => 403,
        GpioError::NoSuch { .. } => 404,
        GpioError::Leased { .. } | GpioError::Held { .. } | GpioError::Rule { .. } => 409,
        GpioError::ShuttingDown { .. } | GpioError::ChipGone { .. } => 503,
        refused if refused.is_refusal() => 400,
        _ => 500,
    }
}

/// Who is connected. Addresses of others are for administrators, as `/info` is.
///
/// # Errors
/// The scope that is missing.
pub fn presence(hub: &Hub, rights: Option<&Rights>) -> Result<Vec<Presence>, Lacks> {
    rights.map_or(Ok(()), |rights| rights.verb(Verb::Admin))?;
    Ok(hub.presence())
}

/// The same, as the wire writes it.
pub fn present(presence: &[Presence]) -> Vec<Present<'_>> {
    fn client(p: &Presence) -> Present<'_> {
        Present {
            name: &p.name,
            address: p.peer,
            since: p.since,
            dialect: p.dialect,
            subscriptions: &p.subscriptions,
            backlog: p.backlog,
            lagged: p.lagged,
        }
    }
    presence.iter().map(client).collect()
}

/// Where requests are answered: handles to the workshops, for every session and the REST twin alike.
pub struct Desk {
    pub gpio: Gpio,
    pub telemetry: Arc<Telemetry>,
    pub error_style: ErrorStyle,
    /// Whether there are actions that harm the daemon on purpose.
    pub debug_actions: bool,
    /// When the daemon started, for `/health`.
    pub started: Instant,
    callers: AtomicU64,
}

/// What a request wants of the session it came in by; everything else is answered here.
pub enum Aside {
    Subscribe(Vec<Pattern>, Wants),
    Unsubscribe(Vec<Pattern>),
    Auth(String),
    Presence,
    Snapshot,
    Publish(endrpi::Publish),
    /// The session's own thread or the hub's shall panic.
    Panic(Victim),
    /// The hub's thread or the store's shall hang.
    Hang(Victim),
}

/// All of `READ_SYSTEM` and `GET /system`.
pub struct SystemReading {
    platform: Platform,
    gpio: BackendInfo,
    temperature: Temperature,
    throttle: Throttle,
    uptime: Uptime,
    frequency: Frequency,
    memory: Memory,
}

impl SystemReading {
    pub fn data(&self) -> Data<'_> {
        Data::System(endrpi::System {
            platform: &self.platform,
            gpio: &self.gpio,
            temperature: &self.temperature,
            throttle: &self.throttle,
            uptime: &self.uptime,
            frequency: &self.frequency,
            memory: &self.memory,
        })
    }
}

impl Desk {
    pub fn new(gpio: Gpio, telemetry: Arc<Telemetry>, error_style: ErrorStyle, debug_actions: bool) -> Desk {
        let callers = AtomicU64::new(1);
        Desk { gpio, telemetry, error_style, debug_actions, started: clock::now(), callers }
    }

    /// A new caller: a session, which says goodbye with [`Desk::gone`].
    pub fn caller(&self, name: impl Into<Arc<str>>) -> Caller {
        let id = CallerId(self.callers.fetch_add(1, Ordering::Relaxed));
        Caller { id: Some(id), name: name.into(), rights: None }
    }

    /// A session has ended.
    pub fn gone(&self, caller: &Caller) {
        if let Some(id) = caller.id {
            self.gpio.gone(id);
        }
    }

    /// Reads a message in Endrpi's dialect.
    ///
    /// # Errors
    /// Why it is no request, in Endrpi's words.
    pub fn read<'a>(&self, text: &'a [u8]) -> Result<Request<'a>, endrpi::Refusal<'a>> {
        let resolve = |name: &str| self.gpio.resolve(name);
        endrpi::parse(text, Known { resolve: &resolve, debug_actions: self.debug_actions })
    }

    /// Answers a request into `out`, or hands back what only its session can do.
    pub fn answer(&self, caller: &Caller, request: &mut Request, out: &mut Vec<u8>) -> Option<Aside> {
        // The call is taken out of the request: its vectors move on, and the envelope stays for the answer.
        let call = std::mem::replace(&mut request.call, Call::Memory);
        let telemetry = &self.telemetry;
        match call {
            Call::Memory => self.tell(request, out, telemetry.memory().as_ref().map(Data::Memory)),
            Call::Temperature => self.tell(request, out, telemetry.temperature().as_ref().map(Data::Temperature)),
            Call::Throttle => self.tell(request, out, telemetry.throttle().as_ref().map(Data::Throttle)),
            Call::Uptime => self.tell(request, out, telemetry.uptime().as_ref().map(Data::Uptime)),
            Call::Frequency => self.tell(request, out, telemetry.frequency().as_ref().map(Data::Frequency)),
            Call::Platform => {
                let backend = self.gpio.backend();
                self.tell(request, out, telemetry.platform().as_ref().map(|p| Data::Platform(p, &backend)));
            }
            Call::System => self.tell(request, out, self.system().as_ref().map(SystemReading::data)),
            Call::ReadPins(pins) => {
                let states = gpio::read(&self.gpio, caller, pins);
                self.tell(request, out, states.as_ref().map(|states| Data::Pins(states)));
            }
            Call::UpdatePins(settings) => {
                let done = gpio::update(&self.gpio, caller, &settings);
                self.tell(request, out, done.as_ref().map(|()| Data::Text(endrpi::PINS_UPDATED)));
            }
            Call::SimulateInput { pin, level } => {
                let done = gpio::simulate(&self.gpio, caller, pin, level);
                self.tell(request, out, done.as_ref().map(|()| Data::Text("Input level simulated")));
            }
            Call::ReadLines(pins) => {
                let reports = gpio::report(&self.gpio, caller, pins);
                self.tell(request, out, reports.as_ref().map(|reports| Data::Lines(reports)));
            }
            Call::Lease(wish) => {
                let lease = self.gpio.lease(caller, &wish);
                self.tell(request, out, lease.as_ref().map(Data::Lease));
            }
            Call::RenewLease(id) => {
                let lease = self.gpio.renew_lease(caller, &id);
                self.tell(request, out, lease.as_ref().map(Data::Lease));
            }
            Call::ReleaseLease(id) => {
                let done = self.gpio.release_lease(caller, &id);
                self.tell(request, out, done.map(|()| Data::Text(endrpi::LEASE_RELEASED)));
            }
            Call::Play(sequence) => {
                let started = self.gpio.play(caller, sequence);
                self.tell(request, out, started.as_ref().map(Data::Sequence));
            }
            Call::Cancel(id) => {
                let done = self.gpio.cancel(caller, &id);
                self.tell(request, out, done.map(|()| Data::Text(endrpi::SEQUENCE_CANCELLED)));
            }
            Call::SetPwm { pin, frequency, duty } => {
                let pwm = self.gpio.set_pwm(caller, pin, frequency, duty);
                self.tell(request, out, pwm.as_ref().map(Data::Pwm));
            }
            Call::DebugPanic(victim @ (Victim::Connection | Victim::Hub)) => return Some(Aside::Panic(victim)),
            Call::DebugPanic(victim) => {
                let there = self.gpio.debug_panic(victim.as_str());
                self.tell(request, out, there.then_some(Data::Text(endrpi::PANIC_ASKED)).ok_or("no such thread"));
            }
            Call::DebugHang(victim @ (Victim::Store | Victim::Hub)) => return Some(Aside::Hang(victim)),
            Call::DebugHang(victim) => {
                let there = self.gpio.debug_hang(victim.as_str());
                self.tell(request, out, there.then_some(Data::Text(endrpi::HANG_ASKED)).ok_or("no such thread"));
            }
            Call::Presence => return Some(Aside::Presence),
            Call::Snapshot => return Some(Aside::Snapshot),
            Call::Publish(publish) => return Some(Aside::Publish(publish)),
            Call::Subscribe(patterns, wants) => return Some(Aside::Subscribe(patterns, wants)),
            Call::Unsubscribe(patterns) => return Some(Aside::Unsubscribe(patterns)),
            Call::Auth { api_key } => return Some(Aside::Auth(api_key)),
        }
        None
    }

    /// Writes the answer to a request in Endrpi's envelope.
    pub fn tell<E: std::fmt::Display>(&self, request: &Request, out: &mut Vec<u8>, answer: Result<Data, E>) {
        let action = request.action.as_str();
        match answer {
            Ok(data) => endrpi::success(out, action, data, request.id),
            Err(error) => endrpi::failure(out, Some(action), &error.to_string(), request.id, self.error_style),
        }
    }

    /// Everything at once, all or nothing: the model has no room for a missing part.
    ///
    /// # Errors
    /// The first part that cannot be read.
    pub fn system(&self) -> Reading<SystemReading> {
        Ok(SystemReading {
            platform: self.telemetry.platform()?,
            gpio: self.gpio.backend(),
            temperature: self.telemetry.temperature()?,
            throttle: self.telemetry.throttle()?,
            uptime: self.telemetry.uptime()?,
            frequency: self.telemetry.frequency()?,
            memory: self.telemetry.memory()?,
        })
    }

    /// Pins, readings and alerts, as far as the caller may see them, and from where events tell what changes.
    ///
    /// # Errors
    /// The lines cannot be read.
    pub fn snapshot(&self, hub: &Hub, alerts: &Alerts, caller: &Caller) -> Result<Snapshot, GpioError> {
        snapshot::take(hub, &self.gpio, &self.telemetry, alerts, caller)
    }

    /// How busy the machine is since the meter was last read.
    pub fn load(&self, meter: &mut LoadMeter) -> Option<Load> {
        load::measure(&self.telemetry, meter)
    }
}
