//! What a subscription begins with, step by step.

use std::io::Read;

use super::live::{Line, hub, lines, run};
use super::*;

struct Client {
    id: MemberId,
    conn: Arc<Conn>,
    socket: TcpStream,
}

fn client(hub: &Arc<Hub>, shared: &Arc<Shared>, dialect: Dialect) -> Client {
    let (conn, socket) = pair(shared);
    socket.set_nonblocking(true).expect("non-blocking");
    let id = hub.join(Member { positions: true, ..Member::new(&conn, dialect) });
    Client { id, conn, socket }
}

impl Client {
    /// Begins a subscription; how it begins.
    fn subscribe(&self, hub: &Arc<Hub>, filters: &[&str], wish: Wish) -> Answer {
        let filters = filters.iter().map(|text| pattern(text)).collect();
        let (answer, replay) = hub.resume(self.id, filters, wish).expect("room");
        assert!(run(hub, &self.conn, replay));
        answer
    }

    /// The offsets of what has come since the last time.
    fn got(&mut self, hub: &Hub) -> Vec<u64> {
        hub.drain();
        let mut bytes = Vec::new();
        let _ = self.socket.read_to_end(&mut bytes);
        let offset = |line| match line {
            Line::Event(offset) => offset,
            Line::Lagged { .. } => panic!("{line:?}"),
        };
        lines(&bytes).into_iter().map(offset).collect()
    }
}

fn since(hub: &Hub, offset: u64) -> Wish {
    Wish { since: Some(Position { offset, ..hub.position() }), last: false }
}

fn publish(hub: &Hub, topics: &[&str]) {
    topics.iter().for_each(|topic| hub.publish(message(topic, "x")));
    hub.drain();
}

#[test]
fn overlapping_subscriptions_bring_nothing_twice_and_asking_again_begins_anew() {
    let (hub, _) = hub(config::History::default());
    let shared = shared(1 << 16);
    publish(&hub, &["a.1", "a.2", "b.1"]);
    let mut client = client(&hub, &shared, Dialect::Endrpi);
    let base = hub.position().offset - 3;
    let answer = client.subscribe(&hub, &["a.*", "a.1"], since(&hub, base));
    assert_eq!((answer.recovered, answer.missed), (Some(true), 2));
    assert_eq!(answer.position, Position { offset: base, ..hub.position() });
    publish(&hub, &["a.1"]);
    let live = hub.position().offset;
    assert_eq!(client.got(&hub)[..2], [base + 1, base + 2]);
    // What `a.*` has brought since then does not come again by way of another pattern.
    let answer = client.subscribe(&hub, &["*.1"], since(&hub, base));
    assert_eq!((answer.recovered, answer.missed), (Some(true), 1));
    assert_eq!(client.got(&hub), [base + 3]);
    publish(&hub, &["a.1", "b.1", "b.2"]);
    assert_eq!(client.got(&hub), [live + 1, live + 2]);
    // The same once more is a wish to have it all again; the others go on.
    let answer = client.subscribe(&hub, &["*.1", "a.*", "a.1"], since(&hub, base));
    assert_eq!(answer.missed, 6);
    assert_eq!(client.got(&hub), [base + 1, base + 2, base + 3, live, live + 1, live + 2]);
    publish(&hub, &["a.1"]);
    assert_eq!(client.got(&hub), [live + 4]);
    hub.stop(Duration::from_secs(20));
}

