//! The configuration from outside: what was written in, one checked `Config` or one clear line out.

#[path = "config/support.rs"]
mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use pinwire::config::{Auth, AuthMode, Backend, Config, ErrorStyle, Flags, SlowEvents};
use pinwire::types::line::Pin;
use support::{Dir, assert_refusal, good, has_every_feature, known_keys, load_text, load_with, refusal, sample};
use toml::de::DeTable;

fn listens(config: &Config) -> Vec<String> {
    config.listen.iter().map(ToString::to_string).collect()
}

fn listen_flags(listen: &[&str]) -> Flags {
    Flags { listen: listen.iter().map(ToString::to_string).collect(), ..Flags::default() }
}

fn key_of(config: &Config) -> Option<&str> {
    match &config.auth {
        Auth::Key(key) => Some(key),
        Auth::None | Auth::Undecided | Auth::Stored => None,
    }
}

#[test]
fn nothing_written_means_the_defaults() {
    let config = load_with(Flags::default(), &[]).expect("loads");
    assert_eq!(format!("{config:?}"), format!("{:?}", Config::default()));
    assert_eq!(listens(&config), ["127.0.0.1:9000"]);
    assert!(!config.node_id.is_empty());
    assert_eq!(config.session.total_backlog_bytes, 16 * 1024 * 1024);
    assert_eq!(config.telemetry.max_age, Duration::from_millis(100));
    assert!(config.warnings.is_empty());
}

#[test]
fn every_key_of_a_file_arrives() {
    if !has_every_feature() {
        return;
    }
    let config = good(
        r#"
        listen = ["[::1]:0", "localhost:80"]
        state_dir = "state"
        root = "tree"
        node_id = "shed"
        log_level = "debug"
        log_events = "error"
        shutdown_deadline = "4s"
        debug_actions = true
        [tls]
        cert = "c.pem"
        key = "k.pem"
        [front]
        max_connections = 10
        max_per_address = 3
        head_bytes = 256
        head_deadline = "1s"
        body_bytes = 7
        body_deadline = "2s"
        idle_deadline = "3s"
        response_deadline = "1m 4s"
        hosts = ["pi.local", "*"]
        origins = ["https://a.example:8443", "null"]
        debug_echo = true
        [session]
        message_bytes = 16777216
        message_deadline = "5s"
        ping_interval = "6s"
        pong_deadline = "7s"
        auth_deadline = "8s"
        close_deadline = "9s"
        backlog_bytes = 100
        total_backlog_bytes = 200
        send_buffer_bytes = 4096
        slow_events = "cut"
        [history]
        count = 0
        age = "2s"
        bytes = 65536
        topics = 3
        [endrpi]
        error_style = "object"
        [picloud]
        info_interval = "50ms"
        [gpio]
        backend = "sim"
        [gpio.pins]
        lamp.pin = 18
        door = { pin = "GPIO17" }
        GPIO4 = { pin = 4 }
        [gpio.pins."garden pump"]
        pin = "pin40"
        [telemetry]
        max_age = "0s"
        vcgencmd = "/opt/vc/bin/vcgencmd"
        firmware_interval = "10s"
        firmware_deadline = "11ms"
        "#,
    );
    let secs = Duration::from_secs;
    assert_eq!(listens(&config), ["[::1]:0", "127.0.0.1:80"]);
    assert_eq!(config.state_dir.as_deref(), Some(Path::new("state")));
    assert_eq!((config.root.as_path(), config.node_id.as_str()), (Path::new("tree"), "shed"));
    assert_eq!((config.log_level, config.log_events), (log::LevelFilter::Debug, log::LevelFilter::Error));
    assert_eq!(config.shutdown_deadline, secs(4));
    assert!(config.debug_actions);
    let tls = config.tls.expect("tls");
    assert_eq!((tls.cert.as_path(), tls.key.as_path()), (Path::new("c.pem"), Path::new("k.pem")));
    let front = config.front;
    assert_eq!((front.max_connections, front.max_per_address, front.head_bytes, front.body_bytes), (10, 3, 256, 7));
    assert_eq!((front.head_deadline, front.body_deadline), (secs(1), secs(2)));
    assert_eq!((front.idle_deadline, front.response_deadline), (secs(3), secs(64)));
    assert_eq!(front.hosts, ["pi.local", "*"]);
    assert_eq!(front.origins, ["https://a.example:8443", "null"]);
    assert!(front.debug_echo);
    let session = config.session;
    assert_eq!((session.message_bytes, session.message_deadline), (16_777_216, secs(5)));
    assert_eq!((session.ping_interval, session.pong_deadline), (secs(6), secs(7)));
    assert_eq!((session.auth_deadline, session.close_deadline), (secs(8), secs(9)));
    assert_eq!((session.backlog_bytes, session.total_backlog_bytes, session.send_buffer_bytes), (100, 200, 4096));
    assert_eq!(session.slow_events, SlowEvents::Cut);
    let history = config.history;
    assert_eq!((history.count, history.age, history.bytes, history.topics), (0, secs(2), 65536, 3));
    assert_eq!(config.endrpi.error_style, ErrorStyle::Object);
    assert_eq!(config.picloud.info_interval, Duration::from_millis(50));
    assert_eq!(config.gpio.backend, Backend::Sim);
    let names: Vec<_> = config.gpio.lines.iter().map(|(name, line)| (name.as_str(), line.pin)).collect();
    let pin = |number| Pin::new(number).expect("pin");
    assert_eq!(names, [("GPIO4", pin(4)), ("door", pin(17)), ("garden pump", pin(21)), ("lamp", pin(18))]);
    assert_eq!(config.telemetry.max_age, Duration::ZERO);
    assert_eq!(config.telemetry.vcgencmd.as_deref(), Some(Path::new("/opt/vc/bin/vcgencmd")));
    assert_eq!(config.telemetry.firmware_interval, secs(10));
    assert_eq!(config.telemetry.firmware_deadline, Duration::from_millis(11));
}

