//! What a token says of who holds it.

use std::time::SystemTime;

/// What a token is good for. The one is never taken for the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenKind {
    /// Opens the REST and the browsers' sockets, for minutes.
    Access,
    /// Buys the next access token, for days.
    Refresh,
}

impl TokenKind {
    /// The value of the claim `type`.
    pub fn as_str(self) -> &'static str {
        match self {
            TokenKind::Access => "access",
            TokenKind::Refresh => "refresh",
        }
    }

    pub fn parse(name: &str) -> Option<TokenKind> {
        [TokenKind::Access, TokenKind::Refresh].into_iter().find(|kind| kind.as_str() == name)
    }
}

/// A token's claims. Times are written as whole seconds and read with fractions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    /// `sub`: the user's id. Never empty.
    pub subject: String,
    /// `email`, as it was when the token was issued.
    pub email: String,
    /// `type`
    pub kind: TokenKind,
    /// `exp`: from here on the token is worth nothing.
    pub expires: SystemTime,
    /// `iat`. May be in the future of a clock that is behind.
    pub issued: SystemTime,
    /// `nbf`: until here the token is worth nothing. Tokens of this daemon have none.
    pub not_before: Option<SystemTime>,
    /// `jti`: the token's own name, by which it can be revoked. Never empty.
    pub id: String,
}
