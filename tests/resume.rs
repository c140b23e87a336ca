//! Who comes back gets what it missed: all of it, in order, once; or is told that this is not possible.

mod common;
mod follow;

use common::{Daemon, Ws};
use follow::{Follower, HISTORY, Kind, Left, PUBLISHERS, Publisher, abort, write_end};
use serde_json::{Value, json};

/// Events of each publisher, and how many a client reads before it goes away.
const EVENTS: u64 = 150;
const STAY: u64 = 130;

fn publish(daemon: &Daemon, event: &str, data: &str) {
    let body = json!({"event": event, "data": data}).to_string();
    assert_eq!(daemon.http("POST", "/publish?clientName=test", &[], &body).status, 201, "{event}");
}

fn subscribe(ws: &mut Ws, params: Value) -> Value {
    let answer = ws.ask(&json!({"action": "SUBSCRIBE", "params": params}).to_string());
    assert_eq!(answer["success"], true, "{answer}");
    answer["data"].clone()
}

fn position(value: &Value) -> String {
    format!("{}:{}", value["epoch"].as_str().expect("an epoch"), value["offset"].as_u64().expect("an offset"))
}

#[test]
fn every_dialect_resumes_exactly_while_eight_publishers_write() {
    let daemon = Daemon::with_config(HISTORY, &[]);
    let all_here = std::sync::Barrier::new(Kind::ALL.len() + PUBLISHERS);
    let written: Vec<u64> = std::thread::scope(|scope| {
        let followers = Kind::ALL.map(|kind| {
            let (addr, all_here) = (daemon.addr, &all_here);
            scope.spawn(move || {
                let mut follower = Follower::new(kind, addr);
                // To have a position of before the first event.
                let mut ws = follower.connect().expect("a socket");
                follower.first_answer(&mut ws);
                all_here.wait();
                loop {
                    match follower.read(&mut ws, STAY) {
                        Left::End => return follower,
                        Left::Enough | Left::Gone(_) => abort(ws),
                    }
                    ws = follower.connect().expect("a socket");
                }
            })
        });
        let publishers: Vec<_> = (0..PUBLISHERS)
            .map(|who| {
                let (daemon, all_here) = (&daemon, &all_here);
                scope.spawn(move || {
                    let mut publisher = Publisher::new(daemon, who);
                    all_here.wait();
                    (0..EVENTS).for_each(|_| publisher.write());
                    publisher.end()
                })
            })
            .collect();
        let written: Vec<u64> = publishers.into_iter().map(|one| one.join().expect("a publisher")).collect();
        write_end(&daemon);
        for follower in followers {
            let follower = follower.join().expect("a follower");
            follower.check(&written);
            assert!(
                follower.resumed >= EVENTS * 8 / STAY - 1,
                "{:?} came back {} times",
                follower.kind,
                follower.resumed
            );
        }
        written
    });
    assert_eq!(written, [EVENTS; PUBLISHERS]);
}

