//! An agent and a real hub: whom it trusts, who has its place, and what a revoked key means.

mod common;
mod fleet;
mod robust;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use common::{Daemon, TempDir, Ws, pinwire};
use fleet::{Hub, OPERATOR};
use robust::tls::{certificate, der, has_openssl};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

fn agent(hub: &str, key: &str, more: &[&str]) -> Daemon {
    let dir = TempDir::new();
    let key = dir.file("key", key);
    let mut command = pinwire();
    command.args(["agent", "--gpio", "sim", "--listen", "127.0.0.1:0", "--hub", hub]).args(more);
    command.arg("--key-file").arg(key);
    Daemon::launch(dir, command)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The DER of a certificate's public key, as openssl makes it.
fn public_key(cert: &Path) -> Vec<u8> {
    let text = Command::new("openssl").args(["x509", "-noout", "-pubkey", "-in"]).arg(cert).output().expect("runs");
    let mut convert = Command::new("openssl")
        .args(["pkey", "-pubin", "-outform", "der"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("runs");
    std::io::Write::write_all(&mut convert.stdin.take().expect("piped"), &text.stdout).expect("written");
    convert.wait_with_output().expect("output").stdout
}

/// A hub with a server and a key for its agent, then again with a certificate.
fn hub_with_tls(state: &Path) -> (Hub, String, PathBuf) {
    let plain = Hub::start_at(TempDir::new(), state.to_owned(), "127.0.0.1:0", "");
    let key = plain.agent_key(&plain.server("pi1"));
    drop(plain);
    let dir = TempDir::new();
    let (cert, private) = certificate(&dir, "server");
    let config = format!("[tls]\ncert = {cert:?}\nkey = {private:?}\n");
    (Hub::start_at(dir, state.to_owned(), "127.0.0.1:0", &config), key, cert)
}

#[test]
fn a_hub_is_trusted_by_its_authority_or_by_its_fingerprint_and_not_otherwise() {
    if !has_openssl() {
        return;
    }
    let home = TempDir::new();
    let (hub, key, cert) = hub_with_tls(&home.path().join("state"));
    let url = format!("wss://{}", hub.daemon.addr);
    let of_certificate = hex(&Sha256::digest(der(&cert)));
    let of_key = hex(&Sha256::digest(public_key(&cert)));
    for trust in [["--ca", cert.to_str().expect("UTF-8")], ["--pin", &of_certificate], ["--pin", &of_key]] {
        agent(&url, &key, &trust).wait_for_log("connected to hub");
    }
    let stranger = agent(&url, &key, &[]);
    stranger.wait_for_log("trust its certificate with agent.ca or agent.pin");
    let wrong = agent(&url, &key, &["--pin", &"ab".repeat(32)]);
    wrong.wait_for_log(&format!("the certificate is another one, with SHA-256 {of_certificate}"));
    for refused in [stranger, wrong] {
        assert!(!refused.log().contains("connected to hub"), "{}", refused.log());
    }
    // Plain text to a port with TLS, and the other way round, are told apart from a hub that is away.
    agent(&format!("ws://{}", hub.daemon.addr), &key, &[]).wait_for_log("no agents are let in there: 400");
}

#[test]
fn what_happens_on_a_device_is_an_event_of_the_hub() {
    let hub = Hub::start("");
    let id = hub.server("pi1");
    let agent = agent(&format!("ws://{}", hub.daemon.addr), &hub.agent_key(&id), &["--name", "kitchen"]);
    agent.wait_for_log(&format!("as server {id}"));
    let mut events = Ws::connect(hub.daemon.addr, "/ws", &[("X-API-Key", OPERATOR)]).expect("a socket");
    events.sync();
    let set = json!({"action": "SIMULATE_INPUT", "params": {"pin": "GPIO5", "level": "high"}});
    assert_eq!(agent.ws("/").ask(&set.to_string())["success"], true);
    let event = events.until(|event| event["type"] == "agent.pi1.gpio.state.changed");
    assert_eq!(event["server_id"], id.as_str(), "{event}");
    assert_eq!((&event["data"]["pin"], &event["data"]["state"]), (&json!(5), &json!("high")));
}

#[test]
fn a_session_that_was_replaced_does_not_fight_and_a_revoked_key_is_told() {
    let hub = Hub::start("");
    let id = hub.server("pi1");
    let key = hub.agent_key(&id);
    let url = format!("ws://{}", hub.daemon.addr);
    let first = agent(&url, &key, &[]);
    first.wait_for_log("connected to hub");
    let second = agent(&url, &key, &[]);
    second.wait_for_log("connected to hub");
    first.wait_for_log("another session with a key of the same server has taken over");
    hub.revoke(&key);
    second.wait_for_log("it refuses this device: ");
    assert!(second.log().contains("check the key in --key-file"), "{}", second.log());
    for agent in [&first, &second] {
        assert_eq!(agent.log().matches("connected to hub").count(), 1, "{}", agent.log());
        assert!(!agent.log().contains(key.split('.').nth(1).expect("a secret")));
    }
    let status: Value = hub.get(&format!("/servers/{id}"))["status"].clone();
    assert_eq!(status, "offline");
}

#[test]
fn an_agent_listens_nowhere_unless_it_is_told_to() {
    let hub = Hub::start("");
    let id = hub.server("pi1");
    let dir = TempDir::new();
    let key = dir.file("key", &hub.agent_key(&id));
    let mut events = Ws::connect(hub.daemon.addr, "/ws", &[("X-API-Key", OPERATOR)]).expect("a socket");
    let mut command = pinwire();
    command.args(["agent", "--gpio", "sim", "--hub", &format!("ws://{}", hub.daemon.addr), "--key-file"]).arg(key);
    // The port of the environment is one to listen on, which an agent does not.
    let child = command.env("PORT", "0").stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("starts");
    events.until(|event| event["type"] == "agent.pi1.node.status.changed" && event["data"]["status"] == "ready");
    common::kill(child.id(), "TERM");
    let output = child.wait_with_output().expect("its end");
    assert!(output.status.success());
    assert_eq!(String::from_utf8_lossy(&output.stdout), "");
    // Its last words are heard too.
    events.until(|event| event["type"] == "agent.pi1.node.status.changed" && event["data"]["status"] == "stopping");
}
