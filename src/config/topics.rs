//! `[topics]`: which topics are durable, and how much of them is kept.

use std::time::Duration;

use super::load::Written;
use super::source::{ConfigError, dotted};
use super::validate;
use crate::types::topic::{Pattern, RESERVED_PREFIXES};

/// Events that are kept of a topic, unless its table says otherwise.
const KEEP: usize = 10_000;

/// For how long, unless its table says otherwise.
const KEEP_FOR: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// More than that is a database's work.
const MOST: usize = 1_000_000;

const SHORTEST: Duration = Duration::from_secs(1);

const LONGEST: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// What is kept of the topics that a pattern selects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    pub pattern: Pattern,
    /// Whether its events outlive the process.
    pub durable: bool,
    /// The latest events of each topic that stay.
    pub keep: usize,
    /// For how long they do.
    pub keep_for: Duration,
}

/// # Errors
/// A name that is no pattern or can only be the daemon's own, a value out of bounds, or nowhere to keep anything.
pub(super) fn topics(
    written: &Written<'_>,
    has_state_dir: bool,
    warnings: &mut Vec<String>,
) -> Result<Vec<Topic>, ConfigError> {
    let Written { file, source, .. } = *written;
    let mut topics = Vec::new();
    for (name, entry) in &file.topics {
        let key = dotted("topics", name);
        let pattern = Pattern::new(name).map_err(|why| ConfigError::new(source.at(&key), why))?;
        let topic = Topic {
            pattern,
            durable: entry.durable.unwrap_or(false),
            keep: entry.keep.map_or(KEEP, |count| count.0),
            keep_for: entry.keep_for.map_or(KEEP_FOR, |period| period.0),
        };
        validate::count(source, &format!("{key}.keep"), topic.keep, 1..=MOST)?;
        validate::period(source, &format!("{key}.keep_for"), topic.keep_for, SHORTEST..=LONGEST)?;
        let refuse = |why: String| Err(ConfigError::new(source.at(&format!("{key}.durable")), why));
        if topic.durable {
            if let Some(own) = RESERVED_PREFIXES.iter().find(|own| name.starts_with(*own)) {
                return refuse(format!(
                    "events under '{own}' are the daemon's own, and what clients publish can be durable"
                ));
            }
            if !has_state_dir {
                return refuse("needs a state_dir, where events outlive the process".into());
            }
        } else if let Some(own) =
            [("keep", entry.keep.is_some()), ("keep_for", entry.keep_for.is_some())].into_iter().find(|(_, set)| *set)
        {
            let place = source.at(&format!("{key}.{}", own.0));
            warnings.push(format!(
                "{place}: counts for durable topics only, write durable = true beside it; what others keep is in [history]"
            ));
        }
        topics.push(topic);
    }
    Ok(topics)
}
