//! The configuration of GPIO that cannot be: every bound, and every pair of keys that cannot stand together, with the
//! exact line that says so and names both.

#[path = "config/support.rs"]
mod support;

use support::refusal;

/// `a` is line 17, `b` line 18; each with these settings. The tables stand in lines 1 and 6 of the file, so that
/// the settings of `a` start in line 3 and those of `b` in line 8.
fn two(a: &str, b: &str) -> String {
    let gap = "\n".repeat(4 - a.lines().count());
    format!("[gpio.pins.a]\npin = 17\n{a}{gap}[gpio.pins.b]\npin = 18\n{b}\n")
}

#[test]
fn settings_that_cannot_stand_together_are_both_named() {
    let no_output = "but gpio.pins.a.mode is \"input\", remove one of them";
    for (setting, meaning) in [
        ("initial = \"low\"", "is an output's first level"),
        ("safe = \"low\"", "is for outputs"),
        ("on_disconnect = \"hold\"", "is for outputs"),
        ("max_on = \"30s\"", "is for outputs"),
        ("min_off = \"30s\"", "is for outputs"),
        ("interlock = [\"b\"]", "is for outputs"),
        ("persist = true", "keeps an output's level"),
        ("frequency = 100", "is for PWM"),
        ("duty = 0.0", "is for PWM"),
    ] {
        let key = setting.split(' ').next().expect("key");
        let why = refusal(&two(&format!("mode = \"input\"\n{setting}"), ""));
        assert_eq!(why, format!("pinwire.toml:4: gpio.pins.a.{key}: {meaning}, {no_output}"));
    }
    for (mode, setting, meaning) in [
        ("output", "debounce = \"5ms\"", "is for inputs"),
        ("output", "edge = \"both\"", "is for inputs"),
        ("pwm", "debounce = \"5ms\"", "is for inputs"),
        ("pwm", "edge = \"none\"", "is for inputs"),
        ("output", "frequency = 50", "is for PWM"),
        ("output", "duty = 0.5", "is for PWM"),
        ("pwm", "initial = \"low\"", "is an output's first level"),
        ("pwm", "persist = true", "keeps an output's level"),
    ] {
        let key = setting.split(' ').next().expect("key");
        let why = refusal(&two(&format!("{setting}\nmode = {mode:?}"), ""));
        let but = format!("but gpio.pins.a.mode is {mode:?}, remove one of them");
        assert_eq!(why, format!("pinwire.toml:3: gpio.pins.a.{key}: {meaning}, {but}"));
    }
    for (setting, meaning, mode) in [
        ("initial = \"low\"", "is an output's first level", "output"),
        ("persist = true", "keeps an output's level", "output"),
        ("frequency = 50", "is for PWM", "pwm"),
        ("duty = 0.5", "is for PWM", "pwm"),
    ] {
        let key = setting.split(' ').next().expect("key");
        let but = format!("but gpio.pins.a.mode is not set, write mode = {mode:?}");
        assert_eq!(refusal(&two(setting, "")), format!("pinwire.toml:3: gpio.pins.a.{key}: {meaning}, {but}"));
    }
}

