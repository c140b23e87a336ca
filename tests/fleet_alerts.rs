//! Alerts through the door: agents' samples in; REST, events, pages, a webhook and a command out.

mod common;
mod robust;
mod watch;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::mpsc::{Receiver, channel};

use common::{LIMIT, TempDir, Ws, run};
use serde_json::{Value, json};
use watch::{Agent, alert_events, ask, get, good, hub, hub_in, stop, text};

/// Nobody's id.
const UNKNOWN: &str = "0c9b1a52-0000-4000-8000-000000000001";

fn threshold(daemon: &common::Daemon, server_id: &str, metric: &str, value: f64) -> Value {
    let body = json!({"server_id": server_id, "metric_type": metric, "threshold_value": value, "comparison": "gt"});
    good(daemon, "POST", "alerts/thresholds", &body)
}

/// The next event, which is this change of an alert.
#[track_caller]
fn next(events: &mut Ws, change: &str) -> Value {
    let event = events.json();
    assert_eq!(event["type"], format!("system.alert.{change}"), "{event}");
    event["data"]["alert"].clone()
}

#[test]
fn thresholds_are_made_changed_listed_and_removed() {
    let daemon = hub("");
    let (pi, other) = (watch::server(&daemon, "pi1"), watch::server(&daemon, "pi2"));
    let body = json!({"server_id": pi, "metric_type": "cpu", "threshold_value": 80, "comparison": "gt",
                      "for_seconds": 30, "hysteresis": 5});
    let answer = ask(&daemon, "POST", "alerts/thresholds", &body);
    assert_eq!(answer.status, 201, "{answer:?}");
    let made = answer.json();
    for (member, value) in [("threshold_value", json!(80.0)), ("enabled", json!(true)), ("for_seconds", json!(30))] {
        assert_eq!(made[member], value, "{made}");
    }
    threshold(&daemon, &other, "memory", 90.0);
    assert_eq!(get(&daemon, "alerts/thresholds").as_array().map(Vec::len), Some(2));
    assert_eq!(get(&daemon, &format!("alerts/thresholds?server_id={pi}")), json!([made]));
    let path = format!("alerts/thresholds/{}", text(&made["id"]));
    let changed = good(&daemon, "PUT", &path, &json!({"threshold_value": 70.5, "enabled": false}));
    assert_eq!((&changed["threshold_value"], &changed["enabled"]), (&json!(70.5), &json!(false)));
    assert_eq!((&changed["metric_type"], &changed["created_at"]), (&json!("cpu"), &made["created_at"]));

    let dir = stop(daemon);
    let daemon = hub_in(dir, "");
    assert_eq!(get(&daemon, &format!("alerts/thresholds?server_id={pi}")), json!([changed]));
    assert_eq!(ask(&daemon, "DELETE", &path, &Value::Null).status, 204);
    for (method, path, body, status, detail) in [
        ("DELETE", path.as_str(), Value::Null, 404, "Alert threshold not found"),
        ("PUT", path.as_str(), json!({}), 404, "Alert threshold not found"),
        ("GET", &format!("alerts/{UNKNOWN}"), Value::Null, 404, "Alert not found"),
        ("POST", &format!("alerts/{UNKNOWN}/resolve"), Value::Null, 404, "Alert not found"),
        ("PATCH", "alerts", Value::Null, 405, "Method Not Allowed"),
        ("GET", "alerts/x/y/z", Value::Null, 404, "Not Found"),
    ] {
        let answer = ask(&daemon, method, path, &body);
        assert_eq!((answer.status, text(&answer.json()["detail"])), (status, detail.to_owned()), "{method} {path}");
    }
    let wrong = json!({"server_id": UNKNOWN, "metric_type": "cpu", "threshold_value": 80, "comparison": "gt"});
    let answer = ask(&daemon, "POST", "alerts/thresholds", &wrong);
    assert_eq!((answer.status, text(&answer.json()["detail"])), (404, "Server not found".to_owned()));
    for (body, member) in [
        (json!({"server_id": pi, "metric_type": "service", "threshold_value": 1, "comparison": "gt"}), "metric_type"),
        (json!({"server_id": pi, "metric_type": "cpu", "threshold_value": 1, "comparison": "ge"}), "comparison"),
        (json!({"server_id": "pi", "metric_type": "cpu", "threshold_value": 1, "comparison": "gt"}), "server_id"),
    ] {
        let answer = ask(&daemon, "POST", "alerts/thresholds", &body);
        assert_eq!(answer.status, 422, "{answer:?}");
        assert_eq!(answer.json()["detail"][0]["loc"], json!(["body", member]), "{answer:?}");
    }
    assert_eq!(ask(&daemon, "GET", "alerts/7", &Value::Null).status, 422);
    let answer = daemon.get("/api/v1/alerts");
    assert_eq!((answer.status, answer.header("www-authenticate")), (401, Some("Bearer")));
}

