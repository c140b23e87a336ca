//! Who may come in: whoever shows the configured API key or one of the store's, compared in constant time.
//!
//! A key is shown in the `X-API-Key` header, as `Authorization: Bearer`, in the query (`apiKey` or `token`),
//! or as the second WebSocket subprotocol after `bearer`. A wrong header is not rescued by a right query
//! (PiCloud's rule). Keys are never logged.

mod accounts;
mod inside;
pub mod jwt;
mod key;
mod keys;
pub mod password;
mod principal;
pub mod proof;
pub mod slow;

use std::sync::Arc;

use subtle::ConstantTimeEq;

use crate::config::Auth;
use crate::rt::clock;
use crate::types::rights::Rights;

pub use accounts::{Account, Accounts, Bearer, Denied, Ticket};
pub use inside::Pass;
pub use key::{Digest, KeyId, Minted, mint, take_apart};
pub use keys::{EXPIRED, Keys, REVOKED, Record};
pub use principal::Principal;

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
    pub fn key(&self) -> Option<&str> {
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

/// With what somebody came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Badge {
    /// Nothing: no key is required.
    Anybody,
    /// The configured key.
    Configured,
    /// A key of the store, which may expire or be revoked while it is in use.
    Stored(KeyId),
}

/// An agent's key that was shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentBadge {
    pub key: KeyId,
    pub server_id: Arc<str>,
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Admitted(Badge),
    /// A key is required and none was shown.
    Missing,
    /// A key was shown and is wrong.
    Wrong,
}

impl Verdict {
    pub fn badge(self) -> Option<Badge> {
        match self {
            Verdict::Admitted(badge) => Some(badge),
            Verdict::Missing | Verdict::Wrong => None,
        }
    }

    pub fn admitted(self) -> bool {
        self.badge().is_some()
    }

    /// Whether a right key was shown; not so where none is required.
    pub fn shows_key(self) -> bool {
        self.badge().is_some_and(|badge| badge != Badge::Anybody)
    }
}

/// The gatekeeper.
pub struct Gate {
    /// The configured key.
    own: Option<String>,
    rule: Rule,
    keys: Arc<Keys>,
}

/// Who needs a key.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rule {
    Nobody,
    Everybody,
    /// Everybody, as soon as the store has or had a key: whoever makes one wants it asked for.
    WithKeys,
}

impl Gate {
    pub fn new(auth: &Auth, keys: Arc<Keys>) -> Gate {
        let (own, rule) = match auth {
            Auth::None => (None, Rule::Nobody),
            Auth::Undecided => (None, Rule::WithKeys),
            Auth::Stored => (None, Rule::Everybody),
            Auth::Key(key) => (Some(key.clone()), Rule::Everybody),
        };
        Gate { own, rule, keys }
    }

    pub fn check(&self, shown: &Shown) -> Verdict {
        match shown.key() {
            _ if self.is_open() => Verdict::Admitted(Badge::Anybody),
            None => Verdict::Missing,
            Some(shown) => self.recognise(shown).map_or(Verdict::Wrong, Verdict::Admitted),
        }
    }

    /// A key shown in a socket's first message.
    pub fn knows(&self, key: &str) -> Option<Badge> {
        if self.is_open() { Some(Badge::Anybody) } else { self.recognise(key) }
    }

    /// The agent whose key this is. A key that is not an agent's is none here, and an agent's opens nothing else.
    pub fn agent(&self, key: &str) -> Option<AgentBadge> {
        let found = self.keys.find(key, clock::wall())?;
        found.server_id.map(|server_id| AgentBadge { key: found.id, server_id })
    }

    /// What a badge allows; `None`: everything.
    pub fn rights(&self, badge: Badge) -> Option<Arc<Rights>> {
        match badge {
            Badge::Anybody | Badge::Configured => None,
            // A key that has gone meanwhile is turned out in a moment, and until then opens nothing.
            Badge::Stored(id) => match self.keys.rights(id) {
                Some(rights) => (!rights.is_all()).then_some(rights),
                None => Some(Arc::new(Rights::none())),
            },
        }
    }

