//! Passwords: argon2id, kept as a PHC string (`$argon2id$v=19$m=…,t=…,p=…$salt$hash`).
//!
//! One hash at a time: each takes 19 MiB, and a Pi Zero has 512. Who cannot have a turn soon is told that the daemon
//! is busy, so logins exhaust neither the memory nor the threads that serve HTTP.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use argon2::password_hash::phc::{Output, ParamsString, PasswordHash, Salt};
use argon2::{ARGON2ID_IDENT, Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version};
use crossbeam_channel::{Receiver, Sender, bounded};

use super::jwt::random;

/// Fewest characters of a new password.
pub const MIN_CHARACTERS: usize = 8;

/// Most bytes of any password.
pub const MAX_BYTES: usize = 1024;

/// Longest wait for one's turn.
pub const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// Most who wait for their turn. Each holds one of the few threads that serve HTTP.
pub const MOST_WAITING: usize = 2;

/// The cost of a new hash: OWASP's first choice of argon2id with the least memory.
const MEMORY_KIB: u32 = 19_456;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// Bytes of a new hash and of its salt.
const HASH_BYTES: usize = 32;
const SALT_BYTES: usize = 16;

/// The dearest hash that is checked at all: one that was kept is not trusted to be affordable.
const MAX_MEMORY_KIB: u32 = 64 * 1024;
const MAX_PASSES: u32 = 16;
const MAX_LANES: u32 = 4;

/// Why a password is neither kept nor checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    #[error("password: at least {MIN_CHARACTERS} characters")]
    TooShort,
    #[error("password: at most {MAX_BYTES} bytes")]
    TooLong,
    #[error("logins: others are being checked; try again in a few seconds")]
    Busy,
    #[error("logins: the kernel has no random numbers yet")]
    NoRandomness,
    #[error("logins: no memory for a password's hash ({MEMORY_KIB} KiB)")]
    NoMemory,
    #[error("logins: the hash that is kept for this user is none of ours; set the password again")]
    Unreadable,
}

/// What came of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checked {
    /// `outdated`: the hash was made at another cost; now that the password is known, keep a new one.
    Right { outdated: bool },
    /// Wrong, or nobody by that name.
    Wrong,
}

/// Whether a new password may be one.
///
/// # Errors
/// Too short or too long.
pub fn acceptable(password: &str) -> Result<(), PasswordError> {
    if password.len() > MAX_BYTES {
        return Err(PasswordError::TooLong);
    }
    if password.chars().take(MIN_CHARACTERS).count() < MIN_CHARACTERS {
        return Err(PasswordError::TooShort);
    }
    Ok(())
}

/// Makes and checks hashes, one at a time.
pub struct Passwords {
    params: Params,
    /// What is checked for users that do not exist.
    nobody: String,
    turns: Turns,
}

impl Passwords {
    pub fn new() -> Passwords {
        let params = Params::new(MEMORY_KIB, PASSES, LANES, Some(HASH_BYTES));
        Passwords::with(params.expect("argon2 takes its recommended parameters"), LONGEST_WAIT)
    }

    fn with(params: Params, longest_wait: Duration) -> Passwords {
        let nobody = nobody(&params).expect("salt and hash have lengths that PHC allows");
        Passwords { params, nobody, turns: Turns::new(longest_wait) }
    }

    /// The PHC string to keep for a new password.
    ///
    /// # Errors
    /// A password that is not [`acceptable`], no turn, or nothing to hash with.
    pub fn hash(&self, password: &str) -> Result<String, PasswordError> {
        acceptable(password)?;
        let salt: [u8; SALT_BYTES] = random().map_err(|_| PasswordError::NoRandomness)?;
        let _turn = self.turns.take()?;
        let hash = self.argon2().hash_password_with_salt(password.as_bytes(), &salt);
        hash.map(|hash| hash.to_string()).map_err(|_| PasswordError::NoMemory)
    }

    /// Checks a password against what is `kept`; `None` where there is no such user, which takes as long.
    ///
    /// # Errors
    /// No turn, no memory, or something kept that is no hash of ours, which takes as long too.
    pub fn check(&self, kept: Option<&str>, password: &str) -> Result<Checked, PasswordError> {
        // The same for everybody, so it tells nothing about the user.
        if password.len() > MAX_BYTES {
            return Ok(Checked::Wrong);
        }
        let known = kept.map(affordable);
        let hash = match &known {
            Some(Some(hash)) => hash,
            _ => &affordable(&self.nobody).ok_or(PasswordError::Unreadable)?,
        };
        let _turn = self.turns.take()?;
        let answer = self.argon2().verify_password(password.as_bytes(), hash);
        match (known, answer) {
            (None, Ok(())) => Ok(Checked::Wrong),
            (Some(None), _) => Err(PasswordError::Unreadable),
            (_, Err(argon2::password_hash::Error::PasswordInvalid)) => Ok(Checked::Wrong),
            // Everything else was looked at before.
            (_, Err(_)) => Err(PasswordError::NoMemory),
            (Some(Some(hash)), Ok(())) => Ok(Checked::Right { outdated: !self.is_current(&hash) }),
        }
    }

