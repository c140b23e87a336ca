//! The configuration of GPIO from outside: every key with its values, and the sample file's examples.

#[path = "config/support.rs"]
mod support;

use std::time::Duration;

use pinwire::config::{Backend, Config, Flags, Initial, Line, Mode, Safe, SysfsBias, load_lines};
use pinwire::types::line::{Bias, Duty, Edge, Level, Pin};
use support::{Dir, good, has_every_feature, known_keys, load_text, sample};
use toml::de::DeTable;

fn pin(number: u8) -> Pin {
    Pin::new(number).expect("pin")
}

fn pins(numbers: &[u8]) -> Vec<Pin> {
    numbers.iter().map(|number| pin(*number)).collect()
}

fn line(config: &Config, name: &str) -> Line {
    config.gpio.lines.get(name).unwrap_or_else(|| panic!("no {name}")).clone()
}

/// Line 17 as `lamp` with these settings besides.
fn lamp(settings: &str) -> Line {
    line(&good(&format!("state_dir = \"s\"\n[gpio.pins.lamp]\npin = 17\n{settings}")), "lamp")
}

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

#[test]
fn every_key_of_gpio_arrives() {
    let gpio = good(
        r#"
        [gpio]
        backend = "sysfs"
        chip = "pinctrl-rp1"
        allow = ["lamp", 4, "GPIO5", "pin31", 4]
        deny = ["pin7", 0]
        edge_events = 0
        sysfs_bias = "pinctrl"
        software_pwm_limit = 1000
        pins.lamp.pin = 17
        "#,
    )
    .gpio;
    assert_eq!((gpio.backend, gpio.chip.as_deref()), (Backend::Sysfs, Some("pinctrl-rp1")));
    assert_eq!(gpio.allow, Some(pins(&[4, 5, 6, 17])), "by number, position and name; sorted, each once");
    assert_eq!(gpio.deny, pins(&[0, 4]));
    assert_eq!((gpio.edge_events, gpio.software_pwm_limit), (0, 1000));
    assert_eq!(gpio.sysfs_bias, SysfsBias::Pinctrl);
    assert_eq!(good("gpio.sysfs_bias = \"cdev\"").gpio.sysfs_bias, SysfsBias::Cdev);
    assert_eq!(good("gpio.sysfs_bias = \"refuse\"").gpio.sysfs_bias, SysfsBias::Refuse);
    assert_eq!(good("gpio.chip = \"\"").gpio.chip, None);
}

#[test]
fn deny_beats_allow_and_says_so() {
    let gpio = good("").gpio;
    assert!(!gpio.may_touch(pin(0)) && !gpio.may_touch(pin(1)) && gpio.may_touch(pin(2)));
    let gpio = good("gpio.deny = []").gpio;
    assert!((0..28).all(|number| gpio.may_touch(pin(number))));
    for nothing in ["gpio.allow = []", "gpio.deny = [\"*\"]", "gpio.deny = [4, \"*\"]"] {
        let gpio = good(nothing).gpio;
        assert!(!(0..28).any(|number| gpio.may_touch(pin(number))), "{nothing}");
    }
    assert_eq!(good("gpio.allow = [\"*\"]").gpio.allow, None);

    let config = good("[gpio]\nallow = [4, 17, 18]\ndeny = [\"pin7\", 18, 2]");
    assert!(config.gpio.may_touch(pin(17)) && !config.gpio.may_touch(pin(4)) && !config.gpio.may_touch(pin(5)));
    let [warning] = &config.warnings[..] else { panic!("{:?}", config.warnings) };
    let wins = "pinwire.toml:3: gpio.deny has GPIO4, GPIO18 as well and wins, so clients may not touch what is in both";
    assert!(warning.starts_with('/') && warning.contains("pinwire.toml:2: gpio.allow: "), "{warning}");
    assert!(warning.ends_with(wins), "{warning}");
    let config = good("gpio.allow = [1, 2]");
    assert!(config.warnings[0].contains("the default of gpio.deny has GPIO1 as well"), "{:?}", config.warnings);
    assert!(good("[gpio]\nallow = [1, 2]\ndeny = []").warnings.is_empty());
}

#[test]
fn a_mode_may_stand_on_a_line_that_clients_may_not_touch() {
    let config = good("[gpio]\ndeny = [\"relay\"]\n[gpio.pins.relay]\npin = 17\nmode = \"output\"\ninitial = \"high\"");
    assert!(!config.gpio.may_touch(pin(17)) && config.warnings.is_empty());
    assert_eq!(line(&config, "relay").mode, Some(Mode::Output));
}

