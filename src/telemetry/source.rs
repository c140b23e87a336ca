//! What one source may say, and how several of them make one reading.

use crate::types::reading::{Missing, Reading};

/// What one source said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said<T> {
    Value(T),
    /// It could not be asked, or did not answer.
    Nothing,
    /// It answered, and the answer made no sense.
    Nonsense,
}

impl<T> Said<T> {
    /// The parsed answer of a source that did answer.
    pub fn parsed(value: Option<T>) -> Said<T> {
        value.map_or(Said::Nonsense, Said::Value)
    }

    /// The parsed answer of a source that may not have answered.
    pub fn from_answer<A>(answer: Option<A>, parse: impl FnOnce(A) -> Option<T>) -> Said<T> {
        answer.map_or(Said::Nothing, |answer| Said::parsed(parse(answer)))
    }
}

/// The first value among `sources`, each asked only if those before it had none. If nobody has one, nonsense
/// is worth reporting more than silence: it means that there is something to repair.
pub fn first_of<T>(query: &'static str, parse: &'static str, sources: &[&dyn Fn() -> Said<T>]) -> Reading<T> {
    let mut nonsense = false;
    for source in sources {
        match source() {
            Said::Value(value) => return Ok(value),
            Said::Nonsense => nonsense = true,
            Said::Nothing => {}
        }
    }
    Err(if nonsense { Missing::Parse(parse) } else { Missing::Query(query) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_value_wins_and_later_sources_are_not_asked() {
        let reading =
            first_of("q", "p", &[&|| Said::Nothing, &|| Said::Nonsense, &|| Said::Value(7), &|| panic!("asked")]);
        assert_eq!(reading, Ok(7));
    }

    #[test]
    fn nonsense_outweighs_silence() {
        assert_eq!(first_of::<u8>("q", "p", &[&|| Said::Nothing]), Err(Missing::Query("q")));
        assert_eq!(first_of::<u8>("q", "p", &[&|| Said::Nonsense, &|| Said::Nothing]), Err(Missing::Parse("p")));
        assert_eq!(first_of::<u8>("q", "p", &[]), Err(Missing::Query("q")));
    }
}
