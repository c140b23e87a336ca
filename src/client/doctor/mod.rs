//! `doctor`: what works on this machine and what does not, why, and what to do about it. It changes nothing.
//!
//! One file per concern, each of which looks and gives findings; `report` shows them. The concerns are looked at side by
//! side, so that one that has to wait keeps nobody, and together within [`LIMIT`].

mod clock;
mod disk;
mod hub;
mod key;
#[cfg_attr(not(feature = "hub"), path = "no_keys.rs")]
mod keys;
mod lines;
mod model;
mod neighbours;
mod port;
mod power;
mod procs;
mod report;
mod state;
mod tls;
mod who;
mod x509;

use std::sync::Arc;

use crossbeam_channel::{Receiver, bounded};

use super::{ClientError, backend, print_line};
use crate::config::{Config, Examined};
use crate::rt::worker::Worker;
use report::{Finding, GpioReport};
use who::{Service, Subject};

/// For all of it.
const LIMIT: std::time::Duration = std::time::Duration::from_secs(18);

/// What is looked at.
struct Patient {
    config: Config,
    keyless: Option<String>,
    agent_keyless: Option<String>,
    secrets: Vec<(String, std::path::PathBuf)>,
    /// Whose permissions count.
    subject: Subject,
    /// The installed unit, if there is one.
    service: Option<Service>,
    /// Somebody said which configuration.
    config_is_named: bool,
}

/// One concern: the part's name and who looks at it.
type Look = (&'static str, fn(&Patient) -> Vec<Finding>);

/// In the order in which they are told. The lines come between the first three and the rest.
const LOOKS: [Look; 13] = [
    ("config", config),
    ("user", who::look),
    ("model", model::look),
    ("power", power::look),
    ("clock", clock::look),
    ("disk", disk::look),
    ("port", port::look),
    ("key", key::look),
    ("tls", tls::look),
    ("hub", hub::look),
    ("commands", neighbours::commands),
    ("docker", neighbours::docker),
    ("alerts", neighbours::alerts),
];

/// How many of them are told before the lines.
const BEFORE_LINES: usize = 3;

/// Looks at everything and prints what was found.
///
/// # Errors
/// There is a problem, which what was printed says.
pub fn doctor(examined: Examined, as_agent: bool, config_is_named: bool, json: bool) -> Result<(), ClientError> {
    let Examined { config, keyless, agent_keyless, secrets } = examined;
    let service = Service::installed(&config.root, as_agent);
    let subject = Subject::choose(&config.root, service.as_ref());
    let patient = Arc::new(Patient {
        config,
        keyless: keyless.map(|why| why.to_string()),
        agent_keyless: agent_keyless.map(|why| why.to_string()),
        secrets,
        subject,
        service,
        config_is_named,
    });
    let until = crate::rt::clock::now() + LIMIT;
    let begun: Vec<_> = LOOKS.iter().map(|look| (look.0, begin(*look, &patient))).collect();
    let (gpio, mut of_lines) = lines::look(&patient);
    let mut findings = Vec::new();
    for (place, (part, answer)) in begun.into_iter().enumerate() {
        if place == BEFORE_LINES {
            findings.append(&mut of_lines);
        }
        let found = answer.and_then(|answer| answer.recv_deadline(until).map_err(std::io::Error::other));
        findings.extend(found.unwrap_or_else(|_| vec![late(part)]));
    }
    report::print(&findings, &gpio, &patient.subject, json)
}

/// The same object for a configuration that cannot be used, which is then all there is to say.
pub fn refused(why: &str) {
    let gpio =
        GpioReport { ok: false, backend: None, simulated: false, why: "the configuration cannot be used".to_owned() };
    let findings = [Finding { fix: None, ..Finding::problem("config", why, "") }];
    // What it returns is the exit code, and this has one of its own.
    let _ = report::print(&findings, &gpio, &Subject::own(std::path::Path::new("/")), true);
}

fn begin((_, look): Look, patient: &Arc<Patient>) -> std::io::Result<Receiver<Vec<Finding>>> {
    let (done, answer) = bounded(1);
    let patient = Arc::clone(patient);
    // Not joined: one that hangs, in a file system or a resolver, ends with the process.
    Worker::spawn("doctor", move || drop(done.send(look(&patient))))?;
    Ok(answer)
}

fn late(part: &'static str) -> Finding {
    let what = format!("no answer within {}, so nothing is known of it", humantime::format_duration(LIMIT));
    let fix = match part {
        "disk" | "key" => "a file system does not answer: `dmesg | tail` may say which; is it on the network?",
        _ => "run it again; if it stays so, `dmesg | tail` may say what hangs",
    };
    Finding::problem(part, what, fix)
}

/// What the configuration itself says that somebody should hear of.
fn config(patient: &Patient) -> Vec<Finding> {
    let config = &patient.config;
    let mut findings: Vec<_> =
        config.warnings.iter().map(|warning| Finding::note("config", warning.clone(), "")).collect();
    let installed = config.root.join("etc/pinwire/pinwire.toml");
    if !patient.config_is_named && installed.exists() {
        let what = "looked at with the defaults: no configuration was named, and the installed service has one";
        let fix = format!("`pinwire doctor --config {}`", installed.display());
        findings.push(Finding::note("config", what, &fix));
    }
    if findings.is_empty() {
        findings.push(Finding::ok("config", "good"));
    }
    findings
}

/// The JSON member `gpio`, as it was before there was anything else.
fn gpio_report(patient: &Patient) -> GpioReport {
    match backend(&patient.config) {
        // Simulation is a failure only for who hoped for more.
        Ok(info) => GpioReport {
            ok: !info.simulated || patient.config.gpio.backend == crate::config::Backend::Sim,
            backend: Some(info.name),
            simulated: info.simulated,
            why: info.why,
        },
        Err(error) => GpioReport { ok: false, backend: None, simulated: false, why: error.to_string() },
    }
}
