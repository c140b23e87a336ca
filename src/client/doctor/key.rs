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
    Finding::problem("key", why, keys::FIX)
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
