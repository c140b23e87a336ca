//! The rules of the house that no compiler checks: which room may import which, where threads, clocks,
//! serialisation and `unsafe` may be, how long files get. Each rule says on failure what to do.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

/// The rooms, top floor first. A room imports from the floors below its own only; rooms of one floor do not
/// know each other.
const FLOORS: &[&[&str]] = &[
    &["main"],
    &["daemon", "client"],
    // logging stands above the hub because log lines are events.
    &["cli", "logging", "front"],
    &["http", "session"],
    &["dispatch"],
    &["actions"],
    // The workshops. hub sends to connections, so conn is below it.
    &["hub", "gpio", "telemetry"],
    &["auth", "conn"],
    &["wire"],
    // What every room is configured with, and stands on.
    &["config", "rt", "web"],
    &["types"],
];

/// Arrows that point downward and are wrong all the same: the lower room is none of the upper one's business.
const NEVER: &[(&str, &str, &str)] = &[
    ("gpio", "wire", "a workshop knows no wire"),
    ("telemetry", "wire", "a workshop knows no wire"),
    ("hub", "wire", "the hub is given its encoder by the daemon"),
    ("gpio", "conn", "only the hub sends to connections"),
    ("telemetry", "conn", "only the hub sends to connections"),
    ("actions", "conn", "actions know values, not visitors"),
    ("dispatch", "conn", "dispatch knows requests, not visitors"),
    ("session", "gpio", "through dispatch"),
    ("session", "telemetry", "through dispatch"),
    ("http", "gpio", "through dispatch"),
    ("http", "telemetry", "through dispatch"),
];

/// Files outside `wire` and `config/raw.rs` that may use serde all the same, and why.
const JSON_ALLOWED: &[(&str, &str)] = &[
    ("src/client/", "a client of the daemon: it reads answers as anybody's client does"),
    ("src/http/fleet.rs", "/health and the banner: fixed objects that are nobody's protocol"),
    ("src/front/visit.rs", "quotes one text in a refusal"),
];

/// Where a thread's name is not a literal at the call, and why it fits.
const NAMES_ELSEWHERE: &[(&str, &str)] = &[
    ("src/http/mod.rs", "HANDLERS, a constant; Worker::spawn asserts the length"),
    ("src/rt/worker.rs", "the definitions"),
];

const NAME_BYTES: usize = 15;
const MANY_LINES: usize = 400;
const MAX_LINES: usize = 600;

#[test]
fn imports_point_downward() {
    let floor: BTreeMap<&str, usize> =
        FLOORS.iter().enumerate().flat_map(|(i, rooms)| rooms.iter().map(move |room| (*room, i))).collect();
    let mut wrong = Vec::new();
    for file in sources("src").iter().filter(|file| file.name != "src/lib.rs") {
        let own = file.room();
        let Some(own_floor) = floor.get(own) else {
            wrong.push(format!("{}: room '{own}' has no floor yet; give it one in FLOORS", file.name));
            continue;
        };
        for other in file.rooms_named() {
            let arrow = format!("{}: {own} -> {other}", file.name);
            match floor.get(other.as_str()) {
                _ if other == own => {}
                None => wrong.push(format!("{arrow}: '{other}' is no room in FLOORS")),
                Some(there) if there < own_floor => wrong.push(format!("{arrow} points upward")),
                Some(there) if there == own_floor => wrong.push(format!("{arrow}: rooms of one floor")),
                Some(_) => {
                    let never = NEVER.iter().find(|(from, to, _)| (*from, *to) == (own, other.as_str()));
                    wrong.extend(never.map(|(_, _, why)| format!("{arrow}: {why}")));
                }
            }
        }
    }
    report(wrong);
}

#[test]
fn the_table_of_rooms_and_the_sources_agree() {
    let listed: BTreeSet<String> = FLOORS.iter().flat_map(|rooms| rooms.iter().map(|r| (*r).to_owned())).collect();
    let present: BTreeSet<String> =
        sources("src").iter().map(|file| file.room().to_owned()).filter(|room| room != "lib").collect();
    assert_eq!(listed, present);
}

