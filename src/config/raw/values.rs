//! Values that are more than a text, a number or a word out of a list.

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use serde::Deserialize;
use serde::de::{self, Deserializer, IntoDeserializer, SeqAccess, Visitor};

use crate::types::line::{Duty, Pin};

/// A duration: text with a unit, as `humantime` reads it.
#[derive(Clone, Copy)]
pub(in crate::config) struct Period(pub Duration);

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
                duration(text).map(Period)
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

fn duration<E: de::Error>(text: &str) -> Result<Duration, E> {
    humantime::parse_duration(text).map_err(|why| {
        E::custom(format_args!("{text:?} is not a duration ({why}), write for example \"5s\" or \"100ms\""))
    })
}

/// A number of bytes or things.
#[derive(Clone, Copy)]
pub(in crate::config) struct Count(pub usize);

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
pub(in crate::config) struct OneOrMore(pub Vec<String>);

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
pub(in crate::config) struct Line(pub Pin);

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

/// A line by number or own name, or a name from the file that only the whole file can tell.
#[derive(Clone)]
pub(in crate::config) enum LineOrName {
    Line(Pin),
    Name(String),
}

impl<'de> Deserialize<'de> for LineOrName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<LineOrName, D::Error> {
        struct Reader;

        impl Visitor<'_> for Reader {
            type Value = LineOrName;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a BCM number from 0 to 27, \"GPIO17\", \"pin11\", or a name such as \"led-1\"")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<LineOrName, E> {
                Ok(Pin::parse(text).map_or_else(|| LineOrName::Name(text.to_owned()), LineOrName::Line))
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<LineOrName, E> {
                let pin = u8::try_from(number).ok().and_then(Pin::new);
                pin.map(LineOrName::Line).ok_or_else(|| E::invalid_value(de::Unexpected::Signed(number), &self))
            }
        }

        deserializer.deserialize_any(Reader)
    }
}

/// What happens to a line whose last writer's connection has ended.
#[derive(Clone, Copy)]
pub(in crate::config) enum OnDisconnect {
    Hold,
    /// After the time that was written, if one was.
    Safe(Option<Duration>),
}

impl<'de> Deserialize<'de> for OnDisconnect {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<OnDisconnect, D::Error> {
        struct Reader;

        impl Visitor<'_> for Reader {
            type Value = OnDisconnect;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("\"hold\", \"safe\", or \"safe after 2s\"")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<OnDisconnect, E> {
                match (text, text.strip_prefix("safe after ")) {
                    ("hold", _) => Ok(OnDisconnect::Hold),
                    ("safe", _) => Ok(OnDisconnect::Safe(None)),
                    (_, Some(grace)) => duration(grace).map(|grace| OnDisconnect::Safe(Some(grace))),
                    _ => Err(E::invalid_value(de::Unexpected::Str(text), &self)),
                }
            }
        }

        deserializer.deserialize_any(Reader)
    }
}

/// The share of time a PWM output is high, 0.0 to 1.0.
#[derive(Clone, Copy)]
pub(in crate::config) struct Fraction(pub Duty);

impl<'de> Deserialize<'de> for Fraction {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Fraction, D::Error> {
        struct Reader;

        impl Visitor<'_> for Reader {
            type Value = Fraction;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number without quotes from 0.0 to 1.0 such as 0.25")
            }

            fn visit_f64<E: de::Error>(self, number: f64) -> Result<Fraction, E> {
                let duty = Duty::from_fraction(number);
                duty.map(Fraction).ok_or_else(|| E::invalid_value(de::Unexpected::Float(number), &self))
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Fraction, E> {
                match number {
                    0 => Ok(Fraction(Duty::ZERO)),
                    1 => Ok(Fraction(Duty::FULL)),
                    _ => Err(E::invalid_value(de::Unexpected::Signed(number), &self)),
                }
            }
        }

        deserializer.deserialize_any(Reader)
    }
}

/// A value for which an empty text stands for "not set".
#[derive(Clone, Copy)]
pub(in crate::config) struct OrEmpty<T>(pub Option<T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for OrEmpty<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<OrEmpty<T>, D::Error> {
        struct Reader<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Reader<T> {
            type Value = OrEmpty<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<OrEmpty<T>, E> {
                match text {
                    "" => Ok(OrEmpty(None)),
                    text => T::deserialize(text.into_deserializer()).map(Some).map(OrEmpty),
                }
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<OrEmpty<T>, E> {
                T::deserialize(number.into_deserializer()).map(Some).map(OrEmpty)
            }

            fn visit_f64<E: de::Error>(self, number: f64) -> Result<OrEmpty<T>, E> {
                T::deserialize(number.into_deserializer()).map(Some).map(OrEmpty)
            }

            fn visit_bool<E: de::Error>(self, truth: bool) -> Result<OrEmpty<T>, E> {
                T::deserialize(truth.into_deserializer()).map(Some).map(OrEmpty)
            }
        }

        deserializer.deserialize_any(Reader(PhantomData))
    }
}
