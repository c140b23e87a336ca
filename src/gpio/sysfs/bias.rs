//! Two ways to a pull-up or pull-down for an interface that has none, for those who configure one of them.

use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};

use super::chip::Chip;
use super::info::{Device, device_bias};
use crate::rt::clock;
use crate::types::line::{Bias, Pin};

/// How long one run of `pinctrl` may take; it takes some milliseconds.
const PINCTRL_LIMIT: Duration = Duration::from_secs(2);

/// The most of its complaint that is passed on.
const COMPLAINT_BYTES: usize = 256;

/// Requests the line with this bias as an input from the character device, and lets it go again: the resistor stays
/// as it is (measured on a Raspberry Pi 4's chip and on gpio-sim). The line must not be exported meanwhile.
pub fn by_device(device: &mut Device, chip: &Chip, offset: u32, bias: Bias) -> Result<(), String> {
    let Some(path) = device.chip(chip).map(|device| device.path().to_owned()) else {
        return Err("gpio.sysfs_bias is \"cdev\", but the chip's /dev/gpiochip cannot be opened".into());
    };
    let mut request = gpiocdev::Request::builder();
    request.on_chip(path).with_consumer("pinwire").with_line(offset).as_input().with_bias(device_bias(bias));
    request.request().map(drop).map_err(|error| format!("the character device does not set its bias: {error}"))
}

/// Has the `pinctrl` program of Raspberry Pi OS set it, which leaves everything else of the line alone. It counts
/// lines as the header does.
pub fn by_pinctrl(pin: Pin, bias: Bias) -> Result<(), String> {
    run("pinctrl", pin, bias)
}

fn run(program: &str, pin: Pin, bias: Bias) -> Result<(), String> {
    let word = match bias {
        Bias::Up => "pu",
        Bias::Down => "pd",
        Bias::Floating => "pn",
    };
    let told = |why: String| format!("`pinctrl set {} {word}` failed: {why}", pin.number());
    let until = clock::now() + PINCTRL_LIMIT;
    let mut child = Command::new(program)
        .args(["set", &pin.number().to_string(), word])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .map_err(|error| told(error.to_string()))?;
    let in_time = ended(&child, until);
    if !matches!(in_time, Ok(true)) {
        kill(&child);
    }
    let status = child.wait().map_err(|error| told(error.to_string()))?;
    match in_time {
        Ok(true) if status.success() => Ok(()),
        Ok(true) => Err(told(format!("{status}: {}", complaint(child)))),
        Ok(false) => Err(told(format!("it did not end within {}", humantime::format_duration(PINCTRL_LIMIT)))),
        Err(error) => Err(told(error.to_string())),
    }
}

/// Waits for the program's end; `false` when the time is up.
fn ended(child: &Child, until: Instant) -> io::Result<bool> {
    let process = i32::try_from(child.id()).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidData)?;
    let process = pidfd_open(process, PidfdFlags::empty())?;
    loop {
        let left = until.saturating_duration_since(clock::now());
        let left = Timespec::try_from(left).map_err(io::Error::other)?;
        match poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&left)) {
            Ok(ready) => return Ok(ready > 0),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// With whatever it has started. It has not been collected yet, so its number is still its own.
fn kill(child: &Child) {
    if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        let _ = kill_process_group(group, Signal::KILL);
    }
}

/// What it wrote before it ended. It has ended, but one it started may hold the pipe open: a single read, and only
/// of what is there.
fn complaint(mut child: Child) -> String {
    let Some(stderr) = &mut child.stderr else { return String::new() };
    let mut buffer = [0; COMPLAINT_BYTES];
    let ready = poll(&mut [PollFd::new(&*stderr, PollFlags::IN)], Some(&Timespec::default()));
    let length = if matches!(ready, Ok(1..)) { stderr.read(&mut buffer).unwrap_or(0) } else { 0 };
    String::from_utf8_lossy(&buffer[..length]).trim().escape_default().to_string()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn run_script(body: &str) -> Result<String, String> {
        let directory = std::env::temp_dir().join(format!("pinwire-pinctrl-{}-{}", std::process::id(), body.len()));
        fs::create_dir_all(&directory).expect("a directory");
        let (script, said) = (directory.join("pinctrl"), directory.join("said"));
        fs::write(&script, format!("#!/bin/sh\necho \"$@\" >{}\n{body}\n", said.display())).expect("a file");
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("ours");
        let pin = Pin::new(17).expect("in range");
        let done = run(&script.display().to_string(), pin, Bias::Down);
        let said = fs::read_to_string(&said).expect("it was run").trim().to_owned();
        fs::remove_dir_all(&directory).expect("ours");
        done.map(|()| said)
    }

    #[test]
    fn the_program_is_told_the_line_and_the_bias() {
        assert_eq!(run_script("exit 0").as_deref(), Ok("set 17 pd"));
        let error = run_script("echo 'Must be root' >&2; exit 1").expect_err("it fails");
        assert!(error.contains("pinctrl set 17 pd") && error.contains("Must be root"), "{error}");
        let missing = run("/nonexistent/pinctrl", Pin::new(4).expect("in range"), Bias::Up).expect_err("no program");
        assert!(missing.contains("pinctrl set 4 pu"), "{missing}");
    }

    #[test]
    fn one_that_hangs_is_killed_with_its_children() {
        let error = run_script("sleep 600 & exec sleep 600").expect_err("it hangs");
        assert!(error.contains("did not end within 2s"), "{error}");
    }
}
