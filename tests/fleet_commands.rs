//! Commands: what is allowed, what is refused, and how everything that runs ends in time.

mod common;
#[path = "config/support.rs"]
mod support;

use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use pinwire::run::{Runner, Watcher};
use pinwire::types::fleet::Outcome;
use support::good;

const LIMIT: Duration = Duration::from_secs(20);

/// By when what has a time of a second or two has ended, on a busy machine too.
const IN_TIME: Duration = Duration::from_secs(10);

/// Commands run as this user where the tests run as root: one that nothing else runs as.
const THROW_AWAY: u32 = 64_321;

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// `[commands]` with a shell, a user if there can be one, and these lines.
fn shell(lines: &str) -> String {
    let user = if is_root() { format!("user = \"{THROW_AWAY}\"\n") } else { String::new() };
    format!("[commands]\nshell = true\n{user}{lines}\n")
}

struct Machine(Runner);

impl Machine {
    fn new(config: &str) -> Machine {
        let config = good(config);
        Machine(Runner::start(&config.commands, &common::program()).expect("starts"))
    }

    fn run(&self, command: &str) -> Run {
        let run = self.begin(command, None);
        run.end()
    }

    fn begin(&self, command: &str, within: Option<Duration>) -> Begun {
        let (sender, receiver) = channel();
        let began = Instant::now();
        self.0.run(self.0.check(command).expect("allowed").within(within), Box::new(Told(sender)));
        Begun { receiver, began }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.0.stop(LIMIT);
    }
}

struct Told(Sender<News>);

enum News {
    Starting,
    Output(usize, String),
    Ended(Outcome),
}

impl Watcher for Told {
    fn starting(&mut self) -> Result<(), Outcome> {
        let _ = self.0.send(News::Starting);
        Ok(())
    }

    fn output(&mut self, offset: usize, text: &str) {
        let _ = self.0.send(News::Output(offset, text.to_owned()));
    }

    fn ended(self: Box<Self>, outcome: Outcome) {
        let _ = self.0.send(News::Ended(outcome));
    }
}

struct Begun {
    receiver: Receiver<News>,
    began: Instant,
}

impl Begun {
    fn end(&self) -> Run {
        let mut chunks = Vec::new();
        loop {
            match self.receiver.recv_timeout(LIMIT).expect("it ends") {
                News::Starting => {}
                News::Output(offset, text) => chunks.push((offset, text)),
                News::Ended(outcome) => return Run { outcome, chunks, took: self.began.elapsed() },
            }
        }
    }

    fn wait_for_start(&self) {
        while !matches!(self.receiver.recv_timeout(LIMIT).expect("it starts"), News::Starting) {}
    }

    fn wait_for_output(&self, wanted: &str) -> String {
        let mut all = String::new();
        while !all.contains(wanted) {
            match self.receiver.recv_timeout(LIMIT).expect("it prints") {
                News::Output(_, text) => all += &text,
                News::Starting => {}
                News::Ended(outcome) => panic!("ended: {outcome:?}"),
            }
        }
        all
    }
}

#[derive(Debug)]
struct Run {
    outcome: Outcome,
    chunks: Vec<(usize, String)>,
    took: Duration,
}

impl Run {
    fn command(&self) -> (&str, bool, i32) {
        match &self.outcome {
            Outcome::Command { output, truncated, exit_code, .. } => (output, *truncated, *exit_code),
            other => panic!("{other:?}"),
        }
    }
}

fn is_alive(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|rest| !rest.is_empty() && !rest.trim_start().starts_with(['Z', 'X']))
}

