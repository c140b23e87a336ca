//! Which orders have come, so that each is run once however often it is sent.

use std::collections::{HashMap, VecDeque};

use super::orders::Reply;
use crate::types::fleet::Outcome;

/// Ids that are remembered; the audit knows the older ones.
const IDS: usize = 1000;
/// Outcomes that are kept for an order that is sent again.
const OUTCOMES: usize = 100;
/// Who may wait for one order: a hub sends it again when it has lost a connection.
const WAITING: usize = 8;

/// What is known of the orders that have come.
#[derive(Default)]
pub struct Memory {
    orders: HashMap<String, State>,
    /// The ended ones, oldest first.
    ended: VecDeque<String>,
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
        if let Some(old) = self.ended.len().checked_sub(OUTCOMES + 1).and_then(|at| self.ended.get(at)) {
            self.orders.insert(old.clone(), State::Ended(None));
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
