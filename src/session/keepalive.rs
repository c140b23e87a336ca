//! How long a session waits, and for what. Pure: given the time, it says what to do next.
//!
//! Silence for the ping interval makes us send a ping; silence for the pong deadline after that means that
//! the peer is gone. Any bytes count as life. A message that has begun must be complete within the message
//! deadline, so that a peer cannot hold a session with a byte now and then.
//!
//! A session is **busy** from each message of its visitor on, and waits in the read itself then, which is one system
//! call and has a short timeout of its own. When that is over it is **idle**: what it needs no more is given back,
//! and it waits for a moment, with the kernel's precise timers. The timeouts of sockets are not: they are kept in a
//! wheel whose slots are the wider the longer the wait, seconds at 25 s, and who waits in one slot is woken together.

use std::io;
use std::time::{Duration, Instant};

use crate::config;
use crate::conn::Wait;
use crate::rt::clock;

/// How long a busy session waits before it is idle. Shorter, and one that asks now and then is woken twice for each
/// message; longer, and it holds what it needs no more for longer.
const QUIET: Duration = Duration::from_millis(500);

/// What to do after a wait that brought nothing.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    WaitOn,
    Tick,
    Ping,
}

/// See the module's text.
pub struct KeepAlive {
    ping_interval: Duration,
    pong_deadline: Duration,
    message_deadline: Duration,
    quiet: Duration,
    /// Reads since the last whole message; a wait after one means that a message is under way.
    reads: u32,
    /// When the message under way must be complete.
    complete_by: Option<Instant>,
    /// When silence calls for a ping; not kept up while busy.
    ping_at: Instant,
    /// When the answer to our ping must be here.
    pong_by: Option<Instant>,
    busy: bool,
}

impl KeepAlive {
    pub fn new(limits: &config::Session, ping_interval: Duration, now: Instant) -> KeepAlive {
        KeepAlive {
            ping_interval,
            pong_deadline: limits.pong_deadline,
            message_deadline: limits.message_deadline,
            quiet: KeepAlive::quiet(limits),
            reads: 0,
            complete_by: None,
            ping_at: now + ping_interval,
            pong_by: None,
            // What comes right behind a handshake should not wait for memory that was just given back.
            busy: true,
        }
    }

    /// What [`Wait::Steady`] is to stand for in all sessions: short beside each one's ping interval.
    pub fn quiet(limits: &config::Session) -> Duration {
        QUIET.min(limits.ping_interval / 8).max(Duration::from_millis(1))
    }

    /// Nothing was said for a while, and nothing is under way.
    pub fn is_idle(&self) -> bool {
        !self.busy && self.reads == 0
    }

    /// How long to wait. The usual case, busy and nothing under way, costs no clock.
    pub fn wait(&mut self, tick: Option<Instant>) -> Wait {
        if self.reads > 0 && self.complete_by.is_none() {
            let now = clock::now();
            self.complete_by = Some(now + self.message_deadline);
            self.ping_at = now + self.ping_interval;
        }
        if self.steady(tick) {
            return Wait::Steady;
        }
        let silence = self.pong_by.unwrap_or(self.ping_at);
        Wait::Until([tick, self.complete_by].into_iter().flatten().fold(silence, Instant::min))
    }

    /// Bytes came.
    pub fn heard(&mut self) {
        self.reads += 1;
        self.pong_by = None;
        // The first read of a message is the usual and mostly the last one: no clock is read for it. (With a
        // tick, the ping time is then late by what passed since; the next silence makes up for it.)
        if self.reads > 1 || !self.busy {
            self.ping_at = clock::now() + self.ping_interval;
        }
    }

    /// A whole message was read (or a tick is over): one of the visitor's own if it `said` something, not a pong.
    pub fn message_done(&mut self, said: bool) {
        self.reads = 0;
        self.complete_by = None;
        self.busy |= said;
    }

