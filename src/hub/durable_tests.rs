//! Durable events with a store that does what the test says.

use std::sync::mpsc::{Receiver, channel};

use super::super::{Bounds, Encode, Hub, Settings, Slow};
use super::*;
use crate::config;
use crate::types::durable::{Past, Sequence};
use crate::types::event::Body;

const LIMIT: Duration = Duration::from_secs(20);

/// What was published, and its ack.
type Acks = Receiver<Result<Acked, NotKept>>;

/// A hub, what is handed to its store, and the topics and data of what is delivered.
struct Rig {
    hub: Arc<Hub>,
    store: Receiver<(Batch, Told)>,
    delivered: Receiver<String>,
}

fn rig() -> Rig {
    let encode = Encode { event: |_, _, _, _| {}, lagged: |_, _, _| {} };
    let settings = Settings { history: config::History::default(), slow_events: Slow::Drop };
    let hub = Hub::start(encode, &settings).expect("a thread");
    let (sender, store) = channel();
    let keeper: Keeper = Box::new(move |batch, told| {
        drop(sender.send((batch, told)));
        Box::new(|| false)
    });
    let kept = Past { topic: "door.old".into(), lost_to: 5, events: vec![(7, Arc::new(event("door.old", "old")))] };
    let past = Sequence { epoch: 9, first: 100, topics: vec![kept] };
    let bounds = Bounds { count: 10, age: None };
    hub.keep_with(past, vec![(Pattern::new("door.**").expect("a pattern"), bounds)], 1 << 20, keeper);
    let (sender, delivered) = channel();
    hub.tap(Box::new(move |event| {
        if let Body::Published { data, .. } = &event.body {
            drop(sender.send(data.to_string()));
        }
    }));
    Rig { hub, store, delivered }
}

fn event(topic: &str, data: &str) -> Event {
    let body = Body::Published { event: topic.into(), data: data.into(), action: None, created_at: None };
    Event { at: clock::wall(), body }
}

impl Rig {
    fn publish(&self, topic: &str, data: &str) -> Acks {
        let (sender, acks) = channel();
        self.hub.publish_acked(event(topic, data), Box::new(move |outcome| drop(sender.send(outcome))));
        self.hub.combine();
        acks
    }

    /// What the store is given next: the batch with its first number and its data, and where to tell its end.
    fn handed(&self) -> (u64, Vec<String>, Batch, Told) {
        let (batch, told) = self.store.recv_timeout(LIMIT).expect("a batch");
        let data = batch.events.iter().map(|event| match &event.body {
            Body::Published { data, .. } => data.to_string(),
            other => panic!("{other:?}"),
        });
        (batch.first, data.collect(), batch, told)
    }

    fn delivered(&self) -> Vec<String> {
        std::iter::from_fn(|| self.delivered.try_recv().ok()).collect()
    }
}

/// The number of an event that was taken, and whether it is durable.
fn acked(acks: &Acks) -> (u64, bool) {
    let acked = acks.recv_timeout(LIMIT).expect("an ack").expect("taken");
    assert_eq!(acked.position.epoch.0, 9);
    (acked.position.offset, acked.durable)
}

#[test]
fn a_durable_event_is_delivered_once_it_is_kept_and_others_meanwhile() {
    let rig = rig();
    let first = rig.publish("door.a", "1");
    let (number, data, _, told) = rig.handed();
    assert_eq!((number, data), (100 + GAP, vec!["1".to_owned()]));
    let more = [rig.publish("door.b", "2"), rig.publish("door.a", "3")];
    assert_eq!(acked(&rig.publish("bell", "x")), (100, false));
    assert_eq!(rig.delivered(), ["x"]);
    assert!(first.try_recv().is_err() && rig.store.try_recv().is_err(), "one batch at a time");
    told(Ok(()));
    assert_eq!(acked(&first), (100 + GAP, true));
    let (number, data, _, told) = rig.handed();
    assert_eq!((number, data), (101 + 2 * GAP, vec!["2".to_owned(), "3".to_owned()]), "together");
    assert_eq!(acked(&rig.publish("bell", "y")), (101 + GAP, false));
    told(Ok(()));
    assert_eq!(more.each_ref().map(acked), [(101 + 2 * GAP, true), (102 + 2 * GAP, true)]);
    assert_eq!(rig.delivered(), ["1", "y", "2", "3"]);
    assert_eq!(acked(&rig.publish("bell", "z")), (103 + 2 * GAP, false));
    rig.hub.stop(LIMIT);
}

#[test]
fn a_batch_that_was_overtaken_is_moved_behind() {
    let rig = rig();
    let slow = rig.publish("door.a", "slow");
    let (number, _, _, told) = rig.handed();
    let others: Vec<(u64, bool)> = (0..=GAP).map(|_| acked(&rig.publish("bell", "x"))).collect();
    assert_eq!(others[GAP as usize - 1], (number - 1, false));
    assert_eq!(others[GAP as usize], (number + 1, false), "its own is not given twice");
    told(Ok(()));
    let (again, data, batch, told) = rig.handed();
    assert_eq!((data, batch.instead_of), (vec!["slow".to_owned()], Some(number..number + 1)));
    assert_eq!(again, number + 2 + 2 * GAP);
    assert!(slow.try_recv().is_err() && !rig.delivered().contains(&"slow".to_owned()));
    told(Ok(()));
    assert_eq!(acked(&slow), (again, true));
    rig.hub.stop(LIMIT);
}

#[test]
fn what_is_not_kept_is_not_published_and_its_number_is_lost() {
    let rig = rig();
    let refused = rig.publish("door.a", "1");
    let (number, _, _, told) = rig.handed();
    told(Err(NotKept::Unwritable("the disk is full".into())));
    let why = refused.recv_timeout(LIMIT).expect("an ack").expect_err("refused");
    assert_eq!(why.to_string(), "the event was not published: the disk is full");
    assert_eq!(acked(&rig.publish("bell", "x")), (number + 1, false));
    assert_eq!(rig.delivered(), ["x"]);
    // No more than so many wait.
    let first = rig.publish("door.a", "first");
    // It is at the store, alone, before the others come.
    rig.hub.drain();
    let all: Vec<Acks> = (0..=MOST_HELD).map(|n| rig.publish("door.a", &n.to_string())).collect();
    let last = all.last().expect("many").recv_timeout(LIMIT).expect("refused at once").expect_err("refused");
    assert_eq!(last.to_string(), "the store is busy (1024 durable events wait for the disk); try again");
    let mut kept = 0;
    while kept <= MOST_HELD {
        let (_, data, _, told) = rig.handed();
        assert!(data.len() <= MOST_TOGETHER);
        kept += data.len();
        told(Ok(()));
    }
    let numbers: Vec<u64> = all.iter().take(MOST_HELD).map(|acks| acked(acks).0).collect();
    assert!(acked(&first).0 < numbers[0] && numbers.windows(2).all(|two| two[0] < two[1]));
    rig.hub.stop(LIMIT);
}
