//! A container engine for the tests: Podman's service on a socket of its own, with storage of its own.
#![allow(dead_code)] // each test file uses its part

use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(60);
const IMAGE: &str = "pinwire-test";

/// Where a static shell may be; the image has nothing else.
const SHELLS: [&str; 2] = ["/bin/busybox", "/usr/bin/busybox"];

/// A directory that is removed with the value. Its path is short: a socket's has at most 107 bytes.
pub struct Dir(PathBuf);

impl Dir {
    pub fn new() -> Dir {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let path =
            std::env::temp_dir().join(format!("pwd-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed)));
        std::fs::create_dir_all(&path).expect("a fresh directory");
        Dir(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub struct Engine {
    dir: Dir,
    socket: PathBuf,
    service: Child,
}

impl Engine {
    /// `None` where there is no engine to test with; says so.
    pub fn start() -> Option<Engine> {
        let dir = Dir::new();
        if let Err(why) = prepare(&dir) {
            // Not with `println!`, which a passing test swallows.
            let _ = std::io::Write::write_all(
                &mut std::io::stdout(),
                format!("skipped: no container engine to test with: {why}\n").as_bytes(),
            );
            return None;
        }
        let socket = dir.path().join("engine.sock");
        let url = format!("unix://{}", socket.display());
        let mut command = podman(&dir, &["system", "service", "--time=0", &url]);
        let service = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the service starts");
        let engine = Engine { dir, socket, service };
        let until = Instant::now() + LIMIT;
        while UnixStream::connect(&engine.socket).is_err() {
            assert!(Instant::now() < until, "the service did not listen within {LIMIT:?}");
            std::thread::yield_now();
        }
        Some(engine)
    }

    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Makes a container that runs this text in a shell.
    pub fn create(&self, name: &str, script: &str, terminal: bool) {
        let mut arguments = vec!["create", "--network", "none", "--name", name];
        if terminal {
            arguments.push("--tty");
        }
        arguments.extend([IMAGE, "/bin/busybox", "sh", "-c", script]);
        let output = run(podman(&self.dir, &arguments));
        assert!(output.status.success(), "{output:?}");
    }

    /// Waits for a container's end.
    pub fn wait(&self, name: &str) {
        let output = run(podman(&self.dir, &["wait", name]));
        assert!(output.status.success(), "{output:?}");
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let _ = run(podman(&self.dir, &["rm", "--all", "--force", "--time", "0"]));
        let _ = self.service.kill();
        let _ = self.service.wait();
    }
}

/// Makes the image, and sees whether it can be run here.
fn prepare(dir: &Dir) -> Result<(), String> {
    if !rustix::process::geteuid().is_root() {
        return Err("the tests do not run as root".into());
    }
    let shell = SHELLS.iter().find(|shell| Path::new(shell).exists());
    let shell = shell.ok_or("there is no busybox to put into an image (package busybox-static)")?;
    let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).map_err(|error| error.to_string());
    // Limits and control groups as this machine has them, whatever they are.
    write(
        "containers.conf",
        "[containers]\ndefault_ulimits = [\"nofile=1024:1024\", \"nproc=1024:1024\"]\ncgroups = \"disabled\"\n",
    )?;
    write("Containerfile", "FROM scratch\nCOPY busybox /bin/busybox\nENV PATH=/bin\n")?;
    std::fs::copy(shell, dir.path().join("busybox")).map_err(|error| error.to_string())?;
    let path = dir.path().display().to_string();
    for arguments in [
        &["build", "--quiet", "--tag", IMAGE, &path][..],
        &["run", "--rm", "--network", "none", IMAGE, "/bin/busybox", "true"],
    ] {
        let output = podman(dir, arguments).output().map_err(|error| format!("podman: {error} (package podman)"))?;
        if !output.status.success() {
            return Err(format!("podman {}: {}", arguments[0], String::from_utf8_lossy(&output.stderr).trim()));
        }
    }
    Ok(())
}

/// Podman with storage in this directory. It is run in a mount namespace of its own, without the second hierarchy of
/// control groups where both are mounted: the runtime refuses such a mixture.
fn podman(dir: &Dir, arguments: &[&str]) -> Command {
    let path = |name: &str| dir.path().join(name).display().to_string();
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c"]);
    command.arg("umount /sys/fs/cgroup/unified 2>/dev/null; exec podman \"$@\"");
    command.args(["podman", "--root", &path("root"), "--runroot", &path("run"), "--storage-driver", "vfs"]);
    command.args(["--tmpdir", &path("tmp"), "--events-backend", "file"]).args(arguments);
    command.env("CONTAINERS_CONF", dir.path().join("containers.conf")).stdin(Stdio::null());
    command
}

fn run(mut command: Command) -> Output {
    command.output().expect("podman runs")
}
