//! What is installed beside the program: units, configuration, and the plain installation below a directory.
//! `packaging/test` does the same on a machine of its own, as root.

mod common;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use common::{TempDir, pinwire, run, skipped};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn read(name: &str) -> String {
    fs::read_to_string(Path::new(ROOT).join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn names(dir: &str) -> Vec<String> {
    let entries = fs::read_dir(Path::new(ROOT).join(dir)).expect(dir);
    entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8")).collect()
}

/// Every file below a directory, by its path in there.
fn files(dir: &Path) -> Vec<String> {
    let output = run(Command::new("find").arg(dir).args(["-type", "f", "-printf", "/%P\n"]));
    String::from_utf8(output.stdout).expect("UTF-8").lines().map(str::to_owned).collect()
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// The plain installation, below a directory.
fn install(root: &Path, arguments: &[&str]) -> Output {
    run(Command::new("sh").arg(Path::new(ROOT).join("install.sh")).args(arguments).env("DESTDIR", root))
}

#[test]
fn the_agents_sandbox_is_the_daemons() {
    let service = |name: &str| -> Vec<String> {
        let text = read(name).replace("pinwire agent --config", "pinwire serve --config");
        let text = text.replace("/agent.toml", "/pinwire.toml");
        // When one follows the other, what the first leaves behind is not the second's.
        let text = text.replace("RuntimeDirectory=pinwire-agent", "RuntimeDirectory=pinwire");
        let settings = text.lines().skip_while(|line| *line != "[Service]");
        settings.filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
    };
    assert_eq!(service("systemd/pinwire.service"), service("systemd/pinwire-agent.service"));
}

#[test]
#[cfg_attr(not(feature = "hub"), ignore = "needs the feature hub")]
fn the_installed_configurations_are_good_and_the_sample_but_for_a_few_keys() {
    let dir = TempDir::new();
    for (which, own) in [("serve", 4), ("agent", 2)] {
        let made = run(Command::new("sh").arg(Path::new(ROOT).join("packaging/config")).arg(which));
        assert!(made.status.success(), "{}", said(&made));
        let text = String::from_utf8(made.stdout).expect("UTF-8");
        let set = text.lines().filter(|line| line.contains(" = ") && !line.starts_with('#'));
        assert_eq!(set.count(), own, "{which}");
        assert_eq!(text.lines().count(), read("systemd/pinwire.toml").lines().count());
        let file = dir.file(&format!("{which}.toml"), &text);
        let checked = run(pinwire().args(["check-config", "--config"]).arg(file));
        assert!(checked.status.success(), "{which}: {}", said(&checked));
    }
    let wrong = run(Command::new("sh").arg(Path::new(ROOT).join("packaging/config")).arg("else"));
    assert!(!wrong.status.success() && said(&wrong).contains("usage"));
}

#[test]
fn a_plain_installation_lays_out_all_and_takes_it_away() {
    let dir = TempDir::new();
    let root = dir.path().join("root");
    let binary = dir.file("pinwire", "a program");
    let binary = binary.to_str().expect("UTF-8");
    for _ in 0..2 {
        let output = install(&root, &["--prefix", "/opt/pinwire", binary]);
        assert!(output.status.success(), "{}", said(&output));
    }
    let there = files(&root);
    let expected = ["pinwire.service", "pinwire-agent.service", "pinwire.socket"]
        .map(|unit| format!("/opt/pinwire/lib/systemd/system/{unit}"))
        .into_iter()
        .chain(names("systemd/drop-ins").into_iter().map(|name| format!("/opt/pinwire/share/pinwire/drop-ins/{name}")))
        .chain(["/opt/pinwire/bin/pinwire", "/etc/pinwire/pinwire.toml", "/etc/pinwire/agent.toml"].map(str::to_owned))
        .chain(["/etc/udev/rules.d/60-pinwire.rules".to_owned()]);
    for file in expected {
        assert!(there.contains(&file), "no {file} in {there:?}");
    }
    let unit = fs::read_to_string(root.join("opt/pinwire/lib/systemd/system/pinwire.service")).expect("a unit");
    assert!(unit.contains("\nExecStart=/opt/pinwire/bin/pinwire serve "), "{unit}");
    assert!(!unit.contains("=/usr/bin/pinwire"), "{unit}");

    // The operator's configuration is not touched by an upgrade, nor taken away with the program.
    let config = root.join("etc/pinwire/pinwire.toml");
    fs::write(&config, "listen = \":9001\"\n").expect("written");
    assert!(install(&root, &["--prefix", "/opt/pinwire", binary]).status.success());
    assert!(install(&root, &["--prefix", "/opt/pinwire", "--uninstall"]).status.success());
    assert_eq!(fs::read_to_string(&config).expect("still there"), "listen = \":9001\"\n");
    assert_eq!(files(&root).len(), 2, "{:?}", files(&root));
    assert!(install(&root, &["--prefix", "/opt/pinwire", "--purge"]).status.success());
    assert!(files(&root).is_empty(), "{:?}", files(&root));
}

#[test]
fn what_cannot_be_installed_is_refused_in_a_line() {
    let dir = TempDir::new();
    let binary = dir.file("pinwire", "a program");
    let binary = binary.to_str().expect("UTF-8");
    let cases: [(&[&str], &str); 5] = [
        (&[], "usage"),
        (&["/nonexistent/pinwire"], "there is no '/nonexistent/pinwire'"),
        (&["--prefix", "opt", binary], "absolute"),
        (&["--else", binary], "usage"),
        (&["--manual", "/nonexistent", binary], "there is no '/nonexistent/man/pinwire.1'"),
    ];
    for (arguments, why) in cases {
        let output = install(&dir.path().join("root"), arguments);
        assert!(!output.status.success(), "{arguments:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains(why), "{arguments:?}: {}", said(&output));
    }
}

#[test]
fn every_drop_in_says_what_it_gives_away() {
    for name in names("systemd/drop-ins") {
        let text = read(&format!("systemd/drop-ins/{name}"));
        assert!(text.contains("\n# Gives away: ") && text.contains("\n[Service]\n"), "{name}");
        // The unit says which there are.
        let what = name.trim_end_matches(".conf");
        assert!(read("systemd/pinwire.service").to_lowercase().contains(what), "{name}");
    }
}

#[test]
fn systemd_finds_the_units_good_and_hard() {
    if Command::new("systemd-analyze").arg("--version").output().is_err() {
        skipped("there is no systemd-analyze");
        return;
    }
    let dir = TempDir::new();
    let root = dir.path().join("root");
    // It looks for what the units run.
    let program = "/bin/true";
    assert!(install(&root, &["--prefix", "/usr", program]).status.success());
    fs::create_dir_all(root.join("bin")).expect("made");
    fs::copy(program, root.join("bin/kill")).expect("copied");
    let units = root.join("usr/lib/systemd/system");
    let drop_ins = root.join("etc/systemd/system/pinwire.service.d");
    fs::create_dir_all(&drop_ins).expect("made");
    for target in ["basic", "sysinit", "shutdown", "network", "sockets", "multi-user", "local-fs"] {
        fs::write(units.join(format!("{target}.target")), "[Unit]\n").expect("written");
    }
    let analyze = |words: &[&str]| {
        let mut command = Command::new("systemd-analyze");
        run(command.arg(format!("--root={}", root.display())).args(["--no-pager", "--man=no"]).args(words))
    };
    for unit in ["pinwire.service", "pinwire-agent.service"] {
        let rated = analyze(&["security", "--offline=true", "--threshold=20", unit]);
        assert!(rated.status.success(), "{}", said(&rated));
    }
    let checked = analyze(&["verify", "pinwire.service", "pinwire-agent.service", "pinwire.socket"]);
    assert!(checked.status.success() && !said(&checked).contains("pinwire"), "{}", said(&checked));
    for name in names("systemd/drop-ins") {
        fs::copy(Path::new(ROOT).join("systemd/drop-ins").join(&name), drop_ins.join(&name)).expect("copied");
    }
    let checked = analyze(&["verify", "pinwire.service"]);
    assert!(checked.status.success() && !said(&checked).contains(".conf"), "{}", said(&checked));
}
