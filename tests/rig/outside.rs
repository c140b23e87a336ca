//! Somebody else on the same lines: the tools of libgpiod 1.x, as processes with limits.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use super::{Sim, wait_until};
use crate::common::{LIMIT, run};

/// What gpioget reads on these lines, in their order. It makes inputs of them, as reading with it does.
pub fn get(sim: &Sim, lines: &[u32]) -> Result<Vec<bool>, String> {
    let mut command = Command::new("gpioget");
    command.arg(&sim.chip_name).args(lines.iter().map(u32::to_string));
    Ok(text(&mut command)?.split_whitespace().map(|value| value == "1").collect())
}

/// Sets lines with gpioset, which lets go of them at once.
pub fn set(sim: &Sim, values: &[(u32, bool)]) -> Result<(), String> {
    text(Command::new("gpioset").arg(&sim.chip_name).args(assignments(values))).map(drop)
}

/// What gpioinfo says of a line, from its name on: `"GPIO4" unused input active-high`, without the padding.
pub fn info(sim: &Sim, line: u32) -> String {
    let all = text(Command::new("gpioinfo").arg(&sim.chip_name)).expect("gpioinfo");
    let found = all.lines().find_map(|text| {
        let (number, rest) = text.trim_start().strip_prefix("line")?.split_once(':')?;
        (number.trim() == line.to_string()).then(|| rest.split_whitespace().collect::<Vec<_>>().join(" "))
    });
    found.unwrap_or_else(|| panic!("no line {line} in\n{all}"))
}

/// The labels of all chips, as gpiodetect tells them: `gpiochip0 [pinctrl-bcm2711] (58 lines)`.
pub fn detect() -> Vec<String> {
    text(&mut Command::new("gpiodetect")).expect("gpiodetect").lines().map(str::to_owned).collect()
}

/// Another program's hold on lines, as outputs, until it is dropped.
pub struct Held(Child);

/// Takes lines with gpioset and keeps them.
pub fn hold(sim: &Sim, values: &[(u32, bool)]) -> Held {
    let mut command = Command::new("gpioset");
    command.arg("--mode=signal").arg(&sim.chip_name).args(assignments(values)).stdin(Stdio::null());
    let mut held = Held(command.spawn().expect("gpioset starts"));
    wait_for_consumer(sim, values.iter().map(|value| value.0), "gpioset", &mut held.0);
    held
}

impl Drop for Held {
    fn drop(&mut self) {
        end(&mut self.0);
    }
}

/// An edge as gpiomon saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    pub line: u32,
    pub rising: bool,
    /// The kernel's time stamp, of its monotonic clock.
    pub at: Duration,
}

/// gpiomon on some lines, until it is dropped.
pub struct Monitor {
    child: Child,
    lines: Receiver<String>,
}

impl Monitor {
    /// Starts it; every edge from now on is seen.
    pub fn start(sim: &Sim, lines: &[u32]) -> Monitor {
        let mut command = Command::new("gpiomon");
        command.args(["--line-buffered", "--format=%e %o %s %n"]).arg(&sim.chip_name);
        command.args(lines.iter().map(u32::to_string)).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("gpiomon starts");
        let (sender, receiver) = channel();
        let pipe = child.stdout.take().expect("piped");
        std::thread::spawn(move || {
            for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let mut monitor = Monitor { child, lines: receiver };
        wait_for_consumer(sim, lines.iter().copied(), "gpiomon", &mut monitor.child);
        monitor
    }

    /// The next edge.
    pub fn next(&self) -> Seen {
        self.within(LIMIT).unwrap_or_else(|| panic!("no edge within {LIMIT:?}"))
    }

    /// The next edge, if there is one so soon.
    pub fn within(&self, limit: Duration) -> Option<Seen> {
        let text = self.lines.recv_timeout(limit).ok()?;
        let words: Vec<u64> = text.split_whitespace().map(|word| word.parse().expect("a number")).collect();
        let [rising, line, seconds, nanos] = words[..] else { panic!("not an edge: {text}") };
        let at = Duration::from_secs(seconds) + Duration::from_nanos(nanos);
        Some(Seen { line: u32::try_from(line).expect("an offset"), rising: rising == 1, at })
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

fn assignments(values: &[(u32, bool)]) -> impl Iterator<Item = String> {
    values.iter().map(|(line, value)| format!("{line}={}", u8::from(*value)))
}

fn wait_for_consumer(sim: &Sim, lines: impl Iterator<Item = u32>, who: &str, child: &mut Child) {
    for line in lines {
        wait_until(&format!("{who} holds line {line}"), || {
            let ended = child.try_wait().expect("its status");
            assert!(ended.is_none(), "{who} ended with {ended:?}");
            sim.consumer(line).as_deref() == Some(who)
        });
    }
}

/// The lines are free when its end has been waited for.
fn end(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}

/// What a tool printed, or what it complained of.
fn text(command: &mut Command) -> Result<String, String> {
    let output = run(command);
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).trim_end().to_owned())
    }
}
