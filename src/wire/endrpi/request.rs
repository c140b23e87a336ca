//! From a message to what it asks for, or to the refusal that Endrpi would give.

use std::borrow::Cow;
use std::fmt;

use serde_json::value::RawValue;

use super::params::output;
use super::{json, params, text};
use crate::types::debug::Victim;
use crate::types::line::{Duty, Level, LineSetting, Pin};
use crate::types::output::{LeaseWish, Sequence};
use crate::types::topic::Pattern;
use crate::types::wants::Wants;

/// A request that can be carried out.
#[derive(Debug)]
pub struct Request<'a> {
    pub action: ActionName,
    /// The client's own mark, to be sent back as it is; any JSON value.
    pub id: Option<&'a RawValue>,
    pub call: Call,
}

/// The name of a known action, as it was sent: `GET_MEMORY` stays `GET_MEMORY`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ActionName(&'static str);

impl ActionName {
    pub fn as_str(self) -> &'static str {
        self.0
    }
}

/// What a request asks for.
#[derive(Clone, PartialEq)]
pub enum Call {
    Temperature,
    Throttle,
    Uptime,
    Frequency,
    Memory,
    Platform,
    System,
    /// Lines with the names they were asked by, each name once, in the order asked.
    ReadPins(Vec<(String, Pin)>),
    /// Each line once, in the order sent; never empty.
    UpdatePins(Vec<(Pin, LineSetting)>),
    SimulateInput {
        pin: Pin,
        level: Level,
    },
    /// As [`Call::ReadPins`], never empty.
    ReadLines(Vec<(String, Pin)>),
    Lease(LeaseWish),
    RenewLease(String),
    ReleaseLease(String),
    /// A pulse, blinking, or any steps.
    Play(Sequence),
    Cancel(String),
    /// In hertz.
    SetPwm {
        pin: Pin,
        frequency: f64,
        duty: Duty,
    },
    /// Only where debug actions are allowed.
    DebugPanic(Victim),
    DebugHang(Victim),
    /// Who is connected.
    Presence,
    /// Pins, readings and alerts, and from where events tell what changes.
    Snapshot,
    Publish(Publish),
    /// Never empty.
    Subscribe(Vec<Pattern>, Wants),
    /// Empty for everything subscribed.
    Unsubscribe(Vec<Pattern>),
    Auth {
        api_key: String,
    },
}

/// What a client publishes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publish {
    /// Never empty.
    pub topic: String,
    pub data: String,
    /// Whether its client wants to know what becomes of it.
    pub ack: bool,
}

impl Call {
    /// A reading of the machine, which touches no line.
    pub fn is_telemetry(&self) -> bool {
        use Call::{Frequency, Memory, Platform, System, Temperature, Throttle, Uptime};
        matches!(self, Temperature | Throttle | Uptime | Frequency | Memory | Platform | System)
    }
}

/// Never prints the key.
impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Call::Temperature => f.write_str("Temperature"),
            Call::Throttle => f.write_str("Throttle"),
            Call::Uptime => f.write_str("Uptime"),
            Call::Frequency => f.write_str("Frequency"),
            Call::Memory => f.write_str("Memory"),
            Call::Platform => f.write_str("Platform"),
            Call::System => f.write_str("System"),
            Call::ReadPins(pins) => f.debug_tuple("ReadPins").field(pins).finish(),
            Call::UpdatePins(settings) => f.debug_tuple("UpdatePins").field(settings).finish(),
            Call::SimulateInput { pin, level } => write!(f, "SimulateInput({pin}, {level:?})"),
            Call::ReadLines(pins) => f.debug_tuple("ReadLines").field(pins).finish(),
            Call::Lease(wish) => f.debug_tuple("Lease").field(wish).finish(),
            Call::RenewLease(id) => f.debug_tuple("RenewLease").field(id).finish(),
            Call::ReleaseLease(id) => f.debug_tuple("ReleaseLease").field(id).finish(),
            Call::Play(sequence) => f.debug_tuple("Play").field(sequence).finish(),
            Call::Cancel(id) => f.debug_tuple("Cancel").field(id).finish(),
            Call::SetPwm { pin, frequency, duty } => write!(f, "SetPwm({pin}, {frequency}, {duty:?})"),
            Call::DebugPanic(victim) => f.debug_tuple("DebugPanic").field(victim).finish(),
            Call::DebugHang(victim) => f.debug_tuple("DebugHang").field(victim).finish(),
            Call::Presence => f.write_str("Presence"),
            Call::Snapshot => f.write_str("Snapshot"),
            Call::Publish(publish) => publish.fmt(f),
            Call::Subscribe(topics, wants) => f.debug_tuple("Subscribe").field(topics).field(wants).finish(),
            Call::Unsubscribe(topics) => f.debug_tuple("Unsubscribe").field(topics).finish(),
            Call::Auth { .. } => f.write_str("Auth(…)"),
        }
    }
}

