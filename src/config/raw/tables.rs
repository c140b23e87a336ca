//! From the parser's tree to the structs of this folder: [`table!`] and [`words!`] declare them, one walk fills them.
//!
//! Not serde's derive: its visitors are some hundred kilobytes of machine code, for one file that is read at the start.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeFloat, DeInteger, DeTable, DeValue};

/// A value and where it stands.
pub type Value<'a> = Spanned<DeValue<'a>>;

/// What does not belong there, and where, in bytes from the start of the file.
pub struct Wrong {
    pub span: Range<usize>,
    pub message: String,
}

/// A section, or one entry of a section whose entries have names.
pub trait Table {
    /// What to write instead of another kind of value.
    fn like(&self) -> &'static str {
        "a table"
    }

    /// Every key it may have.
    fn keys(&mut self) -> Vec<(&'static str, &mut dyn Slot)>;
}

/// Where a key's value goes.
pub trait Slot {
    /// Whether a table without the key is refused.
    fn is_needed(&self) -> bool {
        false
    }

    /// # Errors
    /// Another kind of value belongs here, or this one may not be.
    fn put(&mut self, value: &Value<'_>) -> Result<(), Wrong>;
}

/// One kind of value; `Option` of it is a key that may be left out.
pub trait Read: Sized {
    /// # Errors
    /// It is another kind of value, or this one may not be.
    fn read(value: &Value<'_>) -> Result<Self, Wrong>;
}

/// Declares a [`Table`]: the names of its fields are its keys.
macro_rules! table {
    (
        $(#[doc = $doc:literal])*
        $(#[like($like:literal)])?
        $vis:vis struct $name:ident {
            $($(#[doc = $about:literal])* pub $key:ident: $kind:ty,)*
        }
    ) => {
        $(#[doc = $doc])*
        #[derive(Default)]
        $vis struct $name {
            $($(#[doc = $about])* pub $key: $kind,)*
        }

        impl $crate::config::raw::tables::Table for $name {
            $(fn like(&self) -> &'static str {
                $like
            })?

            fn keys(&mut self) -> Vec<(&'static str, &mut dyn $crate::config::raw::tables::Slot)> {
                vec![$((stringify!($key), &mut self.$key)),*]
            }
        }

        impl $crate::config::raw::tables::Slot for $name {
            fn put(
                &mut self,
                value: &$crate::config::raw::tables::Value<'_>,
            ) -> Result<(), $crate::config::raw::tables::Wrong> {
                $crate::config::raw::tables::read_table(self, value)
            }
        }
    };
}

/// Declares a choice of words.
macro_rules! words {
    (
        $(#[doc = $doc:literal])*
        $vis:vis enum $name:ident {
            $($(#[doc = $about:literal])* $choice:ident = $($word:literal)|+,)*
        }
    ) => {
        $(#[doc = $doc])*
        #[derive(Clone, Copy)]
        $vis enum $name {
            $($(#[doc = $about])* $choice,)*
        }

        impl $crate::config::raw::tables::Read for $name {
            fn read(
                value: &$crate::config::raw::tables::Value<'_>,
            ) -> Result<$name, $crate::config::raw::tables::Wrong> {
                $crate::config::raw::tables::read_word(value, &[$($(($word, $name::$choice),)+)*])
            }
        }
    };
}

pub(in crate::config) use {table, words};

/// Puts all of a table's values where they belong.
///
/// # Errors
/// A key that is not known or not there, or a value that may not be.
pub fn fill(table: &mut dyn Table, written: &DeTable<'_>, span: Range<usize>) -> Result<(), Wrong> {
    let mut keys = table.keys();
    for (name, value) in written {
        match keys.iter_mut().find(|(key, _)| *key == name.get_ref()) {
            Some((_, slot)) => slot.put(value)?,
            None => {
                let known = keys.iter().map(|(key, _)| *key).collect::<Vec<_>>();
                return Err(unknown("key", name.get_ref(), name.span(), &known));
            }
        }
    }
    match keys.iter().find(|(key, slot)| slot.is_needed() && !written.contains_key(*key)) {
        Some((key, _)) => Err(Wrong { span, message: format!("missing key `{key}`") }),
        None => Ok(()),
    }
}

/// For [`table!`]: as [`fill`], of a value that should be a table.
pub fn read_table(table: &mut dyn Table, value: &Value<'_>) -> Result<(), Wrong> {
    let written = entries(value, table.like())?;
    fill(table, written, value.span())
}

/// For [`words!`]: the choice of this word.
pub fn read_word<T: Copy>(value: &Value<'_>, words: &[(&'static str, T)]) -> Result<T, Wrong> {
    let DeValue::String(text) = value.get_ref() else {
        let message = "wrong kind of value, write a word in quotes".to_owned();
        return Err(Wrong { span: value.span(), message });
    };
    let choice = words.iter().find(|(word, _)| *word == text).map(|(_, choice)| *choice);
    choice.ok_or_else(|| {
        let known = words.iter().map(|(word, _)| *word).collect::<Vec<_>>();
        unknown("value", text, value.span(), &known)
    })
}

impl<T: Read> Slot for Option<T> {
    fn put(&mut self, value: &Value<'_>) -> Result<(), Wrong> {
        *self = Some(T::read(value)?);
        Ok(())
    }
}

/// Tables with names of the author's choice.
impl<T: Table + Default> Slot for BTreeMap<String, T> {
    fn put(&mut self, value: &Value<'_>) -> Result<(), Wrong> {
        for (name, value) in entries(value, "a table")? {
            let mut entry = T::default();
            read_table(&mut entry, value)?;
            self.insert(name.get_ref().clone().into_owned(), entry);
        }
        Ok(())
    }
}

fn entries<'v, 'a>(value: &'v Value<'a>, expected: &str) -> Result<&'v DeTable<'a>, Wrong> {
    value.get_ref().as_table().ok_or_else(|| Wrong::kind(value, expected))
}

impl Wrong {
    /// Another kind of value is expected.
    pub fn kind(value: &Value<'_>, expected: &str) -> Wrong {
        Wrong { span: value.span(), message: format!("invalid type: {}, expected {expected}", told(value.get_ref())) }
    }

    /// Another value of this kind is expected.
    pub fn value(value: &Value<'_>, expected: &str) -> Wrong {
        Wrong { span: value.span(), message: format!("invalid value: {}, expected {expected}", told(value.get_ref())) }
    }
}

fn unknown(what: &str, name: impl Display, span: Range<usize>, known: &[&str]) -> Wrong {
    let quoted = known.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>();
    let expected = match quoted.as_slice() {
        [one, other] => format!("{one} or {other}"),
        [one] => one.clone(),
        all => format!("one of {}", all.join(", ")),
    };
    Wrong { span, message: format!("unknown {what} `{name}`, expected {expected}") }
}

/// A value as an error tells it.
fn told(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("string {text:?}"),
        DeValue::Integer(number) => format!("integer `{}`", decimal(number)),
        DeValue::Float(number) => match float(number) {
            whole if whole.is_finite() && whole.fract() == 0.0 => format!("floating point `{whole}.0`"),
            number => format!("floating point `{number}`"),
        },
        DeValue::Boolean(truth) => format!("boolean `{truth}`"),
        DeValue::Datetime(_) => "date or time".to_owned(),
        DeValue::Array(_) => "array".to_owned(),
        DeValue::Table(_) => "table".to_owned(),
    }
}

/// `None` for what 64 bits cannot hold.
pub fn whole(number: &DeInteger<'_>) -> Option<i64> {
    i64::from_str_radix(number.as_str(), number.radix()).ok()
}

/// A whole number as it is told, whatever its notation.
pub fn decimal(number: &DeInteger<'_>) -> String {
    whole(number).map_or_else(|| number.to_string(), |number| number.to_string())
}

/// What the parser takes for a number is one.
pub fn float(number: &DeFloat<'_>) -> f64 {
    number.as_str().parse().unwrap_or(f64::NAN)
}