#[test]
fn an_alert_is_raised_once_told_everywhere_acknowledged_and_resolved() {
    let daemon = hub("");
    let (id, mut agent) = Agent::new(&daemon, "pi1");
    threshold(&daemon, &id, "cpu", 80.0);
    threshold(&daemon, &id, "cpu", 50.0);
    let mut events = alert_events(&daemon);
    let mut page = daemon.try_ws(&format!("/api/v1/ws/metrics/{id}"), &[("X-API-Key", watch::KEY)]).expect("a page");
    assert_eq!(page.json()["type"], "auth_success");
    agent.cpu(85.0);
    let event = events.json();
    assert_eq!((&event["type"], &event["data"]["server_name"]), (&json!("system.alert.created"), &json!("pi1")));
    let (first, second) = (event["data"]["alert"].clone(), next(&mut events, "created"));
    let high = if first["threshold"] == json!(80.0) { &first } else { &second };
    assert_eq!(high["message"], "CPU usage is 85.0%, which exceeds threshold of > 80.0%");
    let low = if first["threshold"] == json!(80.0) { &second } else { &first };
    for (alert, severity) in [(high, "warning"), (low, "critical")] {
        assert_eq!((&alert["type"], &alert["severity"]), (&json!("cpu"), &json!(severity)), "{alert}");
        assert_eq!((&alert["resolved"], &alert["current_value"]), (&json!(false), &json!(85.0)), "{alert}");
    }
    let pushed: Vec<Value> = (0..2).map(|_| page.until(|frame| frame["type"] == "alert")["data"].clone()).collect();
    assert_eq!(pushed, [first.clone(), second.clone()]);
    // The same again is no other alert, and neither flaps.
    agent.cpu(86.0);
    agent.cpu(60.0);
    let resolved = next(&mut events, "resolved");
    assert_eq!((&resolved["id"], &resolved["resolved"]), (&high["id"], &json!(true)));
    assert!(resolved["resolved_at"].is_string(), "{resolved}");

    let of = |filter: &str| get(&daemon, &format!("alerts?{filter}"));
    assert_eq!(of("status=active"), json!([low]));
    assert_eq!(of("resolved=true"), json!([resolved]));
    assert_eq!(of(&format!("server_id={id}")).as_array().map(Vec::len), Some(2));
    assert_eq!(of(&format!("server_id={UNKNOWN}")), json!([]));
    let (newest, oldest) = (of("limit=1"), of("skip=1"));
    assert!(text(&newest[0]["created_at"]) >= text(&oldest[0]["created_at"]));
    assert_eq!(get(&daemon, &format!("servers/{id}"))["health_status"], "critical");

    let path = format!("alerts/{}", text(&low["id"]));
    assert_eq!(get(&daemon, &path), *low);
    let seen = good(&daemon, "POST", &format!("{path}/acknowledge"), &Value::Null);
    assert!(seen["acknowledged_at"].is_string() && seen["resolved"] == false, "{seen}");
    assert_eq!(next(&mut events, "acknowledged"), seen);
    assert_eq!(good(&daemon, "POST", &format!("{path}/acknowledge"), &Value::Null), seen, "once is enough");
    let ended = good(&daemon, "POST", &format!("{path}/resolve"), &Value::Null);
    assert_eq!((&next(&mut events, "resolved"), &ended["resolved"]), (&ended, &json!(true)));
    assert_eq!(get(&daemon, &format!("servers/{id}"))["health_status"], "healthy");
    // Still exceeded, and silent until it has come back once.
    agent.cpu(60.0);
    agent.cpu(40.0);
    agent.cpu(60.0);
    let again = next(&mut events, "created");
    assert!(again["id"] != low["id"] && again["threshold"] == json!(50.0), "{again}");
}

