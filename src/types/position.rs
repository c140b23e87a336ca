//! Where in the hub's sequence a client is: `EPOCH:OFFSET`.
//!
//! Every event that goes through the hub gets the next number, its **offset**, whatever its topic. Offsets of one topic
//! grow and are not contiguous, so one pair says how far a client has come in all it is subscribed to. The **epoch**
//! tells one sequence of numbers from another: with another epoch an offset means nothing.

use std::fmt;
use std::str::FromStr;

/// Which sequence of numbers; written as 16 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Epoch(pub u64);

/// A place in a sequence: everything up to this offset has been seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Position {
    pub epoch: Epoch,
    pub offset: u64,
}

/// Events that were dropped for a client that reads too slowly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lagged {
    pub epoch: Epoch,
    /// How many.
    pub count: u64,
    /// The offset of the first, and of the last. Between them there may be events that were not for this client.
    pub first: u64,
    pub last: u64,
}

/// The text is no epoch or no position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PositionError {
    #[error("an epoch is 16 hexadecimal digits")]
    Epoch,
    #[error("an offset is a number from 0")]
    Offset,
    #[error("a position is EPOCH:OFFSET, such as 00c0ffee00c0ffee:42")]
    Form,
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl FromStr for Epoch {
    type Err = PositionError;

    fn from_str(text: &str) -> Result<Epoch, PositionError> {
        // `from_str_radix` would take a sign.
        if text.len() != 16 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(PositionError::Epoch);
        }
        u64::from_str_radix(text, 16).map(Epoch).map_err(|_| PositionError::Epoch)
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.epoch, self.offset)
    }
}

impl FromStr for Position {
    type Err = PositionError;

    fn from_str(text: &str) -> Result<Position, PositionError> {
        let (epoch, offset) = text.split_once(':').ok_or(PositionError::Form)?;
        let epoch = epoch.parse()?;
        if !offset.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(PositionError::Offset);
        }
        let offset = offset.parse().map_err(|_| PositionError::Offset)?;
        Ok(Position { epoch, offset })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_read_as_it_is_written() {
        for (epoch, offset, text) in [
            (0, 0, "0000000000000000:0"),
            (0xc0ffee, 42, "0000000000c0ffee:42"),
            (u64::MAX, u64::MAX, "ffffffffffffffff:18446744073709551615"),
        ] {
            let position = Position { epoch: Epoch(epoch), offset };
            assert_eq!(position.to_string(), text);
            assert_eq!(text.parse(), Ok(position));
        }
        assert_eq!("00C0FFEE00C0FFEE:1".parse(), Ok(Position { epoch: Epoch(0x00c0_ffee_00c0_ffee), offset: 1 }));
    }

    #[test]
    fn anything_else_is_refused_with_the_part_that_is_wrong() {
        use PositionError::{Epoch, Form, Offset};
        for (text, error) in [
            ("", Form),
            ("0000000000c0ffee", Form),
            ("c0ffee:42", Epoch),
            ("+000000000c0ffee:42", Epoch),
            ("000000000000000g:42", Epoch),
            ("0000000000c0ffee:", Offset),
            ("0000000000c0ffee:+1", Offset),
            ("0000000000c0ffee:-1", Offset),
            ("0000000000c0ffee:1:2", Offset),
            ("0000000000c0ffee:18446744073709551616", Offset),
        ] {
            assert_eq!(text.parse::<Position>(), Err(error), "{text}");
        }
    }
}
