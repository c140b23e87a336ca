//! The configuration file as written: every key optional, unknown keys refused, no meaning yet.
//!
//! This file and `wire` are the only places that derive serialisation. The small types at the end read one
//! value each and say in plain words what to write instead of a value of the wrong kind.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use serde::de::{self, Deserializer, SeqAccess, Visitor};

use crate::types::line::Pin;

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct File {
    pub listen: Option<OneOrMore>,
    pub state_dir: Option<PathBuf>,
    pub root: Option<PathBuf>,
    pub node_id: Option<String>,
    pub log_level: Option<String>,
    pub log_events: Option<String>,
    pub shutdown_deadline: Option<Period>,
    pub auth: Auth,
    pub tls: Tls,
    pub front: Front,
    pub session: Session,
    pub endrpi: Endrpi,
    pub picloud: Picloud,
    pub gpio: Gpio,
    pub telemetry: Telemetry,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct Auth {
    /// Text, not an enum: serde's error would print a key written here by mistake.
    pub mode: Option<String>,
    pub api_key_file: Option<PathBuf>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct Tls {
    pub cert: Option<PathBuf>,
    pub key: Option<PathBuf>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct Front {
    pub max_connections: Option<Count>,
    pub max_per_address: Option<Count>,
    pub head_bytes: Option<Count>,
    pub head_deadline: Option<Period>,
    pub body_bytes: Option<Count>,
    pub body_deadline: Option<Period>,
    pub idle_deadline: Option<Period>,
    pub response_deadline: Option<Period>,
    pub hosts: Option<Vec<String>>,
    pub origins: Option<Vec<String>>,
    pub debug_echo: Option<bool>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct Session {
    pub message_bytes: Option<Count>,
    pub message_deadline: Option<Period>,
    pub ping_interval: Option<Period>,
    pub pong_deadline: Option<Period>,
    pub auth_deadline: Option<Period>,
    pub close_deadline: Option<Period>,
    pub backlog_bytes: Option<Count>,
    pub total_backlog_bytes: Option<Count>,
    pub send_buffer_bytes: Option<Count>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct Endrpi {
    pub error_style: Option<ErrorStyle>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum ErrorStyle {
    String,
    Object,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct Picloud {
    pub info_interval: Option<Period>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct Gpio {
    pub backend: Option<Backend>,
    pub pins: BTreeMap<String, GpioPin>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Backend {
    Auto,
    Cdev,
    Sysfs,
    Sim,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table such as { pin = 17 }")]
pub(super) struct GpioPin {
    pub pin: Line,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct Telemetry {
    pub max_age: Option<Period>,
    pub vcgencmd: Option<PathBuf>,
    pub firmware_interval: Option<Period>,
    pub firmware_deadline: Option<Period>,
}

/// A duration: text with a unit, as `humantime` reads it.
#[derive(Clone, Copy)]
pub(super) struct Period(pub Duration);

impl<'de> Deserialize<'de> for Period {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Period, D::Error> {
        struct Reader;

        /// A bare number has no unit, and guessing one would be wrong by a factor of 1,000 for somebody.
        fn unit_missing<E: de::Error>(number: impl fmt::Display) -> E {
            E::custom(format_args!("the number {number} has no unit, write \"{number}s\" for seconds"))
        }

        impl Visitor<'_> for Reader {
            type Value = Period;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration in quotes such as \"5s\" or \"100ms\"")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Period, E> {
                humantime::parse_duration(text).map(Period).map_err(|why| {
                    E::custom(format_args!("{text:?} is not a duration ({why}), write for example \"5s\" or \"100ms\""))
                })
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Period, E> {
                Err(unit_missing(number))
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Period, E> {
                Err(unit_missing(number))
            }

            fn visit_f64<E: de::Error>(self, number: f64) -> Result<Period, E> {
                Err(unit_missing(number))
            }
        }

        deserializer.deserialize_any(Reader)
    }
}

/// A number of bytes or things.
#[derive(Clone, Copy)]
pub(super) struct Count(pub usize);

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Count, D::Error> {
        struct Reader;

        impl Visitor<'_> for Reader {
            type Value = Count;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number without quotes such as 65536")
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Count, E> {
                usize::try_from(number).map(Count).map_err(|_| E::invalid_value(de::Unexpected::Signed(number), &self))
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Count, E> {
                usize::try_from(number)
                    .map(Count)
                    .map_err(|_| E::invalid_value(de::Unexpected::Unsigned(number), &self))
            }
        }

        deserializer.deserialize_any(Reader)
    }
}

/// One text or an array of texts.
pub(super) struct OneOrMore(pub Vec<String>);

impl<'de> Deserialize<'de> for OneOrMore {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<OneOrMore, D::Error> {
        struct Reader;

        impl<'de> Visitor<'de> for Reader {
            type Value = OneOrMore;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text or an array of texts")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<OneOrMore, E> {
                Ok(OneOrMore(vec![text.to_owned()]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut texts: A) -> Result<OneOrMore, A::Error> {
                let mut all = Vec::new();
                while let Some(text) = texts.next_element()? {
                    all.push(text);
                }
                Ok(OneOrMore(all))
            }
        }

        deserializer.deserialize_any(Reader)
    }
}

/// A GPIO line by number or by one of its own names.
#[derive(Clone, Copy)]
pub(super) struct Line(pub Pin);

impl<'de> Deserialize<'de> for Line {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Line, D::Error> {
        struct Reader;

        impl Visitor<'_> for Reader {
            type Value = Line;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(
                    "a BCM number from 0 to 27, its name such as \"GPIO17\", or a header position such as \"pin11\"",
                )
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Line, E> {
                Pin::parse(text).map(Line).ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Line, E> {
                let pin = u8::try_from(number).ok().and_then(Pin::new);
                pin.map(Line).ok_or_else(|| E::invalid_value(de::Unexpected::Signed(number), &self))
            }
        }

        deserializer.deserialize_any(Reader)
    }
}
