//! The backend against a real kernel: these run inside the rig (`tests/rig`), as root, and say so where they skip.

use std::fs;
use std::io::Write;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::*;
use crate::gpio::lines::RawEdge;
use crate::rt::clock;
use crate::types::event::LineChange;
use crate::types::line::Level::{self, High, Low};

const CONFIGFS: &str = "/sys/kernel/config/gpio-sim";
const LIMIT: Duration = Duration::from_secs(20);

/// A simulated chip of the kernel's.
struct Sim {
    config: PathBuf,
    device: PathBuf,
    label: String,
    base: u32,
}

/// One test at a time: chips get and leave numbers, and counts are the whole machine's.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> Option<MutexGuard<'static, ()>> {
    if !Path::new(CONFIGFS).is_dir() {
        let thread = std::thread::current();
        let name = thread.name().unwrap_or("a test");
        let _ = writeln!(std::io::stdout(), "skipped: {name}: no simulated GPIO in this kernel");
        return None;
    }
    Some(ALONE.lock().unwrap_or_else(PoisonError::into_inner))
}

impl Sim {
    fn new(label: &str) -> Sim {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let config = Path::new(CONFIGFS).join(format!("sysfs-{}", NEXT.fetch_add(1, Ordering::Relaxed)));
        let bank = config.join("bank");
        fs::create_dir_all(bank.join("line5/hog")).expect("configfs");
        put(&bank.join("label"), label);
        put(&bank.join("num_lines"), "54");
        put(&bank.join("line5/hog/name"), "spi0 CS1");
        put(&config.join("live"), "1");
        let platform = Path::new("/sys/devices/platform").join(get(&config.join("dev_name")));
        let device = platform.join(get(&bank.join("chip_name")));
        let class = platform.join("gpio").read_dir().expect("its class").flatten().map(|entry| entry.path());
        let base = class.filter_map(|path| fs::read_to_string(path.join("base")).ok()).next();
        let base = base.map_or(0, |base| base.trim().parse().expect("a number"));
        Sim { config, device, label: label.to_owned(), base }
    }

    fn open(&self) -> Box<dyn Lines> {
        self.open_with(SysfsBias::Refuse)
    }

    fn open_with(&self, sysfs_bias: SysfsBias) -> Box<dyn Lines> {
        let config = config::Gpio { chip: Some(self.label.clone()), sysfs_bias, ..config::Gpio::default() };
        open(&config).expect("it is there").0
    }

    fn pull(&self, bcm: u8, up: bool) {
        put(&self.device.join(format!("sim_gpio{bcm}/pull")), if up { "pull-up" } else { "pull-down" });
    }

    fn pulled(&self, bcm: u8) -> String {
        get(&self.device.join(format!("sim_gpio{bcm}/pull")))
    }

    fn wire(&self, bcm: u8) -> bool {
        get(&self.device.join(format!("sim_gpio{bcm}/value"))) == "1"
    }

    /// Who holds a line, as the character device tells it.
    fn consumer(&self, bcm: u8) -> String {
        let abi = chip::Abi::Numbered { base: u64::from(self.base) };
        let chip = Chip { label: self.label.clone(), lines: 54, abi };
        Device::default().line(&chip, u32::from(bcm)).expect("its info").consumer
    }

    fn file(&self, bcm: u8, name: &str) -> PathBuf {
        Path::new(CLASS).join(format!("gpio{}", self.base + u32::from(bcm))).join(name)
    }

    fn export(&self, bcm: u8) {
        put(&Path::new(CLASS).join("export"), &(self.base + u32::from(bcm)).to_string());
    }

    fn is_exported(&self, bcm: u8) -> bool {
        self.file(bcm, "value").exists()
    }

    /// How many edges of this line the kernel took since it got its interrupt.
    fn taken(&self, bcm: u8) -> u32 {
        let counts = count::Interrupts::open().and_then(|mut table| table.read()).expect("the table");
        let found = counts.values().find(|(_, row)| row.split_whitespace().any(|word| word == bcm.to_string()));
        found.unwrap_or_else(|| panic!("no row of {bcm} in {counts:?}")).0
    }
}

impl Drop for Sim {
    fn drop(&mut self) {
        let _ = fs::write(self.config.join("live"), "0");
        for directory in ["bank/line5/hog", "bank/line5", "bank", ""] {
            let _ = fs::remove_dir(self.config.join(directory));
        }
    }
}

