//! GPIO lines: their numbers, names, levels and settings.

/// A line of the 40-pin header's chip, by its BCM number, 0 to 27.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pin(u8);

/// The physical position (1 to 40) of each BCM number on the 40-pin header.
const HEADER_POSITION: [u8; 28] =
    [27, 28, 3, 5, 7, 29, 31, 26, 24, 21, 19, 23, 32, 33, 8, 10, 36, 11, 12, 35, 38, 40, 15, 16, 18, 22, 37, 13];

impl Pin {
    /// How many lines there are: BCM 0 to 27.
    pub const COUNT: usize = 28;

    /// The lines in the order `GET /pins` lists them: Endrpi's order, with GPIO8 (which Endrpi forgot) before
    /// GPIO7 as on the header, and without the EEPROM lines 0 and 1.
    pub const HEADER: [Pin; 26] = [
        Pin(2),
        Pin(3),
        Pin(4),
        Pin(14),
        Pin(15),
        Pin(17),
        Pin(18),
        Pin(27),
        Pin(22),
        Pin(23),
        Pin(24),
        Pin(10),
        Pin(9),
        Pin(25),
        Pin(11),
        Pin(8),
        Pin(7),
        Pin(5),
        Pin(6),
        Pin(12),
        Pin(13),
        Pin(19),
        Pin(16),
        Pin(26),
        Pin(20),
        Pin(21),
    ];

    /// The line with this BCM number, if there is one.
    pub const fn new(bcm: u8) -> Option<Pin> {
        if (bcm as usize) < Pin::COUNT { Some(Pin(bcm)) } else { None }
    }

    /// The BCM number, 0 to 27.
    pub const fn number(self) -> u8 {
        self.0
    }

    /// Reads `GPIO17`, `17` or a physical `pin11`; case matters, as in Endrpi.
    pub fn parse(text: &str) -> Option<Pin> {
        if let Some(position) = text.strip_prefix("pin") {
            let position = parse_plain(position)?;
            let bcm = HEADER_POSITION.iter().position(|p| *p == position)?;
            return Pin::new(u8::try_from(bcm).ok()?);
        }
        Pin::new(parse_plain(text.strip_prefix("GPIO").unwrap_or(text))?)
    }
}

/// A number without sign, leading zeros or spaces, so that each line has exactly one numeric name.
fn parse_plain(text: &str) -> Option<u8> {
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if plain { text.parse().ok() } else { None }
}

impl std::fmt::Display for Pin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "GPIO{}", self.0)
    }
}

/// The level of a line as the kernel reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    Low,
    High,
}

impl Level {
    /// High for `true`.
    pub const fn from_bool(high: bool) -> Level {
        if high { Level::High } else { Level::Low }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Level::Low => "low",
            Level::High => "high",
        }
    }
}

/// The resistor inside the chip that gives an undriven input its level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bias {
    Up,
    Down,
    Floating,
}

/// What a line is used as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    Input,
    Output,
}

/// What is known of a line, without having touched it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineState {
    pub direction: Direction,
    /// `None` where reading the level would need a request for the line.
    pub level: Option<Level>,
    /// `None` where the backend cannot tell.
    pub bias: Option<Bias>,
}

/// What a client wants a line to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineSetting {
    Input { bias: Bias },
    Output { level: Level },
}

/// Which backend drives the lines, so that no answer about pins can pass for more than it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackendInfo {
    /// The backend's name in the configuration, e.g. `sim`.
    pub name: &'static str,
    /// Whether the lines exist in memory only.
    pub simulated: bool,
    /// Why this backend was chosen, in words for the operator.
    pub why: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_has_its_names_and_nothing_else_has_one() {
        assert_eq!(Pin::parse("GPIO17"), Pin::new(17));
        assert_eq!(Pin::parse("17"), Pin::new(17));
        assert_eq!(Pin::parse("pin11"), Pin::new(17));
        assert_eq!(Pin::parse("pin40"), Pin::new(21));
        for wrong in ["gpio17", "GPIO28", "28", "-1", "+1", "017", "", "GPIO", "pin1", "pin41", "pin", "GPIO 7", "256"]
        {
            assert_eq!(Pin::parse(wrong), None, "{wrong:?}");
        }
        for bcm in 0..28 {
            let pin = Pin::new(bcm).expect("in range");
            assert_eq!(Pin::parse(&pin.to_string()), Some(pin));
        }
    }
}
