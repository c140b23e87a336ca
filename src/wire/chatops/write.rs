//! Writing JSON objects member by member, straight into the caller's buffer: the order of the members is the protocol's.

use std::io::Write;
use std::time::SystemTime;

use super::super::picloud::string;
use super::super::time;

/// An object being written. Its methods chain; `close` ends it.
#[must_use]
pub struct Object<'o> {
    out: &'o mut Vec<u8>,
    empty: bool,
}

impl<'o> Object<'o> {
    pub fn open(out: &'o mut Vec<u8>) -> Object<'o> {
        out.push(b'{');
        Object { out, empty: true }
    }

    /// Goes on with an object that has members and no end yet.
    pub fn more(out: &'o mut Vec<u8>) -> Object<'o> {
        Object { out, empty: false }
    }

    /// An object whose first member is its `type`.
    pub fn typed(out: &'o mut Vec<u8>, kind: &str) -> Object<'o> {
        Object::open(out).text("type", kind)
    }

    pub fn close(self) {
        self.out.push(b'}');
    }

    /// A member whose value `write` appends.
    pub fn with(mut self, name: &str, write: impl FnOnce(&mut Vec<u8>)) -> Object<'o> {
        if !self.empty {
            self.out.push(b',');
        }
        self.empty = false;
        // Names are the program's own and need no escapes.
        let _ = write!(self.out, "\"{name}\":");
        write(self.out);
        self
    }

    /// A member that is an object.
    pub fn object(self, name: &str, write: impl FnOnce(Object<'_>) -> Object<'_>) -> Object<'o> {
        self.with(name, |out| write(Object::open(out)).close())
    }

    pub fn list<T>(
        self,
        name: &str,
        items: impl IntoIterator<Item = T>,
        each: impl FnMut(&mut Vec<u8>, T),
    ) -> Object<'o> {
        self.with(name, |out| list(out, items, each))
    }

    pub fn list_if<T>(
        self,
        name: &str,
        items: Option<impl IntoIterator<Item = T>>,
        each: impl FnMut(&mut Vec<u8>, T),
    ) -> Object<'o> {
        match items {
            Some(items) => self.list(name, items, each),
            None => self,
        }
    }

    pub fn text(self, name: &str, text: &str) -> Object<'o> {
        self.with(name, |out| string(out, text))
    }

    pub fn text_or_null(self, name: &str, text: Option<&str>) -> Object<'o> {
        self.with(name, |out| match text {
            Some(text) => string(out, text),
            None => out.extend(b"null"),
        })
    }

    pub fn text_if(self, name: &str, text: Option<&str>) -> Object<'o> {
        match text {
            Some(text) => self.text(name, text),
            None => self,
        }
    }

    pub fn bool(self, name: &str, value: bool) -> Object<'o> {
        self.shown(name, value)
    }

    /// A whole number, or a fraction that is written whole where it is.
    pub fn shown(self, name: &str, value: impl std::fmt::Display) -> Object<'o> {
        self.with(name, |out| drop(write!(out, "{value}")))
    }

    pub fn shown_if(self, name: &str, value: Option<impl std::fmt::Display>) -> Object<'o> {
        match value {
            Some(value) => self.shown(name, value),
            None => self,
        }
    }

    pub fn shown_or_null(self, name: &str, value: Option<impl std::fmt::Display>) -> Object<'o> {
        match value {
            Some(value) => self.shown(name, value),
            None => self.raw(name, "null"),
        }
    }

    /// A number that always has a fraction, as Python writes floats; `null` for what JSON cannot say.
    pub fn float(self, name: &str, value: f64) -> Object<'o> {
        self.with(name, |out| float(out, value))
    }

    pub fn float_if(self, name: &str, value: Option<f64>) -> Object<'o> {
        match value.filter(|value| value.is_finite()) {
            Some(value) => self.float(name, value),
            None => self,
        }
    }

    pub fn float_or_null(self, name: &str, value: Option<f64>) -> Object<'o> {
        self.float(name, value.unwrap_or(f64::NAN))
    }

    pub fn time(self, name: &str, at: SystemTime) -> Object<'o> {
        self.with(name, |out| {
            out.push(b'"');
            time::write_micros(out, at);
            out.push(b'"');
        })
    }

    pub fn time_if(self, name: &str, at: Option<SystemTime>) -> Object<'o> {
        match at {
            Some(at) => self.time(name, at),
            None => self,
        }
    }

    pub fn time_or_null(self, name: &str, at: Option<SystemTime>) -> Object<'o> {
        match at {
            Some(at) => self.time(name, at),
            None => self.raw(name, "null"),
        }
    }

    /// A value that is JSON already.
    pub fn raw(self, name: &str, json: &str) -> Object<'o> {
        self.with(name, |out| out.extend(json.as_bytes()))
    }
}

/// Appends an array.
pub fn list<T>(out: &mut Vec<u8>, items: impl IntoIterator<Item = T>, mut each: impl FnMut(&mut Vec<u8>, T)) {
    out.push(b'[');
    for (number, item) in items.into_iter().enumerate() {
        if number > 0 {
            out.push(b',');
        }
        each(out, item);
    }
    out.push(b']');
}

/// Appends a number with a fraction, or `null`.
pub fn float(out: &mut Vec<u8>, value: f64) {
    // serde_json writes what is not finite as null, and a number into memory without fail.
    let _ = serde_json::to_writer(out, &value);
}

/// What `write` appends, as text.
#[cfg(test)]
pub fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut out = Vec::new();
    write(&mut out);
    String::from_utf8(out).expect("UTF-8")
}
