//! Bodies of the REST twin: the same models without the envelope.

use std::borrow::Cow;

use super::params::output;
use super::{Configuration, Data, json, line, model, write};
use crate::types::line::{Duty, LineState, Pin};
use crate::types::output::{LineReport, Sequence};

/// Appends a bare model: `GET /system…`, and with [`Data::Pins`] `GET /pins`.
pub fn model(out: &mut Vec<u8>, data: Data<'_>) {
    model::model(out, data);
}

/// Appends the PinConfiguration of one line: `GET /pins/{id}`.
pub fn pin(out: &mut Vec<u8>, line: &LineState) {
    line::pin(out, line);
}

/// Appends all that is known of one line: `GET /lines/{id}`.
pub fn report(out: &mut Vec<u8>, report: &LineReport) {
    line::report(out, report);
}

/// Appends `{"message": …}`: what a PUT answers, and every error of `/system…` and `/pins…`.
pub fn message(out: &mut Vec<u8>, text: &str) {
    write::message(out, text);
}

/// Appends `{"detail": …}`: `Not Found` and `Method Not Allowed` come from the framework below Endrpi.
pub fn detail(out: &mut Vec<u8>, text: &str) {
    out.extend(b"{\"detail\":");
    write::string(out, text);
    out.push(b'}');
}

/// The message of a successful PUT; `id` as in the path.
pub fn updated(id: &str) -> String {
    format!("Pin configuration for pin `{id}` was updated successfully")
}

/// The message of a 404 below `/pins`; `id` as in the path.
pub fn not_found(id: &str) -> String {
    format!("Pin with BCM pin number `{id}` not found")
}

/// Reads the body of a PUT. Endrpi looks at the body first (400), then for the line (404), then for what an input
/// or an output needs: [`Configuration::setting`], 400 as well.
///
/// # Errors
/// The message of the 400, in pydantic's words.
pub fn put_body(body: &[u8]) -> Result<Configuration, String> {
    let text = std::str::from_utf8(body).map_err(|_| validation_errors(&[("", "invalid UTF-8")]))?;
    if text.is_empty() || text.trim() == "null" {
        return Err(validation_errors(&[("", "field required")]));
    }
    let patched = if json::is_json(text) { None } else { json::without_python_constants(text) };
    let text = patched.as_deref().unwrap_or(text);
    if !json::is_json(text) {
        return Err(validation_errors(&[("", "body is not valid JSON")]));
    }
    Configuration::read(text).map_err(|faults| {
        let faults: Vec<_> = faults.iter().map(|fault| (fault.field.unwrap_or_default(), fault.text)).collect();
        validation_errors(&faults)
    })
}

/// Reads the body of `POST /pins/{id}/pulse`: PULSE_PIN's parameters without the pin.
///
/// # Errors
/// The message of the 400.
pub fn pulse_body(pin: Pin, body: &[u8]) -> Result<Sequence, String> {
    output::pulse(pin, object(body)?).map_err(Cow::into_owned)
}

/// Reads the body of `POST /pins/{id}/blink`: BLINK_PIN's parameters without the pin.
///
/// # Errors
/// The message of the 400.
pub fn blink_body(pin: Pin, body: &[u8]) -> Result<Sequence, String> {
    output::blink(pin, object(body)?).map_err(Cow::into_owned)
}

/// Reads the body of `POST /sequences`: PLAY_PINS' parameters.
///
/// # Errors
/// The message of the 400.
pub fn play_body(body: &[u8], resolve: &dyn Fn(&str) -> Option<Pin>) -> Result<Sequence, String> {
    output::play(object(body)?, resolve).map_err(Cow::into_owned)
}

/// Reads the body of `POST /pins/{id}/pwm`: SET_PWM's parameters without the pin.
///
/// # Errors
/// The message of the 400.
pub fn pwm_body(body: &[u8]) -> Result<(f64, Duty), String> {
    output::pwm(object(body)?).map_err(Cow::into_owned)
}

