//! What the configuration says of the lines.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::types::line::{Bias, Duty, Edge, Level, Pin};

/// GPIO.
#[derive(Clone, Debug)]
pub struct Gpio {
    pub backend: Backend,
    /// The chip's label, or the name of a line it has; `None` for the ones Raspberry Pis have.
    pub chip: Option<String>,
    /// Lines by their configured names; each name is the `resource` of its line's events. A line has one name. A line
    /// that only stands in somebody's `interlock` is here as well, by the name it has anyway (`GPIO17`).
    pub lines: BTreeMap<String, Line>,
    /// Lines clients may touch; `None` for all. Sorted.
    pub allow: Option<Vec<Pin>>,
    /// Lines clients may not touch, whatever `allow` says. Sorted.
    pub deny: Vec<Pin>,
    /// Edges of one line told one by one within 100 ms; what comes beyond is told as a number. 0 for all.
    pub edge_events: usize,
    /// How the sysfs backend, which has no bias of its own, may set one.
    pub sysfs_bias: SysfsBias,
    /// The fastest PWM made by software, in hertz, 1 to 1,000.
    pub software_pwm_limit: usize,
}

impl Gpio {
    /// Whether clients may take or set this line.
    pub fn may_touch(&self, pin: Pin) -> bool {
        !self.deny.contains(&pin) && self.allow.as_ref().is_none_or(|allow| allow.contains(&pin))
    }

    /// A line's settings and name, if it is configured.
    pub fn line(&self, pin: Pin) -> Option<(&str, &Line)> {
        self.lines.iter().find(|(_, line)| line.pin == pin).map(|(name, line)| (name.as_str(), line))
    }
}

/// Which GPIO backend to use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    Auto,
    Cdev,
    Sysfs,
    Sim,
}

/// How to set a bias where the kernel interface has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SysfsBias {
    /// Not at all: a request for one is an error.
    Refuse,
    /// A short request on the character device, whose bias stays after it.
    Cdev,
    /// The `pinctrl` program of Raspberry Pi OS.
    Pinctrl,
}

/// One line, as `[gpio.pins.NAME]` says. All levels are after `active_low`: high is "on".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    pub pin: Pin,
    /// What the daemon makes of the line at start; `None` leaves it alone until a client asks.
    pub mode: Option<Mode>,
    /// `None` leaves it as it is.
    pub bias: Option<Bias>,
    pub active_low: bool,
    /// How long a level must hold before it counts, up to 10 s; zero for none.
    pub debounce: Duration,
    pub edge: Edge,
    pub initial: Initial,
    pub safe: Safe,
    /// How long after its last writer's connection ended the line goes to its safe state; `None` for never.
    pub on_disconnect: Option<Duration>,
    /// The longest time it may stay on; then it goes to its safe state, which is off.
    pub max_on: Option<Duration>,
    /// The shortest time it stays off; zero for none.
    pub min_off: Duration,
    /// Lines that may not be on while this one is. Sorted, and symmetric: each of them has this line in its own.
    pub interlock: Vec<Pin>,
    /// Whether the last level is kept in the state directory, and is the initial one at the next start; `initial`
    /// counts while nothing has been kept. Only with [`Mode::Output`].
    pub persist: bool,
    /// For [`Mode::Pwm`], in hertz, 1 to 40,000.
    pub frequency: usize,
    /// For [`Mode::Pwm`], at start.
    pub duty: Duty,
}

impl Line {
    /// A line nobody has said anything about.
    pub fn plain(pin: Pin) -> Line {
        Line {
            pin,
            mode: None,
            bias: None,
            active_low: false,
            debounce: Duration::ZERO,
            edge: Edge::Both,
            initial: Initial::AsIs,
            safe: Safe::Level(Level::Low),
            on_disconnect: None,
            max_on: None,
            min_off: Duration::ZERO,
            interlock: Vec::new(),
            persist: false,
            frequency: 100,
            duty: Duty::ZERO,
        }
    }
}

/// What a line is from the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Input,
    Output,
    Pwm,
}

impl Mode {
    /// The word in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Mode::Input => "input",
            Mode::Output => "output",
            Mode::Pwm => "pwm",
        }
    }
}

/// An output's first level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Initial {
    Level(Level),
    /// The one it has: an output keeps its level, an input is driven to what it reads.
    AsIs,
}

/// Where an output goes when nobody answers for it any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Safe {
    Level(Level),
    /// It stops driving.
    Input,
    /// It stays as it is.
    Hold,
}

impl Safe {
    /// Its word in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Safe::Level(level) => level.as_str(),
            Safe::Input => "input",
            Safe::Hold => "hold",
        }
    }
}
