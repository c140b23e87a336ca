//! `pinwire safe` after a daemon that was killed drives the lines which that daemon had, whatever has become of its
//! configuration file since: the file may be half edited, or not reloaded yet, and the relay is on.

mod common;

use std::path::Path;
use std::process::Output;

use common::{Daemon, TempDir, pinwire, run};

const LAMP: &str = "[gpio.pins.lamp]\npin = 17\nmode = \"output\"\nsafe = \"high\"\nactive_low = true\nbias = \"up\"\n";
const FAN: &str = "[gpio.pins.fan]\npin = 18\nmode = \"pwm\"\nfrequency = 50\n";
const INPUT: &str = "[gpio.pins.door]\npin = 4\nmode = \"input\"\n";

/// A daemon with a runtime directory, as a service manager gives it one; and its file.
fn daemon(text: &str) -> (Daemon, std::path::PathBuf, std::path::PathBuf) {
    let dir = TempDir::new();
    let file = dir.file("pinwire.toml", text);
    let runtime = dir.path().join("run");
    std::fs::create_dir(&runtime).expect("a directory");
    let daemon = Daemon::start_in(dir, |command| {
        // Several, as systemd writes them; the first is ours.
        command.arg("--config").arg(&file).env("RUNTIME_DIRECTORY", format!("{}:/nowhere", runtime.display()));
    });
    (daemon, file, runtime)
}

fn safe(file: &Path, runtime: &Path) -> Output {
    let mut command = pinwire();
    run(command.args(["safe", "--gpio", "sim", "--config"]).arg(file).env("RUNTIME_DIRECTORY", runtime))
}

fn said(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

#[test]
fn a_broken_file_keeps_no_line_from_its_safe_state() {
    let (mut daemon, file, runtime) = daemon(&format!("{LAMP}{FAN}{INPUT}"));
    std::fs::write(&file, "[gpio.pins.lamp\n").expect("written");
    daemon.signal("KILL");
    daemon.wait();
    let output = safe(&file, &runtime);
    let (out, err) = said(&output);
    assert!(output.status.success(), "{out}{err}");
    assert!(out.contains("lamp: high") && out.contains("fan: low"), "{out}");
    assert!(!out.contains("door"), "{out}");
}

#[test]
fn a_line_that_the_file_has_lost_is_still_the_daemons() {
    let (mut daemon, file, runtime) = daemon(LAMP);
    std::fs::write(&file, FAN).expect("written");
    daemon.signal("KILL");
    daemon.wait();
    let (out, _) = said(&safe(&file, &runtime));
    assert!(out.contains("lamp: high") && !out.contains("fan"), "{out}");
}

#[test]
fn a_reload_changes_what_is_in_use() {
    let (mut daemon, file, runtime) = daemon(LAMP);
    std::fs::write(&file, format!("{LAMP}{FAN}").replace("safe = \"high\"", "safe = \"low\"")).expect("written");
    daemon.signal("HUP");
    daemon.wait_for_log("reload done");
    std::fs::write(&file, "nothing = good").expect("written");
    daemon.signal("KILL");
    daemon.wait();
    let (out, _) = said(&safe(&file, &runtime));
    assert!(out.contains("lamp: low") && out.contains("fan: low"), "{out}");
}

#[test]
fn without_a_daemon_before_it_the_file_says_what_to_do() {
    let dir = TempDir::new();
    let file = dir.file("pinwire.toml", LAMP);
    let (out, _) = said(&safe(&file, dir.path()));
    assert!(out.contains("lamp: high"), "{out}");
    // Something else that has this name is no reason to do nothing.
    dir.file("lines.toml", "not = toml at all");
    let (out, err) = said(&safe(&file, dir.path()));
    assert!(out.contains("lamp: high") && err.contains("lines.toml"), "{out}{err}");
}
