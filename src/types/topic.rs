//! Topic names and the patterns that select them.
//!
//! A topic is a dotted name such as `gpio.state.changed`; PiCloud event names are topics too and may be any
//! text. In a pattern `*` stands for exactly one level wherever it is, and `**`, which is the last level, for any
//! tail, also none (`gpio.**` selects `gpio` and `gpio.state.changed`). A pattern that ends in a dot (`gpio.`) is a
//! prefix: one level more, or several.
//!
//! Who is connected is told under `presence.`, and only to those who name that level: `**` of a client that has never
//! heard of it does not select it.

/// Prefixes of the daemon's own events: clients may subscribe to them and never publish them.
pub const RESERVED_PREFIXES: [&str; 7] = ["gpio.", "node.", "cluster.", "system.", "telemetry.", "agent.", "presence."];

/// The first level of topics that no wildcard in its place selects.
const UNSPOKEN: &str = "presence";

/// The longest topic or pattern a client may name, in bytes.
pub const MAX_TOPIC_BYTES: usize = 256;

/// The most levels of a pattern with a wildcard; a plain name may have any number.
pub const MAX_PATTERN_LEVELS: usize = 16;

/// Whether `name` belongs to the daemon (see [`RESERVED_PREFIXES`]).
pub fn is_reserved(name: &str) -> bool {
    RESERVED_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// Whether a wildcard in the place of the first level leaves `name` out (see the module's text).
pub fn is_unspoken(name: &str) -> bool {
    name.strip_prefix(UNSPOKEN).is_some_and(|rest| rest.starts_with('.'))
}

/// A subscription pattern, kept as written.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pattern(Box<str>);

impl Pattern {
    /// Takes any text within [`MAX_TOPIC_BYTES`] and, with a wildcard, [`MAX_PATTERN_LEVELS`].
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
        let pattern = Pattern(text.into());
        let levels = text.split('.').count();
        if levels > MAX_PATTERN_LEVELS && pattern.exact().is_none() {
            return Err(format!("a topic pattern has at most {MAX_PATTERN_LEVELS} levels, this one has {levels}"));
        }
        Ok(pattern)
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The one topic it selects, where it has no wildcard.
    pub fn exact(&self) -> Option<&str> {
        self.parts().all(|part| matches!(part, Part::Level(_))).then_some(&*self.0)
    }

    /// Level by level, from the left. [`Part::Some`] and [`Part::Any`] come last, if at all.
    pub fn parts(&self) -> impl Iterator<Item = Part<'_>> + Clone {
        let prefix = self.0.strip_suffix('.');
        let levels = prefix.unwrap_or(&self.0).split('.').map(|level| match level {
            "*" => Part::One,
            "**" => Part::Any,
            level => Part::Level(level),
        });
        levels.chain(prefix.map(|_| Part::Some))
    }

    /// Whether the pattern selects `topic` for a subscriber.
    pub fn matches(&self, topic: &str) -> bool {
        self.spans(topic) && (!is_unspoken(topic) || matches!(self.parts().next(), Some(Part::Level(_))))
    }

    /// Whether it takes in `topic` as a permission: here a wildcard stands for everything.
    pub fn spans(&self, topic: &str) -> bool {
        let mut levels = topic.split('.');
        for part in self.parts() {
            match (part, levels.next()) {
                (Part::Any, _) | (Part::Some, Some(_)) => return true,
                (Part::One, Some(_)) => {}
                (Part::Level(wanted), Some(level)) if wanted == level => {}
                _ => return false,
            }
        }
        levels.next().is_none()
    }

    /// Whether every topic that `other` selects is taken in by this one too.
    pub fn covers(&self, other: &Pattern) -> bool {
        let [own, other] = [self, other].map(|pattern| pattern.parts().collect::<Vec<_>>());
        cover(&own, &other)
    }
}

