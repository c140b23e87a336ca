//! What is said of lines: Endrpi's PinConfiguration, and the models of our own actions.

use super::write::{float, member, put, string};
use crate::types::line::{Level, LineState, Pwm, PwmSource};
use crate::types::output::{Lease, LineReport, Started};
use crate::wire;

/// Appends a PinConfiguration; what is not known is `null`, and what Endrpi does not know is only there where there
/// is something to say.
pub fn pin(out: &mut Vec<u8>, line: &LineState) {
    out.push(b'{');
    configuration(out, line);
    if let Some(consumer) = &line.consumer {
        member(out, ",\"consumer\":", |out| string(out, consumer));
    }
    if line.active_low {
        out.extend(b",\"activeLow\":true");
    }
    if let Some(pwm) = &line.pwm {
        member(out, ",\"pwm\":", |out| self::pwm(out, pwm));
    }
    out.push(b'}');
}

/// Appends all that is known of a line.
pub fn report(out: &mut Vec<u8>, report: &LineReport) {
    let line = &report.state;
    member(out, "{\"resource\":", |out| string(out, &report.resource));
    put(out, format_args!(",\"pin\":{},", report.pin.number()));
    configuration(out, line);
    let (active_low, held, allowed) = (line.active_low, report.held, report.allowed);
    put(out, format_args!(",\"activeLow\":{active_low},\"held\":{held},\"allowed\":{allowed}"));
    member(out, ",\"consumer\":", |out| text_or_null(out, line.consumer.as_deref()));
    member(out, ",\"safe\":", |out| string(out, report.safe));
    member(out, ",\"leasedBy\":", |out| text_or_null(out, report.leased_by.as_deref()));
    member(out, ",\"sequence\":", |out| text_or_null(out, report.sequence.as_deref()));
    member(out, ",\"pwm\":", |out| match &line.pwm {
        Some(pwm) => self::pwm(out, pwm),
        None => out.extend(b"null"),
    });
    let edges = report.edges;
    put(out, format_args!(",\"edges\":{{\"rising\":{},\"falling\":{}", edges.rising, edges.falling));
    put(out, format_args!(",\"lost\":{},\"summarised\":{}}}}}", edges.lost, edges.summarised));
}

/// Appends a lease as granted or renewed.
pub fn lease(out: &mut Vec<u8>, lease: &Lease) {
    member(out, "{\"lease\":", |out| string(out, &lease.id));
    out.extend(b",\"pins\":[");
    for (number, pin) in lease.pins.iter().enumerate() {
        put(out, format_args!("{}\"{pin}\"", if number > 0 { "," } else { "" }));
    }
    member(out, "],\"leaseSeconds\":", |out| float(out, lease.lease.as_secs_f64()));
    member(out, ",\"graceSeconds\":", |out| float(out, lease.grace.as_secs_f64()));
    out.push(b'}');
}

/// Appends a sequence that has begun.
pub fn sequence(out: &mut Vec<u8>, started: &Started) {
    member(out, "{\"sequence\":", |out| string(out, &started.id));
    member(out, ",\"durationSeconds\":", |out| match started.duration {
        Some(duration) => float(out, duration.as_secs_f64()),
        None => out.extend(b"null"),
    });
    out.push(b'}');
}

/// Appends a PWM signal.
pub fn pwm(out: &mut Vec<u8>, pwm: &Pwm) {
    member(out, "{\"frequency\":", |out| float(out, pwm.frequency));
    member(out, ",\"duty\":", |out| float(out, pwm.duty.fraction()));
    out.extend(match pwm.source {
        PwmSource::Hardware => b",\"source\":\"hardware\"}".as_slice(),
        PwmSource::Software => b",\"source\":\"software\"}",
    });
}

/// Endrpi's three members alone.
fn configuration(out: &mut Vec<u8>, line: &LineState) {
    member(out, "\"io\":", |out| out.extend(wire::io(line.direction).as_bytes()));
    member(out, ",\"state\":", |out| match (&line.pwm, line.level) {
        (Some(pwm), _) => float(out, pwm.duty.fraction()),
        (None, Some(Level::High)) => out.extend(b"1.0"),
        (None, Some(Level::Low)) => out.extend(b"0.0"),
        (None, None) => out.extend(b"null"),
    });
    member(out, ",\"pull\":", |out| out.extend(wire::pull(line.bias).as_bytes()));
}

fn text_or_null(out: &mut Vec<u8>, text: Option<&str>) {
    match text {
        Some(text) => string(out, text),
        None => out.extend(b"null"),
    }
}
