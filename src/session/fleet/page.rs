//! A web page that watches a server: `/api/v1/ws/metrics/{server_id}` and `/api/v1/ws/logs/{server_id}`.
//!
//! Who it is, is shown in the first message (an access token, or an API key that may administer) or in the handshake as
//! everywhere; where anybody may come in, nothing has to be shown. The page is told that it is in, then how things are
//! (the latest sample, or the last [`LOG_ENTRIES`] log entries, the oldest first), and from then on every change: none
//! is missing in between, and none comes twice. When its server is removed it is told so, and closed.

use std::sync::Arc;
use std::time::Instant;

use super::{Conversation, End, Host, Line};
use crate::auth::{Badge, Pass, Principal, Refused};
use crate::conn::{CLOSE_POLICY, Conn};
use crate::fleet::Watching;
use crate::hub::{Member, MemberId};
use crate::rt::clock;
use crate::store::LogFilter;
use crate::types::event::{Dialect, page_topic};
use crate::types::rights::Verb;
use crate::types::token::TokenKind;
use crate::types::topic::Pattern;
use crate::wire::chatops::{NoAuth, browser, rest};
use crate::wire::frame;

/// Log entries a page is told at the beginning.
const LOG_ENTRIES: usize = 50;

/// What a page watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watched {
    /// Samples and alerts.
    Metrics,
    Logs,
}

pub struct Page {
    host: Arc<Host>,
    conn: Arc<Conn>,
    watched: Watched,
    server_id: String,
    shown: Option<String>,
    /// While nobody knows who it is.
    auth_by: Option<Instant>,
    member: Option<MemberId>,
    /// It hears when its server is removed.
    watching: Option<Watching>,
    /// Messages that were none.
    invalid: usize,
}

impl Page {
    pub fn new(host: &Arc<Host>, conn: &Arc<Conn>, watched: Watched, server_id: String, shown: Option<String>) -> Page {
        Page {
            host: Arc::clone(host),
            conn: Arc::clone(conn),
            watched,
            server_id,
            shown,
            auth_by: Some(clock::now() + host.fleet.limits().auth_deadline),
            member: None,
            watching: None,
            invalid: 0,
        }
    }

    /// Lets in who showed this, or says why not.
    fn enter(&mut self, line: &mut Line, shown: &str) -> Result<(), End> {
        let gate = &self.host.gate;
        let accounts = self.host.store.accounts();
        let known = || match accounts.admit(shown, line.turn_out()) {
            Some((user, pass)) => Some(Some((user, Some(pass)))),
            // An honest client's token expires: that is no attempt at anything.
            None => accounts.bearer(TokenKind::Access, shown).err().filter(|denied| denied.is_ours()).map(|_| None),
        };
        let peer = self.conn.peer().ip();
        let keys = || gate.recognise(peer, shown).map(|badge| Some(self.operator(line, badge)));
        match gate.attempt(peer, known().or_else(keys)) {
            Ok(Some((who, pass))) => {
                line.pass = pass;
                self.join(line, &who)
            }
            Ok(None) | Err(Refused::Wrong) => Err(refuse(line, browser::INVALID_TOKEN)),
            Err(Refused::Slowed(wait)) => {
                Err(refuse(line, &format!("{}: {}", browser::INVALID_TOKEN, Refused::wait_text(wait))))
            }
        }
    }

    fn operator(&self, line: &Line, badge: Badge) -> (Principal, Option<Pass>) {
        let gate = &self.host.gate;
        let key = match badge {
            Badge::Stored(id) => Some(id),
            Badge::Anybody | Badge::Configured(_) => None,
        };
        (Principal::Operator { key, rights: gate.rights(badge) }, gate.enter(badge, line.turn_out()))
    }

