//! Who may come in: whether there is a key where one is asked for, and whether its file is where it should be and closed
//! to others.

use std::path::Path;

use rustix::fs::Access;

use super::report::Finding;
use super::{Patient, keys};
use crate::config::Auth;

pub fn look(patient: &Patient) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(why) = &patient.keyless {
        findings.push(keyless(patient, why));
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
fn keyless(patient: &Patient, why: &str) -> Finding {
    let named = patient.secrets.iter().find(|(place, _)| why.starts_with(&format!("{place}: cannot use the key file")));
    if let Some((_, file)) = named {
        return Finding::problem("key", why, closed(patient, file).as_deref().unwrap_or(keys::FIX));
    }
    // Where nobody said that keys are asked for, those of the store are not looked at.
    match &patient.config.state_dir {
        Some(dir) if keys::lets_in(dir) => {
            let what = format!("{why} (the store in {} has somebody who could come in)", dir.display());
            Finding::problem("key", what, "say `--auth key`, or auth.mode = \"key\" in the configuration")
        }
        _ => Finding::problem("key", why, keys::FIX),
    }
}

/// What to do about a key file that is there and may not be read.
pub fn closed(patient: &Patient, file: &Path) -> Option<String> {
    let denied = std::fs::File::open(file).is_err_and(|error| error.kind() == std::io::ErrorKind::PermissionDenied);
    let (name, file) = (&patient.subject.name, file.display());
    denied.then(|| format!("`sudo chown {name} {file} && sudo chmod 600 {file}`, if its directory is open to '{name}'"))
}

fn own(patient: &Patient) -> Finding {
    let config = &patient.config;
    let open = config.listen.iter().any(|address| !address.ip().to_canonical().is_loopback());
    match &config.auth {
        Auth::Key(_) => Finding::ok("key", "a key is asked for, and one is configured"),
        _ if config.listen.is_empty() => Finding::ok("key", "nobody is let in, so there is no key to ask for"),
        Auth::None if open => {
            Finding::note("key", "everybody on the network is let in (auth.mode is \"none\")", keys::INSTEAD)
        }
        Auth::None => Finding::ok("key", "every program on this machine is let in (auth.mode is \"none\")"),
        Auth::Undecided => {
            Finding::ok("key", "every program on this machine is let in, until there is a key or a user")
        }
        Auth::Stored => keys::look(patient, config.state_dir.as_deref().unwrap_or(Path::new(""))),
    }
}
