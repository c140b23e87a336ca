//! A container's log as it comes: frames taken apart, lines cut, the end kept.

use std::collections::VecDeque;

/// Of one line; what is longer is cut.
const LINE_BYTES: usize = 16 * 1024;

/// Stream number, three zeros, length.
const HEADER: usize = 8;

/// Collects the last lines, of at most so many bytes together.
pub struct Log {
    frames: Option<Frames>,
    line: Vec<u8>,
    /// Whether the line that is coming has been cut already.
    cut: bool,
    lines: VecDeque<String>,
    bytes: usize,
    most: usize,
    truncated: bool,
}

#[derive(Default)]
struct Frames {
    header: Vec<u8>,
    left: u32,
}

impl Log {
    /// A container with a terminal has no frames around its output.
    pub fn new(terminal: bool, most: usize) -> Log {
        Log {
            frames: (!terminal).then(Frames::default),
            line: Vec::new(),
            cut: false,
            lines: VecDeque::new(),
            bytes: 0,
            most,
            truncated: false,
        }
    }

    pub fn take(&mut self, mut part: &[u8]) {
        while !part.is_empty() {
            let text;
            (text, part) = match &mut self.frames {
                None => (part, &[][..]),
                Some(frames) => frames.text(part),
            };
            self.text(text);
        }
    }

    fn text(&mut self, text: &[u8]) {
        for piece in text.split_inclusive(|byte| *byte == b'\n') {
            let (piece, ends) = match piece.strip_suffix(b"\n") {
                Some(piece) => (piece, true),
                None => (piece, false),
            };
            let room = LINE_BYTES - self.line.len();
            self.cut |= piece.len() > room;
            self.line.extend_from_slice(piece.get(..room).unwrap_or(piece));
            if ends {
                self.end_line();
            }
        }
    }

    fn end_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        let line = String::from_utf8_lossy(&line).trim_end_matches('\r').to_owned();
        self.truncated |= std::mem::take(&mut self.cut);
        self.bytes += line.len() + 1;
        self.lines.push_back(line);
        while self.bytes > self.most && self.lines.len() > 1 {
            let first = self.lines.pop_front();
            self.bytes -= first.map_or(0, |line| line.len() + 1);
            self.truncated = true;
        }
    }

    /// The lines, and whether something before or in them is missing.
    pub fn finish(mut self) -> (Vec<String>, bool) {
        if !self.line.is_empty() {
            self.end_line();
        }
        (self.lines.into(), self.truncated)
    }
}

impl Frames {
    /// Splits what belongs to the current frame's text off; the rest comes again.
    fn text<'a>(&mut self, part: &'a [u8]) -> (&'a [u8], &'a [u8]) {
        if self.left > 0 {
            let length = usize::try_from(self.left).unwrap_or(usize::MAX).min(part.len());
            let (text, rest) = part.split_at(length);
            self.left -= u32::try_from(length).unwrap_or(self.left);
            return (text, rest);
        }
        let wanted = (HEADER - self.header.len()).min(part.len());
        let (header, rest) = part.split_at(wanted);
        self.header.extend_from_slice(header);
        if let [_, _, _, _, a, b, c, d] = self.header[..] {
            self.left = u32::from_be_bytes([a, b, c, d]);
            self.header.clear();
        }
        (&[], rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(stream: u8, text: &str) -> Vec<u8> {
        let mut frame = vec![stream, 0, 0, 0];
        frame.extend((text.len() as u32).to_be_bytes());
        frame.extend(text.as_bytes());
        frame
    }

    #[test]
    fn frames_come_apart_however_they_are_cut() {
        let all = [frame(1, "one\nt"), frame(2, ""), frame(2, "wo\r\n"), frame(1, "thr"), frame(1, "ee")].concat();
        for size in 1..all.len() {
            let mut log = Log::new(false, 1000);
            all.chunks(size).for_each(|part| log.take(part));
            assert_eq!(log.finish(), (vec!["one".into(), "two".into(), "three".into()], false), "{size}");
        }
    }

    #[test]
    fn the_end_is_kept_and_long_lines_are_cut() {
        let mut log = Log::new(true, 10);
        log.take(b"first\nsecond\nthird\n");
        assert_eq!(log.finish(), (vec!["third".into()], true));
        let mut log = Log::new(true, LINE_BYTES * 3);
        log.take(&vec![b'x'; LINE_BYTES * 2]);
        log.take(b"y\nz");
        let (lines, truncated) = log.finish();
        assert_eq!((lines[0].len(), lines[1].as_str(), truncated), (LINE_BYTES, "z", true));
    }
}