/// What a place in a pattern stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part<'a> {
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
            ("gpio.*", "gpio.state.changed", false),
            ("gpio.*", "gpio.state", true),
            ("gpio.**", "gpio.state.changed", true),
            ("gpio.*", "gpio", false),
            ("gpio.**", "gpio", true),
            ("gpio.*.changed", "gpio.state.changed", true),
            ("gpio.*.changed", "gpio.a.b.changed", false),
            ("gpio.*.*", "gpio.state.changed", true),
            ("gpio.", "gpio.state.changed", true),
            ("gpio.", "gpio.state", true),
            ("gpio.", "gpio", false),
            ("gpio.", "gpiox.state", false),
            ("*.state.", "gpio.state.changed", true),
            ("*", "door", true),
            ("*", "door.front", false),
            ("**", "system.log.created", true),
            ("**", "", true),
            ("door", "door", true),
            ("door", "door.front", false),
            ("door.front", "door", false),
            ("system.log.created", "system.log.created", true),
            ("door*", "doors", false),
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
            ("*", "a.b", false),
            ("gpio.*", "gpio.state.changed", false),
            ("gpio.**", "gpio.state.changed", true),
            ("gpio.*", "gpio.*", true),
            ("gpio.*", "gpio.state.*", false),
            ("gpio.**", "gpio.state.*", true),
            ("gpio.*", "gpio.", false),
            ("gpio.**", "gpio.", true),
            ("gpio.", "gpio.*", true),
            ("gpio.", "gpio.*.**", true),
            ("gpio.*.**", "gpio.", true),
            ("gpio.", "gpio.**", false),
            ("gpio.*", "gpio.**", false),
            ("gpio.**", "gpio.*", true),
            ("gpio.*", "*", false),
            ("gpio.*", "gpiox.a", false),
            ("gpio.*.changed", "gpio.state.changed", true),
            ("gpio.*.changed", "gpio.*.changed", true),
            ("gpio.*.changed", "gpio.*", false),
            ("*.b.*", "a.b.c", true),
            ("**", "presence.**", true),
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
    fn presence_is_told_to_those_who_name_it_and_everything_permits_it() {
        for (pattern, expected) in [("presence.*", true), ("presence.", true), ("**", false), ("*.joined", false)] {
            let parsed = Pattern::new(pattern).expect("a valid pattern");
            assert_eq!(parsed.matches("presence.joined"), expected, "{pattern}");
            assert!(parsed.spans("presence.joined"), "{pattern}");
        }
        assert!(Pattern::new("**").expect("valid").matches("presence"), "a client's own event");
    }

    #[test]
    fn a_name_without_wildcards_is_exact() {
        for (pattern, exact) in [("door", true), ("a.b", true), ("door*", true), ("a.", false), ("*", false)] {
            let parsed = Pattern::new(pattern).expect("a valid pattern");
            assert_eq!(parsed.exact(), exact.then_some(pattern));
        }
    }

    #[test]
    fn an_empty_or_overlong_pattern_is_refused_with_the_limit_named() {
        assert!(Pattern::new("").is_err());
        assert!(Pattern::new("gpio.**.changed").is_err());
        let error = Pattern::new(&"x".repeat(MAX_TOPIC_BYTES + 1)).expect_err("too long");
        assert!(error.contains("256"), "{error}");
        let deep = |last: &str| format!("{}{last}", "a.".repeat(MAX_PATTERN_LEVELS));
        let error = Pattern::new(&deep("*")).expect_err("too deep");
        assert!(error.contains("16 levels, this one has 17"), "{error}");
        assert!(Pattern::new(&deep("a")).is_ok() && Pattern::new(&deep("*")[2..]).is_ok());
    }

    #[test]
    fn the_daemons_own_prefixes_are_reserved() {
        assert!(is_reserved("gpio.state.changed"));
        assert!(is_reserved("agent.x"));
        assert!(!is_reserved("gpio"));
        assert!(!is_reserved("door"));
    }
}
