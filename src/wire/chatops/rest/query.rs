//! Paths and query strings.

use std::time::{Duration, SystemTime};

use super::super::super::picloud::string;
use super::super::super::time;
use super::super::limit;
use super::invalid::{BAD_ID, BAD_TIME, Invalid, Item, is_uuid};
use crate::types::fleet::{LogLevel, LogSource};

/// Reads an id in a path, in lower case.
///
/// # Errors
/// The 422. `name` is the route's name for it.
pub fn path_id(name: &str, id: &str) -> Result<String, Invalid> {
    match is_uuid(id) {
        true => Ok(id.to_ascii_lowercase()),
        false => Err(Invalid::one(quoting(Item::new("path", name, "uuid_parsing", BAD_ID), id))),
    }
}

/// A query string.
#[derive(Clone, Copy)]
pub struct Query<'a>(pub &'a str);

/// Which part of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    pub skip: usize,
    pub limit: usize,
}

/// `GET /logs/{server_id}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogQuery {
    pub limit: usize,
    pub level: Option<LogLevel>,
    pub source: Option<LogSource>,
    pub component: Option<String>,
}

/// `GET /metrics/{server_id}/history`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HistoryQuery {
    pub start: Option<SystemTime>,
    pub end: Option<SystemTime>,
    pub limit: Option<usize>,
}

/// `GET /alerts`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlertQuery {
    pub resolved: Option<bool>,
    pub server_id: Option<String>,
    pub page: Page,
}

const MAX_SKIP: u64 = 1 << 32;
const MAX_PAGE: u64 = 1000;
const MAX_POINTS: u64 = 100_000;

