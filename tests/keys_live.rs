//! Keys and tokens while they are in use: agents' keys made and ended by REST, pages of users who are turned out, and
//! honest clients while others show wrong keys as fast as they can.

mod common;

use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use common::{Answer, Daemon, LIMIT, TempDir, Ws, pinwire, run};
use serde_json::{Value, json};

/// Within this who is no longer welcome has to be out; a busy machine gets some more.
const OUT_WITHIN: Duration = Duration::from_secs(1);
const SLACK: Duration = Duration::from_secs(4);

const JSON: (&str, &str) = ("Content-Type", "application/json");
const PASSWORD: &str = "correct horse";

fn state(dir: &Path) -> std::path::PathBuf {
    dir.join("state")
}

fn operator_key(dir: &Path) -> String {
    let made = run(pinwire().args(["key", "add", "--name", "operator", "--state-dir"]).arg(state(dir)));
    assert!(made.status.success(), "{made:?}");
    String::from_utf8(made.stdout).expect("text").trim().to_owned()
}

fn add_user(dir: &TempDir, name: &str, role: &str) {
    let file = dir.file("password", PASSWORD);
    let email = format!("{name}@example.org");
    let mut command = pinwire();
    command.args(["user", "add", "--username", name, "--email", &email, "--role", role, "--password-file"]).arg(file);
    let done = run(command.arg("--state-dir").arg(state(dir.path())));
    assert!(done.status.success(), "{done:?}");
}

/// A hub in key mode with an operator's key.
struct Hub {
    daemon: Daemon,
    key: String,
}

impl Hub {
    fn start(dir: TempDir) -> Hub {
        let key = operator_key(dir.path());
        let state = state(dir.path());
        let daemon = Daemon::start_in(dir, |command| {
            command.args(["--auth", "key", "--state-dir"]).arg(state);
        });
        Hub { daemon, key }
    }

    fn ask(&self, method: &str, path: &str, body: &str) -> Answer {
        self.daemon.http(method, &format!("/api/v1{path}"), &[("X-API-Key", &self.key), JSON], body)
    }

    fn ask_as(&self, token: &str, method: &str, path: &str, body: &str) -> Answer {
        let bearer = format!("Bearer {token}");
        self.daemon.http(method, &format!("/api/v1{path}"), &[("Authorization", &bearer), JSON], body)
    }

    fn log_in(&self, name: &str) -> String {
        let body = json!({"username": name, "password": PASSWORD}).to_string();
        let answer = self.daemon.http("POST", "/api/v1/auth/login", &[JSON], &body);
        answer.json()["access_token"].as_str().unwrap_or_else(|| panic!("{answer:?}")).to_owned()
    }

    fn server(&self, name: &str) -> String {
        let made = self.ask("POST", "/servers", &json!({"name": name}).to_string());
        assert_eq!(made.status, 201, "{}", made.body);
        made.json()["id"].as_str().expect("an id").to_owned()
    }

    /// Makes a key for a server's agent; the key and its id.
    fn agent_key(&self, server: &str, name: &str) -> (String, String) {
        let made = self.ask("POST", "/api-keys", &json!({"server_id": server, "name": name}).to_string());
        assert_eq!(made.status, 201, "{}", made.body);
        let text = |member: &str| made.json()[member].as_str().expect("text").to_owned();
        (text("key"), text("id"))
    }

    fn agent(&self, key: &str) -> Ws {
        let mut ws = self.daemon.ws("/api/v1/agents/ws");
        let answer = ws.ask(&json!({"type": "auth", "api_key": key}).to_string());
        assert_eq!(answer["type"], "auth_success", "{answer}");
        ws
    }

    fn me(&self, key: &str) -> Answer {
        self.daemon.http("GET", "/api/v1/api-keys/me", &[("X-API-Key", key)], "")
    }
}

