//! What the backend promises, on a real kernel with simulated chips; each test says that it skips where there are
//! none. Other programs look from outside: gpioinfo, gpioset, and the simulation's own files.

use std::collections::HashMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Instant;

use super::super::lines::{RawEdge, Role};
use super::*;
use crate::types::event::{LineChange, LineChangeKind};
use crate::types::line::{Bias, Direction, Edge, Level};

const CONFIGFS: &str = "/sys/kernel/config/gpio-sim";

/// How long anything may take, on a busy machine under emulation too.
const LIMIT: Duration = Duration::from_secs(20);

/// How far apart pulls must be for the simulation's interrupt (a timer's tick) to tell them apart.
const TICK: Duration = Duration::from_millis(2);

pub fn absent() -> bool {
    let absent = !Path::new(CONFIGFS).is_dir();
    if absent {
        let thread = std::thread::current();
        let name = thread.name().unwrap_or("a test");
        let _ = writeln!(std::io::stdout(), "skipped: {name}: no simulated GPIO in this kernel");
    }
    absent
}

/// A simulated chip whose label is the test's own, so that tests can run side by side.
pub struct Sim {
    config: PathBuf,
    controls: PathBuf,
    label: String,
    name: String,
}

impl Sim {
    pub fn new(label: &str, lines: u32, hog: Option<(u32, &str)>) -> Sim {
        Sim::named(label, lines, hog, &[])
    }

    fn named(label: &str, lines: u32, hog: Option<(u32, &str)>, names: &[(u32, &str)]) -> Sim {
        let config = Path::new(CONFIGFS).join(format!("cdev-{}-{label}", std::process::id()));
        let bank = config.join("bank");
        make(&bank);
        put(&bank.join("label"), label);
        put(&bank.join("num_lines"), &lines.to_string());
        for (line, name) in names {
            make(&bank.join(format!("line{line}")));
            put(&bank.join(format!("line{line}/name")), name);
        }
        if let Some((line, who)) = hog {
            let hog = bank.join(format!("line{line}/hog"));
            make(&hog);
            put(&hog.join("name"), who);
            put(&hog.join("direction"), "input");
        }
        put(&config.join("live"), "1");
        let name = read(&bank.join("chip_name"));
        let controls = Path::new("/sys/devices/platform").join(read(&config.join("dev_name"))).join(&name);
        Sim { config, controls, label: label.to_owned(), name }
    }

    pub fn settings(&self) -> config::Gpio {
        config::Gpio { chip: Some(self.label.clone()), ..config::Gpio::default() }
    }

    pub fn shared(&self) -> Shared {
        let board = Board::find(Some(&self.label)).expect("the chip");
        Shared::new(Some(self.label.clone()), board).expect("descriptors")
    }

    fn open(&self) -> Box<dyn Lines> {
        open(&self.settings()).expect("the chip").0
    }

    fn pull(&self, line: u32, up: bool) {
        put(&self.controls.join(format!("sim_gpio{line}/pull")), if up { "pull-up" } else { "pull-down" });
    }

    fn is_pulled_up(&self, line: u32) -> bool {
        read(&self.controls.join(format!("sim_gpio{line}/pull"))) == "pull-up"
    }

    pub fn value(&self, line: u32) -> bool {
        read(&self.controls.join(format!("sim_gpio{line}/value"))) == "1"
    }

    pub fn is_output(&self, line: u32) -> bool {
        self.info(line).contains(" output ")
    }

    pub fn consumer(&self, line: u32) -> Option<String> {
        let info = self.info(line);
        // `unnamed "pinwire" output active-high [used]`
        info.contains("[used").then(|| info.split('"').nth(1).unwrap_or_default().to_owned())
    }

    /// What gpioinfo says of a line, without the padding.
    fn info(&self, line: u32) -> String {
        self.infos().remove(&line).expect("the line")
    }

