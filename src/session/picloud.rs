//! PiCloud's three sockets: `/subscribe`, `/publish` and `/info`.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Conversation, End, Host, Line};
use crate::actions::topics;
use crate::conn::{CLOSE_BAD_DATA, CLOSE_POLICY, Conn};
use crate::hub::{Filter, Hub, Member, MemberId};
use crate::rt::clock;
use crate::types::event::Dialect;
use crate::types::topic::MAX_TOPIC_BYTES;
use crate::wire::{frame, picloud};

/// Events one client may be subscribed to.
const MAX_SUBSCRIPTIONS: usize = 1000;

/// Joins the hub under a PiCloud client's name.
fn join(hub: &Hub, conn: &Arc<Conn>, name: String) -> MemberId {
    hub.join(Member { name, ..Member::new(conn, Dialect::Picloud) })
}

/// `/subscribe`: takes what the client wants; the hub sends it.
pub struct Subscribe {
    hub: Arc<Hub>,
    member: MemberId,
    /// For the limit: subscribing twice is one subscription.
    events: HashSet<Box<str>>,
}

impl Subscribe {
    pub fn new(host: &Host, conn: &Arc<Conn>, name: String) -> Subscribe {
        Subscribe { hub: Arc::clone(&host.hub), member: join(&host.hub, conn, name), events: HashSet::new() }
    }
}

impl Conversation for Subscribe {
    fn begin(&mut self, _line: &mut Line) -> Result<(), End> {
        Ok(())
    }

    fn message(&mut self, line: &mut Line, payload: &[u8], _text: bool) -> Result<(), End> {
        match picloud::parse_ask(payload).map_err(|error| End::close(CLOSE_BAD_DATA, error))? {
            picloud::Ask::Subscribe(event) => {
                check_length(&event)?;
                if self.events.contains(&*event) {
                    return Ok(());
                }
                if let Some(rights) = &line.rights
                    && let Err(lacks) = rights.hear(&event)
                {
                    frame::text_with(&mut line.replies, |out| picloud::error(out, &event, &lacks.to_string()));
                    return Ok(());
                }
                if self.events.len() == MAX_SUBSCRIPTIONS {
                    return Err(End::close(CLOSE_POLICY, "too many subscriptions: at most 1000"));
                }
                let event: Box<str> = event.into();
                self.events.insert(event.clone());
                let subscribed = self.hub.subscribe(self.member, Filter::Exact(event));
                subscribed.map_err(|error| End::close(CLOSE_POLICY, error.to_string()))?;
            }
            picloud::Ask::Unsubscribe(event) => {
                if self.events.remove(&*event) {
                    self.hub.unsubscribe(self.member, Filter::Exact(event.into()));
                }
            }
            picloud::Ask::UnsubscribeAll => {
                self.events = HashSet::new();
                self.hub.unsubscribe_all(self.member);
            }
            picloud::Ask::Ignored => {}
        }
        Ok(())
    }

    fn leave(&mut self) {
        self.hub.leave(self.member);
    }
}

/// `/publish`: every frame is an event. Nothing is answered, unless it was refused.
pub struct Publish {
    hub: Arc<Hub>,
    member: MemberId,
}

impl Publish {
    pub fn new(host: &Host, conn: &Arc<Conn>, name: String) -> Publish {
        Publish { hub: Arc::clone(&host.hub), member: join(&host.hub, conn, name) }
    }
}

impl Conversation for Publish {
    fn begin(&mut self, _line: &mut Line) -> Result<(), End> {
        Ok(())
    }

    fn message(&mut self, line: &mut Line, payload: &[u8], _text: bool) -> Result<(), End> {
        let message = picloud::parse_publish(payload).map_err(|error| End::close(CLOSE_BAD_DATA, error))?;
        if message.event.is_empty() {
            return Ok(()); // HTTP answers 400; PiCloud's socket has no answers, so it is ignored here
        }
        let name = message.event.clone();
        if let Err(reason) = topics::publish(&self.hub, line.rights.as_deref(), message.into_body()) {
            frame::text_with(&mut line.replies, |out| picloud::error(out, &name, &reason.to_string()));
        }
        Ok(())
    }

    fn leave(&mut self) {
        self.hub.leave(self.member);
    }
}

fn check_length(event: &str) -> Result<(), End> {
    if event.len() > MAX_TOPIC_BYTES {
        return Err(End::close(CLOSE_POLICY, format!("'event' has at most {MAX_TOPIC_BYTES} bytes")));
    }
    Ok(())
}

/// `/info`: who is connected and subscribed to what, at once and then at every interval. Incoming frames are
/// ignored (PiCloud does not even read them; we answer pings).
pub struct Info {
    hub: Arc<Hub>,
    interval: Duration,
    next: Instant,
}

impl Info {
    pub fn new(host: &Host) -> Info {
        let interval = host.picloud.info_interval;
        Info { hub: Arc::clone(&host.hub), interval, next: clock::now() + interval }
    }

    fn push(&self, line: &mut Line) {
        let present = self.hub.presence();
        let clients: Vec<picloud::Client> = present
            .iter()
            .filter(|p| p.dialect == Dialect::Picloud)
            .map(|p| picloud::Client {
                name: &p.name,
                address: p.peer.to_string(),
                connected_at: p.since,
                events: &p.subscriptions,
            })
            .collect();
        frame::text_with(&mut line.replies, |out| picloud::info(out, &clients, clock::wall()));
    }
}

impl Conversation for Info {
    fn begin(&mut self, line: &mut Line) -> Result<(), End> {
        self.push(line);
        Ok(())
    }

    fn message(&mut self, _line: &mut Line, _payload: &[u8], _text: bool) -> Result<(), End> {
        Ok(())
    }

    fn next_tick(&self) -> Option<Instant> {
        Some(self.next)
    }

    fn tick(&mut self, line: &mut Line, now: Instant) -> Result<(), End> {
        self.push(line);
        self.next = now + self.interval;
        Ok(())
    }
}
