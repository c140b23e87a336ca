//! Server-to-client WebSocket frames (RFC 6455 §5.2): final, unmasked, so the same bytes fit every receiver.

/// Longest header of an unmasked frame.
const HEADER_MAX: usize = 10;

/// Appends a text frame whose payload is whatever `write` appends.
pub fn text_with(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    with(out, 0x1, write);
}

/// Appends a text frame.
pub fn text(out: &mut Vec<u8>, payload: &str) {
    with(out, 0x1, |out| out.extend_from_slice(payload.as_bytes()));
}

/// Appends a binary frame.
pub fn binary(out: &mut Vec<u8>, payload: &[u8]) {
    with(out, 0x2, |out| out.extend_from_slice(payload));
}

/// Appends an empty ping.
pub fn ping(out: &mut Vec<u8>) {
    with(out, 0x9, |_| {});
}

/// Appends a close frame; a reason longer than the 123 bytes a control frame has room for is cut at a
/// character's end.
pub fn close(out: &mut Vec<u8>, code: u16, reason: &str) {
    let mut end = reason.len().min(123);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    with(out, 0x8, |out| {
        out.extend_from_slice(&code.to_be_bytes());
        out.extend_from_slice(&reason.as_bytes()[..end]);
    });
}

/// Writes the payload behind room for the header that most frames need, then closes or widens the gap: no second
/// buffer, and nothing moves for a payload of 126 to 65,535 bytes.
fn with(out: &mut Vec<u8>, opcode: u8, write: impl FnOnce(&mut Vec<u8>)) {
    const ROOM: usize = 4;
    let start = out.len();
    out.extend_from_slice(&[0; ROOM]);
    write(out);
    let length = out.len() - start - ROOM;
    let mut header = [0; HEADER_MAX];
    header[0] = 0x80 | opcode;
    let size = match length {
        0..=125 => {
            header[1] = length as u8;
            out.copy_within(start + ROOM.., start + 2);
            out.truncate(start + 2 + length);
            2
        }
        126..=0xFFFF => {
            header[1] = 126;
            header[2..4].copy_from_slice(&(length as u16).to_be_bytes());
            4
        }
        _ => {
            header[1] = 127;
            header[2..10].copy_from_slice(&(length as u64).to_be_bytes());
            out.resize(out.len() + HEADER_MAX - ROOM, 0);
            out.copy_within(start + ROOM..start + ROOM + length, start + HEADER_MAX);
            HEADER_MAX
        }
    };
    out[start..start + size].copy_from_slice(&header[..size]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_have_the_length_forms_of_rfc_6455() {
        for (length, header) in [
            (0, vec![0x81, 0]),
            (125, vec![0x81, 125]),
            (126, vec![0x81, 126, 0, 126]),
            (65_535, vec![0x81, 126, 0xFF, 0xFF]),
            (65_536, vec![0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            let mut out = b"before".to_vec();
            text(&mut out, &"x".repeat(length));
            assert_eq!(&out[..6], b"before");
            assert_eq!(&out[6..6 + header.len()], &header[..], "{length}");
            assert!(out[6 + header.len()..].iter().all(|b| *b == b'x'));
            assert_eq!(out.len(), 6 + header.len() + length);
        }
    }

    #[test]
    fn a_close_reason_is_cut_to_a_control_frame_at_a_character() {
        let mut out = Vec::new();
        close(&mut out, 1001, &"é".repeat(100));
        assert_eq!(out[0], 0x88);
        assert_eq!(usize::from(out[1]), out.len() - 2);
        assert!(out.len() - 2 <= 125);
        assert!(std::str::from_utf8(&out[4..]).is_ok());
    }
}