#[test]
fn only_wire_and_the_raw_configuration_serialise() {
    let mut wrong = Vec::new();
    for file in sources("src") {
        let home = file.name.starts_with("src/wire/") || file.name == "src/config/raw.rs";
        for (line, text) in file.program_lines() {
            let derives = text.contains("derive(") && (has_word(text, "Serialize") || has_word(text, "Deserialize"));
            let uses = has_word(text, "serde") || has_word(text, "serde_json");
            let allowed = JSON_ALLOWED.iter().any(|(path, _)| file.name.starts_with(path));
            if !home && (derives || (uses && !allowed)) {
                wrong.push(format!("{}:{line}: serialisation belongs to wire", file.name));
            }
        }
    }
    report(wrong);
}

#[test]
fn only_rt_starts_threads_and_reads_clocks() {
    const THREADS: &[&str] = &["thread::spawn", "thread::Builder", "thread::scope"];
    const CLOCKS: &[&str] = &["Instant::now", "SystemTime::now", ".elapsed()", "clock_gettime"];
    let mut wrong = Vec::new();
    for file in sources("src") {
        for (line, text) in file.program_lines() {
            let imports_builder =
                text.contains("use std::thread::") && (has_word(text, "Builder") || has_word(text, "spawn"));
            if !file.name.starts_with("src/rt/") && (imports_builder || THREADS.iter().any(|word| text.contains(word)))
            {
                wrong.push(format!("{}:{line}: start threads with rt::worker", file.name));
            }
            if file.name != "src/rt/clock.rs" && CLOCKS.iter().any(|word| text.contains(word)) {
                wrong.push(format!("{}:{line}: ask rt::clock, or take `now` as an argument", file.name));
            }
        }
    }
    report(wrong);
}

#[test]
fn nothing_sleeps_to_wait_and_nothing_is_left_undone() {
    const BANNED: &[(&str, &str)] = &[
        ("thread::sleep", "wait for the event itself, with a limit"),
        ("sleep_ms(", "wait for the event itself, with a limit"),
        ("todo!", "finish it, or return an error that says so"),
        ("unimplemented!", "finish it, or return an error that says so"),
        ("dbg!", "left over"),
    ];
    let mut wrong = Vec::new();
    for file in everything() {
        for (line, text) in file.lines() {
            let found = BANNED.iter().filter(|(word, _)| text.contains(word));
            let imports = text.contains("use std::thread") && has_word(text, "sleep");
            wrong.extend(found.map(|(word, why)| format!("{}:{line}: {word}: {why}", file.name)));
            wrong.extend(imports.then(|| format!("{}:{line}: sleep: wait for the event itself", file.name)));
        }
    }
    report(wrong);
}

#[test]
fn unsafe_code_stands_where_a_file_says_why() {
    let mut wrong = Vec::new();
    for file in everything() {
        let allows = file.code.contains("#![allow(unsafe_code)]");
        let before = file.text.split("#![allow(unsafe_code)]").next().unwrap_or_default();
        let says_why = before.lines().filter(|line| line.starts_with("//")).count() >= 2;
        if allows && !says_why {
            wrong.push(format!("{}: say above #![allow(unsafe_code)] why it has to be", file.name));
        }
        let text: Vec<&str> = file.text.lines().collect();
        for (line, code) in file.lines().filter(|(_, code)| has_word(code, "unsafe")) {
            if !allows {
                wrong.push(format!("{}:{line}: unsafe in a file that does not allow it", file.name));
            }
            let explained = text[line.saturating_sub(6)..line].iter().any(|line| line.contains("SAFETY:"));
            // A declaration of foreign functions promises nothing; the call does.
            if !code.contains("unsafe extern") && !explained {
                wrong.push(format!("{}:{line}: say in a SAFETY comment why it holds", file.name));
            }
        }
    }
    for root in ["src/lib.rs", "src/main.rs"] {
        if !read(root).contains("#![deny(unsafe_code)]") {
            wrong.push(format!("{root}: #![deny(unsafe_code)] is gone"));
        }
    }
    report(wrong);
}