#[test]
fn an_open_alert_survives_a_restart_and_is_not_raised_twice() {
    let daemon = hub("");
    let id = watch::server(&daemon, "pi1");
    let key = watch::agent_key(&daemon, &id);
    threshold(&daemon, &id, "memory", 80.0);
    threshold(&daemon, &id, "cpu", 80.0);
    let mut agent = Agent::connect(&daemon, &key);
    agent.sample(json!({"memory_percent": 99.0, "cpu_percent": 99.0}));
    let open = get(&daemon, "alerts?resolved=false");
    assert_eq!(open.as_array().map(Vec::len), Some(2), "{open}");
    let cpu = open.as_array().and_then(|open| open.iter().find(|alert| alert["type"] == "cpu")).expect("of the cpu");
    good(&daemon, "POST", &format!("alerts/{}/resolve", text(&cpu["id"])), &Value::Null);
    drop(agent);

    let daemon = hub_in(stop(daemon), "");
    let mut events = alert_events(&daemon);
    let mut agent = Agent::connect(&daemon, &key);
    agent.sample(json!({"memory_percent": 99.0, "cpu_percent": 99.0}));
    let still = get(&daemon, "alerts?resolved=false");
    assert_eq!((still.as_array().map(Vec::len), &still[0]["type"]), (Some(1), &json!("memory")), "{still}");
    assert!(open.as_array().is_some_and(|open| open.contains(&still[0])));
    agent.sample(json!({"memory_percent": 10.0, "cpu_percent": 10.0}));
    assert_eq!(next(&mut events, "resolved")["id"], still[0]["id"]);
    agent.sample(json!({"memory_percent": 10.0, "cpu_percent": 90.0}));
    assert_eq!(next(&mut events, "created")["type"], "cpu");
}

#[test]
fn an_agent_that_goes_and_what_its_machine_reports_are_watched_without_a_threshold() {
    let daemon = hub("[alerts]\noffline_after = \"100ms\"\nclock_after = \"0s\"\n");
    let (id, mut agent) = Agent::new(&daemon, "pi1");
    let mut events = alert_events(&daemon);
    agent.sample(json!({"disk_usage": [{"path": "/data", "total": 100, "used": 98, "free": 2, "percent": 98.0}],
                        "throttled": 1, "clock_synchronised": false}));
    let mut told: Vec<(String, String, String)> = (0..3)
        .map(|_| next(&mut events, "created"))
        .map(|alert| (text(&alert["cause"]), text(&alert["severity"]), text(&alert["type"])))
        .collect();
    told.sort();
    let expected =
        [("clock", "warning", "service"), ("disk_full", "critical", "disk"), ("under_voltage", "critical", "service")];
    assert_eq!(told, expected.map(|(a, b, c)| (a.to_owned(), b.to_owned(), c.to_owned())));
    drop(agent);
    let offline = next(&mut events, "created");
    assert_eq!(offline["message"], "The agent of pi1 has been offline for 100ms");
    assert_eq!((&offline["cause"], &offline["threshold"]), (&json!("offline"), &Value::Null), "{offline}");
    let key = watch::agent_key(&daemon, &id);
    let _agent = Agent::connect(&daemon, &key);
    assert_eq!(next(&mut events, "resolved")["id"], offline["id"]);
    // Gone with its server.
    assert_eq!(ask(&daemon, "DELETE", &format!("servers/{id}"), &Value::Null).status, 204);
    assert_eq!(get(&daemon, "alerts"), json!([]));
}

/// A web server for one purpose: answers each POST with the next of these statuses, and hands on what came.
fn webhook(statuses: &'static [u16]) -> (u16, Receiver<(String, Value)>) {
    serve(statuses, |stream| stream)
}

