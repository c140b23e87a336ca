//! The database when things go wrong: damaged, newer, somebody else's, on a disk that cannot be written.

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use common::{Daemon, TempDir, pinwire, run};

const HEADER: &[u8] = b"SQLite format 3\0";

fn add(state: &Path) -> String {
    let made = run(pinwire().args(["key", "add", "--name", "panel", "--state-dir"]).arg(state));
    assert!(made.status.success(), "{made:?}");
    String::from_utf8_lossy(&made.stdout).trim().to_owned()
}

fn serve(dir: TempDir, more: &[&str]) -> Daemon {
    let state = dir.path().join("state");
    Daemon::start_in(dir, |command| {
        command.arg("--state-dir").arg(state).args(more);
    })
}

/// A start that is refused; what it said.
fn refused(state: &Path, more: &[&str]) -> String {
    let output: Output =
        run(pinwire().args(["--listen", "127.0.0.1:0", "--gpio", "sim", "--state-dir"]).arg(state).args(more));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    said
}

fn set_aside(state: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(state).expect("a directory").map(|entry| entry.expect("an entry").path());
    files.filter(|path| path.to_string_lossy().contains("pinwire.db.damaged-")).collect()
}

fn status(daemon: &Daemon, key: &str) -> u16 {
    daemon.http("GET", "/pins", &[("X-API-Key", key)], "").status
}

#[test]
fn a_database_outlives_a_kill_and_nobody_else_may_read_it() {
    let dir = TempDir::new();
    let state = dir.path().join("state");
    let key = add(&state);
    let mode = fs::metadata(state.join("pinwire.db")).expect("a file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let mut daemon = serve(dir, &[]);
    assert_eq!(status(&daemon, &key), 200);
    daemon.signal("KILL");
    daemon.wait();
    // Its log and locks are still there.
    let mut command = pinwire();
    command.args(["serve", "--listen", "127.0.0.1:0", "--gpio", "sim", "--state-dir"]).arg(&state);
    let again = Daemon::launch(TempDir::new(), command);
    assert_eq!(status(&again, &key), 200);
    assert_eq!(again.get("/health").json()["store"]["state"], "ok");
}

#[test]
fn a_damaged_database_is_set_aside_and_the_door_stays_closed() {
    let mut half = HEADER.to_vec();
    half.extend([0xA5; 5000]);
    for damage in [b"not a database at all, but long enough to be one".repeat(40), half] {
        let dir = TempDir::new();
        let state = dir.path().join("state");
        let key = add(&state);
        let file = state.join("pinwire.db");
        fs::write(&file, &damage).expect("written");
        fs::write(state.join("pinwire.db-wal"), b"its log").expect("written");
        let listed = run(pinwire().args(["key", "list", "--state-dir"]).arg(&state));
        assert!(
            listed.status.code() == Some(1) && fs::read(&file).expect("there") == damage,
            "a command leaves it alone"
        );
        let said = refused(&state, &["--auth", "key"]);
        assert!(said.contains("set aside") && said.contains("pinwire key add"), "{said}");
        let aside = set_aside(&state);
        let kept = aside.iter().find(|path| !path.to_string_lossy().ends_with("-wal")).expect("set aside");
        assert_eq!(fs::read(kept).expect("there"), damage);
        // Nobody decided who may come in, and there were keys: nobody comes in without one.
        let daemon = serve(dir, &[]);
        assert_eq!((daemon.get("/pins").status, status(&daemon, &key)), (401, 401));
        assert_eq!(set_aside(&state), aside, "the new one is good");
        assert_eq!(daemon.get("/health").json()["store"]["state"], "ok");
    }
}

#[test]
fn a_damaged_database_is_an_error_in_the_log() {
    let dir = TempDir::new();
    dir.file("state/pinwire.db", "something else");
    let own = dir.file("key", "own\n");
    let daemon = serve(dir, &["--api-key-file", own.to_str().expect("UTF-8")]);
    daemon.wait_for_log("it was set aside as");
    assert!(daemon.log().contains("ERROR"), "{}", daemon.log());
    assert_eq!(status(&daemon, "own"), 200);
}

#[test]
fn a_newer_database_and_somebody_else_s_are_left_alone() {
    let dir = TempDir::new();
    let state = dir.path().join("state");
    add(&state);
    let file = state.join("pinwire.db");
    let mut newer = fs::read(&file).expect("there");
    assert_eq!(&newer[60..64], [0, 0, 0, 3], "user_version, as the file format has it");
    newer[63] = 99;
    let mut foreign = fs::read(&file).expect("there");
    foreign[68..72].copy_from_slice(b"ELSE");
    for (bytes, word) in [(newer, "newer Pinwire"), (foreign, "another program")] {
        fs::write(&file, &bytes).expect("written");
        let said = refused(&state, &[]);
        assert!(said.contains(word) && said.contains("left as it is"), "{said}");
        for words in [&["list"][..], &["add", "--name", "x"], &["revoke", "0123456789"]] {
            let output = run(pinwire().arg("key").args(words).arg("--state-dir").arg(&state));
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.code() == Some(1) && said.contains(word), "{words:?}: {said}");
        }
        assert_eq!(fs::read(&file).expect("there"), bytes);
        assert!(set_aside(&state).is_empty());
    }
}

