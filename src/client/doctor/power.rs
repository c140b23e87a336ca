//! The supply's voltage and the chip's temperature, by what the firmware says.

use rustix::fs::Access;

use super::Patient;
use super::report::Finding;
use crate::telemetry::Telemetry;
use crate::types::reading::{Missing, Throttle};

/// In °C; from here on the firmware slows the chip down.
const HOT: f64 = 80.0;

/// The flags' bits now; sixteen higher they mean "since boot".
const UNDER_VOLTAGE: u32 = 1;
const SLOWED: u32 = 0b1110;
const SINCE_BOOT: u32 = 16;

const SUPPLY: &str = "use the board's own supply (5.1 V; 3 A for a Pi 4, 5 A for a Pi 5), a short thick cable, and \
                      feed what hangs on USB and the header from elsewhere";
const COOLING: &str = "give it a heat sink or a fan, or more air; less load helps too";

pub fn look(patient: &Patient) -> Vec<Finding> {
    let telemetry = Telemetry::new(&patient.config.root, &patient.config.telemetry);
    let mut findings = match telemetry.throttle() {
        Ok(flags) => supply(flags),
        Err(missing) => vec![unknown(patient, &missing)],
    };
    findings.extend(telemetry.temperature().ok().map(|read| temperature(read.celsius)));
    telemetry.stop();
    findings
}

fn supply(Throttle { bits }: Throttle) -> Vec<Finding> {
    let mut findings = Vec::new();
    if bits & UNDER_VOLTAGE != 0 {
        findings.push(Finding::problem("power", "under-voltage now: the supply gives less than 4.63 V", SUPPLY));
    } else if bits >> SINCE_BOOT & UNDER_VOLTAGE != 0 {
        findings.push(Finding::note("power", "there was under-voltage since the last boot, not now", SUPPLY));
    }
    if bits & SLOWED != 0 {
        let what = format!("the processor is slowed down now ({})", slowed(bits));
        findings.push(Finding::problem("power", what, cause(bits)));
    } else if bits >> SINCE_BOOT & SLOWED != 0 {
        let what = format!("the processor was slowed down since the last boot ({})", slowed(bits >> SINCE_BOOT));
        findings.push(Finding::note("power", what, cause(bits >> SINCE_BOOT)));
    }
    if findings.is_empty() {
        findings.push(Finding::ok("power", "no under-voltage and no throttling, now or since the last boot"));
    }
    findings
}

fn slowed(bits: u32) -> String {
    let names = [(2, "frequency capped"), (4, "throttled"), (8, "soft temperature limit")];
    let named: Vec<_> = names.iter().filter(|(bit, _)| bits & bit != 0).map(|(_, name)| *name).collect();
    named.join(", ")
}

/// The voltage, or else the heat.
fn cause(bits: u32) -> &'static str {
    if bits & UNDER_VOLTAGE != 0 { SUPPLY } else { COOLING }
}

fn temperature(celsius: f64) -> Finding {
    if celsius > HOT {
        return Finding::problem("power", format!("the chip has {celsius:.1} °C, and {HOT} °C is too hot"), COOLING);
    }
    Finding::ok("power", format!("the chip has {celsius:.1} °C"))
}

fn unknown(patient: &Patient, missing: &Missing) -> Finding {
    let devices = ["dev/vcio_gencmd", "dev/vcio"].map(|name| patient.config.root.join(name));
    let closed =
        |path: &&std::path::PathBuf| path.exists() && !patient.subject.may(path, Access::READ_OK | Access::WRITE_OK);
    match devices.iter().find(closed) {
        Some(path) => {
            let name = &patient.subject.name;
            let what = format!("nothing is known of under-voltage: '{name}' may not open {}", path.display());
            Finding::note("power", what, &format!("`sudo usermod -aG video {name}`, then log out and in again"))
        }
        None => Finding::ok("power", format!("nothing is known of under-voltage: {missing}")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::report::Level;
    use super::*;

    #[test]
    fn flags_are_told_apart_by_what_they_mean_and_when() {
        let levels = |bits| {
            let found = supply(Throttle { bits });
            found.into_iter().map(|finding| (finding.level, finding.what)).collect::<Vec<_>>()
        };
        assert_eq!(levels(0)[0].0, Level::Ok);
        let now = levels(0x50005);
        assert_eq!((now[0].0, now[1].0), (Level::Problem, Level::Problem));
        assert!(now[0].1.contains("under-voltage now") && now[1].1.contains("(throttled)"), "{now:?}");
        let before = levels(0x80000);
        assert_eq!((before.len(), before[0].0), (1, Level::Note));
        assert!(before[0].1.contains("since the last boot (soft temperature limit)"), "{before:?}");
    }
}
