//! Time since boot.
//!
//! | | |
//! |---|---|
//! | source | `proc/uptime`, the first of its two numbers |
//! | unit | seconds, with two digits after the point |
//! | range | 0 and up; the kernel counts suspended time too |
//! | failure | `Query`: the file cannot be read · `Parse`: it does not begin with a number |

use std::path::Path;

use super::kept_file::KeptFile;
use crate::types::reading::{Missing, Reading, Uptime};

const WHAT: &str = "system uptime";

/// Two numbers of at most 20 digits each.
const BUFFER_BYTES: usize = 64;

/// `proc/uptime`.
pub struct Source(KeptFile);

impl Source {
    pub fn new(root: &Path) -> Source {
        Source(KeptFile::new(root.join("proc/uptime")))
    }

    /// Reads the clock.
    pub fn read(&self) -> Reading<Uptime> {
        let mut buffer = [0; BUFFER_BYTES];
        let text = self.0.read(&mut buffer).map_err(|_| Missing::Query(WHAT))?;
        parse(text).ok_or(Missing::Parse(WHAT))
    }
}

/// `93784.52 371055.11` → 93784.52 s
fn parse(text: &[u8]) -> Option<Uptime> {
    let number = text.split(u8::is_ascii_whitespace).next()?;
    // The standard parser would also take signs, exponents and words such as `inf`.
    if !number.first()?.is_ascii_digit() || !number.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.') {
        return None;
    }
    let seconds = std::str::from_utf8(number).ok()?.parse().ok()?;
    Some(Uptime { seconds })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_number_counts() {
        assert_eq!(parse(b"93784.52 371055.11\n"), Some(Uptime { seconds: 93784.52 }));
        assert_eq!(parse(b"0.00 0.00\n"), Some(Uptime { seconds: 0.0 }));
        assert_eq!(parse(b"12"), Some(Uptime { seconds: 12.0 }));
    }

    #[test]
    fn anything_else_is_refused() {
        for text in ["", "\n", " 1.0", "-1.0 2", "+1.0 2", "1e5 2", "inf nan", "1.2.3", ".", ".5", "up 3 days", "1,5"] {
            assert_eq!(parse(text.as_bytes()), None, "{text:?}");
        }
        assert_eq!(parse(&[0xff, b' ']), None);
    }
}
