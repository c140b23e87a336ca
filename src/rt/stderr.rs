//! Whether stderr is the journal's, and how a line says there how serious it is: `<3>` and the like before it.
//!
//! Set once at the start; whoever writes to stderr without the log (a crash, an error of the command line) asks here.

use std::sync::OnceLock;

use log::Level;

static JOURNAL: OnceLock<bool> = OnceLock::new();

/// Whether lines go to the journal: `JOURNAL_STREAM` names the device and inode of stderr itself. Somebody may have set
/// it for another process and redirected this one.
pub fn is_journal() -> bool {
    *JOURNAL.get_or_init(|| {
        let Ok(named) = std::env::var("JOURNAL_STREAM") else { return false };
        rustix::fs::fstat(std::io::stderr()).is_ok_and(|stat| named == format!("{}:{}", stat.st_dev, stat.st_ino))
    })
}

/// Writes to stderr, each line of it with its priority where that is the journal. In one piece, if stderr takes it so.
pub fn say(level: Level, text: &str) {
    use std::io::Write;
    let text = if is_journal() { prefixed(level, text) } else { format!("{text}\n") };
    // Who does not listen is told nothing.
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}

/// The lines with what `syslog(3)` calls their priority.
pub fn prefixed(level: Level, text: &str) -> String {
    let priority = match level {
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 6,
        Level::Debug | Level::Trace => 7,
    };
    text.lines().map(|line| format!("<{priority}>{line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_has_its_priority() {
        assert_eq!(prefixed(Level::Error, "a\nb"), "<3>a\n<3>b\n");
        let all = [Level::Warn, Level::Info, Level::Debug, Level::Trace].map(|level| prefixed(level, "x"));
        assert_eq!(all, ["<4>x\n", "<6>x\n", "<7>x\n", "<7>x\n"]);
    }
}
