//! Users: added beside a running daemon, logged in by REST, turned out when they are disabled or log out.

mod common;

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Instant;

use common::{Answer, Daemon, LIMIT, TempDir, pinwire, run};
use serde_json::{Value, json};

const PASSWORD: &str = "correct horse";
const JSON: (&str, &str) = ("Content-Type", "application/json");
const FORM: (&str, &str) = ("Content-Type", "application/x-www-form-urlencoded");

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// `pinwire user …` with a password on its standard input.
fn user_with(dir: &Path, words: &[&str], password: &str) -> Output {
    let mut command = pinwire();
    command.arg("user").args(words).arg("--state-dir").arg(dir.join("state"));
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts");
    // It may have refused before it read.
    let _ = writeln!(child.stdin.take().expect("piped"), "{password}");
    child.wait_with_output().expect("ends")
}

fn user(dir: &Path, words: &[&str]) -> String {
    let done = user_with(dir, words, PASSWORD);
    assert!(done.status.success(), "{done:?}");
    text(&done.stdout)
}

fn add(dir: &Path, name: &str, more: &[&str]) {
    let email = format!("{name}@example.org");
    user(dir, &[&["add", "--email", &email, "--username", name], more].concat());
}

/// A daemon that nobody decided about, with its state directory.
fn serve(dir: TempDir, config: &str) -> Daemon {
    let file = dir.file("pinwire.toml", config);
    let state = dir.path().join("state");
    Daemon::start_in(dir, |command| {
        command.arg("--config").arg(file).arg("--state-dir").arg(state);
    })
}

fn log_in(daemon: &Daemon, name: &str, password: &str) -> Answer {
    let body = json!({"username": name, "password": password}).to_string();
    daemon.http("POST", "/api/v1/auth/login", &[JSON], &body)
}

/// The tokens of a login that works.
fn tokens(daemon: &Daemon, name: &str) -> (String, String) {
    let answer = log_in(daemon, name, PASSWORD);
    assert_eq!(answer.status, 200, "{}", answer.body);
    let token = |member: &str| answer.json()[member].as_str().expect("a token").to_owned();
    (token("access_token"), token("refresh_token"))
}

fn with(daemon: &Daemon, method: &str, path: &str, token: &str, body: &str) -> Answer {
    let bearer = format!("Bearer {token}");
    daemon.http(method, &format!("/api/v1{path}"), &[("Authorization", &bearer), JSON], body)
}

fn refresh(daemon: &Daemon, token: &str) -> Answer {
    daemon.http("POST", "/api/v1/auth/refresh", &[JSON], &json!({"refresh_token": token}).to_string())
}

/// Waits until `/auth/me` answers so; another process's change is noticed within a second.
fn until_me(daemon: &Daemon, token: &str, wanted: u16) {
    let begun = Instant::now();
    while with(daemon, "GET", "/auth/me", token, "").status != wanted {
        assert!(begun.elapsed() < LIMIT, "not {wanted} within {LIMIT:?}");
    }
}

/// Waits until somebody can log in.
fn until_known(daemon: &Daemon, name: &str) -> (String, String) {
    let begun = Instant::now();
    while log_in(daemon, name, PASSWORD).status != 200 {
        assert!(begun.elapsed() < LIMIT, "'{name}' is not known within {LIMIT:?}");
    }
    tokens(daemon, name)
}

