//! Timestamps: RFC 3339 in UTC with `Z`.

use std::io::Write;
use std::time::{Duration, SystemTime};

/// Appends a timestamp with nanoseconds.
pub fn write_nanos(out: &mut Vec<u8>, at: SystemTime) {
    // A write into a Vec cannot fail; and `representable` keeps humantime from panicking.
    let _ = write!(out, "{}", humantime::format_rfc3339_nanos(representable(at)));
}

/// Appends a timestamp with milliseconds.
pub fn write_millis(out: &mut Vec<u8>, at: SystemTime) {
    let _ = write!(out, "{}", humantime::format_rfc3339_millis(representable(at)));
}

/// Whether `text` is an RFC 3339 timestamp, with any offset.
pub fn is_rfc3339(text: &str) -> bool {
    let Some((date_time, offset)) = split_offset(text) else { return false };
    let offset_ok = match offset {
        "Z" | "z" => true,
        _ => {
            let digits = |range: std::ops::Range<usize>| offset.get(range).and_then(|d| d.parse::<u8>().ok());
            offset.len() == 6
                && offset.as_bytes()[3] == b':'
                && digits(1..3).is_some_and(|h| h < 24)
                && digits(4..6).is_some_and(|m| m < 60)
        }
    };
    // humantime knows no time before 1970, and on a 32-bit Pi none that its `time_t` has no room for. Of the year only
    // its February matters.
    let (year, rest) = date_time.split_at_checked(4).unwrap_or(("", date_time));
    let year = match year.parse::<u16>() {
        Ok(year) if !date_time.starts_with('+') => 2000 + u16::from(!is_leap(year)),
        _ => return false,
    };
    // humantime wants `Z`; the offset does not change what the rest must look like.
    offset_ok && humantime::parse_rfc3339(&format!("{year}{rest}Z")).is_ok()
}

fn is_leap(year: u16) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

/// The time of an RFC 3339 timestamp with any offset. Without an offset it counts as UTC, as Python's naive times do
/// in the protocols spoken here.
pub fn parse(text: &str) -> Option<SystemTime> {
    if !is_rfc3339(text) {
        return humantime::parse_rfc3339(&format!("{}Z", text.replacen(' ', "T", 1))).ok();
    }
    let (date_time, offset) = split_offset(text)?;
    let at = humantime::parse_rfc3339(&format!("{date_time}Z")).ok()?;
    let digits = |range: std::ops::Range<usize>| offset.get(range).and_then(|digits| digits.parse::<u64>().ok());
    let (Some(hours), Some(minutes)) = (digits(1..3), digits(4..6)) else { return Some(at) };
    let offset_length = Duration::from_secs(hours * 3600 + minutes * 60);
    if offset.starts_with('-') { at.checked_add(offset_length) } else { at.checked_sub(offset_length) }
}

/// Appends a timestamp with microseconds, or with seconds where there is nothing behind them.
pub fn write_micros(out: &mut Vec<u8>, at: SystemTime) {
    let at = representable(at);
    let whole = at.duration_since(SystemTime::UNIX_EPOCH).is_ok_and(|since| since.subsec_micros() == 0);
    if whole {
        let _ = write!(out, "{}", humantime::format_rfc3339_seconds(at));
    } else {
        let _ = write!(out, "{}", humantime::format_rfc3339_micros(at));
    }
}

fn split_offset(text: &str) -> Option<(&str, &str)> {
    if let Some(at) = text.find(['Z', 'z']) {
        return Some(text.split_at(at));
    }
    let time = text.find(['T', 't', ' '])?;
    let sign = text[time..].find(['+', '-'])? + time;
    Some(text.split_at(sign))
}

/// humantime panics outside 1970–9999: a clock set to before or after counts as that.
fn representable(at: SystemTime) -> SystemTime {
    const LAST: Duration = Duration::from_secs(253_402_300_799);
    at.clamp(SystemTime::UNIX_EPOCH, SystemTime::UNIX_EPOCH + LAST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc_3339_is_told_from_everything_else() {
        for good in [
            "2026-03-02T08:15:30Z",
            "2026-03-02T08:15:30.123456789Z",
            "2026-03-02T08:15:30+01:00",
            "2026-03-02T08:15:30.5-11:30",
            "1948-02-29T08:50:00.0Z",
            "0000-01-01T00:00:00Z",
            "2348-02-29T08:50:00Z",
            "9999-12-31T23:59:59Z",
        ] {
            assert!(is_rfc3339(good), "{good}");
        }
        for bad in [
            "",
            "Z",
            "2026-03-02",
            "2026-03-02T08:15:30",
            "2026-13-02T08:15:30Z",
            "2026-03-02T08:15:30+0100",
            "yesterdayZ",
            "2026-03-02T08:15:30+1é:0",
            "2026-03-02T08:15:30Zx",
            "1949-02-29T08:50:00Z",
            "2100-02-29T08:50:00Z",
            "+999-01-01T00:00:00Z",
        ] {
            assert!(!is_rfc3339(bad), "{bad}");
        }
    }

    #[test]
    fn no_clock_is_too_wrong_to_be_written() {
        for (at, expected) in [
            (SystemTime::UNIX_EPOCH - Duration::from_secs(1), "1970-01-01T00:00:00.000Z"),
            (SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 40), "9999-12-31T23:59:59.000Z"),
        ] {
            let mut out = Vec::new();
            write_millis(&mut out, at);
            assert_eq!(String::from_utf8(out).expect("ASCII"), expected);
        }
    }

    #[test]
    fn a_time_is_read_with_any_offset_or_none() {
        let text = |at| {
            let mut out = Vec::new();
            write_micros(&mut out, at);
            String::from_utf8(out).expect("ASCII")
        };
        for (written, expected) in [
            ("2026-03-02T08:15:30+00:00", Some("2026-03-02T08:15:30Z")),
            ("2026-03-02T08:15:30.306231", Some("2026-03-02T08:15:30.306231Z")),
            ("2026-03-02 08:15:30", Some("2026-03-02T08:15:30Z")),
            ("2026-03-02T00:15:30+01:30", Some("2026-03-01T22:45:30Z")),
            ("2026-03-02T23:15:30-01:00", Some("2026-03-03T00:15:30Z")),
            ("yesterday", None),
            ("1769-03-02T00:00:00Z", None),
            ("", None),
        ] {
            assert_eq!(parse(written).map(text).as_deref(), expected, "{written}");
        }
    }
}
