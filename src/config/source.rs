//! Where a setting was written, so that an error can point at it: the file's text, an index of its keys, and
//! the error itself.

use std::fmt::Display;
use std::fs;
use std::io::{self, Read};
use std::ops::Range;
use std::path::Path;

use toml::de::{DeTable, DeValue};

use super::raw;

/// A configuration file far beyond any real one; keeps `--config /dev/zero` from filling the memory.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// Why there is no configuration, in one line that says where, what is wrong and what to do. It never holds a key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(String);

impl ConfigError {
    /// `place: message`, in one line whatever names, keys or messages contain.
    pub(super) fn new(place: impl Display, message: impl Display) -> ConfigError {
        let mut line = String::new();
        for c in format!("{place}: {message}").chars() {
            match c {
                '\n' => line.push(' '),
                c if c.is_control() => line.extend(c.escape_default()),
                c => line.push(c),
            }
        }
        ConfigError(line)
    }
}

/// The configuration file, or none.
#[derive(Default)]
pub(super) struct Source {
    /// The path as given.
    name: String,
    text: String,
    keys: Vec<Key>,
}

/// A key of the file and where it and its value stand, in bytes from the start.
struct Key {
    path: String,
    key: Range<usize>,
    value: Range<usize>,
}

impl Source {
    /// Reads a file and takes it apart.
    ///
    /// # Errors
    /// The file cannot be read, is not TOML, or has a key or a type of value that does not belong there.
    pub(super) fn read(path: &Path) -> Result<(raw::File, Source), ConfigError> {
        let name = path.display().to_string();
        let bytes = read_at_most(path, MAX_FILE_BYTES)
            .map_err(|why| ConfigError::new("--config", format_args!("cannot read {name}: {why}")))?;
        let text = String::from_utf8(bytes).map_err(|why| {
            let line = line_at(why.as_bytes(), why.utf8_error().valid_up_to());
            ConfigError::new(format_args!("{name}:{line}"), "is not UTF-8 text, save the file as UTF-8")
        })?;
        // Broken TOML still has most of its keys, so that even a missing quote can be blamed on one of them.
        let (table, broken) = DeTable::parse_recoverable(&text);
        let mut keys = Vec::new();
        index(table.get_ref(), "", &mut keys);
        let source = Source { name, keys, text: text.clone() };
        if let Some(why) = broken.first() {
            let message = format!("not valid TOML ({}), note that texts stand in quotes", why.message());
            return Err(source.refuse(why.span(), message));
        }
        let mut file = raw::File::default();
        raw::fill(&mut file, table.get_ref(), table.span())
            .map_err(|why| source.refuse(Some(why.span), why.message))?;
        Ok((file, source))
    }

    /// `file:line: key`, or only the key where the file does not have it.
    pub(super) fn at(&self, path: &str) -> String {
        match self.keys.iter().find(|key| key.path == path) {
            Some(key) => format!("{}:{}: {path}", self.name, line_at(self.text.as_bytes(), key.key.start)),
            None => path.to_owned(),
        }
    }

    /// The place of the first of these keys that the file has, for an error about all of them.
    pub(super) fn at_any(&self, paths: [&str; 2]) -> String {
        let written = paths.into_iter().find(|path| self.has(path));
        self.at(written.unwrap_or(paths[0]))
    }

    fn has(&self, path: &str) -> bool {
        self.keys.iter().any(|key| key.path == path)
    }

    /// Puts its place before a complaint about the text or a value.
    fn refuse(&self, span: Option<Range<usize>>, message: String) -> ConfigError {
        let span = span.unwrap_or_default();
        let line = line_at(self.text.as_bytes(), span.start);
        match self.key_at(&span) {
            Some(key) => ConfigError::new(format_args!("{}:{line}: {key}", self.name), without_secrets(key, message)),
            None => ConfigError::new(format_args!("{}:{line}", self.name), message),
        }
    }

    /// The key an error's span means: the one it covers exactly, else the innermost whose value it is in.
    fn key_at(&self, span: &Range<usize>) -> Option<&str> {
        let exact = self.keys.iter().find(|key| key.key == *span);
        let around = || self.keys.iter().rfind(|key| key.value.contains(&span.start));
        Some(&exact.or_else(around)?.path)
    }
}

/// Lists all keys below `table`, outer before inner.
fn index(table: &DeTable<'_>, above: &str, keys: &mut Vec<Key>) {
    for (name, value) in table {
        let path = dotted(above, name.get_ref());
        keys.push(Key { path: path.clone(), key: name.span(), value: value.span() });
        if let DeValue::Table(inner) = value.get_ref() {
            index(inner, &path, keys);
        }
    }
}

/// `above.name`, with quotes where TOML would need them.
pub(super) fn dotted(above: &str, name: &str) -> String {
    let bare = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    let name = if bare { name.to_owned() } else { format!("{name:?}") };
    if above.is_empty() { name } else { format!("{above}.{name}") }
}

/// Somebody may have written the API key itself below `[auth]`; the value must not reach a log.
fn without_secrets(key: &str, message: String) -> String {
    match message.rsplit_once(", expected ") {
        Some((_, expected)) if key.starts_with("auth") && !message.starts_with("unknown key") => {
            format!("wrong value, expected {expected}")
        }
        _ => message,
    }
}

/// The line number, from 1, of a byte offset.
fn line_at(text: &[u8], offset: usize) -> usize {
    1 + text.iter().take(offset).filter(|byte| **byte == b'\n').count()
}

/// A whole file, refused if it is longer than `limit` bytes.
pub(super) fn read_at_most(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(io::Error::other(format!("it is longer than {limit} bytes")));
    }
    Ok(bytes)
}
