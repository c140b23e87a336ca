//! What the daemon tells of the machine where the firmware's mailbox and the sensors are devices of a kernel, and what
//! where they fail: the documented words or the next source, never a value that nobody gave.

mod common;
mod rig;

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};

use common::{Daemon, TempDir, Ws, pinwire};
use rig::doubles::{Thermal, Vcio};
use rig::{requests, wait_until};
use serde_json::{Value, json};

const NO_THROTTLE: &str = "Failed to query system throttle status";
const NO_TEMPERATURE: &str = "Failed to query system on chip temperature";
const NO_ARM: &str = "Failed to query system ARM frequency";
const NO_CORE: &str = "Failed to query system core frequency";

/// There is one `/dev/vcio` and one thermal zone for all tests.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A root with nothing of this machine but the mailbox, wherever that is.
struct Root(TempDir);

impl Root {
    fn new() -> Root {
        let dir = TempDir::new();
        std::fs::create_dir(dir.path().join("dev")).expect("a directory");
        let root = Root(dir);
        root.link("dev/vcio", Path::new("/dev/vcio"));
        root
    }

    fn link(&self, name: &str, to: &Path) {
        let path = self.0.path().join(name);
        std::fs::create_dir_all(path.parent().expect("below the root")).expect("directories");
        symlink(to, path).expect("a link");
    }

    fn file(&self, name: &str, text: &str) {
        self.0.file(name, text);
    }

    /// What the daemon has to be told; every reading is a new one.
    fn config(&self) -> String {
        format!("root = \"{}\"\n[telemetry]\nmax_age = \"0s\"\n", self.0.path().display())
    }

    fn daemon(&self) -> Daemon {
        Daemon::with_config(&self.config(), &["--log-level", "debug"])
    }
}

fn ask(ws: &mut Ws, action: &str) -> Result<Value, String> {
    requests::ask(ws, action, json!({}))
}

/// The flags as the firmware's bits.
fn throttle(ws: &mut Ws) -> Result<u32, String> {
    let data = ask(ws, "READ_THROTTLE")?;
    let bits = [
        (0, "underVoltageDetected"),
        (1, "armFrequencyCapped"),
        (2, "throttling"),
        (3, "softTemperatureLimitActive"),
        (16, "underVoltageHasOccurred"),
        (17, "armFrequencyCappingHasOccurred"),
        (18, "throttlingHasOccurred"),
        (19, "softTemperatureLimitHasOccurred"),
    ];
    Ok(bits.iter().map(|(bit, name)| u32::from(data[name].as_bool().expect("a flag")) << bit).sum())
}

fn temperature(ws: &mut Ws) -> Result<f64, String> {
    ask(ws, "READ_TEMPERATURE").map(|data| data["systemOnChip"]["quantity"].as_f64().expect("a number"))
}

/// Of the ARM cores and of the VideoCore, in hertz.
fn frequency(ws: &mut Ws) -> Result<(f64, f64), String> {
    let data = ask(ws, "READ_FREQUENCY")?;
    let hertz = |name: &str| data[name]["quantity"].as_f64().expect("a number");
    Ok((hertz("arm"), hertz("core")))
}

fn missing<T>(text: &str) -> Result<T, String> {
    Err(text.to_owned())
}

#[test]
fn the_mailbox_is_told_and_followed() {
    if rig::absent() {
        return;
    }
    let (_alone, root) = (alone(), Root::new());
    let vcio = Vcio::start();
    let daemon = root.daemon();
    let mut ws = daemon.ws("/");
    // The double's measured clocks are 17 Hz short of those that were set.
    assert_eq!(throttle(&mut ws), Ok(0x50005));
    assert_eq!(temperature(&mut ws), Ok(48.312));
    assert_eq!(frequency(&mut ws), Ok((1_499_999_983.0, 499_999_983.0)));
    for bits in [0, 1, 0xF000F, 0x80000] {
        vcio.say(&json!({"throttled": bits, "temperature": 1000 + bits % 1000, "clock": 600_000_017}).to_string());
        assert_eq!(throttle(&mut ws), Ok(bits));
        assert_eq!(temperature(&mut ws), Ok(f64::from(1000 + bits % 1000) / 1000.0));
        assert_eq!(frequency(&mut ws), Ok((6e8, 499_999_983.0)));
    }
}