/// The program without the right to write where modes forbid it, which root has.
fn without_privilege() -> Option<Command> {
    if !rustix::process::geteuid().is_root() {
        return Some(pinwire());
    }
    let setpriv = Command::new("setpriv").args(["--bounding-set=-dac_override", "true"]).status();
    if !setpriv.is_ok_and(|status| status.success()) {
        common::skipped("root writes anywhere, and there is no setpriv");
        return None;
    }
    let mut command = Command::new("setpriv");
    command.args(["--bounding-set=-dac_override,-dac_read_search"]).arg(pinwire().get_program());
    ["API_KEY", "PORT"].iter().for_each(|name| {
        command.env_remove(name);
    });
    Some(command)
}

#[test]
fn with_a_read_only_directory_the_keys_are_known_and_it_is_said_that_nothing_is_written() {
    let Some(mut command) = without_privilege() else { return };
    let dir = TempDir::new();
    let state = dir.path().join("state");
    let key = add(&state);
    let file = state.join("pinwire.db");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o400)).expect("set");
    fs::set_permissions(&state, fs::Permissions::from_mode(0o500)).expect("set");
    command.args(["serve", "--listen", "127.0.0.1:0", "--gpio", "sim", "--auth", "key", "--state-dir"]).arg(&state);
    let daemon = Daemon::launch(dir, command);
    assert_eq!((status(&daemon, &key), daemon.get("/pins").status), (200, 401));
    let mut ws = daemon.try_ws("/", &[("x-api-key", &key)]).expect("in");
    ws.sync();
    let health = daemon.get("/health").json()["store"].clone();
    assert_eq!(health["state"], "degraded", "{health}");
    assert!(health["reason"].as_str().is_some_and(|why| why.contains("nothing is written")), "{health}");
    daemon.wait_for_log("nothing is written");
    // Who can write (root, here) is noticed all the same.
    fs::set_permissions(&state, fs::Permissions::from_mode(0o700)).expect("set");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("set");
    let id = key["pw_".len()..].split('.').next().expect("an id");
    assert!(run(pinwire().args(["key", "revoke", id, "--state-dir"]).arg(&state)).status.success());
    assert_eq!(ws.closed(), (4501, "API key revoked".into()));
}

#[test]
fn without_a_directory_the_daemon_goes_on_from_memory() {
    let dir = TempDir::new();
    let blocked = dir.file("file", "in the way").join("state");
    let own = dir.file("key", "own\n");
    let daemon = Daemon::start_in(dir, |command| {
        command.arg("--state-dir").arg(blocked).arg("--api-key-file").arg(own);
    });
    assert_eq!(status(&daemon, "own"), 200);
    let health = daemon.get("/health").json()["store"].clone();
    assert_eq!(health["state"], "degraded", "{health}");
    daemon.wait_for_log("nothing is kept");
    assert_eq!(Daemon::start(&[]).get("/health").json()["store"]["state"], "none");
}

/// `unshare` gives the daemon a small disk of its own, seen from here below `/proc/PID/root`.
#[test]
fn on_a_full_disk_the_daemon_serves_and_says_so_until_there_is_room() {
    let own_mounts = ["-m", "sh", "-c", "mount -t tmpfs none /mnt"];
    if !Command::new("unshare").args(own_mounts).output().is_ok_and(|output| output.status.success()) {
        common::skipped("no file system can be mounted here");
        return;
    }
    let dir = TempDir::new();
    let state = dir.path().join("state");
    fs::create_dir_all(&state).expect("a directory");
    let key_file = dir.path().join("key");
    let script = "mount -t tmpfs -o size=1m none \"$2\" && \"$1\" key add --name a --state-dir \"$2\" >\"$3\" && \
                  exec \"$1\" serve --listen 127.0.0.1:0 --gpio sim --auth key --state-dir \"$2\"";
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-c", script, "sh"]).arg(pinwire().get_program()).arg(&state).arg(&key_file);
    ["API_KEY", "PORT"].iter().for_each(|name| {
        command.env_remove(name);
    });
    let mut daemon = Daemon::launch(dir, command);
    let key = fs::read_to_string(&key_file).expect("a key");
    let inside = PathBuf::from(format!("/proc/{}/root{}", daemon.pid(), state.display()));
    let fill = inside.join("fill");
    assert!(fs::write(&fill, vec![b'x'; 2 * 1024 * 1024]).is_err(), "the disk is full now");
    assert_eq!(status(&daemon, key.trim()), 200);
    daemon.wait_for_log("cannot be written");
    let health = daemon.get("/health").json()["store"].clone();
    assert_eq!(health["state"], "degraded", "{health}");
    assert_eq!((status(&daemon, key.trim()), daemon.get("/pins").status), (200, 401));
    fs::remove_file(&fill).expect("removed");
    assert!(daemon.stop().success());
    assert!(daemon.log().contains("the database works again"), "{}", daemon.log());
}

#[test]
fn a_state_directory_is_one_daemons_at_a_time() {
    let dir = TempDir::new();
    let state = dir.path().join("state");
    let flags = ["--state-dir", state.to_str().expect("UTF-8")];
    let mut first = Daemon::start(&flags);
    let second =
        || common::run(common::pinwire().args(["serve", "--listen", "127.0.0.1:0", "--gpio", "sim"]).args(flags));
    let refused = second();
    let text = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(1), "{text}");
    assert!(text.contains("is in use by another pinwire daemon or agent"), "{text}");
    // Also one that was killed leaves it to the next.
    first.signal("KILL");
    first.wait();
    drop(Daemon::start(&flags));
}