#[test]
fn every_key_of_a_line_arrives() {
    assert_eq!(lamp(""), Line::plain(pin(17)), "a name alone changes nothing");
    let out = "mode = \"output\"\n";
    let plain = || Line::plain(pin(17));
    let output = || Line { mode: Some(Mode::Output), ..plain() };
    let pwm = || Line { mode: Some(Mode::Pwm), ..plain() };
    let cases = [
        ("mode = \"input\"".to_owned(), Line { mode: Some(Mode::Input), ..plain() }),
        (out.to_owned(), output()),
        ("mode = \"pwm\"".into(), pwm()),
        ("bias = \"up\"".into(), Line { bias: Some(Bias::Up), ..plain() }),
        ("bias = \"down\"".into(), Line { bias: Some(Bias::Down), ..plain() }),
        ("bias = \"off\"".into(), Line { bias: Some(Bias::Floating), ..plain() }),
        ("bias = \"floating\"".into(), Line { bias: Some(Bias::Floating), ..plain() }),
        ("bias = \"as-is\"".into(), plain()),
        ("active_low = true".into(), Line { active_low: true, ..plain() }),
        ("debounce = \"5ms\"".into(), Line { debounce: ms(5), ..plain() }),
        ("debounce = \"10s\"".into(), Line { debounce: ms(10_000), ..plain() }),
        ("debounce = \"\"".into(), plain()),
        ("edge = \"none\"".into(), Line { edge: Edge::None, ..plain() }),
        ("edge = \"rising\"".into(), Line { edge: Edge::Rising, ..plain() }),
        ("edge = \"falling\"".into(), Line { edge: Edge::Falling, ..plain() }),
        ("edge = \"both\"".into(), plain()),
        (format!("{out}initial = \"low\""), Line { initial: Initial::Level(Level::Low), ..output() }),
        (format!("{out}initial = \"high\""), Line { initial: Initial::Level(Level::High), ..output() }),
        (format!("{out}initial = \"as-is\""), output()),
        ("safe = \"low\"".into(), plain()),
        ("safe = \"high\"".into(), Line { safe: Safe::Level(Level::High), ..plain() }),
        ("safe = \"input\"".into(), Line { safe: Safe::Input, ..plain() }),
        ("safe = \"hold\"".into(), Line { safe: Safe::Hold, ..plain() }),
        ("on_disconnect = \"hold\"".into(), plain()),
        ("on_disconnect = \"safe\"".into(), Line { on_disconnect: Some(ms(2000)), ..plain() }),
        ("on_disconnect = \"safe after 1m 5ms\"".into(), Line { on_disconnect: Some(ms(60_005)), ..plain() }),
        ("max_on = \"30s\"".into(), Line { max_on: Some(ms(30_000)), ..plain() }),
        (
            "max_on = \"24h\"\nsafe = \"input\"".into(),
            Line { max_on: Some(ms(86_400_000)), safe: Safe::Input, ..plain() },
        ),
        ("max_on = \"\"\nsafe = \"hold\"".into(), Line { safe: Safe::Hold, ..plain() }),
        ("min_off = \"500ms\"".into(), Line { min_off: ms(500), ..plain() }),
        ("min_off = \"\"".into(), plain()),
        (format!("{out}persist = true"), Line { persist: true, ..output() }),
        (format!("{out}persist = true\ninitial = \"as-is\""), Line { persist: true, ..output() }),
        ("persist = false".into(), plain()),
        ("interlock = []".into(), plain()),
        ("mode = \"pwm\"\nfrequency = 200".into(), Line { frequency: 200, ..pwm() }),
        ("mode = \"pwm\"\nduty = 0.25".into(), Line { duty: Duty::from_fraction(0.25).expect("duty"), ..pwm() }),
        ("mode = \"pwm\"\nduty = 1".into(), Line { duty: Duty::FULL, ..pwm() }),
        ("mode = \"pwm\"\nmin_off = \"1s\"".into(), Line { min_off: ms(1000), ..pwm() }),
        // Whoever writes nothing into a key has not set it, whatever the mode.
        ("mode = \"input\"\nmax_on = \"\"\nmin_off = \"\"".into(), Line { mode: Some(Mode::Input), ..plain() }),
    ];
    for (settings, expected) in cases {
        assert_eq!(lamp(&settings), expected, "{settings}");
    }
}

#[test]
fn hardware_pwm_may_be_faster_than_software() {
    let fan = |pin: &str, more: &str| {
        let text = format!("[gpio]\nsoftware_pwm_limit = 50\n[gpio.pins.fan]\npin = {pin}\nmode = \"pwm\"\n{more}");
        line(&good(&text), "fan").frequency
    };
    for hardware in ["12", "13", "14", "15", "18", "19"] {
        assert_eq!((fan(hardware, "frequency = 40000"), fan(hardware, "")), (40_000, 100));
    }
    assert_eq!(fan("17", "frequency = 50"), 50);
}