#[test]
#[cfg_attr(not(feature = "tls"), ignore = "needs the feature tls")]
fn a_flag_beats_the_environment_which_beats_the_file() {
    let dir = Dir::new();
    let (flag_key, file_key) = (dir.file("flag", "from-flag\n"), dir.file("file", "from-file"));
    let text = format!(
        "listen = \"127.0.0.1:1\"\nroot = \"/file\"\nlog_level = \"error\"\nstate_dir = \"file\"\n\
         [auth]\napi_key_file = {file_key:?}\n[tls]\ncert = \"file-c\"\nkey = \"file-k\"\n[gpio]\nbackend = \"cdev\""
    );
    let env = [("PORT", "2"), ("API_KEY", "from-env"), ("USE_TLS", "1"), ("CERT_FILE", "env-c"), ("KEY_FILE", "env-k")];
    let flags = Flags {
        listen: vec![":3".into()],
        state_dir: Some("flag".into()),
        gpio: Some(Backend::Sim),
        root: Some("/flag".into()),
        api_key_file: Some(flag_key),
        tls_cert: Some("flag-c".into()),
        tls_key: Some("flag-k".into()),
        log_level: Some("trace".into()),
        debug_echo: true,
        debug_actions: true,
        ..Flags::default()
    };
    let seen = |config: Config| {
        let tls = config.tls.clone().expect("tls");
        let mut seen = listens(&config);
        seen.extend([&config.root, &tls.cert, &tls.key].map(|path| path.display().to_string()));
        seen.push(key_of(&config).expect("key").to_owned());
        (seen, config.log_level, config.gpio.backend, config.state_dir, (config.front.debug_echo, config.debug_actions))
    };

    let (all, level, backend, state_dir, debug) = seen(load_text(&text, flags, &env).expect("loads"));
    assert_eq!(all, ["0.0.0.0:3", "/flag", "flag-c", "flag-k", "from-flag"]);
    assert_eq!((level, backend, debug), (log::LevelFilter::Trace, Backend::Sim, (true, true)));
    assert_eq!(state_dir, Some("flag".into()));
    let (all, ..) = seen(load_text(&text, Flags::default(), &env).expect("loads"));
    assert_eq!(all, ["127.0.0.1:2", "/file", "env-c", "env-k", "from-env"]);
    let (all, level, backend, state_dir, debug) = seen(load_text(&text, Flags::default(), &[]).expect("loads"));
    assert_eq!(all, ["127.0.0.1:1", "/file", "file-c", "file-k", "from-file"]);
    assert_eq!((level, backend, debug), (log::LevelFilter::Error, Backend::Cdev, (false, false)));
    assert_eq!(state_dir, Some("file".into()));
}

