//! Software PWM: the share of a CPU that it takes. Simulated pins, so without the kernel's part of setting a line.

use std::sync::mpsc::channel;

use serde_json::json;

use crate::Result;
use crate::device::{self, ask};
use crate::options::Options;
use crate::procfs;
use crate::table::Table;

/// Lines and hertz; nothing at first, to see what the daemon takes without.
const CASES: [(u32, f64); 4] = [(0, 0.0), (1, 100.0), (1, 200.0), (8, 100.0)];

const DUTY: f64 = 0.3;

/// Without PWM blocks, and what a Raspberry Pi might do otherwise.
const FIRST_LINE: u32 = 4;

pub fn measure(options: &Options) -> Result<Table> {
    let mut table = Table::new(&["software PWM on", "share of one CPU", "toggles per second", "CPU µs per toggle"]);
    for (lines, hertz) in CASES {
        let daemon = device::daemon(options, None, "error", "");
        let mut ws = daemon.ws("/");
        for pin in FIRST_LINE..FIRST_LINE + lines {
            ask(&mut ws, "SET_PWM", json!({"pin": pin, "frequency": hertz, "duty": DUTY}))?;
        }
        let before = procfs::cpu_time(daemon.pid())?;
        let (_never, time) = channel::<()>();
        let _ = time.recv_timeout(options.pwm_seconds);
        let cpu = procfs::cpu_time(daemon.pid())?.saturating_sub(before).as_secs_f64();
        let seconds = options.pwm_seconds.as_secs_f64();
        let toggles = 2.0 * hertz * f64::from(lines);
        let name = match lines {
            0 => "no line".to_owned(),
            1 => format!("1 line, {hertz} Hz"),
            _ => format!("{lines} lines, {hertz} Hz"),
        };
        let each = if lines > 0 { format!("{:.1}", cpu * 1e6 / seconds / toggles) } else { String::new() };
        table.row([name, format!("{:.2} %", cpu / seconds * 100.0), format!("{toggles:.0}"), each]);
    }
    Ok(table.below(format!("over {:?} each, duty {DUTY}, simulated pins, nobody subscribed", options.pwm_seconds)))
}
