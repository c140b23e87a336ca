//! What can stand behind a key: each reads one value and says in plain words what to write instead of another.

use std::path::PathBuf;
use std::time::Duration;

use toml::de::DeValue;

use super::tables::{Read, Slot, Value, Wrong, decimal, float, whole};
use crate::types::line::{Duty, Pin};

/// A duration: text with a unit, as `humantime` reads it.
#[derive(Clone, Copy)]
pub(in crate::config) struct Period(pub Duration);

impl Read for Period {
    fn read(value: &Value<'_>) -> Result<Period, Wrong> {
        match value.get_ref() {
            DeValue::String(text) => duration(text, value).map(Period),
            DeValue::Integer(number) => Err(unit_missing(&decimal(number), value)),
            DeValue::Float(number) => Err(unit_missing(&float(number).to_string(), value)),
            _ => Err(Wrong::kind(value, "a duration in quotes such as \"5s\" or \"100ms\"")),
        }
    }
}

/// A bare number has no unit, and guessing one would be wrong by a factor of 1,000 for somebody.
fn unit_missing(number: &str, value: &Value<'_>) -> Wrong {
    let message = format!("the number {number} has no unit, write \"{number}s\" for seconds");
    Wrong { span: value.span(), message }
}

fn duration(text: &str, value: &Value<'_>) -> Result<Duration, Wrong> {
    humantime::parse_duration(text).map_err(|why| {
        let message = format!("{text:?} is not a duration ({why}), write for example \"5s\" or \"100ms\"");
        Wrong { span: value.span(), message }
    })
}

/// A number of bytes or things.
#[derive(Clone, Copy)]
pub(in crate::config) struct Count(pub usize);

impl Read for Count {
    fn read(value: &Value<'_>) -> Result<Count, Wrong> {
        let expected = "a whole number without quotes such as 65536";
        let DeValue::Integer(number) = value.get_ref() else { return Err(Wrong::kind(value, expected)) };
        let count = whole(number).and_then(|number| usize::try_from(number).ok());
        count.map(Count).ok_or_else(|| Wrong::value(value, expected))
    }
}

impl Read for i64 {
    fn read(value: &Value<'_>) -> Result<i64, Wrong> {
        let DeValue::Integer(number) = value.get_ref() else { return Err(Wrong::kind(value, "a whole number")) };
        whole(number).ok_or_else(|| Wrong::value(value, "one that fits into 64 bits"))
    }
}

impl Read for f64 {
    fn read(value: &Value<'_>) -> Result<f64, Wrong> {
        match value.get_ref() {
            DeValue::Float(number) => Ok(float(number)),
            DeValue::Integer(number) => whole(number)
                .map(|number| number as f64)
                .ok_or_else(|| Wrong::value(value, "one that fits into 64 bits")),
            _ => Err(Wrong::kind(value, "a number")),
        }
    }
}

impl Read for bool {
    fn read(value: &Value<'_>) -> Result<bool, Wrong> {
        value.get_ref().as_bool().ok_or_else(|| Wrong::kind(value, "a boolean"))
    }
}

impl Read for String {
    fn read(value: &Value<'_>) -> Result<String, Wrong> {
        text(value, "a string")
    }
}

impl Read for PathBuf {
    fn read(value: &Value<'_>) -> Result<PathBuf, Wrong> {
        text(value, "a path in quotes").map(PathBuf::from)
    }
}

fn text(value: &Value<'_>, expected: &str) -> Result<String, Wrong> {
    value.get_ref().as_str().map(str::to_owned).ok_or_else(|| Wrong::kind(value, expected))
}

impl<T: Read> Read for Vec<T> {
    fn read(value: &Value<'_>) -> Result<Vec<T>, Wrong> {
        let Some(all) = value.get_ref().as_array() else {
            return Err(Wrong::kind(value, "an array such as [\"...\"]"));
        };
        all.iter().map(T::read).collect()
    }
}

/// One text or an array of texts.
pub(in crate::config) struct OneOrMore(pub Vec<String>);

impl Read for OneOrMore {
    fn read(value: &Value<'_>) -> Result<OneOrMore, Wrong> {
        match value.get_ref() {
            DeValue::String(text) => Ok(OneOrMore(vec![text.clone().into_owned()])),
            DeValue::Array(_) => Vec::read(value).map(OneOrMore),
            _ => Err(Wrong::kind(value, "a text or an array of texts")),
        }
    }
}

