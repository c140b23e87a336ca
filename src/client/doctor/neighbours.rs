//! What the daemon would need others for: a user to run commands as, the Docker Engine, whom alerts are told.

use std::time::Duration;

use rustix::fs::Access;

use super::Patient;
use super::report::Finding;
use super::who::user_id;
use crate::config::Webhook;
use crate::conn::client::{Dial, DialError, Trust};

/// To connect to the webhook's host; nothing is posted.
const STEP: Duration = Duration::from_secs(4);

/// Whether commands have somebody to run as.
pub fn commands(patient: &Patient) -> Vec<Finding> {
    let commands = &patient.config.commands;
    if !commands.enabled() {
        return Vec::new();
    }
    let own = commands.templates.values().map(|template| template.user.as_deref().or(commands.user.as_deref()));
    let mut users: Vec<_> = own.chain(commands.shell.then_some(commands.user.as_deref())).collect();
    users.sort_unstable();
    users.dedup();
    users.into_iter().filter_map(|user| refused(patient, user)).collect()
}

fn refused(patient: &Patient, user: Option<&str>) -> Option<Finding> {
    let (subject, may_be_root) = (&patient.subject, patient.config.commands.allow_root);
    let problem = |what: String, fix: &str| Some(Finding::problem("commands", what, fix));
    let Some(user) = user else {
        let what = "commands will be refused: the daemon runs as root, and commands.user says nobody else";
        let fix = "set commands.user to somebody who may do what they need, or commands.allow_root = true";
        return if subject.is_root() && !may_be_root { problem(what.to_owned(), fix) } else { None };
    };
    // Commands' users are the machine's, wherever the board's files are.
    let known = user_id(std::path::Path::new("/"), user).map(|(uid, _)| uid).or_else(|| user.parse().ok());
    let Some(uid) = known else {
        let what = format!("commands will be refused: there is no user '{user}' in /etc/passwd");
        let fix = format!("`sudo useradd --system {user}`, or name another in commands.user");
        return problem(what, &fix);
    };
    if uid == 0 && !may_be_root {
        let what = format!("commands will be refused: user '{user}' is root");
        return problem(what, "name another in commands.user, or set commands.allow_root = true");
    }
    if !subject.is_root() && !subject.is(uid) {
        let what = format!("commands will be refused: '{}' is not root, and cannot run them as '{user}'", subject.name);
        return problem(what, "take commands.user out, or run the daemon as root");
    }
    None
}

/// Whether the Docker Engine's socket is there and open.
pub fn docker(patient: &Patient) -> Vec<Finding> {
    let docker = &patient.config.docker;
    if !docker.enabled {
        return Vec::new();
    }
    let (socket, subject) = (docker.socket.display(), &patient.subject);
    vec![match std::fs::metadata(&docker.socket) {
        Err(error) => {
            let what = format!("docker.enabled, but its socket {socket} cannot be used: {error}");
            let fix = "`sudo systemctl start docker`; or name its socket in docker.socket, or take docker.enabled out";
            Finding::problem("docker", what, fix)
        }
        Ok(_) if !subject.may(&docker.socket, Access::READ_OK | Access::WRITE_OK) => {
            let what = format!("docker.enabled, but '{}' may not use {socket}", subject.name);
            let fix = "give the unit the drop-in docker.conf, or the user group docker (which is as good as root)";
            Finding::problem("docker", what, fix)
        }
        Ok(_) => Finding::ok("docker", format!("its socket is {socket}")),
    }]
}

/// Whether whom alerts are told can be reached, without telling anything.
pub fn alerts(patient: &Patient) -> Vec<Finding> {
    let alerts = &patient.config.alerts;
    let program = alerts
        .command
        .as_ref()
        .filter(|command| !command.program.is_file() || !patient.subject.may(&command.program, Access::EXEC_OK));
    let program = program.map(|command| {
        let shown = command.program.display();
        let what = format!("alerts.command: '{}' cannot run {shown}", patient.subject.name);
        Finding::problem(
            "alerts",
            what,
            &format!("`ls -l {shown}`: it has to be a program, and executable (`chmod +x`)"),
        )
    });
    alerts.webhook.as_ref().map(webhook).into_iter().chain(program).collect()
}

/// The path is often a secret, so only host and port are told.
fn webhook(webhook: &Webhook) -> Finding {
    let trust = webhook.ca.as_ref().map_or(Trust::System, |ca| Trust::Ca(ca.clone()));
    let dial = match Dial::new(&webhook.url, &trust, STEP) {
        Ok(dial) => dial,
        Err(DialError::Url(_)) => {
            let what = "alerts.webhook is not a URL with a host and, where it says one, a port";
            return Finding::problem("alerts", what, "write one such as \"https://hooks.example/alerts\"");
        }
        Err(error) => return Finding::problem("alerts", error.to_string(), "name a PEM file in alerts.webhook_ca"),
    };
    match dial.connect() {
        Ok(_) => Finding::ok("alerts", format!("the webhook's host {} is reached", dial.peer())),
        Err(error) => {
            let fix = match &error {
                DialError::Unknown { host, .. } => {
                    format!("check the spelling in alerts.webhook; `getent hosts {host}` must find it")
                }
                DialError::Tls { .. } => {
                    "name the authority that signed its certificate in alerts.webhook_ca".to_owned()
                }
                _ => "is it running, and is the network up (`ip route`)?".to_owned(),
            };
            Finding::problem("alerts", format!("the webhook is not reached: {error}"), &fix)
        }
    }
}