#[test]
fn without_a_mailbox_the_files_tell_and_then_nobody() {
    if rig::absent() {
        return;
    }
    let (_alone, root) = (alone(), Root::new());
    let daemon = root.daemon();
    let mut ws = daemon.ws("/");
    assert_eq!(throttle(&mut ws), missing(NO_THROTTLE));
    assert_eq!(temperature(&mut ws), missing(NO_TEMPERATURE));
    assert_eq!(frequency(&mut ws), missing(NO_ARM));
    root.file("sys/class/hwmon/hwmon1/name", "rpi_volt\n");
    root.file("sys/class/hwmon/hwmon1/in0_lcrit_alarm", "1\n");
    assert_eq!(throttle(&mut ws), Ok(1), "the one flag it has");
    root.file("sys/devices/platform/soc/soc:firmware/get_throttled", "50000\n");
    assert_eq!(throttle(&mut ws), Ok(0x50000));
    root.file("sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq", "1800000\n");
    assert_eq!(frequency(&mut ws), missing(NO_CORE), "nobody else knows that one");
    // It comes while the daemon runs.
    let _vcio = Vcio::start();
    assert_eq!(throttle(&mut ws), Ok(0x50005));
    assert_eq!(frequency(&mut ws), Ok((1_499_999_983.0, 499_999_983.0)));
}

#[test]
fn who_may_not_open_the_mailbox_gets_what_there_is_without_it() {
    if rig::absent() {
        return;
    }
    let (_alone, root) = (alone(), Root::new());
    let _vcio = Vcio::start();
    root.file("sys/class/thermal/thermal_zone0/type", "cpu-thermal\n");
    root.file("sys/class/thermal/thermal_zone0/temp", "41000\n");
    let dir = TempDir::new();
    let config = dir.file("pinwire.toml", &root.config());
    let mut command = Command::new("setpriv");
    command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]).arg(pinwire().get_program());
    command.args(["serve", "--listen", "127.0.0.1:0", "--gpio", "sim", "--log-level", "debug", "--config"]).arg(config);
    let daemon = Daemon::launch(dir, command);
    let mut ws = daemon.ws("/");
    assert_eq!(throttle(&mut ws), missing(NO_THROTTLE));
    daemon.wait_for_log("dev/vcio: Permission denied");
    assert_eq!(frequency(&mut ws), missing(NO_ARM));
    assert_eq!(temperature(&mut ws), Ok(41.0));
}

#[test]
fn a_mailbox_that_fails_says_nothing_and_is_asked_again_later() {
    if rig::absent() {
        return;
    }
    let (_alone, root) = (alone(), Root::new());
    let vcio = Vcio::start();
    // EIO, EINVAL, and what the driver says of a firmware that is stuck.
    for errno in [5, 22, 110] {
        vcio.say(&json!({ "errno": errno }).to_string());
        let daemon = root.daemon();
        let mut ws = daemon.ws("/");
        assert_eq!(throttle(&mut ws), missing(NO_THROTTLE), "errno {errno}");
        daemon.wait_for_log("not asked again for 10s");
        assert_eq!(temperature(&mut ws), missing(NO_TEMPERATURE), "errno {errno}");
        assert_eq!(frequency(&mut ws), missing(NO_ARM), "errno {errno}");
    }
    let daemon = root.daemon();
    let mut ws = daemon.ws("/");
    assert_eq!(throttle(&mut ws), missing(NO_THROTTLE));
    vcio.say("{}");
    assert_eq!(throttle(&mut ws), missing(NO_THROTTLE), "it is left alone for a while");
    wait_until("it is asked again", || throttle(&mut ws) == Ok(0x50005));
}

#[test]
fn a_message_the_firmware_has_not_processed_holds_no_answers() {
    if rig::absent() {
        return;
    }
    let (_alone, root) = (alone(), Root::new());
    let vcio = Vcio::start();
    let daemon = root.daemon();
    let mut ws = daemon.ws("/");
    // Its error; its silence; a code that it does not have.
    for status in ["0x80000001", "0", "1", "0xffffffff"] {
        vcio.say(&json!({ "status": status }).to_string());
        assert_eq!(throttle(&mut ws), missing(NO_THROTTLE), "{status}");
        assert_eq!(temperature(&mut ws), missing(NO_TEMPERATURE), "{status}");
        assert_eq!(frequency(&mut ws), missing(NO_ARM), "{status}");
    }
    vcio.say("{}");
    assert_eq!(throttle(&mut ws), Ok(0x50005), "no reason to leave it alone");
}

