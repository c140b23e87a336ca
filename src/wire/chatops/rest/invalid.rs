//! What does not validate: a list of faults as FastAPI gives it with a 422, and the object reader that collects them.

use std::time::SystemTime;

use serde_json::value::RawValue;

use super::super::super::endrpi::json;
use super::super::super::picloud::string;
use super::super::super::time;
use super::super::read::Fault;
use super::super::write::{Object, list};

/// The faults of a request; at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid(Vec<Item>);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Item {
    pub kind: &'static str,
    /// Where: `body` or `query` or `path`, then the member.
    pub part: &'static str,
    pub member: Box<str>,
    pub msg: Box<str>,
    /// The value as JSON; `null` where it is long, deep or secret.
    pub input: Option<Box<str>>,
    /// The rule that is broken: its name, and its value as JSON.
    pub context: Option<Box<(&'static str, String)>>,
}

/// Longer values are not sent back.
const INPUT_BYTES: usize = 256;

impl Item {
    pub fn new(part: &'static str, member: &str, kind: &'static str, msg: impl Into<Box<str>>) -> Item {
        Item { kind, part, member: member.into(), msg: msg.into(), input: None, context: None }
    }

    pub fn input(mut self, json: &str) -> Item {
        self.input = (json.len() <= INPUT_BYTES && can_be_sent(json)).then(|| json.into());
        self
    }

    pub fn context(mut self, name: &'static str, json: impl ToString) -> Item {
        self.context = Some(Box::new((name, json.to_string())));
        self
    }

    /// The fault of a word that is not one of `words`.
    pub fn word(part: &'static str, member: &str, words: &[&str]) -> Item {
        let mut expected = String::new();
        for (number, word) in words.iter().enumerate() {
            let between = if number == 0 {
                ""
            } else if number + 1 == words.len() {
                " or "
            } else {
                ", "
            };
            expected = format!("{expected}{between}'{word}'");
        }
        let quoted = format!("\"{expected}\"");
        Item::new(part, member, "enum", format!("Input should be {expected}")).context("expected", quoted)
    }
}

impl Invalid {
    pub(super) fn one(item: Item) -> Invalid {
        Invalid(vec![item])
    }

    /// Members that have to be there; at least one.
    pub(super) fn missing(members: impl Iterator<Item = &'static str>) -> Invalid {
        Invalid(members.map(|name| Item::new("body", name, "missing", "Field required")).collect())
    }

    /// A fault of a sample.
    pub(super) fn fault(fault: &Fault) -> Invalid {
        Invalid::one(Item::new("body", &fault.member, "value_error", format!("Value error, {}", fault.what)))
    }

    /// Appends the body of the 422.
    pub fn write(&self, out: &mut Vec<u8>) {
        let each = |out: &mut Vec<u8>, item: &Item| {
            let path = std::iter::once(item.part).chain(item.member.split('.').filter(|part| !part.is_empty()));
            let object = Object::typed(out, item.kind).list("loc", path, string).text("msg", &item.msg);
            let object = object.raw("input", item.input.as_deref().unwrap_or("null"));
            match item.context.as_deref() {
                Some((name, json)) => object.object("ctx", |object| object.raw(name, json)),
                None => object,
            }
            .close();
        };
        Object::open(out).with("detail", |out| list(out, &self.0, each)).close();
    }
}

/// A body that is read member by member, with all its faults.
pub(super) struct Body<'a> {
    text: &'a str,
    faults: Vec<Item>,
}

impl<'a> Body<'a> {
    /// Takes a JSON object.
    pub fn object(bytes: &'a [u8]) -> Result<Body<'a>, Invalid> {
        let invalid = |error: &str| {
            let item = Item::new("body", "", "json_invalid", "JSON decode error").input("{}");
            let mut json = Vec::new();
            string(&mut json, error);
            Invalid::one(item.context("error", String::from_utf8_lossy(&json)))
        };
        let text = std::str::from_utf8(bytes).map_err(|_| invalid("Not UTF-8"))?;
        if text.trim().is_empty() || text.trim() == "null" {
            return Err(Invalid::one(Item::new("body", "", "missing", "Field required")));
        }
        if !json::is_json(text) {
            return Err(invalid("Expecting value"));
        }
        if json::members(text, |_, _| Some(())).is_none() {
            let msg = "Input should be a valid dictionary or object to extract fields from";
            return Err(Invalid::one(Item::new("body", "", "model_attributes_type", msg).input(text)));
        }
        Ok(Body { text, faults: Vec::new() })
    }

    /// What was read, unless something was wrong. `build` may count on everything that is required.
    pub fn finish<T>(self, value: Option<T>) -> Result<T, Invalid> {
        match value.filter(|_| self.faults.is_empty()) {
            Some(value) => Ok(value),
            None => Err(Invalid(self.faults)),
        }
    }

    pub fn fault(&mut self, item: Item) {
        self.faults.push(item);
    }

    /// The member, `null` included.
    fn member(&self, name: &str) -> Option<&'a RawValue> {
        let [value] = json::pick(self.text, [name])?;
        value
    }

    /// Whether the member is there, if only as `null`: in a change, that says something.
    pub fn has(&self, name: &str) -> bool {
        self.member(name).is_some()
    }