#[test]
fn last_values_come_first_and_only_where_nothing_is_recovered() {
    let (hub, _) = hub(config::History::default());
    let shared = shared(1 << 16);
    publish(&hub, &["a.1", "a.1", "b.1", "a.2"]);
    let mut client = client(&hub, &shared, Dialect::Endrpi);
    let head = hub.position();
    let answer = client.subscribe(&hub, &["a.*"], Wish { since: None, last: true });
    assert_eq!(answer, Answer { position: hub.position(), recovered: None, missed: 0, last: 2 });
    assert_eq!(client.got(&hub), [head.offset - 2, head.offset]);
    publish(&hub, &["a.2"]);
    assert_eq!(client.got(&hub).len(), 1);
    // Another sequence: nothing of it is known.
    let foreign = Position { epoch: Epoch(head.epoch.0 ^ 1), offset: 1 };
    let answer = client.subscribe(&hub, &["b.*"], Wish { since: Some(foreign), last: true });
    assert_eq!((answer.recovered, answer.last, answer.position), (Some(false), 1, hub.position()));
    assert_eq!(client.got(&hub), [head.offset - 1]);
    // What never was cannot have been seen.
    let answer = client.subscribe(&hub, &["c.*"], since(&hub, hub.position().offset + 1));
    assert_eq!(answer.recovered, Some(false));
    let answer = client.subscribe(&hub, &["d.*"], Wish { last: true, ..since(&hub, hub.position().offset) });
    assert_eq!((answer.recovered, answer.missed, answer.last), (Some(true), 0, 0));
    hub.stop(Duration::from_secs(20));
}

#[test]
fn who_comes_and_goes_is_told_to_those_who_name_it() {
    let (hub, log) = hub(config::History::default());
    let shared = shared(1 << 16);
    let watching = client(&hub, &shared, Dialect::Endrpi);
    watching.subscribe(&hub, &["presence.*"], Wish::default());
    let all = client(&hub, &shared, Dialect::Endrpi);
    all.subscribe(&hub, &["**"], Wish::default());
    // The second dialect of a connection, and pages, are nobody new.
    let code = client(&hub, &shared, Dialect::Code);
    hub.leave(code.id);
    let picloud = client(&hub, &shared, Dialect::Picloud);
    hub.leave(picloud.id);
    hub.drain();
    let told: Vec<String> = log.lock().expect("alive").clone();
    assert_eq!(told, ["presence.joined", "presence.joined", "presence.joined", "presence.left"]);
    let subscribed = |filter: &str| {
        let answer = hub.resume(all.id, vec![pattern(filter)], since(&hub, 0)).expect("room").0;
        (answer.recovered, answer.missed)
    };
    assert_eq!(subscribed("presence.*"), (Some(true), 4));
    assert_eq!(subscribed("*.joined"), (Some(true), 0));
    let list = hub.presence();
    assert_eq!(list.iter().map(|who| who.id).collect::<Vec<_>>(), [watching.id, all.id]);
    assert_eq!(list[0].subscriptions, ["presence.*"]);
    hub.stop(Duration::from_secs(20));
}

#[test]
fn there_is_room_for_so_many_subscriptions_and_it_is_given_back() {
    let (hub, _) = hub(config::History::default());
    let shared = shared(1 << 16);
    let client = client(&hub, &shared, Dialect::Picloud);
    for n in 0..MAX_SUBSCRIPTIONS {
        hub.subscribe(client.id, Filter::Exact(n.to_string().into())).expect("room");
    }
    let other = || Filter::Exact("other".into());
    let error = hub.subscribe(client.id, other()).expect_err("full");
    assert_eq!(error.to_string(), "too many subscriptions on this server: at most 100000 in all");
    assert_eq!(hub.resume(client.id, vec![other()], Wish::default()).err(), Some(TooMany));
    hub.unsubscribe(client.id, Filter::Exact("7".into()));
    hub.unsubscribe(client.id, other());
    hub.drain();
    // Dropped before it is live, and twice the same: both are given back.
    drop(hub.resume(client.id, vec![other()], Wish::default()).expect("room"));
    hub.subscribe(client.id, Filter::Exact("8".into())).expect("room for a moment");
    hub.drain();
    hub.subscribe(client.id, other()).expect("room");
    hub.leave(client.id);
    hub.drain();
    assert_eq!(hub.subscriptions.load(Ordering::Relaxed), 0);
    hub.stop(Duration::from_secs(20));
}
