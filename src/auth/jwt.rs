//! JSON Web Tokens: HS256 with the daemon's own secret, and nothing else.
//!
//! The signature is checked first, so nothing that this daemon has not written reaches a parser. Whoever turns a
//! token away says the same to every visitor; [`TokenError`] is for the log, and quotes nothing of the token.

use std::fmt;
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use crate::types::token::{Claims, TokenKind};
use crate::wire::claims::{self, Fault};

/// Longest token taken, in bytes. The daemon's own have about 300.
pub const MAX_TOKEN_BYTES: usize = 4096;

/// How wrong the clocks may be, at `exp` and at `nbf`.
pub const LEEWAY: Duration = Duration::from_secs(60);

/// No token is issued by a clock that is before this, 2026-11-01, counted from 1970: a Pi starts without the time, and
/// its tokens would have expired when the time arrives.
pub const EARLIEST: Duration = Duration::from_secs(1_793_491_200);

/// The bytes tokens are signed with. Shown nowhere.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret([u8; Secret::BYTES]);

impl Secret {
    pub const BYTES: usize = 32;

    /// From the kernel's random numbers.
    ///
    /// # Errors
    /// The kernel has none yet, shortly after boot: `EAGAIN`.
    pub fn fresh() -> std::io::Result<Secret> {
        random().map(Secret)
    }

    /// As it was kept.
    pub fn new(bytes: [u8; Secret::BYTES]) -> Secret {
        Secret(bytes)
    }

    /// To be kept, in a file only the daemon reads.
    pub fn expose(&self) -> &[u8; Secret::BYTES] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Why a token is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    #[error("token: longer than {MAX_TOKEN_BYTES} bytes")]
    TooLong,
    #[error("token: not three parts in base64url without padding")]
    Malformed,
    #[error("token: not signed by this daemon, or before its secret was changed")]
    Signature,
    #[error("token header: {0}")]
    Header(Fault),
    #[error("token claims: {0}")]
    Claims(Fault),
    #[error("token: expired; ask for a new one")]
    Expired,
    #[error("token: not valid yet; do the clocks agree?")]
    NotYet,
    #[error("token: not an {} token", .wanted.as_str())]
    Kind { wanted: TokenKind },
}

/// Why no token is issued.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    #[error("tokens: the clock has not been set; check the time service")]
    ClockUnset,
    #[error("tokens: the kernel has no random numbers yet: {0}")]
    Random(#[from] std::io::Error),
    #[error("tokens: this user's would be longer than {MAX_TOKEN_BYTES} bytes; shorten the e-mail address")]
    TooLong,
}

/// A new token, and what it says: its id is what logout revokes.
#[derive(Clone)]
pub struct Issued {
    pub token: String,
    pub claims: Claims,
}

impl fmt::Debug for Issued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issued").field("claims", &self.claims).finish_non_exhaustive()
    }
}

/// Issues a token that is good from `now` for `lifetime`, with an id of its own that begins with `series`. `subject` is
/// the user's id.
///
/// # Errors
/// A clock that was never set, no randomness, or an address too long to be carried.
pub fn issue(
    secret: &Secret,
    kind: TokenKind,
    subject: &str,
    email: &str,
    series: &str,
    now: SystemTime,
    lifetime: Duration,
) -> Result<Issued, IssueError> {
    if now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default() < EARLIEST {
        return Err(IssueError::ClockUnset);
    }
    let mut id = series.to_owned();
    URL_SAFE_NO_PAD.encode_string(random::<16>()?, &mut id);
    // Without an end there would be no token; one beyond the end of time ends at once instead.
    let (issued, expires) = (whole_seconds(now), whole_seconds(now.checked_add(lifetime).unwrap_or(now)));
    let claims = Claims { subject: subject.into(), email: email.into(), kind, expires, issued, not_before: None, id };
    let mut payload = Vec::new();
    claims::write(&mut payload, &claims);
    let token = sign(&secret.0, claims::HEADER, &payload);
    if token.len() > MAX_TOKEN_BYTES {
        return Err(IssueError::TooLong);
    }
    Ok(Issued { token, claims })
}

/// What a token says, if it is ours, of that kind and good at `now`. Whether it has been revoked is not known here.
///
/// An `iat` in the future is taken: RFC 7519 does not ask to refuse it, and a clock that is seconds behind is common
/// where there is no clock chip.
///
/// # Errors
/// Why it is not taken.
pub fn verify(secret: &Secret, wanted: TokenKind, token: &str, now: SystemTime) -> Result<Claims, TokenError> {
    let claims = claims::read(&open(&secret.0, token)?).map_err(TokenError::Claims)?;
    if claims.kind != wanted {
        return Err(TokenError::Kind { wanted });
    }
    // A sum beyond the end of time is never reached.
    if claims.expires.checked_add(LEEWAY).is_some_and(|end| now >= end) {
        return Err(TokenError::Expired);
    }
    let ahead = now.checked_add(LEEWAY).unwrap_or(now);
    if claims.not_before.is_some_and(|start| ahead < start) {
        return Err(TokenError::NotYet);
    }
    Ok(claims)
}

/// The payload of a token in compact form (RFC 7515 §7.1) that was signed with `key` by HS256.
fn open(key: &[u8], token: &str) -> Result<Vec<u8>, TokenError> {
    if token.len() > MAX_TOKEN_BYTES {
        return Err(TokenError::TooLong);
    }
    let (signed, signature) = token.rsplit_once('.').ok_or(TokenError::Malformed)?;
    let (header, payload) = signed.split_once('.').ok_or(TokenError::Malformed)?;
    // A dot in the payload is no base64url either; it is refused here so that it cannot have been signed.
    let decoded = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenError::Malformed);
    let (header, payload, signature) = (decoded(header)?, decoded(payload)?, decoded(signature)?);
    if !bool::from(mac(key, signed.as_bytes()).ct_eq(&signature)) {
        return Err(TokenError::Signature);
    }
    claims::check_header(&header).map_err(TokenError::Header)?;
    Ok(payload)
}

fn sign(key: &[u8], header: &[u8], payload: &[u8]) -> String {
    let mut token = URL_SAFE_NO_PAD.encode(header);
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(payload, &mut token);
    let signature = mac(key, token.as_bytes());
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(signature, &mut token);
    token
}

fn mac(key: &[u8], message: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(message);
    mac.finalize().into_bytes().into()
}

fn whole_seconds(time: SystemTime) -> SystemTime {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    SystemTime::UNIX_EPOCH + Duration::from_secs(since.as_secs())
}

/// Random bytes that nobody can guess, or none.
pub(super) fn random<const N: usize>() -> std::io::Result<[u8; N]> {
    let mut bytes = [0_u8; N];
    match rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::NONBLOCK)? {
        taken if taken == N => Ok(bytes),
        _ => Err(std::io::ErrorKind::WouldBlock.into()),
    }
}

#[cfg(test)]
mod tests;
