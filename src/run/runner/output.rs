//! A command's output as text: as it comes, up to its cap, cut at characters.

/// What has been printed so far.
pub struct Output {
    text: String,
    /// The beginning of a character whose end has not come.
    partial: Vec<u8>,
    most: usize,
    truncated: bool,
    /// Bytes that came, kept or not.
    seen: u64,
    /// How much of `text` has been handed on.
    told: usize,
}

impl Output {
    pub fn new(most: usize) -> Output {
        Output { text: String::new(), partial: Vec::new(), most, truncated: false, seen: 0, told: 0 }
    }

    pub fn take(&mut self, bytes: &[u8]) {
        self.seen = self.seen.saturating_add(bytes.len() as u64);
        if self.truncated {
            return;
        }
        self.partial.extend_from_slice(bytes);
        let bytes = std::mem::take(&mut self.partial);
        for chunk in bytes.utf8_chunks() {
            self.push(chunk.valid());
            let invalid = chunk.invalid();
            // Only the last chunk can be an unfinished character.
            let at_end = std::ptr::eq(invalid.as_ptr_range().end, bytes.as_ptr_range().end);
            if at_end && is_unfinished(invalid) {
                self.partial = invalid.to_vec();
            } else if !invalid.is_empty() {
                self.push("\u{fffd}");
            }
        }
    }

    /// No more comes.
    pub fn end(&mut self) {
        if !std::mem::take(&mut self.partial).is_empty() {
            self.push("\u{fffd}");
        }
    }

    /// Adds a line of our own, whatever the cap says.
    pub fn note(&mut self, line: &str) {
        if !self.text.is_empty() && !self.text.ends_with('\n') {
            self.text.push('\n');
        }
        self.text.push_str(line);
        self.text.push('\n');
    }

    /// Where the new text begins, in bytes of the whole, and the text, if there is any.
    pub fn news(&mut self) -> Option<(usize, &str)> {
        let from = std::mem::replace(&mut self.told, self.text.len());
        let news = self.text.get(from..).filter(|news| !news.is_empty())?;
        Some((from, news))
    }

    pub fn has_news(&self) -> bool {
        self.told < self.text.len()
    }

    pub fn seen(&self) -> u64 {
        self.seen
    }

    /// The text, and whether it is only a beginning.
    pub fn finish(self) -> (String, bool) {
        (self.text, self.truncated)
    }

    fn push(&mut self, text: &str) {
        let room = self.most.saturating_sub(self.text.len());
        if text.len() <= room {
            self.text.push_str(text);
            return;
        }
        let end = (0..=room).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        self.text.push_str(text.get(..end).unwrap_or_default());
        self.truncated = true;
    }
}

/// Whether more bytes could make a character of these.
fn is_unfinished(bytes: &[u8]) -> bool {
    !bytes.is_empty() && std::str::from_utf8(bytes).is_err_and(|error| error.error_len().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_survive_being_cut_and_what_is_none_is_marked() {
        let text = "aä€😀\n";
        for size in 1..text.len() {
            let mut output = Output::new(100);
            text.as_bytes().chunks(size).for_each(|part| output.take(part));
            output.end();
            assert_eq!(output.finish(), (text.to_owned(), false), "{size}");
        }
        let mut output = Output::new(100);
        output.take(b"a\xffb\xe2\x82");
        output.take(b"c\xe2");
        output.end();
        assert_eq!(output.finish().0, "a\u{fffd}b\u{fffd}c\u{fffd}");
    }

    #[test]
    fn the_beginning_is_kept_and_handed_on_once() {
        let mut output = Output::new(6);
        output.take(b"abc");
        assert_eq!(output.news(), Some((0, "abc")));
        assert_eq!(output.news(), None);
        output.take("d€fgh".as_bytes());
        output.take(b"more");
        assert_eq!(output.news(), Some((3, "d")), "a character does not fit in part");
        assert_eq!(output.seen(), 14);
        output.note("[ended]");
        assert_eq!(output.finish(), ("abcd\n[ended]\n".into(), true));
    }
}
