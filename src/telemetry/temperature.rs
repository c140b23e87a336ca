//! Temperature of the system on chip.
//!
//! | | |
//! |---|---|
//! | source 1 | `sys/class/thermal/thermal_zone*/temp`, the zone chosen by its `type`, else `thermal_zone0` |
//! | source 2 | `sys/class/hwmon/hwmon*/temp1_input`, chosen by its `name` |
//! | source 3 | firmware: mailbox, then `vcgencmd measure_temp` (`temp=48.3'C`) |
//! | unit | °C; sources 1 and 2 and the mailbox speak in thousandths, `vcgencmd` in tenths |
//! | range | −55 to 150; a sensor that says otherwise is broken or not connected |
//! | failure | `Query`: no sensor could be read · `Parse`: those that could said nothing plausible |
//!
//! The number of a zone says nothing: it depends on the order in which drivers were loaded.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::firmware::{Answer, Firmware, Question};
use super::kept_file::{KeptFile, read_name};
use super::source::{Said, first_of};
use crate::types::reading::{Reading, Temperature};

const WHAT: &str = "system on chip temperature";

/// Thermal zones that measure the system on chip or the processor package, best first. Raspberry Pi kernels
/// have called theirs `bcm2835_thermal` and then `cpu-thermal`; Rockchip, Allwinner and others follow.
const ZONE_TYPES: [&str; 10] = [
    "cpu-thermal",
    "cpu_thermal",
    "bcm2835_thermal",
    "bcm2711_thermal",
    "soc-thermal",
    "soc_thermal",
    "package-thermal",
    "cpu0-thermal",
    "cpu-thermal-zone",
    "x86_pkg_temp",
];

/// Hardware monitors that do, best first.
const HWMON_NAMES: [&str; 7] =
    ["cpu_thermal", "bcm2835_thermal", "soc_thermal", "coretemp", "k10temp", "zenpower", "scpi_sensors"];

/// Thousandths of a °C that a sensor on a chip can measure.
const PLAUSIBLE: std::ops::RangeInclusive<i32> = -55_000..=150_000;

/// The sensors below a root.
pub struct Source {
    root: PathBuf,
    /// The sensor that answered last; looked for anew when it no longer does.
    chosen: Mutex<Option<Arc<KeptFile>>>,
}

impl Source {
    pub fn new(root: &Path) -> Source {
        Source { root: root.to_owned(), chosen: Mutex::new(None) }
    }

    /// Asks the sensors, then the firmware.
    pub fn read(&self, firmware: &Firmware) -> Reading<Temperature> {
        first_of(
            WHAT,
            WHAT,
            &[
                &|| self.sensor(),
                &|| Said::from_answer(firmware.mailbox.ask(Question::Temperature), from_firmware),
                &|| Said::from_answer(firmware.vcgencmd.ask(Question::Temperature), from_firmware),
            ],
        )
    }

    fn sensor(&self) -> Said<Temperature> {
        let chosen = self.chosen.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(sensor) = chosen
            && let Said::Value(temperature) = ask(&sensor)
        {
            return Said::Value(temperature);
        }
        let (chosen, said) = self.choose();
        *self.chosen.lock().unwrap_or_else(PoisonError::into_inner) = chosen;
        said
    }

    /// The first of the candidates that answers with a plausible value. Those that do not are not logged: where
    /// there is no sensor at all, this is done again for each reading.
    fn choose(&self) -> (Option<Arc<KeptFile>>, Said<Temperature>) {
        let mut said = Said::Nothing;
        for candidate in candidates(&self.root) {
            match Said::from_answer(read_name(&candidate).ok(), |text| parse(text.as_bytes())) {
                Said::Value(temperature) => {
                    log::debug!("temperature is read from {}", candidate.display());
                    return (Some(Arc::new(KeptFile::new(candidate))), Said::Value(temperature));
                }
                Said::Nonsense => said = Said::Nonsense,
                Said::Nothing => {}
            }
        }
        (None, said)
    }
}

fn ask(sensor: &KeptFile) -> Said<Temperature> {
    let mut buffer = [0; 32];
    sensor.read(&mut buffer).map_or(Said::Nothing, |text| Said::parsed(parse(text)))
}

/// The files that may hold the temperature, best first.
fn candidates(root: &Path) -> Vec<PathBuf> {
    let thermal = root.join("sys/class/thermal");
    let zones = ranked(&thermal, "thermal_zone", "type", &ZONE_TYPES);
    let monitors = ranked(&root.join("sys/class/hwmon"), "hwmon", "name", &HWMON_NAMES);
    zones
        .into_iter()
        .chain([thermal.join("thermal_zone0")])
        .map(|zone| zone.join("temp"))
        .chain(monitors.into_iter().map(|monitor| monitor.join("temp1_input")))
        .collect()
}

/// The entries of `directory` called `prefix` and a number whose `label` file holds one of `wanted`, in the
/// order of `wanted`; among equals the lowest number comes first.
fn ranked(directory: &Path, prefix: &str, label: &str, wanted: &[&str]) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
    let mut found: Vec<(usize, u32, PathBuf)> = entries
        .flatten()
        .filter_map(|entry| {
            let number = entry.file_name().to_str()?.strip_prefix(prefix)?.parse().ok()?;
            let name = read_name(&entry.path().join(label)).ok()?;
            let rank = wanted.iter().position(|wanted| *wanted == name)?;
            Some((rank, number, entry.path()))
        })
        .collect();
    found.sort();
    found.into_iter().map(|(_, _, path)| path).collect()
}

/// `48312` → 48.312 °C
fn parse(text: &[u8]) -> Option<Temperature> {
    plausible(std::str::from_utf8(text).ok()?.trim_end().parse().ok()?)
}