    /// Complains of a member that has to be there, and is not (nor wrong in another way).
    pub fn required<T>(&mut self, name: &'static str, value: Option<T>) -> Option<T> {
        if value.is_none() && !self.faults.iter().any(|item| *item.member == *name) {
            let null = self.has(name);
            let item = Item::new("body", name, "missing", "Field required");
            self.fault(if null { item.input("null") } else { item });
        }
        value
    }

    fn take<T>(&mut self, name: &'static str, read: impl FnOnce(&'a RawValue) -> Result<T, Item>) -> Option<T> {
        let value = json::present(self.member(name))?;
        read(value).map_err(|item| self.fault(item)).ok()
    }

    /// Text of this many characters.
    pub fn text(&mut self, name: &'static str, min: usize, max: usize) -> Option<String> {
        self.take(name, |value| {
            let item = |kind, msg: String| Item::new("body", name, kind, msg).input(value.get());
            let wrong = || item("string_type", "Input should be a valid string".to_owned());
            let text = json::string(value).ok_or_else(wrong)?;
            let plural = |count: usize| if count == 1 { "" } else { "s" };
            match text.chars().count() {
                count if count < min => {
                    let msg = format!("String should have at least {min} character{}", plural(min));
                    Err(item("string_too_short", msg).context("min_length", min))
                }
                count if count > max => {
                    let msg = format!("String should have at most {max} character{}", plural(max));
                    Err(item("string_too_long", msg).context("max_length", max))
                }
                _ => Ok(text.into_owned()),
            }
        })
    }

    /// The same for what must not be repeated in an answer.
    pub fn secret(&mut self, name: &'static str, min: usize, max: usize) -> Option<String> {
        let text = self.text(name, min, max);
        self.faults.iter_mut().filter(|item| *item.member == *name).for_each(|item| item.input = None);
        text
    }

    pub fn whole(&mut self, name: &'static str, min: i64, max: i64) -> Option<i64> {
        self.take(name, |value| {
            let item = |kind, msg: String| Item::new("body", name, kind, msg).input(value.get());
            match value.get().parse::<i64>() {
                Ok(number) if number < min => {
                    let msg = format!("Input should be greater than or equal to {min}");
                    Err(item("greater_than_equal", msg).context("ge", min))
                }
                Ok(number) if number > max => {
                    let msg = format!("Input should be less than or equal to {max}");
                    Err(item("less_than_equal", msg).context("le", max))
                }
                Ok(number) => Ok(number),
                Err(_) => Err(item("int_type", "Input should be a valid integer".to_owned())),
            }
        })
    }

    pub fn number(&mut self, name: &'static str, min: f64, max: f64) -> Option<f64> {
        self.take(name, |value| {
            super::super::read::number(value, min, max).map_err(|what| {
                let is_type = what.ends_with("a number");
                let kind = if is_type { "float_type" } else { "value_error" };
                let msg =
                    if is_type { "Input should be a valid number".to_owned() } else { format!("Value error, {what}") };
                Item::new("body", name, kind, msg).input(value.get())
            })
        })
    }

    pub fn bool(&mut self, name: &'static str) -> Option<bool> {
        self.take(name, |value| match value.get() {
            "true" => Ok(true),
            "false" => Ok(false),
            text => Err(Item::new("body", name, "bool_type", "Input should be a valid boolean").input(text)),
        })
    }

    pub fn word<T>(&mut self, name: &'static str, words: &[&str], from_word: fn(&str) -> Option<T>) -> Option<T> {
        self.take(name, |value| {
            let word = json::string(value).and_then(|word| from_word(&word));
            word.ok_or_else(|| Item::word("body", name, words).input(value.get()))
        })
    }

    pub fn time(&mut self, name: &'static str) -> Option<SystemTime> {
        self.take(name, |value| {
            let at = json::string(value).and_then(|text| time::parse(&text));
            at.ok_or_else(|| Item::new("body", name, "datetime_parsing", BAD_TIME).input(value.get()))
        })
    }

    pub fn id(&mut self, name: &'static str) -> Option<String> {
        self.take(name, |value| {
            let id = json::string(value).filter(|text| is_uuid(text));
            let wrong = || Item::new("body", name, "uuid_parsing", BAD_ID).input(value.get());
            id.map(|id| id.to_ascii_lowercase()).ok_or_else(wrong)
        })
    }

    /// A JSON object, as written.
    pub fn json_object(&mut self, name: &'static str, max_bytes: usize) -> Option<Box<str>> {
        self.take(name, |value| match value.get() {
            text if !text.starts_with('{') => {
                Err(Item::new("body", name, "dict_type", "Input should be a valid dictionary").input(text))
            }
            text if text.len() > max_bytes => {
                let msg = format!("Value error, must have at most {max_bytes} bytes");
                Err(Item::new("body", name, "value_error", msg))
            }
            text if !can_be_sent(text) => {
                let msg = "Value error, must be text and not nested too deep";
                Err(Item::new("body", name, "value_error", msg))
            }
            text => Ok(text.into()),
        })
    }
}

/// Whether others can read this JSON: it may be nested too deep for their parsers, or hold half a surrogate pair.
fn can_be_sent(json: &str) -> bool {
    serde_json::from_str::<serde_json::Value>(json).is_ok()
}

pub(super) const BAD_TIME: &str = "Input should be a valid datetime, as in 2026-03-02T08:15:30Z";
pub(super) const BAD_ID: &str = "Input should be a valid UUID";

/// Whether `text` is a UUID with its hyphens.
pub(super) fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}