    fn is_current(&self, hash: &PasswordHash) -> bool {
        let cost = |params: &Params| (params.m_cost(), params.t_cost(), params.p_cost(), params.output_len());
        hash.version == Some(Version::V0x13.into())
            && hash.salt.as_ref().is_some_and(|salt| salt.len() >= SALT_BYTES)
            && Params::try_from(hash).is_ok_and(|params| cost(&params) == cost(&self.params))
    }

    fn argon2(&self) -> Argon2<'static> {
        Argon2::new(Algorithm::Argon2id, Version::V0x13, self.params.clone())
    }
}

impl Default for Passwords {
    fn default() -> Passwords {
        Passwords::new()
    }
}

/// A kept hash, if it is argon2id at a cost we can pay.
fn affordable(kept: &str) -> Option<PasswordHash> {
    let hash = PasswordHash::new(kept).ok().filter(|hash| hash.algorithm == ARGON2ID_IDENT)?;
    let params = Params::try_from(&hash).ok()?;
    let whole = hash.salt.as_ref().is_some_and(|salt| salt.len() >= argon2::MIN_SALT_LEN) && hash.hash.is_some();
    let known = hash.version.is_none_or(|version| Version::try_from(version).is_ok());
    let cheap = params.m_cost() <= MAX_MEMORY_KIB && params.t_cost() <= MAX_PASSES && params.p_cost() <= MAX_LANES;
    (whole && known && cheap).then_some(hash)
}

/// A hash that costs as much as anybody's and that no known password has.
fn nobody(params: &Params) -> Result<String, argon2::password_hash::phc::Error> {
    let hash = PasswordHash {
        algorithm: ARGON2ID_IDENT,
        version: Some(Version::V0x13.into()),
        params: ParamsString::try_from(params).unwrap_or_default(),
        salt: Some(Salt::new(b"nobody's own salt"[..SALT_BYTES].as_ref())?),
        hash: Some(Output::new(&[0; HASH_BYTES])?),
    };
    Ok(hash.to_string())
}

/// Lets one in at a time. Not a mutex: its owner is waited for with a limit.
struct Turns {
    /// Holds the one turn while nobody has it.
    free: (Sender<()>, Receiver<()>),
    waiting: AtomicUsize,
    longest_wait: Duration,
}

impl Turns {
    fn new(longest_wait: Duration) -> Turns {
        let free = bounded(1);
        let _ = free.0.try_send(());
        Turns { free, waiting: AtomicUsize::new(0), longest_wait }
    }

    fn take(&self) -> Result<Turn<'_>, PasswordError> {
        if self.free.1.try_recv().is_ok() {
            return Ok(Turn(self));
        }
        let before = self.waiting.fetch_add(1, Ordering::AcqRel);
        let got = before < MOST_WAITING && self.free.1.recv_timeout(self.longest_wait).is_ok();
        self.waiting.fetch_sub(1, Ordering::AcqRel);
        if got { Ok(Turn(self)) } else { Err(PasswordError::Busy) }
    }
}