    fn infos(&self) -> HashMap<u32, String> {
        let output = Command::new("gpioinfo").arg(&self.name).stdin(Stdio::null()).output().expect("gpioinfo");
        let text = String::from_utf8(output.stdout).expect("text");
        let line = |text: &str| {
            let (number, rest) = text.trim_start().strip_prefix("line")?.split_once(':')?;
            Some((number.trim().parse().ok()?, rest.split_whitespace().collect::<Vec<_>>().join(" ")))
        };
        text.lines().filter_map(line).collect()
    }

    /// Another program holds a line until it is dropped.
    fn other(&self, line: u32) -> Other {
        let mut command = Command::new("gpioset");
        command.args(["--mode=signal", &self.name, &format!("{line}=1")]).stdin(Stdio::null());
        let other = Other(command.spawn().expect("gpioset"));
        until("gpioset has the line", || self.consumer(line).as_deref() == Some("gpioset"));
        other
    }
}

impl Drop for Sim {
    fn drop(&mut self) {
        fn remove(directory: &Path) -> std::io::Result<()> {
            for entry in fs::read_dir(directory)? {
                let entry = entry?;
                if entry.file_type()?.is_dir() {
                    remove(&entry.path())?;
                }
            }
            fs::remove_dir(directory)
        }
        let _ = fs::write(self.config.join("live"), "0");
        let _ = remove(&self.config);
    }
}

struct Other(Child);

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What a watcher was told.
#[derive(Debug, PartialEq)]
enum Told {
    Edge(RawEdge),
    Line(Pin, LineChange),
    Lost(String),
    Returned,
}

struct Recorder(Sender<Told>);

impl Watcher for Recorder {
    fn edges(&self, edges: &[RawEdge]) {
        edges.iter().for_each(|edge| drop(self.0.send(Told::Edge(*edge))));
    }

    fn line_changed(&self, pin: Pin, change: LineChange) {
        let _ = self.0.send(Told::Line(pin, change));
    }

    fn chip_lost(&self, why: &str) {
        let _ = self.0.send(Told::Lost(why.to_owned()));
    }

    fn chip_returned(&self) {
        let _ = self.0.send(Told::Returned);
    }

    fn next_tick(&self) -> Option<Instant> {
        None
    }

    fn tick(&self, _now: Instant) {}
}

fn watch(lines: &mut dyn Lines) -> Receiver<Told> {
    let (sender, receiver) = channel();
    lines.watch(Arc::new(Recorder(sender))).expect("a thread");
    receiver
}

fn next(told: &Receiver<Told>) -> Told {
    told.recv_timeout(LIMIT).expect("something to be told in time")
}

fn next_edge(told: &Receiver<Told>) -> RawEdge {
    match next(told) {
        Told::Edge(edge) => edge,
        other => panic!("not an edge: {other:?}"),
    }
}

fn until(what: &str, mut done: impl FnMut() -> bool) {
    let end = clock_now() + LIMIT;
    while !done() {
        assert!(clock_now() < end, "not in time: {what}");
        pause(TICK);
    }
}

fn clock_now() -> Instant {
    crate::rt::clock::now()
}

/// For what tells nobody when it is done.
fn pause(time: Duration) {
    let (_never, pace) = channel::<()>();
    assert_eq!(pace.recv_timeout(time), Err(RecvTimeoutError::Timeout));
}

pub fn pin(bcm: u8) -> Pin {
    Pin::new(bcm).expect("a BCM number below 28")
}

fn input(bias: Option<Bias>, edge: Edge, debounce_ms: u64) -> Hold {
    let role = Role::Input { edge, debounce: Duration::from_millis(debounce_ms) };
    Hold { active_low: false, bias, role }
}

fn output(level: Level) -> Hold {
    Hold { active_low: false, bias: None, role: Role::Output { level } }
}

fn as_is() -> Hold {
    Hold { active_low: false, bias: None, role: Role::OutputAsIs }
}

fn make(directory: &Path) {
    fs::create_dir_all(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
}

fn put(path: &Path, text: &str) {
    fs::write(path, text).unwrap_or_else(|error| panic!("{text} to {}: {error}", path.display()));
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display())).trim_end().to_owned()
}

mod finding;
mod holding;
mod watching;
