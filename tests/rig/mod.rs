//! Simulated GPIO chips of a real kernel, for tests that run inside the rig (see `tests/rig/README.md`).
//!
//! A test starts with `if rig::absent() { return; }`: on a machine without simulated GPIO it says that it skips.
//! A [`Sim`] is one chip; it is removed with the value. [`outside`] is somebody else who uses the same lines.
#![allow(dead_code)] // each test file uses its part

pub mod doubles;
pub mod flood;
pub mod outside;
pub mod requests;
pub mod trace;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use crate::common::LIMIT;

const CONFIGFS: &str = "/sys/kernel/config/gpio-sim";

/// Whether this kernel makes simulated chips for us.
pub fn available() -> bool {
    Path::new(CONFIGFS).is_dir()
}

/// Whether the rig is missing; it is said then that the test skips.
pub fn absent() -> bool {
    if !available() {
        skip("no simulated GPIO in this kernel; tests/rig/suite runs this test");
    }
    !available()
}

/// Says that the calling test skips, and why. Not with `println!`, which a passing test swallows.
pub fn skip(why: &str) {
    let thread = std::thread::current();
    let _ = writeln!(std::io::stdout(), "skipped: {}: {why}", thread.name().unwrap_or("a test"));
}

/// Waits until something is so. For what tells nobody when it changes; the rest is waited for as an event.
pub fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let (_never, pace) = channel::<()>();
    let until = Instant::now() + LIMIT;
    while !done() {
        assert!(Instant::now() < until, "not within {LIMIT:?}: {what}");
        assert_eq!(pace.recv_timeout(Duration::from_millis(2)), Err(RecvTimeoutError::Timeout));
    }
}

/// Who holds a line from the start, as drivers and device trees do.
#[derive(Clone, Copy, Debug)]
pub enum Hog {
    Input,
    OutputLow,
    OutputHigh,
}

/// A chip in the making.
pub struct Builder {
    label: String,
    lines: u32,
    names: Vec<(u32, String)>,
    hogs: Vec<(u32, String, Hog)>,
}

impl Builder {
    /// Gives a line its name.
    pub fn name(mut self, line: u32, name: &str) -> Builder {
        self.names.push((line, name.to_owned()));
        self
    }

    /// Has the kernel itself hold a line.
    pub fn hog(mut self, line: u32, who: &str, how: Hog) -> Builder {
        self.hogs.push((line, who.to_owned(), how));
        self
    }

    /// Makes it. Everything is there on return: device, sysfs, debugfs.
    pub fn live(self) -> Sim {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let config = Path::new(CONFIGFS).join(name);
        let bank = config.join("bank");
        make(&bank);
        write(&bank.join("label"), &self.label);
        write(&bank.join("num_lines"), &self.lines.to_string());
        for (line, name) in &self.names {
            make(&bank.join(format!("line{line}")));
            write(&bank.join(format!("line{line}/name")), name);
        }
        for (line, who, how) in &self.hogs {
            let hog = bank.join(format!("line{line}/hog"));
            make(&hog);
            write(&hog.join("name"), who);
            let how = match how {
                Hog::Input => "input",
                Hog::OutputLow => "output-low",
                Hog::OutputHigh => "output-high",
            };
            write(&hog.join("direction"), how);
        }
        write(&config.join("live"), "1");
        let chip_name = read(&bank.join("chip_name"));
        let platform = Path::new("/sys/devices/platform").join(read(&config.join("dev_name")));
        // The class directory of the same device; its number is the chip's first line in the old numbering.
        let class = only_entry(&platform.join("gpio"));
        let base = read(&class.join("base")).parse().expect("a number");
        let controls = platform.join(&chip_name);
        Sim { config, controls, class, chip: Path::new("/dev").join(&chip_name), chip_name, base, lines: self.lines }
    }
}

