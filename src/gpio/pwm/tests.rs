//! Finding channels in trees of boards, and driving one whose files are files. tests/gpio_pwm.rs drives the kernel's.

use std::sync::atomic::{AtomicU32, Ordering};

use super::*;

fn pin(bcm: u8) -> Pin {
    Pin::new(bcm).expect("a BCM number below 28")
}

fn fixture(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests", "fixtures", name].iter().collect()
}

fn key(board: &str, bcm: u8) -> Result<String, String> {
    Hardware::find(&fixture(board), pin(bcm)).map(|found| found.channel_key().to_owned())
}

/// A chip in a directory of the test's own, with one exported channel; gone when dropped.
struct Chip(PathBuf);

impl Chip {
    fn new(device: &str, channel: u32) -> Chip {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("pinwire-pwm-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let root = std::env::temp_dir().join(name);
        let chip = Chip(root);
        let device = chip.0.join("sys/devices").join(device);
        let place = chip.0.join("sys/class/pwm/pwmchip0");
        let files = place.join(format!("pwm{channel}"));
        fs::create_dir_all(&device).expect("the test's own directory");
        fs::create_dir_all(&files).expect("the test's own directory");
        std::os::unix::fs::symlink(device, place.join("device")).expect("the test's own directory");
        for name in ["period", "duty_cycle", "enable"] {
            fs::write(files.join(name), "0\n").expect("the test's own directory");
        }
        for name in ["export", "unexport"] {
            fs::write(place.join(name), "").expect("the test's own directory");
        }
        chip
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join("sys/class/pwm/pwmchip0").join(name)
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.file(name)).expect("the test's own file").trim().to_owned()
    }
}

