//! The parameters of what clients ask of lines beyond a level: leases, sequences, PWM, reports.

use std::ops::RangeInclusive;
use std::time::Duration;

use serde_json::value::RawValue;

use super::{Made, Resolve, Text, fields, invalid, is_falsy, named_level, named_pin, named_pins, object};
use crate::types::debug::Victim;
use crate::types::line::{Duty, Level, Pin};
use crate::types::output::{LeaseWish, Sequence, Step};
use crate::wire::endrpi::request::Call;
use crate::wire::endrpi::{json, text};

const DAY: Duration = Duration::from_secs(86_400);
const LEASE: RangeInclusive<Duration> = Duration::from_millis(10)..=DAY;
const GRACE: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(3_600);
const GRACE_UNSAID: Duration = Duration::from_secs(1);

/// One phase of a pulse or of a blinking line. Shorter ones are PWM's business.
const PHASE: RangeInclusive<Duration> = Duration::from_micros(100)..=DAY;
/// What a sequence that repeats takes at least for a round, and for each step of it: nobody else would get the
/// processor.
const LEAST_ROUND: Duration = Duration::from_millis(1);
const LEAST_STEP: Duration = Duration::from_micros(100);
const MAX_STEPS: usize = 1_000;

/// In hertz; what a line's hardware or the configuration allows is less.
const FREQUENCY: RangeInclusive<f64> = 0.1..=50e6;
const HOLDER_BYTES: usize = 64;

/// `{"pins": ["GPIO17"], "lease": "5s", "grace": "1s", "holder": "panel"}`.
pub fn lease_pins(params: Option<&RawValue>, resolve: Resolve<'_>) -> Made {
    let params = object(params)?;
    only(params, &["pins", "lease", "grace", "holder"])?;
    let [_, lease] = fields(params, ["pins", "lease"])?;
    let mut pins = Vec::new();
    for (_, pin) in named_pins(params, resolve).ok_or_else(|| invalid("pins"))? {
        if !pins.contains(&pin) {
            pins.push(pin);
        }
    }
    if pins.is_empty() {
        return Err(wrong("pins", "name at least one line"));
    }
    let [grace, holder] = optional(params, ["grace", "holder"])?;
    Ok(Call::Lease(LeaseWish {
        pins,
        lease: within("lease", lease, LEASE)?,
        grace: grace.map_or(Ok(GRACE_UNSAID), |grace| within("grace", grace, GRACE))?,
        holder: holder.map(named_holder).transpose()?,
    }))
}

/// `{"lease": "…"}`.
pub fn renew_lease(params: Option<&RawValue>) -> Made {
    id(params, "lease").map(Call::RenewLease)
}

/// `{"lease": "…"}`.
pub fn release_lease(params: Option<&RawValue>) -> Made {
    id(params, "lease").map(Call::ReleaseLease)
}

/// `{"pin": "GPIO17", "level": "high", "duration": "100ms"}`.
pub fn pulse_pin(params: Option<&RawValue>, resolve: Resolve<'_>) -> Made {
    let params = object(params)?;
    pulse(one_pin(params, resolve)?, params).map(Call::Play)
}

/// `{"pin": "GPIO17", "on": "500ms", "off": "500ms", "count": 10}`.
pub fn blink_pin(params: Option<&RawValue>, resolve: Resolve<'_>) -> Made {
    let params = object(params)?;
    blink(one_pin(params, resolve)?, params).map(Call::Play)
}

/// `{"steps": [{"at": 0, "pins": {"GPIO17": 1}}, …], "period": 20000, "count": 5}`.
pub fn play_pins(params: Option<&RawValue>, resolve: Resolve<'_>) -> Made {
    play(object(params)?, resolve).map(Call::Play)
}

/// `{"sequence": "…"}`.
pub fn cancel_sequence(params: Option<&RawValue>) -> Made {
    id(params, "sequence").map(Call::Cancel)
}

/// `{"pin": "GPIO18", "frequency": 100, "duty": 0.25}`.
pub fn set_pwm(params: Option<&RawValue>, resolve: Resolve<'_>) -> Made {
    let params = object(params)?;
    let pin = one_pin(params, resolve)?;
    let (frequency, duty) = pwm(params)?;
    Ok(Call::SetPwm { pin, frequency, duty })
}

/// `{"pins": ["GPIO17", …]}`; all lines where none is named.
pub fn read_lines(params: Option<&RawValue>, resolve: Resolve<'_>) -> Made {
    let Some(params) = params.filter(|params| !is_falsy(params)) else { return Ok(Call::ReadLines(all_lines())) };
    let params = object(Some(params))?;
    let [pins] = optional(params, ["pins"])?;
    let named = match pins {
        Some(_) => named_pins(params, resolve).ok_or_else(|| invalid("pins"))?,
        None => Vec::new(),
    };
    Ok(Call::ReadLines(if named.is_empty() { all_lines() } else { named }))
}

