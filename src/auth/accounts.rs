//! Users as the gate knows them, what their tokens are worth, and who is in with one.
//!
//! The store fills the table and tells it when something changed. A token's id is `GENERATION.LOGIN.RANDOM`: the user's
//! generation when it was issued, and the login it stems from. A new password or role, or disabling the user, begins a new
//! generation, and all earlier tokens are worth nothing; a logout ends the login, with every token that stems from it.
//! No clock is compared for either: where there is no clock chip, "earlier" would be a guess.
//!
//! An access token's end does not cut what came in with it: a page that watches would be closed every half hour.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::Principal;
use super::inside::{Inside, Pass};
use super::jwt::{self, IssueError, Issued, Secret, TokenError};
use crate::rt::clock;
use crate::types::fleet::User;
use crate::types::token::TokenKind;

/// The longest name or e-mail address, in bytes.
const MAX_NAME_BYTES: usize = 256;

/// A user as it is kept.
#[derive(Clone, PartialEq, Eq)]
pub struct Account {
    pub user: User,
    /// The password's hash, as a PHC string.
    pub password: Box<str>,
    pub generation: u64,
}

/// Not even the hash belongs in a log.
impl std::fmt::Debug for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Account")
            .field("user", &self.user)
            .field("generation", &self.generation)
            .finish_non_exhaustive()
    }
}

/// The login that a token stems from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ticket {
    user: Box<str>,
    generation: u64,
    login: Box<str>,
}

impl Ticket {
    /// By what a logout revokes it.
    pub fn login(&self) -> &str {
        &self.login
    }
}

/// Who shows a good token.
#[derive(Clone, Debug)]
pub struct Bearer {
    pub account: Arc<Account>,
    pub ticket: Ticket,
}

impl Bearer {
    pub fn principal(&self) -> Principal {
        let User { id, username, role, .. } = &self.account.user;
        Principal::User { id: id.clone(), username: username.clone(), role: *role }
    }
}

/// Why a token opens nothing. For the log: visitors are told the same of all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    #[error(transparent)]
    Token(#[from] TokenError),
    #[error("token: its user was removed")]
    Removed,
    #[error("token: its user is disabled")]
    Disabled,
    #[error("token: issued before the password or the role was changed")]
    Superseded,
    #[error("token: logged out")]
    LoggedOut,
}

impl Denied {
    /// Whether this daemon signed the token, whatever has become of it.
    pub fn is_ours(self) -> bool {
        !matches!(
            self,
            Denied::Token(TokenError::TooLong | TokenError::Malformed | TokenError::Signature | TokenError::Header(_))
        )
    }

    /// For a Close frame.
    fn reason(self) -> &'static str {
        match self {
            Denied::Token(_) => "Invalid token",
            Denied::Removed => "User removed",
            Denied::Disabled => "User account is disabled",
            Denied::Superseded => "Password or role changed",
            Denied::LoggedOut => "Logged out",
        }
    }
}

/// See the module's text.
#[derive(Default)]
pub struct Accounts {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    /// What tokens are signed with, once one was issued.
    secret: Option<Secret>,
    /// By id.
    accounts: HashMap<String, Arc<Account>>,
    /// Logins that have ended and whose tokens have not.
    ended: HashSet<Box<str>>,
    inside: Inside<Ticket>,
    /// There is or was a user, so nobody runs the fleet without showing who it is.
    guarded: bool,
}

impl Accounts {
    /// Takes what the store holds now, and turns out whose token is worth nothing any more. `guarded` sticks: a user
    /// who was removed does not open the door to everybody.
    pub fn replace(&self, accounts: Vec<Account>, ended: HashSet<Box<str>>, secret: Option<Secret>, guarded: bool) {
        let out = {
            let mut inner = self.lock();
            inner.guarded |= guarded || !accounts.is_empty();
            // Those that have not changed stay where they are.
            let mut before = std::mem::take(&mut inner.accounts);
            let keep = |account: Account| match before.remove(&account.user.id) {
                Some(same) if *same == account => (account.user.id, same),
                _ => (account.user.id.clone(), Arc::new(account)),
            };
            inner.accounts = accounts.into_iter().map(keep).collect();
            inner.ended = ended;
            inner.secret = secret;
            take_out(&mut inner)
        };
        out.iter().for_each(|(turn_out, why)| turn_out(why));
    }

    /// What tokens are signed with, if that is known yet.
    pub fn secret(&self) -> Option<Secret> {
        self.lock().secret.clone()
    }

    /// Whether there is or was a user.
    pub fn guarded(&self) -> bool {
        self.lock().guarded
    }

    /// How many may log in.
    pub fn active(&self) -> usize {
        self.lock().accounts.values().filter(|account| account.user.is_active).count()
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.lock().accounts.len()
    }

    /// The user with this e-mail address or name, in any case.
    pub fn find(&self, name: &str) -> Option<Arc<Account>> {
        let inner = self.lock();
        let is = |text: &str| text.eq_ignore_ascii_case(name);
        let mut accounts = inner.accounts.values();
        // An address is nobody's name: names have no '@'.
        accounts.find(|account| is(&account.user.email) || is(&account.user.username)).cloned()
    }

