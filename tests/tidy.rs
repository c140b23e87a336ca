//! The rules of the house that no compiler checks: which room may import which, where threads, clocks,
//! serialisation and `unsafe` may be, how long files get. Each rule says on failure what to do.

#[path = "tidy/source.rs"]
mod source;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;

use source::{everything, has_word, read, sources};

/// The rooms, top floor first. A room imports from the floors below its own only; rooms of one floor do not
/// know each other.
const FLOORS: &[&[&str]] = &[
    &["main"],
    &["daemon", "client"],
    // logging stands above the hub because log lines are events.
    &["cli", "logging", "front", "agent"],
    &["http", "session"],
    &["dispatch"],
    &["actions"],
    // The workshops. hub sends to connections, so conn is below it.
    &["fleet"],
    // alerts are kept and published, a sample has readings in it.
    &["alerts", "collect", "nodes"],
    &["hub", "gpio", "telemetry", "store", "run", "docker", "mdns"],
    &["auth", "conn", "systemd"],
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
    ("store", "wire", "a workshop knows no wire"),
    ("run", "wire", "a workshop knows no wire"),
    ("nodes", "conn", "only the hub sends to connections"),
    ("nodes", "wire", "nodes know no wire"),
    ("mdns", "wire", "a workshop knows no wire"),
    ("gpio", "conn", "only the hub sends to connections"),
    ("telemetry", "conn", "only the hub sends to connections"),
    ("actions", "conn", "actions know values, not visitors"),
    ("actions", "wire", "actions know no wire"),
    ("dispatch", "conn", "dispatch knows requests, not visitors"),
    ("client", "front", "a client is a visitor"),
    ("session", "gpio", "through dispatch"),
    ("session", "telemetry", "through dispatch"),
    ("http", "gpio", "through dispatch"),
    ("http", "telemetry", "through dispatch"),
];

/// Files outside `wire` that may use serde all the same, and why.
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
fn only_wire_serialises() {
    let mut wrong = Vec::new();
    for file in sources("src") {
        let home = file.name.starts_with("src/wire/");
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

fn report(wrong: Vec<String>) {
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}