#[test]
fn an_empty_variable_is_no_variable() {
    let env =
        ["PORT", "API_KEY", "USE_TLS", "CERT_FILE", "KEY_FILE", "ENABLE_INFO_SOCKET"].map(|variable| (variable, ""));
    let config = load_with(Flags::default(), &env).expect("loads");
    assert_eq!(format!("{config:?}"), format!("{:?}", Config::default()));
    assert!(load_with(Flags::default(), &[("ENABLE_INFO_SOCKET", "yes")]).is_ok());
}

#[test]
fn port_means_all_interfaces_only_once_it_is_decided_who_may_come_in() {
    let port = ("PORT", "8123");
    let open = Flags { auth: Some(AuthMode::None), ..Flags::default() };
    let listen = |flags, env: &[(&str, &str)]| listens(&load_with(flags, env).expect("loads"));
    assert_eq!(listen(Flags::default(), &[port]), ["127.0.0.1:8123"]);
    assert_eq!(listen(Flags::default(), &[port, ("API_KEY", "k")]), ["0.0.0.0:8123"]);
    assert_eq!(listen(open, &[port]), ["0.0.0.0:8123"]);

    let file = "listen = [\"127.0.0.1:1\", \"[::1]:2\", \"127.0.0.1:3\"]";
    let config = load_text(file, Flags::default(), &[port, ("API_KEY", "k")]).expect("loads");
    assert_eq!(listens(&config), ["127.0.0.1:8123", "[::1]:8123"], "the file's interfaces stay");

    for wrong in ["http", "+80", "65536", "-1", "80 "] {
        assert_refusal(load_with(Flags::default(), &[("PORT", wrong)]), &["PORT: ", wrong, "such as 9000"]);
    }
}

#[test]
fn listen_addresses_are_read_or_answered_with_an_example() {
    let flags = |listen: &[&str]| Flags { auth: Some(AuthMode::None), ..listen_flags(listen) };
    let texts =
        ["127.0.0.1:9000", "[::1]:0", ":9000", "LocalHost:1", "[::]:5", "192.168.1.5:65535", "[::1]:0", ":9000"];
    let config = load_with(flags(&texts), &[]).expect("loads");
    let expected =
        ["127.0.0.1:9000", "[::1]:0", "0.0.0.0:9000", "127.0.0.1:1", "[::]:5", "192.168.1.5:65535", "[::1]:0"];
    assert_eq!(listens(&config), expected);

    for wrong in
        ["", "9000", "pi.local:9000", "127.0.0.1", "localhost", ":", ":+1", ":65536", "::1:80", "http://[::1]:1"]
    {
        assert_refusal(load_with(flags(&[wrong]), &[]), &["--listen: ", &format!("{wrong:?}"), "\"127.0.0.1:9000\""]);
    }
    assert_refusal(Err(refusal("\nlisten = \"nowhere\"")), &["pinwire.toml:2: listen: \"nowhere\""]);
    assert_refusal(Err(refusal("listen = []")), &["pinwire.toml:1: listen: is empty", "127.0.0.1:9000"]);
    assert_refusal(Err(refusal("listen = 9000")), &["pinwire.toml:1: listen: ", "an array of texts"]);
    assert_refusal(Err(refusal("listen = [1]")), &["pinwire.toml:1: listen: ", "expected a string"]);
}

#[test]
fn strangers_need_a_key_or_a_word() {
    let advice = ["can be reached", "--api-key-file FILE", "API_KEY", "--auth none"];
    for open in [":9000", "0.0.0.0:0", "[::]:0", "192.168.1.5:1", "[::ffff:10.0.0.1]:1"] {
        assert_refusal(load_with(listen_flags(&["127.0.0.1:0", open]), &[]), &advice);
        let said = Flags { auth: Some(AuthMode::None), ..listen_flags(&[open]) };
        assert_eq!(key_of(&load_with(said, &[]).expect("said so")), None);
        let with_key = load_with(listen_flags(&[open]), &[("API_KEY", "k")]).expect("has a key");
        assert_eq!(key_of(&with_key), Some("k"));
    }
    for local in ["127.0.0.1:0", "127.9.9.9:0", "[::1]:0", "localhost:0", "[::ffff:127.0.0.1]:0"] {
        assert!(load_with(listen_flags(&[local]), &[]).is_ok(), "{local}");
    }
    assert_refusal(Err(refusal("listen = \":1\"")), &["pinwire.toml:1: listen: 0.0.0.0:1"]);
    assert_eq!(listens(&good("listen = \":1\"\nauth.mode = \"none\"")), ["0.0.0.0:1"]);
}

