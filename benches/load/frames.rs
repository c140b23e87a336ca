//! Protocols on the wire, as little of them as a generator needs: frames to send, and counting the messages that arrive.

use std::io;

/// A fixed masking key: the server's work does not depend on its value.
const MASK: [u8; 4] = [0x5a, 0xc3, 0x96, 0x0f];

const FIN_TEXT: u8 = 0x81;
const FIN: u8 = 0x80;
const OPCODE: u8 = 0x0f;
const CONTROL: u8 = 0x08;

/// A pong as a client sends it, masked with zeros.
pub const PONG: [u8; 6] = [0x8a, 0x80, 0, 0, 0, 0];

/// A text frame as a client sends it.
pub fn client_text(payload: &str) -> Vec<u8> {
    let mut frame = head(payload.len());
    frame[1] |= 0x80;
    frame.extend(MASK);
    frame.extend(payload.bytes().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

/// A text frame as a server sends it, of exactly `total` bytes on the wire, filled with a letter.
///
/// # Errors
/// No frame has that length: it is below a header's or above what a 16-bit length can say.
pub fn server_text(total: usize) -> io::Result<Vec<u8>> {
    let mut frame = match total {
        2..=127 => head(total - 2),
        // 128 and 129 bytes come with a length field longer than needed, which the counter does not mind.
        128..=65_539 => {
            let [high, low] = (total as u16 - 4).to_be_bytes();
            vec![FIN_TEXT, 126, high, low]
        }
        _ => return Err(io::Error::other(format!("no frame of {total} bytes"))),
    };
    frame.resize(total, b'x');
    Ok(frame)
}

/// Header without mask; no message of the bench needs more than a 16-bit length.
fn head(payload: usize) -> Vec<u8> {
    match u8::try_from(payload) {
        Ok(short @ 0..=125) => vec![FIN_TEXT, short],
        _ => {
            let [high, low] = u16::try_from(payload).expect("messages of the bench are short").to_be_bytes();
            vec![FIN_TEXT, 126, high, low]
        }
    }
}

/// What a server speaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Speech {
    WebSocket,
    Mqtt,
    Nats,
}

/// A message without acknowledgement, as an MQTT client publishes it and as it is delivered.
pub fn mqtt_publish(topic: &str, payload: &str) -> Vec<u8> {
    mqtt_packet(0x30, &[&mqtt_text(topic), payload.as_bytes()])
}

/// An MQTT packet: its first byte, the length, the rest.
pub fn mqtt_packet(kind: u8, parts: &[&[u8]]) -> Vec<u8> {
    let mut length = parts.iter().map(|part| part.len()).sum::<usize>();
    let mut packet = vec![kind];
    loop {
        let more = if length > 127 { 0x80 } else { 0 };
        packet.push((length % 128) as u8 | more);
        length /= 128;
        if length == 0 {
            break;
        }
    }
    parts.iter().for_each(|part| packet.extend_from_slice(part));
    packet
}

pub fn mqtt_text(text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len()).expect("texts of the bench are short");
    [&length.to_be_bytes(), text.as_bytes()].concat()
}

/// Counts the messages in a server's byte stream.
pub enum Counter {
    WebSocket(WebSocket),
    Mqtt(Mqtt),
    Nats(Nats),
}

impl Counter {
    pub fn new(speech: Speech) -> Self {
        match speech {
            Speech::WebSocket => Self::WebSocket(WebSocket::default()),
            Speech::Mqtt => Self::Mqtt(Mqtt::default()),
            Speech::Nats => Self::Nats(Nats::default()),
        }
    }

    /// Takes what was received and returns how many messages it completed.
    pub fn feed(&mut self, bytes: &[u8]) -> usize {
        match self {
            Self::WebSocket(counter) => counter.feed(bytes),
            Self::Mqtt(counter) => counter.feed(bytes),
            Self::Nats(counter) => counter.feed(bytes),
        }
    }

    /// Length and place of the last data frame that was opened.
    pub fn last_message(&self) -> Message {
        match self {
            Self::WebSocket(counter) => counter.last_message,
            Self::Mqtt(_) | Self::Nats(_) => Message::default(),
        }
    }
}

