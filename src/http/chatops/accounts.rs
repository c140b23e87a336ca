//! Users: registration, login, tokens, profile.
//!
//! Errors carry Pi-Controller's `error` and `message` beside `detail`: both systems' clients log in here. Who gives
//! wrong passwords has to wait, by address, before the next one is looked at, and a right one takes its own count back
//! only. A name that nobody has takes as long as one with another password, and is told the same.

use std::sync::{Arc, PoisonError, RwLockReadGuard};

use tiny_http::Method;

use super::super::{Asked, Reply, Rooms};
use super::{invalid, not_found, not_stored, told, who};
use crate::auth::accounts::{Lives, forget_after};
use crate::auth::jwt::{IssueError, Secret as TokenSecret};
use crate::auth::password::{Checked, PasswordError};
use crate::auth::{Account, Bearer, Principal, Refused};
use crate::config;
use crate::rt::{clock, random};
use crate::store::StoreError;
use crate::types::fleet::{Role, Secret, User};
use crate::types::token::TokenKind;
use crate::wire::chatops::rest;

/// Most users, where anybody may register.
const MAX_USERS: usize = 1000;

/// After this many seconds somebody may have a turn who found logins busy.
const BUSY_SECONDS: &str = "5";

/// `rest` is the path behind `auth`.
pub fn answer(rooms: &Rooms, asked: &Asked, rest: &[&str]) -> Reply {
    let desk = Desk { rooms, asked };
    let done = match (rest, &asked.method) {
        (["register"], Method::Post) => desk.register(),
        (["login"], Method::Post) => desk.log_in(),
        (["refresh"], Method::Post) => desk.refresh(),
        (["logout"], Method::Post) => desk.log_out(),
        (["change-password"], Method::Post) => desk.change_password(),
        (["me" | "profile"], Method::Get) => desk.user().map(|account| shown(&account.user)),
        (["me"], Method::Put) => desk.change_profile(),
        (["register" | "login" | "refresh" | "logout" | "change-password"], _) => Err(only("POST")),
        (["me"], _) => Err(only("GET, PUT")),
        (["profile"], _) => Err(only("GET")),
        _ => Err(not_found()),
    };
    done.unwrap_or_else(|reply| reply)
}

/// Where one request is answered.
struct Desk<'a> {
    rooms: &'a Rooms,
    asked: &'a Asked,
}

