//! What this machine says of itself when it connects.

use std::fs;
use std::net::IpAddr;
use std::path::Path;

use crate::telemetry::Telemetry;
use crate::types::fleet::NodeFacts;

/// Reads what can be read; the rest is missing. `own` is the address it reaches the hub from.
pub fn of_this_machine(root: &Path, telemetry: &Telemetry, own: Option<IpAddr>) -> NodeFacts {
    let platform = telemetry.platform().ok();
    let read = |name: &str| fs::read_to_string(root.join(name)).ok();
    let serial = read("proc/device-tree/serial-number")
        .or_else(|| line_of(&read("proc/cpuinfo")?, "Serial", ':'))
        .map(|serial| serial.trim_matches(['\0', ' ', '\n']).to_owned());
    NodeFacts {
        ip_address: own.filter(|ip| !ip.is_loopback()).map(|ip| ip.to_canonical().to_string()),
        mac_address: hardware_address(root),
        architecture: platform.as_ref().map(|platform| platform.machine.clone()),
        kernel_version: platform.as_ref().map(|platform| platform.os_release.clone()),
        model: platform.and_then(|platform| platform.model),
        serial_number: serial.filter(|serial| !serial.is_empty() && serial.len() <= 64),
        cpu_cores: std::thread::available_parallelism().ok().and_then(|cores| u32::try_from(cores.get()).ok()),
        memory: telemetry.memory().ok().map(|memory| memory.total_kib * 1024),
        os_version: line_of(&read("etc/os-release").unwrap_or_default(), "PRETTY_NAME", '='),
    }
}

/// What stands behind `name` and the separator, without quotes.
fn line_of(text: &str, name: &str, separator: char) -> Option<String> {
    let of_line = |line: &str| {
        let (key, value) = line.split_once(separator)?;
        (key.trim() == name).then(|| value.trim().trim_matches('"').to_owned())
    };
    text.lines().find_map(of_line)
}

/// That of the first interface by name that is up and has one: `end0` or `eth0` before `wlan0`, and no bridge's.
fn hardware_address(root: &Path) -> Option<String> {
    let mut names: Vec<_> =
        fs::read_dir(root.join("sys/class/net")).ok()?.flatten().map(|entry| entry.path()).collect();
    names.sort();
    names.iter().find_map(|interface| {
        let read = |name: &str| fs::read_to_string(interface.join(name)).ok();
        let address = read("address")?.trim().to_owned();
        let real = interface.join("device").exists() && read("operstate")?.trim() == "up";
        (real && address.len() == 17 && address != "00:00:00:00:00:00").then_some(address)
    })
}