/// The same behind whatever `open` makes of a connection.
fn serve<S: Read + Write>(
    statuses: &'static [u16],
    open: impl Fn(TcpStream) -> S + Send + 'static,
) -> (u16, Receiver<(String, Value)>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let (sender, posts) = channel();
    std::thread::spawn(move || {
        for (stream, status) in listener.incoming().zip(statuses) {
            let stream: TcpStream = stream.expect("a connection");
            stream.set_read_timeout(Some(LIMIT)).expect("a limit");
            let mut stream = open(stream);
            let mut bytes = Vec::new();
            let mut buf = [0; 4096];
            let (head, body) = loop {
                // A client that does not trust us ends the handshake.
                let Ok(length @ 1..) = stream.read(&mut buf) else { break Default::default() };
                bytes.extend_from_slice(&buf[..length]);
                let text = String::from_utf8_lossy(&bytes);
                let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
                let lower = head.to_ascii_lowercase();
                let expected = lower.lines().find_map(|line| line.strip_prefix("content-length: ")).expect("a length");
                if body.len() >= expected.parse().expect("a number") {
                    break (head.to_owned(), body.to_owned());
                }
            };
            write!(stream, "HTTP/1.1 {status} Said\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                .expect("answered");
            let _ = sender.send((head, serde_json::from_str(&body).expect("JSON")));
        }
    });
    (port, posts)
}

#[test]
fn a_webhook_gets_every_change_and_is_asked_again_where_that_may_help() {
    let (port, posts) = webhook(&[503, 200, 200, 404, 204]);
    let daemon = hub(&format!("[alerts]\nwebhook = \"http://127.0.0.1:{port}/hooks/s3cret/?to=me#x\"\n"));
    let (id, mut agent) = Agent::new(&daemon, "pi1");
    threshold(&daemon, &id, "cpu", 80.0);
    let mut events = alert_events(&daemon);
    let post = || posts.recv_timeout(LIMIT).expect("a post");
    agent.cpu(85.0);
    let event = events.json();
    let (head, body) = post();
    assert!(head.starts_with("POST /hooks/s3cret/?to=me HTTP/1.1\r\n"), "{head}");
    assert!(head.contains(&format!("Host: 127.0.0.1:{port}\r\n")) && head.contains("Content-Type: application/json"));
    assert_eq!(body, event, "as on /ws");
    assert_eq!(post().1, event, "once more after the 503");
    agent.cpu(1.0);
    assert_eq!(post().1["type"], "system.alert.resolved");
    agent.cpu(85.0);
    assert_eq!(post().1["type"], "system.alert.created");
    daemon.wait_for_log("it answers 404");
    agent.cpu(1.0);
    assert_eq!(post().1["type"], "system.alert.resolved", "a 404 is final");
    assert!(!daemon.log().contains("s3cret"), "{}", daemon.log());
}

#[test]
#[cfg_attr(not(feature = "tls"), ignore = "needs the feature tls")]
fn a_webhook_over_tls_has_to_be_trusted() {
    use rustls::pki_types::PrivateKeyDer;
    use rustls::pki_types::pem::PemObject;
    if !robust::tls::has_openssl() {
        return;
    }
    let dir = TempDir::new();
    let (cert, key) = robust::tls::certificate(&dir, "hook");
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![robust::tls::der(&cert)], PrivateKeyDer::from_pem_file(&key).expect("a key"))
        .expect("a certificate");
    let config = std::sync::Arc::new(config);
    let (port, posts) = serve(&[200; 8], move |stream| {
        let connection = rustls::ServerConnection::new(std::sync::Arc::clone(&config)).expect("a server");
        rustls::StreamOwned::new(connection, stream)
    });
    let line = format!("[alerts]\nwebhook = \"https://localhost:{port}/\"\n");
    let trusting = hub(&format!("{line}webhook_ca = \"{}\"\n", cert.display()));
    let (id, mut agent) = Agent::new(&trusting, "pi1");
    threshold(&trusting, &id, "cpu", 80.0);
    agent.cpu(85.0);
    assert_eq!(posts.recv_timeout(LIMIT).expect("a post").1["data"]["server_name"], "pi1");
    let doubting = hub(&format!("log_level = \"debug\"\n{line}"));
    let (id, mut agent) = Agent::new(&doubting, "pi2");
    threshold(&doubting, &id, "cpu", 80.0);
    agent.cpu(85.0);
    doubting.wait_for_log(&format!("alerts.webhook at localhost:{port}: TLS with"));
    assert!(posts.try_recv().is_err());
}

