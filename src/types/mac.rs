//! Hardware addresses, and whose they are.

use std::fmt;

/// The prefixes registered for Raspberry Pis, their radios included.
const RASPBERRY_PI: [[u8; 3]; 8] = [
    [0x28, 0xcd, 0xc1],
    [0x2c, 0xcf, 0x67],
    // A company's own identifier, used for addresses that are made up.
    [0x3a, 0x35, 0x41],
    [0x88, 0xa2, 0x9e],
    [0xb8, 0x27, 0xeb],
    [0xd8, 0x3a, 0xdd],
    [0xdc, 0xa6, 0x32],
    [0xe4, 0x5f, 0x01],
];

/// An Ethernet address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// Six pairs of hexadecimal digits, all separated by colons or all by hyphens.
    pub fn parse(text: &str) -> Option<Mac> {
        let mut bytes = [0; 6];
        let separator = if text.contains('-') { '-' } else { ':' };
        let mut pairs = text.split(separator);
        for byte in &mut bytes {
            let pair = pairs.next().filter(|pair| pair.len() == 2 && pair.bytes().all(|b| b.is_ascii_hexdigit()))?;
            *byte = u8::from_str_radix(pair, 16).ok()?;
        }
        pairs.next().is_none().then_some(Mac(bytes))
    }

    /// Whether somebody has this address: not nobody's, and not a group's.
    pub fn is_somebodys(self) -> bool {
        self.0 != [0; 6] && self.0[0] & 1 == 0
    }

    pub fn is_raspberry_pi(self) -> bool {
        let [a, b, c, ..] = self.0;
        RASPBERRY_PI.contains(&[a, b, c])
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_in_both_usual_forms() {
        let mac = Mac::parse("B8-27-EB-00-0a-01").expect("an address");
        assert_eq!(mac.to_string(), "b8:27:eb:00:0a:01");
        assert_eq!(Mac::parse(&mac.to_string()), Some(mac));
        assert!(mac.is_raspberry_pi() && mac.is_somebodys());
        assert!(!Mac::parse("02:00:00:00:00:01").expect("an address").is_raspberry_pi());
        for text in
            ["", "b8:27:eb:00:0a", "b8:27:eb:00:0a:01:02", "b8:27:eb:00:0a:1", "+8:27:eb:00:0a:01", "b827eb000a01"]
        {
            assert_eq!(Mac::parse(text), None, "{text}");
        }
        assert!(!Mac([0; 6]).is_somebodys() && !Mac([0xff; 6]).is_somebodys());
    }
}
