//! `pinwire audit`: what it prints, and that a changed byte is found.

mod common;

use std::fs;
use std::path::Path;
use std::process::Output;
use std::time::{Duration, SystemTime};

use common::{TempDir, pinwire, run};
use pinwire::store::Store;
use pinwire::types::fleet::{AuditEntry, AuditPhase, Issuer};
use serde_json::{Value, json};

/// Fills a state directory as an agent's orders would.
fn filled(state: &Path, orders: u32) {
    fs::create_dir_all(state).expect("a directory");
    let store = Store::start(Some(state)).expect("a store");
    for order in 1..=orders {
        for phase in [AuditPhase::Before, AuditPhase::After] {
            let entry = AuditEntry {
                at: SystemTime::UNIX_EPOCH + Duration::from_millis(1_800_000_000_250),
                phase,
                order_id: format!("order-{order}"),
                issuer: Issuer { who: "ann".into(), id: Some("u1".into()), from: "192.0.2.7".into() },
                what: format!("restart unit=web-{order}\n\u{1b}[31m"),
                result: (phase == AuditPhase::After).then(|| "exit code 0".into()),
            };
            let number = store.audit(entry).expect("kept");
            assert_eq!(number, u64::from(order * 2) - u64::from(phase == AuditPhase::Before));
        }
    }
    store.stop(Duration::from_secs(10));
}

fn audit(state: &Path, words: &[&str]) -> Output {
    run(pinwire().arg("audit").arg("--state-dir").arg(state).args(words))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn the_records_are_printed_and_the_chain_is_checked() {
    let dir = TempDir::new();
    let state = dir.path().join("state");
    filled(&state, 2);
    let printed = audit(&state, &[]);
    assert!(printed.status.success(), "{printed:?}");
    let (lines, verdict) = (text(&printed.stdout), text(&printed.stderr));
    assert_eq!(lines.lines().count(), 4, "{lines}");
    let last = lines.lines().last().expect("a line");
    for part in
        ["4  2027-01-15T08:00:00.250Z", "after", "order-2", "ann (u1) from 192.0.2.7", "web-2\\n", "-> exit code 0"]
    {
        assert!(last.contains(part), "{part}: {last}");
    }
    assert!(!lines.contains('\u{1b}'), "a terminal is told nothing: {lines}");
    assert!(verdict.contains("4 records, the chain is whole"), "{verdict}");

    let objects = audit(&state, &["--json"]);
    let objects: Vec<Value> = text(&objects.stdout).lines().map(|line| line.parse().expect("JSON")).collect();
    assert_eq!(objects.len(), 4);
    assert_eq!((&objects[0]["phase"], &objects[0]["result"]), (&json!("before"), &Value::Null));
    assert_eq!((&objects[3]["what"], &objects[3]["who"]), (&json!("restart unit=web-2\n\u{1b}[31m"), &json!("ann")));
    let hash = objects[3]["sha256"].as_str().expect("a hash");
    let verdict = audit(&state, &["--verify"]);
    assert!(verdict.status.success() && text(&verdict.stdout).contains(hash), "{verdict:?}");
    // The same by way of the configuration.
    let config = dir.file("pinwire.toml", &format!("state_dir = {state:?}\n"));
    let verdict = run(pinwire().args(["audit", "--verify", "--config"]).arg(config));
    assert!(verdict.status.success(), "{verdict:?}");
}

#[test]
fn a_changed_byte_is_found_and_named() {
    let dir = TempDir::new();
    let state = dir.path().join("state");
    filled(&state, 20);
    let file = state.join("pinwire.db");
    let bytes = fs::read(&file).expect("the file");
    let wanted = b"restart unit=web-13";
    let places: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at..].starts_with(wanted)).collect();
    let mut named: Vec<&str> = Vec::new();
    for place in places {
        let mut changed = bytes.clone();
        changed[place + wanted.len() - 1] = b'9';
        fs::write(&file, changed).expect("written");
        let found = audit(&state, &["--verify"]);
        // SQLite leaves copies where pages were split, which are nobody's records.
        if !found.status.success() {
            let said = text(&found.stderr);
            named.extend(
                ["record 25 was changed", "record 26 was changed"].into_iter().filter(|part| said.contains(part)),
            );
            // The records are printed all the same.
            let printed = audit(&state, &[]);
            assert_eq!((printed.status.code(), text(&printed.stdout).lines().count()), (Some(1), 40));
        }
    }
    named.sort_unstable();
    assert_eq!(named, ["record 25 was changed", "record 26 was changed"]);
    fs::write(&file, bytes).expect("written");
    assert!(audit(&state, &["--verify"]).status.success());
}

#[test]
fn where_there_is_nothing_it_says_so() {
    let dir = TempDir::new();
    let missing = audit(dir.path(), &[]);
    assert!(missing.status.code() == Some(1) && text(&missing.stderr).contains("there is no"), "{missing:?}");
    filled(&dir.path().join("state"), 0);
    let empty = audit(&dir.path().join("state"), &["--verify"]);
    assert!(empty.status.success() && text(&empty.stdout).contains("no records"), "{empty:?}");
    let nowhere = run(pinwire().arg("audit"));
    assert!(nowhere.status.code() == Some(2) && text(&nowhere.stderr).contains("--state-dir DIR"), "{nowhere:?}");
}
