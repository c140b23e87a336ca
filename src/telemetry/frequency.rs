//! Clock rates of the ARM cores and of the VideoCore ("core").
//!
//! | | |
//! |---|---|
//! | source 1 | firmware mailbox: measured |
//! | source 2 | ARM only: `sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq`, in kHz |
//! | source 3 | `vcgencmd measure_clock arm`, `… core`: measured; `frequency(48)=600169920` |
//! | unit | Hz |
//! | range | above 0; the firmware says 0 of a clock it does not know |
//! | failure | `Query` with the clock's name: nobody could be asked · `Parse`: an answer made no sense |
//!
//! Source 2 is the rate that the kernel asked for. On a Pi with under-voltage the firmware gives less than that
//! and tells only those who ask it; source 2 is still worth more than a figure that is some seconds old, on
//! the machines where only these two are left.

use std::path::Path;

use super::firmware::{Answer, Firmware, Question};
use super::kept_file::KeptFile;
use super::source::{Said, first_of};
use crate::types::reading::{Frequency, Reading};

const ARM: &str = "system ARM frequency";
const CORE: &str = "system core frequency";
/// Endrpi says this for both.
const PARSE: &str = "system frequency";

/// cpufreq below a root.
pub struct Source {
    cpufreq: KeptFile,
}

impl Source {
    pub fn new(root: &Path) -> Source {
        Source { cpufreq: KeptFile::new(root.join("sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq")) }
    }

    /// Both clocks, or none.
    pub fn read(&self, firmware: &Firmware) -> Reading<Frequency> {
        let arm_hertz = first_of(
            ARM,
            PARSE,
            &[
                &|| Said::from_answer(firmware.mailbox.ask(Question::ArmClock), from_firmware),
                &|| self.requested(),
                &|| Said::from_answer(firmware.vcgencmd.ask(Question::ArmClock), from_firmware),
            ],
        )?;
        let core_hertz = first_of(
            CORE,
            PARSE,
            &[&|| Said::from_answer(firmware.mailbox.ask(Question::CoreClock), from_firmware), &|| {
                Said::from_answer(firmware.vcgencmd.ask(Question::CoreClock), from_firmware)
            }],
        )?;
        Ok(Frequency { arm_hertz, core_hertz })
    }

    fn requested(&self) -> Said<f64> {
        let mut buffer = [0; 32];
        self.cpufreq.read(&mut buffer).map_or(Said::Nothing, |text| Said::parsed(parse_cpufreq(text)))
    }
}

/// `1500000` → 1.5 GHz
fn parse_cpufreq(text: &[u8]) -> Option<f64> {
    rate(std::str::from_utf8(text).ok()?.trim_end()).map(|kilohertz| kilohertz * 1000.0)
}

fn from_firmware(answer: Answer) -> Option<f64> {
    match answer {
        Answer::Number(hertz) => (hertz > 0).then(|| f64::from(hertz)),
        Answer::Text(text) => parse_measure_clock(&text),
    }
}

/// `frequency(48)=600169920` → 600169920 Hz; the number of the clock has one or two digits and differs between
/// firmwares, so it is not compared.
fn parse_measure_clock(text: &str) -> Option<f64> {
    let (clock, hertz) = text.strip_prefix("frequency(")?.split_once(")=")?;
    let known = (1..=2).contains(&clock.len()) && clock.bytes().all(|byte| byte.is_ascii_digit());
    if known { rate(hertz) } else { None }
}

/// A whole number above 0, as far as a clock's rate may go.
fn rate(digits: &str) -> Option<f64> {
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    // 64 bits, because a rate in Hz may exceed 32; no rate comes near the 53 bits that a float holds exactly.
    digits.parse().ok().filter(|number: &u64| *number > 0).map(|number| number as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::testing::{Tree, VCGENCMD, eventually, settings};
    use crate::types::reading::Missing;

    const CPUFREQ: &str = "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq";

    fn read(tree: &Tree) -> Reading<Frequency> {
        Source::new(tree.path()).read(&Firmware::new(tree.path(), &settings(None)))
    }

    #[test]
    fn vcgencmd_prints_hertz() {
        assert_eq!(parse_measure_clock("frequency(48)=600169920"), Some(600_169_920.0));
        assert_eq!(parse_measure_clock("frequency(0)=5000000000"), Some(5e9));
        for text in [
            "",
            "frequency(48)=",
            "frequency()=5",
            "frequency(123)=5",
            "frequency(a)=5",
            "frequency(1)=0",
            "frequency(1)=-5",
            "frequency(1)=5.0",
            "frequency(1)=5 ",
            "frequency(1)5",
            "(1)=5",
            "frequency(1)=99999999999999999999",
            "error=2 error_msg=\"Invalid arguments\"",
        ] {
            assert_eq!(parse_measure_clock(text), None, "{text:?}");
        }
        assert_eq!(from_firmware(Answer::Number(1_500_398_464)), Some(1_500_398_464.0));
        assert_eq!(from_firmware(Answer::Number(0)), None);
    }

    #[test]
    fn cpufreq_prints_kilohertz() {
        assert_eq!(parse_cpufreq(b"1500000\n"), Some(1.5e9));
        assert_eq!(parse_cpufreq(b"<unknown>\n"), None);
        assert_eq!(parse_cpufreq(b"\n"), None);
        assert_eq!(parse_cpufreq(b"0\n"), None);
    }

    #[test]
    fn each_clock_has_its_own_reason_to_be_missing() {
        let tree = Tree::new();
        assert_eq!(read(&tree), Err(Missing::Query("system ARM frequency")));
        tree.write(CPUFREQ, "1500000\n");
        assert_eq!(read(&tree), Err(Missing::Query("system core frequency")));
        tree.write(CPUFREQ, "fast\n");
        assert_eq!(read(&tree), Err(Missing::Parse("system frequency")));
    }

    #[test]
    fn the_core_comes_from_vcgencmd_and_the_arm_from_cpufreq_where_there_is_one() {
        let tree = Tree::new();
        let vcgencmd = tree.script("vcgencmd", VCGENCMD);
        let core_hertz = 250_000_496.0;
        let frequency = Frequency { arm_hertz: 600_169_920.0, core_hertz };
        let source = Source::new(tree.path());
        let firmware = Firmware::new(tree.path(), &settings(Some(vcgencmd)));
        eventually(Ok(frequency), || source.read(&firmware));
        tree.write(CPUFREQ, "1500000\n");
        assert_eq!(source.read(&firmware), Ok(Frequency { arm_hertz: 1.5e9, core_hertz }));
    }
}