/// Why a message asks for nothing that can be done.
#[derive(Debug)]
pub struct Refusal<'a> {
    /// `None` until the action is known to exist.
    pub action: Option<ActionName>,
    pub id: Option<&'a RawValue>,
    /// The protocol's text.
    pub message: Cow<'static, str>,
}

/// What of the daemon decides how a message is read.
#[derive(Clone, Copy)]
pub struct Known<'r> {
    /// The line with this name.
    pub resolve: &'r dyn Fn(&str) -> Option<Pin>,
    /// Whether there are actions that harm the daemon on purpose.
    pub debug_actions: bool,
}

/// Reads a message, text or binary.
///
/// # Errors
/// The first reason, in Endrpi's order, why this is no request.
pub fn parse<'a>(text: &'a [u8], known: Known<'_>) -> Result<Request<'a>, Refusal<'a>> {
    let Ok(text) = std::str::from_utf8(text) else { return Err(Refusal::new(text::INVALID_MESSAGE)) };
    if let Some(envelope) = json::pick(text, MEMBERS) {
        return decide(envelope, known);
    }
    if json::is_json(text) {
        return Err(Refusal::new(text::MISSING_ACTION));
    }
    match json::without_python_constants(text) {
        Some(patched) => decide_patched(text, &patched, known),
        None => Err(Refusal::new(text::INVALID_MESSAGE)),
    }
}

impl Refusal<'_> {
    fn new(message: &'static str) -> Self {
        Refusal { action: None, id: None, message: message.into() }
    }
}

/// What the envelope is made of: `action`, `id`, `params`. All else is ignored.
type Envelope<'a> = [Option<&'a RawValue>; 3];
const MEMBERS: [&str; 3] = ["action", "id", "params"];

