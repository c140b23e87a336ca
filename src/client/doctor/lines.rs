//! The lines: which backend drives them and why not the others, the chip and its numbers, and who holds each configured
//! line. Nothing is taken, set or exported.

use std::fs;

use super::procs::{Holder, holders};
use super::report::{Finding, GpioReport};
use super::{Patient, gpio_report};
use crate::config::Backend;
use crate::gpio::{Gpio, Places, Sinks, sysfs_chip};
use crate::types::line::Pin;

/// What the kernel calls a request of this program.
const OURS: &str = "pinwire";
/// What it calls an export.
const SYSFS: &str = "sysfs";

pub fn look(patient: &Patient) -> (GpioReport, Vec<Finding>) {
    let report = gpio_report(patient);
    let mut findings = vec![backend(patient, &report)];
    findings.extend(numbers(patient));
    if report.backend.is_some() && !report.simulated {
        findings.extend(configured(patient, report.backend == Some("sysfs")));
    }
    (report, findings)
}

fn backend(patient: &Patient, report: &GpioReport) -> Finding {
    match report.backend {
        Some(name) if report.ok => Finding::ok("gpio", format!("backend '{name}': {}", report.why)),
        Some(name) => Finding::problem(
            "gpio",
            format!("backend '{name}', so no line of this machine is driven: {}", report.why),
            "see above for what each backend needs; if that is meant, set gpio.backend to \"sim\"",
        ),
        None => {
            let asked = match patient.config.gpio.backend {
                Backend::Cdev => "\"cdev\"",
                Backend::Sysfs => "\"sysfs\"",
                Backend::Auto | Backend::Sim => "it",
            };
            let fix = format!("gpio.backend = \"auto\" takes whatever works; {asked} needs what is said above");
            Finding::problem("gpio", format!("no backend: {}", report.why), &fix)
        }
    }
}

/// The chip's number in sysfs, which differs between kernels.
fn numbers(patient: &Patient) -> Option<Finding> {
    let found = sysfs_chip(&patient.config.root, patient.config.gpio.chip.as_deref()).ok()?;
    let example = match found.base {
        Some(base) => format!("GPIO17 is {} there", base + 17),
        None => "GPIO17 is 17 there".to_owned(),
    };
    Some(Finding::ok("gpio", format!("in sysfs: {}; {example}", found.words)))
}

fn configured(patient: &Patient, by_sysfs: bool) -> Vec<Finding> {
    let config = &patient.config;
    let places = Places { root: config.root.clone(), state_dir: None };
    // A backend of its own: looking has no part in what a daemon does beside it.
    let Ok(gpio) = Gpio::new(&config.gpio, &places, Sinks::new(|_| {}, |_| true)) else { return Vec::new() };
    let requests = holders(|link| link.starts_with("anon_inode:") && link.contains("gpio"));
    let (mut findings, mut free, mut ours) = (Vec::new(), Vec::new(), Vec::new());
    for (name, line) in &config.gpio.lines {
        let shown = if *name == line.pin.to_string() { name.clone() } else { format!("{name} ({})", line.pin) };
        match gpio.read(&[line.pin]) {
            Err(error) => findings.push(Finding::problem(
                "line",
                format!("{shown} cannot be looked at: {error}"),
                "`gpiodetect` and `gpioinfo` show which lines there are; gpio.chip names another chip",
            )),
            Ok(states) => match states.first().and_then(|state| state.consumer.clone()) {
                Some(consumer) if consumer == OURS => ours.push(shown),
                Some(consumer) if consumer == SYSFS && by_sysfs => ours.push(shown),
                Some(consumer) => findings.push(held(patient, &shown, line.pin, &consumer, &requests)),
                None => match muxed(patient, line.pin) {
                    Some((by, fix)) => findings.push(Finding::note("line", format!("{shown} belongs to {by}"), fix)),
                    None => free.push(shown),
                },
            },
        }
    }
    for (lines, what) in [(free, "free"), (ours, "held by a running pinwire, or exported for one")] {
        if !lines.is_empty() {
            findings.push(Finding::ok("line", format!("{what}: {}", lines.join(", "))));
        }
    }
    findings
}

/// A line somebody else has.
fn held(patient: &Patient, line: &str, pin: Pin, consumer: &str, requests: &[Holder]) -> Finding {
    if consumer == SYSFS {
        let chip = sysfs_chip(&patient.config.root, patient.config.gpio.chip.as_deref()).ok();
        let (number, class) = match chip.map(|chip| (chip.base, chip.directory)) {
            Some((Some(base), _)) => (base + u64::from(pin.number()), "/sys/class/gpio".to_owned()),
            Some((None, Some(directory))) => (u64::from(pin.number()), directory.display().to_string()),
            _ => (u64::from(pin.number()), "/sys/class/gpio".to_owned()),
        };
        let what = format!("{line} is held: somebody has exported it through sysfs");
        let fix = format!("end who uses it, then `echo {number} | sudo tee {class}/unexport`");
        return Finding::problem("line", what, &fix);
    }
    if let Some(fix) = driver(consumer) {
        let what = format!("{line} is held by the kernel, as '{consumer}'");
        return Finding::problem("line", what, &format!("{fix} in /boot/firmware/config.txt, then reboot"));
    }
    match process(pin, consumer, requests) {
        Some(Holder { pid, name, .. }) => {
            let what = format!("{line} is held by {name} (pid {pid}), which calls itself '{consumer}'");
            let fix = format!("end it (`sudo kill {pid}`), or give pinwire another line");
            Finding::problem("line", what, &fix)
        }
        None => {
            let what = format!("{line} is held by '{consumer}'");
            let fix = if rustix::process::geteuid().is_root() {
                "no process has it open, so a driver or device-tree overlay has: see /boot/firmware/config.txt"
            } else {
                "`sudo pinwire doctor …` may see which process that is; if it is none, a driver or overlay of \
                 /boot/firmware/config.txt has it"
            };
            Finding::problem("line", what, fix)
        }
    }
}

