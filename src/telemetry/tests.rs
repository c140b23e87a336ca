//! Telemetry through its door, on trees written after those of several boards (not captured from them).

use std::path::PathBuf;
use std::sync::mpsc;
use std::time::Duration;

use super::testing::{LIMIT, Tree, VCGENCMD, eventually, settings};
use super::*;
use crate::types::reading::Missing;

fn fixture(board: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests", "fixtures", board].iter().collect()
}

fn captured(board: &str) -> Telemetry {
    Telemetry::new(&fixture(board), &settings(None))
}

fn memory(total_kib: u64, free_kib: u64, available_kib: u64) -> Reading<Memory> {
    Ok(Memory { total_kib, free_kib, available_kib })
}

#[test]
fn pi_zero_w() {
    let zero = captured("zero-w");
    assert_eq!(zero.temperature(), Ok(Temperature { celsius: 41.16 }));
    assert_eq!(zero.throttle(), Ok(Throttle { bits: 0 }), "from the voltage monitor");
    assert_eq!(zero.uptime(), Ok(Uptime { seconds: 1_204_963.87 }));
    assert_eq!(zero.frequency(), Err(Missing::Query("system core frequency")));
    assert_eq!(zero.memory(), memory(441_776, 158_204, 325_736));
    let platform = zero.platform().unwrap();
    assert_eq!((platform.machine.as_str(), platform.network_name.as_str()), ("armv6l", "garden"));
    assert_eq!(platform.model.as_deref(), Some("Raspberry Pi Zero W Rev 1.1"));
}

#[test]
fn pi_4_with_a_weak_supply() {
    let pi4 = captured("pi4");
    assert_eq!(pi4.temperature(), Ok(Temperature { celsius: 48.312 }));
    assert_eq!(pi4.throttle(), Ok(Throttle { bits: 1 }), "from the voltage monitor");
    assert_eq!(pi4.uptime(), Ok(Uptime { seconds: 93_784.52 }));
    assert_eq!(pi4.memory(), memory(3_884_304, 2_410_116, 3_377_020));
    let platform = pi4.platform().unwrap();
    assert_eq!((platform.os_name.as_str(), platform.os_release.as_str()), ("Linux", "6.12.25+rpt-rpi-v8"));
    assert_eq!(platform.model.as_deref(), Some("Raspberry Pi 4 Model B Rev 1.4"));
}

#[test]
fn pi_4_with_vcgencmd() {
    let tree = Tree::new();
    let pi4 = Telemetry::new(&fixture("pi4"), &settings(Some(tree.script("vcgencmd", VCGENCMD))));
    eventually(Ok(Throttle { bits: 0x50005 }), || pi4.throttle());
    eventually(Ok(Frequency { arm_hertz: 1.8e9, core_hertz: 250_000_496.0 }), || pi4.frequency());
    pi4.stop();
    assert_eq!(pi4.frequency(), Err(Missing::Query("system core frequency")));
    assert_eq!(pi4.temperature(), Ok(Temperature { celsius: 48.312 }), "needs no firmware");
}

#[test]
fn pi_5() {
    let pi5 = captured("pi5");
    assert_eq!(pi5.temperature(), Ok(Temperature { celsius: 52.45 }));
    assert_eq!(pi5.throttle(), Ok(Throttle { bits: 0 }));
    assert_eq!(pi5.memory(), memory(8_256_048, 6_093_744, 7_353_008));
    assert_eq!(pi5.platform().unwrap().model.as_deref(), Some("Raspberry Pi 5 Model B Rev 1.0"));
}

#[test]
fn laptop() {
    let laptop = captured("laptop");
    assert_eq!(laptop.temperature(), Ok(Temperature { celsius: 61.0 }), "the package, not the mainboard");
    assert_eq!(laptop.throttle(), Err(Missing::Query("system throttle status")));
    assert_eq!(laptop.frequency(), Err(Missing::Query("system core frequency")));
    assert_eq!(laptop.memory(), memory(16_135_484, 1_208_832, 9_731_240));
    assert_eq!(laptop.platform().unwrap().model, None);
}