#[test]
fn a_resistor_on_the_board_may_be_named_as_it_is() {
    for number in [2, 3] {
        for (word, bias) in [("up", Some(Bias::Up)), ("as-is", None)] {
            let config = good(&format!("gpio.backend = \"sysfs\"\n[gpio.pins.i2c]\npin = {number}\nbias = {word:?}"));
            assert_eq!(line(&config, "i2c").bias, bias);
        }
    }
}

#[test]
fn an_interlock_said_on_one_side_holds_on_both() {
    let config = good(
        "[gpio.pins.down]\npin = 18\n[gpio.pins.up]\npin = 17\ninterlock = [\"down\", \"GPIO22\", \"pin12\", 18]\n\
         [gpio.pins.\"über all\"]\npin = 23\ninterlock = [\"up\"]",
    );
    assert_eq!(line(&config, "up").interlock, pins(&[18, 22, 23]), "each once");
    for (name, number) in [("down", 18), ("GPIO22", 22), ("über all", 23)] {
        assert_eq!(line(&config, name), Line { interlock: pins(&[17]), ..Line::plain(pin(number)) });
    }
    assert_eq!(config.gpio.lines.len(), 4);
    let both = good("[gpio.pins.a]\npin = 17\ninterlock = [\"b\"]\n[gpio.pins.b]\npin = 18\ninterlock = [\"a\"]");
    assert_eq!((line(&both, "a").interlock, line(&both, "b").interlock), (pins(&[18]), pins(&[17])));
    // One may be on at the start.
    good(
        "[gpio.pins.a]\npin = 17\nmode = \"output\"\ninitial = \"high\"\ninterlock = [\"b\"]\n\
         [gpio.pins.b]\npin = 18\nmode = \"pwm\"\nduty = 0.0\nsafe = \"input\"",
    );
}

#[test]
fn commands_beside_the_daemon_do_not_stumble_over_what_is_not_about_lines() {
    let text = "listen = \":9000\"\n[auth]\nmode = \"key\"\napi_key_file = \"/no/such/key\"\n[tls]\ncert = \"c\"\n\
                [gpio.pins.pump]\npin = 17\nmode = \"output\"\npersist = true\nsafe = \"input\"";
    assert!(load_text(text, Flags::default(), &[]).is_err());
    let dir = Dir::new();
    let flags = Flags { config: Some(dir.file("pinwire.toml", text)), gpio: Some(Backend::Sim), ..Flags::default() };
    let config = load_lines(&flags).expect("loads");
    assert_eq!((line(&config, "pump").safe, config.gpio.backend), (Safe::Input, Backend::Sim));
    let wrong = Flags {
        config: Some(dir.file("bad.toml", "[gpio.pins.a]\npin = 17\nmode = \"input\"\nsafe = \"low\"")),
        ..flags
    };
    assert!(load_lines(&wrong).expect_err("refused").to_string().contains("bad.toml:4: gpio.pins.a.safe: "));
}

#[test]
fn the_sample_file_s_lines_show_every_key_at_its_default() {
    if !has_every_feature() {
        return;
    }
    let (as_shipped, _) = sample();
    // The examples are indented, so that no example comes true by removing a single #.
    let indented = as_shipped.lines().filter_map(|line| line.strip_prefix("#   "));
    // The list of what a reload applies, and other tables, are indented as well and come before.
    let examples = indented.skip_while(|line| !line.starts_with("[gpio.pins."));
    let text = examples.fold(String::new(), |all, line| all + line + "\n");
    let config = good(&text);
    let plain = |number| Line::plain(pin(number));
    assert_eq!(config.gpio.lines.len(), 3);
    assert_eq!(line(&config, "led-1"), Line { mode: Some(Mode::Output), ..plain(17) });
    let door = Line { mode: Some(Mode::Input), bias: Some(Bias::Up), active_low: true, ..plain(27) };
    assert_eq!(line(&config, "door"), door);
    assert_eq!(line(&config, "fan"), Line { mode: Some(Mode::Pwm), ..plain(18) });

    let shown = DeTable::parse(&text).expect("TOML").into_inner();
    let tables = shown.get("gpio").and_then(|gpio| gpio.get_ref().get("pins")).expect("gpio.pins");
    let tables = tables.get_ref().as_table().expect("a table");
    let keys = known_keys("gpio.pins.x");
    assert!(keys.len() > 10, "{keys:?}");
    for key in keys {
        let shown = tables.values().any(|line| line.get_ref().get(&key).is_some());
        let told = as_shipped.lines().any(|line| line.starts_with(&format!("#   {key} = ")));
        assert!(shown && told, "gpio.pins.NAME.{key} is missing");
    }
}
