//! Endrpi on `/`: requests answered in order, and the passive messages Endrpi only announces.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::bounded;

use super::{Conversation, End, Host, Line};
use crate::actions::topics;
use crate::auth::{Badge, Refused};
use crate::conn::{CLOSE_KEY, CLOSE_POLICY, Conn};
use crate::dispatch::{self, Aside};
use crate::hub::{Acked, Filter, Member, MemberId, Wish};
use crate::rt::clock;
use crate::types::caller::Caller;
use crate::types::debug::Victim;
use crate::types::event::{Body, Dialect};
use crate::types::rights::Rights;
use crate::types::topic::Pattern;
use crate::types::wants::{Resumed, Wants};
use crate::wire::endrpi::{Call, Data, HANG_ASKED, PANIC_ASKED, PUBLISHED, Publish, Request, failure};
use crate::wire::frame;

/// How long a publisher may wait for its acknowledgement; the hub gives up before.
const ACK_LIMIT: Duration = Duration::from_secs(30);

/// Patterns one client may be subscribed to.
const MAX_PATTERNS: usize = 100;

const UNAUTHORISED: &str =
    "Invalid API Key: show it in the handshake or send {\"action\":\"AUTH\",\"params\":{\"api_key\":…}} first";

pub struct Endrpi {
    host: Arc<Host>,
    conn: Arc<Conn>,
    caller: Caller,
    auth_by: Option<Instant>,
    /// Joined with the first subscription.
    member: Option<MemberId>,
    patterns: Vec<Pattern>,
}

impl Endrpi {
    pub fn new(host: &Arc<Host>, conn: &Arc<Conn>, authorised: bool) -> Endrpi {
        Endrpi {
            host: Arc::clone(host),
            caller: host.desk.caller(conn.peer().to_string()),
            conn: Arc::clone(conn),
            auth_by: (!authorised).then(|| clock::now() + host.limits.auth_deadline),
            member: None,
            patterns: Vec::new(),
        }
    }

    fn aside(&mut self, request: &Request, line: &mut Line, aside: Aside) -> Result<(), End> {
        let answer: Result<&str, String> = match aside {
            Aside::Subscribe(patterns, wants) if wants.any() => return self.resume(request, line, patterns, wants),
            Aside::Presence => {
                self.presence(request, line);
                return Ok(());
            }
            Aside::Snapshot => {
                self.snapshot(request, line);
                return Ok(());
            }
            Aside::Publish(publish) => {
                self.publish(request, line, publish);
                return Ok(());
            }
            Aside::Auth(key) => {
                let badge = match self.host.gate.knows(self.conn.peer().ip(), &key) {
                    Ok(badge) => badge,
                    Err(Refused::Wrong) => return Err(End::close(CLOSE_KEY, "Invalid API Key")),
                    Err(Refused::Slowed(wait)) => return Err(End::slowed(wait)),
                };
                // Who is in already stays in with what it came with, unless it shows a better key.
                if self.auth_by.take().is_some() || badge != Badge::Anybody {
                    line.admit(&self.host.gate, badge);
                    self.narrow(line.rights.clone());
                }
                Ok("Authenticated")
            }
            Aside::Subscribe(patterns, _) => self.subscribe(patterns).map(|()| "Subscribed"),
            Aside::Unsubscribe(patterns) => {
                self.unsubscribe(patterns);
                Ok("Unsubscribed")
            }
            Aside::Panic(Victim::Hub) => {
                self.host.hub.debug_panic();
                Ok(PANIC_ASKED)
            }
            Aside::Hang(Victim::Store) => {
                self.host.store.debug_hang();
                Ok(HANG_ASKED)
            }
            Aside::Hang(_) => {
                self.host.hub.debug_hang();
                Ok(HANG_ASKED)
            }
            Aside::Panic(_) => panic!("a debug action asked for this"),
        };
        self.tell(request, line, answer.as_ref().map(|text| Data::Text(text)));
        Ok(())
    }

    fn tell<E: std::fmt::Display>(&self, request: &Request, line: &mut Line, answer: Result<Data, E>) {
        frame::text_with(&mut line.replies, |out| self.host.desk.tell(request, out, answer));
    }

    /// Subscribes with an answer that says from where, and with what was missed behind it.
    fn resume(&mut self, request: &Request, line: &mut Line, patterns: Vec<Pattern>, wants: Wants) -> Result<(), End> {
        let resumed = self.fresh(&patterns).and_then(|fresh| {
            let member = self.member();
            // Those it has already begin again with what follows `since`.
            let filters = patterns.into_iter().map(Filter::Pattern).collect();
            let wish = Wish { since: wants.since, last: wants.last };
            let resumed = self.host.hub.resume(member, filters, wish).map_err(|error| error.to_string())?;
            self.patterns.extend(fresh);
            Ok(resumed)
        });
        match resumed {
            Ok((answer, replay)) => {
                let resumed = Resumed { position: answer.position, recovered: answer.recovered, missed: answer.missed };
                self.tell::<String>(request, line, Ok(Data::Subscribed(&resumed)));
                line.replay(replay)
            }
            Err(error) => {
                self.tell(request, line, Err(error));
                Ok(())
            }
        }
    }

