//! Who may come in: whoever shows the configured API key or one of the store's, compared in constant time.
//!
//! A key is shown in the `X-API-Key` header, as `Authorization: Bearer`, in the query (`apiKey` or `token`),
//! or as the second WebSocket subprotocol after `bearer`. A wrong header is not rescued by a right query
//! (PiCloud's rule). Keys are never logged.

pub mod accounts;
mod inside;
pub mod jwt;
mod key;
mod keys;
mod own;
#[cfg_attr(not(feature = "hub"), path = "no_password.rs")]
pub mod password;
mod principal;
pub mod proof;
pub mod slow;

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use subtle::ConstantTimeEq;

use crate::config::Auth;
use crate::rt::clock;
use crate::types::rights::Rights;

pub use accounts::{Account, Accounts, Bearer, Denied, Ticket};
pub use inside::Pass;
pub use key::{Digest, KeyId, Minted, mint, take_apart};
pub use keys::{EXPIRED, Keys, REVOKED, Record};
pub use own::Edition;
use own::OwnKey;
pub use principal::Principal;
use slow::{RULES, Slowed};

/// Longest key taken, in bytes; a key file may not hold more.
pub const MAX_KEY_BYTES: usize = 1024;

/// From this many bytes on a configured key counts as one that nobody guesses, however fast: 20 random characters are
/// 120 bits. A shorter one is not even looked at while its visitor's address has to wait.
const UNGUESSABLE_BYTES: usize = 20;

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
    /// The configured key, which a reload may replace while it is in use.
    Configured(Edition),
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
    /// It is wrong, and so were too many before it from the same address: the next is looked at after this time.
    Slowed(Duration),
}

/// Why a key that was shown opens nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    Wrong,
    /// See [`Verdict::Slowed`].
    Slowed(Duration),
}

impl Refused {
    /// What a visitor is told who has to wait.
    pub fn wait_text(wait: Duration) -> String {
        format!("too many wrong keys from this address; try again in {} s", Refused::wait_seconds(wait))
    }

    /// For `Retry-After`: whole seconds, at least one.
    pub fn wait_seconds(wait: Duration) -> u64 {
        wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
    }
}

