//! Reading JSON objects member by member, each fault with the name of its member.
//!
//! Values stay slices of the message until they are wanted: unknown members and deep nesting cost a scan and no memory.

use std::borrow::Cow;
use std::time::SystemTime;

use serde_json::value::RawValue;

use super::super::endrpi::json;
use super::super::time;

/// Which member is wrong, and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// From the outside in, e.g. `data.disks[2].path`; empty for the message as a whole.
    pub member: String,
    pub what: Cow<'static, str>,
}

impl Fault {
    pub fn new(member: &str, what: impl Into<Cow<'static, str>>) -> Fault {
        Fault { member: member.to_owned(), what: what.into() }
    }

    /// The same, seen from the object around it.
    fn inside(mut self, outer: &str) -> Fault {
        let dot = if self.member.is_empty() || self.member.starts_with('[') { "" } else { "." };
        self.member = format!("{outer}{dot}{}", self.member);
        self
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.member.as_str() {
            "" => write!(f, "the message {}", self.what),
            member => write!(f, "'{member}' {}", self.what),
        }
    }
}

pub type Read<T> = Result<T, Fault>;

/// One member of an object, perhaps missing.
#[derive(Clone, Copy)]
pub struct Field<'a> {
    name: &'static str,
    value: Option<&'a RawValue>,
}

/// The named members of an object.
pub fn fields<'a, const N: usize>(text: &'a str, names: [&'static str; N]) -> Read<[Field<'a>; N]> {
    let values = json::pick(text, names).ok_or_else(|| Fault::new("", "must be a JSON object"))?;
    let mut at = 0;
    Ok(values.map(|value| {
        let name = names[at];
        at += 1;
        Field { name, value: json::present(value) }
    }))
}

impl<'a> Field<'a> {
    pub fn is_present(self) -> bool {
        self.value.is_some()
    }

    pub fn fault(self, what: impl Into<Cow<'static, str>>) -> Fault {
        Fault::new(self.name, what)
    }

    /// What `read` makes of the value.
    fn map<T>(self, read: impl FnOnce(&'a RawValue) -> Result<T, Cow<'static, str>>) -> Read<Option<T>> {
        self.value.map(read).transpose().map_err(|what| self.fault(what))
    }

    /// A value that has to be there.
    pub fn required<T>(self, value: Option<T>) -> Read<T> {
        value.ok_or_else(|| self.fault("is missing"))
    }

    /// Text of any length; the message's own limit holds.
    pub fn any_text(self) -> Read<Option<Cow<'a, str>>> {
        self.map(|value| json::string(value).ok_or("must be a string".into()))
    }

    pub fn text(self, max_bytes: usize) -> Read<Option<String>> {
        let text = self.any_text()?;
        match text {
            Some(text) if text.len() > max_bytes => Err(self.fault(format!("has more than {max_bytes} bytes"))),
            text => Ok(text.map(Cow::into_owned)),
        }
    }

    /// Text that is cut to `max_bytes`, at a character; and whether it was.
    pub fn cut(self, max_bytes: usize) -> Read<Option<(String, bool)>> {
        Ok(self.any_text()?.map(|text| match text.len() > max_bytes {
            true => (head(&text, max_bytes).to_owned(), true),
            false => (text.into_owned(), false),
        }))
    }

    pub fn bool(self) -> Read<Option<bool>> {
        self.map(|value| match value.get() {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err("must be true or false".into()),
        })
    }

    pub fn number(self, min: f64, max: f64) -> Read<Option<f64>> {
        self.map(|value| number(value, min, max))
    }

    /// 0 to 100; what rounding put just above counts as 100.
    pub fn percent(self) -> Read<Option<f64>> {
        Ok(self.number(0.0, 101.0)?.map(|percent| percent.min(100.0)))
    }

    /// A whole number. Also as a fraction without one, as JavaScript and Python may write it.
    pub fn whole(self, min: i64, max: i64) -> Read<Option<i64>> {
        self.map(|value| {
            let text = value.get();
            let exact = text.parse::<i64>().ok();
            let whole = exact.or_else(|| text.parse::<f64>().ok().filter(|n| n.fract() == 0.0).map(|n| n as i64));
            match whole {
                Some(number) if (min..=max).contains(&number) => Ok(number),
                _ => Err(format!("must be a whole number from {min} to {max}").into()),
            }
        })
    }

