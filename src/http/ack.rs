//! Answers to publishers who want to know what became of their event. It is mostly known at once; a durable event's
//! comes when the disk has it, and no handler waits for that.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crossbeam_channel::bounded;

use super::later::Answerer;
use super::{Reply, Rooms};
use crate::actions::topics::{self, Refused};
use crate::hub::Acked;
use crate::rt::clock;
use crate::types::durable::{KEEP_LIMIT, NotKept};
use crate::types::event::Body;
use crate::types::rights::Rights;
use crate::wire::picloud;

/// How long a visitor is let wait; the hub tells him before.
const LIMIT: Duration = Duration::from_secs(KEEP_LIMIT.as_secs() * 2);

type Outcome = Result<Acked, NotKept>;

/// Where what became of an event meets who waits for it, whoever is first.
#[derive(Default)]
struct Meeting(Mutex<Side>);

#[derive(Default)]
enum Side {
    #[default]
    Nobody,
    Outcome(Outcome),
    Visitor(Answerer),
}

/// Publishes a message, and answers what became of it.
///
/// # Errors
/// Why a client may not publish it.
pub fn publish(rooms: &Rooms, rights: Option<&Rights>, body: Body, may_wait: bool) -> Result<Reply, Refused> {
    if may_wait {
        let (done, told) = bounded(1);
        topics::publish_acked(&rooms.hub, rights, body, Box::new(move |outcome| drop(done.try_send(outcome))))?;
        rooms.hub.combine();
        return Ok(reply(told.recv_timeout(LIMIT).unwrap_or(Err(NotKept::Unknown))));
    }
    let meeting = Arc::new(Meeting::default());
    let there = Arc::clone(&meeting);
    // Called under the hub's lock: only hands over.
    let ack = Box::new(move |outcome| there.tell(outcome));
    topics::publish_acked(&rooms.hub, rights, body, ack)?;
    rooms.hub.combine();
    Ok(match meeting.take() {
        Some(outcome) => reply(outcome),
        None => Reply::later(move |visitor| meeting.wait(visitor)),
    })
}

impl Meeting {
    fn swap(&self, side: Side) -> Side {
        std::mem::replace(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner), side)
    }

    fn tell(&self, outcome: Outcome) {
        let mut side = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match std::mem::take(&mut *side) {
            Side::Visitor(visitor) => visitor.give(move || reply(outcome)),
            _ => *side = Side::Outcome(outcome),
        }
    }

    fn take(&self) -> Option<Outcome> {
        match self.swap(Side::Nobody) {
            Side::Outcome(outcome) => Some(outcome),
            _ => None,
        }
    }

    fn wait(&self, visitor: Answerer) {
        visitor.wait_until(clock::now() + LIMIT);
        let mut side = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match std::mem::take(&mut *side) {
            Side::Outcome(outcome) => visitor.give(move || reply(outcome)),
            _ => *side = Side::Visitor(visitor),
        }
    }
}

fn reply(outcome: Outcome) -> Reply {
    let why = match outcome {
        Ok(Acked { position, durable }) => {
            let mut body = Vec::new();
            picloud::published(&mut body, if durable { "durable" } else { "accepted" }, position);
            return Reply::json(201, body);
        }
        Err(why) => why,
    };
    match why {
        NotKept::Busy(_) => Reply::text(503, &format!("Service unavailable: {why}\n")).with("Retry-After", "1"),
        NotKept::Unwritable(_) => Reply::text(507, &format!("Insufficient storage: {why}\n")),
        NotKept::Unknown => Reply::text(504, &format!("Gateway timeout: {why}\n")),
    }
}
