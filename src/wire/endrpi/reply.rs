//! From answers and events to the bytes of a message.

use serde_json::value::RawValue;

use super::model::{Data, model};
use super::write::{self, string};
use crate::config::ErrorStyle;
use crate::types::event::Event;
use crate::types::position::Lagged;
use crate::wire::{events, time, wants};

/// Appends the reply to a request that was carried out. `id` is the request's own, sent back as it came.
pub fn success(out: &mut Vec<u8>, action: &str, data: Data<'_>, id: Option<&RawValue>) {
    out.extend(b"{\"action\":");
    string(out, action);
    out.extend(b",\"success\":true,\"data\":");
    model(out, data);
    out.extend(b",\"error\":null");
    end(out, id);
}

/// Appends the reply to a message that was refused or failed; `action` is `None` where it is not known to exist.
pub fn failure(out: &mut Vec<u8>, action: Option<&str>, message: &str, id: Option<&RawValue>, style: ErrorStyle) {
    out.extend(b"{\"action\":");
    match action {
        Some(action) => string(out, action),
        None => out.extend(b"null"),
    }
    out.extend(b",\"success\":false,\"data\":null,\"error\":");
    match style {
        ErrorStyle::String => string(out, message),
        ErrorStyle::Object => write::message(out, message),
    }
    end(out, id);
}

/// Appends an event as the passive message that Endrpi only announces.
pub fn event(out: &mut Vec<u8>, event: &Event) {
    out.extend(b"{\"action\":\"EVENT\",\"success\":true,\"data\":{\"topic\":");
    string(out, event.topic());
    out.extend(b",\"timestamp\":\"");
    time::write_millis(out, event.at);
    out.extend(b"\",\"data\":");
    events::data_with(out, event, string);
    out.extend(b"},\"error\":null}");
}

/// Appends which events were dropped for a client, in the form of a passive message.
pub fn lagged(out: &mut Vec<u8>, lagged: &Lagged) {
    out.extend(b"{\"action\":\"LAGGED\",\"success\":true,\"data\":{");
    wants::lagged(out, lagged);
    out.extend(b"},\"error\":null}");
}

/// The last member, present only where the request had one.
fn end(out: &mut Vec<u8>, id: Option<&RawValue>) {
    if let Some(id) = id {
        out.extend(b",\"id\":");
        out.extend(id.get().as_bytes());
    }
    out.push(b'}');
}

#[cfg(test)]
mod tests;
