//! The manual and the shells' completions say what the program says, and readers of manuals take them without a word.

mod common;
#[path = "../examples/manual.rs"]
#[allow(dead_code)]
mod manual;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{TempDir, pinwire, run, skipped};

const DATE: &str = "2026-01-02";

fn made() -> TempDir {
    let dir = TempDir::new();
    manual::write_all(dir.path(), DATE).expect("written");
    dir
}

/// Every command as typed, the program itself first, each with what `-h` prints.
fn commands() -> Vec<(Vec<String>, String)> {
    let mut all = vec![Vec::<String>::new()];
    let mut helps = Vec::new();
    while let Some(words) = all.pop() {
        let output = run(pinwire().args(&words).arg("-h"));
        assert!(output.status.success(), "{words:?}");
        let help = String::from_utf8(output.stdout).expect("UTF-8");
        let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
        for name in listed.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help") {
            all.push(words.iter().cloned().chain([name.to_owned()]).collect());
        }
        helps.push((words, help));
    }
    assert!(helps.len() > 15, "{helps:?}");
    helps
}

/// The long flags in a text.
fn flags(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-'));
    words.filter(|word| word.starts_with("--") && word.len() > 2).map(str::to_owned).collect()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// What a page says once roff's escapes are gone.
fn plain(page: &str) -> String {
    [r"\fB", r"\fI", r"\fR", r"\&"].iter().fold(page.replace(r"\-", "-"), |text, escape| text.replace(escape, ""))
}

fn pages(dir: &TempDir) -> Vec<PathBuf> {
    let pages = fs::read_dir(dir.path().join("man")).expect("pages");
    pages.map(|entry| entry.expect("a page").path()).collect()
}

#[test]
fn every_command_has_a_page_that_names_all_its_flags() {
    let dir = made();
    let commands = commands();
    for (words, help) in &commands {
        let name = ["pinwire"].into_iter().chain(words.iter().map(String::as_str)).collect::<Vec<_>>().join("-");
        let page = plain(&read(&dir.path().join(format!("man/{name}.1"))));
        for flag in flags(help) {
            assert!(flags(&page).contains(&flag), "{name}.1 does not name {flag}");
        }
        assert!(page.contains(DATE), "{name}.1");
    }
    assert_eq!(pages(&dir).len(), commands.len() + 1, "and the file's");
}

#[test]
fn every_shell_completes_every_command_and_flag() {
    let dir = made();
    for file in ["bash/pinwire", "zsh/_pinwire", "fish/pinwire.fish"] {
        let text = read(&dir.path().join("completions").join(file));
        // fish has its flags without the dashes.
        let known: BTreeSet<&str> = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-')).collect();
        for (words, help) in commands() {
            for word in words.iter().cloned().chain(flags(&help)) {
                let bare = word.trim_start_matches('-');
                assert!(known.contains(word.as_str()) || known.contains(bare), "{file} does not know {word}");
            }
        }
    }
}

#[test]
fn the_files_page_has_every_key_of_the_sample() {
    let dir = made();
    let page = plain(&read(&dir.path().join("man/pinwire.toml.5")));
    let sample = include_str!("../systemd/pinwire.toml");
    let keys = sample.lines().filter_map(|line| line.strip_prefix('#')?.split_once(" = "));
    let keys: Vec<_> = keys.map(|(key, _)| key.trim()).collect();
    assert!(keys.len() > 100, "{keys:?}");
    for key in keys {
        assert!(page.lines().any(|line| line.trim_start().starts_with(&format!("{key} = "))), "no {key}");
    }
}

#[test]
fn the_same_sources_make_the_same_files() {
    let (one, other) = (made(), made());
    for page in pages(&one) {
        let same = other.path().join("man").join(page.file_name().expect("a name"));
        assert_eq!(read(&page), read(&same));
    }
}

#[test]
fn readers_of_manuals_have_nothing_to_complain_about() {
    let dir = made();
    let have = |program: &str| Command::new(program).arg("--version").output().is_ok();
    if have("mandoc") {
        let output = run(Command::new("mandoc").args(["-T", "lint", "-W", "warning"]).args(pages(&dir)));
        assert!(output.stdout.is_empty(), "{}", String::from_utf8_lossy(&output.stdout));
    } else {
        skipped("there is no mandoc");
    }
    if have("man") {
        let mut man = Command::new("man");
        man.args(["--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z"]).args(pages(&dir));
        let output = run(man.env("MANWIDTH", "80").env("LC_ALL", "C.UTF-8"));
        assert!(output.status.success() && output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    } else {
        skipped("there is no man");
    }
    for (shell, file) in [("bash", "bash/pinwire"), ("zsh", "zsh/_pinwire"), ("fish", "fish/pinwire.fish")] {
        if Command::new(shell).arg("--version").output().is_err() {
            skipped(&format!("there is no {shell}"));
            continue;
        }
        let output = run(Command::new(shell).arg("-n").arg(dir.path().join("completions").join(file)));
        assert!(output.status.success() && output.stderr.is_empty(), "{file}: {output:?}");
    }
}