type Resolve<'r> = &'r dyn Fn(&str) -> Option<Pin>;
type Make = fn(Option<&RawValue>, Resolve<'_>) -> Result<Call, Cow<'static, str>>;

/// No actions at all where debug actions are not allowed.
const DEBUG_ACTIONS: [&str; 2] = ["DEBUG_PANIC", "DEBUG_HANG"];

/// Every action, under each of its names.
const ACTIONS: [(&str, Make); 36] = [
    ("READ_MEMORY", |_, _| Ok(Call::Memory)),
    ("GET_MEMORY", |_, _| Ok(Call::Memory)),
    ("READ_TEMPERATURE", |_, _| Ok(Call::Temperature)),
    ("GET_TEMPERATURE", |_, _| Ok(Call::Temperature)),
    ("READ_THROTTLE", |_, _| Ok(Call::Throttle)),
    ("GET_THROTTLE", |_, _| Ok(Call::Throttle)),
    ("READ_UPTIME", |_, _| Ok(Call::Uptime)),
    ("GET_UPTIME", |_, _| Ok(Call::Uptime)),
    ("READ_FREQUENCY", |_, _| Ok(Call::Frequency)),
    ("GET_FREQUENCY", |_, _| Ok(Call::Frequency)),
    ("READ_PLATFORM", |_, _| Ok(Call::Platform)),
    ("GET_PLATFORM", |_, _| Ok(Call::Platform)),
    ("READ_SYSTEM", |_, _| Ok(Call::System)),
    ("GET_SYSTEM", |_, _| Ok(Call::System)),
    ("READ_PIN_CONFIGURATIONS", params::read_pins),
    ("UPDATE_PIN_CONFIGURATIONS", params::update_pins),
    ("SIMULATE_INPUT", params::simulate_input),
    ("READ_LINES", output::read_lines),
    ("LEASE_PINS", output::lease_pins),
    ("RENEW_LEASE", |params, _| output::renew_lease(params)),
    ("RELEASE_LEASE", |params, _| output::release_lease(params)),
    ("PULSE_PIN", output::pulse_pin),
    ("BLINK_PIN", output::blink_pin),
    ("PLAY_PINS", output::play_pins),
    ("CANCEL_SEQUENCE", |params, _| output::cancel_sequence(params)),
    ("SET_PWM", output::set_pwm),
    ("DEBUG_PANIC", |params, _| output::debug_panic(params)),
    ("DEBUG_HANG", |params, _| output::debug_hang(params)),
    ("READ_PRESENCE", |_, _| Ok(Call::Presence)),
    ("GET_PRESENCE", |_, _| Ok(Call::Presence)),
    ("READ_SNAPSHOT", |_, _| Ok(Call::Snapshot)),
    ("GET_SNAPSHOT", |_, _| Ok(Call::Snapshot)),
    ("PUBLISH", |params, _| params::publish(params)),
    ("SUBSCRIBE", |params, _| params::subscribe(params)),
    ("UNSUBSCRIBE", |params, _| params::unsubscribe(params)),
    ("AUTH", |params, _| params::auth(params)),
];

fn decide<'a>([action, id, params]: Envelope<'a>, known: Known<'_>) -> Result<Request<'a>, Refusal<'a>> {
    let (name, make) =
        known_action(action, known.debug_actions).map_err(|message| Refusal { id, ..Refusal::new(message) })?;
    match make(params, known.resolve) {
        Ok(call) => Ok(Request { action: name, id, call }),
        Err(message) => Err(Refusal { action: Some(name), id, message }),
    }
}

fn known_action(action: Option<&RawValue>, debug_actions: bool) -> Result<(ActionName, Make), &'static str> {
    let action = action.filter(|action| action.get().starts_with('"') && action.get() != "\"\"");
    let name = json::string(action.ok_or(text::MISSING_ACTION)?).ok_or(text::INVALID_ACTION)?;
    let mut actions = ACTIONS.iter().filter(|(known, _)| debug_actions || !DEBUG_ACTIONS.contains(known));
    let known = actions.find(|(known, _)| *known == name);
    known.map(|(name, make)| (ActionName(name), *make)).ok_or(text::INVALID_ACTION)
}

/// Decides on the message with its Python constants replaced, and takes the id from the original: what a client
/// gets back must be what it sent (an id that is itself no JSON cannot be sent back at all).
fn decide_patched<'a>(text: &'a str, patched: &str, known: Known<'_>) -> Result<Request<'a>, Refusal<'a>> {
    let Some(envelope) = json::pick(patched, MEMBERS) else {
        let valid = json::is_json(patched);
        return Err(Refusal::new(if valid { text::MISSING_ACTION } else { text::INVALID_MESSAGE }));
    };
    let original = |id: &RawValue| {
        let start = id.get().as_ptr() as usize - patched.as_ptr() as usize;
        serde_json::from_str(text.get(start..start + id.get().len())?).ok()
    };
    match decide(envelope, known) {
        Ok(Request { action, id, call }) => Ok(Request { action, id: id.and_then(original), call }),
        Err(Refusal { action, id, message }) => Err(Refusal { action, id: id.and_then(original), message }),
    }
}

#[cfg(test)]
mod tests;
