//! Lines in memory: for laptops, tests and boards whose pins nobody may touch.
//!
//! They behave as Endrpi's mock does, with one addition: an input can be driven from outside. As in the kernel's
//! gpio-sim the pull is the only drive there is, so setting a line's bias replaces what was simulated before.

use super::lines::{GpioError, Lines};
use crate::types::line::{Bias, Direction, Level, LineSetting, LineState, Pin};

/// All of BCM 0 to 27; lives as long as the process.
pub struct Sim {
    lines: [Line; Pin::COUNT],
}

#[derive(Clone, Copy)]
struct Line {
    direction: Direction,
    level: Level,
    bias: Bias,
}

impl Sim {
    /// Every line a floating, low input, except those with a pull-up on the board: these are high.
    pub fn new() -> Sim {
        let mut lines = [Line { direction: Direction::Input, level: Level::Low, bias: Bias::Floating }; Pin::COUNT];
        for pin in super::FIXED_PULL_UPS {
            lines[index(pin)] = Line { direction: Direction::Input, level: Level::High, bias: Bias::Up };
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
        Ok(LineState { direction: line.direction, level: Some(line.level), bias: Some(line.bias) })
    }

    fn apply(&mut self, settings: &[(Pin, LineSetting)]) -> Result<(), GpioError> {
        for (pin, setting) in settings {
            self.lines[index(*pin)].set(*setting);
        }
        Ok(())
    }

    fn simulate(&mut self, pin: Pin, level: Level) -> Result<(), GpioError> {
        let line = &mut self.lines[index(pin)];
        if line.direction == Direction::Output {
            return Err(GpioError::SimulatedOutput { pin });
        }
        line.level = level;
        Ok(())
    }
}

impl Line {
    fn set(&mut self, setting: LineSetting) {
        match setting {
            LineSetting::Input { bias } => {
                self.direction = Direction::Input;
                self.bias = bias;
                self.level = match bias {
                    Bias::Up => Level::High,
                    Bias::Down => Level::Low,
                    Bias::Floating => self.level,
                };
            }
            // The bias stays as it was last reported, as in Endrpi's mock.
            LineSetting::Output { level } => {
                self.direction = Direction::Output;
                self.level = level;
            }
        }
    }
}

fn index(pin: Pin) -> usize {
    usize::from(pin.number())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pin(bcm: u8) -> Pin {
        Pin::new(bcm).expect("a BCM number below 28")
    }

    fn state(direction: Direction, level: Level, bias: Bias) -> LineState {
        LineState { direction, level: Some(level), bias: Some(bias) }
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
            Set(LineSetting),
            Drive(Level),
        }
        let input = |bias| Step::Set(LineSetting::Input { bias });
        let output = |level| Step::Set(LineSetting::Output { level });
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
                Step::Set(setting) => sim.apply(&[(pin(17), setting)]).expect("the simulation takes every setting"),
                Step::Drive(level) => sim.simulate(pin(17), level).expect("an input can be driven"),
            }
            assert_eq!(sim.inspect(pin(17)), Ok(expected), "step {number}");
        }
    }

    #[test]
    fn an_output_cannot_be_driven_from_outside() {
        let mut sim = Sim::new();
        sim.apply(&[(pin(4), LineSetting::Output { level: Level::Low })]).expect("a valid setting");
        assert_eq!(sim.simulate(pin(4), Level::High), Err(GpioError::SimulatedOutput { pin: pin(4) }));
        assert_eq!(sim.inspect(pin(4)), Ok(state(Direction::Output, Level::Low, Bias::Floating)));
    }
}