#[test]
fn key_mode_needs_a_key_and_none_mode_says_when_one_is_ignored() {
    let key_mode = Flags { auth: Some(AuthMode::Key), ..Flags::default() };
    assert_refusal(load_with(key_mode.clone(), &[]), &["--auth: ", "no key", "--api-key-file FILE", "API_KEY"]);
    assert_eq!(key_of(&load_with(key_mode, &[("API_KEY", "k")]).expect("loads")), Some("k"));
    assert_refusal(Err(refusal("[auth]\nmode = \"key\"")), &["pinwire.toml:2: auth.mode: ", "no key"]);

    let stored = "state_dir = \"/state\"\nlisten = \":0\"\nauth.mode = \"key\"";
    if cfg!(feature = "hub") {
        assert!(matches!(good(stored).auth, Auth::Stored), "the store's keys are looked for at the start");
    } else {
        assert_refusal(Err(refusal(stored)), &["pinwire.toml:3: auth.mode: ", "no key", "the feature \"hub\""]);
    }
    assert!(matches!(good("state_dir = \"/state\"").auth, Auth::Undecided));

    let env = [("API_KEY", "secret-k")];
    let config = load_text("auth.mode = \"none\"", Flags::default(), &env).expect("loads");
    assert_eq!(key_of(&config), None);
    assert_eq!(config.warnings.len(), 1);
    assert!(config.warnings[0].contains("API_KEY") && !config.warnings[0].contains("secret-k"));
    let flags = Flags { auth: Some(AuthMode::Key), ..Flags::default() };
    let config = load_text("auth.mode = \"none\"", flags, &env).expect("loads");
    assert_eq!(key_of(&config), Some("secret-k"), "the flag beats the file");
}

#[test]
fn a_key_file_holds_one_visible_word() {
    let dir = Dir::new();
    let load_key = |path: PathBuf| load_with(Flags { api_key_file: Some(path), ..Flags::default() }, &[]);
    let longest = "k".repeat(1024);
    for (content, key) in [("k", "k"), (" s3cr~t!\r\n\n", "s3cr~t!"), (longest.as_str(), longest.as_str())] {
        let config = load_key(dir.file("key", content)).expect("loads");
        assert_eq!((key_of(&config), config.warnings.len()), (Some(key), 0));
    }
    let too_long = "k".repeat(1025);
    let far_too_long = "k".repeat(100_000);
    let wrong = ["", " \n", "top secret", "schlüssel", "top\u{7f}secret", "a\nsecret", &too_long, &far_too_long];
    for content in wrong {
        let path = dir.file("key", content);
        let why = load_key(path.clone()).expect_err("refused");
        assert!(why.starts_with("--api-key-file: ") && why.contains(&path.display().to_string()), "{why}");
        assert!(!why.contains("secret") && !why.contains("schl") && !why.contains("kkk"), "{why}");
    }
    let path = dir.file("key", b"\xff\xfe");
    assert_refusal(load_key(path), &["visible ASCII"]);
    let absent = dir.0.join("absent");
    assert_refusal(load_key(absent), &["--api-key-file: ", "absent", "No such file or directory"]);
    assert_refusal(load_key(dir.0.clone()), &["--api-key-file: ", "directory"]);
    assert_refusal(load_with(Flags::default(), &[("API_KEY", "two words")]), &["API_KEY: ", "visible ASCII"]);
    let from_file = refusal("[auth]\n\napi_key_file = \"/nonexistent/key\"");
    assert_refusal(Err(from_file), &["pinwire.toml:3: auth.api_key_file: ", "/nonexistent/key", "No such file"]);
}

