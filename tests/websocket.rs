//! RFC 6455, frame by frame, through `/echo`.

mod common;
mod robust;

use std::io::{Read, Write};
use std::net::TcpStream;

use common::Daemon;
use robust::{BINARY, CLOSE, FIN, PING, PONG, TEXT, close, frame, raw_ws, read_frame, read_head, text};

fn daemon() -> Daemon {
    Daemon::start(&["--debug-echo"])
}

fn echo(daemon: &Daemon) -> TcpStream {
    raw_ws(daemon.addr, "/echo")
}

fn send(stream: &mut impl Write, bytes: &[u8]) {
    stream.write_all(bytes).expect("sent");
}

/// The next frame must be exactly this one.
fn expect(stream: &mut impl Read, first: u8, payload: &[u8]) {
    let (got, bytes) = read_frame(stream).expect("a frame");
    assert_eq!((got, String::from_utf8_lossy(&bytes)), (first, String::from_utf8_lossy(payload)));
}

/// Sends bytes that break the protocol; the daemon must answer with this close code and end the connection.
fn check_refused(daemon: &Daemon, what: &str, bytes: &[u8], code: u16) {
    let mut stream = echo(daemon);
    send(&mut stream, bytes);
    let (first, payload) = read_frame(&mut stream).unwrap_or_else(|| panic!("{what}: ended without a Close"));
    assert_eq!(first, FIN | CLOSE, "{what}");
    assert_eq!(payload[..2], code.to_be_bytes(), "{what}: {}", String::from_utf8_lossy(&payload[2..]));
    assert!(std::str::from_utf8(&payload[2..]).is_ok(), "{what}: the reason is text");
    assert!(read_frame(&mut stream).is_none(), "{what}: nothing comes after a Close");
}

#[test]
fn echo_is_not_there_unless_asked_for() {
    let daemon = Daemon::start(&[]);
    match daemon.try_ws("/echo", &[]) {
        Err(tungstenite::Error::Http(answer)) => assert_eq!(answer.status(), 404),
        other => panic!("{:?}", other.err()),
    }
}

#[test]
fn text_and_binary_come_back_as_what_they_were() {
    let daemon = daemon();
    let mut stream = echo(&daemon);
    for length in [0, 1, 125, 126, 127, 128, 65_535, 65_536] {
        let letters = vec![b'x'; length];
        for kind in [TEXT, BINARY] {
            send(&mut stream, &frame(FIN | kind, &letters));
            expect(&mut stream, FIN | kind, &letters);
        }
    }
    send(&mut stream, &frame(FIN | BINARY, &[0, 159, 146, 150, 255]));
    expect(&mut stream, FIN | BINARY, &[0, 159, 146, 150, 255]);
}

#[test]
fn fragments_are_one_message_and_control_frames_may_come_between() {
    let daemon = daemon();
    let mut stream = echo(&daemon);
    for kind in [TEXT, BINARY] {
        send(&mut stream, &frame(kind, b"one "));
        send(&mut stream, &frame(FIN | PING, b"between"));
        expect(&mut stream, FIN | PONG, b"between");
        send(&mut stream, &frame(0, b""));
        send(&mut stream, &frame(0, b"two "));
        send(&mut stream, &frame(FIN | PONG, b"nobody asked"));
        send(&mut stream, &frame(FIN, b"three"));
        expect(&mut stream, FIN | kind, b"one two three");
    }
    // A character may be cut anywhere, as long as the whole is UTF-8.
    let word = "κόσμε🚀".as_bytes();
    for at in 0..=word.len() {
        send(&mut stream, &[frame(TEXT, &word[..at]), frame(FIN, &word[at..])].concat());
        expect(&mut stream, FIN | TEXT, word);
    }
}

#[test]
fn a_ping_is_answered_with_its_payload_in_its_turn() {
    let daemon = daemon();
    let mut stream = echo(&daemon);
    for length in [0, 1, 125] {
        send(&mut stream, &frame(FIN | PING, &vec![7; length]));
        expect(&mut stream, FIN | PONG, &vec![7; length]);
    }
    let burst = [text("before"), frame(FIN | PING, b"p"), text("after")].concat();
    send(&mut stream, &burst);
    expect(&mut stream, FIN | TEXT, b"before");
    expect(&mut stream, FIN | PONG, b"p");
    expect(&mut stream, FIN | TEXT, b"after");
}