#[test]
fn without_a_wish_the_frames_are_those_of_before_and_a_position_is_behind_them() {
    let daemon = Daemon::start(&[]);
    let pairs = [
        (
            "/subscribe?clientName=a",
            r#"{"action":"subscribe","event":"door"}"#,
            r#"{"action":"subscribe","event":"door","position":true}"#,
        ),
        (
            "/",
            r#"{"action":"SUBSCRIBE","params":{"topics":["door"]}}"#,
            r#"{"action":"SUBSCRIBE","params":{"topics":["door"],"position":true}}"#,
        ),
        (
            "/ws?types=gpio.state.changed",
            r#"{"type":"subscribe","payload":{"topic":"gpio.state.changed"}}"#,
            r#"{"type":"subscribe","payload":{"topic":"gpio.state.changed","position":true}}"#,
        ),
    ];
    let mut sockets = pairs.map(|(path, plain, placed)| {
        let mut both = [plain, placed].map(|ask| {
            let mut ws = daemon.ws(path);
            ws.send(ask);
            ws
        });
        // A client of PiCloud is answered nothing, and one of `/ws` nothing beside its welcome.
        match path {
            "/" => assert_eq!(both[0].json()["data"], "Subscribed"),
            "/ws?types=gpio.state.changed" => assert_eq!(both[0].json()["type"], "pong"),
            _ => {}
        }
        both[0].sync();
        let answer = both[1].until(|value| value["type"] != "pong");
        assert!(answer.to_string().contains("\"epoch\""), "{answer}");
        assert!(!answer.to_string().contains("recovered"), "{answer}");
        both
    });
    publish(&daemon, "door", "open");
    let set = json!({"action": "UPDATE_PIN_CONFIGURATIONS", "params": {"pins": {"4": {"io": "OUTPUT", "state": 1}}}});
    assert_eq!(daemon.ws("/").ask(&set.to_string())["success"], true);
    for [plain, placed] in &mut sockets {
        let (plain, placed) = (plain.text(), placed.text());
        assert!(!plain.contains("epoch") && !plain.contains("offset"), "{plain}");
        let members = placed.strip_prefix(&plain[..plain.len() - 1]).unwrap_or_else(|| panic!("{plain}\n{placed}"));
        assert!(members.starts_with(",\"epoch\":\"") && members.contains("\"offset\":"), "{placed}");
    }
}