#[test]
fn a_command_runs_as_its_user_with_nothing_of_the_daemons() {
    // A variable of ours that must not arrive.
    let machine = Machine::new(&shell("max_processes = 32"));
    let run = machine
        .run("id -u; pwd; env | sort; read x || echo no-input; echo err >&2; ps -o sid= -p $$ | tr -d ' '; exit 7");
    let (output, truncated, code) = run.command();
    let lines: Vec<&str> = output.lines().collect();
    let uid = if is_root() { THROW_AWAY.to_string() } else { rustix::process::geteuid().as_raw().to_string() };
    assert_eq!(&lines[..2], [uid.as_str(), "/"]);
    let environment: Vec<&str> = lines.iter().filter_map(|line| line.split_once('=')).map(|(name, _)| name).collect();
    // The shell adds its own.
    assert!(
        environment.iter().all(|name| ["HOME", "LANG", "PATH", "PWD", "OLDPWD", "SHLVL", "_"].contains(name)),
        "{output}"
    );
    assert!(["HOME", "LANG", "PATH"].iter().all(|name| environment.contains(name)), "{output}");
    assert!(lines.contains(&"no-input") && lines.contains(&"err"), "{output}");
    assert_eq!((truncated, code), (false, 7));
    assert!(run.chunks.is_empty(), "streamed though it was short");

    let status = machine.run("grep -E 'NoNewPrivs|Groups|CapEff' /proc/self/status; cat /proc/self/limits");
    let (output, ..) = status.command();
    assert!(output.contains("NoNewPrivs:\t1"), "{output}");
    if is_root() {
        assert!(output.contains("CapEff:\t0000000000000000"), "{output}");
        assert!(output.contains(&format!("Groups:\t{THROW_AWAY}")), "{output}");
    }
    for (name, limit) in [
        ("Max cpu time", "60"),
        ("Max file size", "67108864"),
        ("Max core file size", "0"),
        ("Max processes", "32"),
        ("Max address space", "1073741824"),
    ] {
        let line =
            output.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("{name}: {output}"));
        assert_eq!(line.split_whitespace().next(), Some(limit), "{name}");
    }
}

#[test]
fn what_cannot_be_started_has_failed_and_says_why() {
    let user = if is_root() { "user = \"nobody\"" } else { "" };
    let machine = Machine::new(&format!(
        "[commands]\n{user}\n[commands.templates.gone]\nargv = [\"/nonexistent/program\"]\n\
         [commands.templates.echo]\nargv = [\"/bin/echo\", \"{{text}}\", \"{{n}}\"]\n\
         [commands.templates.echo.params]\ntext = {{ kind = \"pattern\", pattern = \".*\" }}\nn = {{ kind = \"int\", min = 1, max = 5 }}"
    ));
    let run = machine.run("gone");
    assert!(matches!(&run.outcome, Outcome::Failed { message } if message.contains("No such file")), "{run:?}");
    let run = machine.run("echo 'text=$(id); `id` \"x\" *' n=3");
    assert_eq!(run.command(), ("$(id); `id` \"x\" * 3\n", false, 0));
    for (text, why) in
        [("echo text=a n=6", "from 1 to 5"), ("echo text=-n n=1", "begin with '-'"), ("reboot", "no command")]
    {
        let refusal = machine.0.check(text).expect_err(text);
        assert!(refusal.contains(why), "{refusal}");
    }
}

#[test]
fn root_is_refused_unless_the_file_says_so() {
    if !is_root() {
        common::skipped("only root can be refused to be root");
        return;
    }
    for (lines, allowed) in [
        ("shell = true", false),
        ("shell = true\nuser = \"root\"", false),
        ("shell = true\nuser = \"0\"", false),
        ("shell = true\nallow_root = true", true),
        ("shell = true\nuser = \"nobody\"", true),
        ("shell = true\nuser = \"no-such-user\"", false),
    ] {
        let machine = Machine::new(&format!("[commands]\n{lines}"));
        assert_eq!(machine.0.check("id").is_ok(), allowed, "{lines}");
    }
    let machine = Machine::new("[commands]\nshell = true\nallow_root = true");
    assert_eq!(machine.run("id -u").command(), ("0\n", false, 0));
}

#[test]
fn a_flood_is_capped_and_ended() {
    let machine = Machine::new(&shell("output_bytes = 4096"));
    let run = machine.run("yes");
    let (output, truncated, code) = run.command();
    assert!(output.starts_with("y\ny\n") && output.len() < 4096 + 200, "{} bytes", output.len());
    assert!(output.ends_with("[pinwire: ended, it prints more than 65536 bytes]\n"), "{}", &output[4000..]);
    assert_eq!((truncated, code), (true, -1));
    assert!(run.took < IN_TIME, "{:?}", run.took);
    // A little more than what is kept is nobody's fault.
    let run = machine.run("head -c 10000 /dev/zero | tr '\\0' x; exit 3");
    let (output, truncated, code) = run.command();
    assert_eq!((output.len(), truncated, code), (4096, true, 3));
}