impl Verdict {
    pub fn badge(self) -> Option<Badge> {
        match self {
            Verdict::Admitted(badge) => Some(badge),
            Verdict::Missing | Verdict::Wrong | Verdict::Slowed(_) => None,
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
    own: OwnKey,
    rule: Rule,
    keys: Arc<Keys>,
    /// Who showed wrong keys and tokens.
    slowed: Slowed,
    /// Who gave wrong passwords. A table of its own: an agent's old key does not delay its owner's login.
    pub logins: Slowed,
    /// Who registered.
    pub registrations: Slowed,
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
        let [slowed, logins, registrations] = [(); 3].map(|()| Slowed::new(RULES));
        Gate { own: OwnKey::new(own), rule, keys, slowed, logins, registrations }
    }

    /// Whether somebody comes in; a wrong key counts against its address.
    pub fn check(&self, peer: IpAddr, shown: &Shown) -> Verdict {
        match shown.key() {
            _ if self.is_open() => Verdict::Admitted(Badge::Anybody),
            None => Verdict::Missing,
            Some(shown) => match self.attempt(peer, self.recognise(peer, shown)) {
                Ok(badge) => Verdict::Admitted(badge),
                Err(Refused::Wrong) => Verdict::Wrong,
                Err(Refused::Slowed(wait)) => Verdict::Slowed(wait),
            },
        }
    }

    /// Whether a right key is shown, where one is asked for; nothing is counted.
    pub fn shows_key(&self, peer: IpAddr, shown: &Shown) -> bool {
        !self.is_open() && shown.key().is_some_and(|shown| self.recognise(peer, shown).is_some())
    }

    /// A key shown in a socket's first message.
    ///
    /// # Errors
    /// It is wrong, which counts against its address.
    pub fn knows(&self, peer: IpAddr, key: &str) -> Result<Badge, Refused> {
        if self.is_open() { Ok(Badge::Anybody) } else { self.attempt(peer, self.recognise(peer, key)) }
    }

    /// To be called with what came of looking at a key or a token, such as `gate.attempt(peer, gate.agent(key))`.
    ///
    /// What was found is let in whatever else came from its address: 256 random bits are not guessed, so there is
    /// nothing to slow. Failures are slowed, and those from this machine are not: behind a proxy, and in a test,
    /// everybody has that address.
    ///
    /// # Errors
    /// Nothing was found, which counts against the address.
    pub fn attempt<T>(&self, peer: IpAddr, found: Option<T>) -> Result<T, Refused> {
        match found {
            Some(found) => Ok(found),
            None if peer.to_canonical().is_loopback() => Err(Refused::Wrong),
            None => match self.slowed.attempt(peer) {
                Ok(()) => Err(Refused::Wrong),
                Err(wait) => Err(Refused::Slowed(wait)),
            },
        }
    }

    /// The agent whose key this is. A key that is not an agent's is none here, and an agent's opens nothing else.
    pub fn agent(&self, key: &str) -> Option<AgentBadge> {
        let found = self.keys.find(key, clock::wall())?;
        found.server_id.map(|server_id| AgentBadge { key: found.id, server_id })
    }

    /// What a badge allows; `None`: everything.
    pub fn rights(&self, badge: Badge) -> Option<Arc<Rights>> {
        match badge {
            Badge::Anybody => None,
            Badge::Configured(edition) => (!self.own.is_current(edition)).then(|| Arc::new(Rights::none())),
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
            Badge::Anybody => None,
            Badge::Configured(edition) => Some(self.own.enter(edition, Arc::new(turn_out))),
            Badge::Stored(id) => Some(self.keys.enter(id, clock::wall(), turn_out)),
        }
    }

    /// Takes what the configuration says now, where only the configured key differs; whoever is in with another one is
    /// turned out. Says whether that was possible: who needs a key at all is decided at the start.
    pub fn replace_key(&self, auth: &Auth) -> bool {
        let key = match auth {
            Auth::Key(key) => Some(key.as_str()),
            Auth::Stored => None,
            Auth::None | Auth::Undecided => return false,
        };
        if self.rule != Rule::Everybody {
            return false;
        }
        let out = self.own.replace(key);
        if out > 0 {
            log::info!("{out} came in with the key before and were turned out");
        }
        true
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

    /// With what somebody comes in who shows this, also where nothing has to be shown; nothing is counted. Both places
    /// are asked whatever the first one says, so that the time tells nothing.
    pub fn recognise(&self, peer: IpAddr, shown: &str) -> Option<Badge> {
        let own = self.own.recognise(|own| self.may_guess(peer, own) & same(own, shown));
        let stored = self.keys.find(shown, clock::wall()).filter(|found| found.server_id.is_none());
        own.map(Badge::Configured).or(stored.map(|found| Badge::Stored(found.id)))
    }

    fn may_guess(&self, peer: IpAddr, own: &str) -> bool {
        own.len() >= UNGUESSABLE_BYTES || !self.slowed.has_to_wait(peer)
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PicloudRefusal {
    pub status: u16,
    pub body: Cow<'static, str>,
    /// For a 429: in seconds.
    pub retry_after: Option<u64>,
}

/// Lets a PiCloud client in who needs no name.
///
/// # Errors
/// 401 with PiCloud's own text; 429.
pub fn picloud_visitor(gate: &Gate, peer: IpAddr, shown: &Shown) -> Result<Badge, PicloudRefusal> {
    match gate.check(peer, shown) {
        Verdict::Admitted(badge) => Ok(badge),
        Verdict::Missing | Verdict::Wrong => {
            Err(PicloudRefusal { status: 401, body: "Invalid API Key\n".into(), retry_after: None })
        }
        Verdict::Slowed(wait) => Err(PicloudRefusal {
            status: 429,
            body: format!("Invalid API Key: {}\n", Refused::wait_text(wait)).into(),
            retry_after: Some(Refused::wait_seconds(wait)),
        }),
    }
}

/// Lets a PiCloud client in: what it came with and its name, or the refusal.
///
/// # Errors
/// 401 with PiCloud's own texts; 429.
pub fn picloud_client(
    gate: &Gate,
    peer: IpAddr,
    shown: &Shown,
    name: Option<&str>,
) -> Result<(Badge, String), PicloudRefusal> {
    let badge = picloud_visitor(gate, peer, shown)?;
    match name.filter(|name| !name.is_empty()) {
        Some(name) => Ok((badge, name.to_owned())),
        None => Err(PicloudRefusal { status: 401, body: "Invalid client name\n".into(), retry_after: None }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(header: Option<&str>, query: Option<&str>) -> Shown {
        Shown { header: header.map(Into::into), query: query.map(Into::into), ..Shown::default() }
    }

    const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
    const STRANGER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    fn check(gate: &Gate, shown: &Shown) -> Verdict {
        gate.check(PEER, shown)
    }

    #[test]
    fn wrong_keys_slow_their_address_and_no_right_key() {
        let (keys, minted) = (Keys::none(), mint().expect("random"));
        let long = "x".repeat(UNGUESSABLE_BYTES);
        let [short, long] =
            [&"short", &long.as_str()].map(|own| Gate::new(&Auth::Key((*own).into()), Arc::clone(&keys)));
        let record = Record {
            id: minted.id,
            digest: minted.digest,
            expires: None,
            revoked: false,
            server_id: None,
            rights: Arc::new(Rights::all()),
        };
        keys.replace(vec![record], false, clock::wall());
        for gate in [&short, &long] {
            for _ in 0..=RULES.free {
                assert_eq!(gate.check(STRANGER, &shown(Some("wrong"), None)), Verdict::Wrong);
            }
            assert!(matches!(gate.check(STRANGER, &shown(Some("wrong"), None)), Verdict::Slowed(_)));
            assert!(matches!(gate.knows(STRANGER, "wrong"), Err(Refused::Slowed(_))));
            assert_eq!(gate.knows(STRANGER, &minted.text), Ok(Badge::Stored(minted.id)));
            assert_eq!(gate.check(STRANGER, &Shown::default()), Verdict::Missing);
            for _ in 0..100 {
                assert_eq!(gate.knows(PEER, "wrong"), Err(Refused::Wrong));
            }
        }
        // What could be guessed is not looked at.
        assert!(matches!(short.knows(STRANGER, "short"), Err(Refused::Slowed(_))));
        assert!(!short.shows_key(STRANGER, &shown(Some("short"), None)));
        assert_eq!(short.knows(PEER, "short"), Ok(Badge::Configured(Edition::default())));
        assert_eq!(long.knows(STRANGER, &"x".repeat(UNGUESSABLE_BYTES)), Ok(Badge::Configured(Edition::default())));
        assert_eq!(
            (Refused::wait_seconds(Duration::from_millis(1)), Refused::wait_seconds(Duration::from_secs(2))),
            (1, 2)
        );
    }

    #[test]
    fn the_key_is_taken_from_the_first_place_that_shows_one() {
        let gate = Gate::new(&Auth::Key("secret".into()), Keys::none());
        assert_eq!(
            check(&gate, &shown(Some("secret"), None)),
            Verdict::Admitted(Badge::Configured(Edition::default()))
        );
        assert_eq!(
            check(&gate, &shown(None, Some("secret"))),
            Verdict::Admitted(Badge::Configured(Edition::default()))
        );
        assert_eq!(check(&gate, &shown(Some("wrong"), Some("secret"))), Verdict::Wrong);
        assert_eq!(check(&gate, &shown(None, None)), Verdict::Missing);
        assert_eq!(check(&gate, &shown(Some(""), None)), Verdict::Missing);
        assert_eq!(check(&gate, &shown(Some("secret\0"), None)), Verdict::Wrong);
        assert_eq!(check(&gate, &shown(Some("secre"), None)), Verdict::Wrong);
        assert!(gate.knows(PEER, "secret").is_ok() && gate.knows(PEER, "").is_err());
    }

    #[test]
    fn without_a_key_everybody_is_admitted() {
        let gate = Gate::new(&Auth::None, Keys::none());
        assert_eq!(check(&gate, &shown(Some("anything"), None)), Verdict::Admitted(Badge::Anybody));
        assert_eq!(gate.knows(PEER, "anything"), Ok(Badge::Anybody));
    }

    #[test]
    fn a_key_in_the_store_closes_the_door_that_nobody_decided_about() {
        let (keys, minted) = (Keys::none(), mint().expect("random"));
        let gates =
            [&Auth::Undecided, &Auth::Stored, &Auth::Key("own".into())].map(|a| Gate::new(a, Arc::clone(&keys)));
        assert_eq!(check(&gates[0], &Shown::default()), Verdict::Admitted(Badge::Anybody));
        assert_eq!(check(&gates[1], &Shown::default()), Verdict::Missing);
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
            assert_eq!(check(gate, &Shown::default()), Verdict::Missing);
            assert_eq!(check(gate, &shown(Some(&minted.text), None)), Verdict::Admitted(Badge::Stored(minted.id)));
            assert_eq!(gate.knows(PEER, &minted.text), Ok(Badge::Stored(minted.id)));
            assert_eq!(check(gate, &shown(Some("wrong"), None)), Verdict::Wrong);
            assert_eq!(check(gate, &shown(Some(&agents.text), None)), Verdict::Wrong);
            assert_eq!(gate.agent(&agents.text), Some(AgentBadge { key: agents.id, server_id: "s1".into() }));
            assert_eq!(gate.agent(&minted.text), None);
        }
        assert_eq!(gates[2].knows(PEER, "own"), Ok(Badge::Configured(Edition::default())));
    }

    #[test]
    fn picloud_asks_for_the_key_before_the_name() {
        let gate = Gate::new(&Auth::Key("k".into()), Keys::none());
        let refusal = |shown, name| picloud_client(&gate, PEER, &shown, name).expect_err("refused").body;
        assert_eq!(refusal(shown(None, None), None), "Invalid API Key\n");
        assert_eq!(refusal(shown(Some("k"), None), None), "Invalid client name\n");
        assert_eq!(refusal(shown(Some("k"), None), Some("")), "Invalid client name\n");
        assert_eq!(
            picloud_client(&gate, PEER, &shown(None, Some("k")), Some("panel")).map(|(_, name)| name),
            Ok("panel".into())
        );
    }
}