#[test]
fn an_agent_s_key_is_made_shown_once_and_opens_its_own_part_only() {
    let hub = Hub::start(TempDir::new());
    let server = hub.server("pi");
    let (key, id) = hub.agent_key(&server, "first");
    let me = hub.me(&key);
    let wanted = json!({"server_id": server, "key_id": id, "name": "first", "is_active": true});
    assert_eq!((me.status, me.json()), (200, wanted));
    let missing = hub.daemon.get("/api/v1/api-keys/me");
    assert_eq!((missing.status, &missing.json()["detail"]), (401, &json!("API key required")));
    for wrong in ["wrong", &hub.key, &key[..key.len() - 1]] {
        let refused = hub.me(wrong);
        assert_eq!((refused.status, &refused.json()["detail"]), (401, &json!("Invalid API key")), "{wrong}");
    }
    // Neither the pins nor the fleet.
    assert_eq!(hub.daemon.http("GET", "/pins", &[("X-API-Key", &key)], "").status, 401);
    assert!(hub.daemon.try_ws("/", &[("x-api-key", &key)]).is_err());
    assert_eq!(hub.daemon.http("GET", "/api/v1/api-keys", &[("X-API-Key", &key)], "").json(), json!([]));
    let other = hub.daemon.http("GET", &format!("/api/v1/api-keys/server/{server}"), &[("X-API-Key", &key)], "");
    assert_eq!(other.status, 404);

    let listed = hub.ask("GET", &format!("/api-keys/server/{server}"), "").json();
    assert_eq!((&listed[0]["id"], &listed[0]["name"], &listed[0]["key"]), (&json!(id), &json!("first"), &Value::Null));
    let (_, second) = hub.agent_key(&server, "second");
    let third = hub.ask("POST", "/api-keys", &json!({"server_id": server}).to_string());
    let said = third.json()["detail"].as_str().unwrap_or_default().to_owned();
    assert!(third.status == 409 && said.contains(&id) && said.contains(&second) && said.contains("first"), "{said}");
    let ended = hub.ask("POST", &format!("/api-keys/{id}/deactivate"), "");
    assert_eq!((ended.status, &ended.json()["is_active"]), (200, &json!(false)));
    assert_eq!(hub.me(&key).status, 401);
    let (_, third) = hub.agent_key(&server, "third");
    let of = |query: &str| hub.ask("GET", &format!("/api-keys/server/{server}{query}"), "").json();
    assert_eq!(of("").as_array().map(Vec::len), Some(3));
    assert_eq!(of("?active_only=true").as_array().map(Vec::len), Some(2));
    assert_eq!(hub.ask("GET", "/api-keys", "").json().as_array().map(Vec::len), Some(3));
    assert_eq!(hub.ask("DELETE", &format!("/api-keys/{third}"), "").status, 204);
    assert_eq!(hub.ask("DELETE", &format!("/api-keys/{third}"), "").status, 404);
    let past = json!({"server_id": server, "expires_at": "2020-01-01T00:00:00Z"}).to_string();
    assert_eq!(hub.ask("POST", "/api-keys", &past).status, 400);
    let nowhere = json!({"server_id": "0c9b1a52-0000-4000-8000-000000000009"}).to_string();
    assert_eq!(hub.ask("POST", "/api-keys", &nowhere).status, 404);
    assert_eq!(hub.ask("POST", "/api-keys", "{}").status, 422);
    let listed = run(pinwire().args(["key", "list", "--state-dir"]).arg(state(hub.daemon.dir.path())));
    assert!(String::from_utf8_lossy(&listed.stdout).contains(&format!("agent of {server}")), "{listed:?}");
}