impl Query<'_> {
    /// # Errors
    /// The 422; so for all others.
    pub fn page(self) -> Result<Page, Invalid> {
        let skip = self.whole("skip", 0, MAX_SKIP)?.unwrap_or(0);
        let limit = self.whole("limit", 1, MAX_PAGE)?.unwrap_or(100);
        // Where addresses have 32 bits nothing has more than they count, and cutting bits off would begin at the start.
        Ok(Page { skip: usize::try_from(skip).unwrap_or(usize::MAX), limit: limit as usize })
    }

    pub fn logs(self) -> Result<LogQuery, Invalid> {
        Ok(LogQuery {
            limit: self.whole("limit", 1, MAX_PAGE)?.unwrap_or(100) as usize,
            level: self.word("level", LogLevel::WORDS, LogLevel::lenient)?,
            source: self.word("source", LogSource::WORDS, LogSource::from_word)?,
            component: self.line("component")?,
        })
    }

    /// The names of the code, and those of the documentation.
    pub fn history(self) -> Result<HistoryQuery, Invalid> {
        Ok(HistoryQuery {
            start: self.time("start_time")?.or(self.time("start")?),
            end: self.time("end_time")?.or(self.time("end")?),
            limit: self.whole("limit", 1, MAX_POINTS)?.map(|limit| limit as usize),
        })
    }

    /// `since` (an event's `id`) and `limit` of `GET /servers/{id}/events`.
    pub fn events(self) -> Result<(u64, usize), Invalid> {
        let since = self.whole("since", 0, i64::MAX.unsigned_abs())?.unwrap_or(0);
        Ok((since, self.whole("limit", 1, MAX_PAGE)?.unwrap_or(100) as usize))
    }

    /// `timeout` of `POST /servers/{id}/actions`.
    pub fn wait(self, longest: Duration) -> Result<Option<Duration>, Invalid> {
        let seconds = self.whole("timeout", 1, longest.as_secs().max(1))?;
        Ok(seconds.map(Duration::from_secs))
    }

    /// `resolved` as in the code, or `status` as in the documentation.
    pub fn alerts(self) -> Result<AlertQuery, Invalid> {
        let status = self.word("status", &["active", "resolved"], |word| match word {
            "active" => Some(false),
            "resolved" => Some(true),
            _ => None,
        })?;
        let resolved = self.bool("resolved")?.or(status);
        Ok(AlertQuery { resolved, server_id: self.id("server_id")?, page: self.page()? })
    }

    /// `tail` of container logs.
    pub fn tail(self) -> Result<u32, Invalid> {
        Ok(self.whole("tail", 1, limit::LOG_LINES as u64)?.unwrap_or(500) as u32)
    }

    /// `timeout` of stop and restart, in seconds.
    pub fn timeout(self) -> Result<Option<u32>, Invalid> {
        Ok(self.whole("timeout", 0, 86_400)?.map(|seconds| seconds as u32))
    }

    pub fn bool(self, name: &str) -> Result<Option<bool>, Invalid> {
        let Some(text) = self.text(name) else { return Ok(None) };
        match text.to_ascii_lowercase().as_str() {
            "true" | "1" | "on" | "yes" | "t" | "y" => Ok(Some(true)),
            "false" | "0" | "off" | "no" | "f" | "n" => Ok(Some(false)),
            _ => {
                let msg = "Input should be a valid boolean, unable to interpret input";
                Err(Invalid::one(quoting(Item::new("query", name, "bool_parsing", msg), &text)))
            }
        }
    }

    /// A UUID, in lower case.
    pub fn id(self, name: &str) -> Result<Option<String>, Invalid> {
        let Some(id) = self.text(name) else { return Ok(None) };
        let wrong = || Invalid::one(quoting(Item::new("query", name, "uuid_parsing", BAD_ID), &id));
        if is_uuid(&id) { Ok(Some(id.to_ascii_lowercase())) } else { Err(wrong()) }
    }

    /// Text that somebody may have written into one line; empty is none.
    fn line(self, name: &str) -> Result<Option<String>, Invalid> {
        let text = self.text(name).filter(|text| !text.is_empty());
        if text.as_ref().is_some_and(|text| text.chars().count() > limit::LINE_BYTES) {
            let msg = format!("String should have at most {} characters", limit::LINE_BYTES);
            let item = Item::new("query", name, "string_too_long", msg);
            return Err(Invalid::one(item.context("max_length", limit::LINE_BYTES)));
        }
        Ok(text)
    }

    fn text(self, name: &str) -> Option<String> {
        let found = form_urlencoded::parse(self.0.as_bytes()).filter(|(key, _)| key == name).last();
        found.map(|(_, value)| value.into_owned())
    }

    fn whole(self, name: &str, min: u64, max: u64) -> Result<Option<u64>, Invalid> {
        let Some(text) = self.text(name) else { return Ok(None) };
        let item = |kind, msg: String| quoting(Item::new("query", name, kind, msg), &text);
        Err(Invalid::one(match text.trim().parse::<i128>() {
            Ok(number) if number < min.into() => {
                item("greater_than_equal", format!("Input should be greater than or equal to {min}")).context("ge", min)
            }
            Ok(number) if number > max.into() => {
                item("less_than_equal", format!("Input should be less than or equal to {max}")).context("le", max)
            }
            Ok(number) => return Ok(Some(number as u64)),
            Err(_) => {
                let msg = "Input should be a valid integer, unable to parse string as an integer";
                item("int_parsing", msg.to_owned())
            }
        }))
    }

    fn word<T>(self, name: &str, words: &[&str], from_word: fn(&str) -> Option<T>) -> Result<Option<T>, Invalid> {
        let Some(word) = self.text(name) else { return Ok(None) };
        let wrong = || Invalid::one(quoting(Item::word("query", name, words), &word));
        from_word(&word).map(Some).ok_or_else(wrong)
    }

    fn time(self, name: &str) -> Result<Option<SystemTime>, Invalid> {
        let Some(text) = self.text(name) else { return Ok(None) };
        // A plus sign that was not escaped has become a space.
        let at = time::parse(&text).or_else(|| time::parse(&text.replacen(' ', "+", 1)));
        let wrong = || Invalid::one(quoting(Item::new("query", name, "datetime_parsing", BAD_TIME), &text));
        at.map(Some).ok_or_else(wrong)
    }
}

/// The fault with its value, which is text here and JSON there.
fn quoting(item: Item, text: &str) -> Item {
    let mut json = Vec::new();
    string(&mut json, text);
    item.input(&String::from_utf8_lossy(&json))
}
