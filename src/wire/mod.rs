//! The wire, per system: the only JSON. Each dialect converts one way per function,
//! from bytes to typed requests and from typed answers to bytes; nothing here does anything.

pub mod asyncapi;
pub mod chatops;
pub mod claims;
pub mod clusters;
pub mod docker;
pub mod endrpi;
pub mod events;
pub mod frame;
pub mod journal;
pub mod openapi;
pub mod picloud;
pub mod time;

use std::io::Write;

use crate::types::event::{Dialect, Event};
use crate::types::line::{Bias, Direction};
use crate::types::position::{Lagged, Position};

/// Appends an event as a whole WebSocket frame in one dialect; with its position for who has asked for positions.
pub fn encode(dialect: Dialect, event: &Event, _position: Option<Position>, out: &mut Vec<u8>) {
    frame::text_with(out, |out| match dialect {
        Dialect::Picloud => picloud::event(out, event),
        Dialect::Events => events::event(out, event),
        Dialect::Code => events::push(out, event),
        Dialect::Endrpi => endrpi::event(out, event),
        Dialect::Page => chatops::browser::news(out, event),
    });
}

/// Appends what a client is told for which events were dropped.
pub fn lagged(dialect: Dialect, lagged: &Lagged, out: &mut Vec<u8>) {
    let Lagged { epoch, count, first, last } = lagged;
    frame::text_with(out, |out| {
        let _ = match dialect {
            Dialect::Endrpi => write!(
                out,
                "{{\"action\":\"LAGGED\",\"success\":true,\"data\":{{\"count\":{count},\"first\":{first},\"last\":{last},\"epoch\":\"{epoch}\"}},\"error\":null}}"
            ),
            _ => write!(
                out,
                "{{\"type\":\"lagged\",\"data\":{{\"count\":{count},\"first\":{first},\"last\":{last},\"epoch\":\"{epoch}\"}}}}"
            ),
        };
    });
}

/// Endrpi's word for a direction, as JSON; `null` where nobody knows.
fn io(direction: Option<Direction>) -> &'static str {
    match direction {
        Some(Direction::Input) => "\"INPUT\"",
        Some(Direction::Output) => "\"OUTPUT\"",
        None => "null",
    }
}

/// Endrpi's word for a bias, as JSON; `null` where nobody knows.
fn pull(bias: Option<Bias>) -> &'static str {
    match bias {
        Some(Bias::Up) => "\"UP\"",
        Some(Bias::Down) => "\"DOWN\"",
        Some(Bias::Floating) => "\"FLOATING\"",
        None => "null",
    }
}
