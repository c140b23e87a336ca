//! Where a client was, and what it wants of the events: `since`, `last`, `position`, the same in every dialect that
//! subscribes; and how positions are written.

use std::io::Write;

use serde_json::value::RawValue;

use super::endrpi::json;
use crate::types::position::{Lagged, Position, PositionError};
use crate::types::wants::{Resumed, Wants};

/// The members of a JSON message that ask for it, as they were sent.
#[derive(Clone, Copy, Debug, Default)]
pub struct Asked<'a> {
    pub since: Option<&'a RawValue>,
    pub last: Option<&'a RawValue>,
    pub position: Option<&'a RawValue>,
}

impl Asked<'_> {
    /// # Errors
    /// Names the member and says what it may be.
    pub fn read(self) -> Result<Wants, String> {
        Ok(Wants {
            since: json::present(self.since).map(since).transpose()?,
            last: flag("last", self.last)?,
            position: flag("position", self.position)?,
        })
    }
}

/// `true` or `false`; `false` where it is missing.
///
/// # Errors
/// Names the member.
pub fn flag(name: &str, value: Option<&RawValue>) -> Result<bool, String> {
    match json::present(value).map(RawValue::get) {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(_) => Err(format!("'{name}' must be true or false")),
    }
}

/// The same in a query, where there are only texts.
///
/// # Errors
/// Names the parameter.
pub fn query_flag(name: &str, value: Option<&str>) -> Result<bool, String> {
    match value {
        None | Some("0" | "false") => Ok(false),
        Some("1" | "true") => Ok(true),
        Some(_) => Err(format!("'{name}' must be 1 or 0")),
    }
}

/// `EPOCH:OFFSET`.
///
/// # Errors
/// Says which part is wrong, and what it looks like.
pub fn since_text(text: &str) -> Result<Position, String> {
    text.parse().map_err(not_a_position)
}

/// The text, or an object with both parts.
fn since(value: &RawValue) -> Result<Position, String> {
    if let Some(text) = json::string(value) {
        return since_text(&text);
    }
    let Some([epoch, offset]) = json::pick(value.get(), ["epoch", "offset"]) else {
        return Err(not_a_position(PositionError::Form));
    };
    let epoch = epoch.and_then(json::string).ok_or(PositionError::Epoch).and_then(|epoch| epoch.parse());
    let offset = offset.and_then(|offset| offset.get().parse().ok()).ok_or(PositionError::Offset);
    epoch.and_then(|epoch| Ok(Position { epoch, offset: offset? })).map_err(not_a_position)
}

fn not_a_position(error: PositionError) -> String {
    format!(
        "'since' must be a position as events and answers name it, {{\"epoch\":\"00c0ffee00c0ffee\",\"offset\":42}} or \
         \"00c0ffee00c0ffee:42\": {error}"
    )
}

/// Appends the members of a position, without anything around them.
pub fn position(out: &mut Vec<u8>, position: Position) {
    let _ = write!(out, "\"epoch\":\"{}\",\"offset\":{}", position.epoch, position.offset);
}

/// Appends those of an answer.
pub fn resumed(out: &mut Vec<u8>, resumed: &Resumed) {
    position(out, resumed.position);
    if let Some(recovered) = resumed.recovered {
        let _ = write!(out, ",\"recovered\":{recovered},\"missed\":{}", resumed.missed);
    }
}

/// Appends those that tell of dropped events.
pub fn lagged(out: &mut Vec<u8>, lagged: &Lagged) {
    let Lagged { epoch, count, first, last } = lagged;
    let _ = write!(out, "\"count\":{count},\"first\":{first},\"last\":{last},\"epoch\":\"{epoch}\"");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::position::Epoch;

    fn asked(text: &str) -> Result<Wants, String> {
        let [since, last, position] = json::pick(text, ["since", "last", "position"]).expect("an object");
        Asked { since, last, position }.read()
    }

    #[test]
    fn positions_are_read_in_both_forms() {
        let at = Some(Position { epoch: Epoch(0x00c0_ffee_00c0_ffee), offset: 42 });
        for text in [
            r#"{"since":"00c0ffee00c0ffee:42"}"#,
            r#"{"since":{"epoch":"00c0ffee00c0ffee","offset":42}}"#,
            r#"{"since":{"offset":42,"epoch":"00C0FFEE00C0FFEE","more":1}}"#,
        ] {
            assert_eq!(asked(text), Ok(Wants { since: at, ..Wants::default() }), "{text}");
        }
        assert_eq!(asked(r#"{"last":true,"position":true}"#), Ok(Wants { since: None, last: true, position: true }));
        for nothing in ["{}", r#"{"since":null,"last":false,"position":null}"#] {
            assert!(!asked(nothing).expect("readable").any(), "{nothing}");
        }
    }

    #[test]
    fn what_is_wrong_is_named_with_the_fix() {
        for (text, parts) in [
            (r#"{"since":17}"#, ["'since' must be a position", "EPOCH:OFFSET"]),
            (r#"{"since":"17"}"#, ["'since' must be", "\"00c0ffee00c0ffee:42\""]),
            (r#"{"since":"x:17"}"#, ["'since' must be", "16 hexadecimal digits"]),
            (r#"{"since":{"epoch":"00c0ffee00c0ffee"}}"#, ["'since' must be", "an offset is a number from 0"]),
            (r#"{"since":{"epoch":"00c0ffee00c0ffee","offset":-1}}"#, ["'since' must be", "an offset"]),
            (r#"{"since":{"epoch":"00c0ffee00c0ffee","offset":"1"}}"#, ["'since' must be", "an offset"]),
            (r#"{"since":{"epoch":12,"offset":1}}"#, ["'since' must be", "an epoch is"]),
            (r#"{"last":1}"#, ["'last'", "true or false"]),
            (r#"{"position":"true"}"#, ["'position'", "true or false"]),
        ] {
            let error = asked(text).expect_err(text);
            assert!(parts.iter().all(|part| error.contains(part)), "{text}: {error}");
        }
        assert_eq!(query_flag("last", Some("1")), Ok(true));
        assert_eq!(query_flag("last", Some("yes")), Err("'last' must be 1 or 0".into()));
    }

    #[test]
    fn answers_say_whether_all_was_recovered_only_to_who_asked() {
        let position = Position { epoch: Epoch(1), offset: 7 };
        let mut out = Vec::new();
        resumed(&mut out, &Resumed { position, recovered: None, missed: 0 });
        assert_eq!(String::from_utf8_lossy(&out), r#""epoch":"0000000000000001","offset":7"#);
        resumed(&mut out, &Resumed { position, recovered: Some(true), missed: 3 });
        assert!(out.ends_with(br#","recovered":true,"missed":3"#));
    }
}
