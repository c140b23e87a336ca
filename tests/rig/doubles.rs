//! What a Raspberry Pi tells about itself, played by the script `doubles`, and its PWM block; one of each at a time.

use std::ffi::CString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{read, wait_until};
use crate::common::{kill, run};

/// A thermal zone of the type `cpu-thermal`.
pub struct Thermal(PathBuf);

impl Thermal {
    /// It stays until the rig ends.
    pub fn start() -> Thermal {
        Thermal(PathBuf::from(&start("thermal")[0]))
    }

    /// Its directory, `/sys/class/thermal/thermal_zoneN`.
    pub fn zone(&self) -> &Path {
        &self.0
    }

    /// Sets the temperature, in thousandths of a degree.
    pub fn set(&self, millidegrees: u32) {
        fs::write(self.0.join("emul_temp"), millidegrees.to_string()).expect("a temperature");
    }
}

/// The firmware's mailbox, `/dev/vcio`, until it is dropped.
pub struct Vcio(u32);

impl Vcio {
    pub fn start() -> Vcio {
        let vcio = Vcio(start("vcio")[1].parse().expect("a process"));
        vcio.say("{}");
        vcio
    }

    /// What it says from now on, as JSON; `vcio.py` lists the keys.
    pub fn say(&self, state: &str) {
        // Complete or not there yet: a request may be under way.
        fs::write("/run/vcio.next", state).expect("a file");
        fs::rename("/run/vcio.next", "/run/vcio.json").expect("a file");
    }
}

impl Drop for Vcio {
    fn drop(&mut self) {
        kill(self.0, "KILL");
        if !std::thread::panicking() {
            // The next one has the same name.
            wait_until("/dev/vcio goes", || !Path::new("/dev/vcio").exists());
        }
    }
}

/// Starts one and returns what the script printed after its name.
fn start(what: &str) -> Vec<String> {
    let output = run(Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/rig/doubles")).arg(what));
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    text.split_whitespace().skip(1).map(str::to_owned).collect()
}

/// A PWM chip of the kernel's, the module `pwm-sim`, until it is dropped.
pub struct PwmChip {
    /// `/sys/class/pwm/pwmchipN`.
    pub directory: PathBuf,
}

/// What a channel does, as the kernel tells it; times in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Channel {
    pub exported: bool,
    pub on: bool,
    pub period: u64,
    pub high: u64,
}

impl PwmChip {
    /// Loads the module with these parameters, e.g. `name=1f00098000.pwm channels=4`.
    pub fn start(parameters: &str) -> PwmChip {
        let path = Path::new(&std::env::var_os("PINWIRE_RIG_MODULES").expect("the rig")).join("pwm-sim.ko");
        let module = fs::File::open(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let parameters = CString::new(parameters).expect("no NUL");
        rustix::system::finit_module(module, &parameters, 0).expect("the module loads");
        let mut chips = fs::read_dir("/sys/class/pwm").expect("the class").flatten();
        PwmChip { directory: chips.next().expect("a chip").path() }
    }

    /// What a channel does, whether it is exported or not.
    pub fn channel(&self, number: u32) -> Channel {
        let all = read(Path::new("/sys/kernel/debug/pwm"));
        let start = format!("pwm-{number} ");
        let line = all.lines().find_map(|line| line.trim_start().strip_prefix(&start));
        let line = line.unwrap_or_else(|| panic!("no channel {number} in\n{all}"));
        let (who, state) = line.split_once("):").expect("a holder");
        let words: Vec<&str> = state.split_whitespace().collect();
        let after = |name: &str| {
            let place = words.iter().position(|word| *word == name).expect("it is told");
            words[place + 1].parse().expect("a number")
        };
        Channel {
            exported: who.contains("sysfs"),
            on: words.contains(&"enabled"),
            period: after("period:"),
            high: after("duty:"),
        }
    }

    /// A file of an exported channel.
    pub fn file(&self, channel: u32, name: &str) -> PathBuf {
        self.directory.join(format!("pwm{channel}")).join(name)
    }
}

impl Drop for PwmChip {
    fn drop(&mut self) {
        // What is exported keeps the module in use.
        for number in 0..read(&self.directory.join("npwm")).parse().unwrap_or(0) {
            if self.file(number, "enable").exists() {
                let _ = fs::write(self.directory.join("unexport"), number.to_string());
            }
        }
        let gone = rustix::system::delete_module(c"pwm_sim", 0);
        if !std::thread::panicking() {
            gone.expect("the module goes");
        }
    }
}