/// `{"thread": "gpio-out"}`.
pub fn debug_panic(params: Option<&RawValue>) -> Made {
    let [thread] = fields(object(params)?, ["thread"])?;
    let victim = json::string(thread).and_then(|name| Victim::to_panic(&name));
    victim.map(Call::DebugPanic).ok_or_else(|| wrong("thread", "connection, gpio-in, gpio-out, hub or reload"))
}

/// `{"thread": "store"}`.
pub fn debug_hang(params: Option<&RawValue>) -> Made {
    let [thread] = fields(object(params)?, ["thread"])?;
    let victim = json::string(thread).and_then(|name| Victim::to_hang(&name));
    victim.map(Call::DebugHang).ok_or_else(|| wrong("thread", "gpio-in, gpio-out, hub or store"))
}

/// Refuses what is not a parameter: a misspelt level or grace must not become the default.
fn only(params: &str, known: &[&str]) -> Result<(), Text> {
    let mut unknown = None;
    let read = json::members(params, |name, _| {
        let name = json::string(name)?;
        if known.contains(&&*name) {
            return Some(());
        }
        unknown = Some(name.into_owned());
        None
    });
    match (read, unknown) {
        (_, Some(name)) => {
            Err(format!("Received message with unknown '{name}' field; known: {}", known.join(", ")).into())
        }
        (None, None) => Err(text::INVALID_PARAMS.into()),
        (Some(()), None) => Ok(()),
    }
}

/// A pulse without its pin: once at a level, and back.
pub fn pulse(pin: Pin, params: &str) -> Result<Sequence, Text> {
    only(params, &["pin", "level", "duration"])?;
    let [duration] = fields(params, ["duration"])?;
    let [level] = optional(params, ["level"])?;
    let level = level.map_or(Some(Level::High), named_level).ok_or_else(|| invalid("level"))?;
    let duration = within("duration", duration, PHASE)?;
    let steps = vec![step(Duration::ZERO, pin, level), step(duration, pin, level.inverted())];
    Ok(Sequence { steps, period: duration, rounds: Some(1) })
}

/// Blinking without its pin: high first, low at the end, until it is cancelled unless a count is given.
pub fn blink(pin: Pin, params: &str) -> Result<Sequence, Text> {
    only(params, &["pin", "on", "off", "count"])?;
    let [on, off] = fields(params, ["on", "off"])?;
    let [count] = optional(params, ["count"])?;
    let (on, off) = (within("on", on, PHASE)?, within("off", off, PHASE)?);
    let steps = vec![step(Duration::ZERO, pin, Level::High), step(on, pin, Level::Low)];
    let rounds = count.map_or(Ok(None), rounds)?;
    whole(Sequence { steps, period: on + off, rounds }, "off")
}

/// Levels over time: played once unless a count is given.
pub fn play(params: &str, resolve: Resolve<'_>) -> Result<Sequence, Text> {
    only(params, &["steps", "period", "count"])?;
    let [listed] = fields(params, ["steps"])?;
    let [period, count] = optional(params, ["period", "count"])?;
    let steps = steps(listed, resolve)?;
    let rounds = count.map_or(Ok(Some(1)), rounds)?;
    let last = steps.last().map_or(Duration::ZERO, |step| step.at);
    let period = match period {
        Some(period) => offset(period).ok_or_else(|| wrong("period", OFFSETS))?,
        None if rounds == Some(1) => last,
        None => return Err("Received message with missing 'period' field: what repeats needs one".into()),
    };
    if period < last {
        return Err(wrong("period", "it ends before the last step"));
    }
    whole(Sequence { steps, period, rounds }, "period")
}

/// Frequency in hertz, and the share of time at high.
pub fn pwm(params: &str) -> Result<(f64, Duty), Text> {
    only(params, &["pin", "frequency", "duty"])?;
    let [frequency, duty] = fields(params, ["frequency", "duty"])?;
    let frequency = number(frequency).filter(|hertz| FREQUENCY.contains(hertz));
    let frequency = frequency.ok_or_else(|| wrong("frequency", "a number of hertz from 0.1 to 50000000"))?;
    let duty = number(duty).and_then(Duty::from_fraction).ok_or_else(|| wrong("duty", "a number from 0 to 1"))?;
    Ok((frequency, duty))
}

/// How long sequences are in what they ask for, and how dense where they go on.
fn whole(sequence: Sequence, field: &str) -> Result<Sequence, Text> {
    if sequence.rounds != Some(1) {
        let least = LEAST_STEP * u32::try_from(sequence.steps.len()).unwrap_or(u32::MAX);
        if sequence.period < least.max(LEAST_ROUND) {
            return Err(wrong(field, "a round takes at least 1ms, and 100us for each of its steps"));
        }
    }
    let long = |duration: Duration| duration > DAY;
    if long(sequence.period) {
        return Err(wrong(field, "a round takes 24h at most"));
    }
    if sequence.duration().is_some_and(long) {
        return Err(wrong("count", "the whole takes 24h at most; 0 is until it is cancelled"));
    }
    Ok(sequence)
}