    /// To be called once somebody is in to stay: `turn_out` is called, with the reason, when the key is no longer good.
    /// It must not wait.
    pub fn enter(&self, badge: Badge, turn_out: impl Fn(&'static str) + Send + Sync + 'static) -> Option<Pass> {
        match badge {
            Badge::Anybody | Badge::Configured => None,
            Badge::Stored(id) => Some(self.keys.enter(id, clock::wall(), turn_out)),
        }
    }

    /// Whether nobody decided who may come in.
    pub fn is_undecided(&self) -> bool {
        self.rule == Rule::WithKeys
    }

    /// Whether everybody is let in.
    pub fn is_open(&self) -> bool {
        match self.rule {
            Rule::Nobody => true,
            Rule::Everybody => false,
            Rule::WithKeys => !self.keys.guarded(),
        }
    }

    /// With what somebody comes in who shows this, also where nothing has to be shown. Both places are asked whatever the first one says, so that the time tells nothing.
    pub fn recognise(&self, shown: &str) -> Option<Badge> {
        let own = self.own.as_deref().is_some_and(|own| same(own, shown));
        let stored = self.keys.find(shown, clock::wall()).filter(|found| found.server_id.is_none());
        if own { Some(Badge::Configured) } else { stored.map(|found| Badge::Stored(found.id)) }
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

    fn shown(header: Option<&str>, query: Option<&str>) -> Shown {
        Shown { header: header.map(Into::into), query: query.map(Into::into), ..Shown::default() }
    }

    #[test]
    fn the_key_is_taken_from_the_first_place_that_shows_one() {
        let gate = Gate::new(&Auth::Key("secret".into()), Keys::none());
        assert_eq!(gate.check(&shown(Some("secret"), None)), Verdict::Admitted(Badge::Configured));
        assert_eq!(gate.check(&shown(None, Some("secret"))), Verdict::Admitted(Badge::Configured));
        assert_eq!(gate.check(&shown(Some("wrong"), Some("secret"))), Verdict::Wrong);
        assert_eq!(gate.check(&shown(None, None)), Verdict::Missing);
        assert_eq!(gate.check(&shown(Some(""), None)), Verdict::Missing);
        assert_eq!(gate.check(&shown(Some("secret\0"), None)), Verdict::Wrong);
        assert_eq!(gate.check(&shown(Some("secre"), None)), Verdict::Wrong);
        assert!(gate.knows("secret").is_some() && gate.knows("").is_none());
    }

    #[test]
    fn without_a_key_everybody_is_admitted() {
        let gate = Gate::new(&Auth::None, Keys::none());
        assert_eq!(gate.check(&shown(Some("anything"), None)), Verdict::Admitted(Badge::Anybody));
        assert_eq!(gate.knows("anything"), Some(Badge::Anybody));
    }

    #[test]
    fn a_key_in_the_store_closes_the_door_that_nobody_decided_about() {
        let (keys, minted) = (Keys::none(), mint().expect("random"));
        let gates =
            [&Auth::Undecided, &Auth::Stored, &Auth::Key("own".into())].map(|a| Gate::new(a, Arc::clone(&keys)));
        assert_eq!(gates[0].check(&Shown::default()), Verdict::Admitted(Badge::Anybody));
        assert_eq!(gates[1].check(&Shown::default()), Verdict::Missing);
        let record = Record {
            id: minted.id,
            digest: minted.digest,
            expires: None,
            revoked: false,
            server_id: None,
            rights: Arc::new(Rights::all()),
        };
        let agents = mint().expect("random");
        let agent = Record { id: agents.id, digest: agents.digest, server_id: Some("s1".into()), ..record.clone() };
        keys.replace(vec![record, agent], false, clock::wall());
        for gate in &gates {
            assert_eq!(gate.check(&Shown::default()), Verdict::Missing);
            assert_eq!(gate.check(&shown(Some(&minted.text), None)), Verdict::Admitted(Badge::Stored(minted.id)));
            assert_eq!(gate.knows(&minted.text), Some(Badge::Stored(minted.id)));
            assert_eq!(gate.check(&shown(Some("wrong"), None)), Verdict::Wrong);
            assert_eq!(gate.check(&shown(Some(&agents.text), None)), Verdict::Wrong);
            assert_eq!(gate.agent(&agents.text), Some(AgentBadge { key: agents.id, server_id: "s1".into() }));
            assert_eq!(gate.agent(&minted.text), None);
        }
        assert_eq!(gates[2].knows("own"), Some(Badge::Configured));
    }

    #[test]
    fn picloud_asks_for_the_key_before_the_name() {
        let gate = Gate::new(&Auth::Key("k".into()), Keys::none());
        let refusal = |shown, name| picloud_client(&gate, &shown, name).expect_err("refused").body;
        assert_eq!(refusal(shown(None, None), None), "Invalid API Key\n");
        assert_eq!(refusal(shown(Some("k"), None), None), "Invalid client name\n");
        assert_eq!(refusal(shown(Some("k"), None), Some("")), "Invalid client name\n");
        assert_eq!(picloud_client(&gate, &shown(None, Some("k")), Some("panel")), Ok("panel".into()));
    }
}
