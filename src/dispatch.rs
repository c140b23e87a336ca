//! From a typed request to its answer: the one place where errors become what the wire says.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

pub use crate::actions::load::{Load, LoadMeter};
use crate::actions::{gpio, load};
use crate::config::ErrorStyle;
use crate::gpio::Gpio;
use crate::rt::clock;
use crate::telemetry::Telemetry;
use crate::types::caller::{Caller, CallerId};
use crate::types::line::BackendInfo;
use crate::types::reading::{Frequency, Memory, Platform, Reading, Temperature, Throttle, Uptime};
use crate::types::topic::Pattern;
use crate::wire::endrpi::{self, Call, Data, Request};

/// Where requests are answered: handles to the workshops, for every session and the REST twin alike.
pub struct Desk {
    pub gpio: Gpio,
    pub telemetry: Telemetry,
    pub error_style: ErrorStyle,
    /// When the daemon started, for `/health`.
    pub started: Instant,
    callers: AtomicU64,
}

/// What a request wants of the session it came in by; everything else is answered here.
pub enum Aside {
    Subscribe(Vec<Pattern>),
    Unsubscribe(Vec<Pattern>),
    Auth(String),
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
    pub fn new(gpio: Gpio, telemetry: Telemetry, error_style: ErrorStyle) -> Desk {
        Desk { gpio, telemetry, error_style, started: clock::now(), callers: AtomicU64::new(1) }
    }

    /// A new caller: a session, which says goodbye with [`Desk::gone`].
    pub fn caller(&self, name: impl Into<Arc<str>>) -> Caller {
        let id = CallerId(self.callers.fetch_add(1, Ordering::Relaxed));
        Caller { id: Some(id), name: name.into() }
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
        endrpi::parse(text, &|name| self.gpio.resolve(name))
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
                let states = gpio::read(&self.gpio, pins);
                self.tell(request, out, states.as_ref().map(|states| Data::Pins(states)));
            }
            Call::UpdatePins(settings) => {
                let done = gpio::update(&self.gpio, caller, &settings);
                self.tell(request, out, done.as_ref().map(|()| Data::Text(endrpi::PINS_UPDATED)));
            }
            Call::SimulateInput { pin, level } => {
                let done = gpio::simulate(&self.gpio, pin, level);
                self.tell(request, out, done.as_ref().map(|()| Data::Text("Input level simulated")));
            }
            Call::Subscribe(patterns) => return Some(Aside::Subscribe(patterns)),
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

    /// How busy the machine is since the meter was last read.
    pub fn load(&self, meter: &mut LoadMeter) -> Option<Load> {
        load::measure(&self.telemetry, meter)
    }
}