fn object(body: &[u8]) -> Result<&str, String> {
    let text = std::str::from_utf8(body).ok().filter(|text| json::members(text, |_, _| Some(())).is_some());
    text.ok_or_else(|| "The body is no JSON object".into())
}

/// Pydantic's text of the faults of these fields, with its line breaks taken out as Endrpi does.
fn validation_errors(faults: &[(&str, &str)]) -> String {
    let count = faults.len();
    let mut text = format!("{count} validation error{} for Request", if count == 1 { "" } else { "s" });
    for (field, fault) in faults {
        text += "body";
        if !field.is_empty() {
            text += " -> ";
            text += field;
        }
        text += "  ";
        text += fault;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::line::{Bias, Direction, Level, LineSetting};

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).expect("ASCII")
    }

    #[test]
    fn bodies_have_no_envelope() {
        let line = LineState::new(Direction::Output, Some(Level::High), Some(Bias::Floating));
        let json = r#"{"io":"OUTPUT","state":1.0,"pull":"FLOATING"}"#;
        assert_eq!(written(|out| pin(out, &line)), json);
        let pins = [("GPIO17".to_owned(), line)];
        assert_eq!(written(|out| model(out, Data::Pins(&pins))), format!(r#"{{"GPIO17":{json}}}"#));
        let updated = updated("GPIO17");
        let json = r#"{"message":"Pin configuration for pin `GPIO17` was updated successfully"}"#;
        assert_eq!(written(|out| message(out, &updated)), json);
        assert_eq!(not_found("x"), "Pin with BCM pin number `x` not found");
        assert_eq!(written(|out| detail(out, "Not Found")), r#"{"detail":"Not Found"}"#);
    }

    #[test]
    fn a_put_body_is_validated_with_pydantics_words() {
        let table = [
            ("", "1 validation error for Requestbody  field required"),
            ("null", "1 validation error for Requestbody  field required"),
            ("{", "1 validation error for Requestbody  body is not valid JSON"),
            ("[]", "1 validation error for Requestbody  value is not a valid dict"),
            ("{}", "1 validation error for Requestbody -> io  field required"),
            (
                r#"{"io":"ALT0"}"#,
                "1 validation error for Requestbody -> io  value is not a valid enumeration member; permitted: 'INPUT', 'OUTPUT'",
            ),
            (
                r#"{"state":"x","pull":"SIDE"}"#,
                "3 validation errors for Requestbody -> io  field requiredbody -> state  value is not a valid float\
                 body -> pull  value is not a valid enumeration member; permitted: 'FLOATING', 'UP', 'DOWN'",
            ),
            (
                r#"{"io":"OUTPUT","state":2}"#,
                "1 validation error for Requestbody -> state  ensure this value is less than or equal to 1",
            ),
            (
                r#"{"io":"OUTPUT","state":-Infinity}"#,
                "1 validation error for Requestbody -> state  ensure this value is greater than or equal to 0",
            ),
        ];
        for (body, expected) in table {
            assert_eq!(put_body(body.as_bytes()), Err(expected.to_owned()), "{body}");
        }
        assert!(put_body(b"\xff").is_err());
    }

    #[test]
    fn a_valid_put_body_becomes_a_setting_or_lacks_one_thing() {
        let half = Duty::from_fraction(0.5).expect("0 to 1");
        let table = [
            (r#"{"io":"INPUT","pull":"UP"}"#, Ok(LineSetting::Input { bias: Bias::Up })),
            (r#"{"io":"OUTPUT","state":0.5}"#, Ok(LineSetting::Fraction { duty: half })),
            (r#"{"io":"OUTPUT","state":1}"#, Ok(LineSetting::Output { level: Level::High })),
            (r#"{"io":"INPUT"}"#, Err("No pull specified for input pin configuration")),
            (r#"{"io":"OUTPUT"}"#, Err("No state specified for output pin configuration")),
        ];
        for (body, expected) in table {
            let configuration = put_body(body.as_bytes()).expect("a valid configuration");
            assert_eq!(configuration.setting(), expected, "{body}");
        }
    }
}
