//! Which orders have come, so that each is run once however often it is sent.

use std::collections::{HashMap, VecDeque};

use super::orders::Reply;
use crate::types::fleet::Outcome;

/// Ids that are remembered; the audit knows the older ones.
const IDS: usize = 1000;
/// Outcomes that are kept for an order that is sent again.
const OUTCOMES: usize = 100;
/// What those may have printed in all, in bytes; the last one is kept whatever its size.
const OUTCOME_BYTES: usize = 2 * 1024 * 1024;
/// Who may wait for one order: a hub sends it again when it has lost a connection.
const WAITING: usize = 8;

/// What is known of the orders that have come.
#[derive(Default)]
pub struct Memory {
    orders: HashMap<String, State>,
    /// The ended ones, oldest first.
    ended: VecDeque<String>,
    /// How many of them, the last ones, have their outcomes, and how large those are.
    kept: usize,
    kept_bytes: usize,
}

enum State {
    /// It waits or runs.
    Open(Vec<Box<dyn Reply>>),
    /// `None`: the outcome is not kept any more.
    Ended(Option<Outcome>),
}

/// What is to be done about an order that has come.
pub enum Met {
    /// It is new: to be run.
    New,
    /// It is under way, and this reply will have its outcome too.
    Joined,
    /// There is an answer already.
    Known(Box<dyn Reply>, Outcome),
}

impl Memory {
    pub fn meet(&mut self, id: &str, reply: Box<dyn Reply>) -> Met {
        match self.orders.get_mut(id) {
            None => {
                self.orders.insert(id.to_owned(), State::Open(vec![reply]));
                Met::New
            }
            Some(State::Open(waiting)) if waiting.len() < WAITING => {
                waiting.push(reply);
                Met::Joined
            }
            Some(State::Open(_)) => Met::Known(reply, failed("it is under way, and enough wait for it")),
            Some(State::Ended(Some(outcome))) => Met::Known(reply, outcome.clone()),
            Some(State::Ended(None)) => {
                Met::Known(reply, failed("it has been run, and its outcome is not kept any more"))
            }
        }
    }

    /// Hands a part of the output to who waits.
    pub fn output(&mut self, id: &str, offset: usize, text: &str) {
        if let Some(State::Open(waiting)) = self.orders.get_mut(id) {
            waiting.iter_mut().for_each(|reply| reply.output(offset, text));
        }
    }

    /// Notes the outcome and returns who waits for it.
    pub fn end(&mut self, id: &str, outcome: &Outcome) -> Vec<Box<dyn Reply>> {
        let before = self.orders.insert(id.to_owned(), State::Ended(Some(outcome.clone())));
        self.ended.push_back(id.to_owned());
        self.kept += 1;
        self.kept_bytes += size(outcome);
        while self.kept > OUTCOMES || (self.kept_bytes > OUTCOME_BYTES && self.kept > 1) {
            self.forget_an_outcome();
        }
        if self.ended.len() > IDS
            && let Some(oldest) = self.ended.pop_front()
        {
            self.orders.remove(&oldest);
        }
        match before {
            Some(State::Open(waiting)) => waiting,
            Some(State::Ended(_)) | None => Vec::new(),
        }
    }

    /// Of those that are kept, the oldest.
    fn forget_an_outcome(&mut self) {
        let at = self.ended.len().saturating_sub(self.kept);
        let state = self.ended.get(at).and_then(|id| self.orders.get_mut(id));
        if let Some(State::Ended(outcome)) = state {
            self.kept_bytes -= outcome.take().as_ref().map_or(0, size);
        }
        self.kept = self.kept.saturating_sub(1);
    }
}

/// How much an outcome has to say, in bytes.
fn size(outcome: &Outcome) -> usize {
    match outcome {
        Outcome::Command { output, .. } => output.len(),
        Outcome::ContainerLogs { lines, .. } => lines.iter().map(|line| line.len() + size_of::<String>()).sum(),
        Outcome::Failed { message } | Outcome::Denied { message } => message.len(),
        Outcome::Container { .. } | Outcome::Unexpected => 0,
    }
}

fn failed(why: &str) -> Outcome {
    Outcome::Failed { message: format!("this order was sent before: {why}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Nobody;

    impl Reply for Nobody {
        fn done(self: Box<Self>, _: Outcome) {}
    }

    #[test]
    fn large_outcomes_are_not_kept_by_the_hundred() {
        let mut memory = Memory::default();
        let output = "x".repeat(OUTCOME_BYTES / 3);
        let outcome = Outcome::Command { output, truncated: false, exit_code: 0, duration_ms: None };
        for id in ["a", "b", "c", "d"] {
            assert!(matches!(memory.meet(id, Box::new(Nobody)), Met::New));
            memory.end(id, &outcome);
        }
        let keeps = |memory: &Memory, id: &str| matches!(memory.orders.get(id), Some(State::Ended(Some(_))));
        assert!(!keeps(&memory, "a") && keeps(&memory, "b") && keeps(&memory, "d"));
        let huge = Outcome::Denied { message: "x".repeat(2 * OUTCOME_BYTES) };
        memory.end("e", &huge);
        assert!(!keeps(&memory, "d") && keeps(&memory, "e"));
        assert_eq!((memory.kept, memory.kept_bytes), (1, 2 * OUTCOME_BYTES));
    }

    #[test]
    fn an_order_is_new_once() {
        let mut memory = Memory::default();
        let meet = |memory: &mut Memory, id: &str| match memory.meet(id, Box::new(Nobody)) {
            Met::New => "new".to_owned(),
            Met::Joined => "joined".to_owned(),
            Met::Known(_, Outcome::Failed { message }) => message,
            Met::Known(..) => "known".to_owned(),
        };
        assert_eq!((meet(&mut memory, "a").as_str(), meet(&mut memory, "a").as_str()), ("new", "joined"));
        let outcome = Outcome::Denied { message: "no".into() };
        assert_eq!(memory.end("a", &outcome).len(), 2);
        assert_eq!(meet(&mut memory, "a"), "known");
        for number in 0..OUTCOMES {
            assert_eq!(meet(&mut memory, &number.to_string()), "new");
            assert_eq!(memory.end(&number.to_string(), &outcome).len(), 1);
        }
        assert!(meet(&mut memory, "a").contains("not kept any more"));
        for number in OUTCOMES..IDS {
            meet(&mut memory, &number.to_string());
            memory.end(&number.to_string(), &outcome);
        }
        assert_eq!(memory.orders.len(), IDS);
        assert_eq!(meet(&mut memory, "a"), "new", "the audit knows it");
        (0..WAITING).for_each(|_| drop(meet(&mut memory, "a")));
        assert!(meet(&mut memory, "a").contains("enough wait"));
    }
}
