//! The daemon's own certificate: whether it can be used, until when it holds, and whether it has the names by which
//! clients call this machine.

use std::time::{Duration, SystemTime};

use super::Patient;
use super::report::Finding;
use super::x509::Facts;
use crate::config::{Config, TlsFiles};
use crate::conn::Tls;
use crate::rt::clock;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Somebody who renews by hand wants to know this early; certbot renews thirty days before the end.
const SOON: Duration = Duration::from_secs(30 * 24 * 60 * 60);

const RENEW: &str = "renew it, put certificate and key where they are now, and `sudo systemctl reload pinwire`";

pub fn look(patient: &Patient) -> Vec<Finding> {
    let Some(files) = &patient.config.tls else {
        return vec![Finding::ok("tls", "off: connections are plain")];
    };
    if let Err(error) = Tls::load(files) {
        return vec![unusable(patient, files, &error.to_string())];
    }
    let Some(facts) = Tls::certificate(files).and_then(|der| Facts::read(&der)) else {
        let what = format!("the certificate '{}' cannot be taken apart", files.cert.display());
        return vec![Finding::problem(
            "tls",
            what,
            "make it again; the server's own certificate stands first in the file",
        )];
    };
    let own = rustix::system::uname().nodename().to_string_lossy().to_ascii_lowercase();
    let names = named(&facts, &patient.config, &own);
    [time(&facts, clock::wall())].into_iter().chain(names).chain(open(files)).collect()
}

/// Each way not to be usable has a fix of its own.
fn unusable(patient: &Patient, files: &TlsFiles, why: &str) -> Finding {
    let TlsFiles { cert, key } = files;
    let (name, shown_cert, shown_key) = (&patient.subject.name, cert.display(), key.display());
    let mut what = why.to_owned();
    let unread = [cert, key].into_iter().find(|file| std::fs::File::open(file).is_err());
    let fix = if let Some(file) = unread {
        let shown = file.display();
        match file.try_exists() {
            Ok(true) => {
                format!("'{name}' may not read it: `sudo chown {name} {shown}`, and open its directory to them")
            }
            Ok(false) => {
                format!(
                    "put it there, or write where it is: tls.cert (--tls-cert) and tls.key (--tls-key); `ls -l {shown}`"
                )
            }
            Err(_) => format!("its directory is closed to '{name}': `namei -l {shown}` shows where"),
        }
    } else if why.contains("UnsupportedCertVersion") {
        what = format!("certificate '{shown_cert}' cannot be used: it is X.509 version 1, and version 3 is needed");
        "make it again with a name in it, which makes it version 3: `openssl req … -addext subjectAltName=DNS:NAME`, or \
         `openssl x509 -req … -extfile FILE`"
            .to_owned()
    } else if why.contains("KeyMismatch") {
        what = format!("the key '{shown_key}' is not the one of the certificate '{shown_cert}'");
        format!(
            "name two in tls.cert and tls.key that belong together; `openssl x509 -in {shown_cert} -noout -pubkey` and \
             `openssl pkey -in {shown_key} -pubout` print the same then"
        )
    } else {
        "name PEM files in tls.cert (the server's own certificate first) and tls.key; `openssl x509 -in CERT -noout -text` \
         and `openssl pkey -in KEY -noout -check` say more"
            .to_owned()
    };
    Finding::problem("tls", what, &fix)
}

/// A group may be meant to read it, as Debian's ssl-cert is; everybody is not.
fn open(files: &TlsFiles) -> Option<Finding> {
    use std::os::unix::fs::MetadataExt;
    let mode = std::fs::metadata(&files.key).ok().filter(|meta| meta.is_file())?.mode();
    let key = files.key.display();
    (mode & 0o004 != 0).then(|| {
        Finding::note(
            "tls",
            format!("every user of this machine can read the key {key}"),
            &format!("`sudo chmod o-rwx {key}`"),
        )
    })
}

fn time(facts: &Facts, now: SystemTime) -> Finding {
    let shown = |at: SystemTime| humantime::format_rfc3339_seconds(at).to_string();
    if facts.not_before > now {
        let what =
            format!("the certificate is not valid before {}; it is {} here", shown(facts.not_before), shown(now));
        return Finding::problem("tls", what, "set this machine's clock, or wait");
    }
    let until = shown(facts.not_after);
    match facts.not_after.duration_since(now) {
        Err(_) => Finding::problem("tls", format!("the certificate has expired: {until}"), RENEW),
        Ok(left) if left < SOON => {
            let days = left.as_secs() / DAY.as_secs();
            Finding::note("tls", format!("the certificate expires in {days} days: {until}"), RENEW)
        }
        Ok(_) => Finding::ok("tls", format!("the certificate is for {}, until {until}", facts.all_names())),
    }
}

/// The names that are asked for in words have to be in it, and of the others one at least: a name that `Host` may not
/// carry is refused by the daemon, whatever the certificate says.
fn named(facts: &Facts, config: &Config, own: &str) -> Vec<Finding> {
    let hosts: Vec<_> = config.front.hosts.iter().map(|host| host.trim_end_matches('.')).collect();
    let wanted = hosts.iter().filter(|host| **host != "*");
    let missing: Vec<_> = wanted.filter(|host| !facts.is_for(host)).map(|host| format!("'{host}'")).collect();
    if !missing.is_empty() {
        let what =
            format!("clients cannot call it {}: the certificate is for {}", missing.join(", "), facts.all_names());
        return vec![Finding::problem(
            "tls",
            what,
            "get a certificate with these names too, or take them out of front.hosts",
        )];
    }
    let own = [own.to_owned(), format!("{own}.local"), "localhost".to_owned()];
    let addresses = config.listen.iter().map(|address| address.ip()).filter(|ip| !ip.is_unspecified());
    let mut known = own.into_iter().chain(addresses.map(|ip| ip.to_string()));
    // Any address does for `Host`, so one that is in the certificate is one to call it by.
    let callable = !hosts.is_empty() || !facts.addresses.is_empty() || known.any(|name| facts.is_for(&name));
    if callable {
        return Vec::new();
    }
    let what = format!("the certificate is for {}, and this machine is called none of that", facts.all_names());
    let fix =
        "add the name to front.hosts, if clients reach this machine by it; else get a certificate for this one's name";
    vec![Finding::problem("tls", what, fix)]
}
