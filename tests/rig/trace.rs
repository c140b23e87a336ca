//! What the kernel itself did with lines, call by call and with its own time stamps: its tracing, which nobody can
//! bypass and which sees lines that are held.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::{Sim, read};

/// Changes of some lines, from its start until it is dropped. What a line was before is not known to it.
pub struct Trace {
    /// An instance has events, filter and buffer of its own.
    directory: PathBuf,
    base: u32,
}

/// What a line is, electrically.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    Input,
    Low,
    High,
}

/// A line became this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    pub wire: Wire,
    /// Of the monotonic clock, as [`now`].
    pub at: Duration,
}

/// The monotonic clock's time.
pub fn now() -> Duration {
    Duration::from_nanos(pinwire::rt::clock::monotonic_ns())
}

impl Trace {
    /// Follows these lines from now on.
    pub fn start(sim: &Sim, lines: &[u32]) -> Trace {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let directory = Path::new("/sys/kernel/tracing/instances").join(name);
        fs::create_dir(&directory).expect("a kernel with tracing");
        let trace = Trace { directory, base: sim.base };
        let own: Vec<String> = lines.iter().map(|line| format!("gpio == {}", sim.base + line)).collect();
        let own = own.join(" || ");
        trace.write("trace_clock", "mono");
        trace.write("events/gpio/gpio_value/filter", &format!("get == 0 && ({own})"));
        trace.write("events/gpio/gpio_direction/filter", &own);
        trace.write("events/gpio/enable", "1");
        trace
    }

    /// What became of a line, in order; calls that changed nothing are left out.
    pub fn changes(&self, line: u32) -> Vec<Change> {
        let number = (self.base + line).to_string();
        let text = read(&self.directory.join("trace"));
        assert!(!text.contains("LOST"), "the buffer was too small:\n{text}");
        let mut changes: Vec<Change> = Vec::new();
        let mut set = None;
        for (at, what, words) in text.lines().filter_map(parse) {
            let wire = match (what, words[..].split_first()) {
                (_, Some((first, _))) if *first != number => continue,
                // The kernel tells the level before it tells that the line is an output.
                ("gpio_value", Some((_, ["set", level]))) => {
                    set = Some(if *level == "0" { Wire::Low } else { Wire::High });
                    match changes.last() {
                        Some(Change { wire: Wire::Low | Wire::High, .. }) => set,
                        _ => None,
                    }
                }
                ("gpio_direction", Some((_, ["in", "(0)"]))) => Some(Wire::Input),
                ("gpio_direction", Some((_, ["out", "(0)"]))) => set,
                _ => panic!("{what} {words:?} is no success in\n{text}"),
            };
            if let Some(wire) = wire.filter(|wire| changes.last().map(|change| change.wire) != Some(*wire)) {
                changes.push(Change { wire, at });
            }
        }
        changes
    }

    /// The same without the times.
    pub fn wires(&self, line: u32) -> Vec<Wire> {
        self.changes(line).into_iter().map(|change| change.wire).collect()
    }

    fn write(&self, file: &str, text: &str) {
        super::write(&self.directory.join(file), text);
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        let removed = fs::remove_dir(&self.directory);
        if !std::thread::panicking() {
            removed.expect("the trace goes");
        }
    }
}

/// `pinwire-53 [000] ..... 12.345678: gpio_value: 529 set 1`: when, what, and its words.
fn parse(line: &str) -> Option<(Duration, &str, Vec<&str>)> {
    let (head, rest) = line.split_once(": gpio_")?;
    let (seconds, micros) = head.split_whitespace().last()?.split_once('.')?;
    let at = Duration::from_secs(seconds.parse().ok()?) + Duration::from_micros(micros.parse().ok()?);
    let start = line.len() - rest.len() - "gpio_".len();
    let (what, words) = line[start..].split_once(": ")?;
    Some((at, what, words.split_whitespace().collect()))
}
