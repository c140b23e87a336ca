//! What browsers get: the pages, and the headers that say what they may do.

mod common;

use common::{Answer, Daemon};

const BROWSER: [(&str, &str); 1] = [("Accept", "text/html,application/xhtml+xml,*/*;q=0.8")];

/// Every file of the pages: path and media type.
const FILES: [(&str, &str); 8] = [
    ("/", "text/html; charset=utf-8"),
    ("/docs", "text/html; charset=utf-8"),
    ("/public/page.js", "text/javascript; charset=utf-8"),
    ("/public/fleet.js", "text/javascript; charset=utf-8"),
    ("/public/docs.js", "text/javascript; charset=utf-8"),
    ("/public/style.css", "text/css; charset=utf-8"),
    ("/openapi.json", "application/json"),
    ("/asyncapi.yaml", "text/yaml; charset=utf-8"),
];

fn file(daemon: &Daemon, path: &str) -> Answer {
    let answer = daemon.http("GET", path, &BROWSER, "");
    assert_eq!(answer.status, 200, "{path}");
    answer
}

#[test]
fn every_page_is_told_to_run_our_scripts_only_and_in_no_frame() {
    let daemon = Daemon::start(&[]);
    for (path, kind) in FILES {
        let answer = file(&daemon, path);
        assert_eq!(answer.header("content-type"), Some(kind), "{path}");
        let policy = answer.header("content-security-policy").unwrap_or_else(|| panic!("{path}: no policy"));
        for part in ["default-src 'self'", "connect-src 'self' ws: wss:", "frame-ancestors 'none'", "base-uri 'none'"] {
            assert!(policy.split(';').any(|directive| directive.trim() == part), "{path}: {part} in {policy}");
        }
        assert!(!policy.contains("unsafe"), "{path}: {policy}");
        assert_eq!(answer.header("x-frame-options"), Some("DENY"), "{path}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path}");
    }
    // A program's answers are nobody's page.
    assert_eq!(daemon.get("/health").header("content-security-policy"), None);
}

#[test]
fn the_pages_keep_to_their_own_policy_and_load_nothing_from_elsewhere() {
    let daemon = Daemon::start(&[]);
    for path in ["/", "/docs"] {
        let html = file(&daemon, path).body;
        for forbidden in
            ["<script>", "<style", " style=", " onclick", " onload", "javascript:", "src=\"http", "href=\"http"]
        {
            assert!(!html.contains(forbidden), "{path}: {forbidden}");
        }
        for asset in html.split(['"', '\'']).filter(|text| text.starts_with("public/")) {
            assert_eq!(daemon.get(&format!("/{asset}")).status, 200, "{path} asks for {asset}");
        }
    }
    for path in ["/public/page.js", "/public/fleet.js", "/public/docs.js"] {
        let script = file(&daemon, path).body;
        for forbidden in
            ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "http://", "https://"]
        {
            assert!(!script.contains(forbidden), "{path}: {forbidden}");
        }
    }
    let style = file(&daemon, "/public/style.css").body;
    assert!(!style.contains("url(") && !style.contains("@import"));
}

#[test]
fn browsers_get_the_page_without_a_key_and_programs_the_banner() {
    let daemon = Daemon::start_in(common::TempDir::new(), |command| {
        command.env("API_KEY", "open-sesame");
    });
    for (path, _) in FILES {
        assert!(!file(&daemon, path).body.contains("open-sesame"), "{path}");
    }
    assert!(file(&daemon, "/").body.contains("<title>Pinwire</title>"));
    assert_eq!(daemon.get("/").json()["openapi"], "/openapi.json");
}