#[test]
fn contradictions_between_settings_name_both() {
    let (on, pwm) = ("mode = \"output\"\ninitial = \"high\"", "mode = \"pwm\"\nduty = 0.5");
    let cases = [
        (
            two("max_on = \"30s\"\nsafe = \"high\"", ""),
            "pinwire.toml:3: gpio.pins.a.max_on: ends in the safe state, but gpio.pins.a.safe is \"high\", which can be \
             on, write safe = \"low\" or \"input\"",
        ),
        (
            two("safe = \"hold\"\nmax_on = \"30s\"", ""),
            "pinwire.toml:4: gpio.pins.a.max_on: ends in the safe state, but gpio.pins.a.safe is \"hold\", which can be \
             on, write safe = \"low\" or \"input\"",
        ),
        (
            two("safe = \"hold\"\non_disconnect = \"safe\"", ""),
            "pinwire.toml:4: gpio.pins.a.on_disconnect: leads to the safe state, but gpio.pins.a.safe is \"hold\", so \
             nothing would happen, write on_disconnect = \"hold\" or another safe state",
        ),
        (
            two("mode = \"output\"\npersist = true", ""),
            "pinwire.toml:4: gpio.pins.a.persist: needs a directory to keep the level in, set state_dir or give \
             --state-dir DIR",
        ),
        (
            two("interlock = [4, \"a\"]", ""),
            "pinwire.toml:3: gpio.pins.a.interlock: names GPIO17, which is the line itself, name the others",
        ),
        (
            two("interlock = [17]", ""),
            "pinwire.toml:3: gpio.pins.a.interlock: names GPIO17, which is the line itself, name the others",
        ),
        (
            two("interlock = [\"c\"]", ""),
            "pinwire.toml:3: gpio.pins.a.interlock: \"c\" is neither a line such as 17, \"GPIO17\" or \"pin11\" nor a \
             name below gpio.pins",
        ),
        (
            two("interlock = [\"*\"]", ""),
            "pinwire.toml:3: gpio.pins.a.interlock: \"*\" is neither a line such as 17, \"GPIO17\" or \"pin11\" nor a \
             name below gpio.pins",
        ),
        (
            two("interlock = [\"b\"]", "mode = \"input\""),
            "pinwire.toml:3: gpio.pins.a.interlock: names \"b\", but gpio.pins.b.mode is \"input\", only outputs can be \
             on",
        ),
        (
            two(&format!("{on}\ninterlock = [\"b\"]"), on),
            "pinwire.toml:4: gpio.pins.a.initial: turns the line on from the start, and so does gpio.pins.b.initial, \
             but gpio.pins.a.interlock says that only one of them may be on",
        ),
        (
            two(pwm, &format!("{on}\ninterlock = [\"a\"]")),
            "pinwire.toml:9: gpio.pins.b.initial: turns the line on from the start, and so does gpio.pins.a.duty, but \
             gpio.pins.b.interlock says that only one of them may be on",
        ),
        (
            two("safe = \"high\"", "safe = \"high\"\ninterlock = [17]"),
            "pinwire.toml:8: gpio.pins.b.safe: is \"high\", but gpio.pins.b.interlock says that only one of the lines may \
             be on, and a safe state is driven whatever the other one is, write \"low\" or \"input\"",
        ),
        (
            two("safe = \"hold\"\ninterlock = [18]", "safe = \"high\""),
            "pinwire.toml:8: gpio.pins.b.safe: is \"high\", but gpio.pins.a.interlock says that only one of the lines may \
             be on, and a safe state is driven whatever the other one is, write \"low\" or \"input\"",
        ),
        (
            "[gpio.pins.sda]\npin = 2\nbias = \"down\"".into(),
            "pinwire.toml:3: gpio.pins.sda.bias: is \"down\", but gpio.pins.sda.pin is GPIO2, whose pull-up is a \
             resistor on the board, write \"up\" or \"as-is\"",
        ),
        (
            "[gpio.pins.scl]\npin = \"pin5\"\nbias = \"floating\"".into(),
            "pinwire.toml:3: gpio.pins.scl.bias: is \"off\", but gpio.pins.scl.pin is GPIO3, whose pull-up is a \
             resistor on the board, write \"up\" or \"as-is\"",
        ),
        (
            "gpio.backend = \"sysfs\"\n[gpio.pins.door]\npin = 4\nbias = \"up\"".into(),
            "pinwire.toml:4: gpio.pins.door.bias: is \"up\", but gpio.backend is \"sysfs\", which has no bias, and \
             gpio.sysfs_bias is \"refuse\", set it to \"cdev\" or \"pinctrl\"",
        ),
        (
            two("mode = \"pwm\"\nfrequency = 201", ""),
            "pinwire.toml:4: gpio.pins.a.frequency: gpio.pins.a.frequency (201) is more than gpio.software_pwm_limit \
             (200), and GPIO17 has no hardware PWM on any board, lower the first, raise the second, or use GPIO12, \
             GPIO13, GPIO18 or GPIO19",
        ),
        (
            format!("gpio.software_pwm_limit = 99\n{}", two("mode = \"pwm\"", "")),
            "pinwire.toml:1: gpio.software_pwm_limit: gpio.pins.a.frequency (100) is more than \
             gpio.software_pwm_limit (99), and GPIO17 has no hardware PWM on any board, lower the first, raise the \
             second, or use GPIO12, GPIO13, GPIO18 or GPIO19",
        ),
        (
            two("", "").replace("18", "\"GPIO17\""),
            "pinwire.toml:8: gpio.pins.b.pin: GPIO17 already has the name gpio.pins.a, keep one of gpio.pins.a and \
             gpio.pins.b",
        ),
    ];
    for (text, why) in cases {
        assert_eq!(refusal(&text), why, "{text}");
    }
}