fn steps(listed: &RawValue, resolve: Resolve<'_>) -> Result<Vec<Step>, Text> {
    let mut steps: Vec<Step> = Vec::new();
    let mut refused = None;
    let read = json::elements(listed.get(), |value| {
        let before = steps.last().map(|step| step.at);
        let made = if steps.len() == MAX_STEPS {
            Err(format!("at most {MAX_STEPS} steps"))
        } else {
            one_step(value, before, resolve).map_err(|why| format!("step {}: {why}", steps.len() + 1))
        };
        made.map(|step| steps.push(step)).map_err(|why| refused = Some(why)).ok()
    });
    match (read, refused) {
        (_, Some(why)) => Err(wrong("steps", &why)),
        (None, None) => Err(invalid("steps")),
        (Some(()), None) if steps.is_empty() => Err(wrong("steps", "at least one step")),
        (Some(()), None) => Ok(steps),
    }
}

fn one_step(value: &RawValue, before: Option<Duration>, resolve: Resolve<'_>) -> Result<Step, &'static str> {
    let [at, pins] = json::pick(value.get(), ["at", "pins"]).ok_or("an object with 'at' and 'pins'")?;
    let at = at.and_then(offset).ok_or("'at' is in whole microseconds, or text like \"1500us\"")?;
    if before.is_some_and(|before| at <= before) {
        return Err("'at' is not after the step before");
    }
    let mut levels: Vec<(Pin, Level)> = Vec::new();
    let mut refused = "'pins' is an object like {\"GPIO17\":1}";
    json::members(pins.ok_or(refused)?.get(), |name, level| {
        refused = "'pins' names no such line";
        let (_, pin) = named_pin(name, resolve)?;
        refused = "a level is 0, 1, \"low\" or \"high\"";
        let level = named_level(level)?;
        refused = "'pins' names a line twice";
        if levels.iter().any(|(seen, _)| *seen == pin) {
            return None;
        }
        levels.push((pin, level));
        Some(())
    })
    .ok_or(refused)?;
    if levels.is_empty() { Err("'pins' names no line") } else { Ok(Step { at, levels }) }
}

fn step(at: Duration, pin: Pin, level: Level) -> Step {
    Step { at, levels: vec![(pin, level)] }
}

/// Rounds: `None` for 0 and `"forever"`.
fn rounds(count: &RawValue) -> Result<Option<u32>, Text> {
    if json::string(count).as_deref() == Some("forever") {
        return Ok(None);
    }
    let count: u32 = count.get().parse().map_err(|_| wrong("count", "a whole number, or 0 or \"forever\""))?;
    Ok((count > 0).then_some(count))
}

fn all_lines() -> Vec<(String, Pin)> {
    Pin::ALL.into_iter().map(|pin| (pin.to_string(), pin)).collect()
}

fn one_pin(params: &str, resolve: Resolve<'_>) -> Result<Pin, Text> {
    let [pin] = fields(params, ["pin"])?;
    named_pin(pin, resolve).map(|(_, pin)| pin).ok_or_else(|| invalid("pin"))
}

fn id(params: Option<&RawValue>, field: &'static str) -> Result<String, Text> {
    let [id] = fields(object(params)?, [field])?;
    json::string(id).map(std::borrow::Cow::into_owned).ok_or_else(|| invalid(field))
}

/// What others are told of the holder, so it stays short and on one line.
fn named_holder(holder: &RawValue) -> Result<String, Text> {
    let good = |name: &str| (1..=HOLDER_BYTES).contains(&name.len()) && !name.chars().any(char::is_control);
    let holder = json::string(holder).filter(|name| good(name));
    holder.map(std::borrow::Cow::into_owned).ok_or_else(|| wrong("holder", "a name of 1 to 64 bytes on one line"))
}

/// The named fields, none of them needed; `null` is as good as absent.
fn optional<'a, const N: usize>(params: &'a str, names: [&str; N]) -> Result<[Option<&'a RawValue>; N], Text> {
    let found = json::pick(params, names).ok_or(text::INVALID_PARAMS)?;
    Ok(found.map(|value| json::present(value)))
}

fn within(field: &str, value: &RawValue, range: RangeInclusive<Duration>) -> Result<Duration, Text> {
    let duration = match json::string(value) {
        Some(text) => humantime::parse_duration(&text).ok(),
        None => number(value).and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()),
    };
    duration.filter(|duration| range.contains(duration)).ok_or_else(|| {
        let (from, to) = (humantime::format_duration(*range.start()), humantime::format_duration(*range.end()));
        wrong(field, &format!("from {from} to {to}, as text like \"5s\" or as a number of seconds"))
    })
}

const OFFSETS: &str = "whole microseconds, or text like \"20ms\"";

/// Times within a sequence: whole microseconds, or text.
fn offset(value: &RawValue) -> Option<Duration> {
    let offset = match json::string(value) {
        Some(text) => humantime::parse_duration(&text).ok(),
        None => value.get().parse().ok().map(Duration::from_micros),
    };
    offset.filter(|offset| *offset <= DAY)
}

fn number(value: &RawValue) -> Option<f64> {
    value.get().parse().ok()
}

fn wrong(field: &str, why: &str) -> Text {
    format!("{}: {why}", invalid(field)).into()
}

#[cfg(test)]
mod tests;