#[test]
fn a_key_file_that_others_can_read_is_used_with_a_warning() {
    let dir = Dir::new();
    for mode in [0o640, 0o604] {
        let path = dir.file("key", "s3cret");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("chmod");
        let flags = Flags { api_key_file: Some(path.clone()), ..Flags::default() };
        let config = load_with(flags, &[]).expect("loads");
        assert_eq!(key_of(&config), Some("s3cret"));
        let [warning] = &config.warnings[..] else { panic!("{:?}", config.warnings) };
        assert!(warning.contains(&format!("chmod 600 {}", path.display())) && !warning.contains("s3cret"), "{warning}");
    }
}

#[test]
fn an_api_key_written_into_the_configuration_is_not_repeated() {
    for text in
        ["auth = \"s3cret\"", "[auth]\nmode = \"s3cret\"", "[auth]\napi_key = \"s3cret\"", "auth = [\"s3cret\"]"]
    {
        let why = refusal(text);
        assert!(why.contains("auth") && !why.contains("s3cret"), "{why}");
    }
    // A key file given as --config by mistake: hexadecimal, Base64 with its padding, with a line end or without.
    for text in ["s3cret", "s3cret\n", "s3cret=", "s3cret==\n", "s3c.ret", "s3c/ret+=", "s3c/ret==\n"] {
        let why = refusal(text);
        assert!(why.starts_with("pinwire.toml:1: ") && !why.contains("s3c"), "{why}");
    }
    let config = load_with(Flags::default(), &[("API_KEY", "s3cret")]).expect("loads");
    assert!(!format!("{config:?}").contains("s3cret"));
}

#[test]
#[cfg_attr(not(feature = "tls"), ignore = "needs the feature tls")]
fn tls_needs_both_files_whoever_names_them() {
    let env = |vars: &[(&str, &str)]| load_with(Flags::default(), vars);
    let (on, cert, key) = (("USE_TLS", "false"), ("CERT_FILE", "c"), ("KEY_FILE", "k"));
    assert!(env(&[on, cert, key]).expect("any text turns it on").tls.is_some());
    for vars in [&[on][..], &[on, cert], &[on, key]] {
        assert_refusal(env(vars), &["USE_TLS: ", "CERT_FILE", "KEY_FILE"]);
    }
    let without = env(&[cert, key]).expect("loads");
    assert!(without.tls.is_none());
    assert!(without.warnings[0].contains("USE_TLS"), "{:?}", without.warnings);

    let flags = |cert: Option<&str>, key: Option<&str>| Flags {
        tls_cert: cert.map(PathBuf::from),
        tls_key: key.map(PathBuf::from),
        ..Flags::default()
    };
    assert!(load_with(flags(Some("c"), Some("k")), &[]).expect("loads").tls.is_some());
    assert!(load_with(flags(Some("c"), None), &[on, key]).expect("mixed").tls.is_some());
    assert!(load_text("tls.key = \"k\"", flags(Some("c"), None), &[]).expect("mixed").tls.is_some());
    assert!(load_text("tls = { cert = \"c\", key = \"k\" }", Flags::default(), &[on]).expect("file").tls.is_some());
    assert_refusal(load_with(flags(Some("c"), None), &[]), &["--tls-cert: ", "--tls-key FILE or tls.key"]);
    assert_refusal(load_with(flags(None, Some("k")), &[]), &["--tls-key: ", "--tls-cert FILE or tls.cert"]);
    assert_refusal(Err(refusal("[tls]\ncert = \"c\"")), &["pinwire.toml:2: tls.cert: ", "tls.key"]);
    assert_refusal(Err(refusal("[tls]\nkey = \"c\"")), &["pinwire.toml:2: tls.key: ", "tls.cert"]);
}

