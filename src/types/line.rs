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

    /// Every line, by number.
    pub const ALL: [Pin; Pin::COUNT] = {
        let mut all = [Pin(0); Pin::COUNT];
        let mut bcm = 0;
        while bcm < Pin::COUNT {
            all[bcm] = Pin(bcm as u8);
            bcm += 1;
        }
        all
    };

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

    /// Whether its pull-up is a resistor on the board, on every model: the I²C bus's lines.
    pub const fn has_fixed_pull_up(self) -> bool {
        matches!(self.0, 2 | 3)
    }

    /// Whether some model's PWM block reaches it: 12, 13, 18 and 19 on all of them, 14 and 15 on RP1 as well.
    pub const fn may_have_hardware_pwm(self) -> bool {
        matches!(self.0, 12..=15 | 18 | 19)
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

    pub const fn inverted(self) -> Level {
        match self {
            Level::Low => Level::High,
            Level::High => Level::Low,
        }
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

/// Which changes of a line's level are reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edge {
    None,
    Rising,
    Falling,
    Both,
}

impl Edge {
    /// Whether a change to `level` is one of these.
    pub fn includes(self, level: Level) -> bool {
        match self {
            Edge::None => false,
            Edge::Rising => level == Level::High,
            Edge::Falling => level == Level::Low,
            Edge::Both => true,
        }
    }
}

/// The share of time a PWM output is high, in parts per million: 0 to 1,000,000.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Duty(u32);

impl Duty {
    pub const ZERO: Duty = Duty(0);
    pub const FULL: Duty = Duty(1_000_000);

    /// From a fraction, 0.0 to 1.0; `None` outside, and for what is no number.
    pub fn from_fraction(fraction: f64) -> Option<Duty> {
        (0.0..=1.0).contains(&fraction).then(|| Duty((fraction * 1e6).round() as u32))
    }

    pub fn fraction(self) -> f64 {
        f64::from(self.0) / 1e6
    }

    /// The share of time it is low.
    pub fn inverted(self) -> Duty {
        Duty(Duty::FULL.0 - self.0)
    }

    /// In whole percent, rounded, as Pi-Controller's events have it.
    pub fn percent(self) -> u8 {
        u8::try_from((self.0 + 5_000) / 10_000).unwrap_or(100)
    }

    /// This share of a period.
    pub fn of(self, period: std::time::Duration) -> std::time::Duration {
        std::time::Duration::from_nanos((period.as_nanos() * u128::from(self.0) / 1_000_000) as u64)
    }
}

/// What makes a PWM signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PwmSource {
    /// A PWM block of the chip, by way of `/sys/class/pwm`.
    Hardware,
    /// A thread that toggles the line: jitters as the scheduler does.
    Software,
}

/// A PWM signal as it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pwm {
    /// In hertz.
    pub frequency: f64,
    pub duty: Duty,
    pub source: PwmSource,
}

/// What is known of a line, without having touched it.
#[derive(Clone, Debug, PartialEq)]
pub struct LineState {
    /// `None` where the backend cannot tell without taking the line.
    pub direction: Option<Direction>,
    /// After `active_low`: high is "on". `None` where reading the level would need a request for the line.
    pub level: Option<Level>,
    /// `None` where the backend cannot tell.
    pub bias: Option<Bias>,
    pub active_low: bool,
    /// Who else holds the line, as the kernel names it.
    pub consumer: Option<String>,
    pub pwm: Option<Pwm>,
}

impl LineState {
    /// A line nobody else holds, without any inversion.
    pub fn new(direction: Direction, level: Option<Level>, bias: Option<Bias>) -> LineState {
        LineState { direction: Some(direction), level, bias, active_low: false, consumer: None, pwm: None }
    }
}

/// What a client wants a line to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineSetting {
    Input {
        bias: Bias,
    },
    Output {
        level: Level,
    },
    /// Neither off nor on: a duty for a line configured for PWM, simply high for any other.
    Fraction {
        duty: Duty,
    },
}

impl LineSetting {
    /// What an output's setting means as a duty; `None` for an input.
    pub fn duty(self) -> Option<Duty> {
        match self {
            LineSetting::Input { .. } => None,
            LineSetting::Output { level: Level::Low } => Some(Duty::ZERO),
            LineSetting::Output { level: Level::High } => Some(Duty::FULL),
            LineSetting::Fraction { duty } => Some(duty),
        }
    }
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
