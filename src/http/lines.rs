//! The REST twins of READ_LINES, PULSE_PIN, BLINK_PIN, SET_PWM, PLAY_PINS and CANCEL_SEQUENCE. Leases have none: a
//! request leaves nothing behind that could end.

use tiny_http::Method;

use super::endrpi::{detail, json, message};
use super::{Asked, Reply, Rooms};
use crate::actions::gpio;
use crate::dispatch;
use crate::types::line::Pin;
use crate::types::output::Sequence;
use crate::wire::endrpi::{Data, SEQUENCE_CANCELLED, rest};

/// `None` for paths that are not ours.
pub fn answer(rooms: &Rooms, asked: &Asked) -> Option<Reply> {
    let path: Vec<&str> = asked.path.split('/').skip(1).collect();
    let reply = match path[..] {
        ["lines"] => only(asked, Method::Get, "GET", || lines(rooms, asked)),
        ["lines", id] if !id.is_empty() => only(asked, Method::Get, "GET", || line(rooms, asked, id)),
        ["pins", id, "pulse"] => post(asked, || play_on(rooms, asked, id, rest::pulse_body)),
        ["pins", id, "blink"] => post(asked, || play_on(rooms, asked, id, rest::blink_body)),
        ["pins", id, "pwm"] => post(asked, || pwm(rooms, asked, id)),
        ["sequences"] => post(asked, || sequence(rooms, asked)),
        ["sequences", id] if !id.is_empty() => only(asked, Method::Delete, "DELETE", || cancel(rooms, asked, id)),
        _ => return None,
    };
    Some(reply)
}

fn lines(rooms: &Rooms, asked: &Asked) -> Reply {
    let reports = gpio::report_all(&rooms.desk.gpio, &asked.caller());
    told(reports.as_ref().map(|reports| Data::Lines(reports)))
}

fn line(rooms: &Rooms, asked: &Asked, id: &str) -> Reply {
    let Some(pin) = rooms.desk.gpio.resolve(id) else { return message(404, &rest::not_found(id)) };
    if let Err(error) = gpio::may_read(&asked.caller(), &[pin]) {
        return refused(&error);
    }
    match rooms.desk.gpio.report(&[pin]).as_deref() {
        Ok([report]) => json(200, |out| rest::report(out, report)),
        Ok(_) => message(500, "Failed to read the line"),
        Err(error) => refused(error),
    }
}

fn play_on(rooms: &Rooms, asked: &Asked, id: &str, read: fn(Pin, &[u8]) -> Result<Sequence, String>) -> Reply {
    let Some(pin) = rooms.desk.gpio.resolve(id) else { return message(404, &rest::not_found(id)) };
    match read(pin, &asked.body) {
        Ok(sequence) => play(rooms, asked, sequence),
        Err(text) => message(400, &text),
    }
}

fn sequence(rooms: &Rooms, asked: &Asked) -> Reply {
    match rest::play_body(&asked.body, &|name| rooms.desk.gpio.resolve(name)) {
        Ok(sequence) => play(rooms, asked, sequence),
        Err(text) => message(400, &text),
    }
}

fn play(rooms: &Rooms, asked: &Asked, sequence: Sequence) -> Reply {
    let started = rooms.desk.gpio.play(&asked.caller(), sequence);
    told(started.as_ref().map(Data::Sequence))
}

fn cancel(rooms: &Rooms, asked: &Asked, id: &str) -> Reply {
    match rooms.desk.gpio.cancel(&asked.caller(), id) {
        Ok(()) => message(200, SEQUENCE_CANCELLED),
        Err(error) => refused(&error),
    }
}

fn pwm(rooms: &Rooms, asked: &Asked, id: &str) -> Reply {
    let Some(pin) = rooms.desk.gpio.resolve(id) else { return message(404, &rest::not_found(id)) };
    match rest::pwm_body(&asked.body) {
        Ok((frequency, duty)) => {
            told(rooms.desk.gpio.set_pwm(&asked.caller(), pin, frequency, duty).as_ref().map(Data::Pwm))
        }
        Err(text) => message(400, &text),
    }
}

fn told(answer: Result<Data, &dispatch::GpioError>) -> Reply {
    match answer {
        Ok(data) => json(200, |out| rest::model(out, data)),
        Err(error) => refused(error),
    }
}

fn refused(error: &dispatch::GpioError) -> Reply {
    message(dispatch::status(error), &error.to_string())
}

/// A JSON body, as everywhere below `/pins`: a form of a foreign page cannot send that type unasked.
fn post(asked: &Asked, reply: impl FnOnce() -> Reply) -> Reply {
    only(asked, Method::Post, "POST", || match asked.json {
        true => reply(),
        false => message(400, "The body is JSON; send Content-Type: application/json"),
    })
}

fn only(asked: &Asked, method: Method, name: &'static str, reply: impl FnOnce() -> Reply) -> Reply {
    if asked.method == method { reply() } else { detail(405, "Method Not Allowed").with("Allow", name) }
}
