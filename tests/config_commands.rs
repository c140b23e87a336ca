//! `[commands]` and `[docker]`: every key arrives, and what cannot be is refused at its place.

#[path = "config/support.rs"]
mod support;

use std::path::Path;
use std::time::Duration;

use pinwire::config::{Kind, Piece, Word};
use support::{assert_refusal, good, known_keys, load_text, refusal, sample};

#[test]
fn every_key_arrives() {
    let config = good(
        r#"
        [commands]
        shell = true
        user = "operator"
        allow_root = true
        without_audit = true
        directory = "/tmp"
        timeout = "1m"
        kill_after = "1s"
        output_bytes = 2048
        max_running = 3
        queue = 9
        max_processes = 10
        max_memory_bytes = 0
        max_file_bytes = 30
        max_cpu_time = "0s"
        [commands.templates.restart]
        argv = ["/bin/ctl", "{{raw}}", "--unit={unit}.service", "{n}{mode}"]
        timeout = "5s"
        user = "1000"
        [commands.templates.restart.params]
        unit = { kind = "pattern", pattern = "a|b", max_length = 3 }
        n = { kind = "int", min = -1, max = 5, leading_dash = true }
        mode = { kind = "enum", values = ["on", "off"] }
        [docker]
        enabled = true
        socket = "/run/podman/podman.sock"
        containers = ["web", "db-*"]
        timeout = "1s"
        max_stop_timeout = "0s"
        log_bytes = 1024
        "#,
    );
    let commands = config.commands;
    assert!(commands.enabled() && commands.shell && commands.allow_root && commands.without_audit);
    assert_eq!((commands.user.as_deref(), commands.directory.as_path()), (Some("operator"), Path::new("/tmp")));
    assert_eq!((commands.timeout, commands.kill_after), (Duration::from_secs(60), Duration::from_secs(1)));
    assert_eq!((commands.output_bytes, commands.max_running, commands.queue), (2048, 3, 9));
    let limits = commands.limits;
    assert_eq!((limits.processes, limits.memory_bytes, limits.file_bytes), (Some(10), None, Some(30)));
    assert_eq!(limits.cpu_time, None);
    let template = &commands.templates["restart"];
    assert_eq!((template.timeout, template.user.as_deref()), (Some(Duration::from_secs(5)), Some("1000")));
    let (text, param) = (|text: &str| Piece::Text(text.into()), |name: &str| Piece::Param(name.into()));
    let words = [
        Word(vec![text("/bin/ctl")]),
        Word(vec![text("{raw}")]),
        Word(vec![text("--unit="), param("unit"), text(".service")]),
        Word(vec![param("n"), param("mode")]),
    ];
    assert_eq!(template.argv, words);
    let unit = &template.params["unit"];
    assert!(unit.check("a").is_ok() && unit.check("b").is_ok());
    assert!(["ab", "a\n", "\na", "ba", "c", ""].iter().all(|bad| unit.check(bad).is_err()), "the whole value counts");
    assert!(matches!(template.params["n"].kind, Kind::Int { min: -1, max: 5 }));
    assert!(template.params["n"].check("-1").is_ok());

    let docker = config.docker;
    assert!(docker.allows("web") && docker.allows("db-1") && !docker.allows("other"));
    assert_eq!(docker.socket, Path::new("/run/podman/podman.sock"));
    assert_eq!((docker.timeout, docker.max_stop_timeout), (Duration::from_secs(1), Duration::ZERO));
    assert_eq!(docker.log_bytes, 1024);
}

#[test]
fn nothing_is_allowed_by_default() {
    let config = good("[commands]\n[docker]");
    assert!(!config.commands.enabled() && !config.docker.enabled && !config.docker.allows("web"));
    assert!(good("[commands.templates.up]\nargv = [\"/usr/bin/uptime\"]").commands.enabled());
}

