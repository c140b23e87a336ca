//! How long a session waits, and for what. Pure: given the time, it says what to do next.
//!
//! Silence for the ping interval makes us send a ping; silence for the pong deadline after that means that
//! the peer is gone. Any bytes count as life. A message that has begun must be complete within the message
//! deadline, so that a peer cannot hold a session with a byte now and then.

use std::io;
use std::time::{Duration, Instant};

use crate::config;
use crate::conn::Wait;
use crate::rt::clock;

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
    /// Reads since the last whole message; a wait after one means that a message is under way.
    reads: u32,
    /// When the message under way must be complete.
    complete_by: Option<Instant>,
    /// When silence calls for a ping; only kept up where waits are shorter than the ping interval.
    ping_at: Instant,
    /// When the answer to our ping must be here.
    pong_by: Option<Instant>,
}

impl KeepAlive {
    pub fn new(limits: &config::Session, ping_interval: Duration, now: Instant) -> KeepAlive {
        KeepAlive {
            ping_interval,
            pong_deadline: limits.pong_deadline,
            message_deadline: limits.message_deadline,
            reads: 0,
            complete_by: None,
            ping_at: now + ping_interval,
            pong_by: None,
        }
    }

    /// How long to wait. The usual case, nothing under way, costs no clock.
    pub fn wait(&mut self, tick: Option<Instant>) -> Wait {
        if self.reads > 0 && self.complete_by.is_none() {
            let now = clock::now();
            self.complete_by = Some(now + self.message_deadline);
            self.ping_at = now + self.ping_interval;
        }
        if tick.is_none() && self.complete_by.is_none() && self.pong_by.is_none() {
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
        if self.reads > 1 {
            self.ping_at = clock::now() + self.ping_interval;
        }
    }

    /// A whole message was read (or a tick is over).
    pub fn message_done(&mut self) {
        self.reads = 0;
        self.complete_by = None;
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
        // With nothing else to wait for, the socket's own timeout was the ping interval.
        let steady = tick.is_none() && self.complete_by.is_none();
        if self.pong_by.is_none() && (steady || self.ping_at <= now) {
            self.pong_by = Some(now + self.pong_deadline);
            self.ping_at = now + self.ping_interval;
            return Ok(Next::Ping);
        }
        Ok(Next::WaitOn)
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
        assert!(until(keepalive.wait(None)).is_none(), "steady");
        let now = start + 25 * SECOND;
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
        assert_eq!(keepalive.silence(None, start + 25 * SECOND).expect("alive"), Next::Ping);
        keepalive.heard();
        keepalive.message_done();
        assert!(until(keepalive.wait(None)).is_none(), "steady again");
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
        keepalive.message_done();
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
