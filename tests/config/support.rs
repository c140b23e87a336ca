//! What the tests of the configuration share: loading a text, the one line that refuses it, the sample file.
#![allow(dead_code)] // no test program uses all of it

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use pinwire::config::{Config, Flags, load};
use pinwire::types::features;

/// A fresh directory, removed with all its files at the end of the test.
pub struct Dir(pub PathBuf);

impl Dir {
    pub fn new() -> Dir {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("pinwire-config-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let dir = Dir(std::env::temp_dir().join(name));
        fs::create_dir_all(&dir.0).expect("temp dir");
        dir
    }

    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, content).expect("write");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("chmod");
        path
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Whether every part is built in, as a test needs that names every key; where not, says that it skips.
pub fn has_every_feature() -> bool {
    let missing: Vec<&str> = features::ALL.iter().filter(|part| !part.built_in).map(|part| part.name).collect();
    if !missing.is_empty() {
        let thread = std::thread::current();
        let (test, missing) = (thread.name().unwrap_or("a test"), missing.join(", "));
        let _ = writeln!(std::io::stdout(), "skipped: {test}: needs the features {missing}");
    }
    missing.is_empty()
}

/// Loads with these flags and this environment.
pub fn load_with(flags: Flags, env: &[(&str, &str)]) -> Result<Config, String> {
    let lookup = |name: &str| env.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
    load(&flags, &lookup).map_err(|why| why.to_string())
}

/// Loads this text as the file `pinwire.toml`, with these flags and this environment besides.
pub fn load_text(text: &str, flags: Flags, env: &[(&str, &str)]) -> Result<Config, String> {
    let dir = Dir::new();
    let config = Some(dir.file("pinwire.toml", text));
    load_with(Flags { config, ..flags }, env).map_err(|why| why.replace(&format!("{}/", dir.0.display()), ""))
}

pub fn good(text: &str) -> Config {
    load_text(text, Flags::default(), &[]).unwrap_or_else(|why| panic!("{text}\n{why}"))
}

pub fn refusal(text: &str) -> String {
    load_text(text, Flags::default(), &[]).expect_err(text)
}

#[track_caller]
pub fn assert_refusal(result: Result<Config, String>, parts: &[&str]) {
    let why = result.expect_err("must be refused");
    assert!(!why.chars().any(char::is_control), "more than a line: {why:?}");
    for part in parts {
        assert!(why.contains(part), "{part:?} is missing in: {why}");
    }
}

/// The sample file, and the same with every `#key = value` line active.
pub fn sample() -> (String, String) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd/pinwire.toml");
    let text = fs::read_to_string(path).expect("systemd/pinwire.toml");
    let active = text
        .lines()
        .map(|line| {
            line.strip_prefix('#').filter(|key| key.starts_with(|c: char| c.is_ascii_lowercase())).unwrap_or(line)
        })
        .fold(String::new(), |all, line| all + line + "\n");
    (text, active)
}

/// All keys of a section, the top level for "". The refusal of an unknown key lists all known ones, which saves a
/// second list here.
pub fn known_keys(section: &str) -> Vec<String> {
    let text = if section.is_empty() { "zzz = 1".into() } else { format!("[{section}]\nzzz = 1") };
    let why = refusal(&text);
    let (_, list) = why.split_once(" expected ").expect("a list of keys");
    list.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}
