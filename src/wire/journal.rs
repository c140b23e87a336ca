//! systemd's journal as `journalctl --output=json` prints it: one object per line.

use std::time::{Duration, SystemTime};

use super::endrpi::json;
use crate::types::fleet::{LogLevel, LogLine, LogSource};

/// The fields that are of use here; those that begin with two underscores come without being asked for.
pub const FIELDS: &str = "MESSAGE,PRIORITY,SYSLOG_IDENTIFIER,_SYSTEMD_UNIT,_PID";

/// The longest message that is told, in bytes; the rest is cut.
const MESSAGE_BYTES: usize = 16 * 1024;

/// An entry of the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub line: LogLine,
    /// Where the journal is behind it.
    pub cursor: String,
    /// Who wrote it.
    pub pid: Option<u32>,
}

/// Reads one line of `journalctl`; `None` where it is no entry.
pub fn entry(text: &str) -> Option<Entry> {
    let names =
        ["__CURSOR", "__REALTIME_TIMESTAMP", "MESSAGE", "PRIORITY", "SYSLOG_IDENTIFIER", "_SYSTEMD_UNIT", "_PID"];
    let [cursor, time, message, priority, identifier, unit, pid] = json::pick(text, names)?;
    let string = |value: Option<&serde_json::value::RawValue>| json::string(value?).map(|text| text.into_owned());
    let micros: Option<u64> = string(time).and_then(|micros| micros.parse().ok());
    // A message that is not UTF-8 is printed as an array of its bytes, one that is too large as null.
    let message = match message.and_then(json::string) {
        Some(text) => text.into_owned(),
        None => {
            let bytes: Vec<u8> = message.and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or_default();
            String::from_utf8_lossy(&bytes).into_owned()
        }
    };
    let level = match string(priority).as_deref() {
        Some("0" | "1" | "2") => LogLevel::Critical,
        Some("3") => LogLevel::Error,
        Some("4") => LogLevel::Warning,
        Some("7") => LogLevel::Debug,
        _ => LogLevel::Info,
    };
    let line = LogLine {
        level,
        message: head(message),
        at: micros.and_then(|micros| SystemTime::UNIX_EPOCH.checked_add(Duration::from_micros(micros))),
        source: Some(LogSource::System),
        component: string(unit).or_else(|| string(identifier)),
    };
    Some(Entry { line, cursor: string(cursor)?, pid: string(pid).and_then(|pid| pid.parse().ok()) })
}

fn head(mut message: String) -> String {
    let mut end = MESSAGE_BYTES.min(message.len());
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    message.truncate(end);
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_read_as_journalctl_prints_them() {
        let text = r#"{"_PID":"1437","__REALTIME_TIMESTAMP":"1767225600000042","__MONOTONIC_TIMESTAMP":"7",
            "PRIORITY":"3","SYSLOG_IDENTIFIER":"sshd","_SYSTEMD_UNIT":"ssh.service","__CURSOR":"s=1;i=2",
            "_BOOT_ID":"x","MESSAGE":"Failed \"password\""}"#;
        let at = SystemTime::UNIX_EPOCH + Duration::from_micros(1_767_225_600_000_042);
        let line = LogLine {
            level: LogLevel::Error,
            message: "Failed \"password\"".into(),
            at: Some(at),
            source: Some(LogSource::System),
            component: Some("ssh.service".into()),
        };
        assert_eq!(entry(text), Some(Entry { line, cursor: "s=1;i=2".into(), pid: Some(1437) }));
        let kernel = r#"{"__CURSOR":"c","MESSAGE":[72,105,255],"PRIORITY":"6","SYSLOG_IDENTIFIER":"kernel"}"#;
        let kernel = entry(kernel).expect("an entry");
        assert_eq!((kernel.line.message.as_str(), kernel.line.component.as_deref()), ("Hi\u{fffd}", Some("kernel")));
        assert_eq!((kernel.line.level, kernel.line.at, kernel.pid), (LogLevel::Info, None, None));
        for none in ["", "-- No entries --", "{}", r#"{"MESSAGE":"without a cursor"}"#] {
            assert_eq!(entry(none), None, "{none}");
        }
        let long = format!(r#"{{"__CURSOR":"c","MESSAGE":"{}"}}"#, "é".repeat(MESSAGE_BYTES));
        assert_eq!(entry(&long).expect("an entry").line.message.len(), MESSAGE_BYTES);
    }
}
