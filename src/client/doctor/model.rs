//! What machine this is.

use super::Patient;
use super::report::Finding;
use crate::telemetry::Telemetry;

pub fn look(patient: &Patient) -> Vec<Finding> {
    let telemetry = Telemetry::new(&patient.config.root, &patient.config.telemetry);
    let Ok(platform) = telemetry.platform() else {
        return vec![Finding::note("model", "unknown: the kernel does not say what machine this is", "")];
    };
    let kernel = format!("Linux {} on {}", platform.os_release, platform.machine);
    vec![match platform.model {
        Some(model) if model.contains("Raspberry Pi") => Finding::ok("model", format!("{model}, {kernel}")),
        Some(model) => Finding::ok("model", format!("{model}, which is no Raspberry Pi; {kernel}")),
        None => Finding::ok("model", format!("no Raspberry Pi (there is no device tree with a model); {kernel}")),
    }]
}