#[test]
fn nothing_there() {
    let tree = Tree::new();
    let nothing = Telemetry::new(tree.path(), &settings(None));
    let texts = [
        nothing.temperature().unwrap_err().to_string(),
        nothing.throttle().unwrap_err().to_string(),
        nothing.uptime().unwrap_err().to_string(),
        nothing.frequency().unwrap_err().to_string(),
        nothing.memory().unwrap_err().to_string(),
        nothing.platform().unwrap_err().to_string(),
    ];
    assert_eq!(
        texts,
        [
            "Failed to query system on chip temperature",
            "Failed to query system throttle status",
            "Failed to query system uptime",
            "Failed to query system ARM frequency",
            "Failed to query system memory",
            "Failed to query system platform",
        ]
    );
}

#[test]
fn nothing_there_makes_sense() {
    let tree = Tree::new();
    for name in [
        "proc/uptime",
        "proc/meminfo",
        "sys/class/thermal/thermal_zone0/temp",
        "sys/devices/platform/soc/soc:firmware/get_throttled",
        "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq",
    ] {
        tree.write(name, "nonsense\n");
    }
    let nonsense = Telemetry::new(tree.path(), &settings(None));
    let texts = [
        nonsense.temperature().unwrap_err().to_string(),
        nonsense.throttle().unwrap_err().to_string(),
        nonsense.uptime().unwrap_err().to_string(),
        nonsense.frequency().unwrap_err().to_string(),
        nonsense.memory().unwrap_err().to_string(),
    ];
    assert_eq!(
        texts,
        [
            "Failed to parse system on chip temperature query",
            "Failed to parse system throttle status query",
            "Failed to parse system uptime query",
            "Failed to parse system frequency query",
            "Failed to parse system memory query",
        ]
    );
}

#[test]
fn young_readings_are_shared_but_never_the_uptime() {
    let tree = Tree::new();
    tree.write("proc/uptime", "1.00 1.00\n");
    tree.write("sys/class/thermal/thermal_zone0/temp", "40000\n");
    let an_hour = config::Telemetry { max_age: Duration::from_secs(3600), ..settings(None) };
    let telemetry = Telemetry::new(tree.path(), &an_hour);
    assert_eq!(telemetry.temperature(), Ok(Temperature { celsius: 40.0 }));
    assert_eq!(telemetry.uptime(), Ok(Uptime { seconds: 1.0 }));
    tree.write("proc/uptime", "2.00 2.00\n");
    tree.write("sys/class/thermal/thermal_zone0/temp", "50000\n");
    assert_eq!(telemetry.temperature(), Ok(Temperature { celsius: 40.0 }));
    assert_eq!(telemetry.uptime(), Ok(Uptime { seconds: 2.0 }));
}

#[test]
fn a_hanging_vcgencmd_delays_nobody_else() {
    let tree = Tree::new();
    let script = tree.script("vcgencmd", "mkfifo \"$0.fifo\" && cat \"$0.fifo\"");
    let pi4 = Telemetry::new(&fixture("pi4"), &settings(Some(script)));
    std::thread::scope(|scope| {
        let (answered, answer) = mpsc::channel();
        let asker = &pi4;
        scope.spawn(move || answered.send(asker.frequency()));
        // The other readings are there while that one waits for its first value.
        assert!(pi4.memory().is_ok() && pi4.temperature().is_ok() && pi4.uptime().is_ok());
        assert!(matches!(answer.try_recv(), Err(mpsc::TryRecvError::Empty)), "still waiting");
        assert_eq!(answer.recv_timeout(LIMIT), Ok(Err(Missing::Query("system core frequency"))));
    });
}

#[test]
fn this_machine() {
    let telemetry = Telemetry::new(Path::new("/"), &settings(None));
    let before = telemetry.uptime().unwrap().seconds;
    assert!(before > 0.0 && telemetry.uptime().unwrap().seconds >= before);
    let memory = telemetry.memory().unwrap();
    assert!(memory.free_kib <= memory.total_kib && memory.available_kib <= memory.total_kib);
    assert_eq!(telemetry.platform().unwrap().os_name, "Linux");
}

#[test]
fn telemetry_can_be_shared_between_threads() {
    fn shareable<T: Send + Sync>() {}
    shareable::<Telemetry>();
}