#[test]
fn a_wrong_key_or_type_is_named_with_its_line() {
    let cases: [(&str, &[&str]); 23] = [
        ("\n\nlisen = \":1\"", &["pinwire.toml:3: lisen: unknown key `lisen`", "`listen`"]),
        ("[front]\n# x\nhead_byte = 1", &["pinwire.toml:3: front.head_byte: unknown key", "`head_bytes`"]),
        ("[fornt]\nhead_bytes = 1", &["pinwire.toml:1: fornt: unknown key", "`front`"]),
        ("gpio.pins.lamp = { pin = 4, colour = \"red\" }", &["pinwire.toml:1: gpio.pins.lamp.colour: unknown key"]),
        ("[gpio.pins.lamp]", &["pinwire.toml:1: gpio.pins.lamp: missing key `pin`"]),
        ("[session]\nping_interval = 5", &["pinwire.toml:2: session.ping_interval: ", "write \"5s\""]),
        ("[session]\nping_interval = 0.5", &["pinwire.toml:2: session.ping_interval: ", "write \"0.5s\""]),
        ("shutdown_deadline = \"5\"", &["pinwire.toml:1: shutdown_deadline: \"5\" is not a duration", "\"5s\""]),
        ("shutdown_deadline = true", &["pinwire.toml:1: shutdown_deadline: ", "a duration in quotes"]),
        ("[front]\nhead_bytes = \"8192\"", &["pinwire.toml:2: front.head_bytes: ", "without quotes"]),
        ("[front]\nhead_bytes = -1", &["pinwire.toml:2: front.head_bytes: ", "`-1`", "a whole number"]),
        ("[front]\nhosts = \"pi\"", &["pinwire.toml:2: front.hosts: ", "expected an array"]),
        ("front = 5", &["pinwire.toml:1: front: ", "expected a table"]),
        ("front = []", &["pinwire.toml:1: front: invalid type: array, expected a table"]),
        ("[[front]]", &["pinwire.toml:1: front: invalid type: array, expected a table"]),
        ("gpio.pins = 1979-05-27", &["pinwire.toml:1: gpio.pins: invalid type: date or time, expected a table"]),
        ("root = 5", &["pinwire.toml:1: root: invalid type: integer `5`, expected a path in quotes"]),
        ("front.hosts = [\n\"a\",\n0x1f]", &["pinwire.toml:3: front.hosts: ", "integer `31`, expected a string"]),
        ("alerts.disk_warning = 99999999999999999999", &["alerts.disk_warning: invalid value", "64 bits"]),
        ("endrpi.error_style = \"text\"", &["pinwire.toml:1: endrpi.error_style: unknown value `text`", "`object`"]),
        ("[gpio]\nbackend = \"mock\"", &["pinwire.toml:2: gpio.backend: unknown value `mock`", "`sim`"]),
        ("root = \"/\"\nroot = \"/\"", &["pinwire.toml:2", "duplicate key"]),
        ("\nlog_level = info", &["pinwire.toml:2: log_level: not valid TOML", "in quotes"]),
    ];
    for (text, parts) in cases {
        assert_refusal(Err(refusal(text)), parts);
    }
    assert_refusal(Err(refusal("\"a\\nb\" = 1")), &["pinwire.toml:1: ", "unknown key"]);
    assert_refusal(Err(refusal("log_level = \"loud\"")), &["pinwire.toml:1: log_level: \"loud\"", "debug"]);
    assert_refusal(Err(refusal("log_events = \"\"")), &["pinwire.toml:1: log_events: \"\"", "debug"]);
    let flags = Flags { log_level: Some("loud".into()), ..Flags::default() };
    assert_refusal(load_with(flags, &[]), &["--log-level: \"loud\"", "debug"]);
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let dir = Dir::new();
    let load_path = |path: &Path| load_with(Flags { config: Some(path.into()), ..Flags::default() }, &[]);
    assert_refusal(load_path(&dir.0.join("absent.toml")), &["--config: ", "absent.toml", "No such file"]);
    assert_refusal(load_path(&dir.0), &["--config: ", "directory"]);
    assert_refusal(load_path(Path::new("/dev/zero")), &["--config: ", "/dev/zero", "longer"]);
    assert_refusal(load_path(&dir.file("x.toml", b"\n\nroot = \"\xff\"")), &["x.toml:3: ", "UTF-8"]);
}

