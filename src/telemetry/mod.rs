//! The machine's own values: temperature, throttling, uptime, clock rates, memory, and what machine it is.
//!
//! Everything is read below one root (`/` on a real machine), so that the captured tree of a board is a
//! fixture. A reading is a value with its unit, or the reason why there is none; nothing here fails to start,
//! and nothing is opened before somebody asks.
//!
//! The sources of each quantity, in the order in which they are asked:
//!
//! | quantity | unit | sources, first that answers wins |
//! |---|---|---|
//! | `temperature` | °C | `sys/class/thermal` by zone type, then `thermal_zone0` · `sys/class/hwmon` by name · mailbox · `vcgencmd` |
//! | `throttle` | flag bits | mailbox · sysfs `get_throttled` (deprecated) · `vcgencmd` · hwmon `rpi_volt` (one flag only) |
//! | `uptime` | s | `proc/uptime` |
//! | `frequency` ARM | Hz | mailbox (measured) · cpufreq (requested) · `vcgencmd` (measured) |
//! | `frequency` core | Hz | mailbox (measured) · `vcgencmd` (measured) |
//! | `memory` | KiB | `proc/meminfo` |
//! | `platform` | text | `uname` on the real root, else `proc/sys/kernel` · `proc/device-tree/model` |
//!
//! | file | what it is |
//! |---|---|
//! | `source` | what a source may say, and the rule by which several of them make one reading |
//! | `shared` | readings shared while they are young |
//! | `kept_file` | a kernel file that stays open between readings |
//! | `firmware` | the questions the firmware understands, and the two who carry them: |
//! | `mailbox` | … the property interface of `/dev/vcio`, by ioctl |
//! | `vcgencmd` | … the `vcgencmd` program, run by a thread of its own, never by the one who asks |
//! | `board` | … and where that thread leaves its answers |
//! | `program` | one bounded run of a program |
//!
//! **Who may wait how long.** Kernel files answer at once. The mailbox answers in well under a millisecond; when
//! the firmware is stuck the kernel gives up after a second, and the mailbox is then left alone for a while.
//! `vcgencmd` is never waited for, except up to `vcgencmd::FIRST_VALUE_DEADLINE` for its very first value.
//! No lock is held while any of them is asked.

mod board;
pub mod cpu;
mod firmware;
mod frequency;
mod kept_file;
mod mailbox;
mod memory;
mod platform;
mod program;
mod shared;
mod source;
mod temperature;
mod throttle;
mod uptime;
mod vcgencmd;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use crate::config;
use crate::rt::clock;
use crate::types::reading::{Frequency, Memory, Missing, Platform, Reading, Temperature, Throttle, Uptime};
use firmware::Firmware;
use shared::Shared;

/// Reads this machine's values; to be shared behind an `Arc`.
///
/// Every method may be called from any number of threads at once.
pub struct Telemetry {
    root: PathBuf,
    firmware: Firmware,
    temperature: Shared<Temperature, temperature::Source>,
    throttle: Shared<Throttle, throttle::Source>,
    uptime: uptime::Source,
    frequency: Shared<Frequency, frequency::Source>,
    memory: Shared<Memory, memory::Source>,
    platform: Shared<Platform, platform::Source>,
}

impl Telemetry {
    /// Prepares to read below `root`. Opens nothing, starts nothing and never fails: what is not there is
    /// found missing by the reading that needs it.
    pub fn new(root: &Path, settings: &config::Telemetry) -> Telemetry {
        let max_age = settings.max_age;
        Telemetry {
            root: root.to_owned(),
            firmware: Firmware::new(root, settings),
            temperature: Shared::new(max_age, temperature::Source::new(root)),
            throttle: Shared::new(max_age, throttle::Source::new(root)),
            uptime: uptime::Source::new(root),
            frequency: Shared::new(max_age, frequency::Source::new(root)),
            memory: Shared::new(max_age, memory::Source::new(root)),
            platform: Shared::new(max_age, platform::Source::new(root)),
        }
    }

    /// Temperature of the system on chip in °C, to a thousandth; −55 to 150.
    ///
    /// # Errors
    /// `Query` if no sensor could be read, `Parse` if those that could said nothing plausible.
    pub fn temperature(&self) -> Reading<Temperature> {
        self.temperature.get(clock::now(), |source| source.read(&self.firmware))
    }

    /// The firmware's throttling flags; 20 bits.
    ///
    /// # Errors
    /// `Query` if no source could be asked (as on any machine that is not a Raspberry Pi), `Parse` if those
    /// that answered made no sense.
    pub fn throttle(&self) -> Reading<Throttle> {
        self.throttle.get(clock::now(), |source| source.read(&self.firmware))
    }

    /// Time since boot in seconds, to a hundredth, including time spent suspended. Never shared: each call
    /// reads the clock.
    ///
    /// # Errors
    /// `Query` if `proc/uptime` could not be read, `Parse` if it holds no number.
    pub fn uptime(&self) -> Reading<Uptime> {
        self.uptime.read()
    }

    /// Clock rates of the ARM cores and of the VideoCore, in Hz; never 0.
    ///
    /// # Errors
    /// `Query` with the name of the clock nobody could be asked about, `Parse` if the answers made no sense.
    pub fn frequency(&self) -> Reading<Frequency> {
        self.frequency.get(clock::now(), |source| source.read(&self.firmware))
    }

    /// Memory in the kernel's KiB.
    ///
    /// # Errors
    /// `Query` if `proc/meminfo` could not be read, `Parse` if one of the three figures is not in it.
    pub fn memory(&self) -> Reading<Memory> {
        self.memory.get(clock::now(), memory::Source::read)
    }

    /// What machine this is.
    ///
    /// # Errors
    /// `Query` if a captured tree lacks one of the kernel's names; on a real machine never.
    pub fn platform(&self) -> Reading<Platform> {
        self.platform.get(clock::now(), platform::Source::read)
    }

    /// Processor time since boot, all processors together. Asked every few seconds at most, so the file is not
    /// kept open.
    ///
    /// # Errors
    /// `Query` if `proc/stat` could not be read, `Parse` if it is odd.
    pub fn cpu_ticks(&self) -> Reading<cpu::Ticks> {
        let text = std::fs::read_to_string(self.root.join("proc/stat")).map_err(|_| Missing::Query(cpu::WHAT))?;
        cpu::parse_stat(&text)
    }

    /// How many threads this process has, where the kernel says.
    pub fn own_threads(&self) -> Option<u32> {
        cpu::parse_threads(&std::fs::read_to_string(self.root.join("proc/self/status")).ok()?)
    }

    /// Ends the `vcgencmd` thread, if it runs, and the program it may be running; returns within
    /// a second. Readings may still be taken afterwards, from the other sources.
    pub fn stop(&self) {
        self.firmware.vcgencmd.stop();
    }
}
