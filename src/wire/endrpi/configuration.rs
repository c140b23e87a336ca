//! A PinConfiguration as a client sends it, over the WebSocket and in a PUT.

use serde_json::value::RawValue;

use super::{json, text};
use crate::types::line::{Bias, Duty, Level, LineSetting};

/// A configuration that is valid in itself. What an input or an output cannot do without may still be missing:
/// Endrpi reports that later than everything else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Configuration(Draft);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Draft {
    Input(Option<Bias>),
    Output(Option<LineSetting>),
}

/// What is wrong with one field, in pydantic's words.
#[derive(Debug, PartialEq, Eq)]
pub struct Fault {
    /// `None` for the configuration as a whole.
    pub field: Option<&'static str>,
    pub text: &'static str,
}

impl Configuration {
    /// Reads a JSON object; unknown members are ignored, and so are an input's state and an output's pull once
    /// they are of the right type.
    ///
    /// # Errors
    /// All that is wrong, in the model's order; never empty.
    pub(super) fn read(text: &str) -> Result<Configuration, Vec<Fault>> {
        let Some([io, state, pull]) = json::pick(text, ["io", "state", "pull"]) else {
            return Err(vec![Fault { field: None, text: "value is not a valid dict" }]);
        };
        match (is_output(io), number(state), bias(pull)) {
            (Ok(false), Ok(_), Ok(bias)) => Ok(Configuration(Draft::Input(bias))),
            (Ok(true), Ok(number), Ok(_)) => match number.map(output).transpose() {
                Ok(setting) => Ok(Configuration(Draft::Output(setting))),
                Err(fault) => Err(vec![fault]),
            },
            (io, state, pull) => Err([io.err(), state.err(), pull.err()].into_iter().flatten().collect()),
        }
    }

    /// What the line shall be.
    ///
    /// # Errors
    /// The protocol's text for an input without a pull or an output without a state.
    pub fn setting(self) -> Result<LineSetting, &'static str> {
        match self.0 {
            Draft::Input(bias) => bias.map(|bias| LineSetting::Input { bias }).ok_or(text::NO_PULL),
            Draft::Output(setting) => setting.ok_or(text::NO_STATE),
        }
    }
}

fn is_output(io: Option<&RawValue>) -> Result<bool, Fault> {
    let fault = |text| Fault { field: Some("io"), text };
    match io.map(RawValue::get) {
        None => Err(fault("field required")),
        Some("null") => Err(fault("none is not an allowed value")),
        Some(_) => match io.and_then(json::string).as_deref() {
            Some("INPUT") => Ok(false),
            Some("OUTPUT") => Ok(true),
            _ => Err(fault("value is not a valid enumeration member; permitted: 'INPUT', 'OUTPUT'")),
        },
    }
}

fn bias(pull: Option<&RawValue>) -> Result<Option<Bias>, Fault> {
    let Some(pull) = json::present(pull) else { return Ok(None) };
    match json::string(pull).as_deref() {
        Some("FLOATING") => Ok(Some(Bias::Floating)),
        Some("UP") => Ok(Some(Bias::Up)),
        Some("DOWN") => Ok(Some(Bias::Down)),
        _ => {
            let text = "value is not a valid enumeration member; permitted: 'FLOATING', 'UP', 'DOWN'";
            Err(Fault { field: Some("pull"), text })
        }
    }
}

/// What Python's `float()` makes of the value: numbers, numeric strings and booleans.
fn number(state: Option<&RawValue>) -> Result<Option<f64>, Fault> {
    let Some(state) = json::present(state) else { return Ok(None) };
    let number = match state.get() {
        "true" => Some(1.0),
        "false" => Some(0.0),
        plain => json::string(state).as_deref().unwrap_or(plain).trim().parse().ok(),
    };
    number.map(Some).ok_or(Fault { field: Some("state"), text: "value is not a valid float" })
}

