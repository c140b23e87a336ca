//! `pinwire doctor` on lines that somebody else has, and on a chip that is closed to its user, in a real kernel. Nothing
//! changes on the wire meanwhile.

mod common;
mod findings;
mod rig;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use common::{Daemon, TempDir, pinwire};
use findings::{Found, look_with};
use rig::{Hog, Sim, outside};

/// Looks with a configuration of these lines on the chip.
fn look(chip: &str, backend: &str, lines: &str, by: &mut Command) -> Found {
    let dir = TempDir::new();
    let file =
        dir.file("pinwire.toml", &format!("listen = \"127.0.0.1:0\"\n[gpio]\nchip = {chip:?}\n[gpio.pins]\n{lines}"));
    look_with(by.args(["doctor", "--gpio", backend, "--config"]).arg(file))
}

#[test]
fn who_holds_a_line_is_told_without_touching_it() {
    if rig::absent() {
        return;
    }
    let sim = Sim::with("held-lines", 28).hog(5, "spi0 CS1", Hog::OutputHigh).live();
    let lines = "lamp = { pin = 17, mode = \"output\" }\nselect = { pin = 5, mode = \"input\" }\n\
                 shown = { pin = 6, mode = \"input\" }\nspare = { pin = 4, mode = \"output\", initial = \"high\" }\n\
                 absent = { pin = 27 }\n";
    let held = outside::hold(&sim, &[(17, true)]);
    let number = sim.base + 6;
    fs::write("/sys/class/gpio/export", number.to_string()).expect("exported");
    let found = look("held-lines", "cdev", lines, &mut pinwire());
    found.has("ok", "gpio", &["backend 'cdev'", "'held-lines'", "28 lines"]);
    found.has("ok", "gpio", &["in sysfs", &format!("GPIO17 is {} there", sim.base + 17)]);
    found.problem("line", &["lamp (GPIO17) is held by gpioset (pid ", "`sudo kill "]);
    found.problem("line", &["select (GPIO5) is held by the kernel, as 'spi0 CS1'", "`dtparam=spi=off`"]);
    let unexport = format!("`echo {number} | sudo tee /sys/class/gpio/unexport`");
    found.problem("line", &["shown (GPIO6)", "exported it through sysfs", &unexport]);
    found.has("ok", "line", &["free: ", "spare (GPIO4)", "absent (GPIO27)"]);
    assert!(sim.value(17) && sim.value(5) && !sim.is_output(4) && sim.consumer(4).is_none());
    drop(held);
    fs::write("/sys/class/gpio/unexport", number.to_string()).expect("unexported");

    // A daemon has its lines, which is as it should be.
    let dir = TempDir::new();
    let text =
        "[gpio]\nchip = \"held-lines\"\n[gpio.pins]\nspare = { pin = 4, mode = \"output\", initial = \"high\" }\n";
    let file = dir.file("pinwire.toml", text);
    let mut command = pinwire();
    command.args(["serve", "--listen", "127.0.0.1:0", "--gpio", "cdev", "--config"]).arg(file);
    let daemon = Daemon::launch(dir, command);
    sim.wait_for_value(4, true);
    let found = look("held-lines", "cdev", "spare = { pin = 4, mode = \"output\" }\n", &mut pinwire());
    found.has("ok", "line", &["held by a running pinwire", "spare (GPIO4)"]);
    // The rig's own root is read-only, which is found as well.
    found.problem("disk", &["the root file system is read-only"]);
    assert_eq!((&found.json["summary"]["problems"], sim.value(4)), (&serde_json::json!(1), true), "{}", found.json);
    drop(daemon);
    let by_sysfs = look("held-lines", "sysfs", "spare = { pin = 4 }\n", &mut pinwire());
    by_sysfs.has("ok", "gpio", &["backend 'sysfs'", "held-lines"]);
}

#[test]
fn a_user_outside_the_group_is_told_which_one() {
    if rig::absent() {
        return;
    }
    let sim = Sim::with("closed-chip", 28).live();
    // Debian's own group 44, as udev would give it to group gpio.
    std::os::unix::fs::chown(&sim.chip, Some(0), Some(44)).expect("given to a group");
    fs::set_permissions(&sim.chip, fs::Permissions::from_mode(0o660)).expect("a mode");
    let nobody = |groups: &str| {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", groups]).arg(pinwire().get_program());
        look("closed-chip", "cdev", "lamp = { pin = 17 }\n", &mut command)
    };
    let chip = sim.chip.display().to_string();
    let found = nobody("--clear-groups");
    found.problem("gpio", &["no backend", "permission denied on", &chip]);
    found.problem("user", &["'nobody' may not open", "crw-rw---- root video", "`sudo usermod -aG video nobody`"]);
    assert_eq!(found.json["gpio"]["ok"], false);
    let found = nobody("--groups=44");
    found.has("ok", "gpio", &["backend 'cdev'", "'closed-chip'"]);
    found.has("ok", "line", &["free: lamp (GPIO17)"]);
}