#[test]
fn a_tag_that_was_not_answered_has_no_value() {
    if rig::absent() {
        return;
    }
    const THROTTLED: &str = "0x30046";
    const CLOCK: &str = "0x30047";
    const TEMPERATURE: &str = "0x30006";
    const TEXT: &str = "0x30080";
    let (_alone, root) = (alone(), Root::new());
    let vcio = Vcio::start();
    let daemon = root.daemon();
    let mut ws = daemon.ws("/");
    let say = |state: Value| vcio.say(&state.to_string());

    // Each by itself: the command as text has the answer, with its own precision.
    let each = [
        json!({"short": [THROTTLED, CLOCK, TEMPERATURE]}),
        json!({"unknown": [THROTTLED, CLOCK, TEMPERATURE]}),
        json!({"lengths": {THROTTLED: 0, CLOCK: 4, TEMPERATURE: 4}}),
    ];
    for state in each {
        say(state.clone());
        assert_eq!(throttle(&mut ws), Ok(0x50005), "{state}");
        assert_eq!(temperature(&mut ws), Ok(48.3), "{state}");
        assert_eq!(frequency(&mut ws), Ok((1.5e9, 5e8)), "{state}");
    }
    // One of them alone leaves the others what they are.
    say(json!({"unknown": [TEXT, THROTTLED]}));
    assert_eq!(throttle(&mut ws), missing(NO_THROTTLE));
    assert_eq!((temperature(&mut ws), frequency(&mut ws)), (Ok(48.312), Ok((1_499_999_983.0, 499_999_983.0))));
    say(json!({"unknown": [TEXT, CLOCK]}));
    assert_eq!(frequency(&mut ws), missing(NO_ARM));
    assert_eq!((throttle(&mut ws), temperature(&mut ws)), (Ok(0x50005), Ok(48.312)));
    say(json!({"unknown": [TEXT], "lengths": {TEMPERATURE: 4}}));
    assert_eq!(temperature(&mut ws), missing(NO_TEMPERATURE));
    assert_eq!(throttle(&mut ws), Ok(0x50005));

    // With no answer at all the files are next.
    say(json!({"unknown": [TEXT, THROTTLED, CLOCK, TEMPERATURE]}));
    root.file("sys/devices/platform/soc/soc:firmware/get_throttled", "2\n");
    root.file("sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq", "700000\n");
    assert_eq!((throttle(&mut ws), frequency(&mut ws)), (Ok(2), missing(NO_CORE)));
    assert_eq!(temperature(&mut ws), missing(NO_TEMPERATURE));
}

#[test]
fn an_answer_beyond_reason_is_called_that() {
    if rig::absent() {
        return;
    }
    let (_alone, root) = (alone(), Root::new());
    let vcio = Vcio::start();
    let daemon = root.daemon();
    let mut ws = daemon.ws("/");
    vcio.say(r#"{"throttled": "0xffffffff", "clock": 0, "temperature": 4000000}"#);
    assert_eq!(throttle(&mut ws), missing("Failed to parse system throttle status query"));
    assert_eq!(temperature(&mut ws), missing("Failed to parse system on chip temperature query"));
    assert_eq!(frequency(&mut ws), missing("Failed to parse system frequency query"));
    vcio.say(r#"{"throttled": "0x100000", "core": 0}"#);
    assert_eq!(throttle(&mut ws), missing("Failed to parse system throttle status query"));
    assert_eq!(frequency(&mut ws), missing("Failed to parse system frequency query"));
}

#[test]
fn sensors_are_found_by_type_and_by_name() {
    if rig::absent() {
        return;
    }
    let (_alone, root, thermal) = (alone(), Root::new(), Thermal::start());
    let daemon = root.daemon();
    let mut ws = daemon.ws("/");
    assert_eq!(temperature(&mut ws), missing(NO_TEMPERATURE));
    // The battery's monitor, whose own name is not among those that are looked for, always says the same.
    let monitors = std::fs::read_dir("/sys/class/hwmon").expect("monitors").flatten().map(|entry| entry.path());
    let mut batteries = monitors.into_iter().filter(|path| rig::read(&path.join("name")) == "test_battery");
    let battery = batteries.next().expect("the battery's monitor").join("temp1_input");
    let reading: f64 = rig::read(&battery).parse().expect("a number");
    root.file("sys/class/hwmon/hwmon0/name", "nvme\n");
    root.file("sys/class/hwmon/hwmon0/temp1_input", "33000\n");
    root.link("sys/class/hwmon/hwmon4/temp1_input", &battery);
    root.file("sys/class/hwmon/hwmon4/name", "test_battery\n");
    assert_eq!(temperature(&mut ws), missing(NO_TEMPERATURE));
    root.file("sys/class/hwmon/hwmon4/name", "cpu_thermal\n");
    assert_eq!(temperature(&mut ws), Ok(reading / 1000.0));
    // Zone 0 is somebody else's.
    let daemon = {
        root.file("sys/class/thermal/thermal_zone0/type", "acpitz\n");
        root.file("sys/class/thermal/thermal_zone0/temp", "27800\n");
        root.link("sys/class/thermal/thermal_zone7", thermal.zone());
        root.daemon()
    };
    let mut ws = daemon.ws("/");
    thermal.set(62_250);
    assert_eq!(temperature(&mut ws), Ok(62.25));
    daemon.wait_for_log("thermal_zone7/temp");
    thermal.set(63_125);
    assert_eq!(temperature(&mut ws), Ok(63.125));
}
