//! Durable events in a database of their own, started again and again.

use std::path::{Path, PathBuf};
use std::sync::mpsc::channel;

use super::super::tests::LIMIT;
use super::super::time::{from_nanos, nanos};
use super::*;
use crate::config;
use crate::types::event::Event;
use crate::types::topic::Pattern;

/// A directory that goes with the test.
struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Dir {
        let dir = std::env::temp_dir().join(format!("pinwire-durable-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("a directory");
        Dir(dir)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn rule(pattern: &str, keep: usize) -> Topic {
    let pattern = Pattern::new(pattern).expect("a pattern");
    Topic { pattern, durable: true, keep, keep_for: Duration::from_secs(3600) }
}

fn event(topic: &str, data: &str) -> Arc<Event> {
    let body = Body::Published {
        event: topic.into(),
        data: data.into(),
        action: (data == "a").then(|| "ring".into()),
        created_at: (data == "b").then(|| "2026-03-02T08:15:30+01:00".into()),
    };
    // As exact as the database has it.
    Arc::new(Event { at: from_nanos(nanos(clock::wall())), body })
}

fn begin(dir: &Path, rules: &[Topic]) -> (Store, Sequence) {
    let store = Store::start(Some(dir)).expect("starts");
    let sequence = store.begin_sequence(rules).expect("something is durable");
    (store, sequence)
}

fn keep(store: &Store, batch: Batch) -> Result<(), NotKept> {
    let (sender, told) = channel();
    store.keep_events(batch, Box::new(move |outcome| drop(sender.send(outcome))));
    told.recv_timeout(LIMIT).expect("told")
}

fn batch(first: u64, events: Vec<Arc<Event>>) -> Batch {
    Batch { first, events, instead_of: None }
}

/// The numbers of each topic's events, and the last that is no longer there.
fn numbers(sequence: &Sequence) -> Vec<(&str, u64, Vec<u64>)> {
    let of = |past: &'_ crate::types::durable::Past| past.events.iter().map(|(number, _)| *number).collect();
    sequence.topics.iter().map(|past| (&*past.topic, past.lost_to, of(past))).collect()
}

#[test]
fn an_event_comes_back_as_it_was_under_its_number_and_none_is_given_twice() {
    let dir = Dir::new("again");
    let rules = [rule("door.**", 100)];
    let (store, sequence) = begin(&dir.0, &rules);
    assert_eq!((sequence.first, sequence.topics.len()), (1, 0));
    let all = vec![event("door.front", "a"), event("door.back", "b"), event("door.front", "é\0")];
    assert_eq!(keep(&store, batch(10, all.clone())), Ok(()));
    store.stop(LIMIT);
    let (store, again) = begin(&dir.0, &rules);
    assert_eq!((again.epoch, again.first), (sequence.epoch, 1 + BLOCK));
    assert_eq!(numbers(&again), [("door.back", 0, vec![11]), ("door.front", 0, vec![10, 12])]);
    let back: Vec<String> =
        again.topics.iter().flat_map(|past| &past.events).map(|(_, event)| format!("{event:?}")).collect();
    assert_eq!(back, [&all[1], &all[0], &all[2]].map(|event| format!("{event:?}")));
    // Far into the block, the next one is reserved.
    assert_eq!(keep(&store, batch(BLOCK * 7 / 4, vec![event("door.front", "c")])), Ok(()));
    store.stop(LIMIT);
    let (store, third) = begin(&dir.0, &rules);
    assert_eq!((third.epoch, third.first), (sequence.epoch, BLOCK * 7 / 4 + 1 + BLOCK));
    store.stop(LIMIT);
}

#[test]
fn the_epoch_is_another_when_other_topics_are_durable() {
    let dir = Dir::new("epoch");
    let (store, first) = begin(&dir.0, &[rule("door", 5)]);
    assert_eq!(keep(&store, batch(1, vec![event("door", "a")])), Ok(()));
    store.stop(LIMIT);
    let (store, second) = begin(&dir.0, &[rule("door", 5), rule("bell", 5)]);
    assert_ne!(second.epoch, first.epoch);
    assert_eq!(numbers(&second), [("door", 0, vec![1])], "what was kept is still there");
    store.stop(LIMIT);
    let store = Store::start(Some(&dir.0)).expect("starts");
    assert!(store.begin_sequence(&[]).is_none());
    store.stop(LIMIT);
    let (store, third) = begin(&dir.0, &[rule("door", 5), rule("bell", 5)]);
    assert!(third.epoch != second.epoch && third.topics.is_empty(), "it was not durable meanwhile");
    assert!(third.first > second.first);
    store.stop(LIMIT);
}

#[test]
fn what_is_too_many_too_old_or_too_large_goes_and_is_known_to_have_gone() {
    let dir = Dir::new("bounds");
    let rules = [rule("door", 4), rule("*", 2), rule("bell", 1000)];
    let (store, _) = begin(&dir.0, &rules);
    let many = |topic: &str, count: usize| (0..count).map(|n| event(topic, &n.to_string())).collect::<Vec<_>>();
    assert_eq!(keep(&store, batch(1, many("door", 9))), Ok(()));
    assert_eq!(keep(&store, batch(10, many("lamp", 9))), Ok(()));
    let old = |body: &Arc<Event>| {
        let Body::Published { event, data, .. } = &body.body else { panic!("published") };
        let body = Body::Published { event: event.clone(), data: data.clone(), action: None, created_at: None };
        Arc::new(Event { at: clock::wall() - Duration::from_secs(4000), body })
    };
    let mut bells: Vec<_> = many("bell", 3).iter().map(old).collect();
    bells.push(event("bell", "new"));
    assert_eq!(keep(&store, batch(20, bells)), Ok(()));
    store.stop(LIMIT);
    let (store, again) = begin(&dir.0, &rules);
    // The first rule and the second hold for a door: the most of both.
    let left = [("bell", 22, vec![23]), ("door", 5, vec![6, 7, 8, 9]), ("lamp", 16, vec![17, 18])];
    assert_eq!(numbers(&again), left);
    store.stop(LIMIT);

    let settings = config::Store { durable_bytes: 10_000, ..config::Store::default() };
    let store = Store::start_with(Some(&dir.0), &settings).expect("starts");
    let first = store.begin_sequence(&rules).expect("durable").first;
    let large: Vec<_> = (0..20).map(|_| event("bell", &"x".repeat(1000))).collect();
    assert_eq!(keep(&store, batch(first, large)), Ok(()));
    store.stop(LIMIT);
    let (store, again) = begin(&dir.0, &rules);
    let left: Vec<u64> = (first + 13..first + 20).collect();
    assert_eq!(numbers(&again), [("bell", first + 12, left), ("door", 9, vec![]), ("lamp", 18, vec![])]);
    store.stop(LIMIT);
}

#[test]
fn a_batch_can_be_moved_to_other_numbers_and_one_that_was_given_up_is_not_kept() {
    let dir = Dir::new("moved");
    let rules = [rule("door", 100)];
    let (store, _) = begin(&dir.0, &rules);
    let two = vec![event("door", "a"), event("door", "b")];
    assert_eq!(keep(&store, batch(1, two.clone())), Ok(()));
    assert_eq!(keep(&store, Batch { instead_of: Some(1..3), ..batch(100, two.clone()) }), Ok(()));
    // Its thread is held up by a job before.
    let (begun, wait, told) = (channel(), channel::<()>(), channel());
    let (job, _) = super::super::write::job(move |_| {
        let _ = begun.0.send(());
        let _ = wait.1.recv_timeout(LIMIT);
        Ok(())
    });
    store.jobs.try_send(job).unwrap_or_else(|_| panic!("there is room"));
    store.shared.bell.ring();
    begun.1.recv_timeout(LIMIT).expect("it runs");
    let handed = store.keep_events(batch(200, two), Box::new(move |outcome| drop(told.0.send(outcome))));
    assert!(handed.give_up());
    drop(wait.0);
    assert!(matches!(told.1.recv_timeout(LIMIT), Ok(Err(NotKept::Busy(_)))));
    store.stop(LIMIT);
    assert!(matches!(keep(&store, batch(300, Vec::new())), Err(NotKept::Busy(_))), "the daemon is ending");
    let (store, again) = begin(&dir.0, &rules);
    assert_eq!(numbers(&again), [("door", 0, vec![100, 101])]);
    store.stop(LIMIT);
}
