//! The history against a list of everything that was ever published.

use std::collections::BTreeMap;

use super::super::cursor::{CursorId, Had, Select};
use super::super::history::{Found, History, Portion, Survey};
use super::*;

/// Everything, and how old it is.
#[derive(Default)]
struct Naive {
    all: Vec<(u64, String, Arc<Event>, Duration)>,
}

impl Naive {
    fn wanted(&self, select: &Select, after: u64) -> Vec<u64> {
        let wanted = |(offset, topic, event, _): &&(u64, String, Arc<Event>, Duration)| {
            *offset > after
                && select.selects(topic)
                && select.hears(&Numbered { offset: *offset, event: Arc::clone(event) })
        };
        self.all.iter().filter(wanted).map(|(offset, ..)| *offset).collect()
    }
}

fn topics(rng: &mut Rng) -> Vec<String> {
    (0..1 + rng.below(40)).map(|n| format!("{}.{}", ["a", "b", "c.d"][n % 3], n)).collect()
}

fn filters(rng: &mut Rng, topics: &[String]) -> Vec<Filter> {
    let one = |rng: &mut Rng| match rng.below(3) {
        0 => pattern(rng.pick(&["**", "a.*", "b.**", "c.", "*.*.*", "*.3"])),
        1 => Filter::Exact(rng.pick(topics).into()),
        _ => pattern(&rng.pick(topics)),
    };
    (0..1 + rng.below(3)).map(|_| one(rng)).collect()
}

/// Nobody has any other filters.
const HAD: Had<'static> = Had { filters: 0, behind: &|_| u64::MAX };

/// What a survey finds, in parts of any size.
fn find(history: &mut History, rng: &mut Rng, mut survey: Survey, select: Select) -> Found {
    let id = history.open(survey.head(), select);
    while !history.survey(id, &mut survey, &HAD, 1 + rng.below(30)) {}
    history.close(id);
    survey.found()
}

/// Whether everything since then is here, and how much that is.
fn said(history: &mut History, rng: &mut Rng, since: u64, head: u64, select: Select) -> Option<u64> {
    match find(history, rng, Survey::missed(since, head), select) {
        Found::Missed { all, count } => all.then_some(count),
        _ => panic!("something else was looked for"),
    }
}

/// Everything a new cursor behind `after` is brought, in chunks of any size.
fn bring(history: &mut History, rng: &mut Rng, after: u64, select: Select) -> Vec<u64> {
    let id = history.open(after, select);
    let mut brought = Vec::new();
    loop {
        let portion = Portion { most: 1 + rng.below(50), bytes: 1 + rng.below(20_000), look: 1 + rng.below(200) };
        let chunk = history.pull(id, portion, &HAD);
        brought.extend(chunk.events.iter().map(|numbered| numbered.offset));
        if chunk.is_last {
            break;
        }
    }
    history.close(id);
    brought
}

struct Reader {
    id: CursorId,
    since: u64,
    filters: Vec<Filter>,
    /// While it is not known whether everything is there.
    survey: Option<Survey>,
    brought: Vec<u64>,
}