/// Counts published packets; others are passed over.
#[derive(Default)]
pub struct Mqtt {
    kind: Option<u8>,
    length: usize,
    /// Bits of the length that were read.
    shift: u32,
    body_left: Option<usize>,
}

impl Mqtt {
    fn feed(&mut self, mut bytes: &[u8]) -> usize {
        let mut messages = 0;
        loop {
            if let Some(left) = self.body_left {
                let step = left.min(bytes.len());
                bytes = &bytes[step..];
                self.body_left = Some(left - step);
                if left > step {
                    return messages;
                }
                messages += usize::from(self.kind.is_some_and(|kind| kind >> 4 == 3));
                *self = Self::default();
            }
            let Some((&byte, rest)) = bytes.split_first() else { return messages };
            bytes = rest;
            if self.kind.is_none() {
                self.kind = Some(byte);
                continue;
            }
            self.length |= usize::from(byte & 0x7f) << self.shift;
            self.shift += 7;
            if byte & 0x80 == 0 {
                self.body_left = Some(self.length);
            }
        }
    }
}

/// Counts delivered messages; what else the server says, a line each, is passed over.
#[derive(Default)]
pub struct Nats {
    line: Vec<u8>,
    body_left: usize,
}

impl Nats {
    fn feed(&mut self, mut bytes: &[u8]) -> usize {
        let mut messages = 0;
        loop {
            if self.body_left > 0 {
                let step = self.body_left.min(bytes.len());
                bytes = &bytes[step..];
                self.body_left -= step;
                if self.body_left > 0 {
                    return messages;
                }
                messages += 1;
            }
            let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else {
                self.line.extend_from_slice(bytes);
                return messages;
            };
            self.line.extend_from_slice(&bytes[..end]);
            bytes = &bytes[end + 1..];
            if self.line.starts_with(b"MSG ") {
                let length = self.line.trim_ascii_end().rsplit(|byte| *byte == b' ').next().unwrap_or_default();
                let length = length.iter().fold(0, |length, digit| length * 10 + usize::from(digit - b'0'));
                self.body_left = length + 2;
            }
            self.line.clear();
        }
    }
}

/// Counts the messages in a WebSocket's byte stream without keeping a byte of them.
///
/// Control frames are passed over. Frames may arrive in any pieces.
#[derive(Default)]
pub struct WebSocket {
    header: [u8; 10],
    have: usize,
    payload_left: usize,
    in_payload: bool,
    last_message: Message,
}

/// Where the last message stood on the wire.
#[derive(Clone, Copy, Default)]
pub struct Message {
    pub header: usize,
    pub payload: usize,
}

impl WebSocket {
    fn feed(&mut self, mut bytes: &[u8]) -> usize {
        let mut messages = 0;
        loop {
            if self.in_payload {
                let step = self.payload_left.min(bytes.len());
                self.payload_left -= step;
                bytes = &bytes[step..];
                if self.payload_left > 0 {
                    return messages;
                }
                messages += usize::from(self.is_message_end());
                self.in_payload = false;
                self.have = 0;
            }
            let Some((&byte, rest)) = bytes.split_first() else {
                return messages;
            };
            bytes = rest;
            self.header[self.have] = byte;
            self.have += 1;
            self.open_payload();
        }
    }

    /// Once the header is whole: how much payload follows.
    fn open_payload(&mut self) {
        let payload = match (self.have, self.header[1] & 0x7f) {
            (2, length @ 0..=125) => usize::from(length),
            (4, 126) => usize::from(u16::from_be_bytes([self.header[2], self.header[3]])),
            (10, 127) => self.header[2..].iter().fold(0, |length, &byte| length << 8 | usize::from(byte)),
            _ => return,
        };
        self.payload_left = payload;
        self.in_payload = true;
        if self.header[0] & CONTROL == 0 {
            self.last_message = Message { header: self.have, payload };
        }
    }

    fn is_message_end(&self) -> bool {
        self.header[0] & FIN != 0 && self.header[0] & OPCODE < CONTROL
    }
}
