//! Nothing a client says on `/` ends its socket, except a violation of the protocol or of a limit.

mod common;

use std::io::Write;

use common::{Daemon, Ws};
use tungstenite::Message;

/// Small, fast and the same in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }
}

/// What gets into requests.
const GARBAGE: &[u8] = b"{}[]\",:\\0e-.\x00\xffnul";

/// The socket still answers, and nothing has crashed.
#[track_caller]
fn assert_alive(daemon: &Daemon, ws: &mut Ws) {
    assert_eq!(ws.ask(r#"{"action":"READ_MEMORY"}"#)["success"], true);
    assert!(!daemon.log().contains("crashed"), "{}", daemon.log());
}

#[test]
fn random_bytes_are_answered_with_errors() {
    let daemon = Daemon::start(&[]);
    let mut ws = daemon.ws("/");
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for _ in 0..40 {
        for _ in 0..50 {
            let length = random.below(200);
            let bytes: Vec<u8> = (0..length).map(|_| random.next() as u8).collect();
            ws.0.write(Message::binary(bytes)).expect("queued");
        }
        ws.0.flush().expect("sent");
        for _ in 0..50 {
            assert_eq!(ws.json()["success"], false);
        }
    }
    assert_alive(&daemon, &mut ws);
}

#[test]
fn broken_and_recombined_requests_are_answered_each() {
    let seeds = [
        r#"{"action":"UPDATE_PIN_CONFIGURATIONS","params":{"pins":{"GPIO17":{"io":"OUTPUT","state":1.0,"pull":"UP"}}},"id":1}"#,
        r#"{"action":"READ_PIN_CONFIGURATIONS","params":{"pins":["GPIO17",17,"pin11"]},"id":{"a":[]}}"#,
        r#"{"action":"SIMULATE_INPUT","params":{"pin":"GPIO4","level":"high"},"id":"\ud83d\ude00"}"#,
        r#"{"action":"SUBSCRIBE","params":{"topics":["x.*","y.**"]}}"#,
        r#"{"action":"UNSUBSCRIBE","params":{"topics":["x.*"]}}"#,
        r#"{"action":"AUTH","params":{"api_key":"k"}}"#,
        r#"{"action":"READ_MEMORY","id":NaN,"params":-Infinity}"#,
    ];
    let daemon = Daemon::start(&[]);
    let mut ws = daemon.ws("/");
    let mut random = Random(42);
    for _ in 0..60 {
        for _ in 0..50 {
            let mut text = seeds[random.below(seeds.len())].as_bytes().to_vec();
            for _ in 0..=random.below(4) {
                let at = random.below(text.len());
                match random.below(4) {
                    0 => text.truncate(at.max(1)),
                    1 => text[at] = GARBAGE[random.below(GARBAGE.len())],
                    2 => drop(text.remove(at)),
                    _ => {
                        let other = seeds[random.below(seeds.len())].as_bytes();
                        text.truncate(at);
                        text.extend(&other[random.below(other.len())..]);
                    }
                }
                if text.is_empty() {
                    text.push(b'{');
                }
            }
            ws.0.write(Message::binary(text)).expect("queued");
        }
        ws.0.flush().expect("sent");
        for _ in 0..50 {
            // A subscription that was made by chance may bring events.
            let mut answer = ws.text();
            while answer.starts_with("{\"action\":\"EVENT\"") {
                answer = ws.text();
            }
            assert!(answer.starts_with("{\"action\":") && answer.contains("\"error\":"), "{answer}");
        }
    }
    assert_alive(&daemon, &mut ws);
}

#[test]
fn deep_nesting_and_huge_members_up_to_the_limit_are_answered() {
    const LIMIT: usize = 64 * 1024;
    let daemon = Daemon::start(&[]);
    let mut ws = daemon.ws("/");
    let deep = |open: &str, close: &str, inside: usize| {
        let depth = (LIMIT - inside) / (open.len() + close.len());
        open.repeat(depth) + &close.repeat(depth)
    };
    let messages = [
        "[".repeat(LIMIT),
        "{\"a\":".repeat(LIMIT / 5),
        "]".repeat(LIMIT),
        "\"".repeat(LIMIT),
        "9".repeat(LIMIT),
        "{\"action\":".repeat(LIMIT / 10),
        format!("{{\"action\":\"READ_MEMORY\",\"id\":{}}}", deep("[", "]", 40)),
        format!("{{\"action\":\"READ_MEMORY\",\"x\":{}}}", deep("[", "]", 40)),
        format!("{{\"action\":{}}}", deep("[", "]", 40)),
        format!("{{\"action\":\"READ_PIN_CONFIGURATIONS\",\"params\":{{\"pins\":{}}}}}", deep("[", "]", 80)),
        format!(
            "{{\"action\":\"UPDATE_PIN_CONFIGURATIONS\",\"params\":{{\"pins\":{{\"GPIO4\":{}}}}}}}",
            deep("[", "]", 100)
        ),
        format!("{{\"action\":\"READ_MEMORY\",\"params\":NaN,\"id\":{}}}", deep("[", "]", 60)),
        format!("{{\"action\":\"{}\"}}", "A".repeat(LIMIT - 20)),
        format!("{{\"action\":\"SUBSCRIBE\",\"params\":{{\"topics\":[\"{}\"]}}}}", "t".repeat(LIMIT - 60)),
    ];
    for message in messages {
        ws.send(&message);
        assert!(ws.text().starts_with("{\"action\":"), "{:.80}", message);
    }
    let pins = vec!["\"GPIO4\""; LIMIT / 10].join(",");
    ws.send(&format!("{{\"action\":\"READ_PIN_CONFIGURATIONS\",\"params\":{{\"pins\":[{pins}]}}}}"));
    assert_eq!(ws.json()["data"].as_object().map(serde_json::Map::len), Some(1));
    let exact = "{\"action\":\"READ_MEMORY\",\"id\":\"\"}".len();
    let id = "i".repeat(LIMIT - exact);
    let answer = ws.ask(&format!("{{\"action\":\"READ_MEMORY\",\"id\":\"{id}\"}}"));
    assert_eq!(answer["success"], true, "a message of exactly session.message_bytes is taken");
    assert_eq!(answer["id"], *id);
    assert_alive(&daemon, &mut ws);
}

#[test]
fn many_large_requests_at_once_are_all_answered() {
    let daemon = Daemon::start(&[]);
    let mut ws = daemon.ws("/");
    let id = "i".repeat(60_000);
    let request = format!("{{\"action\":\"READ_UPTIME\",\"id\":\"{id}\"}}");
    for _ in 0..5 {
        for _ in 0..10 {
            ws.0.write(Message::text(request.clone())).expect("queued");
        }
        ws.0.flush().expect("sent");
        for _ in 0..10 {
            assert_eq!(ws.json()["id"], *id);
        }
    }
    assert_alive(&daemon, &mut ws);
}

#[test]
fn a_message_beyond_the_limit_closes_with_1009() {
    let daemon = Daemon::with_config("[session]\nmessage_bytes = 1000\n", &[]);
    let mut ws = daemon.ws("/");
    let fill = |length: usize| " ".repeat(length - 24) + "{\"action\":\"READ_MEMORY\"}";
    assert_eq!(ws.ask(&fill(1000))["success"], true);
    ws.send(&fill(1001));
    assert_eq!(ws.closed().0, 1009);
    // The same in fragments, none of which is too large by itself.
    let mut ws = daemon.ws("/");
    let half = [b' '; 600];
    let stream = ws.0.get_mut();
    stream.write_all(&frame(0x01, &half, true)).expect("sent");
    stream.write_all(&frame(0x80, &half, true)).expect("sent");
    assert_eq!(ws.closed().0, 1009);
    assert_alive(&daemon, &mut daemon.ws("/"));
}

#[test]
fn violations_of_the_protocol_close_with_their_code() {
    let daemon = Daemon::start(&[]);
    let request = br#"{"action":"READ_MEMORY"}"#;
    let long_ping = [0; 126];
    let table: [(&str, Vec<u8>, u16); 8] = [
        ("text that is not UTF-8", frame(0x81, b"\xff\xfe", true), 1007),
        ("an unmasked frame", frame(0x81, request, false), 1002),
        ("a reserved bit", frame(0xc1, request, true), 1002),
        ("a reserved opcode", frame(0x83, request, true), 1002),
        ("a reserved control opcode", frame(0x8b, b"", true), 1002),
        ("a continuation of nothing", frame(0x80, request, true), 1002),
        ("a fragmented ping", frame(0x09, b"", true), 1002),
        ("a ping that is too long", frame(0x89, &long_ping, true), 1002),
    ];
    for (what, bytes, code) in table {
        let mut ws = daemon.ws("/");
        assert_eq!(ws.ask(r#"{"action":"READ_MEMORY"}"#)["success"], true);
        ws.0.get_mut().write_all(&bytes).expect("sent");
        assert_eq!(ws.closed().0, code, "{what}");
    }
    assert_alive(&daemon, &mut daemon.ws("/"));
}

#[test]
fn a_message_in_single_bytes_and_in_fragments_with_pings_between_is_one_message() {
    let daemon = Daemon::start(&[]);
    let mut ws = daemon.ws("/");
    for byte in frame(0x81, br#"{"action":"READ_MEMORY"}"#, true) {
        ws.0.get_mut().write_all(&[byte]).expect("sent");
    }
    assert_eq!(ws.json()["success"], true);
    let stream = ws.0.get_mut();
    stream.write_all(&frame(0x01, br#"{"action":"#, true)).expect("sent");
    stream.write_all(&frame(0x89, b"ping", true)).expect("sent");
    stream.write_all(&frame(0x00, b"\"READ_", true)).expect("sent");
    stream.write_all(&frame(0x80, b"UPTIME\"}", true)).expect("sent");
    assert_eq!(ws.0.read().expect("a pong"), Message::Pong("ping".into()));
    assert_eq!(ws.json()["action"], "READ_UPTIME");
}

/// A client's frame, made by hand. The mask is zero, so the payload is the same.
fn frame(first: u8, payload: &[u8], masked: bool) -> Vec<u8> {
    let bit = if masked { 0x80 } else { 0 };
    let mut bytes = vec![first];
    match u8::try_from(payload.len()) {
        Ok(length) if length < 126 => bytes.push(bit | length),
        _ => {
            bytes.push(bit | 126);
            bytes.extend(u16::try_from(payload.len()).expect("short").to_be_bytes());
        }
    }
    if masked {
        bytes.extend([0; 4]);
    }
    bytes.extend(payload);
    bytes
}
