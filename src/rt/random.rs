//! Random identifiers and numbers.

use std::io;

use rustix::io::Errno;
use rustix::rand::{GetRandomFlags, getrandom};

/// A new UUID (version 4), in lower case with its hyphens.
///
/// # Errors
/// A kernel without `getrandom`.
pub fn uuid() -> io::Result<String> {
    Ok(text(bytes()?))
}

/// Bytes nobody can guess.
///
/// # Errors
/// A kernel without `getrandom`.
pub fn bytes<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0_u8; N];
    let mut filled = 0;
    while filled < bytes.len() {
        match getrandom(&mut bytes[filled..], GetRandomFlags::empty()) {
            Ok(n) => filled += n,
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(bytes)
}

/// Whether the kernel has gathered enough to draw from. Without a hardware's generator that takes seconds after the boot,
/// and whoever asks before, if only by reading `/dev/urandom`, waits.
pub fn is_ready() -> bool {
    getrandom(&mut [0_u8; 1], GetRandomFlags::NONBLOCK) != Err(Errno::AGAIN)
}

/// A number from 0 to 1, for what only has to differ from others'; without random numbers it is in the middle.
pub fn fraction() -> f64 {
    bytes().map_or(0.5, |bytes| f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX))
}

/// Sets the bits that say what kind of UUID this is, and writes it.
fn text(mut bytes: [u8; 16]) -> String {
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let number = u128::from_be_bytes(bytes);
    let part = |from: u32, digits: u32| number >> (128 - from - digits * 4) & ((1 << (digits * 4)) - 1);
    format!("{:08x}-{:04x}-{:04x}-{:04x}-{:012x}", part(0, 8), part(32, 4), part(48, 4), part(64, 4), part(80, 12))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_has_its_form_and_no_two_are_alike() {
        assert_eq!(text([0xff; 16]), "ffffffff-ffff-4fff-bfff-ffffffffffff");
        let bytes = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];
        assert_eq!(text(bytes), "00010203-0405-4607-8809-0a0b0c0d0e0f");
        assert_ne!(uuid().expect("random"), uuid().expect("random"));
    }
}
