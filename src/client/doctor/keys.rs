//! Whether the store has a good key, where only its keys let anybody in.

use std::path::Path;

use super::Patient;
use super::report::Finding;
use crate::rt::clock;
use crate::store::{Db, OpenError};

/// For who has no key.
pub const FIX: &str = "`pinwire key add --name NAME --state-dir DIR` makes one that a daemon with this state_dir and --auth key \
     (auth.mode = \"key\") asks for; or put one word into \
     a file (`openssl rand -hex 32`), `chmod 600` it and name it in auth.api_key_file";

/// For who may not have meant that everybody is let in.
pub const INSTEAD: &str = "if that is not meant, take it out and make a key with `pinwire key add`";

/// What is wrong with the database itself.
pub fn database(dir: &Path) -> Option<Finding> {
    let why = Db::open_untouched(dir).err()?;
    match &why {
        OpenError::Damaged(..) => {
            let what =
                format!("{why}: the next start sets it aside and begins a new one, without its keys and history");
            let fix =
                "put a backup in its place while the daemon is stopped; `sqlite3 pinwire.db .recover` may save some";
            Some(Finding::problem("disk", what, fix))
        }
        OpenError::Newer(..) | OpenError::Foreign(_) => {
            let what = format!("the daemon does not start: {why}");
            Some(Finding::problem("disk", what, "name another directory in state_dir (--state-dir)"))
        }
        // Nothing to be wrong, or a matter of who may read it, which the directory says.
        OpenError::Missing(_) | OpenError::Unusable(..) => None,
    }
}

/// Whether the store has somebody who may come in.
pub fn lets_in(dir: &Path) -> bool {
    let Ok(db) = Db::open_untouched(dir) else { return false };
    let now = clock::wall();
    let key =
        db.keys().is_ok_and(|keys| keys.iter().any(|key| key.server_id.is_none() && key.record().fault(now).is_none()));
    key || db.users().is_ok_and(|users| users.iter().any(|account| account.user.is_active))
}

pub fn look(patient: &Patient, dir: &Path) -> Finding {
    let db = match Db::open_untouched(dir) {
        Ok(db) => db,
        Err(OpenError::Missing(_)) => return first_key(patient, dir, None),
        Err(why @ (OpenError::Damaged(..) | OpenError::Newer(..) | OpenError::Foreign(_))) => {
            let fix = "mend the database first (see `disk`)";
            return Finding::problem("key", format!("the keys cannot be known: {why}"), fix);
        }
        Err(why) => {
            let fix = format!(
                "`sudo pinwire doctor …` may read it; `sudo chown -R {} {}`",
                patient.subject.name,
                dir.display()
            );
            return Finding::problem("key", format!("the keys cannot be known: {why}"), &fix);
        }
    };
    let (keys, users) = match (db.keys(), db.users()) {
        (Ok(keys), Ok(users)) => (keys, users),
        (Err(error), _) | (_, Err(error)) => {
            let what = format!("the keys cannot be read from '{}': {error}", db.path().display());
            return Finding::problem(
                "key",
                what,
                "a damaged database is set aside at the next start, without its keys",
            );
        }
    };
    let now = clock::wall();
    let good = keys.iter().filter(|key| key.server_id.is_none() && key.record().fault(now).is_none()).count();
    let active = users.iter().filter(|account| account.user.is_active).count();
    if good + active > 0 {
        return Finding::ok("key", format!("a key is asked for; good ones: {good}; active users: {active}"));
    }
    first_key(patient, dir, Some(!keys.is_empty() || !users.is_empty()))
}

/// No key is good. `had` says whether there ever was one, where there is a database.
fn first_key(patient: &Patient, dir: &Path, had: Option<bool>) -> Finding {
    let name = dir.display();
    let add = format!("`pinwire key add --name NAME --state-dir {name}`");
    if had == Some(true) {
        let what =
            format!("the keys in {name} are all revoked or expired, and no user is active: the daemon does not start");
        return Finding::problem("key", what, &add);
    }
    let Some(file) = &patient.config.accounts.first_key_file else {
        let what = format!("a key is asked for, and {name} has none: the daemon does not start");
        return Finding::problem("key", what, &format!("{add}, or set auth.first_key_file"));
    };
    let shown = file.display();
    if file.exists() {
        let what = format!("auth.first_key_file {shown} exists, and the store has no key: the daemon does not start");
        return Finding::problem("key", what, &format!("`sudo rm {shown}`, and the next start makes a new one"));
    }
    let above = file.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // The state directory itself is made at the start.
    if !above.is_dir() && above != dir {
        let what = format!("auth.first_key_file {shown} cannot be written: there is no directory {}", above.display());
        let fix = format!("`sudo install -d -o {} -m 0700 {}`", patient.subject.name, above.display());
        return Finding::problem("key", what, &fix);
    }
    Finding::ok("key", format!("there is no key yet; the first start makes one and writes it to {shown}"))
}
