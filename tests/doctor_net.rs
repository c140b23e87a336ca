//! `pinwire doctor` on certificates and on the way to a hub: each way to fail is made for real and told apart.

mod common;
mod findings;
mod fleet;
mod robust;

use std::io::Write;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{Daemon, TempDir, pinwire, run};
use findings::{Found, Kind, certificate, look};
use fleet::Hub;
use robust::tls::{der, has_openssl};
use sha2::{Digest as _, Sha256};

const LATER: &str = "20450101000000Z";
const BEFORE: &str = "20200201000000Z";

fn utf8(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

fn tls((cert, key): &(PathBuf, PathBuf), config: &str, dir: &TempDir) -> Found {
    let config = dir.file("tls.toml", config);
    look(&["--tls-cert", utf8(cert), "--tls-key", utf8(key), "--config", utf8(&config)])
}

#[test]
fn a_certificate_s_end_names_and_key_are_looked_at() {
    if !has_openssl() {
        return;
    }
    let dir = TempDir::new();
    let make = |name, names, until| certificate(&dir, name, &Kind { names, until, by: None });
    let good = make("good", "DNS:localhost,DNS:hub.example,IP:127.0.0.1", LATER);
    tls(&good, "", &dir).has("ok", "tls", &["hub.example", "until 2045-01-01"]);
    tls(&good, "[front]\nhosts = [\"hub.example\"]\n", &dir).has("ok", "tls", &["hub.example"]);
    let other = tls(&good, "[front]\nhosts = [\"garage.example\"]\n", &dir);
    other.problem("tls", &["clients cannot call it 'garage.example'", "front.hosts"]);
    let strange = make("strange", "DNS:somebody.example", LATER);
    tls(&strange, "", &dir).problem("tls", &["is for somebody.example", "called none of that"]);
    let old = make("old", "DNS:localhost", BEFORE);
    tls(&old, "", &dir).problem("tls", &["has expired: 2020-02-01", "renew it"]);
    // In twenty days.
    let soon = Command::new("date").args(["-u", "-d", "20 days", "+%Y%m%d000000Z"]).output().expect("date runs").stdout;
    let soon = make("soon", "DNS:localhost", String::from_utf8(soon).expect("digits").trim());
    tls(&soon, "", &dir).has("note", "tls", &["expires in", "days", "renew it"]);
    let key_of_old = old.1.clone();
    tls(&(good.0.clone(), old.1), "", &dir).problem("tls", &["old.key' is not the one of", "belong together"]);
    let nowhere = tls(&(good.0.clone(), dir.path().join("nowhere.key")), "", &dir);
    nowhere.problem("tls", &["nowhere.key", "put it there"]);
    let first = dir.path().join("v1.pem");
    let made = Command::new("openssl")
        .args(["x509", "-req", "-signkey"])
        .arg(&key_of_old)
        .arg("-in")
        .arg(dir.path().join("old.csr"))
        .arg("-out")
        .arg(&first)
        .output()
        .expect("openssl runs");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let text = Command::new("openssl").args(["x509", "-noout", "-text", "-in"]).arg(&first).output().expect("runs");
    if String::from_utf8_lossy(&text.stdout).contains("Version: 1 ") {
        tls(&(first, key_of_old), "", &dir).problem("tls", &["X.509 version 1", "subjectAltName"]);
    }
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(&good.1, std::fs::Permissions::from_mode(0o644)).expect("a mode");
    tls(&good, "", &dir).has("note", "tls", &["every user of this machine can read", "chmod o-rwx"]);
    let garbage = dir.file("garbage.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    tls(&(garbage, good.1.clone()), "", &dir).problem("tls", &["garbage.pem"]);
    // A daemon with TLS on the port is recognised by this very certificate.
    let daemon = Daemon::start(&["--tls-cert", utf8(&good.0), "--tls-key", utf8(&good.1)]);
    let address = daemon.addr.to_string();
    let found = look(&["--tls-cert", utf8(&good.0), "--tls-key", utf8(&good.1), "--listen", &address]);
    found.has("ok", "port", &["served by a running pinwire"]);
}

/// Looks at the way to a hub.
fn hub(url: &str, key: &str, more: &[&str]) -> Found {
    look(&[&["--hub", url, "--key-file", key], more].concat())
}

#[test]
fn the_way_to_a_plain_hub_is_told_step_by_step() {
    let dir = TempDir::new();
    let home = Hub::start("");
    let key = home.agent_key(&home.server("pi1"));
    let key_file = dir.file("key", &key);
    let key_file = utf8(&key_file);
    let url = format!("ws://{}", home.daemon.addr);
    // An agent is in, and stays in.
    let mut command = pinwire();
    command.args(["agent", "--gpio", "sim", "--listen", "127.0.0.1:0", "--hub", &url, "--key-file", key_file]);
    let agent = Daemon::launch(TempDir::new(), command);
    agent.wait_for_log("connected to hub");
    hub(&url, key_file, &[]).has("ok", "hub", &["knows this device's key", "its session was not touched"]);
    assert_eq!(home.get("/servers")[0]["status"], "online");

    hub("ws://no-such-host.invalid:9000", key_file, &[]).problem("hub", &["DNS: ", "no-such-host.invalid"]);
    let nobody = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("its address");
    hub(&format!("ws://{nobody}"), key_file, &[]).problem("hub", &["TCP: ", "nobody listens on this port"]);
    hub(&format!("{url}/wrong"), key_file, &[])
        .problem("hub", &["HTTP: ", "/wrong/api/v1/agents/ws answers 404", "without a path"]);
    // In its own words, and to their end.
    hub(&format!("{url}/wrong"), key_file, &[])
        .problem("hub", &["not a WebSocket: no WebSocket at '/wrong/api/", "ws/logs/{server_id}\""]);
    hub(&format!("wss://{}", home.daemon.addr), key_file, &[])
        .problem("hub", &["TLS: ", "does not speak TLS", "ws://"]);
    let other = dir.file("other", &pinwire::auth::mint().expect("random").text);
    hub(&url, utf8(&other), &[]).problem("hub", &["auth: ", "cannot prove", "pinwire key list"]);
    let garbage = dir.file("garbage", "some-word\n");
    hub(&url, utf8(&garbage), &[]).problem("hub", &["--key-file: the file holds no key of a hub"]);
    hub(&url, "/no/such/key", &[]).problem("hub", &["is reached, but there is no key", "/no/such/key"]);
    let chatops = dir.file("chatops.toml", "agent.protocol = \"chatops\"\n");
    hub(&url, utf8(&garbage), &["--config", utf8(&chatops)]).has("ok", "hub", &["the key was not tried"]);
    assert_eq!(agent.log().matches("connected to hub").count(), 1, "{}", agent.log());
    assert!(!agent.log().contains("has taken over"), "{}", agent.log());
    home.revoke(&key);
    agent.wait_for_log("it refuses this device");
    hub(&url, key_file, &[]).problem("hub", &["auth: ", "was revoked"]);

    // The agent's own words for a wrong path have their fix in them.
    let mut command = pinwire();
    let wrong = format!("{url}/wrong");
    command.args(["agent", "--gpio", "sim", "--listen", "127.0.0.1:0", "--hub", &wrong, "--key-file", key_file]);
    let lost = Daemon::launch(TempDir::new(), command);
    lost.wait_for_log("nothing is at /wrong/api/v1/agents/ws; write agent.hub without a path");
}

#[test]
fn somebody_who_is_no_hub_is_told_from_one() {
    let dir = TempDir::new();
    let key = dir.file("key", &pinwire::auth::mint().expect("random").text);
    let other = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("ws://{}", other.local_addr().expect("its address"));
    std::thread::spawn(move || {
        for mut visitor in other.incoming().flatten() {
            let _ = visitor.write_all(b"220 mail.example ESMTP\r\n");
        }
    });
    hub(&url, utf8(&key), &[]).problem("hub", &["HTTP: ", "speaks no WebSocket"]);
    // One that takes the connection and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = silent.local_addr().expect("its address");
    hub(&format!("ws://{address}"), utf8(&key), &[]).problem("hub", &["HTTP: ", "does not answer within"]);
    hub(&format!("wss://{address}"), utf8(&key), &[]).problem("hub", &["TLS: ", "shakes no hands"]);
}

#[test]
fn each_fault_of_a_hub_s_certificate_has_its_own_words() {
    if !has_openssl() {
        return;
    }
    let dir = TempDir::new();
    let here = "DNS:localhost,IP:127.0.0.1";
    let ca = certificate(&dir, "ca", &Kind { names: "DNS:ca.example", until: LATER, by: None });
    let other_ca = certificate(&dir, "other-ca", &Kind { names: "DNS:ca.example", until: LATER, by: None });
    let signed = |name, names, until| certificate(&dir, name, &Kind { names, until, by: Some(&ca) });
    let good = signed("hub", here, LATER);
    let state = TempDir::new();
    let plain = Hub::start_at(TempDir::new(), state.path().join("s"), "127.0.0.1:0", "");
    let key = dir.file("key", &plain.agent_key(&plain.server("pi1")));
    let key = utf8(&key);
    drop(plain);
    let serve = |(cert, private): &(PathBuf, PathBuf)| {
        let config = format!("[tls]\ncert = {cert:?}\nkey = {private:?}\n");
        Hub::start_at(TempDir::new(), state.path().join("s"), "127.0.0.1:0", &config)
    };
    let home = serve(&good);
    let url = format!("wss://{}", home.daemon.addr);
    let of_certificate: String = Sha256::digest(der(&good.0)).iter().map(|byte| format!("{byte:02X}:")).collect();
    let of_certificate = of_certificate.trim_end_matches(':');
    // As a person copies it from openssl.
    let line = format!("sha256 Fingerprint={of_certificate}");
    for trust in [["--ca", utf8(&ca.0)], ["--ca", utf8(&good.0)], ["--pin", &line]] {
        hub(&url, key, &trust).has("ok", "hub", &["knows this device's key"]);
    }
    hub(&url, key, &[]).problem("hub", &["TLS: ", "nobody this machine trusts", "agent.ca (--ca)"]);
    let wrong_ca = hub(&url, key, &["--ca", utf8(&other_ca.0)]);
    wrong_ca.problem("hub", &["TLS: ", "signed by none of those in", "other-ca.pem", "another authority's"]);
    let wrong_pin = hub(&url, key, &["--pin", &"ab".repeat(32)]);
    let shown = of_certificate.replace(':', "").to_lowercase();
    wrong_pin.problem("hub", &["TLS: ", "the certificate is another one", &shown, "somebody else answers"]);
    assert!(!wrong_pin.json.to_string().contains("unexpected error"), "{}", wrong_pin.json);
    hub(&format!("ws://{}", home.daemon.addr), key, &[]).problem("hub", &["TLS: ", "speaks TLS", "write wss://"]);

    // A client command says as well that the file is the wrong one.
    let call = |ca: &Path| run(home.daemon.client("call").arg("--ca").arg(ca).arg("READ_MEMORY"));
    let told = String::from_utf8_lossy(&call(&other_ca.0).stderr).into_owned();
    assert!(told.contains("other-ca.pem', so that file is another authority's; give --ca"), "{told}");
    drop(home);

    for (name, names, until, words) in [
        (
            "stranger",
            "DNS:garage.example",
            LATER,
            &["for another name than '127.0.0.1'", "garage.example", "--pin"][..],
        ),
        ("old", here, BEFORE, &["has expired", "this machine's clock"]),
    ] {
        let home = serve(&signed(name, names, until));
        let found = hub(&format!("wss://{}", home.daemon.addr), key, &["--ca", utf8(&ca.0)]);
        found.problem("hub", &[&["TLS: "], words].concat());
    }
}