fn from_firmware(answer: Answer) -> Option<Temperature> {
    match answer {
        Answer::Number(thousandths) => plausible(i32::try_from(thousandths).ok()?),
        Answer::Text(text) => parse_measure_temp(&text),
    }
}

/// `temp=48.3'C` → 48.3 °C
fn parse_measure_temp(text: &str) -> Option<Temperature> {
    let number = text.strip_prefix("temp=")?.strip_suffix("'C")?;
    let (sign, magnitude) = number.strip_prefix('-').map_or((1, number), |magnitude| (-1, magnitude));
    let (whole, tenths) = magnitude.split_once('.')?;
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if tenths.len() != 1 || !digits(whole) || !digits(tenths) {
        return None;
    }
    let thousandths = whole.parse::<i32>().ok()?.checked_mul(1000)?.checked_add(tenths.parse::<i32>().ok()? * 100)?;
    plausible(sign * thousandths)
}

fn plausible(thousandths: i32) -> Option<Temperature> {
    PLAUSIBLE.contains(&thousandths).then(|| Temperature { celsius: f64::from(thousandths) / 1000.0 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::testing::{Tree, settings};
    use crate::types::reading::Missing;

    fn celsius(celsius: f64) -> Option<Temperature> {
        Some(Temperature { celsius })
    }

    fn read(tree: &Tree) -> Reading<Temperature> {
        Source::new(tree.path()).read(&Firmware::new(tree.path(), &settings(None)))
    }

    fn zone(tree: &Tree, number: u32, kind: &str, temp: &str) {
        tree.write(&format!("sys/class/thermal/thermal_zone{number}/type"), &format!("{kind}\n"));
        tree.write(&format!("sys/class/thermal/thermal_zone{number}/temp"), temp);
    }

    #[test]
    fn sensors_speak_in_thousandths() {
        assert_eq!(parse(b"48312\n"), celsius(48.312));
        assert_eq!(parse(b"-5000\n"), celsius(-5.0));
        assert_eq!(parse(b"0\n"), celsius(0.0));
        for text in ["", "\n", "48.3\n", "4831x\n", "0x10\n", "-274000\n", "150001\n", "99999999999\n"] {
            assert_eq!(parse(text.as_bytes()), None, "{text:?}");
        }
    }

    #[test]
    fn firmware_speaks_in_tenths() {
        assert_eq!(parse_measure_temp("temp=48.3'C"), celsius(48.3));
        assert_eq!(parse_measure_temp("temp=-0.5'C"), celsius(-0.5));
        for text in [
            "",
            "temp=",
            "temp=48'C",
            "temp=48.3",
            "48.3'C",
            "temp=4e1.3'C",
            "temp=nan'C",
            "temp=999.0'C",
            "temp=48.31'C",
            "temp=48.x'C",
            "temp=--5.0'C",
            "temp=.3'C",
            "error=1 error_msg=\"Command not registered\"",
        ] {
            assert_eq!(parse_measure_temp(text), None, "{text:?}");
        }
        assert_eq!(from_firmware(Answer::Number(48_312)), celsius(48.312));
        assert_eq!(from_firmware(Answer::Number(u32::MAX)), None);
    }

    #[test]
    fn the_zone_is_chosen_by_type() {
        let tree = Tree::new();
        zone(&tree, 0, "acpitz", "27800\n");
        zone(&tree, 2, "x86_pkg_temp", "51000\n");
        assert_eq!(read(&tree).ok(), celsius(51.0));
        zone(&tree, 11, "soc-thermal", "39000\n");
        zone(&tree, 10, "soc-thermal", "38000\n");
        assert_eq!(read(&tree).ok(), celsius(38.0), "a better type, and of two the lower number");
    }

    #[test]
    fn the_oldest_name_of_the_pis_zone_is_known() {
        let tree = Tree::new();
        zone(&tree, 0, "iwlwifi_1", "33000\n");
        zone(&tree, 1, "bcm2835_thermal", "41160\n");
        assert_eq!(read(&tree).ok(), celsius(41.16));
    }

    #[test]
    fn without_a_known_type_zone_0_counts_and_then_a_monitor() {
        let tree = Tree::new();
        tree.write("sys/class/hwmon/hwmon0/name", "nvme\n");
        tree.write("sys/class/hwmon/hwmon0/temp1_input", "30850\n");
        assert_eq!(read(&tree), Err(Missing::Query(WHAT)));
        tree.write("sys/class/hwmon/hwmon3/name", "k10temp\n");
        tree.write("sys/class/hwmon/hwmon3/temp1_input", "44250\n");
        assert_eq!(read(&tree).ok(), celsius(44.25));
        zone(&tree, 0, "acpitz", "27800\n");
        assert_eq!(read(&tree).ok(), celsius(27.8));
    }

    #[test]
    fn a_broken_sensor_gives_way_to_the_next_and_is_reported_if_there_is_none() {
        let tree = Tree::new();
        zone(&tree, 0, "cpu-thermal", "-274000\n");
        assert_eq!(read(&tree), Err(Missing::Parse(WHAT)));
        zone(&tree, 1, "soc-thermal", "40000\n");
        assert_eq!(read(&tree).ok(), celsius(40.0));
    }

    #[test]
    fn a_sensor_that_disappears_is_replaced() {
        let tree = Tree::new();
        zone(&tree, 0, "cpu-thermal", "41000\n");
        zone(&tree, 1, "soc-thermal", "42000\n");
        let source = Source::new(tree.path());
        let firmware = Firmware::new(tree.path(), &settings(None));
        assert_eq!(source.read(&firmware).ok(), celsius(41.0));
        zone(&tree, 0, "cpu-thermal", "");
        assert_eq!(source.read(&firmware).ok(), celsius(42.0));
    }
}
