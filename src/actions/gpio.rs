//! What clients may do with the lines.

use crate::gpio::{Gpio, GpioError};
use crate::types::caller::Caller;
use crate::types::line::{Level, LineSetting, LineState, Pin};
use crate::types::output::LineReport;

/// The lines' states under the names they were asked by.
///
/// # Errors
/// That of the first line that cannot be read.
pub fn read(gpio: &Gpio, caller: &Caller, pins: Vec<(String, Pin)>) -> Result<Vec<(String, LineState)>, GpioError> {
    let lines: Vec<Pin> = pins.iter().map(|(_, pin)| *pin).collect();
    may_read(caller, &lines)?;
    let states = gpio.read(&lines)?;
    Ok(pins.into_iter().map(|(name, _)| name).zip(states).collect())
}

/// All that is known of the lines, under the names they were asked by.
///
/// # Errors
/// That of the first line that cannot be read.
pub fn report(gpio: &Gpio, caller: &Caller, pins: Vec<(String, Pin)>) -> Result<Vec<(String, LineReport)>, GpioError> {
    let lines: Vec<Pin> = pins.iter().map(|(_, pin)| *pin).collect();
    may_read(caller, &lines)?;
    let reports = gpio.report(&lines)?;
    Ok(pins.into_iter().map(|(name, _)| name).zip(reports).collect())
}

/// The same of every line the chip has.
///
/// # Errors
/// That of the first line that cannot be read.
pub fn report_all(gpio: &Gpio, caller: &Caller) -> Result<Vec<(String, LineReport)>, GpioError> {
    may_read(caller, &Pin::ALL)?;
    present(Pin::ALL.into_iter(), |pin| gpio.report(&[pin]))
}

/// The header's lines in Endrpi's order, as far as the chip has them.
///
/// # Errors
/// That of the first line that cannot be read.
pub fn read_all(gpio: &Gpio, caller: &Caller) -> Result<Vec<(String, LineState)>, GpioError> {
    may_read(caller, &Pin::HEADER)?;
    present(Pin::HEADER.iter().copied(), |pin| gpio.read(&[pin]))
}

/// Whether the caller's key allows reading all of these lines.
///
/// # Errors
/// [`GpioError::Lacks`].
pub fn may_read(caller: &Caller, pins: &[Pin]) -> Result<(), GpioError> {
    match &caller.rights {
        Some(rights) => Ok(pins.iter().try_for_each(|pin| rights.read(*pin))?),
        None => Ok(()),
    }
}

/// Asks line by line: nobody has named a line that is not there, so it is no error here.
fn present<T>(
    pins: impl Iterator<Item = Pin>,
    ask: impl Fn(Pin) -> Result<Vec<T>, GpioError>,
) -> Result<Vec<(String, T)>, GpioError> {
    let mut found = Vec::with_capacity(Pin::COUNT);
    for pin in pins {
        match ask(pin) {
            Ok(answer) => found.extend(answer.into_iter().map(|answer| (pin.to_string(), answer))),
            Err(GpioError::Unsupported { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

/// Changes all the lines, or none.
///
/// # Errors
/// What is wrong with the first setting that cannot be.
pub fn update(gpio: &Gpio, caller: &Caller, settings: &[(Pin, LineSetting)]) -> Result<(), GpioError> {
    gpio.update(caller, settings)
}

/// Drives a simulated input.
///
/// # Errors
/// Where the line is an output, or real.
pub fn simulate(gpio: &Gpio, caller: &Caller, pin: Pin, level: Level) -> Result<(), GpioError> {
    gpio.simulate_input(caller, pin, level)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, Backend};
    use crate::gpio::{Places, Sinks};

    #[test]
    fn lines_answer_under_the_names_they_were_asked_by() {
        let settings = config::Gpio { backend: Backend::Sim, ..config::Gpio::default() };
        let places = Places { root: "/nonexistent".into(), state_dir: None };
        let sinks = Sinks::new(|_| {}, |_| true);
        let gpio = Gpio::new(&settings, &places, sinks).expect("the simulation always starts");
        let caller = Caller { id: None, name: "test".into(), rights: None };
        let pin = Pin::new(17).expect("a BCM number below 28");
        update(&gpio, &caller, &[(pin, LineSetting::Output { level: Level::High })]).expect("a valid setting");
        let states = read(&gpio, &caller, vec![("pin11".into(), pin), ("17".into(), pin)]).expect("the line exists");
        assert_eq!(states.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["pin11", "17"]);
        assert!(states.iter().all(|(_, state)| state.level == Some(Level::High)));

        let all = read_all(&gpio, &caller).expect("all lines exist");
        assert_eq!((all.len(), all[0].0.as_str(), all[25].0.as_str()), (26, "GPIO2", "GPIO21"));
        assert!(simulate(&gpio, &caller, pin, Level::Low).is_err());
    }
}