#[test]
fn what_does_not_end_is_ended_and_all_it_started() {
    let machine = Machine::new(&shell("timeout = \"1s\"\nkill_after = \"500ms\""));
    let run = machine.run("echo before; sleep 1000");
    let (output, truncated, code) = run.command();
    assert_eq!((output, truncated, code), ("before\n[pinwire: ended, it did not end within 1s]\n", false, -1));
    assert!(run.took < IN_TIME, "{:?}", run.took);

    // SIGTERM is heard, and still it is no success.
    let run = machine.run("trap 'echo bye; exit 0' TERM; sleep 1000 & wait");
    let (output, _, code) = run.command();
    assert!(output.starts_with("bye\n"), "{output}");
    assert_eq!(code, -1);

    // SIGTERM is ignored, by its children too.
    let run = machine.run("trap '' TERM; (sleep 1000; echo no) & echo $!; while :; do sleep 1000; done");
    let (output, ..) = run.command();
    assert!(run.took >= Duration::from_millis(1500) && run.took < IN_TIME, "{:?}", run.took);
    assert!(!is_alive(output.lines().next().expect("a pid")), "{output}");
}

#[test]
fn what_leaves_the_group_or_outlives_the_leader_is_ended() {
    let machine = Machine::new(&shell("timeout = \"2s\"\nkill_after = \"300ms\""));
    // In a session of its own, without the pipe, its parent gone: a daemon by all rules.
    let escape =
        "setsid sh -c 'trap \"\" TERM HUP; echo $$ >&3; exec sleep 1000 3>&-' 3>&1 >/dev/null 2>&1 </dev/null &";
    let run = machine.run(&format!("({escape}); exec sleep 1000"));
    let (output, ..) = run.command();
    let pid = output.lines().next().expect("a pid");
    assert!(pid.parse::<u32>().is_ok() && !is_alive(pid), "{output}");

    // The leader ends well, and what it left behind goes with it, long before its time.
    let machine = Machine::new(&shell("timeout = \"1m\""));
    let run = machine.run("sleep 1000 >/dev/null 2>&1 & echo $!; exit 0");
    let (output, _, code) = run.command();
    assert_eq!(code, 0);
    assert!(run.took < IN_TIME && !is_alive(output), "{output} {:?}", run.took);

    // What holds the output does not hold the end.
    let run = machine.run("(setsid sleep 1000 &) ; echo done");
    assert_eq!(run.command(), ("done\n", false, 0));
    assert!(run.took < IN_TIME, "{:?}", run.took);
}

#[test]
fn a_fork_bomb_ends_within_its_limits() {
    if !is_root() {
        common::skipped("as nobody but root, the processes of these tests would count as the bomb's");
        return;
    }
    // A user of its own, so that other tests' commands are not under this limit with it.
    let config = format!(
        "[commands]\nshell = true\nuser = \"{}\"\nmax_processes = 40\ntimeout = \"2s\"\nkill_after = \"300ms\"",
        THROW_AWAY + 1
    );
    let machine = Machine::new(&config);
    let run = machine.run("bomb() { bomb | bomb & }; bomb; sleep 1000");
    assert!(
        matches!(run.outcome, Outcome::Command { exit_code: -1, .. }) || matches!(run.outcome, Outcome::Command { .. }),
        "{run:?}"
    );
    assert!(run.took < IN_TIME, "{:?}", run.took);
    let run = machine.run("trap '' TERM; while :; do (while :; do :; done) & done");
    assert!(run.took < IN_TIME, "{:?}", run.took);
    let left =
        std::process::Command::new("ps").args(["-o", "pid=,stat=,args=", "-U", &(THROW_AWAY + 1).to_string()]).output();
    let left = String::from_utf8_lossy(&left.expect("ps runs").stdout).into_owned();
    assert_eq!(left.trim(), "", "processes are left");
}

