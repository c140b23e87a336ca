//! The API's description against the daemon it describes: every path, method and status in it is asked for, and
//! what comes back must be what is written there.

#[path = "openapi/api.rs"]
mod api;
mod common;
mod schema;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use api::Api;
use common::{Answer, Daemon, LIMIT, TempDir, pinwire, run};
use serde_json::Value;

const KEY: &str = "open-sesame";
const WITH_KEY: (&str, &str) = ("X-API-Key", KEY);
const JSON: (&str, &str) = ("Content-Type", "application/json");
const NAMED: (&str, &str) = ("X-API-Client-Name", "test");

/// A daemon on this root, with the key.
fn start(dir: TempDir, root: &Path, config: &str) -> Daemon {
    let key = dir.file("key", KEY);
    let file = dir.file("pinwire.toml", config);
    let state = dir.path().join("state");
    Daemon::start_in(dir, |command| {
        command.arg("--config").arg(file).arg("--root").arg(root).arg("--api-key-file").arg(key);
        command.arg("--state-dir").arg(state);
    })
}

/// A key that may run commands, and nothing of what is asked for here.
fn narrow_key(dir: &TempDir) -> String {
    let mut add = pinwire();
    add.args(["key", "add", "--name", "narrow", "--scope", "command", "--state-dir"]).arg(dir.path().join("state"));
    let made = run(&mut add);
    assert!(made.status.success(), "{made:?}");
    String::from_utf8(made.stdout).expect("text").trim().to_owned()
}

