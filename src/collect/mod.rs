//! A machine's sample: processor, memory, disks, interfaces, processes, containers.
//!
//! Everything is read below one root (`/` on a real machine), so that a captured tree is a fixture. What is not known
//! is missing, never zero, and a counter that went backwards (a driver was loaded anew) gives no rate.
//!
//! | quantity | source |
//! |---|---|
//! | processor, all and each core | `proc/stat`, two readings |
//! | frequency | telemetry's measured ARM clock, else `cpufreq` |
//! | memory, swap | `proc/meminfo`; used is what is not available |
//! | disks | `proc/self/mountinfo` and `statvfs`, see `disks` |
//! | interfaces | `proc/net/dev`, `lo` included: ChatOps' totals count it too |
//! | load | `proc/loadavg` |
//! | temperature, throttling, uptime | [`telemetry`](crate::telemetry) |
//! | clock kept right | `adjtimex`, else systemd-timesyncd's mark below `run/systemd/timesync` |
//! | processes | `proc/<pid>/stat`, in every third sample; see `processes` |
//! | containers | whoever knows them, on a thread of its own; see `containers` |
//!
//! **Cost.** Between two readings nothing is open and nothing runs. Looking through all processes costs more than all
//! the rest, which is why that is done in every third sample only; the other two repeat what it found.

mod containers;
mod cpu;
mod disks;
mod interfaces;
mod memory;
mod processes;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::rt::{clock, kernel_clock};
use crate::telemetry::Telemetry;
use crate::types::fleet::{Container, Process, Sample, Traffic};

/// Who knows the containers of this machine; `None` where there is no Docker, or it does not answer.
pub type Containers = Box<dyn Fn() -> Option<Vec<Container>> + Send>;

/// Processes are looked through in every so many samples.
const PROCESSES_EVERY: u32 = 3;

/// Measures one machine. Rates and shares are those since the sample before, or since it was made.
pub struct Collector {
    root: PathBuf,
    telemetry: Arc<Telemetry>,
    cpu: cpu::Meter,
    interfaces: interfaces::Meter,
    processes: processes::Meter,
    containers: Option<containers::Asking>,
    listed: Option<Vec<Process>>,
    until_listed: u32,
}

impl Collector {
    /// Takes the first readings below `root`. Never fails: what is not there is missing in the samples.
    pub fn new(root: &Path, telemetry: Arc<Telemetry>, containers: Option<Containers>) -> Collector {
        let mut collector = Collector {
            root: root.to_owned(),
            telemetry,
            cpu: cpu::Meter::default(),
            interfaces: interfaces::Meter::default(),
            processes: processes::Meter::new(root),
            containers: containers.and_then(containers::Asking::start),
            listed: None,
            until_listed: 0,
        };
        collector.cpu.measure(&collector.root);
        collector.interfaces.measure(&collector.root, clock::now());
        collector
    }

    /// One sample, now. Waits for nothing but the containers, and for those at most `containers::LIMIT`.
    pub fn sample(&mut self) -> Sample {
        // Asked first and fetched last: they are listed while everything else is measured.
        let asked = self.containers.as_mut().map(|asking| asking.ask(clock::now()));
        let (memory, swap) = memory::measure(&self.root);
        let mut cpu = self.cpu.measure(&self.root);
        cpu.frequency_mhz = self.frequency_mhz();
        let mut sample = Sample {
            at: Some(clock::wall()),
            cpu,
            memory: memory.unwrap_or_default(),
            swap,
            disks: disks::measure(&self.root),
            // Given by the interfaces.
            traffic: Traffic::default(),
            interfaces: self.interfaces.measure(&self.root, clock::now()),
            load: load(&self.root),
            temperature_celsius: self.telemetry.temperature().ok().map(|temperature| temperature.celsius),
            throttle: self.telemetry.throttle().ok(),
            uptime_seconds: self.telemetry.uptime().ok().map(|uptime| uptime.seconds),
            clock_synchronised: clock_synchronised(&self.root),
            containers: None,
            processes: self.processes(),
        };
        if let (Some(asking), Some(asked)) = (self.containers.as_mut(), asked) {
            sample.containers = asking.fetch(asked);
        }
        sample
    }

    fn processes(&mut self) -> Option<Vec<Process>> {
        if self.until_listed == 0 {
            self.listed = self.processes.measure(clock::now());
            self.until_listed = PROCESSES_EVERY;
        }
        self.until_listed -= 1;
        self.listed.clone()
    }

    /// Telemetry has none where it does not know the VideoCore's clock too.
    fn frequency_mhz(&self) -> Option<f64> {
        let measured = self.telemetry.frequency().ok().map(|frequency| frequency.arm_hertz / 1e6);
        measured.or_else(|| cpu::requested_mhz(&self.root)).map(hundredths)
    }
}

/// The averages over 1, 5 and 15 minutes.
fn load(root: &Path) -> Option<[f64; 3]> {
    let text = read(root, "proc/loadavg")?;
    let mut numbers = text.split_ascii_whitespace().map(|number| number.parse().ok().filter(|n: &f64| n.is_finite()));
    Some([numbers.next()??, numbers.next()??, numbers.next()??])
}

/// The kernel's word for the real machine. Where a sandbox forbids the question, and in a captured tree, systemd-timesyncd
/// leaves a mark in a directory of its own when it has set the clock.
pub fn clock_synchronised(root: &Path) -> Option<bool> {
    let kernel = if root == Path::new("/") { kernel_clock::synchronised() } else { None };
    kernel.or_else(|| {
        let own = root.join("run/systemd/timesync");
        own.is_dir().then(|| own.join("synchronized").exists())
    })
}

/// A file of the kernel's below the root.
fn read(root: &Path, name: &str) -> Option<String> {
    std::fs::read_to_string(root.join(name)).ok()
}

/// No share or rate is known better than that, and the digits behind it would go over the wire.
fn hundredths(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}
