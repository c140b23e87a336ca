//! What a Raspberry Pi tells about itself, played by the script `doubles`; one of each at a time.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::wait_until;
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
