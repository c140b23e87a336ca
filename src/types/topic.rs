//! Topic names and the patterns that select them.
//!
//! A topic is a dotted name such as `gpio.state.changed`; PiCloud event names are topics too and may be any
//! text. In a pattern, `*` stands for exactly one level in the middle, for one **or more** levels at the end
//! (`gpio.*` selects `gpio.state.changed`), and a trailing `**` also selects the bare prefix. A pattern that
//! ends in a dot (`gpio.`) is a prefix.

/// Prefixes of the daemon's own events: clients may subscribe to them and never publish them.
pub const RESERVED_PREFIXES: [&str; 6] = ["gpio.", "node.", "cluster.", "system.", "telemetry.", "agent."];

/// The longest topic or pattern a client may name, in bytes.
pub const MAX_TOPIC_BYTES: usize = 256;

/// Whether `name` belongs to the daemon (see [`RESERVED_PREFIXES`]).
pub fn is_reserved(name: &str) -> bool {
    RESERVED_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// A subscription pattern, kept as written.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pattern(Box<str>);

impl Pattern {
    /// Takes any text; the only limit is [`MAX_TOPIC_BYTES`].
    ///
    /// # Errors
    /// Says what is wrong with the pattern, in words meant for its author.
    pub fn new(text: &str) -> Result<Pattern, String> {
        if text.is_empty() {
            return Err("a topic pattern must not be empty".into());
        }
        if text.len() > MAX_TOPIC_BYTES {
            return Err(format!("a topic pattern has at most {MAX_TOPIC_BYTES} bytes, this one has {}", text.len()));
        }
        if text.split('.').rev().skip(1).any(|level| level == "**") {
            return Err("'**' stands for any tail, so it must be the last level".into());
        }
        Ok(Pattern(text.into()))
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the pattern selects `topic`.
    pub fn matches(&self, topic: &str) -> bool {
        if let Some(prefix) = self.0.strip_suffix('.') {
            return topic.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('.'));
        }
        let mut wanted = self.0.split('.').peekable();
        let mut levels = topic.split('.');
        while let Some(part) = wanted.next() {
            let last = wanted.peek().is_none();
            match (part, levels.next()) {
                ("**", _) if last => return true,
                ("*", Some(_)) if last => return true,
                ("*", Some(_)) => {}
                (part, Some(level)) if part == level => {}
                _ => return false,
            }
        }
        levels.next().is_none()
    }

    /// Whether every topic that `other` selects is selected by this one too.
    pub fn covers(&self, other: &Pattern) -> bool {
        cover(&self.parts(), &other.parts())
    }

    fn parts(&self) -> Vec<Part<'_>> {
        if let Some(prefix) = self.0.strip_suffix('.') {
            return prefix.split('.').map(Part::Level).chain([Part::Some]).collect();
        }
        let mut parts: Vec<Part> =
            self.0.split('.').map(|level| if level == "*" { Part::One } else { Part::Level(level) }).collect();
        match parts.last_mut() {
            Some(last @ Part::One) => *last = Part::Some,
            Some(last @ Part::Level("**")) => *last = Part::Any,
            _ => {}
        }
        parts
    }
}

/// What a place in a pattern stands for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part<'a> {
    Level(&'a str),
    One,
    /// One level or more, to the end.
    Some,
    /// Any number of levels, to the end.
    Any,
}

fn cover(own: &[Part], other: &[Part]) -> bool {
    match (own, other) {
        ([Part::Any, ..], _) => true,
        ([Part::Some, ..], other) => !matches!(other, [] | [Part::Any, ..]),
        ([], other) => other.is_empty(),
        ([Part::Level(a), own @ ..], [Part::Level(b), other @ ..]) => a == b && cover(own, other),
        ([Part::One, own @ ..], [Part::Level(_) | Part::One, other @ ..]) => cover(own, other),
        ([Part::One, own @ ..], [Part::Some, ..]) => cover(own, &[Part::Any]),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_select_what_their_documentation_says() {
        let table = [
            ("gpio.*", "gpio.state.changed", true),
            ("gpio.**", "gpio.state.changed", true),
            ("gpio.*", "gpio", false),
            ("gpio.**", "gpio", true),
            ("gpio.*.changed", "gpio.state.changed", true),
            ("gpio.*.changed", "gpio.a.b.changed", false),
            ("gpio.", "gpio.state.changed", true),
            ("gpio.", "gpiox.state", false),
            ("*", "door", true),
            ("**", "system.log.created", true),
            ("door", "door", true),
            ("door", "door.front", false),
            ("door.front", "door", false),
            ("system.log.created", "system.log.created", true),
        ];
        for (pattern, topic, expected) in table {
            let parsed = Pattern::new(pattern).expect("a valid pattern");
            assert_eq!(parsed.matches(topic), expected, "{pattern} on {topic}");
        }
    }

    #[test]
    fn a_pattern_covers_what_selects_no_more() {
        let table = [
            ("**", "**", true),
            ("**", "*", true),
            ("*", "**", false),
            ("*", "a.b", true),
            ("gpio.*", "gpio.state.changed", true),
            ("gpio.*", "gpio.*", true),
            ("gpio.*", "gpio.state.*", true),
            ("gpio.*", "gpio.", true),
            ("gpio.", "gpio.*", true),
            ("gpio.*", "gpio.**", false),
            ("gpio.**", "gpio.*", true),
            ("gpio.*", "*", false),
            ("gpio.*", "gpiox.a", false),
            ("gpio.*.changed", "gpio.state.changed", true),
            ("gpio.*.changed", "gpio.*.changed", true),
            ("gpio.*.changed", "gpio.*", false),
            ("*.b.*", "a.b.c", true),
            ("*.**", "*", true),
            ("door", "door", true),
            ("door", "door.*", false),
            ("a.b", "a", false),
        ];
        for (own, other, expected) in table {
            let [a, b] = [own, other].map(|text| Pattern::new(text).expect("a valid pattern"));
            assert_eq!(a.covers(&b), expected, "{own} covers {other}");
        }
    }

    #[test]
    fn an_empty_or_overlong_pattern_is_refused_with_the_limit_named() {
        assert!(Pattern::new("").is_err());
        assert!(Pattern::new("gpio.**.changed").is_err());
        let error = Pattern::new(&"x".repeat(MAX_TOPIC_BYTES + 1)).expect_err("too long");
        assert!(error.contains("256"), "{error}");
    }

    #[test]
    fn the_daemons_own_prefixes_are_reserved() {
        assert!(is_reserved("gpio.state.changed"));
        assert!(is_reserved("agent.x"));
        assert!(!is_reserved("gpio"));
        assert!(!is_reserved("door"));
    }
}