#[test]
fn a_value_out_of_bounds_is_refused_with_its_bounds() {
    let counts = [
        ("front.max_connections", "0", "from 1 "),
        ("front.max_per_address", "0", "from 1 "),
        ("front.head_bytes", "255", "from 256 to 65536"),
        ("front.head_bytes", "65537", "from 256 to 65536"),
        ("front.body_bytes", "0", "from 1 "),
        ("session.message_bytes", "0", "from 1 to 16777216"),
        ("session.message_bytes", "16777217", "from 1 to 16777216"),
        ("session.backlog_bytes", "0", "from 1 "),
        ("session.total_backlog_bytes", "0", "from 1 "),
        ("session.send_buffer_bytes", "0", "from 1024 "),
        ("history.count", "1000001", "from 0 to 1000000"),
        ("history.bytes", "65535", "from 65536 "),
        ("history.topics", "0", "from 1 to 1000000"),
    ];
    for (key, value, bounds) in counts {
        let place = format!("pinwire.toml:2: {key}: is {value}, ");
        assert_refusal(Err(refusal(&format!("\n{key} = {value}"))), &[&place, bounds]);
    }
    let periods = [
        "shutdown_deadline",
        "front.head_deadline",
        "front.body_deadline",
        "front.idle_deadline",
        "front.response_deadline",
        "session.message_deadline",
        "session.ping_interval",
        "session.pong_deadline",
        "session.auth_deadline",
        "session.close_deadline",
        "picloud.info_interval",
        "telemetry.firmware_interval",
        "telemetry.firmware_deadline",
    ];
    for key in periods {
        for value in ["0s", "999us", "25h", "1000years"] {
            let place = format!("pinwire.toml:2: {key}: is \"");
            assert_refusal(Err(refusal(&format!("\n{key} = \"{value}\""))), &[&place, "\"1ms\"", "\"24h\""]);
        }
    }
    assert_refusal(Err(refusal("telemetry.max_age = \"25h\"")), &["telemetry.max_age", "\"24h\""]);
    assert_refusal(Err(refusal("history.age = \"999ms\"")), &["history.age", "\"1s\"", "\"24h\""]);
    assert_refusal(Err(refusal("session.slow_events = \"wait\"")), &["session.slow_events", "`drop` or `cut`"]);
    assert_refusal(Err(refusal("root = \"\"")), &["pinwire.toml:1: root: ", "\"/\""]);
    assert_refusal(Err(refusal(&format!("node_id = \"{}\"", "n".repeat(65)))), &["node_id: ", "1 to 64 bytes"]);
    assert_refusal(Err(refusal("node_id = \"a\\tb\"")), &["node_id: ", "control characters"]);
    for host in ["", "http://pi.local", "pi.local:9000", "pi local"] {
        assert_refusal(Err(refusal(&format!("front.hosts = [{host:?}]"))), &["front.hosts: ", "\"pi.local\""]);
    }
    for origin in ["", "pi.local", "http://", "http://pi.local/", "://pi"] {
        assert_refusal(Err(refusal(&format!("front.origins = [{origin:?}]"))), &["front.origins: ", "\"https://"]);
    }
}

#[test]
fn settings_in_conflict_are_both_named() {
    let both = ["session.backlog_bytes (", "session.total_backlog_bytes ("];
    for (text, place) in [
        ("[session]\nbacklog_bytes = 2000\ntotal_backlog_bytes = 1000", "pinwire.toml:2: session.backlog_bytes: "),
        ("[session]\ntotal_backlog_bytes = 1000", "pinwire.toml:2: session.total_backlog_bytes: "),
        ("[session]\nbacklog_bytes = 99999999", "pinwire.toml:2: session.backlog_bytes: "),
    ] {
        assert_refusal(Err(refusal(text)), &[&[place][..], &both].concat());
    }
    let twice = "[gpio.pins.lamp]\npin = 18\n[gpio.pins.\"led 1\"]\npin = \"pin12\"";
    assert_refusal(Err(refusal(twice)), &["pinwire.toml:", "GPIO18", "gpio.pins.lamp", "gpio.pins.\"led 1\""]);
}

#[test]
fn a_line_gets_no_name_that_means_another_line() {
    for name in ["GPIO17", "17", "pin11", "gpio17", "PIN11", "99", "GPIO018"] {
        let why = refusal(&format!("[gpio.pins.{name}]\npin = 18"));
        assert_refusal(Err(why), &[&format!("pinwire.toml:1: gpio.pins.{name}: "), "GPIO18", "led-1"]);
    }
    for name in ["GPIO18", "18", "pin12", "pin", "GPIO", "17a", "lämpchen"] {
        let config = good(&format!("[gpio.pins.{name:?}]\npin = 18"));
        assert_eq!(config.gpio.lines.get(name).map(|line| line.pin), Pin::new(18), "{name}");
    }
    let long = "n".repeat(65);
    for name in ["", "a\tb", &long] {
        assert_refusal(Err(refusal(&format!("[gpio.pins.{name:?}]\npin = 18"))), &["pinwire.toml:1: gpio.pins."]);
    }
    for pin in ["28", "-1", "\"GPIO28\"", "\"pin1\"", "\"lamp\"", "1.5", "300"] {
        let why = refusal(&format!("[gpio.pins.lamp]\npin = {pin}"));
        assert_refusal(Err(why), &["pinwire.toml:2: gpio.pins.lamp.pin: ", "0 to 27"]);
    }
}