fn put(path: &Path, text: &str) {
    fs::write(path, text).unwrap_or_else(|error| panic!("{text} to {}: {error}", path.display()));
}

fn get(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display())).trim().to_owned()
}

fn pin(bcm: u8) -> Pin {
    Pin::new(bcm).expect("a BCM number below 28")
}

fn output(bcm: u8, level: Level) -> (Pin, Hold) {
    (pin(bcm), Hold { active_low: false, bias: None, role: Role::Output { level } })
}

fn input(bcm: u8, edge: Edge) -> (Pin, Hold) {
    (pin(bcm), Hold { active_low: false, bias: None, role: Role::Input { edge, debounce: Duration::ZERO } })
}

fn inverted((pin, hold): (Pin, Hold)) -> (Pin, Hold) {
    (pin, Hold { active_low: true, ..hold })
}

fn biased((pin, hold): (Pin, Hold), bias: Bias) -> (Pin, Hold) {
    (pin, Hold { bias: Some(bias), ..hold })
}

#[derive(Debug, PartialEq)]
enum Seen {
    Edge(RawEdge),
    Changed(Pin, LineChange),
    Lost,
    Returned,
}

struct Recorder(Mutex<Sender<Seen>>);

impl Recorder {
    fn watch(lines: &mut dyn Lines) -> Receiver<Seen> {
        let (sender, seen) = channel();
        lines.watch(Arc::new(Recorder(Mutex::new(sender)))).expect("a thread");
        seen
    }

    fn tell(&self, seen: Seen) {
        let _ = self.0.lock().expect("no test panics here").send(seen);
    }
}

impl Watcher for Recorder {
    fn edges(&self, edges: &[RawEdge]) {
        edges.iter().for_each(|edge| self.tell(Seen::Edge(*edge)));
    }

    fn line_changed(&self, pin: Pin, change: LineChange) {
        self.tell(Seen::Changed(pin, change));
    }

    fn chip_lost(&self, _why: &str) {
        self.tell(Seen::Lost);
    }

    fn chip_returned(&self) {
        self.tell(Seen::Returned);
    }

    fn next_tick(&self) -> Option<Instant> {
        None
    }

    fn tick(&self, _now: Instant) {}
}

fn next_edge(seen: &Receiver<Seen>) -> RawEdge {
    match seen.recv_timeout(LIMIT) {
        Ok(Seen::Edge(edge)) => edge,
        other => panic!("no edge: {other:?}"),
    }
}

#[test]
fn outputs_are_driven_with_their_level_and_let_go() {
    let Some(_alone) = alone() else { return };
    let sim = Sim::new("pinctrl-test");
    let mut lines = sim.open();
    assert_eq!(lines.hold(&[output(17, High), output(27, Low), inverted(output(22, High))]), Ok(()));
    assert_eq!((sim.wire(17), sim.wire(27), sim.wire(22)), (true, false, false));
    assert_eq!(lines.hold(&[output(17, Low), inverted(output(22, Low))]), Ok(()));
    assert_eq!((sim.wire(17), sim.wire(22)), (false, true));
    let state = lines.inspect(pin(22)).expect("held");
    assert_eq!((state.direction, state.level, state.active_low), (Some(Direction::Output), Some(Low), true));
    assert_eq!(sim.consumer(17), "sysfs");
    // A line that another program turns round behind our back is turned round again, with its level.
    put(&sim.file(27, "direction"), "in");
    assert_eq!(lines.hold(&[output(27, High)]), Ok(()));
    assert!(sim.wire(27) && get(&sim.file(27, "direction")) == "out");
    lines.release(&[pin(17), pin(22), pin(27), pin(4)]);
    assert!([17, 22, 27].iter().all(|bcm| !sim.is_exported(*bcm)));
}

