//! Endrpi's REST twin: statuses, bodies and the order of its checks.

mod common;

use common::{Answer, Daemon, TempDir};
use serde_json::json;

const JSON: (&str, &str) = ("Content-Type", "application/json");

fn put(daemon: &Daemon, pin: &str, body: &str) -> Answer {
    daemon.http("PUT", &format!("/pins/{pin}"), &[JSON], body)
}

#[test]
fn readings_have_the_models_of_the_websocket_without_its_envelope() {
    let root = format!("{}/tests/fixtures/pi4", env!("CARGO_MANIFEST_DIR"));
    let daemon = Daemon::start(&["--root", &root]);
    let mut ws = daemon.ws("/");
    for what in ["platform", "temperature", "uptime", "memory", "throttle"] {
        let answer = daemon.get(&format!("/system/{what}"));
        assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")), "{answer:?}");
        ws.send(&format!("{{\"action\":\"READ_{}\"}}", what.to_uppercase()));
        assert!(ws.text().contains(&format!("\"data\":{},", answer.body)), "{}", answer.body);
    }
    let temperature = daemon.get("/system/temperature?now");
    assert_eq!(temperature.body, r#"{"systemOnChip":{"quantity":48.312,"prefix":null,"unitOfMeasurement":"CELSIUS"}}"#);
    assert_eq!(daemon.get("/system/throttle").json()["underVoltageDetected"], true);
}

#[test]
fn a_reading_that_is_missing_is_a_500_with_its_text() {
    let empty = TempDir::new();
    let daemon = Daemon::start(&["--root", &empty.path().display().to_string()]);
    for (path, text) in [
        ("temperature", "Failed to query system on chip temperature"),
        ("throttle", "Failed to query system throttle status"),
        ("uptime", "Failed to query system uptime"),
        ("frequency", "Failed to query system ARM frequency"),
        ("memory", "Failed to query system memory"),
        ("platform", "Failed to query system platform"),
    ] {
        let answer = daemon.get(&format!("/system/{path}"));
        assert_eq!((answer.status, answer.json()), (500, json!({ "message": text })));
    }
    let answer = daemon.get("/system");
    assert_eq!((answer.status, answer.json()), (500, json!({"message": "Failed to query system platform"})));
}

#[test]
fn pins_are_listed_in_endrpi_s_order_and_read_one_by_one() {
    let daemon = Daemon::start(&[]);
    let body = daemon.get("/pins").body;
    let numbers: Vec<u8> =
        body.split("\"GPIO").skip(1).map(|rest| rest.split('"').next().unwrap().parse().unwrap()).collect();
    assert_eq!(
        numbers,
        [2, 3, 4, 14, 15, 17, 18, 27, 22, 23, 24, 10, 9, 25, 11, 8, 7, 5, 6, 12, 13, 19, 16, 26, 20, 21]
    );
    assert!(body.starts_with(r#"{"GPIO2":{"io":"INPUT","state":1.0,"pull":"UP"},"GPIO3":"#), "{body}");
    for id in ["GPIO0", "GPIO27", "17", "pin11"] {
        let answer = daemon.get(&format!("/pins/{id}"));
        assert_eq!((answer.status, answer.body.as_str()), (200, r#"{"io":"INPUT","state":0.0,"pull":"FLOATING"}"#));
    }
    for id in ["GPIO28", "gpio17", "x"] {
        let answer = daemon.get(&format!("/pins/{id}"));
        assert_eq!(answer.status, 404, "{id}");
        assert_eq!(answer.json(), json!({ "message": format!("Pin with BCM pin number `{id}` not found") }));
    }
}

#[test]
fn a_put_is_checked_body_first_then_pin_then_what_the_pin_needs() {
    let daemon = Daemon::start(&[]);
    let answer = put(&daemon, "GPIO17", r#"{"io":"OUTPUT","state":1.0,"pull":"UP"}"#);
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.body, r#"{"message":"Pin configuration for pin `GPIO17` was updated successfully"}"#);
    assert_eq!(daemon.get("/pins/GPIO17").body, r#"{"io":"OUTPUT","state":1.0,"pull":"FLOATING"}"#);

    for body in ["", "null", "{", "[]", "{}", r#"{"io":"ALT0"}"#, r#"{"io":"OUTPUT","state":2}"#, "\"x\""] {
        for pin in ["GPIO17", "GPIO99"] {
            let answer = put(&daemon, pin, body);
            assert_eq!(answer.status, 400, "{pin} {body} → {answer:?}");
            let message = answer.json()["message"].as_str().unwrap_or_default().to_owned();
            assert!(message.starts_with("1 validation error for Requestbody"), "{body} → {message}");
        }
    }
    for body in [r#"{"io":"INPUT"}"#, r#"{"io":"OUTPUT","state":0}"#] {
        let answer = put(&daemon, "GPIO99", body);
        assert_eq!(
            (answer.status, &answer.json()["message"]),
            (404, &json!("Pin with BCM pin number `GPIO99` not found"))
        );
    }
    for (body, message) in [
        (r#"{"io":"INPUT"}"#, "No pull specified for input pin configuration"),
        (r#"{"io":"OUTPUT"}"#, "No state specified for output pin configuration"),
    ] {
        let answer = put(&daemon, "GPIO17", body);
        assert_eq!((answer.status, &answer.json()["message"]), (400, &json!(message)));
    }
    let answer = put(&daemon, "GPIO2", r#"{"io":"INPUT","pull":"DOWN"}"#);
    assert_eq!(answer.status, 400, "{answer:?}");
    assert!(answer.body.contains("Failed to update pin `GPIO2`"), "{answer:?}");
    assert_eq!(daemon.get("/pins/GPIO17").json()["state"], 1.0, "nothing of that has changed it");
}

#[test]
fn a_put_needs_the_content_type_json() {
    let daemon = Daemon::start(&[]);
    let body = r#"{"io":"OUTPUT","state":1}"#;
    for headers in [&[][..], &[("Content-Type", "text/plain")], &[("Content-Type", "application/jsonx")]] {
        let answer = daemon.http("PUT", "/pins/GPIO4", headers, body);
        assert_eq!(answer.status, 400, "{headers:?} → {answer:?}");
        assert!(answer.json()["message"].as_str().is_some_and(|text| text.contains("application/json")), "{answer:?}");
    }
    assert_eq!(daemon.get("/pins/GPIO4").json()["io"], "INPUT");
    for kind in ["application/json; charset=utf-8", "Application/JSON"] {
        assert_eq!(daemon.http("PUT", "/pins/GPIO4", &[("Content-Type", kind)], body).status, 200, "{kind}");
    }
}

#[test]
fn wrong_paths_methods_and_slashes_are_answered_as_endrpi_s_framework_does() {
    let daemon = Daemon::start(&[]);
    for path in ["/nothing", "/system/nothing", "/Pins", "/redoc", "/pins/GPIO4/x", "/public/../Cargo.toml", "/public/"]
    {
        let answer = daemon.get(path);
        assert_eq!((answer.status, answer.body.as_str()), (404, r#"{"detail":"Not Found"}"#), "{path}");
    }
    for (path, bare) in [("/pins/", "/pins"), ("/system/memory/", "/system/memory"), ("/pins/GPIO4/", "/pins/GPIO4")] {
        let answer = daemon.get(path);
        assert_eq!((answer.status, answer.header("location")), (307, Some(bare)), "{path}");
    }
    for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD"] {
        let answer = daemon.http(method, "/system/memory", &[], "");
        assert_eq!((answer.status, answer.header("allow")), (405, Some("GET")), "{method}");
    }
    for method in ["POST", "DELETE", "OPTIONS", "HEAD"] {
        let answer = daemon.http(method, "/pins/GPIO4", &[], "");
        assert_eq!((answer.status, answer.header("allow")), (405, Some("GET, PUT")), "{method}");
    }
    assert_eq!(daemon.http("DELETE", "/pins", &[], "").body, r#"{"detail":"Method Not Allowed"}"#);
}

#[test]
fn the_root_is_a_page_for_browsers_and_json_for_programs() {
    let daemon = Daemon::start(&[]);
    let page = daemon.http("GET", "/", &[("Accept", "text/html,application/xhtml+xml,*/*;q=0.8")], "");
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    for headers in [&[][..], &[("Accept", "*/*")], &[("Accept", "application/json")]] {
        let banner = daemon.http("GET", "/", headers, "");
        assert_eq!((banner.status, banner.header("content-type")), (200, Some("application/json")), "{headers:?}");
        assert_eq!(banner.json()["name"], "Pinwire");
        assert_eq!(banner.json()["version"], env!("CARGO_PKG_VERSION"));
    }
    assert_eq!(daemon.get("/").header("x-content-type-options"), Some("nosniff"));
    for (path, kind) in [("/docs", "text/html; charset=utf-8"), ("/openapi.json", "application/json")] {
        let answer = daemon.get(path);
        assert_eq!((answer.status, answer.header("content-type")), (200, Some(kind)), "{path}");
    }
}

#[test]
fn health_and_readiness_are_told_to_get_and_head() {
    let daemon = Daemon::with_config("node_id = \"porch\"\n", &[]);
    let health = daemon.get("/health").json();
    assert_eq!(health["status"], "healthy");
    assert_eq!(health["node_id"], "porch");
    assert_eq!(health["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!((&health["gpio"]["backend"], &health["gpio"]["simulated"]), (&json!("sim"), &json!(true)));
    assert!(health["timestamp"].as_str().is_some_and(|text| humantime::parse_rfc3339(text).is_ok()), "{health}");
    assert!(health["uptime_seconds"].is_u64() && health["uptime"].is_string(), "{health}");
    let ready = daemon.get("/ready").json();
    assert_eq!(ready["status"], "ready");
    assert_eq!(ready["services"], serde_json::json!({"database": "healthy"}));
    assert!(ready["timestamp"].is_string(), "{ready}");
    for path in ["/health", "/ready", "/"] {
        let head = daemon.http("HEAD", path, &[], "");
        assert_eq!((head.status, head.body.as_str()), (200, ""), "{path}");
        assert_eq!(head.header("content-type"), Some("application/json"), "{path}");
        let post = daemon.http("POST", path, &[], "");
        assert_eq!((post.status, post.header("allow")), (405, Some("GET, HEAD")), "{path}");
    }
}

#[test]
fn a_socket_route_without_an_upgrade_and_an_upgrade_elsewhere_are_refused() {
    let daemon = Daemon::start(&[]);
    assert_eq!(daemon.get("/ws").status, 400);
    let upgrade = [
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    let answer = daemon.http("GET", "/pins", &upgrade, "");
    assert_eq!(answer.status, 404, "{answer:?}");
    assert!(answer.json()["message"].as_str().is_some_and(|text| text.contains("/subscribe")), "{answer:?}");
    let mut old = upgrade;
    old[2].1 = "8";
    let answer = daemon.http("GET", "/", &old, "");
    assert_eq!((answer.status, answer.header("sec-websocket-version")), (426, Some("13")));
    let answer = daemon.http("GET", "/", &upgrade[..3], "");
    assert_eq!(answer.status, 400, "no key: {answer:?}");
    assert_eq!(daemon.get("/echo").json(), json!({"detail": "Not Found"}));
    assert_eq!(daemon.http("GET", "/echo", &upgrade, "").status, 404, "only with --debug-echo");
}
