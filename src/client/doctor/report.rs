//! What was found, as lines of at most 80 columns or as one JSON object.

use serde_json::{Value, json};

use super::who::Subject;
use super::{ClientError, print_line};
use crate::types::plain::plain;

/// How much of a finding it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    Ok,
    /// Works, but somebody should know.
    Note,
    /// Does not work, or will soon not.
    Problem,
}

/// One thing that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub part: &'static str,
    pub level: Level,
    pub what: String,
    /// What to do about it.
    pub fix: Option<String>,
}

impl Finding {
    pub fn ok(part: &'static str, what: impl Into<String>) -> Finding {
        Finding { part, level: Level::Ok, what: what.into(), fix: None }
    }

    /// An empty `fix` is none.
    pub fn note(part: &'static str, what: impl Into<String>, fix: &str) -> Finding {
        let fix = Some(fix.to_owned()).filter(|fix| !fix.is_empty());
        Finding { part, level: Level::Note, what: what.into(), fix }
    }

    pub fn problem(part: &'static str, what: impl Into<String>, fix: &str) -> Finding {
        Finding { level: Level::Problem, ..Finding::note(part, what, fix) }
    }
}

/// What drives the lines.
pub struct GpioReport {
    /// Whether it works as it was meant to.
    pub ok: bool,
    pub backend: Option<&'static str>,
    pub simulated: bool,
    pub why: String,
}

const COLUMNS: usize = 80;

/// `problem  ` and the widest part's name.
const INDENT: usize = 18;

/// Prints all of it, problems last.
///
/// # Errors
/// There is a problem, or nowhere to print to.
pub fn print(findings: &[Finding], gpio: &GpioReport, subject: &Subject, json: bool) -> Result<(), ClientError> {
    let count = |level| findings.iter().filter(|finding| finding.level == level).count();
    let (notes, problems) = (count(Level::Note), count(Level::Problem));
    if json {
        print_line(&object(findings, gpio, subject).to_string())?;
    } else {
        for level in [Level::Ok, Level::Note, Level::Problem] {
            for finding in findings.iter().filter(|finding| finding.level == level) {
                print_line(&text(finding))?;
            }
        }
        print_line(&format!("{}, {}", number(problems, "problem"), number(notes, "note")))?;
    }
    if problems == 0 { Ok(()) } else { Err(ClientError::new("")) }
}

fn object(findings: &[Finding], gpio: &GpioReport, subject: &Subject) -> Value {
    let count = |level| findings.iter().filter(|finding| finding.level == level).count();
    let list: Vec<Value> = findings
        .iter()
        .map(
            |Finding { part, level, what, fix }| json!({"part": part, "level": name(*level), "what": what, "fix": fix}),
        )
        .collect();
    let GpioReport { ok, backend, simulated, why } = gpio;
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "user": subject.name,
        "gpio": {"ok": ok, "backend": backend, "simulated": simulated, "why": why},
        "findings": list,
        "summary": {
            "ok": count(Level::Ok), "notes": count(Level::Note), "problems": count(Level::Problem),
        },
    })
}

fn name(level: Level) -> &'static str {
    match level {
        Level::Ok => "ok",
        Level::Note => "note",
        Level::Problem => "problem",
    }
}

fn number(count: usize, what: &str) -> String {
    match count {
        0 => format!("no {what}"),
        1 => format!("1 {what}"),
        _ => format!("{count} {what}s"),
    }
}

fn text(finding: &Finding) -> String {
    let mut out = format!("{:8} {:8} ", name(finding.level), finding.part);
    wrap(&mut out, &plain(&finding.what), INDENT);
    if let Some(fix) = &finding.fix {
        out.push('\n');
        out.extend(std::iter::repeat_n(' ', INDENT));
        out.push_str("fix: ");
        wrap(&mut out, &plain(fix), INDENT + "fix: ".len());
    }
    out
}

/// Appends words so that no line is longer than [`COLUMNS`]. What stands between backquotes is somebody's to copy: it
/// is never broken, and gets a line of its own where it is long.
fn wrap(out: &mut String, text: &str, indent: usize) {
    let mut column = indent;
    let mut first = true;
    for word in words(text) {
        let width = word.chars().count();
        if !first && column + 1 + width > COLUMNS {
            out.push('\n');
            out.extend(std::iter::repeat_n(' ', indent));
            column = indent;
        } else if !first {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += width;
        first = false;
    }
}

/// Splits at spaces that are not between backquotes.
fn words(text: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let (mut start, mut quoted) = (0, false);
    for (at, c) in text.char_indices() {
        match c {
            '`' => quoted = !quoted,
            ' ' if !quoted => {
                words.push(text.get(start..at).unwrap_or_default());
                start = at + 1;
            }
            _ => {}
        }
    }
    words.push(text.get(start..).unwrap_or_default());
    words.retain(|word| !word.is_empty());
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_short_and_commands_stay_whole() {
        let command = "`sudo usermod -aG gpio somebody-with-a-rather-long-name-for-a-user`";
        let fix = format!("{command}, then log out and in again, because a session keeps the groups it began with");
        let shown = text(&Finding::problem("user", "a ".repeat(120).trim_end(), &fix));
        assert!(shown.contains(command), "{shown}");
        let long: Vec<_> = shown.lines().filter(|line| line.chars().count() > COLUMNS && !line.contains('`')).collect();
        assert!(long.is_empty(), "{long:?}");
        assert!(shown.lines().skip(1).all(|line| line.starts_with(&" ".repeat(INDENT))), "{shown}");
    }

    #[test]
    fn what_a_stranger_wrote_stays_on_its_line() {
        let shown = text(&Finding::note("line", "held by 'a\nb\u{1b}[2J'", ""));
        assert_eq!(shown, "note     line     held by 'a\\nb\\u{1b}[2J'");
    }
}