impl Desk<'_> {
    fn register(&self) -> Result<Reply, Reply> {
        if !self.settings().open_registration {
            return Err(error(403, "Registration is closed: an administrator adds users with `pinwire user add`"));
        }
        let new = rest::register(&self.asked.body).map_err(invalid)?;
        if !crate::auth::accounts::is_name(&new.username) {
            return Err(error(400, "A user name has neither '@' nor control characters"));
        }
        // Counted and not taken back: many users from one place are as bad as many wrong passwords. Before anything is
        // looked up: the answer tells who is there already.
        self.rooms.gate.registrations.attempt(self.asked.peer.ip()).map_err(|wait| {
            let text =
                format!("Too many registrations from this address; try again in {} s", Refused::wait_seconds(wait));
            error(429, &text).with("Retry-After", Refused::wait_seconds(wait).to_string())
        })?;
        let accounts = self.rooms.store.accounts();
        if accounts.find(&new.email).is_some() {
            return Err(error(400, EMAIL_TAKEN));
        }
        if accounts.find(&new.username).is_some() {
            return Err(error(400, NAME_TAKEN));
        }
        if accounts.count() >= MAX_USERS {
            return Err(error(503, "There are as many users as this hub keeps"));
        }
        let hash = self.rooms.passwords.hash(&new.password.0).map_err(not_hashed)?;
        let user = User {
            id: random::uuid().map_err(|_| busy("there are no random numbers yet"))?,
            email: new.email,
            username: new.username,
            full_name: new.full_name,
            is_active: true,
            // Owns what it adds, and nothing else; who looks on only is added by an administrator.
            role: Role::Operator,
            created_at: clock::wall_millis(),
        };
        let account = Account { user, password: hash.into(), generation: 1 };
        self.rooms.store.add_user(account.clone()).map_err(|why| match why {
            StoreError::Conflict(what) if what.contains("email") => error(400, EMAIL_TAKEN),
            StoreError::Conflict(_) => error(400, NAME_TAKEN),
            why => not_stored(&why),
        })?;
        log::info!("user '{}' registered from {}", account.user.username, self.asked.peer);
        self.tokens(201, &account)
    }

    fn log_in(&self) -> Result<Reply, Reply> {
        let body = &self.asked.body;
        let login = if self.asked.json { rest::login_json(body) } else { rest::login_form(body) };
        let login = login.map_err(invalid)?;
        let account = self.rooms.store.accounts().find(&login.name);
        if !self.is_right(account.as_deref(), &login.password)? {
            log::debug!("{} gave a wrong name or password", self.asked.peer);
            return Err(unauthorised("Incorrect email or password"));
        }
        match account {
            Some(account) if account.user.is_active => self.tokens(200, &account),
            _ => Err(unauthorised("User account is disabled")),
        }
    }

    /// Checks a password, counts the attempt against its address, and keeps a new hash where the old one is outdated.
    fn is_right(&self, account: Option<&Account>, password: &Secret) -> Result<bool, Reply> {
        let (logins, peer) = (&self.rooms.gate.logins, self.asked.peer.ip());
        logins.attempt(peer).map_err(|wait| {
            let text =
                format!("Too many failed logins from this address; try again in {} s", Refused::wait_seconds(wait));
            error(429, &text).with("Retry-After", Refused::wait_seconds(wait).to_string())
        })?;
        let checked = self.rooms.passwords.check(account.map(|account| &*account.password), &password.0);
        match (checked, account) {
            (Ok(Checked::Right { outdated }), Some(account)) => {
                logins.succeeded(peer);
                if outdated && let Ok(hash) = self.rooms.passwords.hash(&password.0) {
                    // The old one does as well, so it is no matter if this fails.
                    let _ = self.rooms.store.renew_hash(&account.user.id, account.password.clone(), hash);
                }
                Ok(true)
            }
            (Ok(_), _) => Ok(false),
            (Err(why), _) => {
                // Nothing was learnt.
                logins.succeeded(peer);
                Err(not_hashed(why))
            }
        }
    }

    fn tokens(&self, status: u16, account: &Account) -> Result<Reply, Reply> {
        let lives = self.lives();
        let issued = self.rooms.store.accounts().log_in(&self.secret()?, account, lives);
        let (access, refresh) = issued.map_err(|why| not_issued(&why))?;
        Ok(told(status, |out| rest::token(out, &access.token, &refresh.token, lives.access, &account.user)))
    }

    fn refresh(&self) -> Result<Reply, Reply> {
        let token = rest::refresh(&self.asked.body).map_err(invalid)?;
        let accounts = self.rooms.store.accounts();
        let found = match accounts.bearer(TokenKind::Refresh, &token.0) {
            Ok(bearer) => Some(Ok(bearer)),
            Err(crate::auth::Denied::Removed) => Some(Err(unauthorised("User not found"))),
            Err(denied) if denied.is_ours() => Some(Err(unauthorised("Invalid refresh token"))),
            Err(_) => None,
        };
        let bearer = self.rooms.gate.attempt(self.asked.peer.ip(), found).map_err(|refused| match refused {
            Refused::Wrong => unauthorised("Invalid refresh token"),
            Refused::Slowed(wait) => super::slowed(&Refused::wait_text(wait), wait),
        })??;
        let lives = self.lives();
        let access = accounts.renew(&self.secret()?, &bearer, lives).map_err(|why| not_issued(&why))?;
        Ok(told(200, |out| rest::access_token(out, &access.token, lives.access)))
    }

    /// Ends the login that the access token stems from, and that of the refresh token where one is sent.
    fn log_out(&self) -> Result<Reply, Reply> {
        let bearer = self.bearer()?;
        let mut logins = vec![bearer.ticket.login().to_owned()];
        if !self.asked.body.trim_ascii().is_empty()
            && let Ok(token) = rest::refresh(&self.asked.body)
            && let Ok(other) = self.rooms.store.accounts().bearer(TokenKind::Refresh, &token.0)
            && other.account.user.id == bearer.account.user.id
        {
            logins.push(other.ticket.login().to_owned());
        }
        let now = clock::wall();
        let ended = self.rooms.store.end_logins(&bearer.account.user.id, logins, now, forget_after(now, self.lives()));
        ended.map_err(|why| not_stored(&why))?;
        Ok(told(200, |out| rest::message(out, "Logged out successfully")))
    }

    fn change_password(&self) -> Result<Reply, Reply> {
        let account = self.user()?;
        let change = rest::password_change(&self.asked.body).map_err(invalid)?;
        if !self.is_right(Some(&account), &change.current)? {
            return Err(error(400, "Current password is incorrect"));
        }
        let hash = self.rooms.passwords.hash(&change.new.0).map_err(not_hashed)?;
        match self.rooms.store.set_password(&account.user.id, hash) {
            Ok(true) => Ok(told(200, |out| rest::message(out, "Password changed successfully"))),
            Ok(false) => Err(super::unknown()),
            Err(why) => Err(not_stored(&why)),
        }
    }

    fn change_profile(&self) -> Result<Reply, Reply> {
        let account = self.user()?;
        let Some(full_name) = rest::profile(&self.asked.body).map_err(invalid)? else {
            return Ok(shown(&account.user));
        };
        match self.rooms.store.set_full_name(&account.user.id, full_name.clone()) {
            Ok(true) => Ok(shown(&User { full_name, ..account.user.clone() })),
            Ok(false) => Err(super::unknown()),
            Err(why) => Err(not_stored(&why)),
        }
    }

    /// The user who asks.
    fn user(&self) -> Result<Arc<Account>, Reply> {
        match who(self.rooms, self.asked)? {
            Principal::User { id, .. } => self.rooms.store.accounts().get(&id).ok_or_else(super::unknown),
            // Nobody, where nobody is asked for: a page is to log in.
            Principal::Operator { key: None, .. } => Err(super::unknown()),
            _ => Err(error(403, "This is about a user: log in, and show the access token")),
        }
    }

    fn bearer(&self) -> Result<Bearer, Reply> {
        self.user()?;
        let shown = self.asked.shown.key().unwrap_or_default();
        self.rooms.store.accounts().bearer(TokenKind::Access, shown).map_err(|_| super::unknown())
    }

    fn settings(&self) -> RwLockReadGuard<'_, config::Accounts> {
        self.rooms.accounts.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn lives(&self) -> Lives {
        let settings = self.settings();
        Lives { access: settings.access_token_life, refresh: settings.refresh_token_life }
    }

    /// What tokens are signed with; made when the first is wanted.
    fn secret(&self) -> Result<TokenSecret, Reply> {
        if let Some(secret) = self.rooms.store.accounts().secret() {
            return Ok(secret);
        }
        let fresh = TokenSecret::fresh().map_err(|_| busy("there are no random numbers yet"))?;
        self.rooms.store.token_secret(fresh).map_err(|why| not_stored(&why))
    }
}

const EMAIL_TAKEN: &str = "Email already registered";
const NAME_TAKEN: &str = "Username already taken";

fn shown(user: &User) -> Reply {
    told(200, |out| rest::user(out, user))
}

fn not_issued(why: &IssueError) -> Reply {
    match why {
        IssueError::TooLong => error(400, &why.to_string()),
        IssueError::ClockUnset | IssueError::Random(_) => busy(&why.to_string()),
    }
}

fn not_hashed(why: PasswordError) -> Reply {
    match why {
        PasswordError::TooShort | PasswordError::TooLong => error(400, &why.to_string()),
        PasswordError::Unreadable => error(500, &why.to_string()),
        PasswordError::Busy | PasswordError::NoRandomness | PasswordError::NoMemory => busy(&why.to_string()),
    }
}

fn busy(text: &str) -> Reply {
    error(503, text).with("Retry-After", BUSY_SECONDS)
}

fn unauthorised(text: &str) -> Reply {
    error(401, text).with("WWW-Authenticate", "Bearer")
}

fn only(allowed: &'static str) -> Reply {
    error(405, "Method Not Allowed").with("Allow", allowed)
}

fn error(status: u16, text: &str) -> Reply {
    told(status, |out| rest::error(out, text))
}
