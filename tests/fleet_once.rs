//! Orders as a machine takes them: each once, also across a restart, and written down before and after.

mod common;
#[path = "config/support.rs"]
mod support;

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

use pinwire::agent::{Orders, Reply};
use pinwire::docker::Docker;
use pinwire::store::{AuditBroken, Db, Store};
use pinwire::types::fleet::{AuditEntry, AuditPhase, ContainerAction, Issuer, Order, Outcome};
use support::good;

const LIMIT: Duration = Duration::from_secs(20);

/// Commands run as this user where the tests run as root: one that nothing else runs as.
const THROW_AWAY: u32 = 64_341;

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// `[commands]` with a shell, a user if there can be one, and these lines.
fn shell(lines: &str) -> String {
    let user = if is_root() { format!("user = \"{THROW_AWAY}\"\n") } else { String::new() };
    format!("[commands]\nshell = true\n{user}{lines}\n")
}

/// Orders, with a store in a directory.
struct Desk {
    orders: Orders,
    store: Arc<Store>,
}

impl Desk {
    fn open(dir: &Path, config: &str) -> Desk {
        let config = good(config);
        let store = Arc::new(Store::start(Some(dir)).expect("a store"));
        let docker = Arc::new(Docker::new(&config.docker));
        let program = common::program();
        let orders = Orders::start(&config.commands, docker, Arc::clone(&store), &program).expect("starts");
        Desk { orders, store }
    }

    fn take(&self, id: &str, order: Order) -> Outcome {
        let (sender, receiver) = channel();
        let issuer = Issuer { who: "ann".into(), id: Some("key-1".into()), from: "192.0.2.7".into() };
        self.orders.take(id, &order, &issuer, None, Box::new(Answered(sender)));
        receiver.recv_timeout(LIMIT).expect("an outcome")
    }

    fn close(self) {
        self.orders.stop(LIMIT);
        self.store.stop(LIMIT);
    }
}

struct Answered(Sender<Outcome>);

impl Reply for Answered {
    fn done(self: Box<Self>, outcome: Outcome) {
        let _ = self.0.send(outcome);
    }
}

fn command(text: &str) -> Order {
    Order::Command { command: text.into() }
}

fn restart(container: &str) -> Order {
    Order::Container { action: ContainerAction::Restart, container_id: container.into(), timeout: None }
}

/// The audit's records, and whether their chain holds.
fn audit(dir: &Path) -> (Vec<AuditEntry>, Result<u64, AuditBroken>) {
    let mut entries = Vec::new();
    let db = Db::open_existing(dir).expect("a database");
    let verified = db.audit(|record| {
        entries.push(record.entry);
        Ok::<(), Box<dyn std::error::Error>>(())
    });
    (entries, verified.expect("reads"))
}

#[test]
fn without_permission_everything_is_denied_and_in_the_audit() {
    let dir = support::Dir::new();
    let desk = Desk::open(&dir.0, "");
    for (id, order, why) in [
        ("1", command("id"), "commands are not allowed on this machine"),
        ("2", restart("web"), "Docker is not allowed on this machine"),
        ("3", Order::ContainerLogs { container_id: "web".into(), tail: 3 }, "Docker is not allowed"),
    ] {
        let outcome = desk.take(id, order);
        assert!(matches!(&outcome, Outcome::Denied { message } if message.contains(why)), "{outcome:?}");
    }
    desk.close();
    let (entries, verified) = audit(&dir.0);
    assert_eq!(verified, Ok(3));
    let said: Vec<_> =
        entries.iter().map(|entry| (entry.phase, entry.order_id.as_str(), entry.what.as_str())).collect();
    let after = AuditPhase::After;
    assert_eq!(
        said,
        [
            (after, "1", "here: command id"),
            (after, "2", "here: docker restart web"),
            (after, "3", "here: docker logs web (the last 3)")
        ]
    );
    assert!(entries.iter().all(|entry| entry.result.as_deref().is_some_and(|result| result.starts_with("denied: "))));
}

