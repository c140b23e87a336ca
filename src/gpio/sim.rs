//! Lines in memory: for laptops, tests and boards whose pins nobody may touch.
//!
//! They behave as Endrpi's mock does, with one addition: an input can be driven from outside. As in the kernel's
//! gpio-sim the pull is the only drive there is, so setting a line's bias replaces what was simulated before.

use std::sync::Arc;
use std::time::Duration;

use super::lines::{GpioError, Hold, Lines, Role, Watcher};
use crate::types::line::{Bias, Direction, Edge, Level, LineState, Pin};

/// All of BCM 0 to 27; lives as long as the process.
pub struct Sim {
    lines: [Line; Pin::COUNT],
}

#[derive(Clone, Copy)]
struct Line {
    direction: Direction,
    /// After `active_low`, as everywhere.
    level: Level,
    bias: Bias,
    active_low: bool,
    /// How it was taken as an input.
    edges: Option<(Edge, Duration)>,
}

impl Sim {
    /// Every line a floating, low input, except those with a pull-up on the board: these are high.
    pub fn new() -> Sim {
        let (direction, level, bias) = (Direction::Input, Level::Low, Bias::Floating);
        let floating = Line { direction, level, bias, active_low: false, edges: None };
        let mut lines = [floating; Pin::COUNT];
        for pin in Pin::ALL.into_iter().filter(|pin| pin.has_fixed_pull_up()) {
            lines[index(pin)] = Line { level: Level::High, bias: Bias::Up, ..floating };
        }
        Sim { lines }
    }
}

impl Lines for Sim {
    fn name(&self) -> &'static str {
        "sim"
    }

    fn simulated(&self) -> bool {
        true
    }

    fn inspect(&mut self, pin: Pin) -> Result<LineState, GpioError> {
        let line = self.lines[index(pin)];
        Ok(LineState {
            direction: Some(line.direction),
            level: Some(line.level),
            bias: Some(line.bias),
            active_low: line.active_low,
            consumer: None,
            pwm: None,
        })
    }

    fn hold(&mut self, lines: &[(Pin, Hold)]) -> Result<(), GpioError> {
        for (pin, hold) in lines {
            self.lines[index(*pin)].set(*hold);
        }
        Ok(())
    }

    /// As on mainline kernels: a released output no longer drives.
    fn release(&mut self, pins: &[Pin]) {
        for pin in pins {
            let line = &mut self.lines[index(*pin)];
            (line.direction, line.edges) = (Direction::Input, None);
        }
    }

    fn simulate(&mut self, pin: Pin, level: Level) -> Result<(), GpioError> {
        let line = &mut self.lines[index(pin)];
        if line.direction == Direction::Output {
            return Err(GpioError::SimulatedOutput { pin });
        }
        line.level = level;
        Ok(())
    }

    fn reports_edges(&self, _pin: Pin) -> bool {
        false
    }

    fn debounces(&self) -> bool {
        true
    }

    fn watch(&mut self, _watcher: Arc<dyn Watcher>) -> std::io::Result<()> {
        Ok(())
    }

    fn stop(&mut self, _limit: Duration) {}
}

impl Line {
    fn set(&mut self, hold: Hold) {
        let edges = match hold.role {
            Role::Input { edge, debounce } => Some((edge, debounce)),
            Role::Output { .. } | Role::OutputAsIs => None,
        };
        // An input that is only looked at in another way is pulled as before, and somebody may be driving it.
        let same_pull = self.edges.is_some() && hold.bias == Some(self.bias);
        let is_same_input = same_pull && (edges, hold.active_low) != (self.edges, self.active_low);
        self.edges = edges;
        if hold.active_low != self.active_low {
            self.active_low = hold.active_low;
            self.level = self.level.inverted();
        }
        // The bias stays as it was last reported where nothing is said of it, as in Endrpi's mock.
        self.bias = hold.bias.unwrap_or(self.bias);
        match hold.role {
            Role::Input { .. } if is_same_input => {}
            Role::Input { .. } => {
                self.direction = Direction::Input;
                self.level = match (hold.bias, self.active_low) {
                    (Some(Bias::Up), false) | (Some(Bias::Down), true) => Level::High,
                    (Some(Bias::Down), false) | (Some(Bias::Up), true) => Level::Low,
                    _ => self.level,
                };
            }
            Role::Output { level } => {
                self.direction = Direction::Output;
                self.level = level;
            }
            Role::OutputAsIs => self.direction = Direction::Output,
        }
    }
}

fn index(pin: Pin) -> usize {
    usize::from(pin.number())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::line::Edge;

    fn pin(bcm: u8) -> Pin {
        Pin::new(bcm).expect("a BCM number below 28")
    }

    fn state(direction: Direction, level: Level, bias: Bias) -> LineState {
        LineState::new(direction, Some(level), Some(bias))
    }

    fn input(bias: Bias) -> Hold {
        let role = Role::Input { edge: Edge::Both, debounce: Duration::ZERO };
        Hold { active_low: false, bias: Some(bias), role }
    }

    fn output(level: Level) -> Hold {
        Hold { active_low: false, bias: None, role: Role::Output { level } }
    }

    #[test]
    fn lines_start_as_floating_low_inputs_except_the_i2c_pins() {
        let mut sim = Sim::new();
        for bcm in 0..28 {
            let expected = match bcm {
                2 | 3 => state(Direction::Input, Level::High, Bias::Up),
                _ => state(Direction::Input, Level::Low, Bias::Floating),
            };
            assert_eq!(sim.inspect(pin(bcm)), Ok(expected), "GPIO{bcm}");
        }
    }

    #[test]
    fn each_step_of_a_lines_life_leads_to_the_documented_state() {
        use Bias::{Down, Floating, Up};
        use Level::{High, Low};
        enum Step {
            Set(Hold),
            Drive(Level),
        }
        let input = |bias| Step::Set(input(bias));
        let output = |level| Step::Set(output(level));
        let table = [
            (input(Up), state(Direction::Input, High, Up)),
            (input(Floating), state(Direction::Input, High, Floating)),
            (input(Down), state(Direction::Input, Low, Down)),
            (output(High), state(Direction::Output, High, Down)),
            (output(Low), state(Direction::Output, Low, Down)),
            (output(High), state(Direction::Output, High, Down)),
            (input(Floating), state(Direction::Input, High, Floating)),
            (Step::Drive(Low), state(Direction::Input, Low, Floating)),
            (Step::Drive(High), state(Direction::Input, High, Floating)),
            (input(Floating), state(Direction::Input, High, Floating)),
            (input(Down), state(Direction::Input, Low, Down)),
            (Step::Drive(High), state(Direction::Input, High, Down)),
            (input(Down), state(Direction::Input, Low, Down)),
        ];
        let mut sim = Sim::new();
        for (number, (step, expected)) in table.into_iter().enumerate() {
            match step {
                Step::Set(setting) => sim.hold(&[(pin(17), setting)]).expect("the simulation takes every setting"),
                Step::Drive(level) => sim.simulate(pin(17), level).expect("an input can be driven"),
            }
            assert_eq!(sim.inspect(pin(17)), Ok(expected), "step {number}");
        }
    }

    #[test]
    fn an_output_cannot_be_driven_from_outside() {
        let mut sim = Sim::new();
        sim.hold(&[(pin(4), output(Level::Low))]).expect("a valid setting");
        assert_eq!(sim.simulate(pin(4), Level::High), Err(GpioError::SimulatedOutput { pin: pin(4) }));
        assert_eq!(sim.inspect(pin(4)), Ok(state(Direction::Output, Level::Low, Bias::Floating)));
    }
}