    /// A counter or a size.
    pub fn count(self) -> Read<Option<u64>> {
        self.map(|value| match value.get().parse::<u64>() {
            Ok(count) => Ok(count),
            Err(_) => number(value, 0.0, MAX_BYTES).map(|number| number.round() as u64),
        })
    }

    /// A time that makes sense; another one is nobody's error but the clock's, and counts as missing.
    pub fn time(self) -> Option<SystemTime> {
        time::parse(&json::string(self.value?)?)
    }

    /// A word of an enumeration.
    pub fn word<T>(self, words: &[&str], from_word: impl FnOnce(&str) -> Option<T>) -> Read<Option<T>> {
        self.map(|value| {
            let word = json::string(value);
            word.and_then(|word| from_word(&word)).ok_or_else(|| format!("must be one of {}", words.join(", ")).into())
        })
    }

    /// An object: `read` gets its text.
    pub fn object<T>(self, read: impl FnOnce(&'a str) -> Read<T>) -> Read<Option<T>> {
        self.value.map(|value| within(value, read)).transpose().map_err(|fault| fault.inside(self.name))
    }

    /// At most `max` elements, each read from its text.
    pub fn list<T>(self, max: usize, mut read: impl FnMut(&'a RawValue) -> Read<T>) -> Read<Option<Vec<T>>> {
        let Some(value) = self.value else { return Ok(None) };
        let (mut items, mut fault) = (Vec::new(), None);
        let whole = json::elements(value.get(), |element| {
            if items.len() == max {
                fault = Some(self.fault(format!("has more than {max} elements")));
                return None;
            }
            match read(element) {
                Ok(item) => items.push(item),
                Err(inner) => fault = Some(inner.inside(&format!("[{}]", items.len())).inside(self.name)),
            }
            fault.is_none().then_some(())
        });
        match (whole, fault) {
            (Some(()), None) => Ok(Some(items)),
            (_, Some(fault)) => Err(fault),
            (None, None) => Err(self.fault("must be an array")),
        }
    }

    /// The value as it was written.
    pub fn raw(self) -> Option<&'a str> {
        self.value.map(RawValue::get)
    }

    /// Whether the value, if any, starts an array.
    pub fn is_list(self) -> bool {
        self.value.is_some_and(|value| value.get().starts_with('['))
    }
}

/// Sizes beyond this are nonsense, and exactly representable neither in JSON nor here.
const MAX_BYTES: f64 = 9_007_199_254_740_992.0;

/// Reads what must be an object, so that a fault in it says so of this value and not of the message.
pub fn within<'a, T>(value: &'a RawValue, read: impl FnOnce(&'a str) -> Read<T>) -> Read<T> {
    if value.get().starts_with('{') { read(value.get()) } else { Err(Fault::new("", "must be an object")) }
}

/// A number by itself, for elements of arrays.
pub fn number(value: &RawValue, min: f64, max: f64) -> Result<f64, Cow<'static, str>> {
    // Only numbers start so in JSON; Rust would also read `inf` and `NaN`.
    let is_number = value.get().starts_with(|c: char| c == '-' || c.is_ascii_digit());
    match value.get().parse::<f64>().ok().filter(|_| is_number) {
        Some(number) if number.is_finite() && (min..=max).contains(&number) => Ok(number),
        Some(_) => Err(format!("must be from {min} to {max}").into()),
        None => Err("must be a number".into()),
    }
}

/// A string by itself, for elements of arrays.
pub fn text(value: &RawValue) -> Read<Cow<'_, str>> {
    json::string(value).ok_or_else(|| Fault::new("", "must be a string"))
}

/// The text's beginning of at most `max_bytes`, cut at a character.
pub fn head(text: &str, max_bytes: usize) -> &str {
    let mut end = max_bytes.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// The message as text.
pub fn utf8(message: &[u8]) -> Read<&str> {
    std::str::from_utf8(message).map_err(|_| Fault::new("", "is not UTF-8"))
}
