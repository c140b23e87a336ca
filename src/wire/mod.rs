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
pub mod presence;
pub mod time;
pub mod wants;

use crate::rt::clock;
use crate::types::event::{Dialect, Event};
use crate::types::line::{Bias, Direction};
use crate::types::position::{Lagged, Position};

/// Appends an event as a whole WebSocket frame in one dialect; with its position for who has asked for positions.
pub fn encode(dialect: Dialect, event: &Event, position: Option<Position>, out: &mut Vec<u8>) {
    frame::text_with(out, |out| {
        match dialect {
            Dialect::Picloud => picloud::event(out, event),
            Dialect::Events => events::event(out, event),
            Dialect::Code => events::push(out, event),
            Dialect::Endrpi => endrpi::event(out, event),
            Dialect::Page => chatops::browser::news(out, event),
        }
        // Each form is an object with members, and the position's two come behind them.
        if let Some(position) = position
            && out.pop_if(|last| *last == b'}').is_some()
        {
            out.push(b',');
            wants::position(out, position);
            out.push(b'}');
        }
    });
}

/// Appends the frame that tells a client which events were dropped for it.
pub fn lagged(dialect: Dialect, lagged: &Lagged, out: &mut Vec<u8>) {
    frame::text_with(out, |out| match dialect {
        Dialect::Endrpi => endrpi::lagged(out, lagged),
        Dialect::Picloud => picloud::lagged(out, lagged),
        Dialect::Events | Dialect::Code | Dialect::Page => events::lagged(out, lagged, clock::wall()),
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
