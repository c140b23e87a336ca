//! Who may come in: whether there is a key where one is asked for, and whether its file is where it should be and closed
//! to others.

use std::path::Path;

use rustix::fs::Access;

use super::Patient;
use super::report::Finding;
use crate::config::Auth;
use crate::rt::clock;
use crate::store::{Db, OpenError};

pub fn look(patient: &Patient) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(why) = &patient.keyless {
        findings.push(keyless(why));
    } else {
        findings.push(own(patient));
    }
    for (place, file) in &patient.secrets {
        if file.exists() && !patient.subject.may(file, Access::READ_OK) {
            let (name, file) = (&patient.subject.name, file.display());
            let what = format!("{place}: '{name}' may not read {file}");
            let fix = format!("`sudo chown {name} {file} && sudo chmod 600 {file}`");
            // Whoever runs this has the same from reading the configuration.
            if patient.subject.is_other() || place == "tls.key" {
                findings.push(Finding::problem("key", what, &fix));
            }
        }
    }
    findings
}

/// The configuration's own words have the fix behind the last colon or semicolon, mostly; here it stands by itself.
fn keyless(why: &str) -> Finding {
    let fix = "`pinwire key add --name NAME --state-dir DIR` makes one that the daemon with this state_dir knows; or put one \
               word into a file (`openssl rand -hex 32`), `chmod 600` it and name it in auth.api_key_file";
    Finding::problem("key", why, fix)
}

fn own(patient: &Patient) -> Finding {
    let config = &patient.config;
    let open = config.listen.iter().any(|address| !address.ip().to_canonical().is_loopback());
    match &config.auth {
        Auth::Key(_) => Finding::ok("key", "a key is asked for, and one is configured"),
        _ if config.listen.is_empty() => Finding::ok("key", "nobody is let in, so there is no key to ask for"),
        Auth::None if open => Finding::note(
            "key",
            "everybody on the network is let in (auth.mode is \"none\")",
            "if that is not meant, take it out and make a key with `pinwire key add`",
        ),
        Auth::None => Finding::ok("key", "every program on this machine is let in (auth.mode is \"none\")"),
        Auth::Undecided => {
            Finding::ok("key", "every program on this machine is let in, until there is a key or a user")
        }
        Auth::Stored => stored(patient, config.state_dir.as_deref().unwrap_or(Path::new(""))),
    }
}

/// What the database has.
fn stored(patient: &Patient, dir: &Path) -> Finding {
    let db = match Db::open_read_only_existing(dir) {
        Ok(db) => db,
        Err(OpenError::Missing(_)) => return first_key(patient, dir, None),
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