#[test]
fn what_cannot_be_is_refused_at_its_place() {
    let template = |lines: &str| format!("[commands.templates.x]\n{lines}");
    let param = |lines: &str| template(&format!("argv = [\"/bin/x\", \"{{a}}\"]\nparams.a = {{ {lines} }}"));
    for (text, parts) in [
        ("[commands]\ntimeout = \"2h\"".into(), ["pinwire.toml:2: commands.timeout: ", "from \"1ms\" to \"1h\""]),
        ("[commands]\nkill_after = \"2m\"".into(), ["commands.kill_after: ", "to \"1m\""]),
        ("[commands]\noutput_bytes = 1".into(), ["commands.output_bytes: ", "from 1024"]),
        ("[commands]\nmax_running = 9".into(), ["commands.max_running: ", "from 1 to 8"]),
        ("[commands]\nqueue = 0".into(), ["commands.queue: ", "from 1 to 64"]),
        ("[commands]\nmax_cpu_time = \"1ms\"".into(), ["commands.max_cpu_time: ", "at least \"1s\""]),
        ("[commands]\ndirectory = \"tmp\"".into(), ["commands.directory: ", "absolute path"]),
        ("[commands]\nuser = \"a b\"".into(), ["commands.user: ", "no user's name"]),
        ("[commands]\nenabled = true".into(), ["unknown key", "enabled"]),
        (template("timeout = \"1s\""), ["missing key", "argv"]),
        (template("argv = []"), ["commands.templates.x.argv: ", "absolute path"]),
        (template("argv = [\"uptime\"]"), ["commands.templates.x.argv: ", "absolute path"]),
        (template("argv = [\"/bin/{a}\"]\nparams.a.kind = \"word\""), ["argv: ", "without a parameter"]),
        (template("argv = [\"/bin/x\", \"{a}\"]"), ["argv: ", "params.a"]),
        (template("argv = [\"/bin/x\"]\nparams.a.kind = \"word\""), ["params.a: ", "write {a} there"]),
        (template("argv = [\"/bin/x\", \"{a\"]"), ["argv: ", "begins no parameter"]),
        (template("argv = [\"/bin/x\", \"a}\"]"), ["argv: ", "ends no parameter"]),
        (template("argv = [\"/bin/x\"]\nuser = \"a:b\""), ["templates.x.user: ", "no user's name"]),
        ("[commands.templates.\"a b\"]\nargv = [\"/bin/x\"]".into(), ["templates.\"a b\": ", "can begin with"]),
        (param("kind = \"magic\""), ["unknown value", "magic"]),
        (param("kind = \"int\""), ["params.a: ", "needs min"]),
        (param("kind = \"int\", min = 2, max = 1"), ["params.a.min: ", "above max"]),
        (param("kind = \"int\", min = -2, max = 1"), ["params.a.min: ", "leading_dash"]),
        (param("kind = \"enum\""), ["params.a: ", "needs values"]),
        (param("kind = \"enum\", values = [\"-x\"]"), ["params.a.values: ", "begin with '-'"]),
        (param("kind = \"pattern\""), ["params.a: ", "needs pattern"]),
        (param("kind = \"pattern\", pattern = \"a)|(b\""), ["params.a.pattern: ", "no regular expression"]),
        (param("kind = \"word\", pattern = \"a\""), ["params.a.pattern: ", "only for kind"]),
        (param("kind = \"word\", min = 1"), ["params.a.min: ", "only for kind"]),
        (param("kind = \"word\", max_length = 0"), ["params.a.max_length: ", "from 1 to 4096"]),
        ("[docker]\nsocket = \"docker.sock\"".into(), ["docker.socket: ", "absolute path"]),
        ("[docker]\ncontainers = [\"/web\"]".into(), ["docker.containers: ", "no container's name"]),
        ("[docker]\ntimeout = \"1ms\"".into(), ["docker.timeout: ", "from \"100ms\""]),
        ("[docker]\nlog_bytes = 1".into(), ["docker.log_bytes: ", "from 1024"]),
    ] {
        assert_refusal(Err(refusal(&text)), &parts);
    }
}

#[test]
fn the_sample_shows_a_template_with_every_key() {
    let (as_shipped, _) = sample();
    let begin = as_shipped.find("#   [commands.templates.restart]").expect("a template");
    let lines = as_shipped[begin..].lines().take_while(|line| line.starts_with('#'));
    let text: String = lines.map(|line| line.trim_start_matches('#').to_owned() + "\n").collect();
    let config = load_text(&text, pinwire::config::Flags::default(), &[]).expect("loads");
    let template = &config.commands.templates["restart"];
    assert!(template.params["unit"].check("nginx.service").is_ok());
    for key in known_keys("commands.templates.x").iter().chain(&known_keys("commands.templates.x.params.a")) {
        // Those of other kinds are named in the text.
        let shown =
            text.contains(&format!("{key} = ")) || text.contains(&format!(".{key}")) || text.contains(key.as_str());
        assert!(shown, "{key}");
    }
}