    /// The user with this id.
    pub fn get(&self, id: &str) -> Option<Arc<Account>> {
        self.lock().accounts.get(id).cloned()
    }

    /// Who shows this access token.
    pub fn token(&self, access_token: &str) -> Option<Principal> {
        self.bearer(TokenKind::Access, access_token).ok().map(|bearer| bearer.principal())
    }

    /// # Errors
    /// Why the token opens nothing.
    pub fn bearer(&self, kind: TokenKind, token: &str) -> Result<Bearer, Denied> {
        // Without a secret no token was ever issued.
        let secret = self.secret().ok_or(Denied::Token(TokenError::Signature))?;
        let claims = jwt::verify(&secret, kind, token, clock::wall())?;
        let ticket = ticket(&claims.subject, &claims.id).ok_or(Denied::Token(TokenError::Malformed))?;
        let account = self.lock().good(&ticket)?;
        Ok(Bearer { account, ticket })
    }

    /// As [`Accounts::token`], for who stays: `turn_out` is called, with the reason, when the user logs out, is
    /// disabled or removed, or has another password or role. It must not wait.
    pub fn admit(
        self: &Arc<Accounts>,
        access_token: &str,
        turn_out: impl Fn(&'static str) + Send + Sync + 'static,
    ) -> Option<(Principal, Pass)> {
        let bearer = self.bearer(TokenKind::Access, access_token).ok()?;
        let principal = bearer.principal();
        let (number, out) = {
            let mut inner = self.lock();
            let number = inner.inside.enter(bearer.ticket, Arc::new(turn_out));
            // Nothing between the check and this is missed.
            (number, take_out(&mut inner))
        };
        out.iter().for_each(|(turn_out, why)| turn_out(why));
        let own = Arc::clone(self);
        Some((principal, Pass::new(move || own.lock().inside.leave(number))))
    }

    /// A new login: an access and a refresh token.
    ///
    /// # Errors
    /// See [`IssueError`].
    pub fn log_in(&self, secret: &Secret, account: &Account, lives: Lives) -> Result<(Issued, Issued), IssueError> {
        let login = URL_SAFE_NO_PAD.encode(jwt::random::<12>()?);
        let issue = |kind, life| issue(secret, kind, account, &login, life);
        Ok((issue(TokenKind::Access, lives.access)?, issue(TokenKind::Refresh, lives.refresh)?))
    }

    /// The next access token of a login.
    ///
    /// # Errors
    /// See [`IssueError`].
    pub fn renew(&self, secret: &Secret, bearer: &Bearer, lives: Lives) -> Result<Issued, IssueError> {
        issue(secret, TokenKind::Access, &bearer.account, &bearer.ticket.login, lives.access)
    }

    /// The lock guards plain values that are whole between any two statements.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long tokens are good.
#[derive(Clone, Copy, Debug)]
pub struct Lives {
    pub access: Duration,
    pub refresh: Duration,
}

impl Inner {
    fn good(&self, ticket: &Ticket) -> Result<Arc<Account>, Denied> {
        let account = self.accounts.get(&*ticket.user).ok_or(Denied::Removed)?;
        if !account.user.is_active {
            Err(Denied::Disabled)
        } else if account.generation != ticket.generation {
            Err(Denied::Superseded)
        } else if self.ended.contains(&ticket.login) {
            Err(Denied::LoggedOut)
        } else {
            Ok(Arc::clone(account))
        }
    }
}

fn take_out(inner: &mut Inner) -> Vec<(Arc<super::inside::TurnOut>, &'static str)> {
    let mut inside = std::mem::take(&mut inner.inside);
    let out = inside.take_out(|ticket| inner.good(ticket).err().map(Denied::reason));
    inner.inside = inside;
    out
}

fn issue(
    secret: &Secret,
    kind: TokenKind,
    account: &Account,
    login: &str,
    life: Duration,
) -> Result<Issued, IssueError> {
    let series = format!("{}.{login}.", account.generation);
    jwt::issue(secret, kind, &account.user.id, &account.user.email, &series, clock::wall(), life)
}

/// What a token's id says.
fn ticket(user: &str, id: &str) -> Option<Ticket> {
    let (generation, rest) = id.split_once('.')?;
    let (login, _) = rest.split_once('.')?;
    Some(Ticket { user: user.into(), generation: generation.parse().ok()?, login: login.into() })
}

/// Whether somebody may be called this: it is never taken for an e-mail address.
pub fn is_name(text: &str) -> bool {
    !text.trim().is_empty() && text.len() <= MAX_NAME_BYTES && !text.contains(|c: char| c == '@' || c.is_control())
}

/// Whether this may be somebody's e-mail address; whether it is one, only a letter would tell.
pub fn is_email(text: &str) -> bool {
    let whole = |part: &str| !part.is_empty() && !part.contains(|c: char| c.is_whitespace() || c.is_control());
    text.len() <= MAX_NAME_BYTES
        && text.split_once('@').is_some_and(|(name, domain)| whole(name) && whole(domain) && !domain.contains('@'))
}

/// From which moment on an ended login need not be remembered: no token of it is good any more.
pub fn forget_after(now: SystemTime, lives: Lives) -> SystemTime {
    now.checked_add(lives.refresh.max(lives.access) + jwt::LEEWAY).unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;
    use crate::types::fleet::Role;

    const LIVES: Lives = Lives { access: Duration::from_secs(60), refresh: Duration::from_secs(3600) };

    fn account(id: &str) -> Account {
        let user = User {
            id: id.into(),
            email: format!("{id}@example.org"),
            username: id.into(),
            full_name: None,
            is_active: true,
            role: Role::Operator,
            created_at: SystemTime::UNIX_EPOCH,
        };
        Account { user, password: "".into(), generation: 3 }
    }

    fn with(accounts: &Accounts, list: Vec<Account>, ended: &[&str]) {
        let ended = ended.iter().map(|login| (*login).into()).collect();
        accounts.replace(list, ended, Some(Secret::new([7; 32])), false);
    }

    #[test]
    fn a_token_is_worth_as_much_as_its_user_and_its_login() {
        let accounts = Arc::new(Accounts::default());
        assert!(accounts.token("x").is_none() && !accounts.guarded() && accounts.secret().is_none());
        with(&accounts, vec![account("ann"), account("bob")], &[]);
        let secret = accounts.secret().expect("a secret");
        let (access, refresh) = accounts.log_in(&secret, &account("ann"), LIVES).expect("tokens");
        let is = |kind, token: &str| accounts.bearer(kind, token).map(|bearer| bearer.account.user.id.clone());
        assert_eq!(is(TokenKind::Access, &access.token).as_deref(), Ok("ann"));
        assert_eq!(is(TokenKind::Refresh, &refresh.token).as_deref(), Ok("ann"));
        assert!(is(TokenKind::Access, &refresh.token).is_err() && is(TokenKind::Refresh, &access.token).is_err());
        let bearer = accounts.bearer(TokenKind::Refresh, &refresh.token).expect("good");
        let next = accounts.renew(&secret, &bearer, LIVES).expect("a token");
        assert_ne!(next.token, access.token);
        let login = bearer.ticket.login().to_owned();

        with(&accounts, vec![account("ann")], &[&login]);
        for token in [&access.token, &next.token] {
            assert_eq!(is(TokenKind::Access, token), Err(Denied::LoggedOut));
        }
        assert_eq!(is(TokenKind::Refresh, &refresh.token), Err(Denied::LoggedOut));
        with(&accounts, vec![Account { generation: 4, ..account("ann") }], &[]);
        assert_eq!(is(TokenKind::Access, &access.token), Err(Denied::Superseded));
        let disabled = User { is_active: false, ..account("ann").user };
        with(&accounts, vec![Account { user: disabled, ..account("ann") }], &[]);
        assert_eq!((is(TokenKind::Access, &access.token), accounts.active()), (Err(Denied::Disabled), 0));
        with(&accounts, vec![], &[]);
        assert_eq!(is(TokenKind::Access, &access.token), Err(Denied::Removed));
        assert!(accounts.guarded(), "nobody is left, and still nobody runs the fleet without a key");
    }

    #[test]
    fn whoever_is_in_is_turned_out_once_and_told_why() {
        let accounts = Arc::new(Accounts::default());
        with(&accounts, vec![account("ann"), account("bob")], &[]);
        let secret = accounts.secret().expect("a secret");
        let log_in = |id: &str| accounts.log_in(&secret, &account(id), LIVES).expect("tokens").0.token;
        let (first, second, other) = (log_in("ann"), log_in("ann"), log_in("bob"));
        let (sender, told) = channel();
        let enter = |token: &str, name: &'static str| {
            let sender = sender.clone();
            let told = move |why| sender.send((name, why)).expect("somebody listens");
            accounts.admit(token, told).expect("good").1
        };
        let _passes = [enter(&first, "first"), enter(&second, "second"), enter(&other, "other")];
        drop(enter(&second, "left"));
        let bearer = accounts.bearer(TokenKind::Access, &first).expect("good");
        let ended = [bearer.ticket.login()];
        with(&accounts, vec![account("ann"), account("bob")], &ended);
        assert_eq!(told.try_iter().collect::<Vec<_>>(), [("first", "Logged out")]);
        with(&accounts, vec![Account { generation: 4, ..account("ann") }, account("bob")], &ended);
        assert_eq!(told.try_iter().collect::<Vec<_>>(), [("second", "Password or role changed")]);
        with(&accounts, vec![], &ended);
        assert_eq!(told.try_iter().collect::<Vec<_>>(), [("other", "User removed")]);
    }

    #[test]
    fn a_user_is_found_by_address_and_by_name() {
        let accounts = Accounts::default();
        with(&accounts, vec![account("ann")], &[]);
        for name in ["ann", "Ann", "ANN@example.ORG"] {
            assert!(accounts.find(name).is_some(), "{name}");
        }
        assert!(accounts.find("an").is_none() && accounts.find("").is_none());
    }
}