/// A simulated chip.
pub struct Sim {
    config: PathBuf,
    controls: PathBuf,
    class: PathBuf,
    /// Its device, `/dev/gpiochipN`.
    pub chip: PathBuf,
    pub chip_name: String,
    /// What sysfs adds to a line's offset.
    pub base: u32,
    pub lines: u32,
}

impl Sim {
    /// Begins a chip with this label and so many lines.
    pub fn with(label: &str, lines: u32) -> Builder {
        Builder { label: label.to_owned(), lines, names: Vec::new(), hogs: Vec::new() }
    }

    /// Drives an input from outside: pulls it up or down. An output stays as it is driven.
    pub fn pull(&self, line: u32, up: bool) {
        write(&self.control(line, "pull"), if up { "pull-up" } else { "pull-down" });
    }

    /// Which way it is pulled, by [`Sim::pull`] or by a bias that was asked for.
    pub fn is_pulled_up(&self, line: u32) -> bool {
        read(&self.control(line, "pull")) == "pull-up"
    }

    /// The level on the wire, whoever makes it.
    pub fn value(&self, line: u32) -> bool {
        read(&self.control(line, "value")) == "1"
    }

    /// Waits for a level on the wire.
    pub fn wait_for_value(&self, line: u32, value: bool) {
        wait_until(&format!("line {line} is {value}"), || self.value(line) == value);
    }

    /// Whether the line is driven by this machine.
    pub fn is_output(&self, line: u32) -> bool {
        self.debug(line).1.starts_with("output")
    }

    /// Who holds the line, as the kernel tells it.
    pub fn consumer(&self, line: u32) -> Option<String> {
        Some(self.debug(line).0).filter(|name| name != "<unused>")
    }

    /// The chip in sysfs, `/sys/class/gpio/gpiochipBASE`.
    pub fn sysfs_chip(&self) -> PathBuf {
        Path::new("/sys/class/gpio").join(self.class.file_name().expect("a name"))
    }

    /// Where sysfs shows a line once it is exported.
    pub fn sysfs_line(&self, line: u32) -> PathBuf {
        Path::new("/sys/class/gpio").join(format!("gpio{}", self.base + line))
    }

    /// Takes the chip away while others may still use it, as unplugging does.
    pub fn unplug(self) {}

    /// A file by which the kernel lets a line be driven (`pull`) and looked at (`value`).
    pub fn control(&self, line: u32, what: &str) -> PathBuf {
        self.controls.join(format!("sim_gpio{line}")).join(what)
    }

    /// What debugfs says of a line: ` gpio-516 (holder) output-high,pull-down`.
    fn debug(&self, line: u32) -> (String, String) {
        let all = read(Path::new("/sys/kernel/debug/gpio"));
        let start = format!(" gpio-{} (", self.base + line);
        let found = all.lines().find_map(|text| text.strip_prefix(&start)?.rsplit_once(") "));
        let (holder, state) = found.unwrap_or_else(|| panic!("no line {line} of {} in\n{all}", self.chip_name));
        (holder.to_owned(), state.to_owned())
    }
}

impl Drop for Sim {
    fn drop(&mut self) {
        let live = fs::write(self.config.join("live"), "0");
        // In configfs only the directories that were made by hand can be removed, from the inside out.
        let removed = remove(&self.config);
        if !std::thread::panicking() {
            live.and(removed).expect("the chip goes");
        }
    }
}

fn remove(directory: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove(&entry.path())?;
        }
    }
    fs::remove_dir(directory)
}

fn only_entry(directory: &Path) -> PathBuf {
    let mut entries = fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    entries.next().expect("an entry").expect("an entry").path()
}

fn make(directory: &Path) {
    fs::create_dir_all(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
}

fn write(path: &Path, text: &str) {
    fs::write(path, text).unwrap_or_else(|error| panic!("{text} to {}: {error}", path.display()));
}

/// A file of the kernel's, without the end of its last line.
pub fn read(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.trim_end().to_owned()
}