/// The process with the request. Newer kernels say which lines a descriptor has; before them, the name has to do.
fn process(pin: Pin, consumer: &str, requests: &[Holder]) -> Option<Holder> {
    let number = pin.number().to_string();
    let says = |holder: &&Holder| {
        let mut lines = holder.info.lines().filter_map(|line| line.strip_prefix("gpio-line:"));
        lines.any(|line| line.trim() == number)
    };
    let named = |holder: &&Holder| holder.name == consumer && !holder.info.contains("gpio-line:");
    requests.iter().find(says).or_else(|| requests.iter().find(named)).cloned()
}

/// What to change so that a driver lets go.
fn driver(consumer: &str) -> Option<&'static str> {
    let name = consumer.to_ascii_lowercase();
    let has = |parts: &[&str]| parts.iter().any(|part| name.contains(part));
    if has(&["spi", " cs"]) {
        Some("set `dtparam=spi=off` (or remove the dtoverlay=spi… line)")
    } else if has(&["onewire", "w1-gpio", "w1@"]) {
        Some("remove `dtoverlay=w1-gpio`")
    } else if has(&["i2c", "sda", "scl"]) {
        Some("set `dtparam=i2c_arm=off` (or remove the dtoverlay=i2c-gpio line)")
    } else if has(&["gpio-poweroff", "shutdown_button", "gpio-shutdown", "gpio-keys", "gpio-ir", "gpio-fan"]) {
        Some("remove the dtoverlay= line with that name")
    } else if has(&["led"]) {
        Some("remove the dtoverlay=gpio-led line, or the dtparam=…_led_gpio= one")
    } else {
        None
    }
}

/// A free line that a bus has switched to its own function: as a GPIO it would take the bus's wire away.
fn muxed(patient: &Patient, pin: Pin) -> Option<(&'static str, &'static str)> {
    let exists = |path: &str| patient.config.root.join(path).exists();
    let has_any = |dir: &str, prefix: &str| {
        let entries = fs::read_dir(patient.config.root.join(dir)).into_iter().flatten().flatten();
        entries.into_iter().any(|entry| entry.file_name().to_string_lossy().starts_with(prefix))
    };
    match pin.number() {
        2 | 3 if exists("sys/bus/i2c/devices/i2c-1") => Some((
            "the I2C bus i2c-1, which is on",
            "set `dtparam=i2c_arm=off` in /boot/firmware/config.txt and reboot, or use another line",
        )),
        7..=11 if has_any("sys/bus/spi/devices", "spi0.") => Some((
            "the SPI bus spi0, which is on",
            "set `dtparam=spi=off` in /boot/firmware/config.txt and reboot, or use another line",
        )),
        14 | 15 if exists("dev/serial0") => Some((
            "the serial port /dev/serial0, which is on",
            "set `enable_uart=0` in /boot/firmware/config.txt, take console=serial0 out of cmdline.txt and reboot, or \
             use another line",
        )),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_driver_is_known_by_what_it_calls_itself() {
        for (consumer, part) in [("spi0 CS0", "spi=off"), ("onewire@0", "w1-gpio"), ("sda", "i2c"), ("ACT led", "led")]
        {
            assert!(driver(consumer).is_some_and(|fix| fix.contains(part)), "{consumer}");
        }
        assert_eq!((driver("gpioset"), driver("my program")), (None, None));
    }

    #[test]
    fn the_kernel_s_word_on_a_descriptor_beats_a_name() {
        let holder = |pid, name: &str, info: &str| Holder { pid, name: name.into(), info: info.into() };
        let pin = Pin::new(17).expect("a line");
        let requests = [
            holder(1, "lamp", "gpio-chip:\tgpiochip0\ngpio-line:\t4\n"),
            holder(2, "other", "pos:\t0\ngpio-chip:\tgpiochip0\ngpio-line:\t17\n"),
            holder(3, "lamp", "pos:\t0\n"),
        ];
        assert_eq!(process(pin, "lamp", &requests).map(|holder| holder.pid), Some(2));
        assert_eq!(process(pin, "lamp", &requests[2..]).map(|holder| holder.pid), Some(3));
        assert_eq!(process(pin, "lamp", &requests[..1]), None);
    }
}