    /// The wait brought nothing.
    ///
    /// # Errors
    /// `TimedOut` when the peer is to be given up, with the limit's name.
    pub fn silence(&mut self, tick: Option<Instant>, now: Instant) -> io::Result<Next> {
        let over = |limit: Option<Instant>| limit.is_some_and(|limit| limit <= now);
        if over(self.complete_by) {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "message_deadline: the message did not end"));
        }
        if over(self.pong_by) {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "pong_deadline: no answer to a ping"));
        }
        if over(tick) {
            return Ok(Next::Tick);
        }
        if self.steady(tick) {
            self.busy = false;
            self.ping_at = now + self.ping_interval.saturating_sub(self.quiet);
        }
        if self.pong_by.is_none() && self.ping_at <= now {
            self.pong_by = Some(now + self.pong_deadline);
            self.ping_at = now + self.ping_interval;
            self.busy = false;
            return Ok(Next::Ping);
        }
        Ok(Next::WaitOn)
    }

    /// Whether the read's own timeout is what there is to wait for.
    fn steady(&self, tick: Option<Instant>) -> bool {
        self.busy && tick.is_none() && self.complete_by.is_none() && self.pong_by.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn limits() -> config::Session {
        config::Session {
            message_bytes: 1,
            message_deadline: 10 * SECOND,
            ping_interval: 25 * SECOND,
            pong_deadline: 8 * SECOND,
            auth_deadline: SECOND,
            close_deadline: SECOND,
            backlog_bytes: 1,
            total_backlog_bytes: 1,
            send_buffer_bytes: 1,
            slow_events: config::SlowEvents::Drop,
        }
    }

    fn until(wait: Wait) -> Option<Instant> {
        match wait {
            Wait::Until(at) => Some(at),
            _ => None,
        }
    }

    #[test]
    fn silence_is_answered_with_a_ping_and_then_with_the_end() {
        let start = clock::now();
        let mut keepalive = KeepAlive::new(&limits(), limits().ping_interval, start);
        assert!(until(keepalive.wait(None)).is_none() && !keepalive.is_idle(), "busy");
        assert_eq!(keepalive.silence(None, start + KeepAlive::quiet(&limits())).expect("alive"), Next::WaitOn);
        let now = start + 25 * SECOND;
        assert_eq!(until(keepalive.wait(None)), Some(now), "what passed while busy counts");
        assert!(keepalive.is_idle());
        assert_eq!(keepalive.silence(None, now).expect("alive"), Next::Ping);
        assert_eq!(until(keepalive.wait(None)), Some(now + 8 * SECOND));
        assert_eq!(keepalive.silence(None, now + 7 * SECOND).expect("alive"), Next::WaitOn);
        let error = keepalive.silence(None, now + 8 * SECOND).expect_err("gone");
        assert!(error.to_string().contains("pong_deadline"), "{error}");
    }

    #[test]
    fn any_bytes_after_a_ping_count_as_life() {
        let start = clock::now();
        let mut keepalive = KeepAlive::new(&limits(), limits().ping_interval, start);
        assert_eq!(keepalive.silence(None, start + SECOND).expect("alive"), Next::WaitOn);
        assert_eq!(keepalive.silence(None, start + 26 * SECOND).expect("alive"), Next::Ping);
        keepalive.heard();
        assert!(!keepalive.is_idle(), "something is under way");
        keepalive.message_done(false);
        assert!(keepalive.is_idle(), "a pong is no reason to be busy");
        let by = until(keepalive.wait(None)).expect("a moment");
        assert!(by > start + 24 * SECOND && by < start + 26 * SECOND, "an interval from when it was heard");
        keepalive.heard();
        keepalive.message_done(true);
        assert!(until(keepalive.wait(None)).is_none() && !keepalive.is_idle(), "busy again");
    }

    #[test]
    fn a_message_that_has_begun_must_end() {
        let start = clock::now();
        let mut keepalive = KeepAlive::new(&limits(), limits().ping_interval, start);
        keepalive.heard();
        // Waiting again without a whole message is what shows that one is under way.
        let by = until(keepalive.wait(None)).expect("a deadline");
        assert!(by >= start + 10 * SECOND && by < start + 11 * SECOND);
        // More bytes do not move the deadline.
        keepalive.heard();
        assert_eq!(until(keepalive.wait(None)), Some(by));
        keepalive.heard();
        assert_eq!(until(keepalive.wait(None)), Some(by));
        assert!(keepalive.silence(None, by).is_err());
        keepalive.message_done(true);
        assert!(until(keepalive.wait(None)).is_none());
    }

    #[test]
    fn ticks_come_at_their_time_and_pings_still_do() {
        let start = clock::now();
        let mut keepalive = KeepAlive::new(&limits(), limits().ping_interval, start);
        let tick = start + 5 * SECOND;
        assert_eq!(until(keepalive.wait(Some(tick))), Some(tick));
        assert_eq!(keepalive.silence(Some(tick), tick).expect("alive"), Next::Tick);
        let later = start + 26 * SECOND;
        assert_eq!(keepalive.silence(Some(later + SECOND), later).expect("alive"), Next::Ping);
        assert_eq!(until(keepalive.wait(Some(later + 60 * SECOND))), Some(later + 8 * SECOND));
    }
}