#[test]
fn users_see_and_make_keys_of_their_own_servers_only() {
    let dir = TempDir::new();
    for (name, role) in [("ann", "operator"), ("bob", "operator"), ("eve", "viewer"), ("root", "admin")] {
        add_user(&dir, name, role);
    }
    let hub = Hub::start(dir);
    let [ann, bob, eve, root] = ["ann", "bob", "eve", "root"].map(|name| hub.log_in(name));
    let made = hub.ask_as(&ann, "POST", "/servers", r#"{"name":"pi"}"#);
    let server = made.json()["id"].as_str().unwrap_or_else(|| panic!("{made:?}")).to_owned();
    let body = json!({"server_id": server}).to_string();
    let key = hub.ask_as(&ann, "POST", "/api-keys", &body);
    assert_eq!(key.status, 201, "{}", key.body);
    let id = key.json()["id"].as_str().expect("an id").to_owned();
    for other in [&bob, &eve] {
        assert_eq!(hub.ask_as(other, "POST", "/api-keys", &body).status, 404);
        assert_eq!(hub.ask_as(other, "DELETE", &format!("/api-keys/{id}"), "").status, 404);
        assert_eq!(hub.ask_as(other, "GET", "/api-keys/me", "").json(), json!([]));
    }
    for owner in [&ann, &root] {
        let listed = hub.ask_as(owner, "GET", "/api-keys/me", "").json();
        assert_eq!((listed.as_array().map(Vec::len), &listed[0]["id"]), (Some(1), &json!(id)));
    }
    assert_eq!(hub.ask_as(&root, "DELETE", &format!("/api-keys/{id}"), "").status, 204);
}

#[test]
fn an_agent_is_out_within_a_second_of_its_key_s_end() {
    let hub = Hub::start(TempDir::new());
    let ways: [&dyn Fn(&str); 3] = [
        &|id| assert_eq!(hub.ask("POST", &format!("/api-keys/{id}/deactivate"), "").status, 200),
        &|id| assert_eq!(hub.ask("DELETE", &format!("/api-keys/{id}"), "").status, 204),
        &|id| {
            let ended = run(pinwire().args(["key", "revoke", id, "--state-dir"]).arg(state(hub.daemon.dir.path())));
            assert!(ended.status.success(), "{ended:?}");
        },
    ];
    for (number, end) in ways.iter().enumerate() {
        let server = hub.server(&format!("pi{number}"));
        let (key, id) = hub.agent_key(&server, "");
        let (stays, _) = hub.agent_key(&hub.server(&format!("other{number}")), "");
        let (mut agent, mut other) = (hub.agent(&key), hub.agent(&stays));
        agent.sync();
        end(&id);
        let begun = Instant::now();
        assert_eq!(agent.closed(), (1008, "API key revoked".into()));
        assert!(begun.elapsed() < OUT_WITHIN + SLACK, "{:?}", begun.elapsed());
        println!("way {number}: closed {:?} after it was said", begun.elapsed());
        let mut again = hub.daemon.ws("/api/v1/agents/ws");
        again.send(&json!({"type": "auth", "api_key": key}).to_string());
        assert_eq!(again.closed().0, 1008);
        other.sync();
    }
}

#[test]
fn a_page_is_out_within_a_second_of_its_user_s_end() {
    let dir = TempDir::new();
    let home = dir.path().to_owned();
    ["ann", "bob", "cid"].into_iter().for_each(|name| add_user(&dir, name, "admin"));
    let hub = Hub::start(dir);
    let server = hub.server("pi");
    let page = |token: &str| {
        let mut ws = hub.daemon.ws(&format!("/api/v1/ws/metrics/{server}"));
        let answer = ws.ask(&json!({"type": "auth", "token": token}).to_string());
        assert_eq!(answer["type"], "auth_success", "{answer}");
        ws
    };
    let command = |words: &[&str]| {
        let done = run(pinwire().arg("user").args(words).arg("--state-dir").arg(state(&home)));
        assert!(done.status.success(), "{done:?}");
    };
    let [ann, bob, cid] = ["ann", "bob", "cid"].map(|name| hub.log_in(name));
    let other = hub.log_in("ann");
    let mut out = [page(&ann), page(&bob), page(&cid)];
    let mut stays = page(&other);
    assert_eq!(hub.ask_as(&ann, "POST", "/auth/logout", "").status, 200);
    command(&["disable", "bob"]);
    command(&["remove", "cid"]);
    let begun = Instant::now();
    let reasons = ["Logged out", "User account is disabled", "User removed"];
    for (ws, reason) in out.iter_mut().zip(reasons) {
        assert_eq!(ws.closed(), (1008, reason.into()));
    }
    assert!(begun.elapsed() < OUT_WITHIN + SLACK, "{:?}", begun.elapsed());
    stays.sync();
}

/// Shows wrong keys in every way until told to stop; how often.
fn flood(addr: SocketAddr, stop: &AtomicBool, count: &AtomicUsize) {
    use std::io::{Read, Write};
    let wrong = "pw_0123456789.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    let requests = [
        format!("GET /pins HTTP/1.1\r\nHost: {addr}\r\nX-API-Key: {wrong}\r\nConnection: close\r\n\r\n"),
        format!("GET /api/v1/servers HTTP/1.1\r\nHost: {addr}\r\nX-API-Key: {wrong}\r\nConnection: close\r\n\r\n"),
        format!(
            "GET / HTTP/1.1\r\nHost: {addr}\r\nX-API-Key: {wrong}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        ),
    ];
    for request in requests.iter().cycle() {
        if stop.load(Ordering::Acquire) {
            return;
        }
        let mut stream = common::tcp(addr);
        let mut answer = [0; 12];
        if stream.write_all(request.as_bytes()).is_ok() && stream.read_exact(&mut answer).is_ok() {
            assert!(answer.ends_with(b"401") || answer.ends_with(b"429"), "{:?}", String::from_utf8_lossy(&answer));
            count.fetch_add(1, Ordering::AcqRel);
        }
    }
}

#[test]
fn honest_clients_go_on_while_wrong_keys_pour_in() {
    const WRONG: usize = 2000;
    let hub = Hub::start(TempDir::new());
    let (key, _) = hub.agent_key(&hub.server("pi"), "");
    let (stop, count) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        // Also when an assertion fails: the scope waits for all of them.
        let _stops = OnDrop(|| stop.store(true, Ordering::Release));
        (0..4).for_each(|_| drop(scope.spawn(|| flood(hub.daemon.addr, &stop, &count))));
        let mut stays = hub.daemon.try_ws("/", &[("x-api-key", &hub.key)]).expect("in");
        let mut agent = hub.agent(&key);
        let begun = Instant::now();
        while count.load(Ordering::Acquire) < WRONG {
            assert!(begun.elapsed() < LIMIT * 3 * common::slow(), "only {} attempts", count.load(Ordering::Acquire));
            assert_eq!(stays.ask(r#"{"action":"READ_MEMORY"}"#)["success"], true);
            assert_eq!(agent.ask(r#"{"type":"ping"}"#)["type"], "pong");
            // New ones come in, by header and by first message.
            assert_eq!(hub.daemon.http("GET", "/pins", &[("X-API-Key", &hub.key)], "").status, 200);
            let mut late = hub.daemon.ws("/");
            let auth = json!({"action": "AUTH", "params": {"api_key": hub.key}}).to_string();
            assert_eq!(late.ask(&auth)["success"], true);
            assert_eq!(hub.me(&key).status, 200);
        }
    });
}

/// Does it when it is dropped, by a panic too.
struct OnDrop<F: Fn()>(F);

impl<F: Fn()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        self.0();
    }
}

/// An address of this machine that is not loopback, where it has one.
fn outside() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    // Nothing is sent: the kernel only chooses a way.
    socket.connect("192.0.2.1:9").ok()?;
    let ip = socket.local_addr().ok()?.ip();
    (!ip.is_loopback() && TcpListener::bind((ip, 0)).is_ok()).then_some(ip)
}

