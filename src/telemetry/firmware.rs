//! What the firmware can be asked, and the two ways to ask it.
//!
//! Both ways know the same commands in the same words, so a quantity parses one kind of text wherever it came
//! from; `/dev/vcio` also has numbers.

use std::path::Path;

use super::mailbox::Mailbox;
use super::vcgencmd::Vcgencmd;
use crate::config;

/// A question to the VideoCore firmware.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// The throttling flags.
    Throttled,
    /// The measured rate of the ARM cores' clock.
    ArmClock,
    /// The measured rate of the VideoCore's clock.
    CoreClock,
    /// The temperature of the system on chip.
    Temperature,
}

impl Question {
    pub const ALL: [Question; 4] =
        [Question::Throttled, Question::ArmClock, Question::CoreClock, Question::Temperature];

    /// The words for `vcgencmd`.
    pub fn command(self) -> &'static str {
        match self {
            Question::Throttled => "get_throttled",
            Question::ArmClock => "measure_clock arm",
            Question::CoreClock => "measure_clock core",
            Question::Temperature => "measure_temp",
        }
    }
}

/// The firmware's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Flag bits, Hz or thousandths of a °C.
    Number(u32),
    /// What `vcgencmd` prints, without the end of the line.
    Text(String),
}

/// The ways to the firmware.
pub struct Firmware {
    pub mailbox: Mailbox,
    pub vcgencmd: Vcgencmd,
}

impl Firmware {
    /// Opens and starts nothing yet.
    pub fn new(root: &Path, settings: &config::Telemetry) -> Firmware {
        Firmware { mailbox: Mailbox::new(root), vcgencmd: Vcgencmd::new(root, settings) }
    }
}
