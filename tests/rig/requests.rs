//! What tests of PWM and outputs ask of the daemon, and what they are told.

use serde_json::{Value, json};

use crate::common::Ws;

/// An action's data, or its error's text.
pub fn ask(ws: &mut Ws, action: &str, params: Value) -> Result<Value, String> {
    let answer = ws.ask(&json!({ "action": action, "params": params }).to_string());
    match answer["success"].as_bool() {
        Some(true) => Ok(answer["data"].clone()),
        _ => Err(answer["error"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()),
    }
}

/// SET_PWM.
pub fn set(ws: &mut Ws, pin: u32, frequency: f64, duty: f64) -> Result<Value, String> {
    ask(ws, "SET_PWM", json!({ "pin": pin, "frequency": frequency, "duty": duty }))
}

/// UPDATE_PIN_CONFIGURATIONS.
pub fn update(ws: &mut Ws, pins: Value) -> Result<Value, String> {
    ask(ws, "UPDATE_PIN_CONFIGURATIONS", json!({ "pins": pins }))
}

/// An output's setting; a fraction is a duty.
pub fn output(state: f64) -> Value {
    json!({ "io": "OUTPUT", "state": state })
}

/// What READ_LINES says of one line.
pub fn line(ws: &mut Ws, pin: u32) -> Value {
    let data = ask(ws, "READ_LINES", json!({ "pins": [pin] })).expect("a line");
    data.as_object().expect("an object").values().next().expect("one line").clone()
}

/// The next change that a listener is told: line, level, duty in percent.
pub fn change(events: &mut Ws) -> (u64, String, Option<u64>) {
    let event = events.until(|event| event["type"] == "gpio.state.changed");
    let data = &event["data"];
    let text = data["state"].as_str().expect("a level").to_owned();
    (data["pin"].as_u64().expect("a number"), text, data["pwm_duty"].as_u64())
}

/// What [`change`] returns of a signal.
pub fn told(pin: u64, level: &str, duty: u64) -> (u64, String, Option<u64>) {
    (pin, level.to_owned(), Some(duty))
}
