//! Writing JSON, by hand and straight into the caller's buffer: the order of the members is part of the protocol, a
//! reply costs no allocation, and READ_MEMORY is what the daemon is measured by.

use std::io::Write;

/// Appends a JSON string in ASCII only, as Python writes it.
pub fn string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    if text.bytes().all(|byte| matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\') {
        out.extend(text.as_bytes());
    } else {
        text.chars().for_each(|c| escaped(out, c));
    }
    out.push(b'"');
}

fn escaped(out: &mut Vec<u8>, c: char) {
    match c {
        '"' => out.extend(b"\\\""),
        '\\' => out.extend(b"\\\\"),
        '\n' => out.extend(b"\\n"),
        '\r' => out.extend(b"\\r"),
        '\t' => out.extend(b"\\t"),
        '\x08' => out.extend(b"\\b"),
        '\x0c' => out.extend(b"\\f"),
        // The one-byte encoding of what is left of ASCII is the character itself.
        ' '..='~' => out.push(c as u8),
        _ => c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| put(out, format_args!("\\u{unit:04x}"))),
    }
}

/// Appends `{"message": …}`.
pub fn message(out: &mut Vec<u8>, text: &str) {
    member(out, "{\"message\":", |out| string(out, text));
    out.push(b'}');
}

/// A member: its name with all the punctuation around it, then its value.
pub fn member(out: &mut Vec<u8>, name: &str, value: impl FnOnce(&mut Vec<u8>)) {
    out.extend(name.as_bytes());
    value(out);
}

/// Writing to memory cannot fail.
pub fn put(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    let _ = out.write_fmt(text);
}

/// A number that always has a fraction (or an exponent), as Python's floats.
pub fn float(out: &mut Vec<u8>, number: f64) {
    // Writing a number to memory cannot fail either.
    let _ = serde_json::to_writer(out, &number);
}