fn script(dir: &TempDir, name: &str, body: &str) -> String {
    let path = dir.file(name, &format!("#!/bin/sh\n{body}\n"));
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("executable");
    path.display().to_string()
}

/// A pipe with a name, and what is written into it, one text per writer.
fn fifo(dir: &TempDir) -> (String, Receiver<String>) {
    let path = dir.path().join("fifo");
    assert!(run(Command::new("mkfifo").arg(&path)).status.success());
    let (sender, texts) = channel();
    let name = path.display().to_string();
    std::thread::spawn(move || {
        while let Ok(text) = std::fs::read_to_string(&path) {
            if sender.send(text).is_err() {
                return;
            }
        }
    });
    (name, texts)
}

#[test]
fn a_command_gets_its_words_and_the_alert_on_its_stdin_and_no_shell() {
    let dir = TempDir::new();
    let (pipe, texts) = fifo(&dir);
    let path = script(&dir, "notify", &format!("{{ printf '%s\\n' \"$@\"; cat; env; }} > '{pipe}'"));
    let words = json!([path, "{server}", "--what={type}/{severity}: {message}", "$(id) {change} {value} {threshold}"]);
    let daemon = hub_in(dir, &format!("[alerts]\ncommand = {words}\n"));
    let (id, mut agent) = Agent::new(&daemon, "-rf $HOME");
    threshold(&daemon, &id, "cpu", 80.0);
    let mut events = alert_events(&daemon);
    agent.cpu(85.0);
    let text = texts.recv_timeout(LIMIT).expect("the command's words");
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "_rf $HOME", "a name is no option");
    assert_eq!(lines[1], "--what=cpu/warning: CPU usage is 85.0%, which exceeds threshold of > 80.0%");
    assert_eq!(lines[2], "$(id) created 85 80");
    let rest = lines[3..].join("\n");
    let event: Value = serde_json::Deserializer::from_str(&rest).into_iter().next().expect("JSON").expect("JSON");
    assert_eq!(event, events.json());
    assert!(rest.contains("PATH=/usr/local/sbin") && !rest.contains("API_KEY"), "{rest}");
}

#[test]
fn a_command_that_hangs_is_ended_with_what_it_started_and_one_that_fails_is_named() {
    let dir = TempDir::new();
    let (pipe, texts) = fifo(&dir);
    let hang = script(&dir, "hang", &format!("sleep 600 & echo $! > '{pipe}'; wait"));
    let daemon = hub_in(dir, &format!("[alerts]\ncommand = [\"{hang}\"]\ncommand_timeout = \"300ms\"\n"));
    let (id, mut agent) = Agent::new(&daemon, "pi1");
    threshold(&daemon, &id, "cpu", 80.0);
    agent.cpu(85.0);
    let child: i32 = texts.recv_timeout(LIMIT).expect("a process").trim().parse().expect("its number");
    daemon.wait_for_log("did not end within 300ms");
    wait_until_gone(child);
    drop(agent);
    let dir = stop(daemon);
    let fails = script(&dir, "fails", "echo no route to pager >&2; exit 3");
    let daemon = hub_in(dir, &format!("[alerts]\ncommand = [\"{fails}\"]\n"));
    let (id, mut agent) = Agent::new(&daemon, "pi2");
    threshold(&daemon, &id, "cpu", 80.0);
    agent.cpu(85.0);
    daemon.wait_for_log("exit status: 3: no route to pager");
}

/// Waits until a process that was killed is no more.
fn wait_until_gone(pid: i32) {
    use rustix::process::{Pid, PidfdFlags, pidfd_open};
    let Ok(process) = pidfd_open(Pid::from_raw(pid).expect("a pid"), PidfdFlags::empty()) else { return };
    let mut fds = [rustix::event::PollFd::new(&process, rustix::event::PollFlags::IN)];
    let limit = rustix::event::Timespec { tv_sec: LIMIT.as_secs() as i64, tv_nsec: 0 };
    assert_eq!(rustix::event::poll(&mut fds, Some(&limit)), Ok(1), "process {pid} is still there");
}