/// Off, on, or a share of the time, which only a line configured for PWM can have.
fn output(state: f64) -> Result<LineSetting, Fault> {
    let fault = |text| Err(Fault { field: Some("state"), text });
    match (state, Duty::from_fraction(state)) {
        (0.0, _) => Ok(LineSetting::Output { level: Level::Low }),
        (1.0, _) => Ok(LineSetting::Output { level: Level::High }),
        (_, Some(duty)) => Ok(LineSetting::Fraction { duty }),
        _ if state < 0.0 => fault("ensure this value is greater than or equal to 0"),
        _ if state > 1.0 => fault("ensure this value is less than or equal to 1"),
        _ => fault("value is not a valid float"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Result<LineSetting, &'static str>, Vec<Option<&'static str>>> {
        Configuration::read(text)
            .map(Configuration::setting)
            .map_err(|faults| faults.into_iter().map(|fault| fault.field).collect())
    }

    #[test]
    fn valid_configurations_become_settings_or_say_what_they_lack() {
        let input = |bias| Ok(Ok(LineSetting::Input { bias }));
        let output = |level| Ok(Ok(LineSetting::Output { level }));
        let fraction = |share| Ok(Ok(LineSetting::Fraction { duty: Duty::from_fraction(share).expect("0 to 1") }));
        let table = [
            (r#"{"io":"INPUT","pull":"UP"}"#, input(Bias::Up)),
            (r#"{"io":"INPUT","pull":"DOWN","state":7}"#, input(Bias::Down)),
            (r#"{"pull":"FLOATING","io":"\u0049NPUT","state":null,"x":[]}"#, input(Bias::Floating)),
            (r#"{"io":"OUTPUT","state":0}"#, output(Level::Low)),
            (r#"{"io":"OUTPUT","state":-0.0}"#, output(Level::Low)),
            (r#"{"io":"OUTPUT","state":0.001,"pull":"DOWN"}"#, fraction(0.001)),
            (r#"{"io":"OUTPUT","state":"0.25"}"#, fraction(0.25)),
            (r#"{"io":"OUTPUT","state":1.0,"pull":null}"#, output(Level::High)),
            (r#"{"io":"OUTPUT","state":" 1e0 "}"#, output(Level::High)),
            (r#"{"io":"OUTPUT","state":"0"}"#, output(Level::Low)),
            (r#"{"io":"OUTPUT","state":true}"#, output(Level::High)),
            (r#"{"io":"OUTPUT","state":false}"#, output(Level::Low)),
            (r#"{"io":"INPUT"}"#, Ok(Err(text::NO_PULL))),
            (r#"{"io":"INPUT","pull":null,"state":1}"#, Ok(Err(text::NO_PULL))),
            (r#"{"io":"OUTPUT","pull":"UP"}"#, Ok(Err(text::NO_STATE))),
            (r#"{"io":"OUTPUT","state":null}"#, Ok(Err(text::NO_STATE))),
        ];
        for (text, expected) in table {
            assert_eq!(read(text), expected, "{text}");
        }
    }

    #[test]
    fn invalid_configurations_name_every_bad_field() {
        let table: [(&str, &[Option<&str>]); 16] = [
            ("[]", &[None]),
            ("1", &[None]),
            ("{}", &[Some("io")]),
            (r#"{"io":null}"#, &[Some("io")]),
            (r#"{"io":"input","pull":"UP"}"#, &[Some("io")]),
            (r#"{"io":["INPUT"],"pull":"UP"}"#, &[Some("io")]),
            (r#"{"io":"INPUT","pull":"up"}"#, &[Some("pull")]),
            (r#"{"io":"OUTPUT","state":1,"pull":5}"#, &[Some("pull")]),
            (r#"{"io":"OUTPUT","state":1.5}"#, &[Some("state")]),
            (r#"{"io":"OUTPUT","state":-1}"#, &[Some("state")]),
            (r#"{"io":"OUTPUT","state":1e999}"#, &[Some("state")]),
            (r#"{"io":"OUTPUT","state":"NaN"}"#, &[Some("state")]),
            (r#"{"io":"OUTPUT","state":"high"}"#, &[Some("state")]),
            (r#"{"io":"INPUT","pull":"UP","state":[]}"#, &[Some("state")]),
            (r#"{"io":"OUTPUT","state":""}"#, &[Some("state")]),
            (r#"{"io":1,"state":{},"pull":"x"}"#, &[Some("io"), Some("state"), Some("pull")]),
        ];
        for (text, expected) in table {
            assert_eq!(read(text), Err(expected.to_vec()), "{text}");
        }
    }
}
