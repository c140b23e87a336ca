//! The fingerprint by which a server's certificate is known where no authority vouches for it.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};

/// SHA-256 of a certificate (DER), or of its public key (SubjectPublicKeyInfo, DER).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint(pub [u8; 32]);

impl Fingerprint {
    /// Reads 64 hexadecimal digits, with or without colons, or Base64 (as in curl's `--pinnedpubkey`), behind `sha256:`
    /// or `sha256//` or nothing; or all that `openssl x509 -noout -fingerprint -sha256` prints.
    ///
    /// # Errors
    /// Says what to write instead.
    pub fn parse(text: &str) -> Result<Fingerprint, String> {
        let text = text.trim();
        let other = ["sha1", "md5", "sha512", "sha384", "sha224"].into_iter().find(|name| {
            let rest = text.get(..name.len()).filter(|begins| begins.eq_ignore_ascii_case(name));
            rest.is_some() && text[name.len()..].starts_with([' ', ':', '/'])
        });
        if let Some(other) = other {
            let name = other.to_ascii_uppercase();
            return Err(format!("is a {name} fingerprint; write that of `openssl x509 -noout -fingerprint -sha256`"));
        }
        let prefix = ["sha256 fingerprint=", "sha256:", "sha256//", "sha256/"]
            .into_iter()
            .find(|prefix| text.get(..prefix.len()).is_some_and(|begins| begins.eq_ignore_ascii_case(prefix)));
        let value = &text[prefix.map_or(0, str::len)..];
        let bytes = hex(value).or_else(|| {
            [STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD].iter().find_map(|kind| kind.decode(value).ok())
        });
        bytes.and_then(|bytes| <[u8; 32]>::try_from(bytes).ok()).map(Fingerprint).ok_or_else(|| {
            "is not the SHA-256 of a certificate or of its public key: write 64 hexadecimal digits, with or without \
             colons, or Base64"
                .to_owned()
        })
    }
}

fn hex(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = text.bytes().filter(|byte| *byte != b':').collect();
    if digits.len() != 64 {
        return None;
    }
    let digit = |byte: u8| char::from(byte).to_digit(16);
    digits.chunks(2).map(|pair| Some((digit(pair[0])? * 16 + digit(pair[1])?) as u8)).collect()
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_read_as_openssl_and_curl_write_it() {
        let hex = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
        let wanted = Fingerprint::parse(hex).expect("hexadecimal");
        assert_eq!(wanted.to_string(), hex);
        let colons: Vec<&str> = (0..32).map(|at| &hex[2 * at..2 * at + 2]).collect();
        let base64 = STANDARD.encode(wanted.0);
        for text in [
            colons.join(":").to_uppercase(),
            format!("SHA256:{hex}"),
            // OpenSSL 3, and before.
            format!("sha256 Fingerprint={}\n", colons.join(":").to_uppercase()),
            format!("SHA256 Fingerprint={}", colons.join(":").to_uppercase()),
            base64.clone(),
            format!("sha256//{base64}"),
            base64.trim_end_matches('=').to_owned(),
        ] {
            assert_eq!(Fingerprint::parse(&text), Ok(wanted), "{text}");
        }
        for text in ["", "00", "sha256:zz", &hex[2..], &format!("{hex}00")] {
            assert!(Fingerprint::parse(text).is_err(), "{text}");
        }
        let sha1 = "sha1 Fingerprint=9B:3A:2E:11:00:72:9B:3A:2E:11:00:72:9B:3A:2E:11:00:72:AA:BB";
        assert!(Fingerprint::parse(sha1).is_err_and(|why| why.contains("SHA1") && why.contains("-sha256")));
    }
}
