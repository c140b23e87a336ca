//! The parameters of each action that has any; `output` has those of leases, sequences and PWM.

pub mod output;

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::request::{Call, Publish};
use super::{Configuration, json, text};
use crate::types::line::{Level, LineSetting, Pin};
use crate::types::topic::Pattern;
use crate::wire::wants::{self, Asked};

type Text = Cow<'static, str>;
type Made = Result<Call, Text>;
type Resolve<'r> = &'r dyn Fn(&str) -> Option<Pin>;

/// `{"pins": ["GPIO17", 4, …]}`; an empty list is legal.
pub fn read_pins(params: Option<&RawValue>, resolve: Resolve<'_>) -> Made {
    let params = object(params)?;
    named_pins(params, resolve).map(Call::ReadPins).ok_or(text::INVALID_PARAMS.into())
}

/// `{"pins": {"GPIO17": {"io": "OUTPUT", "state": 1}, …}}`.
pub fn update_pins(params: Option<&RawValue>, resolve: Resolve<'_>) -> Made {
    let params = object(params)?;
    let pins = configurations(params, resolve).ok_or(text::INVALID_PARAMS)?;
    if pins.is_empty() {
        return Err(text::NO_PINS.into());
    }
    let settings: Result<Vec<(Pin, LineSetting)>, &'static str> =
        pins.into_iter().map(|(pin, configuration)| Ok((pin, configuration.setting()?))).collect();
    Ok(Call::UpdatePins(settings?))
}

/// `{"pin": "GPIO4", "level": "high"}`.
pub fn simulate_input(params: Option<&RawValue>, resolve: Resolve<'_>) -> Made {
    let [pin, level] = fields(object(params)?, ["pin", "level"])?;
    let (_, pin) = named_pin(pin, resolve).ok_or_else(|| invalid("pin"))?;
    let level = named_level(level).ok_or_else(|| invalid("level"))?;
    Ok(Call::SimulateInput { pin, level })
}

/// `{"topics": ["gpio.**", …], "since"?, "last"?, "position"?}`.
pub fn subscribe(params: Option<&RawValue>) -> Made {
    let params = object(params)?;
    let patterns = patterns(params)?;
    let [since, last, position] = json::pick(params, ["since", "last", "position"]).ok_or(text::INVALID_PARAMS)?;
    let wants = Asked { since, last, position }.read().map_err(|error| format!("{}: {error}", text::INVALID_PARAMS))?;
    Ok(Call::Subscribe(patterns, wants))
}

/// `{"topic": "door", "data"?: "open", "ack"?: true}`.
pub fn publish(params: Option<&RawValue>) -> Made {
    let params = object(params)?;
    let [topic] = fields(params, ["topic"])?;
    let [data, ack] = json::pick(params, ["data", "ack"]).ok_or(text::INVALID_PARAMS)?;
    let text = |value, name| json::string(value).map(Cow::into_owned).ok_or_else(|| invalid(name));
    let topic = text(topic, "topic")?;
    if topic.is_empty() {
        return Err(format!("{}: it must not be empty", invalid("topic")).into());
    }
    let data = json::present(data).map_or(Ok(String::new()), |data| text(data, "data"))?;
    let ack = wants::flag("ack", ack).map_err(|error| format!("{}: {error}", text::INVALID_PARAMS))?;
    Ok(Call::Publish(Publish { topic, data, ack }))
}

/// As [`subscribe`]; without parameters, everything subscribed.
pub fn unsubscribe(params: Option<&RawValue>) -> Made {
    match params.filter(|params| !is_falsy(params)) {
        None => Ok(Call::Unsubscribe(Vec::new())),
        params => patterns(object(params)?).map(Call::Unsubscribe),
    }
}

/// `{"api_key": "…"}`.
pub fn auth(params: Option<&RawValue>) -> Made {
    let [api_key] = fields(object(params)?, ["api_key"])?;
    let api_key = json::string(api_key).ok_or_else(|| invalid("api_key"))?.into_owned();
    Ok(Call::Auth { api_key })
}

/// Parameters as an object. What Python calls false counts as missing.
fn object(params: Option<&RawValue>) -> Result<&str, Text> {
    let params = params.filter(|params| !is_falsy(params)).ok_or(text::MISSING_PARAMS)?;
    Some(params.get()).filter(|text| text.starts_with('{')).ok_or(text::INVALID_PARAMS.into())
}

