//! API keys of the store, as people and clients meet them: made, listed, shown, expired, revoked.

mod common;
#[path = "watch_since/watcher.rs"]
mod watcher;

use std::path::Path;
use std::process::Output;
use std::time::{Duration, Instant};

use common::{Daemon, LIMIT, TempDir, Ws, pinwire, run};
use serde_json::json;
use watcher::Watcher;

/// Within this a key that is no longer good has to be out; a busy machine gets some more.
const OUT_WITHIN: Duration = Duration::from_secs(1);

/// What a test allows on top: processes start slowly on a machine that runs all tests at once.
const SLACK: Duration = Duration::from_secs(4);

fn key(dir: &Path, words: &[&str]) -> Output {
    run(pinwire().arg("key").args(words).arg("--state-dir").arg(dir))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Makes a key; the key and its id.
fn add(dir: &Path, words: &[&str]) -> (String, String) {
    let made = key(dir, &[&["add"], words].concat());
    assert!(made.status.success(), "{made:?}");
    let key = text(&made.stdout).trim().to_owned();
    let id = key.strip_prefix("pw_").and_then(|key| key.split('.').next()).expect("an id").to_owned();
    assert!(text(&made.stderr).contains(&id) && !text(&made.stderr).contains(&key), "{made:?}");
    (key, id)
}

fn revoke(dir: &Path, id: &str) {
    let ended = key(dir, &["revoke", id]);
    assert!(ended.status.success(), "{ended:?}");
}

fn list(dir: &Path) -> String {
    let listed = key(dir, &["list"]);
    assert!(listed.status.success(), "{listed:?}");
    text(&listed.stdout)
}

/// A daemon whose state is in `dir`.
fn serve(dir: TempDir, more: &[&str]) -> Daemon {
    let state = dir.path().join("state");
    Daemon::start_in(dir, |command| {
        command.arg("--state-dir").arg(state).args(more);
    })
}

/// The same with one key in it.
fn serve_with_key(words: &[&str]) -> (Daemon, String, String) {
    let dir = TempDir::new();
    let (key, id) = add(&dir.path().join("state"), &[&["--name", "panel"], words].concat());
    (serve(dir, &["--auth", "key"]), key, id)
}

/// Waits until the daemon answers a request with this key so; it has to be soon.
fn until_status(daemon: &Daemon, key: &str, wanted: u16) {
    let begun = Instant::now();
    while daemon.http("GET", "/pins", &[("X-API-Key", key)], "").status != wanted {
        assert!(begun.elapsed() < OUT_WITHIN + SLACK, "not {wanted} within {:?}", begun.elapsed());
    }
}

fn status(refused: Result<Ws, tungstenite::Error>) -> u16 {
    match refused {
        Ok(_) => 101,
        Err(tungstenite::Error::Http(answer)) => answer.status().as_u16(),
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn a_stored_key_opens_everything_that_the_configured_one_does() {
    let (daemon, key, id) = serve_with_key(&[]);
    for path in ["/", "/ws"] {
        let query = |name: &str| format!("{path}?{name}={key}");
        let bearer = format!("Bearer {key}");
        let protocol = format!("bearer, {key}");
        let ways: [(String, Vec<(&'static str, &str)>); 5] = [
            (path.into(), vec![("x-api-key", &key)]),
            (path.into(), vec![("authorization", &bearer)]),
            (query("apiKey"), vec![]),
            (query("token"), vec![]),
            (path.into(), vec![("sec-websocket-protocol", &protocol)]),
        ];
        for (path, headers) in ways {
            daemon.try_ws(&path, &headers).unwrap_or_else(|e| panic!("{path} {headers:?}: {e}")).sync();
        }
    }
    for path in ["/subscribe?clientName=x", "/publish?clientName=x", "/info"] {
        daemon.try_ws(path, &[("x-api-key", &key)]).unwrap_or_else(|e| panic!("{path}: {e}")).sync();
    }
    let mut ws = daemon.ws("/");
    let auth = json!({"action": "AUTH", "params": {"api_key": key}}).to_string();
    assert_eq!(ws.ask(&auth)["data"], "Authenticated");
    assert_eq!(ws.ask(r#"{"action":"READ_MEMORY"}"#)["success"], true);
    let mut ws = daemon.ws("/ws");
    ws.send(&json!({"type": "auth", "token": key}).to_string());
    assert_eq!(ws.json()["type"], "pong", "the welcome comes now");
    assert_eq!(daemon.http("GET", "/pins", &[("X-API-Key", &key)], "").status, 200);
    assert_eq!(daemon.get("/pins").status, 401);
    assert_eq!(daemon.get("/health").json()["store"]["state"], "ok");
    let secret = key.split('.').nth(1).expect("a secret");
    assert!(!daemon.log().contains(secret), "secrets are never logged");
    let listed = list(&daemon.dir.path().join("state"));
    assert!(listed.contains(&id) && listed.contains("panel") && listed.contains("good"), "{listed}");
    assert!(!listed.contains(secret) && listed.lines().count() == 2, "{listed}");
}

#[test]
fn wrong_keys_are_refused_in_one_way() {
    let (daemon, key, id) = serve_with_key(&[]);
    let secret = key.split('.').nth(1).expect("a secret");
    let other = format!("pw_0123456789.{secret}");
    let forged = format!("pw_{id}.{}", "A".repeat(secret.len()));
    for wrong in [&other, &forged, secret, &key[3..], &key[..key.len() - 1], "pw_", "x"] {
        let answer = daemon.http("GET", "/pins", &[("X-API-Key", wrong)], "");
        assert_eq!((answer.status, &answer.json()["message"]), (401, &json!("Invalid API Key")), "{wrong}");
        assert_eq!(status(daemon.try_ws("/", &[("x-api-key", wrong)])), 401, "{wrong}");
        let mut ws = daemon.ws("/");
        ws.send(&json!({"action": "AUTH", "params": {"api_key": wrong}}).to_string());
        assert_eq!(ws.closed(), (4501, "Invalid API Key".into()), "{wrong}");
    }
}

#[test]
fn a_revoked_key_s_sockets_are_closed_within_a_second() {
    let (daemon, key, id) = serve_with_key(&[]);
    let header = [("x-api-key", key.as_str())];
    let mut sockets: Vec<Ws> = ["/", "/ws", "/subscribe?clientName=x", "/publish?clientName=x", "/info"]
        .map(|path| daemon.try_ws(path, &header).unwrap_or_else(|e| panic!("{path}: {e}")))
        .into();
    let mut first = daemon.ws("/");
    first.ask(&json!({"action": "AUTH", "params": {"api_key": key}}).to_string());
    sockets.push(first);
    sockets.iter_mut().for_each(Ws::sync);
    revoke(&daemon.dir.path().join("state"), &id);
    let begun = Instant::now();
    for ws in &mut sockets {
        assert_eq!(ws.closed(), (4501, "API key revoked".into()));
    }
    assert!(begun.elapsed() < OUT_WITHIN + SLACK, "{:?}", begun.elapsed());
    println!("closed {:?} after the command's end", begun.elapsed());
    assert_eq!(status(daemon.try_ws("/", &header)), 401);
    assert_eq!(daemon.http("GET", "/pins", &[("X-API-Key", &key)], "").status, 401);
    let state = daemon.dir.path().join("state");
    assert!(list(&state).contains("revoked"));
    let again = self::key(&state, &["revoke", &id]);
    assert!(again.status.success() && text(&again.stdout).contains("before"), "{again:?}");
}

#[test]
fn a_watcher_whose_key_is_revoked_says_so_and_does_not_come_back() {
    let (daemon, key, id) = serve_with_key(&[]);
    let file = daemon.dir.file("watcher.key", &key);
    let mut command = daemon.client("watch");
    // It would come back after anything that may pass.
    command.arg("--api-key-file").arg(file).args(["--since", "now", "door.*"]);
    let mut watcher = Watcher::start(command);
    assert!(watcher.ready().starts_with("watching door.* --since "));
    let said = watcher.said();
    revoke(&daemon.dir.path().join("state"), &id);
    assert_eq!(watcher.child.wait().expect("its end").code(), Some(1));
    let said = said.join().expect("text");
    assert!(said.contains("4501") && said.contains("API key revoked") && !said.contains("trying again"), "{said}");
}

#[test]
fn a_key_expires_while_it_is_in_use() {
    let dir = TempDir::new();
    let (_, _) = add(&dir.path().join("state"), &["--name", "stays"]);
    let daemon = serve(dir, &["--auth", "key"]);
    let state = daemon.dir.path().join("state");
    let (key, _) = add(&state, &["--name", "brief", "--expires", "3s"]);
    until_status(&daemon, &key, 200);
    let mut ws = daemon.try_ws("/", &[("x-api-key", &key)]).expect("still good");
    assert_eq!(ws.closed(), (4501, "API key expired".into()));
    assert_eq!(status(daemon.try_ws("/", &[("x-api-key", &key)])), 401);
    let listed = list(&state);
    assert!(listed.contains("expired") && listed.contains("good"), "{listed}");
    daemon.wait_for_log("API key expired");
}

#[test]
fn two_keys_rotate_without_a_gap() {
    let (daemon, old, old_id) = serve_with_key(&[]);
    let state = daemon.dir.path().join("state");
    let mut with_old = daemon.try_ws("/", &[("x-api-key", &old)]).expect("in");
    let (new, new_id) = add(&state, &["--name", "panel"]);
    until_status(&daemon, &new, 200);
    let mut with_new = daemon.try_ws("/", &[("x-api-key", &new)]).expect("in");
    with_old.sync();
    // A socket that shows the new key stays when the old one goes.
    let mut both = daemon.try_ws("/", &[("x-api-key", &old)]).expect("in");
    assert_eq!(both.ask(&json!({"action": "AUTH", "params": {"api_key": new}}).to_string())["success"], true);
    revoke(&state, &format!("pw_{old_id}"));
    assert_eq!(with_old.closed().0, 4501);
    with_new.sync();
    both.sync();
    assert_eq!(daemon.http("GET", "/pins", &[("X-API-Key", &new)], "").status, 200);
    let listed = list(&state);
    let used = listed.lines().find(|line| line.starts_with(&old_id)).expect("listed");
    assert!(used.contains("revoked") && !used.contains("never  all"), "when it was last used is known: {listed}");
    assert!(listed.contains(&new_id), "{listed}");
}

#[test]
fn the_first_key_closes_the_door_that_nobody_decided_about_and_the_last_does_not_open_it() {
    let daemon = serve(TempDir::new(), &[]);
    let state = daemon.dir.path().join("state");
    assert_eq!(daemon.get("/pins").status, 200);
    let (key, id) = add(&state, &["--name", "first"]);
    let begun = Instant::now();
    while daemon.get("/pins").status != 401 {
        assert!(begun.elapsed() < LIMIT, "the key is not asked for");
    }
    until_status(&daemon, &key, 200);
    revoke(&state, &id);
    until_status(&daemon, &key, 401);
    assert_eq!(daemon.get("/pins").status, 401);
}

#[test]
fn a_configured_key_and_stored_ones_open_side_by_side() {
    let dir = TempDir::new();
    let own = dir.file("key", "own-key\n");
    let (key, _) = add(&dir.path().join("state"), &["--name", "a"]);
    let daemon = serve(dir, &["--api-key-file", own.to_str().expect("UTF-8")]);
    for good in ["own-key", &key] {
        assert_eq!(daemon.http("GET", "/pins", &[("X-API-Key", good)], "").status, 200, "{good}");
    }
    assert_eq!(daemon.http("GET", "/pins", &[("X-API-Key", "own-kex")], "").status, 401);
}

#[test]
fn key_mode_without_a_good_key_is_refused_at_the_start() {
    let dir = TempDir::new();
    let state = dir.path().join("state");
    let start = || run(pinwire().args(["--listen", ":0", "--gpio", "sim", "--auth", "key", "--state-dir"]).arg(&state));
    let refused = |output: Output| {
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains("no good API key") && said.contains("pinwire key add"), "{said}");
    };
    refused(start());
    let (_, id) = add(&state, &["--name", "a"]);
    revoke(&state, &id);
    refused(start());
    add(&state, &["--name", "b"]);
    let mut command = pinwire();
    command.args(["serve", "--listen", ":0", "--gpio", "sim", "--auth", "key", "--state-dir"]).arg(&state);
    let daemon = Daemon::launch(dir, command);
    assert!(daemon.listening[0].contains("0.0.0.0"), "{:?}", daemon.listening);
}

#[test]
fn the_commands_say_what_is_missing() {
    let dir = TempDir::new();
    let state = dir.path().join("state");
    let config = dir.file("pinwire.toml", &format!("state_dir = {state:?}\n"));
    for words in [&["list"][..], &["revoke", "0123456789"]] {
        let output = key(&state, words);
        let said = text(&output.stderr);
        assert!(
            output.status.code() == Some(1) && said.contains("pinwire key add") && said.lines().count() == 1,
            "{said}"
        );
    }
    let nowhere = run(pinwire().args(["key", "list"]));
    assert_eq!(nowhere.status.code(), Some(2));
    assert!(text(&nowhere.stderr).contains("--state-dir DIR"), "{nowhere:?}");
    let made = run(pinwire().args(["key", "add", "--name", "a b", "--config"]).arg(&config));
    assert!(made.status.success(), "{made:?}");
    assert!(list(&state).contains("a b"));
    for id in ["0123456789", "nothing", "pw_0123456789.secret-secret"] {
        let output = key(&state, &["revoke", id]);
        let said = text(&output.stderr);
        assert!(output.status.code() == Some(1) && said.contains("no key") && !said.contains("secret"), "{said}");
    }
}

#[test]
fn many_first_keys_at_once_are_all_kept() {
    let dir = TempDir::new();
    let state = dir.path().join("state");
    std::thread::scope(|scope| {
        for name in ["a", "b", "c", "d", "e", "f"] {
            scope.spawn({
                let state = &state;
                move || add(state, &["--name", name])
            });
        }
    });
    assert_eq!(list(&state).lines().count(), 7);
    let left: Vec<_> =
        std::fs::read_dir(&state).expect("a directory").map(|e| e.expect("an entry").file_name()).collect();
    assert_eq!(left, ["pinwire.db"], "nothing is left behind");
}

#[test]
fn a_kept_http_connection_is_refused_after_the_revocation() {
    use std::io::{Read, Write};
    let (daemon, key, id) = serve_with_key(&[]);
    let mut stream = daemon.tcp();
    let mut ask = || {
        let head = format!("GET /system/memory HTTP/1.1\r\nHost: localhost\r\nX-API-Key: {key}\r\n\r\n");
        stream.write_all(head.as_bytes()).expect("sent");
        let mut bytes = Vec::new();
        let mut chunk = [0; 4096];
        loop {
            let n = stream.read(&mut chunk).expect("an answer");
            bytes.extend_from_slice(&chunk[..n]);
            let answer = String::from_utf8_lossy(&bytes).into_owned();
            if n == 0 || answer.trim_end().ends_with('}') {
                return answer;
            }
        }
    };
    assert!(ask().starts_with("HTTP/1.1 200"));
    revoke(&daemon.dir.path().join("state"), &id);
    until_status(&daemon, &key, 401);
    assert!(ask().starts_with("HTTP/1.1 401"));
}