    fn publish(&self, request: &Request, line: &mut Line, Publish { topic, data, ack }: Publish) {
        let body = Body::Published { event: topic.into(), data: data.into(), action: None, created_at: None };
        let rights = self.caller.rights.as_deref();
        if !ack {
            let published = topics::publish(&self.host.hub, rights, body);
            return self.tell(request, line, published.map(|()| Data::Text(PUBLISHED)));
        }
        let (done, told) = bounded(1);
        let ack = Box::new(move |acked| drop(done.try_send(acked)));
        if let Err(refused) = topics::publish_acked(&self.host.hub, rights, body, ack) {
            return self.tell(request, line, Err(refused));
        }
        // What was answered before goes out first: this answer may have to wait for a disk, and the next ones for it.
        let _ = line.settle();
        match told.recv_timeout(ACK_LIMIT) {
            Ok(Ok(Acked { position, durable })) => {
                let status = if durable { "durable" } else { "accepted" };
                self.tell::<String>(request, line, Ok(Data::Published(status, position)));
            }
            Ok(Err(why)) => self.tell(request, line, Err(why)),
            Err(_) => self.tell(request, line, Err("the disk did not take it in time: it may be kept, or not")),
        }
    }

    fn presence(&self, request: &Request, line: &mut Line) {
        let presence = dispatch::presence(&self.host.hub, self.caller.rights.as_deref());
        let present = presence.as_ref().map(|presence| dispatch::present(presence));
        self.tell(request, line, present.as_ref().map(|present| Data::Presence(present)));
    }

    fn snapshot(&self, request: &Request, line: &mut Line) {
        let host = &self.host;
        let snapshot = host.desk.snapshot(&host.hub, &host.alerts, &self.caller);
        self.tell(request, line, snapshot.as_ref().map(Data::Snapshot));
    }

    /// The visitor is in with another key: what that does not allow ends.
    fn narrow(&mut self, rights: Option<Arc<Rights>>) {
        let lost = |pattern: &&Pattern| rights.as_ref().is_some_and(|rights| rights.subscribe(pattern).is_err());
        let lost: Vec<Pattern> = self.patterns.iter().filter(lost).cloned().collect();
        if !lost.is_empty() {
            self.unsubscribe(lost);
        }
        self.caller.rights = rights;
    }

    fn subscribe(&mut self, patterns: Vec<Pattern>) -> Result<(), String> {
        let fresh = self.fresh(&patterns)?;
        let member = self.member();
        for pattern in fresh {
            let subscribed = self.host.hub.subscribe(member, Filter::Pattern(pattern.clone()));
            subscribed.map_err(|error| error.to_string())?;
            self.patterns.push(pattern);
        }
        Ok(())
    }

    /// Those of the patterns that are new, if all of them are allowed.
    fn fresh(&self, patterns: &[Pattern]) -> Result<Vec<Pattern>, String> {
        if let Some(rights) = &self.caller.rights {
            patterns.iter().try_for_each(|pattern| rights.subscribe(pattern)).map_err(|lacks| lacks.to_string())?;
        }
        let mut fresh: Vec<Pattern> = Vec::new();
        for pattern in patterns {
            if !self.patterns.contains(pattern) && !fresh.contains(pattern) {
                fresh.push(pattern.clone());
            }
        }
        if self.patterns.len() + fresh.len() > MAX_PATTERNS {
            return Err(format!("Too many topics: at most {MAX_PATTERNS} per connection"));
        }
        Ok(fresh)
    }

    fn member(&mut self) -> MemberId {
        let hub = &self.host.hub;
        *self.member.get_or_insert_with(|| hub.join(Member::new(&self.conn, Dialect::Endrpi)))
    }

    fn unsubscribe(&mut self, patterns: Vec<Pattern>) {
        let Some(member) = self.member else { return };
        if patterns.is_empty() {
            self.host.hub.unsubscribe_all(member);
            self.patterns.clear();
        }
        for pattern in patterns {
            self.patterns.retain(|p| *p != pattern);
            self.host.hub.unsubscribe(member, Filter::Pattern(pattern));
        }
    }
}

impl Conversation for Endrpi {
    fn begin(&mut self, line: &mut Line) -> Result<(), End> {
        self.caller.rights = line.rights.clone();
        Ok(())
    }

    fn message(&mut self, line: &mut Line, payload: &[u8], _text: bool) -> Result<(), End> {
        let host = Arc::clone(&self.host);
        let unauthorised = self.auth_by.is_some();
        match host.desk.read(payload) {
            Ok(mut request) => {
                if unauthorised && !matches!(request.call, Call::Auth { .. }) {
                    return Err(End::close(CLOSE_KEY, UNAUTHORISED));
                }
                let mut aside = None;
                let start = line.replies.len();
                frame::text_with(&mut line.replies, |out| aside = host.desk.answer(&self.caller, &mut request, out));
                if let Some(aside) = aside {
                    // Nothing was written but an empty frame's header.
                    line.replies.truncate(start);
                    self.aside(&request, line, aside)?;
                }
            }
            Err(_) if unauthorised => return Err(End::close(CLOSE_KEY, UNAUTHORISED)),
            Err(refusal) => {
                let action = refusal.action.map(|action| action.as_str());
                frame::text_with(&mut line.replies, |out| {
                    failure(out, action, &refusal.message, refusal.id, host.desk.error_style);
                });
            }
        }
        Ok(())
    }

    fn next_tick(&self) -> Option<Instant> {
        self.auth_by
    }

    fn tick(&mut self, _line: &mut Line, _now: Instant) -> Result<(), End> {
        match self.auth_by {
            Some(_) => Err(End::close(CLOSE_POLICY, "auth_deadline: no key was shown")),
            None => Ok(()),
        }
    }

    fn leave(&mut self) {
        if let Some(member) = self.member.take() {
            self.host.hub.leave(member);
        }
        self.host.desk.gone(&self.caller);
    }
}