/// A Raspberry Pi with everything, the firmware's program included.
fn whole_pi() -> (Daemon, String) {
    const VCGENCMD: &str = "#!/bin/sh\ncase \"$1 $2\" in\n\"get_throttled \") echo throttled=0x50005;;\n\
        \"measure_clock arm\") echo 'frequency(48)=1800000000';;\n*) echo 'frequency(1)=250000496';;\nesac\n";
    let dir = TempDir::new();
    let text = dir.file("vcgencmd.sh", VCGENCMD);
    let program = dir.path().join("vcgencmd");
    // Another process makes the copy: a descriptor that is open for writing here would make the program "busy".
    let mut copy = Command::new("sh");
    copy.args(["-c", "cp \"$0\" \"$1\" && chmod 755 \"$1\""]).arg(&text).arg(&program);
    assert!(run(&mut copy).status.success());
    let config = format!("[telemetry]\nvcgencmd = \"{}\"\n", program.display());
    let narrow = if cfg!(feature = "hub") { narrow_key(&dir) } else { String::new() };
    (start(dir, &Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/pi4"), &config), narrow)
}

/// A request, and the documented status it leads to.
type Case = (&'static str, &'static str, &'static str, &'static [(&'static str, &'static str)], &'static str, u16);

/// What every documented path answers: method, documented path, real path, headers, body, status. GPIO22 is leased
/// by somebody else.
const CASES: &[Case] = &[
    ("GET", "/", "/", &[], "", 200),
    ("GET", "/", "/", &[("Accept", "text/html,*/*")], "", 200),
    ("HEAD", "/", "/", &[], "", 200),
    ("GET", "/health", "/health", &[], "", 200),
    ("HEAD", "/health", "/health", &[], "", 200),
    ("GET", "/ready", "/ready", &[], "", 200),
    ("HEAD", "/ready", "/ready", &[], "", 200),
    ("GET", "/docs", "/docs", &[], "", 200),
    ("GET", "/openapi.json", "/openapi.json", &[], "", 200),
    ("GET", "/asyncapi.yaml", "/asyncapi.yaml", &[], "", 200),
    ("GET", "/pins", "/pins", &[], "", 401),
    ("GET", "/pins", "/pins", &[WITH_KEY], "", 200),
    ("GET", "/pins/{id}", "/pins/GPIO17", &[], "", 401),
    ("GET", "/pins/{id}", "/pins/GPIO17", &[WITH_KEY], "", 200),
    ("GET", "/pins/{id}", "/pins/0", &[WITH_KEY], "", 200),
    ("GET", "/pins/{id}", "/pins/pin11", &[WITH_KEY], "", 200),
    ("GET", "/pins/{id}", "/pins/GPIO28", &[WITH_KEY], "", 404),
    ("PUT", "/pins/{id}", "/pins/GPIO17", &[JSON], r#"{"io":"OUTPUT","state":1}"#, 401),
    ("PUT", "/pins/{id}", "/pins/GPIO17", &[WITH_KEY, JSON], r#"{"io":"OUTPUT","state":1,"more":[]}"#, 200),
    ("GET", "/pins/{id}", "/pins/GPIO17", &[WITH_KEY], "", 200),
    ("PUT", "/pins/{id}", "/pins/GPIO17", &[WITH_KEY, JSON], r#"{"io":"INPUT","pull":"UP","state":null}"#, 200),
    ("PUT", "/pins/{id}", "/pins/GPIO17", &[WITH_KEY], r#"{"io":"OUTPUT","state":1}"#, 400),
    ("PUT", "/pins/{id}", "/pins/GPIO17", &[WITH_KEY, JSON], r#"{"io":"OUTPUT"}"#, 400),
    ("PUT", "/pins/{id}", "/pins/GPIO17", &[WITH_KEY, JSON], r#"{"io":"OUTPUT","state":2}"#, 400),
    ("PUT", "/pins/{id}", "/pins/GPIO2", &[WITH_KEY, JSON], r#"{"io":"INPUT","pull":"DOWN"}"#, 400),
    ("PUT", "/pins/{id}", "/pins/GPIO0", &[WITH_KEY, JSON], r#"{"io":"OUTPUT","state":1}"#, 403),
    ("PUT", "/pins/{id}", "/pins/GPIO22", &[WITH_KEY, JSON], r#"{"io":"OUTPUT","state":1}"#, 409),
    ("PUT", "/pins/{id}", "/pins/GPIO28", &[WITH_KEY, JSON], r#"{"io":"OUTPUT","state":1}"#, 404),
    ("GET", "/lines", "/lines", &[], "", 401),
    ("GET", "/lines", "/lines", &[WITH_KEY], "", 200),
    ("GET", "/lines/{id}", "/lines/pin11", &[], "", 401),
    ("GET", "/lines/{id}", "/lines/pin11", &[WITH_KEY], "", 200),
    ("GET", "/lines/{id}", "/lines/GPIO28", &[WITH_KEY], "", 404),
    ("POST", "/pins/{id}/pulse", "/pins/GPIO17/pulse", &[JSON], "{}", 401),
    ("POST", "/pins/{id}/pulse", "/pins/GPIO17/pulse", &[WITH_KEY], r#"{"duration":"1ms"}"#, 400),
    ("POST", "/pins/{id}/pulse", "/pins/GPIO17/pulse", &[WITH_KEY, JSON], "[]", 400),
    ("POST", "/pins/{id}/pulse", "/pins/GPIO17/pulse", &[WITH_KEY, JSON], r#"{"duration":"25h"}"#, 400),
    ("POST", "/pins/{id}/pulse", "/pins/GPIO17/pulse", &[WITH_KEY, JSON], r#"{"duration":"1ms"}"#, 200),
    ("POST", "/pins/{id}/pulse", "/pins/GPIO0/pulse", &[WITH_KEY, JSON], r#"{"duration":"1ms"}"#, 403),
    ("POST", "/pins/{id}/pulse", "/pins/GPIO22/pulse", &[WITH_KEY, JSON], r#"{"duration":"1ms"}"#, 409),
    ("POST", "/pins/{id}/pulse", "/pins/GPIO28/pulse", &[WITH_KEY, JSON], r#"{"duration":"1ms"}"#, 404),
    ("POST", "/pins/{id}/blink", "/pins/GPIO17/blink", &[JSON], "{}", 401),
    ("POST", "/pins/{id}/blink", "/pins/GPIO17/blink", &[WITH_KEY, JSON], r#"{"on":1}"#, 400),
    ("POST", "/pins/{id}/blink", "/pins/GPIO17/blink", &[WITH_KEY, JSON], r#"{"on":1,"off":1}"#, 200),
    ("POST", "/pins/{id}/blink", "/pins/GPIO0/blink", &[WITH_KEY, JSON], r#"{"on":1,"off":1}"#, 403),
    ("POST", "/pins/{id}/blink", "/pins/GPIO22/blink", &[WITH_KEY, JSON], r#"{"on":1,"off":1}"#, 409),
    ("POST", "/pins/{id}/blink", "/pins/GPIO28/blink", &[WITH_KEY, JSON], r#"{"on":1,"off":1}"#, 404),
    ("POST", "/pins/{id}/pwm", "/pins/GPIO17/pwm", &[JSON], "{}", 401),
    ("POST", "/pins/{id}/pwm", "/pins/GPIO17/pwm", &[WITH_KEY, JSON], r#"{"frequency":0,"duty":0}"#, 400),
    ("POST", "/pins/{id}/pwm", "/pins/GPIO27/pwm", &[WITH_KEY, JSON], r#"{"frequency":9,"duty":0.5}"#, 200),
    ("GET", "/pins/{id}", "/pins/GPIO27", &[WITH_KEY], "", 200),
    ("GET", "/lines/{id}", "/lines/GPIO27", &[WITH_KEY], "", 200),
    ("POST", "/pins/{id}/pwm", "/pins/GPIO0/pwm", &[WITH_KEY, JSON], r#"{"frequency":9,"duty":0}"#, 403),
    ("POST", "/pins/{id}/pwm", "/pins/GPIO22/pwm", &[WITH_KEY, JSON], r#"{"frequency":9,"duty":0}"#, 409),
    ("POST", "/pins/{id}/pwm", "/pins/GPIO28/pwm", &[WITH_KEY, JSON], r#"{"frequency":9,"duty":0}"#, 404),
    ("POST", "/sequences", "/sequences", &[JSON], "{}", 401),
    ("POST", "/sequences", "/sequences", &[WITH_KEY, JSON], r#"{"steps":[]}"#, 400),
    ("POST", "/sequences", "/sequences", &[WITH_KEY, JSON], r#"{"steps":[{"at":0,"pins":{"17":1}}]}"#, 200),
    ("POST", "/sequences", "/sequences", &[WITH_KEY, JSON], r#"{"steps":[{"at":0,"pins":{"0":1}}]}"#, 403),
    ("POST", "/sequences", "/sequences", &[WITH_KEY, JSON], r#"{"steps":[{"at":0,"pins":{"22":1}}]}"#, 409),
    ("DELETE", "/sequences/{id}", "/sequences/none", &[], "", 401),
    ("DELETE", "/sequences/{id}", "/sequences/none", &[WITH_KEY], "", 404),
    ("GET", "/snapshot", "/snapshot", &[], "", 401),
    ("GET", "/snapshot", "/snapshot", &[WITH_KEY], "", 200),
    ("GET", "/presence", "/presence", &[], "", 401),
    ("GET", "/presence", "/presence", &[WITH_KEY], "", 200),
    ("POST", "/publish", "/publish", &[WITH_KEY, NAMED], r#"{"event":"door","data":"open"}"#, 201),
    ("POST", "/publish", "/publish?clientName=test", &[WITH_KEY], r#"{"Event":"door","data":null}"#, 201),
    ("POST", "/publish", "/publish", &[WITH_KEY, NAMED], r#"{"event":"","data":"open"}"#, 400),
    ("POST", "/publish", "/publish", &[WITH_KEY, NAMED], r#"{"event":"gpio.mine"}"#, 400),
    ("POST", "/publish", "/publish", &[WITH_KEY, NAMED], "[]", 400),
    ("POST", "/publish", "/publish", &[NAMED], r#"{"event":"door"}"#, 401),
    ("POST", "/publish", "/publish", &[WITH_KEY], r#"{"event":"door"}"#, 401),
];

/// The readings, each with its own reason to fail.
const READINGS: [&str; 7] = [
    "/system",
    "/system/platform",
    "/system/temperature",
    "/system/throttle",
    "/system/uptime",
    "/system/frequency",
    "/system/memory",
];

/// Simulated pins neither fail nor go away, so nobody can see these.
const UNSEEN: &[(&str, &str, &[u16])] = &[
    ("GET", "/pins", &[500, 503]),
    ("GET", "/snapshot", &[500, 503]),
    ("GET", "/pins/{id}", &[500, 503]),
    ("PUT", "/pins/{id}", &[500, 503]),
    ("GET", "/lines", &[500, 503]),
    ("GET", "/lines/{id}", &[500, 503]),
    ("POST", "/pins/{id}/pulse", &[500, 503]),
    ("POST", "/pins/{id}/blink", &[500, 503]),
    ("POST", "/pins/{id}/pwm", &[500, 503]),
    ("POST", "/sequences", &[500, 503]),
    ("DELETE", "/sequences/{id}", &[503]),
    // It takes a disk that fails: tests/durable.rs.
    ("POST", "/publish", &[503, 504, 507]),
];

#[test]
#[cfg_attr(not(feature = "hub"), ignore = "needs the feature hub")]
fn every_documented_operation_answers_with_every_status_and_body_it_is_documented_with() {
    let (pi, narrow) = whole_pi();
    let dir = TempDir::new();
    let nothing = dir.path().join("empty");
    let bare = start(dir, &nothing, "");
    let api = Api::of(&pi);
    let unseen = UNSEEN.iter().flat_map(|(method, path, all)| all.iter().map(move |status| (*method, *path, *status)));
    let mut seen: BTreeSet<(String, String, u16)> =
        unseen.map(|(method, path, status)| (method.to_owned(), path.to_owned(), status)).collect();
    let mut see = |method: &str, path: &str, answer: &Answer, status: u16| {
        assert_eq!(answer.status, status, "{method} {path}: {answer:?}");
        api.check(method, path, answer);
        seen.insert((method.to_owned(), path.to_owned(), status));
    };
    let mut holder = pi.try_ws("/", &[WITH_KEY]).expect("a session");
    let lease = r#"{"action":"LEASE_PINS","params":{"pins":["GPIO22"],"lease":"1h"}}"#;
    assert_eq!(holder.ask(lease)["success"], true);
    for (method, documented, path, headers, body, status) in CASES {
        see(method, documented, &pi.http(method, path, headers, body), *status);
    }
    let blink = r#"{"action":"BLINK_PIN","params":{"pin":"GPIO22","on":1,"off":1}}"#;
    let leased = holder.ask(blink)["data"]["sequence"].as_str().expect("an id").to_owned();
    let open = pi.http("POST", "/pins/GPIO23/blink", &[WITH_KEY, JSON], r#"{"on":1,"off":1}"#).json();
    for (id, status) in [(leased.as_str(), 409), (open["sequence"].as_str().expect("an id"), 200)] {
        let answer = pi.http("DELETE", &format!("/sequences/{id}"), &[WITH_KEY], "");
        see("DELETE", "/sequences/{id}", &answer, status);
    }
    for path in READINGS {
        see("GET", path, &pi.get(path), 401);
        see("GET", path, &eventually(&pi, path), 200);
        see("GET", path, &bare.http("GET", path, &[WITH_KEY], ""), 500);
    }
    let narrow = [("X-API-Key", narrow.as_str()), NAMED, JSON];
    for (method, documented, path, body) in [
        ("GET", "/pins/{id}", "/pins/GPIO17", ""),
        ("GET", "/lines/{id}", "/lines/GPIO17", ""),
        ("GET", "/presence", "/presence", ""),
        ("POST", "/publish", "/publish", r#"{"event":"door"}"#),
    ] {
        see(method, documented, &pi.http(method, path, &narrow, body), 403);
    }
    let mut documented = BTreeSet::new();
    for (method, path, what) in api.operations().into_iter().filter(device) {
        // Who comes from this machine is never slowed (429).
        for status in what["responses"].as_object().expect("responses").keys().filter(|status| *status != "429") {
            documented.insert((method.clone(), path.to_owned(), status.parse().expect("a status")));
        }
    }
    assert_eq!(seen, documented, "every documented status was looked at, and no other");
}

/// The fleet's paths are held against the description where there is a fleet: tests/fleet_openapi.rs.
fn device(operation: &api::Operation) -> bool {
    !operation.1.starts_with("/api/v1/")
}

/// Asks until the firmware's program has answered for the first time; each try waits for it by itself.
fn eventually(pi: &Daemon, path: &str) -> Answer {
    let until = Instant::now() + LIMIT;
    loop {
        let answer = pi.http("GET", path, &[WITH_KEY], "");
        if answer.status == 200 || Instant::now() > until {
            return answer;
        }
    }
}

#[test]
fn the_documented_ways_to_show_the_key_are_the_ones_that_work() {
    let (daemon, _) = whole_pi();
    let api = Api::of(&daemon);
    let schemes = api.0["components"]["securitySchemes"].as_object().expect("schemes");
    for (method, path, what) in api.operations().into_iter().filter(device) {
        let real = path.replace("{id}", "GPIO17");
        let security = what.get("security").unwrap_or(&api.0["security"]).as_array().expect("a list");
        let without = daemon.http(&method, &real, &[NAMED, JSON], "");
        assert_eq!(without.status == 401, !security.is_empty(), "{method} {path}: {without:?}");
        for name in security.iter().flat_map(|way| way.as_object().expect("an object").keys()) {
            let scheme = &schemes[name];
            let bearer = format!("Bearer {KEY}");
            let header = scheme["name"].as_str().unwrap_or_default();
            let (headers, real) = match (scheme["type"].as_str(), scheme["in"].as_str()) {
                (Some("http"), _) => (vec![("Authorization", bearer.as_str())], real.clone()),
                (Some("apiKey"), Some("header")) => (vec![(header, KEY)], real.clone()),
                (Some("apiKey"), Some("query")) => (vec![], format!("{real}?{header}={KEY}")),
                other => panic!("{name}: {other:?}, unknown to the test"),
            };
            let headers: Vec<_> = headers.into_iter().chain([NAMED, JSON]).collect();
            assert_ne!(daemon.http(&method, &real, &headers, "").status, 401, "{method} {path} by {name}");
        }
    }
}

#[test]
fn the_description_is_of_this_version_and_whole_in_itself() {
    let daemon = Daemon::start(&[]);
    let api = Api::of(&daemon);
    assert_eq!(api.0["openapi"], "3.0.3");
    assert_eq!(api.0["info"]["title"], "Pinwire API");
    assert_eq!(api.0["info"]["version"], env!("CARGO_PKG_VERSION"));
    let description = api.0["info"]["description"].as_str().expect("text");
    for socket in ["- `/` ", "- `/ws` ", "- `/subscribe?", "`/publish?", "- `/info` "] {
        assert!(description.contains(socket), "the WebSocket {socket}");
    }
    let mut ids = BTreeSet::new();
    for (method, path, what) in api.operations() {
        assert!(
            ids.insert(what["operationId"].as_str().expect("an id").to_owned()),
            "{method} {path}: its id is taken"
        );
        let tag = &what["tags"][0];
        assert!(api.0["tags"].as_array().is_some_and(|tags| tags.iter().any(|known| known["name"] == *tag)), "{tag}");
        let parameters = api.0["paths"][path]["parameters"].as_array().into_iter().flatten();
        let named = parameters.filter(|p| p["in"] == "path" && p["required"] == true);
        assert_eq!(named.count(), path.matches('{').count(), "{path}: its parameters");
    }
    let mut used = BTreeSet::new();
    references(&api.0, &mut used);
    for kind in ["schemas", "responses"] {
        for name in api.0["components"][kind].as_object().expect("components").keys() {
            assert!(used.remove(&format!("#/components/{kind}/{name}")), "{kind} {name} is used by nobody");
        }
    }
    assert_eq!(used, BTreeSet::new(), "references that lead nowhere");
}

fn references(value: &Value, used: &mut BTreeSet<String>) {
    if let Some(place) = value["$ref"].as_str() {
        used.insert(place.to_owned());
    }
    value.as_object().into_iter().flatten().for_each(|(_, member)| references(member, used));
    value.as_array().into_iter().flatten().for_each(|element| references(element, used));
}

#[test]
fn the_examples_fit_their_own_schemas() {
    let daemon = Daemon::start(&[]);
    let api = Api::of(&daemon);
    let mut checked = 0;
    for (method, path, what) in api.operations() {
        let responses = what["responses"].as_object().expect("responses").values();
        for message in responses.chain(what.get("requestBody")) {
            for media in api.resolved(message)["content"].as_object().into_iter().flat_map(|content| content.values()) {
                let schema = api.resolved(&media["schema"]);
                for example in [media.get("example"), schema.get("example")].into_iter().flatten() {
                    api.fits(example, schema).unwrap_or_else(|fault| panic!("{method} {path}: {fault}"));
                    checked += 1;
                }
            }
        }
    }
    assert!(checked > 10, "only {checked} examples");
}