#[test]
fn a_breach_of_the_protocol_is_closed_with_1002() {
    let daemon = daemon();
    for bit in [0x40, 0x20, 0x10] {
        check_refused(&daemon, "a reserved bit", &frame(FIN | bit | TEXT, b"x"), 1002);
        check_refused(&daemon, "a reserved bit in a ping", &frame(FIN | bit | PING, b"x"), 1002);
    }
    for opcode in [3, 4, 5, 6, 7, 0xB, 0xC, 0xD, 0xE, 0xF] {
        check_refused(&daemon, "a reserved opcode", &frame(FIN | opcode, b"x"), 1002);
    }
    for control in [PING, PONG, CLOSE] {
        check_refused(&daemon, "a control frame of 126 bytes", &frame(FIN | control, &[0; 126]), 1002);
        check_refused(&daemon, "a control frame in fragments", &frame(control, b""), 1002);
    }
    check_refused(&daemon, "a continuation of nothing", &frame(FIN, b"x"), 1002);
    check_refused(&daemon, "a continuation of nothing, to be continued", &frame(0, b"x"), 1002);
    let two = [frame(TEXT, b"x"), frame(FIN | TEXT, b"y")].concat();
    check_refused(&daemon, "a message inside a message", &two, 1002);
    let unmasked = [FIN | TEXT, 1, b'x'];
    check_refused(&daemon, "a frame without a mask", &unmasked, 1002);
}

#[test]
fn text_that_is_not_utf_8_is_closed_with_1007() {
    let daemon = daemon();
    let bad: [&[u8]; 5] = [b"\xFF", b"ok \xC0\xAF", b"\xED\xA0\x80", b"\xF4\x90\x80\x80", b"cut \xE2\x82"];
    for payload in bad {
        check_refused(&daemon, "one frame", &frame(FIN | TEXT, payload), 1007);
        let pieces = [frame(TEXT, payload), frame(FIN, b"")].concat();
        check_refused(&daemon, "fragments", &pieces, 1007);
    }
    check_refused(&daemon, "a Close's reason", &frame(FIN | CLOSE, b"\x03\xE8\xFF"), 1007);
}

#[test]
fn a_message_beyond_the_limit_is_closed_with_1009() {
    let daemon = Daemon::with_config("[session]\nmessage_bytes = 1000\n", &["--debug-echo"]);
    let mut stream = echo(&daemon);
    send(&mut stream, &frame(FIN | TEXT, &[b'x'; 1000]));
    expect(&mut stream, FIN | TEXT, &[b'x'; 1000]);
    check_refused(&daemon, "one frame", &frame(FIN | TEXT, &[b'x'; 1001]), 1009);
    let pieces = [frame(TEXT, &[b'x'; 600]), frame(FIN, &[b'x'; 600])].concat();
    check_refused(&daemon, "fragments", &pieces, 1009);
    // The length alone is enough: nobody waits for, or makes room for, what is announced.
    let announced = [&[FIN | BINARY, 0x80 | 127][..], &(1_u64 << 40).to_be_bytes(), &[0; 4]].concat();
    check_refused(&daemon, "a terabyte announced", &announced, 1009);
}

#[test]
fn a_close_is_answered_with_its_own_code() {
    let daemon = daemon();
    for code in [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999] {
        let mut stream = echo(&daemon);
        send(&mut stream, &close(code, "bye"));
        let (first, payload) = read_frame(&mut stream).expect("a Close");
        assert_eq!((first, &payload[..2]), (FIN | CLOSE, &code.to_be_bytes()[..]), "{code}");
        assert!(read_frame(&mut stream).is_none(), "{code}: the connection ends");
    }
    let mut stream = echo(&daemon);
    send(&mut stream, &frame(FIN | CLOSE, b""));
    let (first, payload) = read_frame(&mut stream).expect("a Close");
    assert_eq!((first, payload.as_slice()), (FIN | CLOSE, &b""[..]), "no code is answered with no code");
    assert!(read_frame(&mut stream).is_none());
}

#[test]
fn a_close_code_nobody_may_send_is_a_breach_of_the_protocol() {
    let daemon = daemon();
    for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535] {
        check_refused(&daemon, &format!("code {code}"), &close(code, ""), 1002);
    }
    check_refused(&daemon, "half a code", &frame(FIN | CLOSE, b"\x03"), 1002);
}

#[test]
fn what_comes_before_a_close_is_answered_and_what_comes_after_is_not() {
    let daemon = daemon();
    let mut stream = echo(&daemon);
    send(&mut stream, &[text("before"), close(1000, ""), text("after"), frame(FIN | PING, b"after")].concat());
    expect(&mut stream, FIN | TEXT, b"before");
    let (first, payload) = read_frame(&mut stream).expect("a Close");
    assert_eq!((first, &payload[..2]), (FIN | CLOSE, &1000_u16.to_be_bytes()[..]));
    assert!(read_frame(&mut stream).is_none());
}

