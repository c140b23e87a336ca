//! A command's text as words, with a shell's quotes and none of its expansions.

/// Splits at blanks. Within `'…'` everything is itself; within `"…"` a backslash makes `"` and `\` themselves; outside
/// it does so for any character.
///
/// # Errors
/// A quote that does not end, a backslash with nothing behind it, or a NUL.
pub fn split(text: &str) -> Result<Vec<String>, &'static str> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\0' => return Err("has a NUL in it"),
            c if c.is_ascii_whitespace() => words.extend(word.take()),
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next() {
                        Some('\'') => break,
                        Some(c) => word.push(c),
                        None => return Err("has a ' that does not end"),
                    }
                }
            }
            '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next() {
                        Some('"') => break,
                        Some('\\') => match chars.next_if(|c| matches!(c, '"' | '\\')) {
                            Some(c) => word.push(c),
                            None => word.push('\\'),
                        },
                        Some(c) => word.push(c),
                        None => return Err("has a \" that does not end"),
                    }
                }
            }
            '\\' => word.get_or_insert_default().push(chars.next().ok_or("ends with a backslash")?),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    if words.iter().any(|word| word.contains('\0')) { Err("has a NUL in it") } else { Ok(words) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_hold_words_together_and_nothing_is_expanded() {
        for (text, words) in [
            ("", vec![]),
            ("  restart \t unit=a.service\n", vec!["restart", "unit=a.service"]),
            ("say text='a b'", vec!["say", "text=a b"]),
            (r#"say "text=a \"b\" \n""#, vec!["say", r#"text=a "b" \n"#]),
            (r"a\ b '' ''c", vec!["a b", "", "c"]),
            ("$HOME `id` $(id) * ; | & > ~", vec!["$HOME", "`id`", "$(id)", "*", ";", "|", "&", ">", "~"]),
        ] {
            assert_eq!(split(text), Ok(words.into_iter().map(str::to_owned).collect()), "{text}");
        }
        for text in ["'a", "\"a", "a\\", "a\0b", "'\0'"] {
            assert!(split(text).is_err(), "{text:?}");
        }
    }
}
