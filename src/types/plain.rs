//! Text from elsewhere, as it may stand in a log or on a terminal.

use std::borrow::Cow;

/// One line stays one line, and a terminal is told nothing: control characters are written as Rust escapes them.
pub fn plain(text: &str) -> Cow<'_, str> {
    if !text.contains(char::is_control) {
        return Cow::Borrowed(text);
    }
    let mut line = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            c if c.is_control() => line.extend(c.escape_default()),
            c => line.push(c),
        }
    }
    Cow::Owned(line)
}
