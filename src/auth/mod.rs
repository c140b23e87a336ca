//! Who may come in: one API key for the daemon, compared in constant time.
//!
//! A key is shown in the `X-API-Key` header, as `Authorization: Bearer`, in the query (`apiKey` or `token`),
//! or as the second WebSocket subprotocol after `bearer`. A wrong header is not rescued by a right query
//! (PiCloud's rule). Keys are never logged.

pub mod jwt;
pub mod password;
pub mod slow;

use subtle::ConstantTimeEq;

/// Longest key taken, in bytes; a key file may not hold more.
pub const MAX_KEY_BYTES: usize = 1024;

/// What a visitor showed, each where it was found.
#[derive(Clone, Debug, Default)]
pub struct Shown {
    pub header: Option<String>,
    pub bearer: Option<String>,
    pub query: Option<String>,
    pub subprotocol: Option<String>,
}

impl Shown {
    /// The key that counts: the first place that holds one.
    fn key(&self) -> Option<&str> {
        let places = [&self.header, &self.bearer, &self.query, &self.subprotocol];
        places.into_iter().find_map(|place| place.as_deref()).filter(|key| !key.is_empty())
    }
}

/// The key of an `Authorization: Bearer …` header.
pub fn bearer(value: &str) -> Option<String> {
    let (scheme, key) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| key.trim().to_owned())
}

/// Takes a query parameter that shows a key (`apiKey`, `token`) or a PiCloud client's name; the first of each
/// counts, and a name from a header before that.
pub fn take_query(shown: &mut Shown, client_name: &mut Option<String>, name: &str, value: &str) {
    let place = match name {
        "apiKey" | "token" => &mut shown.query,
        "clientName" => client_name,
        _ => return,
    };
    place.get_or_insert_with(|| value.to_owned());
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// No key is required.
    Open,
    /// The key is right.
    Known,
    /// A key is required and none was shown.
    Missing,
    /// A key was shown and is wrong.
    Wrong,
}

impl Verdict {
    pub fn admitted(self) -> bool {
        matches!(self, Verdict::Open | Verdict::Known)
    }
}

/// The gatekeeper.
pub struct Gate {
    key: Option<String>,
}

impl Gate {
    pub fn new(auth: &crate::config::Auth) -> Gate {
        match auth {
            crate::config::Auth::None => Gate { key: None },
            crate::config::Auth::Key(key) => Gate { key: Some(key.clone()) },
        }
    }

    /// Whether a key is required at all.
    pub fn requires_key(&self) -> bool {
        self.key.is_some()
    }

    pub fn check(&self, shown: &Shown) -> Verdict {
        match (&self.key, shown.key()) {
            (None, _) => Verdict::Open,
            (Some(_), None) => Verdict::Missing,
            (Some(key), Some(shown)) if same(key, shown) => Verdict::Known,
            _ => Verdict::Wrong,
        }
    }

    /// A key shown in a socket's first message.
    pub fn knows(&self, key: &str) -> bool {
        self.key.as_deref().is_none_or(|own| same(own, key))
    }
}

/// Takes the same time for every pair of keys, also of different lengths.
fn same(a: &str, b: &str) -> bool {
    let pad = |text: &str| {
        let mut padded = [0_u8; MAX_KEY_BYTES];
        let taken = text.len().min(MAX_KEY_BYTES);
        padded[..taken].copy_from_slice(&text.as_bytes()[..taken]);
        padded
    };
    (pad(a).ct_eq(&pad(b)) & (a.len() as u64).ct_eq(&(b.len() as u64))).into()
}

/// PiCloud's refusals, in its order: method, key, name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PicloudRefusal {
    pub status: u16,
    pub body: &'static str,
}

/// Lets a PiCloud client in: its name, or the refusal.
///
/// # Errors
/// 401 with PiCloud's own texts.
pub fn picloud_client(gate: &Gate, shown: &Shown, name: Option<&str>) -> Result<String, PicloudRefusal> {
    if !gate.check(shown).admitted() {
        return Err(PicloudRefusal { status: 401, body: "Invalid API Key\n" });
    }
    match name.filter(|name| !name.is_empty()) {
        Some(name) => Ok(name.to_owned()),
        None => Err(PicloudRefusal { status: 401, body: "Invalid client name\n" }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Auth;

    fn shown(header: Option<&str>, query: Option<&str>) -> Shown {
        Shown { header: header.map(Into::into), query: query.map(Into::into), ..Shown::default() }
    }

    #[test]
    fn the_key_is_taken_from_the_first_place_that_shows_one() {
        let gate = Gate::new(&Auth::Key("secret".into()));
        assert_eq!(gate.check(&shown(Some("secret"), None)), Verdict::Known);
        assert_eq!(gate.check(&shown(None, Some("secret"))), Verdict::Known);
        assert_eq!(gate.check(&shown(Some("wrong"), Some("secret"))), Verdict::Wrong);
        assert_eq!(gate.check(&shown(None, None)), Verdict::Missing);
        assert_eq!(gate.check(&shown(Some(""), None)), Verdict::Missing);
        assert_eq!(gate.check(&shown(Some("secret\0"), None)), Verdict::Wrong);
        assert_eq!(gate.check(&shown(Some("secre"), None)), Verdict::Wrong);
        assert!(gate.knows("secret") && !gate.knows(""));
    }

    #[test]
    fn without_a_key_everybody_is_admitted() {
        let gate = Gate::new(&Auth::None);
        assert_eq!(gate.check(&shown(Some("anything"), None)), Verdict::Open);
        assert!(gate.knows("anything"));
    }

    #[test]
    fn picloud_asks_for_the_key_before_the_name() {
        let gate = Gate::new(&Auth::Key("k".into()));
        let refusal = |shown, name| picloud_client(&gate, &shown, name).expect_err("refused").body;
        assert_eq!(refusal(shown(None, None), None), "Invalid API Key\n");
        assert_eq!(refusal(shown(Some("k"), None), None), "Invalid client name\n");
        assert_eq!(refusal(shown(Some("k"), None), Some("")), "Invalid client name\n");
        assert_eq!(picloud_client(&gate, &shown(None, Some("k")), Some("panel")), Ok("panel".into()));
    }
}