#[test]
fn files_have_a_purpose_and_an_end() {
    let mut wrong = Vec::new();
    for file in everything() {
        let lines = file.text.lines().count();
        if lines > MAX_LINES {
            wrong.push(format!("{}: {lines} lines, at most {MAX_LINES}: two things in one file", file.name));
        } else if lines > MANY_LINES {
            // Not with println!, which a passing test swallows.
            let _ = writeln!(std::io::stdout(), "long: {}: {lines} lines", file.name);
        }
        if !file.text.starts_with("//! ") {
            wrong.push(format!("{}: the first line says what the file is for (//! …)", file.name));
        }
    }
    report(wrong);
}

#[test]
fn thread_names_fit_the_kernels_fifteen_bytes() {
    const CALLS: &[&str] = &["Worker::spawn(", "spawn_visitor(", "Builder::new().name("];
    let mut wrong = Vec::new();
    let mut named = BTreeMap::new();
    for file in sources("src").into_iter().filter(|file| NAMES_ELSEWHERE.iter().all(|(name, _)| *name != file.name)) {
        for call in CALLS {
            // Calls are found in the code, where strings are blank, and names are read in the text.
            for (at, _) in file.code.match_indices(call) {
                let argument = file.text[at + call.len()..].trim_start();
                let argument = argument.strip_prefix("format!(").unwrap_or(argument);
                let name = argument.strip_prefix('"').and_then(|rest| rest.split('"').next());
                match name {
                    Some(name) if name.len() <= NAME_BYTES => drop(named.insert(name.to_owned(), file.name.clone())),
                    Some(name) => wrong.push(format!("{}: '{name}' has more than {NAME_BYTES} bytes", file.name)),
                    None => wrong.push(format!("{}: give the thread a literal name: {call}", file.name)),
                }
            }
        }
    }
    report(wrong);
    assert!(named.contains_key("hub"), "the search finds no names any more: {named:?}");
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

/// One source file.
struct Source {
    /// From the top of the repository, as in `src/hub/table.rs`.
    name: String,
    text: String,
    /// The text with comments and the insides of strings blanked out, byte by byte.
    code: String,
}

impl Source {
    fn new(name: &str, text: &str) -> Source {
        Source { name: name.to_owned(), text: text.to_owned(), code: code_only(text) }
    }

    /// `hub` for `src/hub/table.rs` and for `src/hub.rs`.
    fn room(&self) -> &str {
        let inside = self.name.strip_prefix("src/").expect("a file of src");
        inside.split('/').next().unwrap_or(inside).trim_end_matches(".rs")
    }

    fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.code.lines().enumerate().map(|(i, line)| (i + 1, line))
    }

    /// The lines outside tests: a file's tests are its last item, or a file `tests.rs` or `testing.rs`.
    fn program_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        let is_test = self.name.ends_with("/tests.rs") || self.name.ends_with("/testing.rs");
        let inline = self.code.find("#[cfg(test)]\nmod tests {").unwrap_or(self.code.len());
        let end = if is_test { 0 } else { self.code[..inline].lines().count() };
        self.lines().take(end)
    }

    /// The rooms that `crate::` and, in `main`, `pinwire::` lead to, in imports and in the code.
    fn rooms_named(&self) -> BTreeSet<String> {
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

fn has_word(text: &str, wanted: &str) -> bool {
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

fn everything() -> Vec<Source> {
    ["src", "tests", "benches"].into_iter().flat_map(sources).collect()
}

/// All Rust files below a directory of the repository.
fn sources(below: &str) -> Vec<Source> {
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

fn read(name: &str) -> String {
    fs::read_to_string(top().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn report(wrong: Vec<String>) {
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}
