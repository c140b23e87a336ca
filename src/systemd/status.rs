//! The line that `systemctl status` shows.

use std::collections::BTreeMap;

/// What the line speaks of, in its order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fact {
    /// What is going on that will be over; while it is, nothing else is said.
    Doing,
    /// A part that does not answer.
    Silent,
    Listening,
    Backend,
    Clients,
    /// The way to our own hub.
    Hub,
    Store,
}

/// All that is known; what is empty is left out.
#[derive(Default)]
pub struct Board(BTreeMap<Fact, String>);

impl Board {
    /// Whether that is news.
    pub fn set(&mut self, fact: Fact, text: String) -> bool {
        let old = if text.is_empty() { self.0.remove(&fact) } else { self.0.insert(fact, text.clone()) };
        old.unwrap_or_default() != text
    }

    pub fn line(&self) -> String {
        match self.0.get(&Fact::Doing) {
            Some(doing) => doing.clone(),
            None => self.0.values().map(String::as_str).collect::<Vec<_>>().join("; "),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_has_what_there_is_in_its_order() {
        let mut board = Board::default();
        assert!(board.set(Fact::Clients, "2 WebSocket clients".into()));
        assert!(board.set(Fact::Listening, "listening on http://[::]:9000".into()));
        assert!(!board.set(Fact::Listening, "listening on http://[::]:9000".into()), "no news");
        assert!(!board.set(Fact::Store, String::new()), "nor is this");
        assert_eq!(board.line(), "listening on http://[::]:9000; 2 WebSocket clients");
        assert!(board.set(Fact::Doing, "reloading".into()));
        assert_eq!(board.line(), "reloading");
        assert!(board.set(Fact::Doing, String::new()) && board.set(Fact::Clients, String::new()));
        assert_eq!(board.line(), "listening on http://[::]:9000");
    }
}
