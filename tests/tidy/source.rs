//! Source files as the tidy test reads them: code apart from comments and literals, the program apart from its tests.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// One source file.
pub struct Source {
    /// From the top of the repository, as in `src/hub/table.rs`.
    pub name: String,
    pub text: String,
    /// The text with comments and the insides of strings blanked out, byte by byte.
    pub code: String,
}

impl Source {
    pub fn new(name: &str, text: &str) -> Source {
        Source { name: name.to_owned(), text: text.to_owned(), code: code_only(text) }
    }

    /// `hub` for `src/hub/table.rs` and for `src/hub.rs`.
    pub fn room(&self) -> &str {
        let inside = self.name.strip_prefix("src/").expect("a file of src");
        inside.split('/').next().unwrap_or(inside).trim_end_matches(".rs")
    }

    pub fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.code.lines().enumerate().map(|(i, line)| (i + 1, line))
    }

    /// The lines outside tests: a file's tests are its last item, or a file `tests.rs` or `testing.rs`.
    pub fn program_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        let is_test =
            ["/tests.rs", "/testing.rs"].iter().any(|end| self.name.ends_with(end)) || self.name.contains("/tests/");
        let inline = self.code.find("#[cfg(test)]\nmod tests {").unwrap_or(self.code.len());
        let end = if is_test { 0 } else { self.code[..inline].lines().count() };
        self.lines().take(end)
    }

    /// The rooms that `crate::` and, in `main`, `pinwire::` lead to, in imports and in the code.
    pub fn rooms_named(&self) -> BTreeSet<String> {
        let mut rooms = BTreeSet::new();
        for root in ["crate::", "pinwire::"] {
            for (at, _) in self.code.match_indices(root) {
                if self.code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':') {
                    continue;
                }
                let rest = &self.code[at + root.len()..];
                rooms.extend(match rest.strip_prefix('{') {
                    Some(group) => first_names(group),
                    None => vec![word(rest)],
                });
            }
        }
        rooms
    }
}

/// The first name of each path in a use group, whose brace is open already.
fn first_names(group: &str) -> Vec<String> {
    let mut names = Vec::new();
    let (mut depth, mut fresh) = (1, true);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 1 => fresh = true,
            c if fresh && depth == 1 && !c.is_whitespace() => {
                names.push(word(&group[at..]));
                fresh = false;
            }
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    names
}

fn word(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

pub fn has_word(text: &str, wanted: &str) -> bool {
    let inner = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(wanted)
        .any(|(at, _)| !text[..at].ends_with(inner) && !text[at + wanted.len()..].starts_with(inner))
}

/// Blanks out comments and the insides of string and character literals; line ends stay.
fn code_only(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut code = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = at + opaque(&bytes[at..], at.checked_sub(1).map(|before| bytes[before]));
        for byte in &mut code[at..end] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
        at = end.max(at + 1);
    }
    String::from_utf8(code).expect("whole characters were blanked")
}

/// How many bytes from here are a comment or a literal.
fn opaque(rest: &[u8], before: Option<u8>) -> usize {
    let find = |from: usize, wanted: &[u8]| {
        rest[from..].windows(wanted.len()).position(|window| window == wanted).map_or(rest.len(), |n| from + n)
    };
    let in_word = before.is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    match rest {
        [b'/', b'/', ..] => find(0, b"\n"),
        [b'/', b'*', ..] => {
            let (mut depth, mut at) = (1, 2);
            while depth > 0 && at < rest.len() {
                match &rest[at..] {
                    [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
                    [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
                    _ => at += 1,
                }
            }
            at
        }
        [b'r', b'"' | b'#', ..] if !in_word || before == Some(b'b') => {
            let hashes = rest[1..].iter().take_while(|byte| **byte == b'#').count();
            if rest.get(1 + hashes) != Some(&b'"') {
                return 0; // r#raw_identifier
            }
            let close = [b"\"", &b"#".repeat(hashes)[..]].concat();
            (find(2 + hashes, &close) + close.len()).min(rest.len())
        }
        [b'"', ..] => 1 + quoted(&rest[1..], b'"'),
        // A character, not a lifetime: escaped, or closed right after one character.
        [b'\'', b'\\', ..] => 1 + quoted(&rest[1..], b'\''),
        [b'\'', first, ..] if *first != b'\'' => {
            let width = rest[2..].iter().take_while(|byte| **byte & 0xC0 == 0x80).count() + 1;
            if rest.get(1 + width) == Some(&b'\'') { width + 2 } else { 0 }
        }
        _ => 0,
    }
}

/// The length of a literal's inside and its closing quote.
fn quoted(rest: &[u8], quote: u8) -> usize {
    let mut at = 0;
    while at < rest.len() && rest[at] != quote {
        at += if rest[at] == b'\\' { 2 } else { 1 };
    }
    (at + 1).min(rest.len())
}

pub fn everything() -> Vec<Source> {
    ["src", "tests", "benches"].into_iter().flat_map(sources).collect()
}

/// All Rust files below a directory of the repository.
pub fn sources(below: &str) -> Vec<Source> {
    let mut directories = vec![top().join(below)];
    let mut found = Vec::new();
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory).expect("a directory of the repository") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                let name = path.strip_prefix(top()).expect("below the top").to_string_lossy().into_owned();
                found.push(Source::new(&name, &read(&name)));
            }
        }
    }
    assert!(!found.is_empty(), "no sources below {below}");
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found
}

fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_path_buf()
}

pub fn read(name: &str) -> String {
    fs::read_to_string(top().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

#[test]
fn the_reader_of_sources_knows_code_from_text() {
    let text = r##"let a = "dbg! // no"; // dbg!
let b = 'x'; let c: &'static str = r#"todo! " "#; /* dbg! /* nested */ */ dbg!(b'"', '\'', '"');
"##;
    let code = code_only(text);
    assert_eq!(code.len(), text.len());
    assert_eq!(code.matches("dbg!").count(), 1, "{code}");
    assert!(!code.contains("todo!") && code.contains("&'static str"), "{code}");
    let file = Source::new("src/hub/x.rs", "use crate::{a::b::{c, d}, e, f::*};\nlet x = crate::web::PAGE;\n");
    assert_eq!(file.rooms_named().into_iter().collect::<Vec<_>>(), ["a", "e", "f", "web"]);
    let file = Source::new("src/hub/x.rs", "fn f() {}\n#[cfg(test)]\nmod tests {\n    dbg!();\n}\n");
    assert_eq!(file.program_lines().count(), 1);
    assert_eq!(Source::new("src/hub/tests.rs", "fn f() {}\n").program_lines().count(), 0);
    assert!(has_word("a unsafe {", "unsafe") && !has_word("unsafe_code", "unsafe"));
}
