//! WebSocket on the wire, as little of it as a generator needs: frames to send, and counting those that arrive.

use std::io;

/// A fixed masking key: the server's work does not depend on its value.
const MASK: [u8; 4] = [0x5a, 0xc3, 0x96, 0x0f];

const FIN_TEXT: u8 = 0x81;
const FIN: u8 = 0x80;
const OPCODE: u8 = 0x0f;
const CONTROL: u8 = 0x08;

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

/// Counts the messages in a server's byte stream without keeping a byte of them.
///
/// Control frames are passed over. Frames may arrive in any pieces.
#[derive(Default)]
pub struct Counter {
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

impl Counter {
    /// Takes what was received and returns how many messages it completed.
    pub fn feed(&mut self, mut bytes: &[u8]) -> usize {
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

    /// Length and place of the last data frame that was opened.
    pub fn last_message(&self) -> Message {
        self.last_message
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
