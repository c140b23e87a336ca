//! Endrpi's models, member by member in the documented order.

use super::line;
use super::write::{float, member, put, string};
use crate::types::line::{BackendInfo, LineState, Pwm};
use crate::types::output::{Lease, LineReport, Started};
use crate::types::position::Position;
use crate::types::reading::{Frequency, Memory, Platform, Temperature, Throttle, Uptime};
use crate::types::snapshot::Snapshot;
use crate::types::wants::Resumed;
use crate::wire::chatops::rest as chatops;
use crate::wire::chatops::write::list;
use crate::wire::presence::{self, Present};
use crate::wire::{time, wants};

/// What a reply carries.
#[derive(Clone, Copy)]
pub enum Data<'a> {
    Temperature(&'a Temperature),
    Throttle(&'a Throttle),
    Uptime(&'a Uptime),
    Frequency(&'a Frequency),
    Memory(&'a Memory),
    Platform(&'a Platform, &'a BackendInfo),
    System(System<'a>),
    /// Lines by the names they were asked by.
    Pins(&'a [(String, LineState)]),
    /// The same, with all that is known.
    Lines(&'a [(String, LineReport)]),
    Lease(&'a Lease),
    Sequence(&'a Started),
    Pwm(&'a Pwm),
    Presence(&'a [Present<'a>]),
    Snapshot(&'a Snapshot),
    /// The answer to a subscription that asks for more than its topics.
    Subscribed(&'a Resumed),
    /// `accepted` or `durable`, and where the event is.
    Published(&'a str, Position),
    Text(&'a str),
}

/// Everything at once.
#[derive(Clone, Copy, Debug)]
pub struct System<'a> {
    pub platform: &'a Platform,
    pub gpio: &'a BackendInfo,
    pub temperature: &'a Temperature,
    pub throttle: &'a Throttle,
    pub uptime: &'a Uptime,
    pub frequency: &'a Frequency,
    pub memory: &'a Memory,
}

/// Appends the model alone, as the REST twin sends it.
pub fn model(out: &mut Vec<u8>, data: Data<'_>) {
    match data {
        Data::Temperature(temperature) => {
            member(out, "{\"systemOnChip\":", |out| measurement(out, temperature.celsius, "null", "CELSIUS"));
            out.push(b'}');
        }
        Data::Throttle(throttle) => flags(out, throttle.bits),
        Data::Uptime(uptime) => {
            member(out, "{\"seconds\":", |out| float(out, uptime.seconds));
            member(out, ",\"formatted\":\"", |out| timedelta(out, uptime.seconds));
            out.extend(b"\"}");
        }
        Data::Frequency(frequency) => {
            member(out, "{\"arm\":", |out| measurement(out, frequency.arm_hertz, "null", "HERTZ"));
            member(out, ",\"core\":", |out| measurement(out, frequency.core_hertz, "null", "HERTZ"));
            out.push(b'}');
        }
        Data::Memory(memory) => {
            member(out, "{\"total\":", |out| kib(out, memory.total_kib));
            member(out, ",\"free\":", |out| kib(out, memory.free_kib));
            member(out, ",\"available\":", |out| kib(out, memory.available_kib));
            out.push(b'}');
        }
        Data::Platform(platform, gpio) => self::platform(out, platform, gpio),
        Data::System(system) => self::system(out, system),
        Data::Pins(pins) => named(out, pins, line::pin),
        Data::Lines(reports) => named(out, reports, line::report),
        Data::Lease(lease) => line::lease(out, lease),
        Data::Sequence(started) => line::sequence(out, started),
        Data::Pwm(pwm) => line::pwm(out, pwm),
        Data::Presence(clients) => {
            member(out, "{\"clients\":", |out| presence::clients(out, clients, string));
            out.push(b'}');
        }
        Data::Snapshot(snapshot) => self::snapshot(out, snapshot),
        Data::Subscribed(resumed) => {
            member(out, "{\"message\":\"Subscribed\",", |out| wants::resumed(out, resumed));
            out.push(b'}');
        }
        Data::Published(status, position) => {
            put(out, format_args!("{{\"message\":\"Published\",\"status\":\"{status}\","));
            wants::position(out, position);
            out.push(b'}');
        }
        Data::Text(text) => string(out, text),
    }
}

fn snapshot(out: &mut Vec<u8>, snapshot: &Snapshot) {
    fn reading<'a, T>(out: &mut Vec<u8>, name: &str, reading: Option<&'a T>, data: fn(&'a T) -> Data<'a>) {
        member(out, name, |out| match reading {
            Some(reading) => model(out, data(reading)),
            None => out.extend(b"null"),
        });
    }
    out.push(b'{');
    wants::position(out, snapshot.position);
    member(out, ",\"timestamp\":\"", |out| time::write_millis(out, snapshot.at));
    member(out, "\",\"pins\":", |out| named(out, &snapshot.pins, line::pin));
    reading(out, ",\"telemetry\":{\"temperature\":", snapshot.temperature.as_ref(), Data::Temperature);
    reading(out, ",\"throttle\":", snapshot.throttle.as_ref(), Data::Throttle);
    reading(out, ",\"uptime\":", snapshot.uptime.as_ref(), Data::Uptime);
    reading(out, ",\"frequency\":", snapshot.frequency.as_ref(), Data::Frequency);
    reading(out, ",\"memory\":", snapshot.memory.as_ref(), Data::Memory);
    member(out, "},\"alerts\":", |out| match &snapshot.alerts {
        Some(alerts) => list(out, alerts, chatops::alert),
        None => out.extend(b"null"),
    });
    out.push(b'}');
}

fn measurement(out: &mut Vec<u8>, quantity: f64, prefix: &str, unit: &str) {
    member(out, "{\"quantity\":", |out| float(out, quantity));
    out.extend(b",\"prefix\":");
    out.extend(prefix.as_bytes());
    out.extend(b",\"unitOfMeasurement\":\"");
    out.extend(unit.as_bytes());
    out.extend(b"\"}");
}

/// The kernel's KiB as Endrpi labels them; exact up to 8 EiB.
fn kib(out: &mut Vec<u8>, kib: u64) {
    measurement(out, kib as f64, "\"KILO\"", "BYTE");
}

/// The firmware's bits in Endrpi's order.
fn flags(out: &mut Vec<u8>, bits: u32) {
    const FLAGS: [(u32, &str); 8] = [
        (2, "{\"throttling\":"),
        (18, ",\"throttlingHasOccurred\":"),
        (0, ",\"underVoltageDetected\":"),
        (16, ",\"underVoltageHasOccurred\":"),
        (1, ",\"armFrequencyCapped\":"),
        (17, ",\"armFrequencyCappingHasOccurred\":"),
        (3, ",\"softTemperatureLimitActive\":"),
        (19, ",\"softTemperatureLimitHasOccurred\":"),
    ];
    for (bit, name) in FLAGS {
        let set = bits >> bit & 1 == 1;
        member(out, name, |out| out.extend(if set { b"true".as_slice() } else { b"false" }));
    }
    out.push(b'}');
}

/// Python's text of a `timedelta` of whole seconds, rounded half to even.
fn timedelta(out: &mut Vec<u8>, seconds: f64) {
    // The cast saturates, and makes 0 of what is no number.
    let seconds = seconds.round_ties_even() as u64;
    let (days, seconds) = (seconds / 86_400, seconds % 86_400);
    match days {
        0 => {}
        1 => out.extend(b"1 day, "),
        _ => put(out, format_args!("{days} days, ")),
    }
    put(out, format_args!("{}:{:02}:{:02}", seconds / 3_600, seconds / 60 % 60, seconds % 60));
}

fn platform(out: &mut Vec<u8>, platform: &Platform, gpio: &BackendInfo) {
    member(out, "{\"machineType\":", |out| string(out, &platform.machine));
    member(out, ",\"networkName\":", |out| string(out, &platform.network_name));
    member(out, ",\"operatingSystem\":{\"name\":", |out| string(out, &platform.os_name));
    member(out, ",\"release\":", |out| string(out, &platform.os_release));
    member(out, ",\"version\":", |out| string(out, &platform.os_version));
    member(out, "},\"model\":", |out| match &platform.model {
        Some(model) => string(out, model),
        None => out.extend(b"null"),
    });
    member(out, ",\"gpio\":{\"backend\":", |out| string(out, gpio.name));
    put(out, format_args!(",\"simulated\":{}", gpio.simulated));
    member(out, ",\"reason\":", |out| string(out, &gpio.why));
    out.extend(b"}}");
}

fn system(out: &mut Vec<u8>, system: System<'_>) {
    member(out, "{\"platform\":", |out| platform(out, system.platform, system.gpio));
    member(out, ",\"temperature\":", |out| model(out, Data::Temperature(system.temperature)));
    member(out, ",\"throttle\":", |out| model(out, Data::Throttle(system.throttle)));
    member(out, ",\"uptime\":", |out| model(out, Data::Uptime(system.uptime)));
    member(out, ",\"frequency\":", |out| model(out, Data::Frequency(system.frequency)));
    member(out, ",\"memory\":", |out| model(out, Data::Memory(system.memory)));
    out.push(b'}');
}

/// An object of lines by the names they were asked by.
fn named<T>(out: &mut Vec<u8>, lines: &[(String, T)], model: fn(&mut Vec<u8>, &T)) {
    out.push(b'{');
    for (number, (name, line)) in lines.iter().enumerate() {
        if number > 0 {
            out.push(b',');
        }
        string(out, name);
        out.push(b':');
        model(out, line);
    }
    out.push(b'}');
}
