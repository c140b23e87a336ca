//! Pi-Controller's `/ws`: documented events without asking, and the code's own frames for those who ask.
//!
//! A new connection gets the welcome `pong`, the last `node.status.changed`, and from then on every event
//! (or those `?types=` selects). `subscribe` with one of the code's topics adds that topic's pushes; with a
//! dotted pattern it narrows the documented events to what was named. With a key that has scopes, "every event" is
//! every one that the key may subscribe to, and a wish for more is refused.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Conversation, End, Host, Line};
use crate::auth::Refused;
use crate::conn::{CLOSE_FORBIDDEN, CLOSE_KEY, CLOSE_POLICY, Conn};
use crate::dispatch::LoadMeter;
use crate::hub::{Filter, Member, MemberId, TooMany, Wish};
use crate::rt::clock;
use crate::types::event::Dialect;
use crate::types::rights::{Lacks, Rights};
use crate::types::topic::Pattern;
use crate::types::wants::{Resumed, Wants};
use crate::wire::{events, frame};

/// How often `system_metrics` is pushed to those who subscribed to `system`.
const METRICS_INTERVAL: Duration = Duration::from_secs(5);

/// What a key needs to be subscribed to for them.
const METRICS: &str = "system.metrics";

/// What a newcomer is told at once, if it wants it at all.
const STATUS: &str = "node.status.changed";

const NO_HISTORY: &str = "Invalid subscribe message: 'system' is measured for each client and has no history: \
     leave out 'since', 'last' and 'position'";

/// Patterns one client may have named.
const MAX_PATTERNS: usize = 100;

pub struct Events {
    host: Arc<Host>,
    conn: Arc<Conn>,
    /// `None` until a required key was shown.
    member: Option<MemberId>,
    auth_by: Option<Instant>,
    /// What `?types=` named; empty is everything.
    types: Vec<Pattern>,
    /// What else the query asks for.
    wants: Wants,
    /// What dotted `subscribe`s named; while there are any, they are all the client gets.
    named: Vec<Pattern>,
    /// The second membership, for the code's pushes, once somebody asked.
    code: Option<MemberId>,
    metrics: Option<(Instant, LoadMeter)>,
    /// What the key allows; `None`: everything.
    rights: Option<Arc<Rights>>,
}

impl Events {
    pub fn new(host: &Arc<Host>, conn: &Arc<Conn>, authorised: bool, types: Vec<Pattern>, wants: Wants) -> Events {
        Events {
            host: Arc::clone(host),
            conn: Arc::clone(conn),
            member: None,
            auth_by: (!authorised).then(|| clock::now() + host.limits.auth_deadline),
            types,
            wants,
            named: Vec::new(),
            code: None,
            metrics: None,
            rights: None,
        }
    }

    /// Welcomes the client and subscribes it, in one step: whoever has seen the `pong` misses nothing after it.
    fn join(&mut self, line: &mut Line) -> Result<(), End> {
        self.rights.clone_from(&line.rights);
        for pattern in &self.types {
            self.may_hear(pattern).map_err(|lacks| End::close(CLOSE_FORBIDDEN, lacks.to_string()))?;
        }
        let mut greeting = Vec::new();
        frame::text_with(&mut greeting, |out| events::pong(out, None, clock::wall()));
        let mut patterns = self.documented();
        if self.wants.any() {
            let filters: Vec<Pattern> = std::mem::take(&mut patterns);
            let id = self.host.hub.join(Member { greeting, ..Member::new(&self.conn, Dialect::Events) });
            self.member = Some(id);
            let topic = filters.iter().map(Pattern::as_str).collect::<Vec<_>>().join(",");
            return self.resume(line, id, filters, self.wants, &topic, None);
        }
        let replay_status = patterns.iter().any(|pattern| pattern.matches(STATUS));
        let member = Member { greeting, replay_status, patterns, ..Member::new(&self.conn, Dialect::Events) };
        self.member = Some(self.host.hub.join_subscribed(member).map_err(too_many)?);
        Ok(())
    }

