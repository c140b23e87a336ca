//! The hub: a process with a state directory, its REST, and what the kernel says of it.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::Result;

/// How long any one answer may take.
pub const LIMIT: Duration = Duration::from_secs(20);

const OPERATOR: &str = "the-operators-key-of-the-fleet-bench";

/// What the daemon is told by the environment and would make it a different one.
const MISLEADING: [&str; 7] =
    ["PORT", "API_KEY", "PINWIRE_API_KEY", "USE_TLS", "KEY_FILE", "CERT_FILE", "ENABLE_INFO_SOCKET"];

pub struct Hub {
    pub address: SocketAddr,
    child: Child,
    dir: PathBuf,
}

/// What a process has used, and what it keeps.
pub struct Figures {
    cpu_seconds: f64,
    pub rss_mib: f64,
    pub peak_mib: f64,
    /// Bytes in use in the database.
    pub database: u64,
    /// Bytes given to the disk since the start.
    pub written: u64,
}

impl Figures {
    pub fn cpu_percent_since(&self, before: &Figures, window: Duration) -> f64 {
        (self.cpu_seconds - before.cpu_seconds) / window.as_secs_f64() * 100.0
    }
}

impl Hub {
    pub fn start(daemon: &Path) -> Result<Hub> {
        let dir = std::env::temp_dir().join(format!("pinwire-fleet-bench-{}", std::process::id()));
        std::fs::create_dir_all(&dir)?;
        let key = dir.join("operator.key");
        std::fs::write(&key, OPERATOR)?;
        let permissions = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(&key, permissions)?;
        let config = dir.join("pinwire.toml");
        // Only what agents bring is measured.
        std::fs::write(&config, "[hub]\nown_server = false\n")?;
        let mut command = Command::new(daemon);
        command.args(["serve", "--listen", "127.0.0.1:0", "--gpio", "sim", "--log-level", "error", "--config"]);
        command.arg(&config).arg("--state-dir").arg(dir.join("state")).arg("--api-key-file").arg(&key);
        MISLEADING.iter().for_each(|name| {
            command.env_remove(name);
        });
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let stdout = child.stdout.take().ok_or("no pipe to the hub")?;
        let mut hub = Hub { address: SocketAddr::from(([127, 0, 0, 1], 0)), child, dir };
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let address = line.trim_end().strip_prefix("listening on http://").and_then(|rest| rest.parse().ok());
        hub.address = address.ok_or_else(|| format!("the hub said {line:?} instead of where it listens"))?;
        Ok(hub)
    }

    /// Makes a server with a key for its agent: the id, and the key.
    pub fn server(&self, name: &str) -> Result<(String, String)> {
        let text =
            |value: &Value, member: &str| value[member].as_str().map(str::to_owned).ok_or("no text in an answer");
        let server = self.ask("POST", "/servers", &serde_json::json!({ "name": name }))?;
        let id = text(&server, "id")?;
        let key = self.ask("POST", "/api-keys", &serde_json::json!({ "server_id": id }))?;
        Ok((id, text(&key, "key")?))
    }

    /// A request below `/api/v1`.
    pub fn ask(&self, method: &str, path: &str, body: &Value) -> Result<Value> {
        let mut stream = TcpStream::connect_timeout(&self.address, LIMIT)?;
        stream.set_read_timeout(Some(LIMIT))?;
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let (host, length) = (self.address, body.len());
        let head = format!(
            "{method} /api/v1{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nX-API-Key: {OPERATOR}\r\n\
             Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        stream.write_all(head.as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").ok_or("half an answer")?;
        match head.split(' ').nth(1) {
            Some("200" | "201") => Ok(serde_json::from_str(body)?),
            _ => Err(format!("{method} {path}: {answer}").into()),
        }
    }

    pub fn figures(&self) -> Result<Figures> {
        let proc = PathBuf::from(format!("/proc/{}", self.child.id()));
        let stat = std::fs::read_to_string(proc.join("stat"))?;
        let fields: Vec<&str> = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_ascii_whitespace().collect();
        let ticks = |index: usize| fields.get(index).and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0);
        let status = std::fs::read_to_string(proc.join("status"))?;
        let kib = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<f64>().ok()).unwrap_or(f64::NAN)
        };
        // Not every kernel counts this; it is shown as 0 there.
        let io = std::fs::read_to_string(proc.join("io")).unwrap_or_default();
        let written = io.lines().find_map(|line| line.strip_prefix("write_bytes: ")?.parse().ok()).unwrap_or(0);
        Ok(Figures {
            cpu_seconds: (ticks(11) + ticks(12)) / rustix::param::clock_ticks_per_second() as f64,
            rss_mib: kib("VmRSS:") / 1024.0,
            peak_mib: kib("VmHWM:") / 1024.0,
            database: self.database()?,
            written,
        })
    }

    /// Pages in use, as a reader sees them; free ones will be used again.
    fn database(&self) -> Result<u64> {
        let store = rusqlite::Connection::open(self.dir.join("state/pinwire.db"))?;
        store.busy_timeout(LIMIT)?;
        let pragma = |name: &str| store.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
        Ok(((pragma("page_count")? - pragma("freelist_count")?) * pragma("page_size")?).unsigned_abs())
    }

    pub fn machine(&self) -> String {
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        format!("on {} with {cores} cores, shared with the agents", std::env::consts::ARCH)
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}
