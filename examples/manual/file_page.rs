//! The manual page of the configuration file, made of the annotated sample: its tables become sections, its keys
//! entries with their defaults, and the comments what they say.

use clap_mangen::roff::{Roff, bold, roman};

const SAMPLE: &str = include_str!("../../systemd/pinwire.toml");

/// The whole page.
pub fn render(date: &str, see_also: &Roff) -> String {
    let mut roff = Roff::new();
    let source = format!("pinwire {}", env!("CARGO_PKG_VERSION"));
    roff.control("TH", ["PINWIRE.TOML", "5", date, source.as_str(), super::MANUAL]);
    roff.control("SH", ["NAME"]);
    roff.text([roman("pinwire.toml - configuration of the Pinwire daemon")]);
    roff.control("SH", ["DESCRIPTION"]);
    let mut comment = Vec::new();
    // A heading begins a paragraph by itself.
    let mut begun = true;
    let mut at_top = true;
    for line in SAMPLE.lines() {
        if let Some(text) = line.strip_prefix("# ").or((line == "#").then_some("")) {
            comment.push(text);
        } else if let Some(key) = line.strip_prefix('#') {
            let (name, default) = key.split_once(" = ").unwrap_or((key, ""));
            if std::mem::take(&mut at_top) {
                roff.control("SH", ["AT THE TOP"]);
            }
            roff.control("TP", []);
            roff.text([bold(name), roman(format!(" = {default}"))]);
            prose(&mut roff, &std::mem::take(&mut comment), true);
            begun = false;
        } else if line.starts_with('[') {
            at_top = false;
            roff.control("SH", [line]);
            begun = comment.is_empty();
            prose(&mut roff, &std::mem::take(&mut comment), true);
        } else if !comment.is_empty() {
            // An empty line: what was said belongs to no key.
            prose(&mut roff, &std::mem::take(&mut comment), begun);
            begun = false;
        }
    }
    prose(&mut roff, &comment, begun);
    format!("{}{}", roff.to_roff(), see_also.to_roff())
}

/// Text as it flows, and what is set in by the writer as it stands. `begun`: it goes on with the paragraph there is.
fn prose(roff: &mut Roff, comment: &[&str], begun: bool) {
    let mut new = !begun;
    let mut lines = comment.iter().peekable();
    while let Some(line) = lines.next() {
        if line.starts_with("  ") {
            roff.control("PP", []);
            roff.control("nf", []);
            roff.text([roman(*line)]);
            // An empty line in between is part of it.
            while let Some(line) = lines.next_if(|line| line.is_empty() || line.starts_with("  ")) {
                roff.text([roman(*line)]);
            }
            roff.control("fi", []);
            new = true;
        } else if line.is_empty() {
            new = true;
        } else {
            if std::mem::take(&mut new) {
                roff.control("PP", []);
            }
            roff.text([roman(*line)]);
        }
    }
}