    /// Subscribes with an answer that says from where, and with what was missed behind it.
    fn resume(
        &self,
        line: &mut Line,
        id: MemberId,
        patterns: Vec<Pattern>,
        wants: Wants,
        topic: &str,
        request_id: Option<&str>,
    ) -> Result<(), End> {
        let filters = patterns.into_iter().map(Filter::Pattern).collect();
        let wish = Wish { since: wants.since, last: wants.last };
        let (answer, replay) = self.host.hub.resume(id, filters, wish).map_err(too_many)?;
        let resumed = Resumed { position: answer.position, recovered: answer.recovered, missed: answer.missed };
        let now = clock::wall();
        frame::text_with(&mut line.replies, |out| events::subscribed(out, topic, &resumed, request_id, now));
        line.replay(replay)
    }

    fn may_hear(&self, pattern: &Pattern) -> Result<(), Lacks> {
        self.rights.as_ref().map_or(Ok(()), |rights| rights.subscribe(pattern))
    }

    /// The documented events this client gets now.
    fn documented(&self) -> Vec<Pattern> {
        let chosen = if self.named.is_empty() { &self.types } else { &self.named };
        match &self.rights {
            _ if !chosen.is_empty() => chosen.clone(),
            Some(rights) => rights.subscriptions().to_vec(),
            None => Pattern::new("**").into_iter().collect(),
        }
    }

    /// Changes what dotted subscriptions name, and tells the hub only the difference that makes. `later` is not
    /// subscribed to here.
    fn rename(&mut self, change: impl FnOnce(&mut Vec<Pattern>), later: Option<&Pattern>) -> Result<(), End> {
        let before = self.documented();
        change(&mut self.named);
        let after = self.documented();
        let Some(id) = self.member else { return Ok(()) };
        for pattern in after.iter().filter(|p| !before.contains(p) && later != Some(p)) {
            self.host.hub.subscribe(id, Filter::Pattern(pattern.clone())).map_err(too_many)?;
        }
        for pattern in before.into_iter().filter(|p| !after.contains(p)) {
            self.host.hub.unsubscribe(id, Filter::Pattern(pattern));
        }
        Ok(())
    }

    fn subscribe(&mut self, line: &mut Line, topic: &str, wants: Wants, request_id: Option<&str>) -> Result<(), End> {
        let wanted =
            if topic == "system" { Pattern::new(METRICS).ok() } else { code_topic(topic).or_else(|| dotted(topic)) };
        let refused = match &wanted {
            Some(pattern) => self.may_hear(pattern).err().map(|lacks| lacks.to_string()),
            None => wants.any().then(|| no_topic(topic)),
        };
        let refused = refused.or_else(|| (topic == "system" && wants.any()).then(|| NO_HISTORY.to_owned()));
        if let Some(refused) = refused {
            frame::text_with(&mut line.replies, |out| events::error(out, &refused, clock::wall()));
            return Ok(());
        }
        if topic == "system" {
            let metrics = || (clock::now() + METRICS_INTERVAL, LoadMeter::start(&self.host.desk.telemetry));
            self.metrics = Some(self.metrics.take().unwrap_or_else(metrics));
        } else if let Some(pattern) = code_topic(topic) {
            let hub = &self.host.hub;
            let id = *self.code.get_or_insert_with(|| hub.join(Member::new(&self.conn, Dialect::Code)));
            if wants.any() {
                return self.resume(line, id, vec![pattern], wants, topic, request_id);
            }
            self.host.hub.subscribe(id, Filter::Pattern(pattern)).map_err(too_many)?;
        } else if let Some(pattern) = dotted(topic) {
            let known = self.named.contains(&pattern);
            if !known && self.named.len() >= MAX_PATTERNS {
                return Err(End::close(CLOSE_POLICY, "too many subscriptions: at most 100"));
            }
            let name = |named: &mut Vec<Pattern>| {
                if !known {
                    named.push(pattern.clone());
                }
            };
            self.rename(name, wants.any().then_some(&pattern))?;
            if let (Some(id), true) = (self.member, wants.any()) {
                return self.resume(line, id, vec![pattern], wants, topic, request_id);
            }
        }
        Ok(()) // any other topic is taken without a word, as the code does
    }

