//! The daemon on a chip like a Raspberry Pi 4's, by either backend, and what is asked of it.

use std::io::Write;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::{Value, json};

use super::Sim;
use crate::common::{Daemon, TempDir, Ws, pinwire, run};

/// The ways to a real line.
pub const BACKENDS: [&str; 2] = ["cdev", "sysfs"];

/// A fresh chip, and the backend that is to use it.
pub struct Bench {
    pub backend: &'static str,
    pub sim: Sim,
}

/// Does the test once with each backend. One at a time in this process: the chip's label is the one the daemon looks
/// for, and times are measured on one processor.
pub fn on_both(test: impl Fn(&Bench)) {
    static ALONE: Mutex<()> = Mutex::new(());
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    for backend in BACKENDS {
        // Shown when the test fails.
        println!("--- {backend}");
        test(&Bench { backend, sim: Sim::with("pinctrl-bcm2711", 58).live() });
    }
}

impl Bench {
    pub fn is_sysfs(&self) -> bool {
        self.backend == "sysfs"
    }

    /// The daemon with this configuration.
    pub fn serve(&self, config: &str) -> Daemon {
        self.serve_in(TempDir::new(), config)
    }

    /// The same with its files in a directory that may be there already.
    pub fn serve_in(&self, dir: TempDir, config: &str) -> Daemon {
        let file = dir.file("pinwire.toml", config);
        let mut command = pinwire();
        command.args(["serve", "--listen", "127.0.0.1:0", "--debug-actions", "--gpio", self.backend, "--config"]);
        command.arg(file);
        Daemon::launch(dir, command)
    }

    /// `pinwire safe` with this configuration.
    pub fn safe(&self, config: &str) -> Output {
        let dir = TempDir::new();
        let file = dir.file("pinwire.toml", config);
        run(pinwire().args(["safe", "--gpio", self.backend, "--config"]).arg(file))
    }
}

/// An action, and its answer.
pub fn ask(ws: &mut Ws, action: &str, params: &Value) -> Value {
    ws.ask(&json!({"action": action, "params": params}).to_string())
}

/// An action that must succeed, and its data.
#[track_caller]
pub fn done(ws: &mut Ws, action: &str, params: Value) -> Value {
    let answer = ask(ws, action, &params);
    assert_eq!(answer["success"], true, "{action} {params}: {answer}");
    answer["data"].clone()
}

/// An action that must be refused, and why.
#[track_caller]
pub fn refused(ws: &mut Ws, action: &str, params: Value) -> String {
    let answer = ask(ws, action, &params);
    assert_eq!(answer["success"], false, "{action} {params}: {answer}");
    answer["error"].as_str().expect("text").to_owned()
}

/// Makes a line an output with this level.
#[track_caller]
pub fn drive(ws: &mut Ws, line: &str, on: bool) {
    done(ws, "UPDATE_PIN_CONFIGURATIONS", drive_params(line, on));
}

pub fn drive_params(line: &str, on: bool) -> Value {
    json!({"pins": {line: {"io": "OUTPUT", "state": u8::from(on)}}})
}

/// What is known of a line.
pub fn line(ws: &mut Ws, name: &str) -> Value {
    done(ws, "READ_LINES", json!({"pins": [name]}))[name].clone()
}

/// Lets time pass that is itself what is tested: nothing happens meanwhile, or two things are apart.
pub fn pass(time: Duration) {
    let (_never, pace) = channel::<()>();
    assert_eq!(pace.recv_timeout(time), Err(RecvTimeoutError::Timeout));
}

/// Says what was measured, also when the test passes.
pub fn say(text: &str) {
    let _ = writeln!(std::io::stdout(), "    {text}");
}

/// Clients that set lines as fast as they are answered, until this is dropped or the daemon has gone.
pub struct Hammers {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<u64>>,
}

impl Hammers {
    /// So many clients, on these lines in turn. They are all at work on return.
    pub fn start(daemon: &Daemon, clients: usize, lines: &[u32]) -> Hammers {
        let stop = Arc::new(AtomicBool::new(false));
        let (ready, started) = channel();
        let hammer = |number: usize| {
            let (mut ws, line) = (daemon.ws("/"), format!("GPIO{}", lines[number % lines.len()]));
            let (stop, ready) = (Arc::clone(&stop), ready.clone());
            std::thread::spawn(move || {
                drive(&mut ws, &line, true);
                let _ = ready.send(());
                let on =
                    json!({"action": "UPDATE_PIN_CONFIGURATIONS", "params": drive_params(&line, true)}).to_string();
                let off =
                    json!({"action": "UPDATE_PIN_CONFIGURATIONS", "params": drive_params(&line, false)}).to_string();
                let mut count = 0;
                while !stop.load(Ordering::Relaxed) {
                    let text = if count % 2 == 0 { &off } else { &on };
                    if ws.0.send(tungstenite::Message::text(text.as_str())).is_err() || ws.0.read().is_err() {
                        break;
                    }
                    count += 1;
                }
                count
            })
        };
        let threads = (0..clients).map(hammer).collect();
        (0..clients).for_each(|_| started.recv_timeout(crate::common::LIMIT).expect("every client is at work"));
        Hammers { stop, threads }
    }

    /// Ends them and says how often they were answered.
    pub fn stop(mut self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.threads.drain(..).map(|thread| thread.join().expect("no client fails otherwise")).sum()
    }
}

impl Drop for Hammers {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// This test program again as a process of its own that runs only this test, which looks for the variable.
pub fn again_as(test: &str, variable: &str, value: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("its own path"));
    command.args(["--exact", test, "--nocapture"]).env(variable, value);
    command
}
