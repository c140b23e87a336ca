//! One API key of the store: how it is written, made and recognised.
//!
//! `pw_<id>.<secret>`: the id finds the record and is no secret (it stands in lists and logs), the secret is 256 random
//! bits in base64url. Only the SHA-256 of the secret's text is kept: with that many bits nothing slower is needed.

use std::fmt;

use sha2::{Digest as _, Sha256};
use subtle::{Choice, ConstantTimeEq};

use super::MAX_KEY_BYTES;

/// What every key begins with, so that people and scanners for leaked secrets know one when they see it.
pub const PREFIX: &str = "pw_";

/// Characters of an id: 40 bits in hexadecimal.
const ID_CHARS: usize = 10;

/// Random bytes of a secret.
const SECRET_BYTES: usize = 32;

/// The public part of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId([u8; ID_CHARS]);

impl KeyId {
    /// An id as people write it: alone, or with what stands around it in a key.
    pub fn parse(text: &str) -> Option<KeyId> {
        let text = text.strip_prefix(PREFIX).unwrap_or(text);
        let text = text.split_once('.').map_or(text, |(id, _)| id);
        let bytes: [u8; ID_CHARS] = text.as_bytes().try_into().ok()?;
        bytes.iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')).then_some(KeyId(bytes))
    }

    pub fn as_str(&self) -> &str {
        // Only hexadecimal digits get in.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// SHA-256 of a secret's text.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    pub fn of(secret: &str) -> Digest {
        Digest(Sha256::digest(secret.as_bytes()).into())
    }

    pub(super) fn same(&self, other: &Digest) -> Choice {
        self.0.ct_eq(&other.0)
    }
}

/// Not even the digest belongs in a log.
impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Digest(…)")
    }
}

/// A new key, as it is shown once.
pub struct Minted {
    pub id: KeyId,
    pub text: String,
    pub digest: Digest,
}

/// Makes a key of the kernel's random numbers; waits for them where the machine has just been switched on.
///
/// # Errors
/// A kernel without `getrandom`.
pub fn mint() -> std::io::Result<Minted> {
    let mut id = [0; ID_CHARS / 2];
    let mut secret = [0; SECRET_BYTES];
    fill(&mut id)?;
    fill(&mut secret)?;
    let mut digits = [0; ID_CHARS];
    for (pair, byte) in digits.chunks_exact_mut(2).zip(id) {
        pair[0] = hex(byte >> 4);
        pair[1] = hex(byte & 15);
    }
    let (id, secret) = (KeyId(digits), base64url(&secret));
    Ok(Minted { id, text: format!("{PREFIX}{id}.{secret}"), digest: Digest::of(&secret) })
}

/// What was shown, taken apart. What is no key of ours has no id, and a digest all the same: both take the same path.
pub fn take_apart(shown: &str) -> (Option<KeyId>, Digest) {
    let mut end = shown.len().min(MAX_KEY_BYTES);
    while !shown.is_char_boundary(end) {
        end -= 1;
    }
    let (id, secret) = shown[..end].split_once('.').unwrap_or(("", &shown[..end]));
    let id = id.strip_prefix(PREFIX).filter(|_| end == shown.len()).and_then(KeyId::parse);
    (id, Digest::of(secret))
}

fn fill(bytes: &mut [u8]) -> std::io::Result<()> {
    let mut filled = 0;
    while filled < bytes.len() {
        match rustix::rand::getrandom(&mut bytes[filled..], rustix::rand::GetRandomFlags::empty()) {
            Ok(n) => filled += n,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn hex(nibble: u8) -> u8 {
    b"0123456789abcdef"[usize::from(nibble & 15)]
}

/// RFC 4648 §5, without padding.
fn base64url(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let group = chunk.iter().fold(0_u32, |group, byte| group << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for sextet in 0..=chunk.len() {
            text.push(char::from(ALPHABET[(group >> (18 - 6 * sextet) & 63) as usize]));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64url_is_as_the_standard_says() {
        let cases: [(&[u8], &str); 6] =
            [(b"", ""), (b"f", "Zg"), (b"fo", "Zm8"), (b"foo", "Zm9v"), (b"foob", "Zm9vYg"), (&[251, 255], "-_8")];
        for (bytes, text) in cases {
            assert_eq!(base64url(bytes), text);
        }
    }

    #[test]
    fn a_digest_is_sha_256() {
        assert_eq!(Digest::of("abc").0[..4], [0xba, 0x78, 0x16, 0xbf]);
    }

    #[test]
    fn a_new_key_is_recognised_and_no_two_are_alike() {
        let (a, b) = (mint().expect("random"), mint().expect("random"));
        assert_ne!(a.text, b.text);
        assert_eq!(take_apart(&a.text), (Some(a.id), a.digest));
        assert_eq!(a.text.len(), PREFIX.len() + ID_CHARS + 1 + 43);
        for text in [a.id.as_str(), &a.text, a.text.split('.').next().expect("a part")] {
            assert_eq!(KeyId::parse(text), Some(a.id), "{text}");
        }
    }

    #[test]
    fn what_is_no_key_has_no_id() {
        let long = format!("pw_0123456789.{}", "é".repeat(MAX_KEY_BYTES));
        for text in
            ["", ".", "pw_", "pw_.x", "0123456789.x", "pw_012345678.x", "pw_012345678G.x", "pw_0123456789", &long]
        {
            assert_eq!(take_apart(text).0, None, "{text}");
        }
        assert!(KeyId::parse("0123456789ab").is_none() && KeyId::parse("").is_none());
    }
}
