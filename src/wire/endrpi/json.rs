//! Reading JSON one level at a time.
//!
//! Every value stays a slice of the message until somebody needs it: unknown members cost a scan and no memory,
//! and however deep a client nests, nothing here (nor in serde_json, which skips values iteratively) recurses.

use std::borrow::Cow;
use std::fmt;

use serde::Deserializer;
use serde::de::{Error, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// The named members of an object, each the last of its name, as Python reads duplicates; `null` counts as
/// present. `None` where `text` is not a JSON object.
pub fn pick<'a, const N: usize>(text: &'a str, names: [&str; N]) -> Option<[Option<&'a RawValue>; N]> {
    let mut found = [None; N];
    members(text, |key, value| {
        let key = string(key);
        if let Some(place) = names.iter().position(|name| key.as_deref() == Some(*name)) {
            found[place] = Some(value);
        }
        Some(())
    })?;
    Some(found)
}

/// Hands each member of an object (its name still quoted) to `each`. `None` where `text` is not a JSON object or
/// `each` gave up.
pub fn members<'a>(text: &'a str, each: impl FnMut(&'a RawValue, &'a RawValue) -> Option<()>) -> Option<()> {
    let mut json = serde_json::Deserializer::from_str(text);
    json.deserialize_map(Members(each)).ok()?;
    json.end().ok()
}

/// Hands each element of an array to `each`. `None` where `text` is not a JSON array or `each` gave up.
pub fn elements<'a>(text: &'a str, each: impl FnMut(&'a RawValue) -> Option<()>) -> Option<()> {
    let mut json = serde_json::Deserializer::from_str(text);
    json.deserialize_seq(Elements(each)).ok()?;
    json.end().ok()
}

/// Whether `text` is one JSON value, of any kind and depth.
pub fn is_json(text: &str) -> bool {
    serde_json::from_str::<&RawValue>(text).is_ok()
}

/// The text of a JSON string. `None` for other values, and for the lone surrogates that JSON allows and Rust's
/// strings do not.
pub fn string(value: &RawValue) -> Option<Cow<'_, str>> {
    let quoted = value.get();
    let plain = quoted.strip_prefix('"')?.strip_suffix('"')?;
    if plain.contains('\\') { serde_json::from_str(quoted).ok().map(Cow::Owned) } else { Some(Cow::Borrowed(plain)) }
}

/// The value, unless the member is missing or `null`.
pub fn present(value: Option<&RawValue>) -> Option<&RawValue> {
    value.filter(|value| value.get() != "null")
}

/// Python's `json.dumps` writes NaN and the infinities as bare words. This gives such a message numbers of the same
/// length instead, all of them far out of any range, so that it is refused for its value and not for its form.
/// `None` where there are no such words, or not in the place of a value.
pub fn without_python_constants(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let mut patched = bytes.to_vec();
    let (mut at, mut in_string) = (0, false);
    while at < bytes.len() {
        let word = match bytes[at] {
            b'"' => {
                in_string = !in_string;
                1
            }
            b'\\' => 2,
            b'N' if !in_string && bytes[at..].starts_with(b"NaN") => 3,
            b'I' if !in_string && bytes[at..].starts_with(b"Infinity") => 8,
            _ => 1,
        };
        if word > 2 {
            let before = bytes[..at].last();
            let negative_infinity = word == 8 && before == Some(&b'-');
            if !negative_infinity && !matches!(before, None | Some(b'[' | b',' | b':' | b' ' | b'\t' | b'\r' | b'\n')) {
                return None;
            }
            patched[at..at + word].fill(b'9');
        }
        at += word;
    }
    if patched == bytes { None } else { String::from_utf8(patched).ok() }
}

struct Members<F>(F);

impl<'a, F: FnMut(&'a RawValue, &'a RawValue) -> Option<()>> Visitor<'a> for Members<F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'a>>(mut self, mut map: A) -> Result<(), A::Error> {
        while let Some((key, value)) = map.next_entry()? {
            (self.0)(key, value).ok_or_else(|| A::Error::custom("given up"))?;
        }
        Ok(())
    }
}

struct Elements<F>(F);

impl<'a, F: FnMut(&'a RawValue) -> Option<()>> Visitor<'a> for Elements<F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'a>>(mut self, mut seq: A) -> Result<(), A::Error> {
        while let Some(value) = seq.next_element()? {
            (self.0)(value).ok_or_else(|| A::Error::custom("given up"))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_picked_last_wins_whatever_their_spelling() {
        let table = [
            (r#"{"a":1,"b":{"a":2},"a":3}"#, Some([Some("3"), Some(r#"{"a":2}"#)])),
            ("{\"\\u0061\" : [ 1 ] }\n", Some([Some("[ 1 ]"), None])),
            (r#"{"a":null}"#, Some([Some("null"), None])),
            (r#"{"\ud800":"\ud800","b":"x"}"#, Some([None, Some(r#""x""#)])),
            ("{}", Some([None, None])),
            ("[]", None),
            ("{} {}", None),
            (r#"{"a":1,}"#, None),
            ("{\"a\tb\":1}", None),
            (r#"{"a":01}"#, None),
        ];
        for (text, expected) in table {
            let picked = pick(text, ["a", "b"]).map(|found| found.map(|value| value.map(RawValue::get)));
            assert_eq!(picked, expected, "{text}");
        }
    }

    #[test]
    fn only_a_bare_python_constant_in_the_place_of_a_value_is_replaced() {
        let table = [
            (r#"{"state": NaN}"#, Some(r#"{"state": 999}"#)),
            (r#"[Infinity,-Infinity]"#, Some("[99999999,-99999999]")),
            (r#"{"NaN":"\"NaN"}"#, None),
            ("NaN", Some("999")),
            ("1NaN", None),
            ("-NaN", None),
            ("x", None),
            ("\\", None),
        ];
        for (text, expected) in table {
            assert_eq!(without_python_constants(text).as_deref(), expected, "{text}");
        }
        assert!(!is_json(&without_python_constants("[NaNa]").expect("patched")));
    }
}