#[test]
fn the_answer_to_the_handshake_is_that_of_the_rfc_and_names_no_extension() {
    let daemon = daemon();
    let mut stream = daemon.tcp();
    let request = robust::upgrade_request(daemon.addr, "/echo")
        .replace("\r\n\r\n", "\r\nSec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n");
    send(&mut stream, request.as_bytes());
    let head = read_head(&mut stream);
    let lower = head.to_ascii_lowercase();
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    assert!(lower.contains("\r\nsec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=\r\n"), "{head}");
    assert!(lower.contains("\r\nupgrade: websocket\r\n") && lower.contains("\r\nconnection: upgrade\r\n"), "{head}");
    assert!(!lower.contains("sec-websocket-extensions"), "{head}");
    send(&mut stream, &text("plain"));
    expect(&mut stream, FIN | TEXT, b"plain");
}

/// A handshake with something else in it must be refused with this status, and say why.
fn check_handshake(daemon: &Daemon, from: &str, to: &str, status: u16) -> String {
    let request = robust::upgrade_request(daemon.addr, "/echo");
    assert!(request.contains(from), "{from} is in the request");
    let mut stream = daemon.tcp();
    send(&mut stream, request.replacen(from, to, 1).as_bytes());
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer and the end");
    let code = answer.split(' ').nth(1).and_then(|s| s.parse::<u16>().ok());
    assert_eq!(code, Some(status), "{from:?} → {to:?}: {answer}");
    let (_, body) = answer.split_once("\r\n\r\n").expect("a body");
    assert!(!body.trim().is_empty(), "{from:?} → {to:?}: says why: {answer}");
    answer
}

#[test]
fn a_handshake_that_is_not_right_is_refused_with_the_reason() {
    let daemon = daemon();
    let answer = check_handshake(&daemon, "Version: 13", "Version: 8", 426);
    assert!(answer.to_ascii_lowercase().contains("\r\nsec-websocket-version: 13\r\n"), "{answer}");
    check_handshake(&daemon, "Sec-WebSocket-Version: 13\r\n", "", 426);
    check_handshake(&daemon, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", "", 400);
    check_handshake(&daemon, "dGhlIHNhbXBsZSBub25jZQ==", "", 400);
    check_handshake(&daemon, "dGhlIHNhbXBsZSBub25jZQ==", "dG9vIHNob3J0", 400);
    check_handshake(&daemon, "dGhlIHNhbXBsZSBub25jZQ==", "!!!!!!!!!!!!!!!!!!!!!!==", 400);
}

#[test]
fn a_socket_route_without_an_upgrade_is_an_http_error() {
    let daemon = daemon();
    for path in ["/ws", "/subscribe?clientName=a", "/publish?clientName=a", "/info"] {
        assert_eq!(daemon.get(path).status, 400, "{path}");
        let half = daemon.http("GET", path, &[("Upgrade", "websocket")], "");
        assert_eq!(half.status, 400, "{path} with Upgrade, but without Connection: Upgrade");
    }
    assert_eq!(daemon.get("/echo").status, 404);
}

#[test]
fn the_handshake_may_come_in_pieces_and_frames_right_behind_it() {
    let daemon = daemon();
    let mut bytes = robust::upgrade_request(daemon.addr, "/echo").into_bytes();
    bytes.extend(text("with the handshake"));
    bytes.extend(frame(TEXT, b"and the "));
    let rest = frame(FIN, b"rest later");
    // All at once.
    let mut stream = daemon.tcp();
    send(&mut stream, &bytes);
    assert!(read_head(&mut stream).starts_with("HTTP/1.1 101 "));
    expect(&mut stream, FIN | TEXT, b"with the handshake");
    send(&mut stream, &rest);
    expect(&mut stream, FIN | TEXT, b"and the rest later");
    // One byte at a time, each its own segment.
    let mut stream = daemon.tcp();
    for byte in bytes.chunks(1).chain(rest.chunks(1)) {
        send(&mut stream, byte);
    }
    assert!(read_head(&mut stream).starts_with("HTTP/1.1 101 "));
    expect(&mut stream, FIN | TEXT, b"with the handshake");
    expect(&mut stream, FIN | TEXT, b"and the rest later");
    // Cut in two, anywhere.
    for at in (1..bytes.len()).step_by(7) {
        let mut stream = daemon.tcp();
        send(&mut stream, &bytes[..at]);
        send(&mut stream, &bytes[at..]);
        assert!(read_head(&mut stream).starts_with("HTTP/1.1 101 "));
        expect(&mut stream, FIN | TEXT, b"with the handshake");
    }
}

#[test]
fn a_thousand_messages_in_one_breath_are_answered_in_order() {
    let daemon = daemon();
    let stream = echo(&daemon);
    let mut writer = stream.try_clone().expect("a second handle");
    let sender = std::thread::spawn(move || {
        let all: Vec<u8> = (0..1000).flat_map(|n| text(&format!("message {n}"))).collect();
        send(&mut writer, &all);
    });
    let mut stream = std::io::BufReader::new(stream);
    for n in 0..1000 {
        expect(&mut stream, FIN | TEXT, format!("message {n}").as_bytes());
    }
    sender.join().expect("all sent");
}
