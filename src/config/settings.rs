//! The configuration as a flat list of its keys, for a reload: what is not what it was, and what may change live.
//!
//! The list (in `list`) names every field of [`Config`] by taking the structs apart without a rest, so that a key that
//! is added and not listed here does not compile. Secrets are compared and never shown.

mod list;
mod shown;

pub(super) use shown::Shown;

use std::borrow::Cow;

use super::Config;
use super::source::dotted;

/// One key with what it means in one configuration.
pub struct Setting<'a> {
    /// As in the file, such as `front.hosts`.
    key: String,
    /// The table it is in, where tables come and go: `gpio.pins.lamp`, `commands.templates.backup`.
    table: Option<String>,
    value: Value<'a>,
    when: When,
}

/// When a change of a key takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// With a reload.
    Live,
    /// With the next start.
    Restart,
}

/// What a key is set to.
#[derive(PartialEq, Eq)]
enum Value<'a> {
    /// As it would be written into the file.
    Shown(String),
    /// Something nobody may read in a log.
    Hidden(Cow<'a, str>),
}

/// A key, or a whole table, that is not what it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    pub key: String,
    how: How,
    pub when: When,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum How {
    New,
    Gone,
    FromTo(String, String),
    Hidden,
}

impl Changed {
    /// Whether it is about this section, table or key.
    pub fn is_in(&self, section: &str) -> bool {
        self.key.strip_prefix(section).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    }
}

/// `front.max_connections has changed from 100 to 200`, without a secret.
impl std::fmt::Display for Changed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let key = &self.key;
        match &self.how {
            How::New => write!(f, "{key} is new"),
            How::Gone => write!(f, "{key} is gone"),
            How::FromTo(from, to) => write!(f, "{key} has changed from {from} to {to}"),
            How::Hidden => write!(f, "{key} has changed (a secret, not shown)"),
        }
    }
}

impl Config {
    /// Every key and what it means here. Tables with names are there as often as they are in the file.
    pub fn settings(&self) -> Vec<Setting<'_>> {
        let mut settings = Vec::new();
        list::config(self, &mut settings);
        settings
    }

    /// What is not the same in `other`, in the order of the file.
    pub fn changes(&self, other: &Config) -> Vec<Changed> {
        let (before, after) = (self.settings(), other.settings());
        let has = |all: &[Setting<'_>], table: &str| all.iter().any(|one| one.table.as_deref() == Some(table));
        let mut changed: Vec<Changed> = Vec::new();
        for old in &before {
            let how = match after.iter().find(|new| new.key == old.key) {
                Some(new) if new.value == old.value => continue,
                Some(new) => How::between(&old.value, &new.value),
                None => How::Gone,
            };
            let table = old.table.as_deref().filter(|table| !has(&after, table));
            push(&mut changed, table.unwrap_or(&old.key), how, old.when);
        }
        for new in after.iter().filter(|new| before.iter().all(|old| old.key != new.key)) {
            let table = new.table.as_deref().filter(|table| !has(&before, table));
            push(&mut changed, table.unwrap_or(&new.key), How::New, new.when);
        }
        changed
    }
}

/// The table of a line with this name.
pub fn line_table(name: &str) -> String {
    dotted("gpio.pins", name)
}

/// A table that has come or gone is one change, whatever it has in it.
fn push(changed: &mut Vec<Changed>, key: &str, how: How, when: When) {
    if changed.last().is_none_or(|last| last.key != key) {
        changed.push(Changed { key: key.to_owned(), how, when });
    }
}

impl How {
    fn between(old: &Value<'_>, new: &Value<'_>) -> How {
        match (old, new) {
            (Value::Shown(old), Value::Shown(new)) => How::FromTo(old.clone(), new.clone()),
            _ => How::Hidden,
        }
    }
}

impl Setting<'_> {
    pub fn key(&self) -> &str {
        &self.key
    }

    pub fn when(&self) -> When {
        self.when
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Auth, Line};
    use crate::types::line::Pin;

    #[test]
    fn changes_name_their_key_and_tables_are_one() {
        let (old, mut new) = (Config::default(), Config::default());
        assert_eq!(old.changes(&new), []);
        new.front.max_connections = 7;
        new.auth = Auth::Key("s3cret".into());
        let lamp = Line::plain(Pin::new(17).expect("a pin"));
        new.gpio.lines.insert("lamp".into(), lamp.clone());
        let told = |old: &Config, new: &Config| old.changes(new).iter().map(ToString::to_string).collect::<Vec<_>>();
        let all = told(&old, &new);
        assert!(all.contains(&"front.max_connections has changed from 4000 to 7".to_owned()), "{all:?}");
        assert!(all.contains(&"gpio.pins.lamp is new".to_owned()) && !all.concat().contains("s3cret"), "{all:?}");
        assert!(told(&new, &old).contains(&"gpio.pins.lamp is gone".to_owned()));
        let mut other = new.clone();
        other.auth = Auth::Key("0ther".into());
        other.gpio.lines.insert("lamp".into(), Line { active_low: true, ..lamp });
        assert_eq!(
            told(&new, &other),
            [
                "auth.api_key_file has changed (a secret, not shown)",
                "gpio.pins.lamp.active_low has changed from false to true"
            ]
        );
        assert!(other.changes(&new)[1].is_in("gpio.pins.lamp") && !other.changes(&new)[1].is_in("gpio.pins.la"));
    }
}