#[test]
fn nothing_is_said_to_be_there_that_is_not_and_what_is_there_is_said_to_be() {
    with_seeds(120, |rng| {
        let topics = topics(rng);
        let count = rng.pick(&[0, 1, 3, 20, 1000]);
        let age = Duration::from_secs(rng.pick(&[1, 10, 1000]));
        let limits = Limits {
            each: Bounds { count, age: Some(age) },
            bytes: rng.pick(&[2000, 20_000, 10_000_000]),
            topics: rng.pick(&[1, 5, 1000]),
        };
        let mut history = History::new(limits);
        let mut naive = Naive::default();
        let (mut now, mut head) = (Duration::ZERO, 0);
        let mut readers: Vec<Reader> = Vec::new();
        for _ in 0..600 {
            match rng.below(16) {
                0 => now += Duration::from_millis(rng.below(3000) as u64),
                // Without history there is one while somebody reads.
                1 if count > 0 || readers.is_empty() => look(&mut history, &naive, rng, &topics, head, now, limits),
                2 if readers.len() < 4 => {
                    let (filters, since) = (filters(rng, &topics), rng.below(head as usize + 1) as u64);
                    let id = history.open(since, Select::new(filters.clone(), Dialect::Endrpi));
                    let survey = Some(Survey::missed(since, head));
                    readers.push(Reader { id, since, filters, survey, brought: Vec::new() });
                }
                3 | 4 if !readers.is_empty() => {
                    let at = rng.below(readers.len());
                    if let Some(mut survey) = readers[at].survey.take() {
                        if !history.survey(readers[at].id, &mut survey, &HAD, 1 + rng.below(30)) {
                            readers[at].survey = Some(survey);
                        } else if !is_honest(&mut history, &naive, &readers[at], survey) {
                            history.close(readers.swap_remove(at).id);
                        }
                        continue;
                    }
                    let portion = Portion { most: 1 + rng.below(8), bytes: 1 + rng.below(4000), look: 8 };
                    let chunk = history.pull(readers[at].id, portion, &HAD);
                    readers[at].brought.extend(chunk.events.iter().map(|numbered| numbered.offset));
                    if chunk.is_last && rng.one_in(2) {
                        let reader = readers.swap_remove(at);
                        brought_or_lost(&mut history, &naive, &reader);
                    }
                }
                _ => {
                    head += 1 + u64::from(rng.one_in(20)) * rng.below(5) as u64;
                    let topic = rng.pick(&topics);
                    let event = Arc::new(message(&topic, &"x".repeat(rng.below(300))));
                    history.push(&topic, Numbered { offset: head, event: Arc::clone(&event) }, now);
                    naive.all.push((head, topic, event, now));
                }
            }
        }
        for reader in readers {
            history.close(reader.id);
        }
        look(&mut history, &naive, rng, &topics, head, now, limits);
    });
}

/// Whether everything was said to be there, while more was published; then as much was counted as there was.
fn is_honest(history: &mut History, naive: &Naive, reader: &Reader, survey: Survey) -> bool {
    let head = survey.head();
    let Found::Missed { all, count } = survey.found() else { panic!("something else was looked for") };
    if all {
        let lost = history.cursor(reader.id).expect("open").lost();
        let select = Select::new(reader.filters.clone(), Dialect::Endrpi);
        let wanted = naive.wanted(&select, reader.since).iter().filter(|offset| **offset <= head).count() as u64;
        // What was discarded in between may have been counted before, and is told of in any case.
        assert!(count <= wanted && count + lost.count >= wanted, "{count} of {wanted}, lost {lost:?}");
    }
    all
}

/// Every event behind the cursor's beginning was brought or counted as lost, in order, and none both.
fn brought_or_lost(history: &mut History, naive: &Naive, reader: &Reader) {
    let lost = history.cursor(reader.id).expect("open").lost();
    history.close(reader.id);
    let select = Select::new(reader.filters.clone(), Dialect::Endrpi);
    let wanted = naive.wanted(&select, reader.since);
    assert!(reader.brought.is_sorted_by(|a, b| a < b), "order, or twice: {:?}", reader.brought);
    let missing: Vec<_> = wanted.iter().filter(|offset| !reader.brought.contains(offset)).collect();
    assert!(reader.brought.iter().all(|offset| wanted.contains(offset)));
    assert_eq!(lost.count, missing.len() as u64);
    if let (Some(first), Some(last)) = (missing.first(), missing.last()) {
        assert_eq!((lost.first, lost.last), (**first, **last));
    }
}