#[test]
#[cfg_attr(not(feature = "hub"), ignore = "needs the feature hub")]
fn the_sample_file_shows_the_defaults() {
    let defaults = format!("{:?}", Config::default());
    let (as_shipped, active) = sample();
    assert_eq!(format!("{:?}", good(&as_shipped)), defaults);
    assert_eq!(format!("{:?}", good(&active)), defaults);
}

#[test]
fn the_sample_file_shows_every_key_and_explains_it() {
    let (as_shipped, active) = sample();
    let shown = DeTable::parse(&active).expect("TOML").into_inner();
    let top = known_keys("");
    assert!(top.len() > 10, "{top:?}");
    for key in &top {
        let value = shown.get(key.as_str()).unwrap_or_else(|| panic!("{key} is missing"));
        let Some(section) = value.get_ref().as_table() else { continue };
        // Its tables are called as their author likes.
        if key == "topics" {
            continue;
        }
        for inner in known_keys(key).iter().filter(|inner| !["pins", "templates"].contains(&inner.as_str())) {
            assert!(section.contains_key(inner.as_str()), "{key}.{inner} is missing");
        }
    }

    let lines: Vec<_> = as_shipped.lines().collect();
    for (above, line) in lines.iter().zip(&lines[1..]) {
        let is_key = line.starts_with('#') && !line.starts_with("# ") && line.contains('=');
        assert!(!is_key || above.starts_with("# "), "no word about {line}");
    }
}

#[test]
#[cfg_attr(not(feature = "hub"), ignore = "needs the feature hub")]
fn durable_topics_are_named_by_their_pattern_and_bounded() {
    let config = good(
        "state_dir = \"s\"\n[store]\ndurable_mib = 3\n[topics.\"door.**\"]\ndurable = true\nkeep_for = \"2days\"\n\
         [topics.bell]\nkeep = 7\n",
    );
    let told: Vec<_> = config
        .topics
        .iter()
        .map(|topic| (topic.pattern.as_str(), topic.durable, topic.keep, topic.keep_for.as_secs() / 3600))
        .collect();
    assert_eq!(told, [("bell", false, 7, 7 * 24), ("door.**", true, 10_000, 48)]);
    let [note] = config.warnings.as_slice() else { panic!("{:?}", config.warnings) };
    assert!(note.contains(":8: topics.bell.keep: counts for durable topics only, write durable = true"), "{note}");
    let all_said = good("state_dir = \"s\"\n[topics.a]\ndurable = true\nkeep = 7\n[topics.b]\ndurable = false\n");
    assert_eq!(all_said.warnings, [""; 0]);
    assert_eq!(config.store.durable_bytes, 3 * 1024 * 1024);
    let durable = |rest: &str| refusal(&format!("state_dir = \"s\"\n[topics.{rest}"));
    for (why, parts) in [
        (refusal("[topics.door]\ndurable = true"), ["topics.door.durable", "needs a state_dir"]),
        (durable("\"gpio.**\"]\ndurable = true"), ["topics.\"gpio.**\".durable", "the daemon's own"]),
        (durable("\"a.**.b\"]\ndurable = true"), ["topics.\"a.**.b\"", "the last level"]),
        (durable("a]\ndurable = true\nkeep = 0"), ["topics.a.keep", "from 1 to 1000000"]),
        (durable("a]\ndurable = true\nkeep_for = \"5ms\""), ["topics.a.keep_for", "\"1s\""]),
        (durable("a]\ndurable = 1"), ["topics.a.durable", "boolean"]),
        (durable("a]\nkept = 1"), ["topics.a.kept", "`durable`, `keep`, `keep_for`"]),
    ] {
        assert!(parts.iter().all(|part| why.contains(part)), "{parts:?}: {why}");
    }
}