#[test]
fn positions_are_asked_for_in_the_query_by_either_name() {
    let daemon = Daemon::start(&[]);
    for wish in ["positions=1", "position=1"] {
        let mut ws = daemon.ws(&format!("/ws?types=gpio.state.changed&{wish}"));
        assert_eq!(ws.json()["type"], "pong");
        ws.send(r#"{"type":"ping"}"#);
        assert_eq!(ws.json()["type"], "subscribed", "{wish}");
    }
}

#[test]
fn what_the_ring_has_forgotten_is_not_recovered_and_nothing_of_it_comes() {
    let daemon = Daemon::with_config("[history]\ncount = 10\n", &[]);
    let mut ws = daemon.ws("/");
    let before = position(&subscribe(&mut ws, json!({"topics": ["door"], "position": true})));
    (0..10).for_each(|n| publish(&daemon, "door", &n.to_string()));
    let mut back = daemon.ws("/");
    let answer = subscribe(&mut back, json!({"topics": ["door"], "since": before}));
    assert_eq!((&answer["recovered"], &answer["missed"]), (&json!(true), &json!(10)), "all ten are there");
    for n in 0..10 {
        assert_eq!(back.json()["data"]["data"], n.to_string());
    }
    publish(&daemon, "door", "10");
    assert_eq!(back.json()["data"]["data"], "10", "and then it is live");
    let mut late = daemon.ws("/");
    let answer = subscribe(&mut late, json!({"topics": ["door"], "since": before}));
    assert_eq!((&answer["recovered"], &answer["missed"]), (&json!(false), &json!(0)), "the first is gone");
    let now = position(&answer);
    publish(&daemon, "door", "11");
    let event = late.json();
    assert_eq!(event["data"]["data"], "11", "no part of what was missed");
    // From the position it was given instead it goes on.
    let mut again = daemon.ws("/");
    assert_eq!(subscribe(&mut again, json!({"topics": ["door"], "since": now}))["missed"], 1);
    assert_eq!(again.json(), event, "the same frame");
}

#[test]
fn another_start_is_another_epoch() {
    let first = {
        let daemon = Daemon::start(&[]);
        publish(&daemon, "door", "open");
        position(&subscribe(&mut daemon.ws("/"), json!({"topics": ["door"], "position": true})))
    };
    let daemon = Daemon::start(&[]);
    let answer = subscribe(&mut daemon.ws("/"), json!({"topics": ["door"], "since": first}));
    assert_eq!((&answer["recovered"], &answer["missed"]), (&json!(false), &json!(0)));
    assert_ne!(position(&answer), first);
    let mut picloud = daemon.ws("/subscribe?clientName=a");
    let ask = json!({"action": "subscribe", "event": "door", "since": first}).to_string();
    assert_eq!(picloud.ask(&ask)["recovered"], false);
    let mut events = daemon.ws(&format!("/ws?types=gpio.**&since={first}"));
    assert_eq!(events.until(|value| value["type"] == "subscribed")["payload"]["recovered"], false);
}

#[test]
fn the_last_value_of_each_topic_comes_first() {
    let daemon = Daemon::start(&[]);
    for (event, data) in [("house.door", "open"), ("house.light", "on"), ("house.door", "shut"), ("garage", "x")] {
        publish(&daemon, event, data);
    }
    let mut endrpi = daemon.ws("/");
    subscribe(&mut endrpi, json!({"topics": ["house.*"], "last": true}));
    let values = [endrpi.json(), endrpi.json()].map(|value| value["data"]["data"].clone());
    assert_eq!(values, ["on", "shut"], "in the order of their offsets");
    let mut picloud = daemon.ws("/subscribe?clientName=a");
    let answer = picloud.ask(r#"{"action":"subscribe","event":"house.door","last":true}"#);
    assert_eq!(answer["action"], "subscribed");
    assert_eq!(picloud.json()["data"], "shut");
    publish(&daemon, "house.door", "open");
    assert_eq!((picloud.json()["data"].clone(), endrpi.json()["data"]["data"].clone()), (json!("open"), json!("open")));
}

#[test]
fn wishes_that_make_no_sense_are_refused_by_name_and_the_socket_stays() {
    let daemon = Daemon::start(&[]);
    let mut endrpi = daemon.ws("/");
    let wrong = [
        (json!({"topics": ["a"], "since": 7}), "'since' must be a position"),
        (json!({"topics": ["a"], "since": "7"}), "EPOCH:OFFSET"),
        (json!({"topics": ["a"], "since": {"epoch": "00c0ffee00c0ffee", "offset": -1}}), "an offset is a number"),
        (json!({"topics": ["a"], "last": "yes"}), "'last' must be true or false"),
        (json!({"topics": ["a"], "position": 1}), "'position' must be true or false"),
    ];
    for (params, part) in wrong {
        let answer = endrpi.ask(&json!({"action": "SUBSCRIBE", "params": params, "id": 1}).to_string());
        assert!(answer["error"].as_str().is_some_and(|text| text.contains(part)), "{part}: {answer}");
    }
    let mut picloud = daemon.ws("/subscribe?clientName=a");
    for (member, part) in
        [("\"since\":1", "'since'"), ("\"last\":1", "'last'"), ("\"pattern\":1", "'pattern'"), ("\"ack\":1", "'ack'")]
    {
        let answer = picloud.ask(&format!(r#"{{"action":"subscribe","event":"a",{member}}}"#));
        assert!(
            answer["action"] == "error" && answer["error"].as_str().is_some_and(|text| text.contains(part)),
            "{answer}"
        );
    }
    let answer = picloud.ask(r#"{"action":"subscribe","event":"a.**.b","pattern":true}"#);
    assert!(answer["error"].as_str().is_some_and(|text| text.contains("last level")), "{answer}");
    let mut events = daemon.ws("/ws?types=gpio.**");
    for (payload, part) in [
        (json!({"topic": "gpio.**", "since": []}), "'since'"),
        (json!({"topic": "nothing", "last": true}), "name gpio, nodes, clusters"),
        (json!({"topic": "system", "since": "00c0ffee00c0ffee:1"}), "has no history"),
    ] {
        events.send(&json!({"type": "subscribe", "payload": payload}).to_string());
        let answer = events.until(|value| value["type"] == "error");
        assert!(answer["payload"]["message"].as_str().is_some_and(|text| text.contains(part)), "{answer}");
    }
    for (query, part) in [("since=1", "'since'"), ("positions=yes", "'positions' must be 1 or 0"), ("last=x", "'last'")]
    {
        let Err(tungstenite::Error::Http(answer)) = daemon.try_ws(&format!("/ws?{query}"), &[]) else {
            panic!("{query} was taken")
        };
        let body = String::from_utf8_lossy(answer.body().as_deref().unwrap_or_default()).into_owned();
        assert!(answer.status() == 400 && body.contains(part), "{query}: {body}");
    }
}

#[test]
fn endrpi_publishes_and_is_told_where_it_is() {
    let daemon = Daemon::start(&[]);
    let mut ws = daemon.ws("/");
    subscribe(&mut ws, json!({"topics": ["door"], "position": true}));
    ws.send(
        &json!({"action": "PUBLISH", "params": {"topic": "door", "data": "open", "ack": true}, "id": 7}).to_string(),
    );
    let both = [ws.json(), ws.json()];
    let answer = both.iter().find(|value| value["action"] == "PUBLISH").expect("an answer");
    let event = both.iter().find(|value| value["action"] == "EVENT").expect("the event");
    assert_eq!((&answer["id"], &answer["data"]["status"]), (&json!(7), &json!("accepted")), "{answer}");
    assert_eq!(position(&answer["data"]), position(event));
    assert_eq!(event["data"]["data"], "open");
    let refused = ws.ask(r#"{"action":"PUBLISH","params":{"topic":"gpio.mine"}}"#);
    assert!(refused["error"].as_str().is_some_and(|text| text.contains("the daemon's own")), "{refused}");
    ws.send(r#"{"action":"PUBLISH","params":{"topic":"door"}}"#);
    assert_eq!(ws.until(|value| value["action"] == "PUBLISH")["data"], "Published");
}

#[test]
fn a_snapshot_goes_on_with_the_changes_behind_it() {
    let daemon = Daemon::start(&[]);
    let mut ws = daemon.ws("/");
    let set = |ws: &mut Ws, level: u8| {
        let pins = json!({"GPIO17": {"io": "OUTPUT", "state": level}});
        let answer = ws.ask(&json!({"action": "UPDATE_PIN_CONFIGURATIONS", "params": {"pins": pins}}).to_string());
        assert_eq!(answer["success"], true, "{answer}");
    };
    set(&mut ws, 1);
    let snapshot = ws.ask(r#"{"action":"READ_SNAPSHOT"}"#)["data"].clone();
    assert_eq!(snapshot["pins"]["GPIO17"]["state"], 1.0, "{snapshot}");
    assert!(snapshot["telemetry"]["memory"]["total"].is_object() && snapshot["alerts"].is_array(), "{snapshot}");
    set(&mut ws, 0);
    let answer = subscribe(&mut ws, json!({"topics": ["gpio.**"], "since": position(&snapshot)}));
    assert_eq!((&answer["recovered"], &answer["missed"]), (&json!(true), &json!(1)));
    assert_eq!(ws.json()["data"]["data"]["state"], "low");
    let by_http = daemon.get("/snapshot").json();
    assert_eq!(by_http["pins"]["GPIO17"]["state"], 0.0);
    assert_eq!(by_http["epoch"], snapshot["epoch"]);
}

#[test]
fn overlapping_wishes_bring_nothing_twice() {
    let daemon = Daemon::start(&[]);
    let mut ws = daemon.ws("/");
    let begin = position(&subscribe(&mut ws, json!({"topics": ["house.door"], "position": true})));
    publish(&daemon, "house.door", "1");
    assert_eq!(ws.json()["data"]["data"], "1");
    publish(&daemon, "house.light", "2");
    // The door's event came already; of the pattern only the light's is missing.
    let answer = subscribe(&mut ws, json!({"topics": ["house.*"], "since": begin}));
    assert_eq!(answer["missed"], 1, "{answer}");
    assert_eq!(ws.json()["data"]["data"], "2");
    publish(&daemon, "house.door", "3");
    publish(&daemon, "house.light", "4");
    assert_eq!([ws.json(), ws.json()].map(|value| value["data"]["data"].clone()), ["3", "4"]);
}
