//! What the doctor's tests share: running it, finding what it found, and certificates of every kind.
#![allow(dead_code)] // each test file uses its part

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::common::{TempDir, pinwire, run};

/// No run may take longer.
const LIMIT: Duration = Duration::from_secs(20);

/// What one run found.
#[derive(Debug)]
pub struct Found {
    pub json: Value,
    pub code: Option<i32>,
}

/// Runs `pinwire doctor --json` on simulated lines and a free port, with more flags.
pub fn look(args: &[&str]) -> Found {
    let mut command = pinwire();
    command.args(["doctor", "--gpio", "sim"]);
    if !args.contains(&"--listen") {
        command.args(["--listen", "127.0.0.1:0"]);
    }
    look_with(command.args(args))
}

/// Runs this with `--json`.
pub fn look_with(command: &mut Command) -> Found {
    let begun = Instant::now();
    let output = run(command.arg("--json"));
    assert!(begun.elapsed() < LIMIT, "it took {:?}", begun.elapsed());
    let json = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
        panic!("{error}: {}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
    });
    let found = Found { json, code: output.status.code() };
    let problems = found.json["summary"]["problems"].as_u64().expect("a number");
    assert_eq!(found.code, Some(i32::from(problems > 0)), "{}", found.json);
    found
}

impl Found {
    /// The finding of this part and level that has all these words in what it says or in its fix.
    pub fn has(&self, level: &str, part: &str, words: &[&str]) -> &Value {
        let all = self.json["findings"].as_array().expect("findings");
        let fits = |finding: &&Value| {
            let text = format!("{} {}", finding["what"], finding["fix"]);
            finding["level"] == level && finding["part"] == part && words.iter().all(|word| text.contains(word))
        };
        all.iter().find(fits).unwrap_or_else(|| panic!("no {level} of {part} with {words:?} in {:#}", self.json))
    }

    pub fn problem(&self, part: &str, words: &[&str]) {
        let finding = self.has("problem", part, words);
        assert!(finding["fix"].as_str().is_some_and(|fix| !fix.is_empty()), "no fix: {finding}");
        assert_eq!(self.code, Some(1));
    }
}

/// A private key and a certificate of this kind, signed by itself or by the pair `by`.
pub struct Kind<'a> {
    pub names: &'a str,
    /// As `20200101000000Z`.
    pub until: &'a str,
    pub by: Option<&'a (PathBuf, PathBuf)>,
}

pub fn certificate(dir: &TempDir, name: &str, kind: &Kind) -> (PathBuf, PathBuf) {
    let at = |ending: &str| dir.path().join(format!("{name}.{ending}"));
    let (cert, key, request) = (at("pem"), at("key"), at("csr"));
    let ca = kind.by.is_none();
    let extensions =
        format!("basicConstraints=critical,CA:{}\nsubjectAltName={}\n", ca.to_string().to_uppercase(), kind.names);
    let config = format!(
        "[ca]\ndefault_ca=d\n[d]\ndatabase={}\nnew_certs_dir={}\nrand_serial=yes\ndefault_md=sha256\npolicy=p\n\
         unique_subject=no\n[p]\ncommonName=supplied\n[e]\n{extensions}",
        dir.file(&format!("{name}.db"), "").display(),
        dir.path().display()
    );
    let config = dir.file(&format!("{name}.cnf"), &config);
    openssl(
        &["req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj"],
        &[Path::new(&format!("/CN={name}")), "-keyout".as_ref(), &key, "-out".as_ref(), &request],
    );
    let mut signing = vec![Path::new("-config"), &config, "-in".as_ref(), &request, "-out".as_ref(), &cert];
    match kind.by {
        None => signing.extend([Path::new("-selfsign"), "-keyfile".as_ref(), &key]),
        Some((cert, key)) => signing.extend([Path::new("-cert"), cert, "-keyfile".as_ref(), key]),
    }
    let until =
        ["ca", "-batch", "-notext", "-extensions", "e", "-startdate", "20200101000000Z", "-enddate", kind.until];
    openssl(&until, &signing);
    (cert, key)
}

fn openssl(words: &[&str], paths: &[&Path]) {
    let output = Command::new("openssl").args(words).args(paths).output().expect("openssl runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
