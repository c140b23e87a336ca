//! How busy the machine is, between two looks.

use crate::telemetry::Telemetry;
use crate::telemetry::cpu::Ticks;

/// What a look brought.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Load {
    /// Share of the processors' time that was not idle, 0 to 100.
    pub cpu_percent: f64,
    /// Share of the memory that is not available, 0 to 100.
    pub memory_percent: f64,
    /// Threads of this process.
    pub threads: u32,
}

/// Remembers the last look.
pub struct LoadMeter {
    last: Option<Ticks>,
}

impl LoadMeter {
    pub fn start(telemetry: &Telemetry) -> LoadMeter {
        LoadMeter { last: telemetry.cpu_ticks().ok() }
    }
}

/// Measures since the last look; `None` where the system does not say, or nothing has passed.
pub fn measure(telemetry: &Telemetry, meter: &mut LoadMeter) -> Option<Load> {
    let now = telemetry.cpu_ticks().ok()?;
    let before = meter.last.replace(now)?;
    let cpu_percent = now.busy_percent_since(before)?;
    let memory = telemetry.memory().ok()?;
    let used = memory.total_kib.saturating_sub(memory.available_kib);
    let memory_percent = 100.0 * used as f64 / memory.total_kib.max(1) as f64;
    Some(Load { cpu_percent, memory_percent, threads: telemetry.own_threads().unwrap_or(0) })
}