#[test]
fn wrong_keys_from_elsewhere_have_to_wait_and_right_ones_do_not() {
    let Some(ip) = outside() else {
        common::skipped("this machine has no address but loopback");
        return;
    };
    let dir = TempDir::new();
    let key = operator_key(dir.path());
    let own = dir.file("key", "short-key\n");
    let state = state(dir.path());
    let mut command = pinwire();
    command.args(["serve", "--gpio", "sim", "--listen"]).arg(format!("{ip}:0"));
    command.arg("--api-key-file").arg(own).arg("--state-dir").arg(state);
    let daemon = Daemon::launch(dir, command);
    let show = |key: &str| daemon.http("GET", "/pins", &[("X-API-Key", key)], "");
    assert_eq!(show("short-key").status, 200);
    let answers: Vec<Answer> = (0..10).map(|_| show("wrong")).collect();
    assert_eq!(answers[0].status, 401);
    let last = answers.last().expect("ten");
    assert_eq!(last.status, 429, "{last:?}");
    let wait = |answer: &Answer| answer.header("retry-after").and_then(|text| text.parse::<u64>().ok());
    assert!(wait(last).is_some_and(|seconds| (1..=30).contains(&seconds)), "{last:?}");
    // The store's keys are not guessed, so whoever has one does not wait.
    assert_eq!(show(&key).status, 200);
    daemon.try_ws("/", &[("x-api-key", &key)]).expect("in").sync();
    // A key that is short might be guessed, so it is not even looked at.
    assert_eq!(show("short-key").status, 429);
    match daemon.try_ws("/", &[("x-api-key", "wrong")]) {
        Err(tungstenite::Error::Http(answer)) => {
            assert_eq!(answer.status(), 429);
            assert!(answer.headers().contains_key("retry-after"));
        }
        _ => panic!("not refused"),
    }
    let mut ws = daemon.ws("/");
    ws.send(&json!({"action": "AUTH", "params": {"api_key": "wrong"}}).to_string());
    let (code, reason) = ws.closed();
    assert!(code == 1008 && reason.contains("too many wrong keys"), "{code} {reason}");
    let begun = Instant::now();
    while show("short-key").status != 200 {
        assert!(begun.elapsed() < LIMIT * 2, "it waits for ever");
    }
}