/// What the kernel was told to do with a line, call by call, as it traces it.
#[test]
fn no_output_ever_has_another_level_on_the_way() {
    let Some(_alone) = alone() else { return };
    let tracing = Path::new("/sys/kernel/tracing");
    let sim = Sim::new("pinctrl-test");
    let mut lines = sim.open();
    put(&tracing.join("events/gpio/enable"), "1");
    let mut steps = |holds: &[(Pin, Hold)]| {
        put(&tracing.join("trace"), "");
        lines.hold(holds).expect("free lines");
        let number = format!(" {} ", sim.base + 17);
        let text = get(&tracing.join("trace"));
        let own = text.lines().filter_map(|line| line.split_once(&number)).filter(|(_, done)| !done.starts_with("get"));
        own.map(|(_, done)| done.trim().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(steps(&[output(17, High)]), ["set 1", "out (0)"], "level and direction in one call");
    assert_eq!(steps(&[output(17, High)]), [""; 0]);
    assert_eq!(steps(&[output(17, Low)]), ["set 0"]);
    assert_eq!(steps(&[inverted(output(17, High))]), ["set 0", "out (0)"]);
    assert_eq!(steps(&[inverted(output(17, Low))]), ["set 1"]);
    put(&tracing.join("events/gpio/enable"), "0");
    lines.release(&[pin(17)]);
}

#[test]
fn an_output_as_it_is_keeps_the_level_of_the_wire() {
    let Some(_alone) = alone() else { return };
    let sim = Sim::new("pinctrl-test");
    let mut lines = sim.open();
    let as_is = |(pin, hold)| (pin, Hold { role: Role::OutputAsIs, ..hold });
    sim.pull(17, true);
    sim.pull(22, true);
    assert_eq!(lines.hold(&[as_is(output(17, Low)), inverted(as_is(output(22, Low))), as_is(output(27, Low))]), Ok(()));
    for bcm in [17, 22] {
        sim.pull(bcm, false);
        assert!(sim.wire(bcm) && get(&sim.file(bcm, "direction")) == "out", "{bcm} is driven high");
    }
    assert!(!sim.wire(27));
    assert_eq!(lines.inspect(pin(22)).map(|state| state.level), Ok(Some(Low)));
    assert_eq!(lines.hold(&[as_is(output(17, Low))]), Ok(()));
    assert!(sim.wire(17));
}

#[test]
fn an_update_with_one_bad_line_changes_nothing() {
    let Some(_alone) = alone() else { return };
    let sim = Sim::new("pinctrl-test");
    let mut lines = sim.open();
    lines.hold(&[output(4, High), input(6, Edge::Both)]).expect("free lines");
    sim.export(22);
    put(&sim.file(22, "active_low"), "1");
    put(&sim.file(22, "edge"), "rising");
    let bad = [output(4, Low), output(6, High), input(22, Edge::Both), output(17, High), output(5, High)];
    let held = GpioError::Held { pin: pin(5), consumer: "spi0 CS1".into() };
    assert_eq!(lines.hold(&bad), Err(held));
    assert!(sim.wire(4) && !sim.is_exported(17) && get(&sim.file(6, "direction")) == "in");
    assert_eq!((get(&sim.file(22, "active_low")), get(&sim.file(22, "edge"))), ("1".into(), "rising".into()));
    let refused = lines.hold(&[output(4, Low), biased(input(17, Edge::None), Bias::Up)]);
    assert!(matches!(&refused, Err(GpioError::Refused { why, .. }) if why.contains("gpio.sysfs_bias")), "{refused:?}");
    assert!(sim.wire(4) && !sim.is_exported(17));
    lines.release(&[pin(4), pin(6)]);
}

#[test]
fn a_line_that_was_exported_before_is_left_as_found() {
    let Some(_alone) = alone() else { return };
    let sim = Sim::new("pinctrl-test");
    let mut lines = sim.open();
    sim.export(17);
    put(&sim.file(17, "active_low"), "1");
    put(&sim.file(17, "direction"), "high");
    let state = lines.inspect(pin(17)).expect("readable");
    assert_eq!((state.direction, state.level, state.active_low), (Some(Direction::Output), Some(Low), true));
    assert_eq!(state.consumer.as_deref(), Some("sysfs"));
    lines.hold(&[input(17, Edge::Both)]).expect("it can be had");
    assert_eq!(["direction", "active_low", "edge"].map(|name| get(&sim.file(17, name))), ["in", "0", "both"]);
    lines.release(&[pin(17)]);
    assert_eq!(["direction", "active_low", "edge"].map(|name| get(&sim.file(17, name))), ["out", "1", "none"]);
    assert!(sim.wire(17));
    // What was driven on purpose stays.
    lines.hold(&[output(17, Low)]).expect("it can be had");
    lines.release(&[pin(17)]);
    assert_eq!((get(&sim.file(17, "active_low")), sim.wire(17)), ("1".into(), false));
    put(&Path::new(CLASS).join("unexport"), &(sim.base + 17).to_string());
}

#[test]
fn looking_changes_nothing_and_names_who_holds_a_line() {
    let Some(_alone) = alone() else { return };
    let sim = Sim::new("pinctrl-test");
    let mut lines = sim.open();
    let before = get(Path::new("/sys/kernel/debug/gpio"));
    for bcm in 0..28 {
        let state = lines.inspect(pin(bcm)).expect("it is there");
        assert_eq!((state.direction, state.level), (Some(Direction::Input), None));
        assert_eq!(state.consumer.as_deref(), (bcm == 5).then_some("spi0 CS1"));
        assert!(!sim.is_exported(bcm));
    }
    assert_eq!(get(Path::new("/sys/kernel/debug/gpio")), before);
}

#[test]
fn edges_are_reported_with_their_level() {
    let Some(_alone) = alone() else { return };
    let sim = Sim::new("pinctrl-test");
    let mut lines = sim.open();
    let seen = Recorder::watch(&mut *lines);
    lines.hold(&[input(17, Edge::Both), inverted(input(22, Edge::Rising)), output(4, Low)]).expect("free lines");
    assert!(lines.reports_edges(pin(17)) && !lines.reports_edges(pin(4)) && !lines.debounces());
    for up in [true, false, true] {
        let before = clock::monotonic_ns();
        sim.pull(17, up);
        let edge = next_edge(&seen);
        assert_eq!((edge.pin, edge.level, edge.lost, edge.seqno), (pin(17), Level::from_bool(up), 0, None));
        assert!((before..=clock::monotonic_ns()).contains(&edge.monotonic_ns));
    }
    // Upside down: on when the wire falls.
    sim.pull(22, true);
    sim.pull(22, false);
    let edge = next_edge(&seen);
    assert_eq!((edge.pin, edge.level), (pin(22), High));
    // Another program's unexport is told, and the others go on.
    put(&Path::new(CLASS).join("unexport"), &(sim.base + 22).to_string());
    let change = seen.recv_timeout(LIMIT);
    assert!(matches!(&change, Ok(Seen::Changed(of, change)) if *of == pin(22) && change.consumer.is_none()));
    sim.pull(17, false);
    assert_eq!(next_edge(&seen).level, Low);
    lines.hold(&[input(22, Edge::Both)]).expect("it can be taken again");
    sim.pull(22, true);
    assert_eq!(next_edge(&seen).level, High);
    lines.stop(LIMIT);
    lines.release(&[pin(17), pin(22), pin(4)]);
}

#[test]
fn received_and_lost_are_together_what_the_kernel_took() {
    let Some(_alone) = alone() else { return };
    let sim = Sim::new("pinctrl-test");
    let mut lines = sim.open();
    let seen = Recorder::watch(&mut *lines);
    let pins = [4u8, 17, 22, 27];
    lines.hold(&pins.map(|bcm| input(bcm, Edge::Both))).expect("free lines");
    let begun = pins.map(|bcm| sim.taken(bcm));
    // As fast as it goes, where the simulated interrupts of one tick become one; then one by one, none merged.
    for round in 0..2000 {
        pins.iter().for_each(|bcm| sim.pull(*bcm, round % 2 == 0));
    }
    let mut table = count::Interrupts::open().expect("the table");
    let mut total = || table.read().expect("the table").values().map(|(count, _)| count).sum::<u32>();
    for round in 0..2000 {
        let before = total();
        pins.iter().for_each(|bcm| sim.pull(*bcm, round % 2 == 0));
        while total() < before + 4 {
            std::thread::yield_now();
        }
    }
    let mut told = [0u32; 4];
    let mut received = 0;
    let until = Instant::now() + LIMIT;
    loop {
        let taken: Vec<u32> = pins.iter().zip(begun).map(|(bcm, begun)| sim.taken(*bcm) - begun).collect();
        while let Ok(Seen::Edge(edge)) = seen.recv_timeout(Duration::from_millis(50)) {
            let at = pins.iter().position(|bcm| pin(*bcm) == edge.pin).expect("one of them");
            told[at] += 1 + edge.lost;
            received += 1;
        }
        if taken == told {
            let _ = writeln!(std::io::stdout(), "taken {taken:?} of 4000 each, received {received}");
            break;
        }
        assert!(Instant::now() < until, "the kernel took {taken:?}, told were {told:?}");
    }
    assert_eq!(seen.recv_timeout(Duration::from_millis(50)), Err(RecvTimeoutError::Timeout), "and no more");
    assert!(told.iter().all(|told| *told >= 2000));
    lines.stop(LIMIT);
    lines.release(&pins.map(pin));
}

#[test]
fn a_chip_that_goes_and_comes_back_is_noticed() {
    let Some(_alone) = alone() else { return };
    let sim = Sim::new("pinctrl-test");
    let mut lines = sim.open();
    let seen = Recorder::watch(&mut *lines);
    lines.hold(&[output(17, High), input(4, Edge::Both)]).expect("free lines");
    drop(sim);
    assert_eq!(seen.recv_timeout(LIMIT), Ok(Seen::Lost));
    assert!(matches!(lines.hold(&[output(17, Low)]), Err(GpioError::ChipGone { .. })));
    assert!(matches!(lines.inspect(pin(4)), Err(GpioError::ChipGone { .. })));
    let other = Sim::new("something-else");
    let sim = Sim::new("pinctrl-test");
    assert_eq!(seen.recv_timeout(LIMIT), Ok(Seen::Returned));
    assert!(!sim.is_exported(17));
    lines.hold(&[output(17, High), input(4, Edge::Both)]).expect("free lines");
    assert!(sim.wire(17) && !other.wire(17));
    sim.pull(4, true);
    assert_eq!(next_edge(&seen).level, High);
    lines.stop(LIMIT);
    lines.release(&[pin(17), pin(4)]);
}

#[test]
fn a_bias_can_be_set_by_the_character_device_or_by_pinctrl() {
    let Some(_alone) = alone() else { return };
    let sim = Sim::new("pinctrl-test");
    let mut lines = sim.open_with(SysfsBias::Cdev);
    let with = |bias| [biased(input(17, Edge::None), bias)];
    assert_eq!(lines.hold(&with(Bias::Up)), Ok(()));
    assert_eq!((sim.pulled(17).as_str(), sim.wire(17), sim.is_exported(17)), ("pull-up", true, true));
    assert_eq!(lines.inspect(pin(17)).map(|state| (state.bias, state.level)), Ok((Some(Bias::Up), Some(High))));
    assert_eq!(lines.hold(&with(Bias::Down)), Ok(()));
    assert_eq!((sim.pulled(17).as_str(), sim.wire(17)), ("pull-down", false));
    lines.release(&[pin(17)]);
    sim.export(22);
    let refused = lines.hold(&[biased(input(22, Edge::None), Bias::Up)]);
    assert!(matches!(refused, Err(GpioError::Refused { .. })), "{refused:?}");
    put(&Path::new(CLASS).join("unexport"), &(sim.base + 22).to_string());
    let mut lines = sim.open_with(SysfsBias::Pinctrl);
    let refused = lines.hold(&with(Bias::Up));
    assert!(
        matches!(&refused, Err(GpioError::Refused { why, .. }) if why.contains("pinctrl set 17 pu")),
        "{refused:?}"
    );
    assert!(!sim.is_exported(17));
}

#[test]
fn a_read_only_sysfs_names_the_units_setting() {
    let Some(_alone) = alone() else { return };
    let sim = Sim::new("pinctrl-test");
    let mut lines = sim.open();
    let run = |program: &str, words: &[&str]| {
        assert!(Command::new(program).args(words).status().expect(program).success(), "{program} {words:?}");
    };
    // As ProtectKernelTunables does it.
    run("mount", &["--bind", CLASS, CLASS]);
    run("mount", &["-o", "remount,bind,ro", CLASS]);
    let outcome = lines.hold(&[output(17, High)]);
    run("umount", &[CLASS]);
    let Err(GpioError::System { why, .. }) = outcome else { panic!("{outcome:?}") };
    assert!(why.contains("ReadWritePaths=/sys/class/gpio /sys/devices"), "{why}");
    assert_eq!(lines.hold(&[output(17, High)]), Ok(()));
    lines.release(&[pin(17)]);
}

/// Kernels from 6.17 on; the old interface, which they still have, is passed over.
#[test]
fn the_per_chip_interface_drives_and_reads_but_watches_nothing() {
    let Some(_alone) = alone() else { return };
    let sim = Sim::new("pinctrl-test");
    let directories = Path::new(CLASS).read_dir().expect("it is there").flatten().map(|entry| entry.path());
    let labelled = |path: &PathBuf| fs::read_to_string(path.join("label")).is_ok_and(|text| text.trim() == sim.label);
    let named = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("chip"));
    let Some(directory) = directories.filter(named).find(labelled) else {
        let _ = writeln!(std::io::stdout(), "this kernel has no /sys/class/gpio/chipN");
        return;
    };
    let file = |bcm: u8, name: &str| directory.join(format!("gpio{bcm}/{name}"));
    let chip = Chip { label: sim.label.clone(), lines: 54, abi: chip::Abi::PerChip { directory: directory.clone() } };
    let shared = Shared::new(chip, Some(sim.label.clone())).expect("an eventfd");
    let mut lines = Sysfs::new(shared, SysfsBias::Refuse);
    let seen = Recorder::watch(&mut lines);
    lines.hold(&[output(17, High), inverted(output(22, High)), inverted(input(4, Edge::Both))]).expect("free lines");
    assert_eq!((sim.wire(17), sim.wire(22)), (true, false));
    assert_eq!(get(&file(17, "direction")), "out");
    assert_eq!(lines.hold(&[output(17, Low), inverted(output(22, Low))]), Ok(()));
    assert_eq!((sim.wire(17), sim.wire(22)), (false, true));
    for up in [true, false] {
        sim.pull(4, up);
        let state = lines.inspect(pin(4)).expect("held");
        assert_eq!((state.level, state.active_low), (Some(Level::from_bool(!up)), true), "turned round by ourselves");
    }
    assert!(!lines.reports_edges(pin(4)));
    let held = lines.hold(&[output(17, High), output(27, High), output(5, High)]);
    assert!(matches!(held, Err(GpioError::Held { .. })), "{held:?}");
    assert!(!sim.wire(17) && !file(27, "value").exists());
    lines.release(&[pin(17), pin(22), pin(4)]);
    assert!([17, 22, 4].iter().all(|bcm| !file(*bcm, "value").exists()));
    lines.stop(LIMIT);
    assert_eq!(seen.try_iter().count(), 0);
}

/// A child without privileges plays the daemon; we are udev.
#[test]
fn udev_gets_a_second_to_hand_over_the_files() {
    const CHILD: &str = "PINWIRE_TEST_SYSFS_CHILD";
    const NOBODY: u32 = 65534;
    if let Ok(label) = std::env::var(CHILD) {
        let config = config::Gpio { chip: Some(label), ..config::Gpio::default() };
        let mut lines = open(&config).expect("it is there").0;
        match lines.hold(&[output(17, High), input(4, Edge::Both)]) {
            Ok(()) => lines.release(&[pin(17), pin(4)]),
            Err(error) => panic!("{error}"),
        }
        return;
    }
    let Some(_alone) = alone() else { return };
    let sim = Sim::new("pinctrl-test");
    let mine = |path: &Path| chown(path, Some(NOBODY), None).expect("root may");
    ["export", "unexport"].iter().for_each(|name| mine(&Path::new(CLASS).join(name)));
    for hand_over in [true, false] {
        let mut child = Command::new("setpriv")
            .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
            .arg(std::env::current_exe().expect("this test"))
            .args(["--exact", "gpio::sysfs::tests::udev_gets_a_second_to_hand_over_the_files", "--nocapture"])
            .env(CHILD, &sim.label)
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .expect("setpriv");
        let (_never, pace) = channel::<()>();
        for bcm in [17, 4] {
            while hand_over && !sim.is_exported(bcm) && child.try_wait().expect("its status").is_none() {
                let _ = pace.recv_timeout(Duration::from_millis(5));
            }
        }
        // Late enough for the child to be waiting.
        let _ = pace.recv_timeout(Duration::from_millis(100));
        for name in ["value", "direction", "edge", "active_low"].iter().filter(|_| hand_over) {
            [17, 4].iter().for_each(|bcm| mine(&sim.file(*bcm, name)));
            let _ = pace.recv_timeout(Duration::from_millis(20));
        }
        let output = child.wait_with_output().expect("it ends");
        let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.success(), hand_over, "{text}");
        assert!(hand_over || (text.contains("SupplementaryGroups=gpio") && text.contains("udev")), "{text}");
        assert!(!sim.is_exported(17) && !sim.is_exported(4), "nothing is left behind");
    }
}