#[test]
fn what_runs_is_written_down_before_and_after_and_a_changed_byte_is_found() {
    let dir = support::Dir::new();
    let config = shell("timeout = \"1s\"\nkill_after = \"300ms\"\noutput_bytes = 4096");
    let desk = Desk::open(&dir.0, &config);
    for (id, text) in
        [("flood", "yes"), ("long", "sleep 1000"), ("escape", "trap '' TERM; (setsid sleep 1000 &); sleep 1000")]
    {
        let began = Instant::now();
        let outcome = desk.take(id, command(text));
        assert!(matches!(&outcome, Outcome::Command { exit_code: -1, .. }), "{outcome:?}");
        assert!(began.elapsed() < Duration::from_secs(10), "{id}: {:?}", began.elapsed());
    }
    desk.close();
    let (entries, verified) = audit(&dir.0);
    assert_eq!(verified, Ok(6));
    let phases: Vec<_> = entries.iter().map(|entry| (entry.order_id.as_str(), entry.phase.as_str())).collect();
    let pairs = [
        ("flood", "before"),
        ("flood", "after"),
        ("long", "before"),
        ("long", "after"),
        ("escape", "before"),
        ("escape", "after"),
    ];
    assert_eq!(phases, pairs);
    let flood = &entries[1];
    assert_eq!(
        (flood.issuer.who.as_str(), flood.issuer.id.as_deref(), flood.issuer.from.as_str()),
        ("ann", Some("key-1"), "192.0.2.7")
    );
    let result = flood.result.as_deref().expect("a result");
    assert!(
        result.starts_with("exit code -1 after ") && result.contains("bytes of output, cut [pinwire: ended, "),
        "{result}"
    );

    // One byte of what was asked for, in the file itself.
    let file = dir.0.join("pinwire.db");
    let mut bytes = std::fs::read(&file).expect("the database");
    let at = bytes.windows(18).rposition(|window| window == b"command sleep 1000").expect("a record");
    bytes[at + 17] = b'1';
    std::fs::write(&file, bytes).expect("written");
    assert_eq!(audit(&dir.0).1, Err(AuditBroken::Changed(3)));
}

#[test]
fn an_order_is_done_once_also_across_a_restart() {
    let dir = support::Dir::new();
    let counter = support::Dir::new();
    if is_root() {
        std::os::unix::fs::chown(&counter.0, Some(THROW_AWAY), None).expect("chown");
    }
    let text = format!("echo x >> {0}/count; wc -l < {0}/count; sleep 0.3", counter.0.display());
    let desk = Desk::open(&dir.0, &shell(""));
    // Sent twice at once, as after a lost connection, and once more when it has ended.
    let (sender, receiver) = channel();
    let issuer = Issuer { who: "ann".into(), id: None, from: "192.0.2.7".into() };
    for _ in 0..2 {
        desk.orders.take("a", &command(&text), &issuer, None, Box::new(Answered(sender.clone())));
    }
    let outcomes: Vec<_> = (0..2).map(|_| receiver.recv_timeout(LIMIT).expect("an outcome")).collect();
    assert_eq!(outcomes[0], outcomes[1]);
    assert!(matches!(&outcomes[0], Outcome::Command { output, .. } if output == "1\n"), "{outcomes:?}");
    assert_eq!(desk.take("a", command(&text)), outcomes[0]);
    desk.close();

    let desk = Desk::open(&dir.0, &shell(""));
    let again = desk.take("a", command(&text));
    assert!(
        matches!(&again, Outcome::Failed { message } if message.contains("done before") && message.contains("exit code 0")),
        "{again:?}"
    );
    let other = desk.take("b", command(&text));
    assert!(matches!(&other, Outcome::Command { output, .. } if output == "2\n"), "{other:?}");
    desk.close();
    assert_eq!(audit(&dir.0).1, Ok(4));
}

#[test]
fn without_an_audit_nothing_is_done_unless_the_file_says_so() {
    for (line, done) in [("", false), ("without_audit = true", true)] {
        let dir = support::Dir::new();
        let desk = Desk::open(&dir.0, &shell(line));
        // As a damaged database: it cannot be written.
        let other = rusqlite::Connection::open(dir.0.join("pinwire.db")).expect("opens");
        other.execute_batch("DROP TABLE audit").expect("dropped");
        let outcome = desk.take("a", command("echo done"));
        match outcome {
            Outcome::Command { output, .. } => assert!(done && output == "done\n", "{output}"),
            Outcome::Denied { message } => assert!(!done && message.contains("audit cannot be written"), "{message}"),
            other => panic!("{other:?}"),
        }
        desk.close();
    }
}
