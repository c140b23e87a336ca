//! What a parameter's value has to look like, where its author says so with a regular expression.

/// A regular expression that is about whole values.
#[derive(Clone, Debug)]
pub struct Pattern(regex_lite::Regex);

impl Pattern {
    /// # Errors
    /// What is wrong with it.
    pub(super) fn new(written: &str) -> Result<Pattern, String> {
        let why = |error: regex_lite::Error| format!("is no regular expression: {error}");
        // The group keeps an alternative inside; \A and \z are the value's ends, not a line's.
        // It has to be one by itself as well, or a stray bracket would end the group.
        regex_lite::Regex::new(written).map_err(why)?;
        let whole = format!("\\A(?:{written})\\z");
        regex_lite::RegexBuilder::new(&whole).size_limit(256 * 1024).build().map(Pattern).map_err(why)
    }

    pub fn is_match(&self, value: &str) -> bool {
        self.0.is_match(value)
    }
}