/// A GPIO line by number or by one of its own names.
#[derive(Clone, Copy)]
pub(in crate::config) struct Line(pub Pin);

/// Before the key is read; a table without it is refused.
impl Default for Line {
    fn default() -> Line {
        Line(Pin::ALL[0])
    }
}

impl Read for Line {
    fn read(value: &Value<'_>) -> Result<Line, Wrong> {
        let expected = "a BCM number from 0 to 27, its name such as \"GPIO17\", or a header position such as \"pin11\"";
        let pin = match value.get_ref() {
            DeValue::String(text) => Pin::parse(text),
            DeValue::Integer(number) => whole(number).and_then(pin),
            _ => return Err(Wrong::kind(value, expected)),
        };
        pin.map(Line).ok_or_else(|| Wrong::value(value, expected))
    }
}

fn pin(number: i64) -> Option<Pin> {
    u8::try_from(number).ok().and_then(Pin::new)
}

/// A line by number or own name, or a name from the file that only the whole file can tell.
#[derive(Clone)]
pub(in crate::config) enum LineOrName {
    Line(Pin),
    Name(String),
}

impl Read for LineOrName {
    fn read(value: &Value<'_>) -> Result<LineOrName, Wrong> {
        let expected = "a BCM number from 0 to 27, \"GPIO17\", \"pin11\", or a name such as \"led-1\"";
        match value.get_ref() {
            DeValue::String(text) => {
                let name = || LineOrName::Name(text.clone().into_owned());
                Ok(Pin::parse(text).map_or_else(name, LineOrName::Line))
            }
            DeValue::Integer(number) => {
                let pin = whole(number).and_then(pin);
                pin.map(LineOrName::Line).ok_or_else(|| Wrong::value(value, expected))
            }
            _ => Err(Wrong::kind(value, expected)),
        }
    }
}

/// What happens to a line whose last writer's connection has ended.
#[derive(Clone, Copy)]
pub(in crate::config) enum OnDisconnect {
    Hold,
    /// After the time that was written, if one was.
    Safe(Option<Duration>),
}

impl Read for OnDisconnect {
    fn read(value: &Value<'_>) -> Result<OnDisconnect, Wrong> {
        let expected = "\"hold\", \"safe\", or \"safe after 2s\"";
        let DeValue::String(text) = value.get_ref() else { return Err(Wrong::kind(value, expected)) };
        match (&**text, text.strip_prefix("safe after ")) {
            ("hold", _) => Ok(OnDisconnect::Hold),
            ("safe", _) => Ok(OnDisconnect::Safe(None)),
            (_, Some(grace)) => duration(grace, value).map(|grace| OnDisconnect::Safe(Some(grace))),
            _ => Err(Wrong::value(value, expected)),
        }
    }
}

/// The share of time a PWM output is high, 0.0 to 1.0.
#[derive(Clone, Copy)]
pub(in crate::config) struct Fraction(pub Duty);

impl Read for Fraction {
    fn read(value: &Value<'_>) -> Result<Fraction, Wrong> {
        let expected = "a number without quotes from 0.0 to 1.0 such as 0.25";
        let duty = match value.get_ref() {
            DeValue::Float(number) => Duty::from_fraction(float(number)),
            DeValue::Integer(number) => match whole(number) {
                Some(0) => Some(Duty::ZERO),
                Some(1) => Some(Duty::FULL),
                _ => None,
            },
            _ => return Err(Wrong::kind(value, expected)),
        };
        duty.map(Fraction).ok_or_else(|| Wrong::value(value, expected))
    }
}

/// A value for which an empty text stands for "not set".
#[derive(Clone, Copy)]
pub(in crate::config) struct OrEmpty<T>(pub Option<T>);

impl<T: Read> Read for OrEmpty<T> {
    fn read(value: &Value<'_>) -> Result<OrEmpty<T>, Wrong> {
        match value.get_ref().as_str() {
            Some("") => Ok(OrEmpty(None)),
            _ => T::read(value).map(|value| OrEmpty(Some(value))),
        }
    }
}

/// Keys of these kinds may not be left out.
macro_rules! needed {
    ($($kind:ty),*) => {$(
        impl Slot for $kind {
            fn is_needed(&self) -> bool {
                true
            }

            fn put(&mut self, value: &Value<'_>) -> Result<(), Wrong> {
                *self = Read::read(value)?;
                Ok(())
            }
        }
    )*};
}

needed!(Line, Vec<String>, super::Kind);
