//! PiCloud's three sockets: `/subscribe`, `/publish` and `/info`.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Conversation, End, Host, Line};
use crate::actions::topics;
use crate::conn::{CLOSE_BAD_DATA, CLOSE_POLICY, Conn};
use crate::dispatch;
use crate::hub::{Ack, Acked, Filter, Hub, Member, MemberId, Wish};
use crate::rt::clock;
use crate::types::event::Dialect;
use crate::types::topic::{MAX_TOPIC_BYTES, Pattern};
use crate::types::wants::{Resumed, Wants};
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
    /// The same of those that are patterns; one text may be both.
    patterns: HashSet<Box<str>>,
}

impl Subscribe {
    pub fn new(host: &Host, conn: &Arc<Conn>, name: String) -> Subscribe {
        let (events, patterns) = Default::default();
        Subscribe { hub: Arc::clone(&host.hub), member: join(&host.hub, conn, name), events, patterns }
    }

    fn subscribe(&mut self, line: &mut Line, event: &str, pattern: bool, wants: Wants, ack: bool) -> Result<(), End> {
        let answered = wants.any() || ack;
        let known = if pattern { &self.patterns } else { &self.events }.contains(event);
        if known && !answered {
            return Ok(());
        }
        let filter = match filter(event, pattern) {
            Ok(filter) => filter,
            Err(why) => {
                refuse(line, event, &format!("'event': {why}"));
                return Ok(());
            }
        };
        let allowed = match (&line.rights, &filter) {
            (None, _) => Ok(()),
            (Some(rights), Filter::Exact(event)) => rights.hear(event),
            (Some(rights), Filter::Pattern(pattern)) => rights.subscribe(pattern),
        };
        if let Err(lacks) = allowed {
            refuse(line, event, &lacks.to_string());
            return Ok(());
        }
        if !known && self.events.len() + self.patterns.len() == MAX_SUBSCRIPTIONS {
            return Err(End::close(CLOSE_POLICY, "too many subscriptions: at most 1000"));
        }
        let mut resumed = None;
        let done = if answered {
            let wish = Wish { since: wants.since, last: wants.last };
            self.hub.resume(self.member, vec![filter], wish).map(|answer| resumed = Some(answer))
        } else {
            self.hub.subscribe(self.member, filter)
        };
        if let Err(too_many) = done {
            refuse(line, event, &too_many.to_string());
            return Ok(());
        }
        if pattern { &mut self.patterns } else { &mut self.events }.insert(event.into());
        let Some((answer, replay)) = resumed else { return Ok(()) };
        let resumed = Resumed { position: answer.position, recovered: answer.recovered, missed: answer.missed };
        frame::text_with(&mut line.replies, |out| picloud::subscribed(out, event, &resumed));
        line.replay(replay)
    }
}

fn filter(event: &str, pattern: bool) -> Result<Filter, String> {
    if pattern { Pattern::new(event).map(Filter::Pattern) } else { Ok(Filter::Exact(event.into())) }
}

/// PiCloud has no such frame, but silence would look like a success.
fn refuse(line: &mut Line, event: &str, why: &str) {
    frame::text_with(&mut line.replies, |out| picloud::error(out, event, why, None));
}

impl Conversation for Subscribe {
    fn begin(&mut self, _line: &mut Line) -> Result<(), End> {
        Ok(())
    }

    fn message(&mut self, line: &mut Line, payload: &[u8], _text: bool) -> Result<(), End> {
        match picloud::parse_ask(payload).map_err(|error| End::close(CLOSE_BAD_DATA, error))? {
            picloud::Ask::Subscribe { event, pattern, wants, ack } => {
                check_length(&event)?;
                return self.subscribe(line, &event, pattern, wants, ack);
            }
            picloud::Ask::Unsubscribe { event, pattern } => {
                let list = if pattern { &mut self.patterns } else { &mut self.events };
                if list.remove(&*event)
                    && let Ok(filter) = filter(&event, pattern)
                {
                    self.hub.unsubscribe(self.member, filter);
                }
            }
            picloud::Ask::UnsubscribeAll => {
                (self.events, self.patterns) = Default::default();
                self.hub.unsubscribe_all(self.member);
            }
            picloud::Ask::Wrong { event, why } => refuse(line, &event, &why),
            picloud::Ask::Ignored => {}
        }
        Ok(())
    }

    fn leave(&mut self) {
        self.hub.leave(self.member);
    }
}

/// `/publish`: every frame is an event. Nothing is answered, unless it was refused, or an answer is asked for: that comes
/// when it is known, and holds up nothing that comes after it. A publisher that does not read its answers is cut, as a
/// slow subscriber is.
pub struct Publish {
    hub: Arc<Hub>,
    member: MemberId,
}

impl Publish {
    pub fn new(host: &Host, conn: &Arc<Conn>, name: String) -> Publish {
        Publish { hub: Arc::clone(&host.hub), member: join(&host.hub, conn, name) }
    }
}

/// Tells a publisher what becomes of its event. It is called under the hub's lock, and does not wait: as events are, it
/// is sent by whoever knows of it.
fn acknowledge(conn: &Arc<Conn>, event: &str, id: Option<Box<str>>) -> Ack {
    let (conn, event) = (Arc::clone(conn), Box::<str>::from(event));
    Box::new(move |outcome| {
        let mut answer = Vec::new();
        frame::text_with(&mut answer, |out| match outcome {
            Ok(Acked { position, durable }) => {
                let status = if durable { "durable" } else { "accepted" };
                picloud::ack(out, &event, status, position, id.as_deref());
            }
            Err(why) => picloud::error(out, &event, &why.to_string(), id.as_deref()),
        });
        // Whoever asked may have gone.
        let _ = conn.send(&answer);
    })
}

impl Conversation for Publish {
    fn begin(&mut self, _line: &mut Line) -> Result<(), End> {
        Ok(())
    }

    fn message(&mut self, line: &mut Line, payload: &[u8], _text: bool) -> Result<(), End> {
        let message = picloud::parse_publish(payload).map_err(|error| End::close(CLOSE_BAD_DATA, error))?;
        let (name, id) = (message.event.clone(), message.id.map(|id| Box::<str>::from(id.get())));
        if message.event.is_empty() {
            // HTTP answers 400; on PiCloud's socket it is ignored, unless the client waits for an answer.
            if message.wants_ack() == Ok(true) {
                let why = "'event' is missing or empty";
                frame::text_with(&mut line.replies, |out| picloud::error(out, &name, why, id.as_deref()));
            }
            return Ok(());
        }
        let rights = line.rights.as_deref();
        let published = match message.wants_ack() {
            Ok(true) => {
                let ack = acknowledge(&line.conn, &name, id.clone());
                topics::publish_acked(&self.hub, rights, message.into_body(), ack).map_err(|why| why.to_string())
            }
            Ok(false) => topics::publish(&self.hub, rights, message.into_body()).map_err(|why| why.to_string()),
            Err(why) => Err(why),
        };
        match published {
            Ok(()) => line.burst.published(),
            Err(why) => frame::text_with(&mut line.replies, |out| picloud::error(out, &name, &why, id.as_deref())),
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
        let presence = self.hub.presence();
        let clients = dispatch::present(&presence);
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
