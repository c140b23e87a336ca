//! What stands before a line where stderr is the journal's: the priority it has there, and no time.

mod common;
mod manager;

use std::io::{BufRead, BufReader};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

use common::{LIMIT, TempDir, Ws, pinwire};

/// `DEVICE:INODE` of a descriptor, as systemd writes it.
fn stream_of(fd: &OwnedFd) -> String {
    let stat = rustix::fs::fstat(fd).expect("its inode");
    format!("{}:{}", stat.st_dev, stat.st_ino)
}

/// A daemon with a socket as its stderr, as journald gives one, and what it wrote there until it ended.
fn lines(named: impl FnOnce(&OwnedFd) -> Option<String>, play: impl FnOnce(&mut Ws)) -> Vec<String> {
    let (ours, theirs) = UnixStream::pair().expect("sockets");
    ours.set_read_timeout(Some(LIMIT)).expect("a limit");
    let theirs: OwnedFd = theirs.into();
    let _dir = TempDir::new();
    let mut command = pinwire();
    command.args(["serve", "--gpio", "sim", "--listen", "127.0.0.1:0", "--debug-actions", "--log-level", "debug"]);
    if let Some(name) = named(&theirs) {
        command.env("JOURNAL_STREAM", name);
    }
    command.env("RUST_BACKTRACE", "1");
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::from(theirs)).spawn().expect("starts");
    drop(command);
    let mut ready = String::new();
    BufReader::new(child.stdout.take().expect("piped")).read_line(&mut ready).expect("a line");
    let address = ready.trim().strip_prefix("listening on http://").expect("an address").parse().expect("an address");
    let mut ws = Ws::connect(address, "/", &[]).expect("a WebSocket");
    play(&mut ws);
    common::kill(child.id(), "TERM");
    let lines = BufReader::new(ours).lines().collect::<Result<_, _>>().expect("text until its end");
    assert!(child.wait().expect("its status").success());
    lines
}

#[test]
fn every_line_has_its_priority_and_no_time() {
    let lines = lines(
        |fd| Some(stream_of(fd)),
        |ws| {
            ws.send(r#"{"action":"DEBUG_PANIC","params":{"thread":"connection"}}"#);
            assert_eq!(ws.closed().0, 1006);
        },
    );
    let all = lines.join("\n");
    for (prefix, text) in [
        ("<6>[INFO] ", "GPIO backend 'sim': "),
        ("<6>[INFO] ", "shutting down"),
        ("<3>[ERROR] ", "connection c"),
        // The crash itself, and where it was: each of its lines.
        ("<3>", "panicked at "),
        ("<3>", "a debug action asked for this"),
        ("<3>", "   0: "),
    ] {
        assert!(lines.iter().any(|line| line.starts_with(prefix) && line.contains(text)), "{prefix} {text}\n{all}");
    }
    let known = [("ERROR", 3), ("WARN", 4), ("INFO", 6), ("DEBUG", 7), ("TRACE", 7)];
    for line in &lines {
        let (priority, text) =
            line.strip_prefix('<').and_then(|rest| rest.split_once('>')).unwrap_or_else(|| panic!("{all}"));
        let level = text.strip_prefix('[').and_then(|rest| rest.split_once("] ")).map(|(level, _)| level);
        // What is no line of the log is a crash.
        let expected = known.iter().find(|(name, _)| Some(*name) == level).map_or(3, |(_, number)| *number);
        assert_eq!(priority.parse(), Ok(expected), "{line}");
        assert!(!text.contains("Z ["), "a time: {line}");
    }
}

#[test]
fn a_warning_is_4_and_a_hint_for_developers_7() {
    let lines = lines(
        |fd| Some(stream_of(fd)),
        |ws| {
            assert_eq!(ws.ask(r#"{"action":"DEBUG_HANG","params":{"thread":"gpio-out"}}"#)["success"], true);
        },
    );
    let all = lines.join("\n");
    assert!(lines.iter().any(|line| line.starts_with("<4>[WARN] thread gpio-out hangs")), "{all}");
    assert!(lines.iter().any(|line| line.starts_with("<7>[DEBUG] pinwire::")), "{all}");
}

#[test]
fn a_stream_that_is_not_stderr_s_changes_nothing() {
    for named in [None, Some("1:2".to_owned())] {
        let lines = lines(|_| named, |_| ());
        // The last line may be cut short by the end of the process.
        assert!(lines.iter().all(|line| line.starts_with("20")) && lines[0].contains("Z [INFO] "), "{lines:?}");
    }
}

#[test]
fn what_ends_the_start_is_an_error_in_the_journal() {
    let (ours, theirs) = UnixStream::pair().expect("sockets");
    let theirs: OwnedFd = theirs.into();
    let mut command: Command = pinwire();
    command.args(["serve", "--listen", "nowhere"]).env("JOURNAL_STREAM", stream_of(&theirs));
    let status = command.stdout(Stdio::null()).stderr(Stdio::from(theirs)).status().expect("runs");
    drop(command);
    assert_eq!(status.code(), Some(2));
    let lines: Vec<String> = BufReader::new(ours).lines().collect::<Result<_, _>>().expect("text");
    assert!(lines.len() == 1 && lines[0].starts_with("<3>pinwire: --listen: "), "{lines:?}");
}