#[test]
fn a_value_out_of_bounds_is_refused_with_its_bounds() {
    let bounds = [
        ("gpio.edge_events = 1000001", "gpio.edge_events: is 1000001, it must be from 0 to 1000000"),
        ("gpio.software_pwm_limit = 0", "gpio.software_pwm_limit: is 0, it must be from 1 to 1000"),
        ("gpio.software_pwm_limit = 1001", "gpio.software_pwm_limit: is 1001, it must be from 1 to 1000"),
        ("gpio.chip = \"a\\tb\"", "gpio.chip: \"a\\tb\" has control characters in it, leave them out"),
        (
            "gpio.allow = [\"lamp\"]",
            "gpio.allow: \"lamp\" is neither a line such as 17, \"GPIO17\" or \"pin11\" nor a name below gpio.pins",
        ),
        (
            "gpio.deny = [\"\"]",
            "gpio.deny: \"\" is neither a line such as 17, \"GPIO17\" or \"pin11\" nor a name below gpio.pins",
        ),
        (
            "gpio.deny = [28]",
            "gpio.deny: invalid value: integer `28`, expected a BCM number from 0 to 27, \"GPIO17\", \"pin11\", or a \
             name such as \"led-1\"",
        ),
    ];
    for (text, why) in bounds {
        assert_eq!(refusal(text), format!("pinwire.toml:1: {why}"));
    }
    let periods = [("debounce", "10s"), ("max_on", "24h"), ("min_off", "24h"), ("on_disconnect", "24h")];
    for (key, most) in periods {
        for (value, told) in [("0s", "0s"), ("999us", "999us"), ("1441m", "1day 1m")] {
            let written = if key == "on_disconnect" { format!("safe after {value}") } else { value.to_owned() };
            let why = format!("is \"{told}\", it must be from \"1ms\" to \"{most}\"");
            let place = format!("pinwire.toml:3: gpio.pins.a.{key}: ");
            assert_eq!(refusal(&two(&format!("{key} = {written:?}"), "")), place + &why);
        }
    }
    let values = [
        ("frequency = 0", "is 0, it must be from 1 to 40000"),
        ("frequency = 40001", "is 40001, it must be from 1 to 40000"),
        ("duty = 1.01", "floating point `1.01`, expected a number without quotes from 0.0 to 1.0 such as 0.25"),
        ("duty = -0.5", "floating point `-0.5`, expected a number without quotes from 0.0 to 1.0 such as 0.25"),
        ("duty = nan", "floating point `NaN`, expected a number without quotes from 0.0 to 1.0 such as 0.25"),
        ("duty = 2", "integer `2`, expected a number without quotes from 0.0 to 1.0 such as 0.25"),
        ("duty = \"1\"", "string \"1\", expected a number without quotes from 0.0 to 1.0 such as 0.25"),
        ("frequency = \"1kHz\"", "string \"1kHz\", expected a whole number without quotes such as 65536"),
    ];
    for (setting, why) in values {
        let key = setting.split(' ').next().expect("key");
        let refused = refusal(&two(&format!("mode = \"pwm\"\n{setting}"), ""));
        assert!(refused.starts_with(&format!("pinwire.toml:4: gpio.pins.a.{key}: ")), "{refused}");
        assert!(refused.ends_with(why), "{refused}");
    }
}

#[test]
fn a_word_that_does_not_exist_is_answered_with_those_that_do() {
    for (setting, expected) in [
        ("mode = \"out\"", "unknown value `out`, expected one of `input`, `output`, `pwm`"),
        ("bias = \"pull-up\"", "unknown value `pull-up`, expected one of `up`, `down`, `floating`, `off`, `as-is`"),
        ("edge = \"any\"", "unknown value `any`, expected one of `none`, `rising`, `falling`, `both`"),
        ("initial = \"on\"", "unknown value `on`, expected one of `low`, `high`, `as-is`"),
        ("safe = \"off\"", "unknown value `off`, expected one of `low`, `high`, `input`, `hold`"),
        ("on_disconnect = \"low\"", "invalid value: string \"low\", expected \"hold\", \"safe\", or \"safe after 2s\""),
        (
            "on_disconnect = \"safe after soon\"",
            "\"soon\" is not a duration (expected number at 0), write for example \"5s\" or \"100ms\"",
        ),
        ("debounce = 5", "the number 5 has no unit, write \"5s\" for seconds"),
        ("debounce = 0.5", "the number 0.5 has no unit, write \"0.5s\" for seconds"),
        (
            "max_on = \"long\"",
            "\"long\" is not a duration (expected number at 0), write for example \"5s\" or \"100ms\"",
        ),
        ("max_on = true", "invalid type: boolean `true`, expected a duration in quotes such as \"5s\" or \"100ms\""),
        ("mode = 5", "wrong kind of value, write a word in quotes"),
        (
            "colour = \"red\"",
            "unknown key `colour`, expected one of `pin`, `mode`, `bias`, `active_low`, `debounce`, \
          `edge`, `initial`, `safe`, `on_disconnect`, `max_on`, `min_off`, `interlock`, `persist`, `frequency`, `duty`",
        ),
    ] {
        let key = setting.split(' ').next().expect("key");
        assert_eq!(refusal(&two(setting, "")), format!("pinwire.toml:3: gpio.pins.a.{key}: {expected}"));
    }
}
