//! Endrpi on `/`: requests answered in order, and the passive messages Endrpi only announces.

use std::sync::Arc;
use std::time::Instant;

use super::{Conversation, End, Host, Line};
use crate::auth::{Badge, Refused};
use crate::conn::{CLOSE_POLICY, Conn};
use crate::dispatch::Aside;
use crate::hub::{Filter, Member, MemberId};
use crate::rt::clock;
use crate::types::caller::Caller;
use crate::types::debug::Victim;
use crate::types::event::Dialect;
use crate::types::rights::Rights;
use crate::types::topic::Pattern;
use crate::wire::endrpi::{Call, Data, HANG_ASKED, PANIC_ASKED, Request, failure};
use crate::wire::frame;

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
            Aside::Auth(key) => {
                let badge = match self.host.gate.knows(self.conn.peer().ip(), &key) {
                    Ok(badge) => badge,
                    Err(Refused::Wrong) => return Err(End::close(CLOSE_POLICY, "Invalid API Key")),
                    Err(Refused::Slowed(wait)) => return Err(End::slowed(wait)),
                };
                // Who is in already stays in with what it came with, unless it shows a better key.
                if self.auth_by.take().is_some() || badge != Badge::Anybody {
                    line.admit(&self.host.gate, badge);
                    self.narrow(line.rights.clone());
                }
                Ok("Authenticated")
            }
            Aside::Subscribe(patterns) => self.subscribe(patterns).map(|()| "Subscribed"),
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
        let desk = &self.host.desk;
        frame::text_with(&mut line.replies, |out| {
            desk.tell(request, out, answer.as_ref().map(|text| Data::Text(text)));
        });
        Ok(())
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
        if let Some(rights) = &self.caller.rights {
            patterns.iter().try_for_each(|pattern| rights.subscribe(pattern)).map_err(|lacks| lacks.to_string())?;
        }
        let fresh: Vec<_> = patterns.into_iter().filter(|p| !self.patterns.contains(p)).collect();
        if self.patterns.len() + fresh.len() > MAX_PATTERNS {
            return Err(format!("Too many topics: at most {MAX_PATTERNS} per connection"));
        }
        let hub = &self.host.hub;
        let member = *self.member.get_or_insert_with(|| hub.join(Member::new(&self.conn, Dialect::Endrpi)));
        for pattern in fresh {
            hub.subscribe(member, Filter::Pattern(pattern.clone())).map_err(|error| error.to_string())?;
            self.patterns.push(pattern);
        }
        Ok(())
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
                    return Err(End::close(CLOSE_POLICY, UNAUTHORISED));
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
            Err(_) if unauthorised => return Err(End::close(CLOSE_POLICY, UNAUTHORISED)),
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
