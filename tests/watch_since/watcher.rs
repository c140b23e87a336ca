//! `pinwire watch`, and what it says.
#![allow(dead_code)] // each test file uses its part

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

/// A watcher and the lines it prints.
pub struct Watcher {
    pub child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
    /// Kept open: it says more than its first line.
    said: Option<BufReader<std::process::ChildStderr>>,
}

impl Watcher {
    pub fn start(mut command: Command) -> Watcher {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts");
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let said = child.stderr.take().map(BufReader::new);
        Watcher { child, lines, said }
    }

    /// What it says on stderr first: from then on it is subscribed.
    pub fn ready(&mut self) -> String {
        let mut said = String::new();
        self.said.as_mut().expect("not taken").read_line(&mut said).expect("text");
        said
    }

    /// All it says from here on, once it has ended.
    pub fn said(&mut self) -> std::thread::JoinHandle<String> {
        let mut rest = self.said.take().expect("not taken");
        std::thread::spawn(move || {
            let mut said = String::new();
            rest.read_to_string(&mut said).expect("text");
            said
        })
    }

    /// The next event's number, and where it is.
    pub fn next(&mut self) -> Option<(u64, String)> {
        let line = self.lines.next()?.expect("text");
        let event: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let n = event["data"].as_str().and_then(|n| n.parse().ok()).unwrap_or_else(|| panic!("no number: {line}"));
        Some((n, event["position"].as_str().unwrap_or_else(|| panic!("no position: {line}")).to_owned()))
    }
}
