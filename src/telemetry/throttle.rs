//! Throttling flags.
//!
//! | | |
//! |---|---|
//! | source 1 | firmware mailbox |
//! | source 2 | sysfs `get_throttled` of the firmware's device: hexadecimal without `0x` |
//! | source 3 | `vcgencmd get_throttled`: `throttled=0x50005` |
//! | source 4 | `sys/class/hwmon/hwmon*/in0_lcrit_alarm` of the monitor called `rpi_volt`: 0 or 1 |
//! | unit | flag bits: 0 under-voltage, 1 ARM frequency capped, 2 throttled, 3 soft temperature limit; 16–19 the same since boot |
//! | range | 20 bits |
//! | failure | `Query`: no source could be asked (no Raspberry Pi, or no permission) · `Parse`: those that answered made no sense |
//!
//! Source 2 is deprecated: Raspberry Pi kernels from 4.19 warn about its first use, once per boot, and those
//! since March 2025 no longer have it; the Pi 5 never had. It stays because the older kernels are in use and a file
//! costs less than a program. Source 4 is the last one because it knows one flag of eight: it says that there is
//! under-voltage, and must not hide what `vcgencmd` knows of the other seven.

use std::path::{Path, PathBuf};

use super::firmware::{Answer, Firmware, Question};
use super::kept_file::read_name;
use super::source::{Said, first_of};
use crate::types::reading::{Reading, Throttle};

const WHAT: &str = "system throttle status";

/// Where Raspberry Pi kernels have kept the file.
const SYSFS_PATHS: [&str; 3] = [
    "sys/devices/platform/soc/soc:firmware/get_throttled",
    "sys/devices/platform/soc@107c000000/soc@107c000000:firmware/get_throttled",
    "sys/devices/platform/axi/axi:firmware/get_throttled",
];

/// How many bits the flags take.
const BITS: usize = 20;
const MAX_HEX_DIGITS: usize = BITS / 4;

/// The throttling flags below a root.
pub struct Source {
    root: PathBuf,
}

impl Source {
    pub fn new(root: &Path) -> Source {
        Source { root: root.to_owned() }
    }

    /// Asks the firmware in all ways known.
    pub fn read(&self, firmware: &Firmware) -> Reading<Throttle> {
        first_of(
            WHAT,
            WHAT,
            &[
                &|| Said::from_answer(firmware.mailbox.ask(Question::Throttled), from_firmware),
                &|| Said::from_answer(self.sysfs(), |text| parse_hex(&text)),
                &|| Said::from_answer(firmware.vcgencmd.ask(Question::Throttled), from_firmware),
                &|| Said::from_answer(self.under_voltage_alarm(), |text| parse_alarm(&text)),
            ],
        )
    }

    fn sysfs(&self) -> Option<String> {
        SYSFS_PATHS.iter().find_map(|path| read_name(&self.root.join(path)).ok())
    }

    fn under_voltage_alarm(&self) -> Option<String> {
        std::fs::read_dir(self.root.join("sys/class/hwmon"))
            .ok()?
            .flatten()
            .map(|entry| entry.path())
            .find(|monitor| read_name(&monitor.join("name")).is_ok_and(|name| name == "rpi_volt"))
            .and_then(|monitor| read_name(&monitor.join("in0_lcrit_alarm")).ok())
    }
}

fn from_firmware(answer: Answer) -> Option<Throttle> {
    match answer {
        Answer::Number(bits) => (bits >> BITS == 0).then_some(Throttle { bits }),
        Answer::Text(text) => parse_hex(text.strip_prefix("throttled=0x")?),
    }
}

/// `50005`
fn parse_hex(digits: &str) -> Option<Throttle> {
    let plausible = (1..=MAX_HEX_DIGITS).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !plausible {
        return None;
    }
    u32::from_str_radix(digits, 16).ok().map(|bits| Throttle { bits })
}

/// `1` → under-voltage; the other flags are unknown and shown as not set.
fn parse_alarm(text: &str) -> Option<Throttle> {
    match text {
        "0" => Some(Throttle { bits: 0 }),
        "1" => Some(Throttle { bits: 1 }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::testing::{Tree, VCGENCMD, eventually, settings};
    use crate::types::reading::Missing;

    fn text(text: &str) -> Option<u32> {
        from_firmware(Answer::Text(text.to_owned())).map(|throttle| throttle.bits)
    }

    fn read(tree: &Tree) -> Reading<u32> {
        let firmware = Firmware::new(tree.path(), &settings(None));
        Source::new(tree.path()).read(&firmware).map(|throttle| throttle.bits)
    }

    #[test]
    fn one_to_five_hexadecimal_digits() {
        assert_eq!(text("throttled=0x0"), Some(0));
        assert_eq!(text("throttled=0x50005"), Some(0x50005));
        assert_eq!(text("throttled=0xE0008"), Some(0xe0008));
        for bad in [
            "",
            "throttled=",
            "throttled=0x",
            "throttled=50005",
            "throttled=0x500050",
            "throttled=0xg",
            "throttled=0x+1",
            "throttled=0x5 ",
            "Throttled=0x0",
            "error=1 error_msg=\"Command not registered\"",
        ] {
            assert_eq!(text(bad), None, "{bad:?}");
        }
        assert_eq!(from_firmware(Answer::Number(0x80008)), Some(Throttle { bits: 0x80008 }));
    }

    #[test]
    fn an_alarm_is_under_voltage() {
        assert_eq!(parse_alarm("0"), Some(Throttle { bits: 0 }));
        assert_eq!(parse_alarm("1"), Some(Throttle { bits: 1 }));
        assert_eq!(parse_alarm("2"), None);
        assert_eq!(parse_alarm(""), None);
    }

    #[test]
    fn sysfs_before_vcgencmd_before_hwmon() {
        let tree = Tree::new();
        let vcgencmd = tree.script("vcgencmd", VCGENCMD);
        assert_eq!(read(&tree), Err(Missing::Query(WHAT)));
        tree.write("sys/class/hwmon/hwmon0/name", "cpu_thermal\n");
        tree.write("sys/class/hwmon/hwmon1/name", "rpi_volt\n");
        tree.write("sys/class/hwmon/hwmon1/in0_lcrit_alarm", "1\n");
        assert_eq!(read(&tree), Ok(1));
        let source = Source::new(tree.path());
        let firmware = Firmware::new(tree.path(), &settings(Some(vcgencmd)));
        let bits = || source.read(&firmware).map(|throttle| throttle.bits);
        eventually(Ok(0x50005), bits);
        tree.write(SYSFS_PATHS[0], "80008\n");
        assert_eq!(bits(), Ok(0x80008));
    }

    #[test]
    fn nonsense_is_reported_if_nobody_else_knows() {
        let tree = Tree::new();
        tree.write(SYSFS_PATHS[0], "throttled\n");
        assert_eq!(read(&tree), Err(Missing::Parse(WHAT)));
    }
}