fn look(
    history: &mut History,
    naive: &Naive,
    rng: &mut Rng,
    topics: &[String],
    head: u64,
    now: Duration,
    limits: Limits,
) {
    while !history.expire(now) {}
    let everything = || Select::new(vec![pattern("**")], Dialect::Endrpi);
    let held = bring(history, rng, 0, everything());
    assert!(held.is_sorted_by(|a, b| a < b));
    // Of each topic the latest are held, no more than may be, and none too old but the last.
    let mut by_topic: BTreeMap<&str, Vec<(u64, Duration)>> = BTreeMap::new();
    for (offset, topic, _, at) in &naive.all {
        by_topic.entry(topic).or_default().push((*offset, *at));
    }
    let mut last = Vec::new();
    for (topic, all) in &by_topic {
        let here: Vec<_> = all.iter().filter(|(offset, _)| held.binary_search(offset).is_ok()).collect();
        assert!(here.len() <= limits.each.count, "{topic}");
        assert!(all.ends_with(&here.iter().map(|x| **x).collect::<Vec<_>>()), "{topic}: not the latest");
        let age = limits.each.age.expect("one") + Duration::from_millis(200);
        assert!(here.iter().rev().skip(1).all(|(_, at)| now - *at <= age), "{topic}: too old");
        last.extend(here.last().map(|(offset, _)| *offset));
    }
    last.sort_unstable();
    let Found::Last(found) = find(history, rng, Survey::newcomer(head, true), everything()) else {
        panic!("not looked for")
    };
    let brought: Vec<_> = found.iter().map(|numbered| numbered.offset).collect();
    assert_eq!(brought, last);
    if limits.bytes == 10_000_000 && limits.topics == 1000 && limits.each.count > 0 {
        assert_eq!(last.len(), by_topic.len(), "a last value is kept whatever its age");
    }

    for _ in 0..10 {
        let (filters, since) = (filters(rng, topics), rng.below(head as usize + 2) as u64);
        let select = || Select::new(filters.clone(), Dialect::Endrpi);
        let wanted = naive.wanted(&select(), since);
        let all_held = since <= head && wanted.iter().all(|offset| held.binary_search(offset).is_ok());
        let missed = if since <= head { said(history, rng, since, head, select()) } else { None };
        let said = missed.is_some();
        assert!(!said || missed == Some(wanted.len() as u64), "counted since {since}: {filters:?}");
        assert!(!said || all_held, "said to be there since {since}: {filters:?}");
        // Where whole topics were forgotten it may be too careful, but only for what was forgotten.
        let forgotten = || naive.all.iter().any(|(offset, ..)| *offset > since && held.binary_search(offset).is_err());
        assert!(said || !all_held || forgotten(), "not said since {since}: {filters:?}");
        if limits.topics == 1000 && limits.bytes == 10_000_000 && limits.each.count > 0 {
            assert_eq!(said, all_held, "since {since}: {filters:?}");
        }
        let before: Vec<_> = wanted.into_iter().filter(|offset| held.binary_search(offset).is_ok()).collect();
        assert_eq!(bring(history, rng, since, select()), before);
    }
}

#[test]
fn a_later_run_recovers_what_was_kept_and_nothing_else() {
    let limits = Limits { each: Bounds { count: 10, age: None }, bytes: 1_000_000, topics: 100 };
    let mut history = History::new(limits);
    // Logged before the sequence of the earlier run was known.
    history.push("log", Numbered { offset: 1, event: Arc::new(fact("log")) }, Duration::ZERO);
    let kept = vec![(Pattern::new("orders.**").expect("valid"), Bounds { count: 3, age: None })];
    assert_eq!(history.begin(1000, kept, Duration::ZERO), 1001);
    let event = |topic: &str| Arc::new(message(topic, "x"));
    let numbered = |offset, topic: &str| Numbered { offset, event: event(topic) };
    history.preload("orders.b", 0, vec![numbered(40, "orders.b")], Duration::ZERO);
    let orders = [10, 20, 30, 50].map(|offset| numbered(offset, "orders.a"));
    history.preload("orders.a", 5, orders.into(), Duration::ZERO);
    history.preload("orders.empty", 70, Vec::new(), Duration::ZERO);
    history.push("door", numbered(1002, "door"), Duration::ZERO);
    history.push("orders.a", numbered(1003, "orders.a"), Duration::ZERO);

    let mut has = |since, filter: &Filter| {
        let select = Select::new(vec![filter.clone()], Dialect::Endrpi);
        said(&mut history, &mut Rng::new(1), since, 1003, select).is_some()
    };
    let name = |name: &str| Filter::Exact(name.into());
    for (filter, least) in [
        // Its own bound of three: 10 and 20 are gone.
        (name("orders.a"), 20),
        (name("orders.b"), 0),
        (name("orders.empty"), 70),
        (name("orders.unknown"), 0),
        (pattern("orders.**"), 70),
        (pattern("orders.*"), 70),
        (name("door"), 1000),
        (name("unknown"), 1000),
        (pattern("**"), 1000),
    ] {
        assert!(has(least, &filter), "{filter:?}");
        assert!(least == 0 || !has(least - 1, &filter), "{filter:?}");
    }
    let all = bring(&mut history, &mut Rng::new(1), 0, Select::new(vec![pattern("**")], Dialect::Endrpi));
    assert_eq!(all, [30, 40, 50, 1001, 1002, 1003]);
}