fn is_falsy(value: &RawValue) -> bool {
    match value.get() {
        "null" | "false" | "\"\"" => true,
        array if array.starts_with('[') => array[1..].trim_start().starts_with(']'),
        object if object.starts_with('{') => object[1..].trim_start().starts_with('}'),
        other => other.parse() == Ok(0.0_f64),
    }
}

/// The named fields, all of them needed.
fn fields<'a, const N: usize>(params: &'a str, names: [&'static str; N]) -> Result<[&'a RawValue; N], Text> {
    let found = json::pick(params, names).ok_or(text::INVALID_PARAMS)?;
    if let Some(missing) = found.iter().position(|value| json::present(*value).is_none()) {
        return Err(format!("Received message with missing '{}' field", names[missing]).into());
    }
    // Every one of them is there, so none of them becomes the null.
    Ok(found.map(|value| value.unwrap_or(RawValue::NULL)))
}

fn invalid(field: &str) -> Text {
    format!("Received message with invalid '{field}' field").into()
}

/// Every name once. There are few names, so the search among those seen stays short however many are sent.
fn named_pins(params: &str, resolve: Resolve<'_>) -> Option<Vec<(String, Pin)>> {
    let [pins] = json::pick(params, ["pins"])?;
    let mut named: Vec<(String, Pin)> = Vec::new();
    json::elements(pins?.get(), |pin| {
        let (name, pin) = named_pin(pin, resolve)?;
        if !named.iter().any(|(seen, _)| *seen == name) {
            named.push((name.into_owned(), pin));
        }
        Some(())
    })?;
    Some(named)
}

/// A line and the name its answer goes by: what was sent, and `GPIO17` for the number 17.
fn named_pin<'a>(value: &'a RawValue, resolve: Resolve<'_>) -> Option<(Cow<'a, str>, Pin)> {
    if let Some(name) = json::string(value) {
        return resolve(&name).map(|pin| (name, pin));
    }
    let pin = Pin::parse(value.get())?;
    Some((pin.to_string().into(), pin))
}

/// Every line once, with a valid configuration. `None` where two names of one line ask for different things.
fn configurations(params: &str, resolve: Resolve<'_>) -> Option<Vec<(Pin, Configuration)>> {
    let [pins] = json::pick(params, ["pins"])?;
    // Of equal names only the last counts, at the place of the first, as in Python: not even its value is looked at.
    let mut named: Vec<(Cow<'_, str>, Pin, &RawValue)> = Vec::new();
    json::members(pins?.get(), |name, value| {
        let (name, pin) = named_pin(name, resolve)?;
        match named.iter_mut().find(|(seen, ..)| *seen == name) {
            Some((.., seen)) => *seen = value,
            None => named.push((name, pin, value)),
        }
        Some(())
    })?;
    let mut valid: Vec<(Pin, Configuration)> = Vec::with_capacity(named.len());
    for (_, pin, value) in named {
        let configuration = Configuration::read(value.get()).ok()?;
        match valid.iter().find(|(seen, _)| *seen == pin) {
            None => valid.push((pin, configuration)),
            Some((_, same)) if *same == configuration => {}
            Some(_) => return None,
        }
    }
    Some(valid)
}

fn named_level(value: &RawValue) -> Option<Level> {
    match (value.get(), json::string(value).as_deref()) {
        ("true", _) => Some(Level::High),
        ("false", _) => Some(Level::Low),
        (_, Some(word)) if word.eq_ignore_ascii_case("high") => Some(Level::High),
        (_, Some(word)) if word.eq_ignore_ascii_case("low") => Some(Level::Low),
        (_, Some(_)) => None,
        (number, None) => match number.parse::<f64>() {
            Ok(0.0) => Some(Level::Low),
            Ok(1.0) => Some(Level::High),
            _ => None,
        },
    }
}

fn patterns(params: &str) -> Result<Vec<Pattern>, Text> {
    let [topics] = fields(params, ["topics"])?;
    let mut patterns = Vec::new();
    let mut refused = None;
    json::elements(topics.get(), |topic| {
        let pattern = Pattern::new(&json::string(topic)?);
        pattern.map(|pattern| patterns.push(pattern)).map_err(|reason| refused = Some(reason)).ok()
    })
    .ok_or_else(|| match refused {
        Some(reason) => format!("{}: {reason}", invalid("topics")).into(),
        None => invalid("topics"),
    })?;
    if patterns.is_empty() { Err(text::NO_TOPICS.into()) } else { Ok(patterns) }
}