#[test]
fn a_user_logs_in_with_address_or_name_by_form_or_json() {
    let dir = TempDir::new();
    add(dir.path(), "ann", &[]);
    let daemon = serve(dir, "");
    let form = |name: &str| {
        let body = format!("username={name}&password=correct+horse");
        daemon.http("POST", "/api/v1/auth/login", &[FORM], &body)
    };
    // As a browser's FormData sends it.
    let kind = ("Content-Type", "multipart/form-data; boundary=----WebKitFormBoundary7MA4YWxk");
    let part = |name: &str, value: &str| {
        format!(
            "------WebKitFormBoundary7MA4YWxk\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n"
        )
    };
    let parts = format!("{}{}", part("username", "ann"), part("password", PASSWORD));
    let multipart = |body: &str| daemon.http("POST", "/api/v1/auth/login", &[kind], body);
    let by_parts = multipart(&format!("{parts}------WebKitFormBoundary7MA4YWxk--\r\n"));
    for answer in [log_in(&daemon, "ann", PASSWORD), form("Ann%40Example.org"), form("ANN"), by_parts] {
        let body = answer.json();
        assert_eq!((answer.status, &body["token_type"]), (200, &json!("bearer")), "{body}");
        assert_eq!((&body["expires_in"], &body["user"]["role"]), (&json!(1800), &json!("admin")), "{body}");
        assert_eq!((&body["user"]["email"], &body["user"]["is_active"]), (&json!("ann@example.org"), &json!(true)));
        until_me(&daemon, body["access_token"].as_str().expect("a token"), 200);
    }
    // All that is missing is named at once.
    for answer in [multipart("no parts at all"), daemon.http("POST", "/api/v1/auth/login", &[FORM], "")] {
        let missing: Vec<_> = answer.json()["detail"].as_array().into_iter().flatten().cloned().collect();
        let missing: Vec<_> = missing.iter().map(|fault| fault["loc"][1].as_str()).collect();
        assert_eq!((answer.status, missing), (422, vec![Some("username"), Some("password")]), "{}", answer.body);
    }
    let (access, fresh) = tokens(&daemon, "ann");
    assert_eq!(with(&daemon, "GET", "/auth/profile", &access, "").json()["username"], "ann");
    let renamed = with(&daemon, "PUT", "/auth/me", &access, r#"{"full_name":"Ann B."}"#);
    assert_eq!((renamed.status, &renamed.json()["full_name"]), (200, &json!("Ann B.")));
    assert_eq!(with(&daemon, "GET", "/auth/me", &access, "").json()["full_name"], "Ann B.");
    // Each token is good for its own purpose only.
    assert_eq!(with(&daemon, "GET", "/auth/me", &fresh, "").status, 401);
    assert_eq!(refresh(&daemon, &access).status, 401);
    let renewed = refresh(&daemon, &fresh).json();
    assert_eq!((&renewed["token_type"], &renewed["expires_in"]), (&json!("bearer"), &json!(1800)));
    until_me(&daemon, renewed["access_token"].as_str().expect("a token"), 200);
    let log = daemon.log();
    assert!(!log.contains(PASSWORD) && !log.contains(&access) && !log.contains("argon2"), "{log}");
}

#[test]
fn unknown_and_wrong_are_told_the_same_and_who_goes_on_has_to_wait() {
    let dir = TempDir::new();
    add(dir.path(), "ann", &[]);
    let daemon = serve(dir, "");
    let (unknown, wrong) = (log_in(&daemon, "bob", PASSWORD), log_in(&daemon, "ann", "wrong horse"));
    assert_eq!((unknown.status, &unknown.body), (401, &wrong.body));
    for member in ["detail", "error", "message"] {
        assert_eq!(wrong.json()[member], "Incorrect email or password");
    }
    assert_eq!(wrong.header("www-authenticate"), Some("Bearer"));
    let slowed = (0..20).map(|_| log_in(&daemon, "ann", "wrong horse")).find(|answer| answer.status == 429);
    let slowed = slowed.expect("it has to wait");
    let seconds: u64 = slowed.header("retry-after").and_then(|text| text.parse().ok()).expect("seconds");
    assert!((1..=30).contains(&seconds), "{slowed:?}");
    // A token, which nobody guesses, is looked at all the same.
    let begun = Instant::now();
    let access = loop {
        let answer = log_in(&daemon, "ann", PASSWORD);
        if answer.status == 200 {
            break answer.json()["access_token"].as_str().expect("a token").to_owned();
        }
        assert!(begun.elapsed() < LIMIT, "{answer:?}");
    };
    assert_eq!(with(&daemon, "GET", "/auth/me", &access, "").status, 200);
}

#[test]
fn tokens_end_with_logout_password_and_user() {
    let dir = TempDir::new();
    let home = dir.path().to_owned();
    ["ann", "bob", "cid"].into_iter().for_each(|name| add(&home, name, &[]));
    let daemon = serve(dir, "");
    // A logout ends its own login, with all that stems from it, and no other.
    let (first, other) = (tokens(&daemon, "ann"), tokens(&daemon, "ann"));
    let next = refresh(&daemon, &first.1).json()["access_token"].as_str().expect("a token").to_owned();
    let out = with(&daemon, "POST", "/auth/logout", &first.0, "");
    assert_eq!((out.status, &out.json()["message"]), (200, &json!("Logged out successfully")));
    for token in [&first.0, &next] {
        let answer = with(&daemon, "GET", "/auth/me", token, "");
        assert_eq!((answer.status, &answer.json()["detail"]), (401, &json!("Could not validate credentials")));
    }
    assert_eq!(refresh(&daemon, &first.1).json()["detail"], "Invalid refresh token");
    assert_eq!(with(&daemon, "GET", "/auth/me", &other.0, "").status, 200);
    // A refresh token that is sent along ends its login too.
    let third = tokens(&daemon, "ann");
    let body = json!({"refresh_token": third.1}).to_string();
    assert_eq!(with(&daemon, "POST", "/auth/logout", &other.0, &body).status, 200);
    assert_eq!(with(&daemon, "GET", "/auth/me", &third.0, "").status, 401);

    // A changed password ends every login, also that which changed it.
    let (bob, again) = (tokens(&daemon, "bob"), tokens(&daemon, "bob"));
    let change = |current: &str, new: &str| {
        let body = json!({"current_password": current, "new_password": new, "new_password_confirm": new}).to_string();
        with(&daemon, "POST", "/auth/change-password", &bob.0, &body)
    };
    let wrong = change("wrong horse", "battery staple");
    assert_eq!((wrong.status, &wrong.json()["detail"]), (400, &json!("Current password is incorrect")));
    assert_eq!(change(PASSWORD, "short").status, 422);
    assert_eq!(change(PASSWORD, "battery staple").status, 200);
    for (access, fresh) in [&bob, &again] {
        assert_eq!(with(&daemon, "GET", "/auth/me", access, "").status, 401);
        assert_eq!(refresh(&daemon, fresh).status, 401);
    }
    assert_eq!(log_in(&daemon, "bob", PASSWORD).status, 401);
    let bob = log_in(&daemon, "bob", "battery staple").json()["access_token"].as_str().expect("a token").to_owned();
    // From outside: the command beside the daemon.
    user(&home, &["passwd", "bob"]);
    until_me(&daemon, &bob, 401);
    tokens(&daemon, "bob");

    let (cid, fresh) = tokens(&daemon, "cid");
    user(&home, &["disable", "cid"]);
    until_me(&daemon, &cid, 401);
    let answer = log_in(&daemon, "cid", PASSWORD);
    assert_eq!((answer.status, &answer.json()["detail"]), (401, &json!("User account is disabled")));
    assert!(user(&home, &["list"]).lines().any(|line| line.starts_with("cid") && line.contains("disabled")));
    user(&home, &["enable", "cid@example.org"]);
    let begun = Instant::now();
    while log_in(&daemon, "cid", PASSWORD).status != 200 {
        assert!(begun.elapsed() < LIMIT);
    }
    assert_eq!(with(&daemon, "GET", "/auth/me", &cid, "").status, 401, "the earlier token stays void");
    let (cid, _) = tokens(&daemon, "cid");
    user(&home, &["remove", "cid"]);
    until_me(&daemon, &cid, 401);
    assert_eq!(refresh(&daemon, &fresh).json()["detail"], "User not found");
    assert_eq!(log_in(&daemon, "cid", PASSWORD).status, 401);
}

#[test]
fn a_role_is_changed_beside_the_daemon_and_who_was_in_with_the_old_one_is_out() {
    let dir = TempDir::new();
    let home = dir.path().to_owned();
    add(&home, "ann", &[]);
    add(&home, "bob", &["--role", "admin"]);
    let daemon = serve(dir, "");
    let (bob, fresh) = tokens(&daemon, "bob");
    let made = with(&daemon, "POST", "/servers", &bob, r#"{"name": "pi1"}"#);
    assert_eq!(made.status, 201, "{}", made.body);
    let id = made.json()["id"].as_str().expect("an id").to_owned();
    let mut page = daemon.ws(&format!("/api/v1/ws/metrics/{id}"));
    let welcome = page.ask(&json!({"type": "auth", "token": bob}).to_string());
    assert_eq!(welcome["type"], "auth_success", "{welcome}");
    assert!(user(&home, &["role", "bob", "admin"]).contains("already"));
    page.sync();
    assert_eq!(with(&daemon, "GET", "/api-keys", &bob, "").status, 200, "nothing has changed");

    assert!(user(&home, &["role", "bob@example.org", "viewer"]).contains("viewer"));
    assert_eq!(page.closed(), (1008, "Password or role changed".to_owned()));
    until_me(&daemon, &bob, 401);
    assert_eq!(refresh(&daemon, &fresh).status, 401);
    let (bob, _) = tokens(&daemon, "bob");
    assert_eq!(with(&daemon, "GET", "/auth/me", &bob, "").json()["role"], "viewer");
    assert_eq!(with(&daemon, "POST", "/servers", &bob, r#"{"name": "pi2"}"#).status, 403);
    assert!(user(&home, &["list"]).lines().any(|line| line.starts_with("bob") && line.contains("viewer")));
}

#[test]
fn tokens_outlive_a_restart_and_so_does_a_logout() {
    let dir = TempDir::new();
    let home = dir.path().to_owned();
    add(&home, "ann", &[]);
    let mut daemon = serve(dir, "");
    let (stays, ended) = (tokens(&daemon, "ann"), tokens(&daemon, "ann"));
    assert_eq!(with(&daemon, "POST", "/auth/logout", &ended.0, "").status, 200);
    assert!(daemon.stop().success());
    let again = Daemon::start_in(TempDir::new(), |command: &mut Command| {
        command.arg("--state-dir").arg(home.join("state"));
    });
    assert_eq!(with(&again, "GET", "/auth/me", &stays.0, "").status, 200);
    assert_eq!(with(&again, "GET", "/auth/me", &ended.0, "").status, 401);
    assert_eq!(refresh(&again, &ended.1).status, 401);
}

#[test]
fn forged_tokens_are_refused() {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD as URL;
    let dir = TempDir::new();
    add(dir.path(), "ann", &[]);
    let daemon = serve(dir, "");
    let (access, _) = tokens(&daemon, "ann");
    let parts: Vec<&str> = access.split('.').collect();
    let claims: Value = serde_json::from_slice(&URL.decode(parts[1]).expect("base64url")).expect("JSON");
    for member in ["sub", "email", "exp", "type", "iat", "jti"] {
        assert!(!claims[member].is_null(), "{claims}");
    }
    let none = URL.encode(r#"{"alg":"none","typ":"JWT"}"#);
    let longer = URL.encode(json!({"exp": 9_999_999_999_u64, "sub": claims["sub"], "type": "access"}).to_string());
    let forged = [
        format!("{none}.{}.", parts[1]),
        format!("{none}.{}.{}", parts[1], parts[2]),
        format!("{}.{longer}.{}", parts[0], parts[2]),
        format!("{}.{}.", parts[0], parts[1]),
        access.to_uppercase(),
    ];
    for token in &forged {
        assert_eq!(with(&daemon, "GET", "/auth/me", token, "").status, 401, "{token}");
    }
    assert_eq!(with(&daemon, "GET", "/auth/me", &access, "").status, 200);
}

#[test]
fn the_first_user_closes_the_fleet_that_nobody_decided_about() {
    let dir = TempDir::new();
    let home = dir.path().to_owned();
    let daemon = serve(dir, "");
    assert_eq!(daemon.get("/api/v1/api-keys").status, 200);
    add(&home, "ann", &["--role", "admin"]);
    let begun = Instant::now();
    while daemon.get("/api/v1/api-keys").status != 401 {
        assert!(begun.elapsed() < LIMIT, "the fleet stays open");
    }
    let sample = daemon.http("POST", "/api/v1/metrics", &[JSON], r#"{"cpu_percent":1}"#);
    assert_eq!((sample.status, &sample.json()["detail"]), (401, &json!("Not authenticated")));
    // The pins' dialects know keys only, and there is none.
    assert_eq!(daemon.get("/pins").status, 200);
    let (access, _) = tokens(&daemon, "ann");
    assert_eq!(with(&daemon, "GET", "/api-keys", &access, "").status, 200);
    user(&home, &["remove", "ann"]);
    until_me(&daemon, &access, 401);
    assert_eq!(daemon.get("/api/v1/api-keys").status, 401, "the last one does not open it again");
}

#[test]
fn registration_is_closed_unless_it_is_opened() {
    let body = |name: &str| {
        json!({"email": format!("{name}@example.org"), "username": name, "password": PASSWORD,
               "password_confirm": PASSWORD, "role": "admin", "is_active": true})
        .to_string()
    };
    let register = |daemon: &Daemon, body: &str| daemon.http("POST", "/api/v1/auth/register", &[JSON], body);
    let closed = serve(TempDir::new(), "");
    let answer = register(&closed, &body("eve"));
    assert_eq!(answer.status, 403, "{}", answer.body);
    assert!(answer.json()["detail"].as_str().is_some_and(|text| text.contains("pinwire user add")));
    let open = serve(TempDir::new(), "[auth]\nopen_registration = true\n");
    let made = register(&open, &body("eve"));
    assert_eq!((made.status, &made.json()["user"]["role"]), (201, &json!("operator")), "{}", made.body);
    until_me(&open, made.json()["access_token"].as_str().expect("a token"), 200);
    assert_eq!(register(&open, &body("eve")).json()["detail"], "Email already registered");
    let other = body("eve").replace("eve@", "adam@");
    assert_eq!(register(&open, &other).json()["detail"], "Username already taken");
    assert_eq!(register(&open, "{}").status, 422);
    let slowed = (0..20).map(|n| register(&open, &body(&format!("n{n}")))).find(|answer| answer.status == 429);
    assert!(slowed.is_some_and(|answer| answer.header("retry-after").is_some()));
}

#[test]
fn the_commands_say_what_is_wrong() {
    let dir = TempDir::new();
    let home = dir.path();
    let refused = |words: &[&str], password: &str| {
        let output = user_with(home, words, password);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        text(&output.stderr)
    };
    let ann = ["add", "--email", "ann@example.org", "--username", "ann"];
    assert!(refused(&["list"], "").contains("pinwire key add"));
    assert!(refused(&ann, "short").contains("at least 8 characters"));
    assert!(user(home, &ann).contains("role admin"), "the first");
    add(home, "bob", &[]);
    assert!(user(home, &["list"]).lines().any(|line| line.starts_with("bob") && line.contains("operator")));
    assert!(refused(&ann, PASSWORD).contains("--email"));
    assert!(refused(&["add", "--email", "x@example.org", "--username", "ANN"], PASSWORD).contains("--username"));
    assert!(refused(&["disable", "nobody"], "").contains("pinwire user list"));
    let file = dir.file("password", "battery staple\n");
    let mut command = pinwire();
    command.args(["user", "passwd", "ann", "--password-file"]).arg(&file).arg("--state-dir").arg(home.join("state"));
    assert!(run(&mut command).status.success());
    let daemon = serve(dir, "");
    assert_eq!(log_in(&daemon, "ann", "battery staple").status, 200);
}

#[test]
fn a_hub_with_users_only_starts_in_key_mode() {
    let dir = TempDir::new();
    add(dir.path(), "ann", &[]);
    let daemon = serve(dir, "[auth]\nmode = \"key\"\n");
    let (access, _) = until_known(&daemon, "ann");
    assert_eq!(with(&daemon, "GET", "/api-keys", &access, "").status, 200);
    assert_eq!(daemon.get("/pins").status, 401);
}

#[test]
fn a_first_start_leaves_a_key_in_its_file_and_a_second_none() {
    use std::os::unix::fs::PermissionsExt;
    let dir = TempDir::new();
    let (home, file) = (dir.path().to_owned(), dir.path().join("state/admin.key"));
    let config = format!("[auth]\nfirst_key_file = {file:?}\n");
    let mut daemon = serve(dir, &config);
    let key = std::fs::read_to_string(&file).expect("the key");
    assert_eq!(std::fs::metadata(&file).expect("a file").permissions().mode() & 0o777, 0o600);
    let secret = key.trim().split('.').nth(1).expect("a secret");
    let log = daemon.log();
    assert!(log.contains("admin.key") && !log.contains(secret), "{log}");
    let shown = [("X-API-Key", key.trim())];
    assert_eq!(daemon.http("GET", "/pins", &shown, "").status, 200);
    assert_eq!(daemon.http("GET", "/api/v1/api-keys", &shown, "").status, 200);
    assert_eq!((daemon.get("/pins").status, daemon.get("/api/v1/api-keys").status), (401, 401));
    assert!(daemon.stop().success());
    // There is a key, so no other is made, whatever became of the file.
    std::fs::remove_file(&file).expect("removed");
    let start = |home: &Path| {
        let config = home.join("pinwire.toml");
        Daemon::start_in(TempDir::new(), |command| {
            command.arg("--config").arg(config).arg("--state-dir").arg(home.join("state"));
        })
    };
    let again = start(&home);
    assert!(!file.exists() && again.http("GET", "/pins", &shown, "").status == 200);
    drop(again);
    let id = key.trim().trim_start_matches("pw_").split('.').next().expect("an id").to_owned();
    let ended = run(pinwire().args(["key", "revoke", &id, "--state-dir"]).arg(home.join("state")));
    assert!(ended.status.success());
    let mut command = pinwire();
    command.args(["serve", "--listen", "127.0.0.1:0", "--gpio", "sim", "--config"]).arg(home.join("pinwire.toml"));
    let refused = run(command.arg("--state-dir").arg(home.join("state")));
    assert!(refused.status.code() == Some(2) && !file.exists(), "a revoked key is not made up for: {refused:?}");
}

#[test]
fn a_first_key_needs_a_place_of_its_own_and_a_store() {
    let dir = TempDir::new();
    let taken = dir.file("taken", "x");
    let start = |config: &str, state: bool| {
        let file = dir.file("pinwire.toml", config);
        let mut command = pinwire();
        command.args(["serve", "--listen", ":0", "--gpio", "sim", "--config"]).arg(file);
        if state {
            command.arg("--state-dir").arg(dir.path().join("state"));
        }
        let output = run(&mut command);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        text(&output.stderr)
    };
    let config = format!("[auth]\nfirst_key_file = {taken:?}\n");
    assert!(start(&config, true).contains("the file exists"));
    assert_eq!(std::fs::read_to_string(&taken).expect("still there"), "x");
    assert!(start(&config, false).contains("state_dir"));
}