    /// Tells a page that it is in and how things are, and subscribes it, in one step.
    fn join(&mut self, line: &mut Line, who: &Principal) -> Result<(), End> {
        if let Err(lacks) = who.verb(Verb::Admin) {
            return Err(refuse(line, &lacks.to_string()));
        }
        let Ok(id) = rest::path_id("server_id", &self.server_id) else {
            return Err(refuse(line, browser::INVALID_SERVER_ID));
        };
        let fleet = &self.host.fleet;
        if !fleet.server(&id).is_some_and(|server| who.may_see(server.owner.as_deref())) {
            return Err(refuse(line, browser::ACCESS_DENIED));
        }
        let conn = Arc::downgrade(&self.conn);
        let watching = fleet.watch(&id, move || {
            if let Some(conn) = conn.upgrade() {
                let mut farewell = Vec::new();
                frame::text_with(&mut farewell, |out| browser::error(out, browser::ACCESS_DENIED));
                let _ = conn.send(&farewell);
                conn.close(CLOSE_POLICY, browser::ACCESS_DENIED);
            }
        });
        let Some(watching) = watching else { return Err(refuse(line, browser::ACCESS_DENIED)) };
        self.watching = Some(watching);
        let topic = match self.watched {
            Watched::Metrics => page_topic::metrics(&id),
            Watched::Logs => page_topic::logs(&id),
        };
        let member = fleet.with_latest(&id, |latest| {
            let mut greeting = Vec::new();
            frame::text_with(&mut greeting, browser::auth_success);
            match (self.watched, latest) {
                (Watched::Metrics, Some(sample)) => {
                    let now = clock::wall();
                    frame::text_with(&mut greeting, |out| browser::metrics(out, &id, sample, now));
                }
                (Watched::Metrics, None) => {}
                (Watched::Logs, _) => self.last_logs(&mut greeting, &id),
            }
            let patterns = Pattern::new(&topic).into_iter().collect();
            self.host.hub.join_subscribed(Member { greeting, patterns, ..Member::new(&self.conn, Dialect::Page) })
        });
        let Some(member) = member else { return Err(refuse(line, browser::ACCESS_DENIED)) };
        let member = member.map_err(|error| refuse(line, &error.to_string()))?;
        self.member = Some(member);
        self.auth_by = None;
        Ok(())
    }

    /// Appends the last entries, the oldest first; fewer where they are long, so that a page is not cut off for them.
    fn last_logs(&self, out: &mut Vec<u8>, server_id: &str) {
        let filter = LogFilter { limit: LOG_ENTRIES, level: None, source: None, component: None };
        let entries = self.host.store.logs(server_id, &filter).unwrap_or_else(|error| {
            log::warn!("{}: no log entries at the beginning: {error}", self.conn.peer());
            Vec::new()
        });
        let now = clock::wall();
        let mut room = self.host.limits.backlog_bytes / 2;
        let mut frames: Vec<Vec<u8>> = Vec::new();
        for entry in &entries {
            let mut frame = Vec::new();
            frame::text_with(&mut frame, |out| browser::log(out, entry, now));
            let Some(left) = room.checked_sub(frame.len()) else { break };
            room = left;
            frames.push(frame);
        }
        out.extend(frames.into_iter().rev().flatten());
    }

    /// Whether anybody may come in without showing anything.
    fn is_open(&self) -> bool {
        let gate = &self.host.gate;
        // Users are made to be asked for.
        gate.is_open() && !(gate.is_undecided() && self.host.store.accounts().guarded())
    }
}

impl Conversation for Page {
    fn begin(&mut self, line: &mut Line) -> Result<(), End> {
        if let Some(shown) = self.shown.take() {
            return self.enter(line, &shown);
        }
        match self.is_open() {
            true => self.join(line, &Principal::Operator { key: None, rights: None }),
            false => Ok(()),
        }
    }

    fn message(&mut self, line: &mut Line, payload: &[u8], _text: bool) -> Result<(), End> {
        if self.auth_by.is_some() {
            return match browser::first(payload) {
                Ok(token) => self.enter(line, &token.0),
                Err(refusal) => Err(refuse(line, &browser::auth_reason(&refusal))),
            };
        }
        match browser::parse(payload) {
            Ok(browser::Said::Ping) => frame::text_with(&mut line.replies, browser::pong),
            Ok(browser::Said::Ignored) => {}
            Err(fault) => {
                frame::text_with(&mut line.replies, |out| browser::invalid(out, &fault));
                self.invalid += 1;
                if self.invalid >= self.host.fleet.limits().invalid_messages {
                    return Err(End::close(CLOSE_POLICY, "too many invalid messages"));
                }
            }
        }
        Ok(())
    }

    fn next_tick(&self) -> Option<Instant> {
        self.auth_by
    }

    fn tick(&mut self, line: &mut Line, _now: Instant) -> Result<(), End> {
        match self.auth_by {
            Some(_) => Err(refuse(line, &browser::auth_reason(&NoAuth::Required))),
            None => Ok(()),
        }
    }

    fn leave(&mut self) {
        self.watching = None;
        if let Some(member) = self.member.take() {
            self.host.hub.leave(member);
        }
    }
}

/// The documented error frame, and the Close after it.
fn refuse(line: &mut Line, reason: &str) -> End {
    frame::text_with(&mut line.replies, |out| browser::error(out, reason));
    End::close(CLOSE_POLICY, reason.to_owned())
}
