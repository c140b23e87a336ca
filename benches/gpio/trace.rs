//! What the kernel saw: every level that was set, with the time, from its trace (`events/gpio/gpio_value`).

use std::fs::{read_to_string, write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::Result;

const TRACING: &str = "/sys/kernel/tracing";

/// Room for every level of the longest sequence here.
const BUFFER_KIB: &str = "16384";

/// The trace while it runs; it is off again when this is dropped.
pub struct Trace(());

impl Trace {
    /// Starts with an empty one.
    pub fn start() -> Result<Trace> {
        // The clock that the daemon's steps are counted by.
        for (name, text) in [
            ("trace_clock", "mono"),
            ("buffer_size_kb", BUFFER_KIB),
            ("trace", "\n"),
            ("events/gpio/gpio_value/enable", "1"),
            ("tracing_on", "1"),
        ] {
            write(file(name), text).map_err(|error| format!("{name} of {TRACING}: {error}"))?;
        }
        Ok(Trace(()))
    }

    /// When the line was set, and to what: `pinwire-61 [000] ..... 5.123456: gpio_value: 516 set 1`.
    pub fn set(&self, line: u32) -> Result<Vec<(Duration, bool)>> {
        let text = read_to_string(file("trace"))?;
        let line = line.to_string();
        let found = text.lines().filter_map(|text| {
            let (head, value) = text.split_once(": gpio_value: ")?;
            let words: Vec<&str> = value.split_whitespace().collect();
            let [number, "set", level] = words[..] else { return None };
            let seconds: f64 = head.rsplit(' ').next()?.parse().ok()?;
            (number == line).then(|| (Duration::from_secs_f64(seconds), level == "1"))
        });
        Ok(found.collect())
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        let _ = write(file("events/gpio/gpio_value/enable"), "0");
        let _ = write(file("trace"), "\n");
    }
}

fn file(name: &str) -> PathBuf {
    Path::new(TRACING).join(name)
}
