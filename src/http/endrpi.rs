//! Endrpi's REST twin: `/system…`, `/pins…`, its documents and static files. What it never had is in `lines`.

use tiny_http::Method;

use super::{Asked, Reply, Rooms, lines};
use crate::actions::gpio;
use crate::dispatch::{self, SystemReading};
use crate::types::reading::Missing;
use crate::wire::endrpi::{Data, rest};
use crate::wire::{asyncapi, openapi};

pub fn answer(rooms: &Rooms, asked: &Asked) -> Reply {
    let path = asked.path.as_str();
    // What is not described is not served.
    if !path.starts_with("/public/") && !openapi::knows(path.trim_end_matches('/')) {
        return detail(404, "Not Found");
    }
    if let Some(id) = path.strip_prefix("/pins/").filter(|id| !id.is_empty() && !id.contains('/')) {
        return pin(rooms, asked, id);
    }
    if let Some(reply) = lines::answer(rooms, asked) {
        return reply;
    }
    let Some(reply) = get(rooms, asked, path) else {
        // Endrpi's framework sends a path with a slash too many to the one without.
        let bare = path.trim_end_matches('/');
        if bare != path && (bare.starts_with("/pins/") || get(rooms, asked, bare).is_some()) {
            return Reply::new(307, "text/plain; charset=utf-8", Vec::new()).with("Location", bare);
        }
        return detail(404, "Not Found");
    };
    if asked.method == Method::Get { reply() } else { detail(405, "Method Not Allowed").with("Allow", "GET") }
}

/// What `GET` answers on a fixed path; `None` where there is nothing.
fn get<'a>(rooms: &'a Rooms, asked: &'a Asked, path: &str) -> Option<Box<dyn FnOnce() -> Reply + 'a>> {
    let desk = &rooms.desk;
    let telemetry = &desk.telemetry;
    Some(match path {
        "/system" => Box::new(|| told(desk.system().as_ref().map(SystemReading::data))),
        "/system/platform" => Box::new(|| {
            let backend = desk.gpio.backend();
            told(telemetry.platform().as_ref().map(|platform| Data::Platform(platform, &backend)))
        }),
        "/system/temperature" => Box::new(|| told(telemetry.temperature().as_ref().map(Data::Temperature))),
        "/system/throttle" => Box::new(|| told(telemetry.throttle().as_ref().map(Data::Throttle))),
        "/system/uptime" => Box::new(|| told(telemetry.uptime().as_ref().map(Data::Uptime))),
        "/system/frequency" => Box::new(|| told(telemetry.frequency().as_ref().map(Data::Frequency))),
        "/system/memory" => Box::new(|| told(telemetry.memory().as_ref().map(Data::Memory))),
        "/pins" => Box::new(|| match gpio::read_all(&desk.gpio, &asked.caller()) {
            Ok(states) => json(200, |out| rest::model(out, Data::Pins(&states))),
            Err(error) => message(dispatch::status(&error), &error.to_string()),
        }),
        "/snapshot" => Box::new(|| match desk.snapshot(&rooms.hub, &rooms.alerts, &asked.caller()) {
            Ok(snapshot) => json(200, |out| rest::model(out, Data::Snapshot(&snapshot))),
            Err(error) => message(dispatch::status(&error), &error.to_string()),
        }),
        "/presence" => Box::new(|| match dispatch::presence(&rooms.hub, asked.rights.as_deref()) {
            Ok(presence) => json(200, |out| rest::model(out, Data::Presence(&dispatch::present(&presence)))),
            Err(lacks) => message(403, &lacks.to_string()),
        }),
        "/docs" => Box::new(|| Reply::file("text/html; charset=utf-8", crate::web::DOCS)),
        "/openapi.json" => Box::new(|| Reply::file("application/json", &String::from_utf8_lossy(&openapi::document()))),
        "/asyncapi.yaml" => Box::new(|| Reply::file("text/yaml; charset=utf-8", &asyncapi::document())),
        "/public/style.css" => Box::new(|| Reply::file("text/css; charset=utf-8", crate::web::STYLE)),
        "/public/page.js" => Box::new(|| Reply::file("text/javascript; charset=utf-8", crate::web::SCRIPT)),
        "/public/fleet.js" => Box::new(|| Reply::file("text/javascript; charset=utf-8", crate::web::FLEET_SCRIPT)),
        "/public/docs.js" => Box::new(|| Reply::file("text/javascript; charset=utf-8", crate::web::DOCS_SCRIPT)),
        _ => return None,
    })
}

fn pin(rooms: &Rooms, asked: &Asked, id: &str) -> Reply {
    match asked.method {
        Method::Get => {
            let Some(pin) = rooms.desk.gpio.resolve(id) else { return message(404, &rest::not_found(id)) };
            if let Err(error) = gpio::may_read(&asked.caller(), &[pin]) {
                return message(dispatch::status(&error), &error.to_string());
            }
            match rooms.desk.gpio.read(&[pin]).as_deref() {
                Ok([state]) => json(200, |out| rest::pin(out, state)),
                Ok(_) => message(500, "Failed to read the pin"),
                Err(error) => message(dispatch::status(error), &error.to_string()),
            }
        }
        Method::Put => put(rooms, asked, id),
        _ => detail(405, "Method Not Allowed").with("Allow", "GET, PUT"),
    }
}

/// Endrpi's order: the body, then the line, then what the line needs.
fn put(rooms: &Rooms, asked: &Asked, id: &str) -> Reply {
    if !asked.json {
        let text = "1 validation error for Requestbody  value is not a valid dict; send Content-Type: application/json";
        return message(400, text);
    }
    let configuration = match rest::put_body(&asked.body) {
        Ok(configuration) => configuration,
        Err(text) => return message(400, &text),
    };
    let Some(pin) = rooms.desk.gpio.resolve(id) else { return message(404, &rest::not_found(id)) };
    let setting = match configuration.setting() {
        Ok(setting) => setting,
        Err(text) => return message(400, text),
    };
    match gpio::update(&rooms.desk.gpio, &asked.caller(), &[(pin, setting)]) {
        Ok(()) => message(200, &rest::updated(id)),
        Err(error) => message(dispatch::status(&error), &error.to_string()),
    }
}

fn told(answer: Result<Data, &Missing>) -> Reply {
    match answer {
        Ok(data) => json(200, |out| rest::model(out, data)),
        Err(missing) => message(500, &missing.to_string()),
    }
}

pub(super) fn json(status: u16, write: impl FnOnce(&mut Vec<u8>)) -> Reply {
    let mut body = Vec::new();
    write(&mut body);
    Reply::json(status, body)
}

pub(super) fn message(status: u16, text: &str) -> Reply {
    json(status, |out| rest::message(out, text))
}

pub(super) fn detail(status: u16, text: &str) -> Reply {
    json(status, |out| rest::detail(out, text))
}
