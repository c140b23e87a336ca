//! The program as people use it: its commands as clients of a daemon, its exit codes, and its errors in one line.

mod common;

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::process::{Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};

use common::{Daemon, LIMIT, TempDir, pinwire, run};
use serde_json::{Value, json};

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

/// It ended with this code and one line on stderr that has all these parts.
#[track_caller]
fn assert_refusal(output: &Output, code: i32, parts: &[&str]) {
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{error}");
    assert!(error.starts_with("pinwire: ") && error.ends_with('\n') && error.lines().count() == 1, "{error}");
    for part in parts {
        assert!(error.contains(part), "{part:?} is missing in: {error}");
    }
    assert_eq!(text(&output.stdout), "");
}

/// Bad usage, as the command line's parser tells it.
#[track_caller]
fn assert_usage(output: &Output, part: &str) {
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert!(error.contains(part) && !error.contains("panicked"), "{part:?} is missing in: {error}");
}

fn serve(flags: &[&str]) -> Output {
    run(pinwire().args(["serve", "--gpio", "sim"]).args(flags))
}

/// An address where nobody listens.
fn nobody() -> String {
    let free = TcpListener::bind("127.0.0.1:0").expect("a port");
    format!("ws://{}", free.local_addr().expect("an address"))
}

fn lines(pipe: impl std::io::Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

#[test]
fn call_prints_the_answer_and_its_exit_code_is_the_answer_s_success() {
    let daemon = Daemon::start(&[]);
    let update = r#"{"pins":{"GPIO17":{"io":"OUTPUT","state":1}}}"#;
    let output = run(daemon.client("call").args(["UPDATE_PIN_CONFIGURATIONS", update]));
    assert_eq!((output.status.code(), text(&output.stderr).as_str()), (Some(0), ""));
    assert_eq!(
        text(&output.stdout),
        "{\"action\":\"UPDATE_PIN_CONFIGURATIONS\",\"success\":true,\"data\":\"Pin configurations updated\",\"error\":null}\n"
    );
    let output = run(daemon.client("call").args(["READ_PIN_CONFIGURATIONS", r#"{"pins":["GPIO17"]}"#]));
    assert!(text(&output.stdout).contains(r#""GPIO17":{"io":"OUTPUT","state":1.0,"pull":"FLOATING"}"#));
    // A failure is an answer: it is printed, and only the exit code says so besides.
    let output = run(daemon.client("call").arg("NO_SUCH_ACTION"));
    assert_eq!((output.status.code(), text(&output.stderr).as_str()), (Some(1), ""));
    let answer: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(answer["error"], "Received message with invalid 'action' field");
    assert_refusal(&run(daemon.client("call").args(["READ_MEMORY", "{"])), 1, &["the parameters are not JSON"]);
    let http = format!("http://{}", daemon.addr);
    assert!(run(pinwire().args(["call", "--url", &http, "READ_UPTIME"])).status.success());
}

#[test]
fn clients_say_in_one_line_what_is_wrong() {
    let url = nobody();
    for command in [&["call", "READ_MEMORY"][..], &["watch"], &["publish", "door"]] {
        let output = run(pinwire().args(command).args(["--url", &url]));
        assert_refusal(&output, 1, &["cannot connect to 127.0.0.1:", "is the daemon running?"]);
    }
    for bad in ["ftp://127.0.0.1", "127.0.0.1:9000", "ws://", "ws:///x"] {
        assert_usage(&run(pinwire().args(["call", "READ_MEMORY", "--url", bad])), "--url");
    }
    for bad in ["ws://exa mple", "ws://127.0.0.1:99999", "ws://[::1", "http://:9000"] {
        let output = run(pinwire().args(["call", "READ_MEMORY", "--url", bad]));
        assert_refusal(&output, 1, &["is not a URL"]);
    }
    let missing = ["call", "READ_MEMORY", "--url", &url, "--api-key-file", "/no/such/key"];
    assert_refusal(&run(pinwire().args(missing)), 1, &["API key file", "/no/such/key"]);
    // Somebody is there who never answers.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("ws://{}", silent.local_addr().expect("an address"));
    for command in [&["call", "READ_MEMORY"][..], &["watch"], &["publish", "door"]] {
        let output = run(pinwire().args(command).args(["--url", &url, "--timeout", "100ms"]));
        assert_refusal(&output, 1, &["no answer from 127.0.0.1:", "100ms"]);
    }
}

#[test]
fn bad_usage_is_told_with_exit_code_2() {
    for (words, part) in [
        (&["dance"][..], "dance"),
        (&["--no-such-flag"], "--no-such-flag"),
        (&["call"], "ACTION"),
        (&["publish"], "EVENT"),
        (&["watch", "--count", "0"], "--count"),
        (&["serve", "--gpio", "magic"], "--gpio"),
        (&["doctor", "--gpio", "magic"], "--gpio"),
        (&["safe", "--listen", ":0"], "--listen"),
        (&["call", "A", "--timeout", "10"], "--timeout"),
    ] {
        assert_usage(&run(pinwire().args(words)), part);
    }
    for command in ["serve", "call", "watch", "publish", "check-config", "safe", "doctor"] {
        let output = run(pinwire().args([command, "-h"]));
        assert!(output.status.success() && text(&output.stdout).contains("Usage:"), "{command}");
    }
}

#[test]
fn watch_prints_events_as_they_happen_and_stops_after_its_count() {
    let daemon = Daemon::start(&[]);
    let mut command = daemon.client("watch");
    command.args(["gpio.**", "door", "--count", "3"]);
    let mut watch = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts");
    let (events, said) = (lines(watch.stdout.take().expect("piped")), lines(watch.stderr.take().expect("piped")));
    assert_eq!(said.recv_timeout(LIMIT).expect("ready"), "watching gpio.** door");
    let mut ws = daemon.ws("/");
    for (pin, level) in [(4, "high"), (5, "high")] {
        ws.ask(&json!({"action": "SIMULATE_INPUT", "params": {"pin": pin, "level": level}}).to_string());
        // Each is printed before the next one happens.
        let line = events.recv_timeout(LIMIT).expect("an event");
        let event: Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!((&event["topic"], &event["data"]["pin"]), (&json!("gpio.state.changed"), &json!(pin)));
    }
    for (event, data) in [("window", "not asked for"), ("door", "open")] {
        assert!(run(daemon.client("publish").args([event, data])).status.success());
    }
    let event: Value = serde_json::from_str(&events.recv_timeout(LIMIT).expect("an event")).expect("JSON");
    assert_eq!((&event["topic"], &event["data"]), (&json!("door"), &json!("open")));
    assert!(watch.wait().expect("its end").success());
    assert!(events.recv_timeout(LIMIT).is_err(), "no more");
}

#[test]
fn watch_without_patterns_sees_everything_until_the_daemon_goes() {
    let mut daemon = Daemon::start(&[]);
    let mut watch = daemon.client("watch").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts");
    let (events, said) = (lines(watch.stdout.take().expect("piped")), lines(watch.stderr.take().expect("piped")));
    assert_eq!(said.recv_timeout(LIMIT).expect("ready"), "watching **");
    assert!(daemon.stop().success());
    assert!(events.recv_timeout(LIMIT).expect("an event").contains("\"status\":\"stopping\""));
    let error = said.recv_timeout(LIMIT).expect("an error");
    assert!(error.starts_with("pinwire: the daemon closed the connection: 1001"), "{error}");
    assert_eq!(watch.wait().expect("its end").code(), Some(1));
}

#[test]
fn publish_tells_what_became_of_it_to_who_asks() {
    let daemon = Daemon::start(&[]);
    let output = run(daemon.client("publish").args(["door", "open", "--ack"]));
    let said: serde_json::Value = serde_json::from_slice(&output.stdout).expect("one JSON object");
    assert!(said["status"] == "accepted" && said["offset"].is_u64() && output.status.success(), "{output:?}");
    let silent = run(daemon.client("publish").args(["door", "open"]));
    assert!(silent.stdout.is_empty() && silent.status.success(), "{silent:?}");
}

#[test]
fn publish_takes_its_data_from_the_line_from_standard_input_or_none() {
    let daemon = Daemon::start(&[]);
    let mut reader = daemon.ws("/subscribe?clientName=reader");
    for event in ["door", "-5"] {
        reader.send(&json!({"action": "subscribe", "event": event}).to_string());
    }
    reader.sync();
    let output = run(daemon.client("publish").args(["door", "open \"wide\""]));
    assert_eq!((output.status.code(), output.stdout, output.stderr), (Some(0), vec![], vec![]));
    assert_eq!(reader.json()["data"], "open \"wide\"");
    assert!(run(daemon.client("publish").args(["--name", "the door", "door"])).status.success());
    assert_eq!(reader.json()["data"], "");
    let mut publish = daemon.client("publish").args(["door", "-"]).stdin(Stdio::piped()).spawn().expect("starts");
    publish.stdin.take().expect("piped").write_all("line 1\nline 2 ä\n".as_bytes()).expect("written");
    assert!(publish.wait().expect("its end").success());
    assert_eq!(reader.json()["data"], "line 1\nline 2 ä\n");
    let output = run(daemon.client("publish").args(["gpio.state.changed", "lie"]));
    assert_refusal(&output, 1, &["the daemon answered 400", "the daemon's own"]);
}

#[test]
fn clients_show_the_key_from_a_file_or_the_environment() {
    let dir = TempDir::new();
    let (right, wrong) = (dir.file("right", " secret \n"), dir.file("wrong", "wrong\n"));
    let key = right.clone();
    let daemon = Daemon::start_in(dir, |command| {
        command.arg("--api-key-file").arg(key);
    });
    let call = |prepare: &dyn Fn(&mut Command) -> &mut Command| {
        let mut command = daemon.client("call");
        command.arg("READ_MEMORY");
        prepare(&mut command);
        run(&mut command)
    };
    assert!(call(&|c| c.arg("--api-key-file").arg(&right)).status.success());
    assert!(call(&|c| c.env("PINWIRE_API_KEY", "secret")).status.success());
    let file_first = call(&|c| c.env("PINWIRE_API_KEY", "wrong").arg("--api-key-file").arg(&right));
    assert!(file_first.status.success());
    assert_refusal(&call(&|c| c.arg("--api-key-file").arg(&wrong)), 1, &["401", "Invalid API Key"]);
    assert_refusal(&call(&|c| c), 1, &["--api-key-file", "PINWIRE_API_KEY"]);
    let output = run(daemon.client("publish").arg("door"));
    assert_refusal(&output, 1, &["401", "Invalid API Key"]);
    assert_refusal(&run(&mut daemon.client("watch")), 1, &["--api-key-file", "PINWIRE_API_KEY"]);
    assert!(run(daemon.client("publish").arg("door").env("PINWIRE_API_KEY", "secret")).status.success());
}

#[test]
#[cfg_attr(not(feature = "tls"), ignore = "needs the feature tls")]
fn check_config_says_what_it_comes_to_and_starts_nothing() {
    let dir = TempDir::new();
    let good = dir.file("good.toml", "listen = [\"127.0.0.1:4000\", \"[::1]:4001\"]\n[gpio]\nbackend = \"sim\"\n");
    let output = run(pinwire().arg("check-config").arg("--config").arg(&good));
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let said = text(&output.stdout);
    for part in ["127.0.0.1:4000", "[::1]:4001", "auth none", "tls off"] {
        assert!(said.contains(part) && said.lines().count() == 1, "{part:?} is missing in: {said}");
    }
    let bad = dir.file("bad.toml", "node_id = \"x\"\n\n[session]\nmesage_bytes = 5\n");
    let bad = bad.display().to_string();
    let output = run(pinwire().args(["check-config", "--config", &bad]));
    assert_refusal(&output, 2, &[&format!("{bad}:4"), "mesage_bytes"]);
    let output = run(pinwire().args(["check-config", "--config", "/no/such/file"]));
    assert_refusal(&output, 2, &["/no/such/file"]);
    let output = run(pinwire().args(["check-config", "--tls-cert", &bad, "--tls-key", &bad]));
    assert_refusal(&output, 2, &[&bad]);
    assert_refusal(&run(pinwire().args(["check-config", "--listen", "0.0.0.0:0"])), 2, &["--auth none"]);
}

#[test]
fn doctor_says_which_backend_and_fails_where_it_is_not_what_was_meant() {
    let dir = TempDir::new();
    let file =
        dir.file("pinwire.toml", "listen = \":1\"\n[gpio]\nbackend = \"sim\"\nallow = [0]\n").display().to_string();
    let output = run(pinwire().args(["doctor", "--listen", "127.0.0.1:0", "--config", &file]));
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stdout));
    let told = text(&output.stdout);
    assert!(told.contains("\nok       gpio     backend 'sim': "), "{told}");
    assert!(told.contains("note     config ") && told.contains("gpio.deny"), "{told}");

    let findings = |backend: &str| {
        let output = run(pinwire().args(["doctor", "--json", "--listen", "127.0.0.1:0", "--gpio", backend]));
        assert_eq!((text(&output.stdout).lines().count(), text(&output.stderr)), (1, String::new()));
        let gpio = serde_json::from_slice::<Value>(&output.stdout).expect("JSON")["gpio"].clone();
        let found = serde_json::from_slice::<Value>(&output.stdout).expect("JSON")["findings"].clone();
        let all = found.as_array().expect("a list");
        let no_problem = |part| !all.iter().any(|finding| finding["part"] == part && finding["level"] == "problem");
        assert_eq!(gpio["ok"], no_problem("gpio"), "{found}");
        assert!(gpio["ok"] == true || output.status.code() == Some(1), "{found}");
        assert!(gpio["why"].as_str().is_some_and(|why| !why.is_empty()), "{gpio}");
        gpio
    };
    let sim = findings("sim");
    assert_eq!((&sim["ok"], &sim["backend"], &sim["simulated"]), (&json!(true), &json!("sim"), &json!(true)));
    // What these find depends on the machine; that they say it truly does not.
    let auto = findings("auto");
    assert_eq!(auto["ok"], auto["simulated"] == false, "{auto}");
    for backend in ["cdev", "sysfs"] {
        let found = findings(backend);
        let expected = if found["ok"] == true { json!(backend) } else { Value::Null };
        assert_eq!((&found["backend"], &found["simulated"]), (&expected, &json!(false)), "{found}");
    }
}

#[test]
fn safe_needs_nothing_that_only_serve_was_told() {
    let dir = TempDir::new();
    // serve has its key and its state directory from the command line; the key file is long gone.
    let file = dir.file(
        "pinwire.toml",
        "listen = \":9000\"\nauth.api_key_file = \"/no/such/key\"\n[gpio.pins.pump]\npin = 17\nmode = \"output\"\n\
         persist = true\nsafe = \"input\"\n",
    );
    let output = run(pinwire().args(["safe", "--gpio", "sim", "--config"]).arg(file));
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(text(&output.stdout).lines().any(|line| line == "pump: input"), "{}", text(&output.stdout));
}

#[test]
fn commands_beside_the_daemon_refuse_a_bad_file_as_serve_does() {
    let dir = TempDir::new();
    let file =
        dir.file("bad.toml", "[gpio.pins.door]\npin = 4\nmode = \"input\"\nsafe = \"low\"\n").display().to_string();
    for command in ["safe", "doctor", "serve", "check-config"] {
        let output = run(pinwire().args([command, "--config", &file]));
        assert_refusal(&output, 2, &[&format!("{file}:4: gpio.pins.door.safe: "), "gpio.pins.door.mode"]);
    }
}

#[test]
fn a_configuration_that_cannot_be_is_refused_with_file_line_and_key() {
    let dir = TempDir::new();
    for (content, line, part) in [
        ("[endrpi]\nerror_style = \"maybe\"\n", 2, "endrpi.error_style"),
        ("colour = \"red\"\n", 1, "colour"),
        ("[session]\n\nping_interval = 5\n", 3, "session.ping_interval"),
        ("[session]\nping_interval = \"soon\"\n", 2, "session.ping_interval"),
        ("node_id = \"x\n", 1, "TOML"),
        ("[gpio.pins]\nlamp = { pin = 99 }\n", 2, "lamp"),
    ] {
        let file = dir.file("pinwire.toml", content).display().to_string();
        assert_refusal(&serve(&["--config", &file]), 2, &[&format!("{file}:{line}"), part]);
    }
}

#[test]
#[cfg_attr(not(feature = "tls"), ignore = "needs the feature tls")]
fn serve_refuses_what_it_cannot_do_in_one_line_and_says_whether_trying_again_helps() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    assert_refusal(&serve(&["--listen", &address]), 1, &[&address, "in use"]);
    assert_refusal(&serve(&["--listen", "nonsense"]), 2, &["--listen", "nonsense"]);
    assert_refusal(&serve(&["--listen", "192.0.2.1:0", "--auth", "none"]), 1, &["192.0.2.1", "no such address"]);
    for listen in ["0.0.0.0:0", ":0", "[::]:0", "192.0.2.1:0"] {
        assert_refusal(&serve(&["--listen", listen]), 2, &["--listen", "--api-key-file", "--auth none"]);
    }
    assert_refusal(&serve(&["--auth", "key"]), 2, &["--auth", "--api-key-file"]);
    assert_refusal(&serve(&["--api-key-file", "/no/such/key"]), 2, &["--api-key-file", "/no/such/key"]);
    let dir = TempDir::new();
    let empty = dir.file("empty", "\n").display().to_string();
    assert_refusal(&serve(&["--api-key-file", &empty]), 2, &[&empty, "no key"]);
    let directory = dir.path().display().to_string();
    assert_refusal(&serve(&["--api-key-file", &directory]), 2, &[&directory]);
    assert_refusal(&serve(&["--tls-cert", &empty]), 2, &["--tls-key"]);
    assert_refusal(&serve(&["--tls-cert", &empty, "--tls-key", &empty]), 2, &[&empty]);
    let real = run(pinwire().args(["serve", "--listen", "127.0.0.1:0", "--gpio", "cdev"]));
    assert_refusal(&real, 1, &["cdev"]);
}

#[test]
#[cfg_attr(not(feature = "tls"), ignore = "needs the feature tls")]
fn picloud_s_environment_is_understood() {
    let environment = |variables: &[(&str, &str)], flags: &[&str]| {
        let mut command = pinwire();
        command.args(["serve", "--gpio", "sim"]).args(flags).envs(variables.iter().copied());
        command
    };
    let daemon = Daemon::launch(TempDir::new(), environment(&[("PORT", "0")], &[]));
    assert!(daemon.addr.ip().is_loopback(), "without a key nobody else is let in: {}", daemon.addr);
    assert_eq!(daemon.get("/pins").status, 200);
    drop(daemon);

    let variables = [("PORT", "0"), ("API_KEY", "secret"), ("ENABLE_INFO_SOCKET", "1")];
    let daemon = Daemon::launch(TempDir::new(), environment(&variables, &[]));
    assert!(daemon.addr.ip().is_unspecified(), "with a key on all interfaces, as PiCloud: {}", daemon.addr);
    let local = std::net::SocketAddr::from(([127, 0, 0, 1], daemon.addr.port()));
    let info = common::Ws::connect(local, "/info?apiKey=secret", &[]);
    assert_eq!(info.expect("let in").json()["subscriptions"], json!([]));
    let refused = common::Ws::connect(local, "/info", &[]);
    assert!(matches!(refused, Err(tungstenite::Error::Http(answer)) if answer.status() == 401));
    drop(daemon);

    let daemon = Daemon::launch(TempDir::new(), environment(&[("PORT", "1")], &["--listen", "127.0.0.1:0"]));
    assert_ne!(daemon.addr.port(), 1, "a flag beats the environment");
    drop(daemon);

    assert_refusal(&run(&mut environment(&[("PORT", "http")], &[])), 2, &["PORT", "http"]);
    assert_refusal(&run(&mut environment(&[("PORT", "0"), ("USE_TLS", "1")], &[])), 2, &["USE_TLS", "CERT_FILE"]);
    let files = [("PORT", "0"), ("USE_TLS", "1"), ("CERT_FILE", "/no/cert"), ("KEY_FILE", "/no/key")];
    assert_refusal(&run(&mut environment(&files, &[])), 2, &["/no/cert"]);
}

#[test]
fn every_listener_serves_the_same_and_says_so() {
    let flags = ["--listen", "127.0.0.1:0", "--listen", "[::1]:0"];
    let mut command = pinwire();
    command.args(["--gpio", "sim"]).args(flags); // serving is the default command
    // A machine without IPv6 has only the first kind.
    if TcpListener::bind("[::1]:0").is_err() {
        command = pinwire();
        command.args(["--gpio", "sim", "--listen", "127.0.0.1:0", "--listen", "127.0.0.1:0"]);
    }
    let daemon = Daemon::launch(TempDir::new(), command);
    assert_eq!(daemon.listening.len(), 2, "{:?}", daemon.listening);
    for line in &daemon.listening {
        let url = line.strip_prefix("listening on ").unwrap_or_else(|| panic!("{line}"));
        let output = run(pinwire().args(["call", "READ_UPTIME", "--url", url]));
        assert!(output.status.success(), "{line}: {}", text(&output.stderr));
    }
}