    fn unsubscribe(&mut self, topic: &str) -> Result<(), End> {
        if topic == "system" {
            self.metrics = None;
        } else if let (Some(pattern), Some(id)) = (code_topic(topic), self.code) {
            self.host.hub.unsubscribe(id, Filter::Pattern(pattern));
        } else if let Some(pattern) = dotted(topic) {
            self.rename(|named| named.retain(|p| *p != pattern), None)?;
        }
        Ok(())
    }
}

impl Conversation for Events {
    fn begin(&mut self, line: &mut Line) -> Result<(), End> {
        if self.auth_by.is_none() { self.join(line) } else { Ok(()) }
    }

    fn message(&mut self, line: &mut Line, payload: &[u8], _text: bool) -> Result<(), End> {
        let ask = match events::parse(payload) {
            Ok(ask) => ask,
            Err(_) if self.auth_by.is_some() => return Err(not_authorised()),
            Err(text) => {
                frame::text_with(&mut line.replies, |out| events::error(out, &text, clock::wall()));
                return Ok(());
            }
        };
        match ask {
            events::Ask::Auth { key } if self.auth_by.is_some() => {
                let badge = match self.host.gate.knows(self.conn.peer().ip(), &key) {
                    Ok(badge) => badge,
                    Err(Refused::Wrong) => return Err(not_authorised()),
                    Err(Refused::Slowed(wait)) => return Err(End::slowed(wait)),
                };
                line.admit(&self.host.gate, badge);
                self.auth_by = None;
                self.join(line)?;
            }
            _ if self.auth_by.is_some() => return Err(not_authorised()),
            events::Ask::Auth { .. } => {} // nothing to prove (any more)
            events::Ask::Ping { request_id } => {
                let now = clock::wall();
                frame::text_with(&mut line.replies, |out| events::pong(out, request_id.as_deref(), now));
            }
            events::Ask::Subscribe { topic, wants, request_id } => {
                self.subscribe(line, &topic, wants, request_id.as_deref())?;
            }
            events::Ask::Unsubscribe { topic } => self.unsubscribe(&topic)?,
        }
        Ok(())
    }

    fn next_tick(&self) -> Option<Instant> {
        self.auth_by.or(self.metrics.as_ref().map(|(at, _)| *at))
    }

    fn tick(&mut self, line: &mut Line, now: Instant) -> Result<(), End> {
        if self.auth_by.is_some() {
            return Err(End::close(CLOSE_POLICY, "auth_deadline: no key was shown"));
        }
        if let Some((at, meter)) = &mut self.metrics {
            *at = now + METRICS_INTERVAL;
            if let Some(load) = self.host.desk.load(meter) {
                frame::text_with(&mut line.replies, |out| {
                    events::system_metrics(out, load.cpu_percent, load.memory_percent, load.threads, clock::wall());
                });
            }
        }
        Ok(())
    }

    fn leave(&mut self) {
        for id in [self.member.take(), self.code.take()].into_iter().flatten() {
            self.host.hub.leave(id);
        }
    }
}

fn too_many(error: TooMany) -> End {
    End::close(CLOSE_POLICY, error.to_string())
}

fn not_authorised() -> End {
    End::close(CLOSE_KEY, "Invalid API Key: show it in the handshake or send {\"type\":\"auth\",\"api_key\":…} first")
}

fn no_topic(topic: &str) -> String {
    let why = Pattern::new(topic).err().unwrap_or_else(|| "no such topic".to_owned());
    format!("Invalid subscribe message: 'topic': {why}; name gpio, nodes, clusters, or a pattern such as gpio.**")
}

/// What one of the code's topics selects of our events.
fn code_topic(topic: &str) -> Option<Pattern> {
    let pattern = match topic {
        "gpio" => "gpio.state.changed",
        "nodes" => STATUS,
        "clusters" => "cluster.status.changed",
        _ => return None,
    };
    Pattern::new(pattern).ok()
}

fn dotted(topic: &str) -> Option<Pattern> {
    if topic.contains(['.', '*']) { Pattern::new(topic).ok() } else { None }
}