#[test]
fn limits_hold_for_memory_files_and_time() {
    let dir = support::Dir::new();
    let file = dir.0.join("file");
    if is_root() {
        std::os::unix::fs::chown(&dir.0, Some(THROW_AWAY), None).expect("chown");
    }
    let machine = Machine::new(&shell(
        "max_file_bytes = 8192\nmax_cpu_time = \"1s\"\nmax_memory_bytes = 50000000\ntimeout = \"15s\"",
    ));
    let run = machine.run(&format!("head -c 100000 /dev/zero > {}; echo $?", file.display()));
    assert_ne!(run.command().0, "0\n");
    assert_eq!(std::fs::metadata(&file).expect("there").len(), 8192);
    let run = machine.run("while :; do :; done");
    assert_eq!(run.command().2, -1);
    assert!(run.took < IN_TIME, "{:?}", run.took);
    let run = machine.run("head -c 200000000 /dev/zero | tail -n 1 | wc -c");
    assert_ne!(run.command().0.trim(), "200000000");
}

#[test]
fn two_run_and_others_wait_and_the_rest_is_refused() {
    let machine = Machine::new(&shell("max_running = 2\nqueue = 2\nkill_after = \"300ms\""));
    let begun: Vec<Begun> = (0..2).map(|_| machine.begin("sleep 1000", Some(Duration::from_secs(2)))).collect();
    begun.iter().for_each(Begun::wait_for_start);
    let waits = machine.begin("echo late", None);
    let over = machine.begin("echo never", Some(Duration::from_millis(200)));
    let refused = machine.begin("echo refused", None).end();
    assert!(
        matches!(&refused.outcome, Outcome::Failed { message } if message.contains("too many commands")),
        "{refused:?}"
    );
    assert_eq!(waits.end().command(), ("late\n", false, 0));
    let over = over.end();
    assert!(matches!(&over.outcome, Outcome::Failed { message } if message.contains("before its turn")), "{over:?}");
}

#[test]
fn long_commands_are_told_of_as_they_go() {
    let machine = Machine::new(&shell(""));
    let run = machine.run("for i in 1 2 3 4; do echo line-$i; sleep 0.5; done");
    let (output, ..) = run.command();
    assert!(run.chunks.len() >= 2, "{:?}", run.chunks);
    let mut whole = String::new();
    for (offset, text) in &run.chunks {
        assert_eq!(*offset, whole.len());
        whole += text;
    }
    assert_eq!(whole, output);
}

#[test]
fn a_stop_ends_what_runs() {
    let machine = Machine::new(&shell("kill_after = \"300ms\"\nmax_running = 1"));
    let begun = machine.begin("(setsid sleep 1000 & echo pid=$!) ; sleep 1000", None);
    let waiting = machine.begin("echo never", None);
    let output = begun.wait_for_output("pid=");
    machine.0.stop(LIMIT);
    let run = begun.end();
    assert!(run.command().0.contains("the daemon is stopping"), "{run:?}");
    assert!(!is_alive(output.trim().trim_start_matches("pid=")), "{output}");
    assert!(matches!(waiting.end().outcome, Outcome::Failed { .. }));
}

#[test]
fn nothing_is_left_when_the_daemon_or_the_keeper_is_killed() {
    // The keeper's control ends with the daemon; here the keeper itself is killed.
    let machine = Machine::new(&shell("timeout = \"15s\""));
    let begun = machine.begin("echo me=$$; sleep 1000", None);
    let output = begun.wait_for_output("me=");
    let pid = output.trim().trim_start_matches("me=").to_owned();
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("it runs");
    let keeper = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(1)).expect("a parent").to_owned();
    assert!(std::process::Command::new("kill").args(["-KILL", &keeper]).status().expect("kill").success());
    let run = begun.end();
    assert!(matches!(&run.outcome, Outcome::Failed { message } if message.contains("keeper")), "{run:?}");
    let until = Instant::now() + LIMIT;
    while is_alive(&pid) {
        assert!(Instant::now() < until, "{pid} is left");
        std::thread::yield_now();
    }
}