impl Drop for Chip {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn half() -> Duty {
    Duty::from_fraction(0.5).expect("a fraction")
}

#[test]
fn the_block_of_the_header_is_found_wherever_the_kernel_puts_it() {
    assert_eq!(key("pwm-pi4", 18), Ok("fe20c000.pwm:0".into()));
    assert_eq!(key("pwm-pi4", 19), Ok("fe20c000.pwm:1".into()));
    assert_eq!(key("pwm-pi5", 12), Ok("1f00098000.pwm:0".into()));
    assert_eq!(key("pwm-pi5", 13), Ok("1f00098000.pwm:1".into()));
    for (device, bcm, expected) in [
        ("2020c000.pwm", 12, "2020c000.pwm:0"),
        ("3f20c000.pwm", 13, "3f20c000.pwm:1"),
        ("1f00098000.pwm", 18, "1f00098000.pwm:2"),
        ("1f00098000.pwm", 19, "1f00098000.pwm:3"),
    ] {
        let chip = Chip::new(device, 0);
        let found = Hardware::find(&chip.0, pin(bcm)).map(|found| found.channel_key().to_owned());
        assert_eq!(found, Ok(expected.to_owned()));
    }
}

#[test]
fn a_line_without_a_signal_says_what_would_give_it_one() {
    let none = key("pwm-pi4", 17).expect_err("no block reaches it");
    assert!(none.contains("GPIO12, GPIO13, GPIO18 and GPIO19"), "{none}");
    let elsewhere = key("pwm-pi4", 12).expect_err("the block drives 18 and 19");
    assert!(elsewhere.starts_with("the PWM block drives GPIO18 and GPIO19, not GPIO12; "), "{elsewhere}");
    assert!(elsewhere.contains("dtoverlay=pwm,pin=12,func=4"), "{elsewhere}");
    for (board, bcm, line) in [("zero-w", 18, "pin=18,func=2"), ("laptop", 13, "pin=13,func=4")] {
        let disabled = key(board, bcm).expect_err("no block");
        assert!(disabled.starts_with("the PWM block is not enabled; ") && disabled.contains(line), "{disabled}");
    }
    for other in ["fe20c800.pwm", "1f0009c000.pwm", "backlight", "fe20c000.timer"] {
        let chip = Chip::new(other, 0);
        assert!(Hardware::find(&chip.0, pin(18)).is_err(), "{other} is not the header's");
    }
}

#[test]
fn finding_and_looking_touch_nothing() {
    let chip = Chip::new("fe20c000.pwm", 0);
    let found = Hardware::find(&chip.0, pin(12)).expect("a block");
    assert_eq!(found.read(), Ok(None));
    drop(found);
    for name in ["export", "unexport"] {
        assert_eq!(chip.text(name), "");
    }
}

#[test]
fn a_signal_is_made_read_and_stopped() {
    let chip = Chip::new("fe20c000.pwm", 0);
    let mut pwm = Hardware::find(&chip.0, pin(18)).expect("a block");
    let expected = Pwm { frequency: 1000.0, duty: half(), source: PwmSource::Hardware };
    assert_eq!(pwm.set(1000.0, half()), Ok(expected));
    assert_eq!(["period", "duty_cycle", "enable"].map(|f| chip.text(&format!("pwm0/{f}"))), ["1000000", "500000", "1"]);
    assert_eq!(pwm.read(), Ok(Some(expected)));
    assert_eq!(pwm.set(50.0, Duty::FULL).map(|pwm| pwm.frequency), Ok(50.0));
    assert_eq!(["period", "duty_cycle"].map(|f| chip.text(&format!("pwm0/{f}"))), ["20000000", "20000000"]);
    pwm.disable().expect("plain files refuse nothing");
    assert_eq!(["duty_cycle", "enable"].map(|f| chip.text(&format!("pwm0/{f}"))), ["0", "0"]);
    assert_eq!(pwm.read(), Ok(None));
    pwm.set(0.5, half()).expect("plain files refuse nothing");
    drop(pwm);
    assert_eq!(chip.text("pwm0/enable"), "0", "nobody is left to answer for it");
    assert_eq!(chip.text("unexport"), "", "somebody else had exported it");

    let pwm = || Hardware::find(&chip.0, pin(18)).expect("a block");
    let mut left = pwm();
    left.set(50.0, half()).expect("plain files refuse nothing");
    left.leave();
    assert_eq!(chip.text("pwm0/enable"), "1");
    pwm().stop().expect("plain files refuse nothing");
    assert_eq!(["duty_cycle", "enable"].map(|f| chip.text(&format!("pwm0/{f}"))), ["0", "0"]);
}

#[test]
fn what_is_no_frequency_is_refused_before_anything_is_touched() {
    let chip = Chip::new("fe20c000.pwm", 0);
    let mut pwm = Hardware::find(&chip.0, pin(18)).expect("a block");
    for wrong in [0.0, -1.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 3e9, 1e-9, f64::MIN_POSITIVE] {
        let why = pwm.set(wrong, half()).expect_err("no frequency");
        assert_eq!(why, NoSignal::Frequency(format!("the PWM block cannot make {wrong} Hz on GPIO18")));
    }
    assert_eq!(chip.text("pwm0/period"), "0");
}

#[test]
fn at_no_moment_is_the_duty_longer_than_the_period() {
    let durations = [0, 1, 20, 50, 100];
    for (old, new) in durations.into_iter().flat_map(|old| durations.map(|new| (old, new))) {
        for (old_high, new_high) in [(0, new), (old, 0), (old, new), (old / 2, new / 2)] {
            let before = Signal { period: old, high: old_high, on: true };
            let mut now = before;
            for (file, value) in writes(before, Signal { period: new, high: new_high, on: true }) {
                match file {
                    "period" => now.period = value,
                    _ => now.high = value,
                }
                assert!(now.high <= now.period, "{before:?} to {new_high} of {new}");
            }
        }
    }
}

#[test]
fn every_refusal_says_what_can_be_done() {
    let chip = Chip::new("fe20c000.pwm", 1);
    let pwm = Hardware::find(&chip.0, pin(13)).expect("a block");
    let file = Path::new("/sys/class/pwm/pwmchip0/export");
    for (errno, expected) in [
        (Errno::ACCESS, "the group `gpio`"),
        (Errno::ROFS, "add ReadWritePaths=/"),
        (Errno::BUSY, "PWM channel fe20c000.pwm:1 is in use by a driver"),
        (Errno::NODEV, "pwmchip0 has no channel 1"),
        (Errno::IO, "/sys/class/pwm/pwmchip0/export: "),
    ] {
        let why = pwm.explain(file, &errno.into());
        assert!(why.contains(expected), "{errno:?}: {why}");
    }
    let cannot = NoSignal::Frequency("the PWM block cannot make 2.5 Hz on GPIO13".into());
    assert_eq!(pwm.refused(("period", 1), 2.5, &Errno::INVAL.into()), cannot);
}
