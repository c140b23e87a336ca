//! The thread `watchdog`: asks the threads that matter, and feeds the manager's watchdog when they have answered.
//!
//! Nothing is fed by a timer alone: each question goes through what its thread waits at, so a thread that is stuck in
//! its work cannot answer. There is one round in half of the manager's interval.
//!
//! **Whose silence counts.** `hub`, `gpio-in`, `gpio-out` and who accepts wait for nothing but their work; when one of them
//! does not answer, nobody is served or nobody ends a lease, and only a restart helps: it stops being fed in that
//! round. The store waits for a disk, and a worn card may take a minute for one write, while lines and events go on
//! without it: it may be silent for [`STORE_INTERVALS`] intervals. Either is in the log and the status as soon as a
//! quarter of the interval is over without an answer, which is before the manager acts.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use super::notify::{Notify, STATUS_PAUSE};
use super::status::Fact;
use crate::rt::clock;
use crate::rt::pulse::Asked;
use crate::rt::worker::Worker;

/// How many of the manager's intervals the store may take to answer.
pub const STORE_INTERVALS: u32 = 10;

/// For what is not an answer.
const ROOM: usize = 8;

/// What the thread hears.
pub(super) enum Heard {
    /// This thread has come round.
    Answer(usize),
    /// The status is not what it was.
    Changed,
    Stop,
}

/// Starts it; what comes back is where it hears.
///
/// # Errors
/// No thread to be had.
pub(super) fn start(
    notify: Arc<Notify>,
    interval: Option<Duration>,
    threads: Vec<Asked>,
) -> std::io::Result<(Sender<Heard>, Worker)> {
    // Each thread has one question at a time, and there is one end. Of changes one is enough.
    let (inbox, heard) = bounded(threads.len() + ROOM);
    let rounds = interval.map(|interval| Rounds::new(interval, threads.iter().map(|thread| thread.name)));
    let own = inbox.clone();
    let worker = Worker::spawn("watchdog", move || {
        Watchdog { notify, rounds, threads, inbox: own, heard, status_at: None }.run()
    })?;
    Ok((inbox, worker))
}

struct Watchdog {
    notify: Arc<Notify>,
    rounds: Option<Rounds>,
    threads: Vec<Asked>,
    inbox: Sender<Heard>,
    heard: Receiver<Heard>,
    /// When the status is told that has changed.
    status_at: Option<Instant>,
}

