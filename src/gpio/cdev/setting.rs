//! One line as the kernel is asked for it, and how many settings fit into one request.

use std::time::Duration;

use gpiocdev::line::{Config, EdgeDetection, EventClock, Offset, Value};
use gpiocdev::request;

use crate::types::line::{Bias, Direction, Edge, Level};

/// How many different settings a request may have beside its most frequent one: `GPIO_V2_LINE_NUM_ATTRS_MAX`.
const ATTRIBUTES: usize = 10;

/// Everything the kernel is told of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setting {
    pub active_low: bool,
    pub bias: Option<Bias>,
    pub role: Role,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Taken without touching it.
    AsIs,
    Input {
        edge: Edge,
        debounce: Duration,
    },
    Output {
        level: Level,
    },
}

impl Setting {
    /// Whether only the level tells these two apart.
    pub fn same_but_for_the_level(&self, other: &Setting) -> bool {
        let levelled = |setting: &Setting| match setting.role {
            Role::Output { .. } => Setting { role: Role::Output { level: Level::Low }, ..*setting },
            _ => *setting,
        };
        levelled(self) == levelled(other)
    }

    pub fn level(&self) -> Option<Level> {
        match self.role {
            Role::Output { level } => Some(level),
            _ => None,
        }
    }

    pub fn with_level(self, level: Level) -> Setting {
        Setting { role: Role::Output { level }, ..self }
    }

    pub fn edge(&self) -> Edge {
        match self.role {
            Role::Input { edge, .. } => edge,
            _ => Edge::None,
        }
    }

    pub fn debounce(&self) -> Duration {
        match self.role {
            Role::Input { debounce, .. } => debounce,
            _ => Duration::ZERO,
        }
    }

    pub fn without_debounce(self) -> Setting {
        match self.role {
            Role::Input { edge, .. } => Setting { role: Role::Input { edge, debounce: Duration::ZERO }, ..self },
            _ => self,
        }
    }

    /// The kernel debounces with interrupts, so this is without debounce too.
    pub fn without_edges(self) -> Setting {
        match self.role {
            Role::Input { .. } => Setting { role: Role::Input { edge: Edge::None, debounce: Duration::ZERO }, ..self },
            _ => self,
        }
    }

    /// A line nobody wants, in a request that still has others.
    pub fn parked(self) -> Setting {
        Setting { role: Role::Input { edge: Edge::None, debounce: Duration::ZERO }, ..self }
    }

    fn line_config(&self) -> Config {
        let mut config = Config { active_low: self.active_low, ..Config::default() };
        match self.role {
            // The kernel refuses a bias without a direction.
            Role::AsIs => return config,
            Role::Input { edge, debounce } => {
                config.direction = Some(gpiocdev::line::Direction::Input);
                config.edge_detection = match edge {
                    Edge::None => None,
                    Edge::Rising => Some(EdgeDetection::RisingEdge),
                    Edge::Falling => Some(EdgeDetection::FallingEdge),
                    Edge::Both => Some(EdgeDetection::BothEdges),
                };
                config.event_clock = Some(EventClock::Monotonic);
                config.debounce_period = (!debounce.is_zero()).then_some(debounce);
            }
            Role::Output { level } => {
                config.direction = Some(gpiocdev::line::Direction::Output);
                config.value = Some(value(level));
            }
        }
        config.bias = self.bias.map(|bias| match bias {
            Bias::Up => gpiocdev::line::Bias::PullUp,
            Bias::Down => gpiocdev::line::Bias::PullDown,
            Bias::Floating => gpiocdev::line::Bias::Disabled,
        });
        config
    }
}

/// A request's configuration.
pub fn config(lines: impl IntoIterator<Item = (Offset, Setting)>) -> request::Config {
    let mut config = request::Config::default();
    for (offset, setting) in lines {
        config.with_line(offset).from_line_config(&setting.line_config());
    }
    config
}

/// Whether one request can carry all these settings, now and when those taken as they are have become outputs.
pub fn fits(settings: &[Setting]) -> bool {
    let as_outputs: Vec<Setting> = settings.iter().map(as_output).collect();
    attributes(settings) <= ATTRIBUTES && attributes(&as_outputs) <= ATTRIBUTES
}

fn as_output(setting: &Setting) -> Setting {
    if setting.role == Role::AsIs { setting.with_level(Level::High) } else { *setting }
}

/// As gpiocdev counts them: different flags beyond the first, different debounce times, and the levels together.
fn attributes(settings: &[Setting]) -> usize {
    let flags = settings.iter().map(|setting| match setting.role {
        Role::AsIs => Setting { bias: None, ..*setting },
        Role::Input { .. } => setting.without_debounce(),
        Role::Output { .. } => setting.with_level(Level::Low),
    });
    let debounces = settings.iter().map(Setting::debounce).filter(|time| !time.is_zero());
    let levels = settings.iter().any(|setting| setting.level() == Some(Level::High));
    distinct(flags).saturating_sub(1) + distinct(debounces) + usize::from(levels)
}

fn distinct<T: PartialEq>(values: impl Iterator<Item = T>) -> usize {
    let mut found = Vec::new();
    for value in values {
        if !found.contains(&value) {
            found.push(value);
        }
    }
    found.len()
}

pub fn value(level: Level) -> Value {
    if level == Level::High { Value::Active } else { Value::Inactive }
}

pub fn level(value: Value) -> Level {
    Level::from_bool(value == Value::Active)
}

pub fn bias(bias: gpiocdev::line::Bias) -> Bias {
    match bias {
        gpiocdev::line::Bias::PullUp => Bias::Up,
        gpiocdev::line::Bias::PullDown => Bias::Down,
        gpiocdev::line::Bias::Disabled => Bias::Floating,
    }
}

pub fn direction(direction: gpiocdev::line::Direction) -> Direction {
    match direction {
        gpiocdev::line::Direction::Input => Direction::Input,
        gpiocdev::line::Direction::Output => Direction::Output,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(millis: u64) -> Setting {
        let role = Role::Input { edge: Edge::Both, debounce: Duration::from_millis(millis) };
        Setting { active_low: false, bias: None, role }
    }

    #[test]
    fn a_request_has_room_for_ten_settings_beside_its_most_frequent_one() {
        let debounced = |count: u64| (1..=count).map(input).collect::<Vec<_>>();
        assert!(fits(&debounced(10)));
        assert!(!fits(&debounced(11)));
        let high = input(0).with_level(Level::High);
        let low = high.with_level(Level::Low);
        // The outputs' flags and, where one of them is high, the levels.
        assert!(fits(&[debounced(9), vec![low]].concat()));
        assert!(!fits(&[debounced(9), vec![high]].concat()));
        assert!(fits(&[debounced(8), vec![high, low, high]].concat()));
        let as_is = Setting { role: Role::AsIs, ..high };
        assert!(!fits(&[debounced(9), vec![as_is]].concat()), "it will be an output");
        assert!(fits(&[input(5); 28]));
    }

    #[test]
    fn only_a_level_makes_two_outputs_differ() {
        let low = input(0).with_level(Level::Low);
        assert!(low.same_but_for_the_level(&low.with_level(Level::High)));
        assert!(!low.same_but_for_the_level(&Setting { active_low: true, ..low }));
        assert!(!low.same_but_for_the_level(&input(0)));
        assert!(!input(0).same_but_for_the_level(&input(1)));
    }
}