/// The turn; given back when it is dropped, also by a crash.
struct Turn<'a>(&'a Turns);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let _ = self.0.free.0.try_send(());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "correct horse";

    fn cheap_params(passes: u32) -> Params {
        Params::new(8, passes, 1, Some(HASH_BYTES)).expect("parameters")
    }

    fn cheap() -> Passwords {
        Passwords::with(cheap_params(1), Duration::from_millis(20))
    }

    #[test]
    fn a_password_is_known_again_at_the_real_cost() {
        let passwords = Passwords::new();
        let kept = passwords.hash(GOOD).expect("a hash");
        assert!(kept.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{kept}");
        assert_eq!(passwords.check(Some(&kept), GOOD), Ok(Checked::Right { outdated: false }));
        assert!(passwords.nobody.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{}", passwords.nobody);
        assert_eq!(passwords.nobody.len(), kept.len());
    }

    #[test]
    fn others_passwords_and_nobodys_are_wrong() {
        let passwords = cheap();
        let kept = passwords.hash(GOOD).expect("a hash");
        assert_ne!(passwords.hash(GOOD).expect("a hash"), kept, "each has its own salt");
        for wrong in ["", "correct hors", "correct horse ", "Correct horse", "correct horse\0"] {
            assert_eq!(passwords.check(Some(&kept), wrong), Ok(Checked::Wrong), "{wrong:?}");
            assert_eq!(passwords.check(None, wrong), Ok(Checked::Wrong));
        }
        assert_eq!(passwords.check(None, GOOD), Ok(Checked::Wrong));
        assert_eq!(passwords.check(Some(&kept), &"x".repeat(MAX_BYTES + 1)), Ok(Checked::Wrong));
    }

    #[test]
    fn a_new_password_has_eight_characters_and_a_thousand_bytes() {
        assert_eq!(acceptable("1234567"), Err(PasswordError::TooShort));
        assert_eq!(acceptable("ééééééé"), Err(PasswordError::TooShort));
        assert_eq!(acceptable("éééééééé"), Ok(()));
        assert_eq!(acceptable(&"x".repeat(MAX_BYTES)), Ok(()));
        assert_eq!(acceptable(&"x".repeat(MAX_BYTES + 1)), Err(PasswordError::TooLong));
        assert_eq!(cheap().hash("short"), Err(PasswordError::TooShort));
    }

    #[test]
    fn the_reference_implementations_hash_is_right_and_outdated() {
        // phc-winner-argon2, src/test.c.
        let theirs = "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4";
        assert_eq!(cheap().check(Some(theirs), "password"), Ok(Checked::Right { outdated: true }));
        assert_eq!(cheap().check(Some(theirs), "passwore"), Ok(Checked::Wrong));
    }

    #[test]
    fn a_hash_at_another_cost_is_outdated() {
        let (before, after) = (cheap(), Passwords::with(cheap_params(2), LONGEST_WAIT));
        let kept = before.hash(GOOD).expect("a hash");
        assert_eq!(before.check(Some(&kept), GOOD), Ok(Checked::Right { outdated: false }));
        assert_eq!(after.check(Some(&kept), GOOD), Ok(Checked::Right { outdated: true }));
        assert_eq!(after.check(Some(&kept), "wrong"), Ok(Checked::Wrong));
    }

    #[test]
    fn what_is_kept_is_not_trusted() {
        let passwords = cheap();
        let kept = passwords.hash(GOOD).expect("a hash");
        for bad in [
            "",
            "plain text",
            "$2b$12$R9h/cIPz0gi.URNNX3kh2OPST9/PgBkqquzi.Ss7KIUgO2t0jWMUW",
            &kept.replace("argon2id", "argon2i"),
            &kept.replace("v=19", "v=99"),
            &kept.replace("m=8,", "m=4194304,"),
            &kept.replace("t=1,", "t=4000000,"),
            &kept.replace("p=1", "p=0"),
            &kept[..kept.rfind('$').expect("parts")],
            // 43 characters less 2; 42 would be a shorter hash's if its last bits happened to be zero.
            &kept[..kept.len() - 2],
        ] {
            assert_eq!(passwords.check(Some(bad), GOOD), Err(PasswordError::Unreadable), "{bad}");
        }
    }

    #[test]
    fn every_check_needs_the_turn_and_waits_for_it_with_a_limit() {
        let passwords = cheap();
        let kept = passwords.hash(GOOD).expect("a hash");
        let turn = passwords.turns.take().expect("the first");
        // Nobody's is computed too, and so is what stands in for an unreadable one.
        for kept in [Some(kept.as_str()), Some("unreadable"), None] {
            assert_eq!(passwords.check(kept, GOOD), Err(PasswordError::Busy));
        }
        assert_eq!(passwords.hash(GOOD), Err(PasswordError::Busy));
        drop(turn);
        assert_eq!(passwords.check(Some(&kept), GOOD), Ok(Checked::Right { outdated: false }));
    }

    #[test]
    fn who_waits_has_the_turn_that_another_gives_back_and_few_wait() {
        let turns = Turns::new(Duration::from_secs(60));
        let turn = turns.take().expect("the first");
        std::thread::scope(|scope| {
            let waiters: [_; MOST_WAITING] = std::array::from_fn(|_| scope.spawn(|| turns.take().is_ok()));
            while turns.waiting.load(Ordering::Acquire) < MOST_WAITING {
                std::thread::yield_now();
            }
            let asked = std::time::Instant::now();
            assert!(matches!(turns.take(), Err(PasswordError::Busy)));
            assert!(asked.elapsed() < turns.longest_wait / 2, "told at once");
            drop(turn);
            assert!(waiters.into_iter().all(|waiter| waiter.join().expect("no crash")));
        });
        assert!(turns.take().is_ok());
    }

    #[test]
    fn a_crash_gives_the_turn_back() {
        let turns = Turns::new(Duration::ZERO);
        let crash = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _turn = turns.take();
            panic!("while hashing");
        }));
        assert!(crash.is_err() && turns.take().is_ok());
    }
}