impl Watchdog {
    fn run(mut self) {
        // The last status was told with the start.
        let mut told = clock::now();
        loop {
            let now = clock::now();
            if let Some(rounds) = &mut self.rounds {
                let news = rounds.look(now);
                for place in news.ask {
                    let (thread, inbox) = (&self.threads[place], self.inbox.clone());
                    (thread.ask)(Box::new(move || drop(inbox.try_send(Heard::Answer(place)))));
                }
                self.tell(&news.told);
                if news.feed {
                    self.notify.feed();
                }
            }
            if self.status_at.is_some_and(|at| at <= now) {
                self.notify.tell_status();
                (told, self.status_at) = (now, None);
            }
            let next = self.rounds.as_ref().map(|rounds| rounds.next()).into_iter().chain(self.status_at).min();
            let heard = match next {
                Some(at) => self.heard.recv_deadline(at),
                None => self.heard.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match heard {
                Ok(Heard::Answer(place)) => {
                    if let Some(rounds) = &mut self.rounds
                        && let Some(news) = rounds.heard(place, clock::now())
                    {
                        self.tell(&[news]);
                    }
                }
                Ok(Heard::Changed) => self.status_at = self.status_at.or(Some(told + STATUS_PAUSE)),
                Err(RecvTimeoutError::Timeout) => {}
                Ok(Heard::Stop) | Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Writes it down, and into the status: at once, since the manager may act next.
    fn tell(&mut self, news: &[News]) {
        for news in news {
            match news {
                News::Late { name, limit: None } => log::error!(
                    "watchdog: thread {name} does not answer; unless it does, the service manager ends this process"
                ),
                News::Late { name, limit: Some(limit) } => log::warn!(
                    "watchdog: thread {name} does not answer, perhaps for a slow disk; it may take {} for that",
                    humantime::format_duration(*limit)
                ),
                News::Lost { name } => {
                    log::error!("watchdog: thread {name} has not answered; the service manager ends this process");
                }
                News::Back { name, after } => {
                    log::info!("watchdog: thread {name} answers again, after {}", humantime::format_duration(*after));
                }
            }
        }
        if let (false, Some(rounds)) = (news.is_empty(), &self.rounds) {
            self.notify.tell_now(Fact::Silent, || rounds.silence());
        }
    }
}

/// What is to be told of a thread.
#[derive(Debug, PartialEq, Eq)]
enum News {
    /// It has not answered yet; whether it may take longer, and how long.
    Late {
        name: &'static str,
        limit: Option<Duration>,
    },
    /// Nor within that longer time.
    Lost {
        name: &'static str,
    },
    Back {
        name: &'static str,
        after: Duration,
    },
}

/// What is to be done at a moment.
#[derive(Debug, Default, PartialEq, Eq)]
struct Due {
    ask: Vec<usize>,
    told: Vec<News>,
    feed: bool,
}

/// Who was asked when, and who has answered.
struct Rounds {
    half: Duration,
    quarter: Duration,
    parts: Vec<Part>,
    next: Option<Instant>,
    fed: bool,
}

struct Part {
    name: &'static str,
    /// How long it may be silent without harm.
    patience: Duration,
    asked: Option<Instant>,
    told_late: bool,
    told_lost: bool,
}

impl Rounds {
    fn new(interval: Duration, names: impl Iterator<Item = &'static str>) -> Rounds {
        let part = |name| {
            let patience = if name == "store" { interval.saturating_mul(STORE_INTERVALS) } else { Duration::ZERO };
            Part { name, patience, asked: None, told_late: false, told_lost: false }
        };
        let parts = names.map(part).collect();
        Rounds { half: interval / 2, quarter: interval / 4, parts, next: None, fed: false }
    }

    /// What there is to do now; the first round begins with the first call.
    fn look(&mut self, now: Instant) -> Due {
        let mut due = Due::default();
        if self.next.is_none_or(|next| next <= now) {
            self.next = Some(now + self.half);
            self.fed = false;
            for (place, part) in self.parts.iter_mut().enumerate().filter(|(_, part)| part.asked.is_none()) {
                part.asked = Some(now);
                due.ask.push(place);
            }
        }
        for part in &mut self.parts {
            let waited = part.asked.map_or(Duration::ZERO, |asked| now.saturating_duration_since(asked));
            if waited >= self.quarter && !part.told_late {
                part.told_late = true;
                let limit = (!part.patience.is_zero()).then_some(part.patience);
                due.told.push(News::Late { name: part.name, limit });
            }
            if waited >= part.patience && !part.patience.is_zero() && !part.told_lost {
                part.told_lost = true;
                due.told.push(News::Lost { name: part.name });
            }
        }
        let well = |part: &Part| part.asked.is_none_or(|asked| now.saturating_duration_since(asked) < part.patience);
        if !self.fed && self.parts.iter().all(well) {
            self.fed = true;
            due.feed = true;
        }
        due
    }

    fn heard(&mut self, place: usize, now: Instant) -> Option<News> {
        let part = self.parts.get_mut(place)?;
        let asked = part.asked.take()?;
        part.told_lost = false;
        let after = Duration::from_millis(now.saturating_duration_since(asked).as_millis() as u64);
        std::mem::take(&mut part.told_late).then_some(News::Back { name: part.name, after })
    }

    /// When to look again, if nothing is heard.
    fn next(&self) -> Instant {
        let limits = self.parts.iter().filter_map(|part| {
            let asked = part.asked?;
            let late = (!part.told_late).then_some(asked + self.quarter);
            let lost = (!part.patience.is_zero() && !part.told_lost).then(|| asked + part.patience);
            late.into_iter().chain(lost).min()
        });
        limits.chain(self.next).min().unwrap_or_else(clock::now)
    }

    /// For the status: who is silent.
    fn silence(&self) -> String {
        let silent: Vec<_> = self.parts.iter().filter(|part| part.told_late).map(|part| part.name).collect();
        if silent.is_empty() { String::new() } else { format!("no answer from {}", silent.join(", ")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(8);

    fn at(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    #[test]
    fn a_round_feeds_once_and_only_when_all_have_answered() {
        let (mut rounds, start) = (Rounds::new(INTERVAL, ["hub", "gpio-out"].into_iter()), clock::now());
        assert_eq!(rounds.look(start), Due { ask: vec![0, 1], ..Due::default() });
        assert_eq!(rounds.heard(0, start), None);
        assert_eq!(rounds.look(start), Due::default(), "one is missing");
        assert_eq!(rounds.heard(1, start), None);
        assert_eq!(rounds.look(start), Due { feed: true, ..Due::default() });
        assert_eq!((rounds.look(at(start, 3)), rounds.next()), (Due::default(), at(start, 4)));
        assert_eq!(rounds.look(at(start, 4)).ask, [0, 1]);
    }

    #[test]
    fn who_does_not_answer_is_named_before_the_manager_acts_and_fed_again_when_it_does() {
        let (mut rounds, start) = (Rounds::new(INTERVAL, ["hub"].into_iter()), clock::now());
        assert_eq!((rounds.look(start).ask, rounds.next()), (vec![0], at(start, 2)));
        let late = News::Late { name: "hub", limit: None };
        assert_eq!(rounds.look(at(start, 2)), Due { told: vec![late], ..Due::default() });
        assert_eq!(rounds.silence(), "no answer from hub");
        assert_eq!(rounds.look(at(start, 4)), Due::default(), "one question at a time, and told once");
        assert_eq!(rounds.look(at(start, 400)), Due::default());
        let back = News::Back { name: "hub", after: Duration::from_secs(401) };
        assert_eq!(rounds.heard(0, at(start, 401)), Some(back));
        assert_eq!((rounds.look(at(start, 401)).feed, rounds.silence()), (true, String::new()));
    }

    #[test]
    fn the_store_may_be_silent_for_longer_and_not_for_ever() {
        let (mut rounds, start) = (Rounds::new(INTERVAL, ["store", "hub"].into_iter()), clock::now());
        assert_eq!(rounds.look(start).ask, [0, 1]);
        assert_eq!(rounds.heard(1, start), None);
        assert!(rounds.look(start).feed);
        let late = News::Late { name: "store", limit: Some(INTERVAL * STORE_INTERVALS) };
        assert_eq!(rounds.look(at(start, 2)).told, [late]);
        for round in 1..20 {
            assert_eq!(rounds.look(at(start, 4 * round)).ask, [1]);
            assert_eq!(rounds.heard(1, at(start, 4 * round)), None);
            assert!(rounds.look(at(start, 4 * round)).feed, "round {round}");
        }
        let lost = rounds.look(at(start, 80));
        assert_eq!((lost.told, lost.feed), (vec![News::Lost { name: "store" }], false));
        assert_eq!(rounds.heard(1, at(start, 80)), None);
        assert!(!rounds.look(at(start, 80)).feed);
        assert!(rounds.heard(0, at(start, 81)).is_some());
        assert!(rounds.look(at(start, 81)).feed);
    }
}