/// `unshare` gives the hub a small disk of its own, seen from here below `/proc/PID/root`.
#[test]
fn on_a_full_disk_alerts_work_from_memory_and_are_written_when_there_is_room() {
    let own_mounts = ["-m", "sh", "-c", "mount -t tmpfs none /mnt"];
    if !Command::new("unshare").args(own_mounts).output().is_ok_and(|output| output.status.success()) {
        common::skipped("no file system can be mounted here");
        return;
    }
    let dir = TempDir::new();
    let state = dir.path().join("state");
    std::fs::create_dir_all(&state).expect("a directory");
    let file = dir.file("pinwire.toml", "[hub]\nown_server = false\n");
    let script = "mount -t tmpfs -o size=2m none \"$2\" && exec \"$1\" serve --listen 127.0.0.1:0 --gpio sim \
                  --config \"$3\" --state-dir \"$2\"";
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-c", script, "sh"]).arg(common::pinwire().get_program()).arg(&state).arg(&file);
    command.env_remove("PORT").env("API_KEY", watch::KEY);
    let mut daemon = common::Daemon::launch(dir, command);
    let inside = PathBuf::from(format!("/proc/{}/root{}", daemon.pid(), state.display()));
    let id = watch::server(&daemon, "pi1");
    let mut agent = Agent::connect(&daemon, &watch::agent_key(&daemon, &id));
    threshold(&daemon, &id, "cpu", 80.0);
    let mut events = alert_events(&daemon);
    let fill = inside.join("fill");
    assert!(std::fs::write(&fill, vec![b'x'; 4 << 20]).is_err(), "the disk is full now");
    agent.cpu(85.0);
    assert_eq!(next(&mut events, "created")["type"], "cpu");
    let store = next(&mut events, "created");
    assert_eq!((&store["cause"], &store["severity"]), (&json!("store"), &json!("critical")), "{store}");
    assert_eq!(store["server_id"], "00000000-0000-0000-0000-000000000000", "the hub is no server");
    let open = get(&daemon, "alerts?status=active");
    assert_eq!(open.as_array().map(Vec::len), Some(2), "{open}");
    let path = format!("alerts/{}/acknowledge", text(&open[1]["id"]));
    assert!(good(&daemon, "POST", &path, &Value::Null)["acknowledged_at"].is_string());
    next(&mut events, "acknowledged");
    let body = json!({"server_id": id, "metric_type": "disk", "threshold_value": 1, "comparison": "gt"});
    let refused = ask(&daemon, "POST", "alerts/thresholds", &body);
    assert!(matches!(refused.status, 503 | 507), "{refused:?}");
    std::fs::remove_file(&fill).expect("removed");
    let made = ask(&daemon, "POST", "alerts/thresholds", &body);
    assert_eq!(made.status, 201, "{made:?}");
    assert_eq!(next(&mut events, "resolved")["id"], store["id"]);
    assert!(daemon.stop().success());
}

#[test]
fn wrong_settings_are_named_and_no_url_is_repeated() {
    for (line, parts) in [
        ("webhook = \"ftp://s3cret\"", vec!["alerts.webhook", "https://hooks.example"]),
        ("webhook = \"https://me:s3cret@host/\"", vec!["alerts.webhook", "no user or password"]),
        ("command = [\"notify\"]", vec!["alerts.command", "absolute path"]),
        ("command = [\"/bin/true\", \"{who}\"]", vec!["alerts.command", "{who} is not known", "{severity}"]),
        ("disk_warning = 98", vec!["alerts.disk_warning", "alerts.disk_critical"]),
        ("disk_critical = 0.5", vec!["alerts.disk_critical", "from 1 to 100"]),
        ("offline_after = \"25h\"", vec!["alerts.offline_after", "24h"]),
        ("offine = true", vec!["alerts.offine", "unknown key"]),
    ] {
        let dir = TempDir::new();
        let file = dir.file("pinwire.toml", &format!("[alerts]\n{line}\n"));
        let output = run(common::pinwire().args(["check-config", "--config"]).arg(&file));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains("pinwire.toml:2"), "{line}: {said}");
        assert!(parts.iter().all(|part| said.contains(part)) && !said.contains("s3cret"), "{line}: {said}");
    }
}
