//! Containers, on a real engine: Podman's Docker-compatible service with an image made here; and on engines that are
//! gone, stalled, or talk nonsense.

#[path = "fleet_docker/engine.rs"]
mod engine;

use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::{Duration, Instant};

use engine::{Dir, Engine};
use pinwire::config;
use pinwire::docker::{Docker, DockerError};
use pinwire::types::fleet::{Container, ContainerAction};

fn docker(socket: &Path, containers: &[&str]) -> Docker {
    Docker::new(&config::Docker {
        enabled: true,
        socket: socket.to_owned(),
        containers: containers.iter().map(ToString::to_string).collect(),
        timeout: Duration::from_secs(20),
        ..config::Docker::default()
    })
}

fn state(docker: &Docker, name: &str) -> String {
    let all = docker.list().expect("a list");
    let one = all.iter().find(|one| one.name == name).unwrap_or_else(|| panic!("{name} in {all:?}"));
    one.state.clone().expect("a state")
}

#[test]
fn containers_are_listed_started_stopped_and_read() {
    let Some(engine) = Engine::start() else { return };
    engine.create("web", "echo out; echo err >&2; trap 'echo bye; exit 0' TERM; while :; do sleep 1; done", false);
    engine.create("db-1", "for i in 1 2 3 4 5; do echo line-$i; done", false);
    engine.create("db-tty", "echo plain", true);
    engine.create("other", "echo secret", false);
    let docker = docker(engine.socket(), &["web", "db*"]);

    let all = docker.list().expect("a list");
    let mut names: Vec<&str> = all.iter().map(|one| one.name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["db-1", "db-tty", "web"], "what is not allowed is not there");
    let web: &Container = all.iter().find(|one| one.name == "web").expect("web");
    assert_eq!(web.id.len(), 64);
    assert!(web.image.as_deref().is_some_and(|image| image.contains("pinwire-test")), "{web:?}");
    assert!(web.created.is_some() && web.status.is_some(), "{web:?}");
    assert_eq!(web.state.as_deref(), Some("created"));

    // By name, by id, by the id `docker ps` prints; started twice is started.
    assert_eq!(docker.act(ContainerAction::Start, "web", None), Ok(web.id.clone()));
    assert_eq!(docker.act(ContainerAction::Start, &web.id, None), Ok(web.id.clone()));
    assert_eq!(docker.act(ContainerAction::Start, &web.id[..12], None), Ok(web.id.clone()));
    assert_eq!(state(&docker, "web"), "running");
    assert_eq!(docker.act(ContainerAction::Restart, "web", Some(Duration::from_secs(5))), Ok(web.id.clone()));
    assert_eq!(state(&docker, "web"), "running");
    assert_eq!(docker.act(ContainerAction::Stop, "web", Some(Duration::from_secs(5))), Ok(web.id.clone()));
    assert_eq!(docker.act(ContainerAction::Stop, "web", None), Ok(web.id.clone()), "it is stopped already");
    assert_eq!(state(&docker, "web"), "exited");
    let (mut lines, truncated) = docker.logs("web", 100).expect("a log");
    lines.sort();
    // Started twice; the engine keeps both runs.
    assert_eq!((lines, truncated), (["bye", "bye", "err", "err", "out", "out"].map(str::to_owned).to_vec(), false));

    assert!(docker.act(ContainerAction::Start, "db-1", None).is_ok());
    engine.wait("db-1");
    let texts = |texts: &[&str]| texts.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(docker.logs("db-1", 3), Ok((texts(&["line-3", "line-4", "line-5"]), false)));
    assert!(docker.act(ContainerAction::Start, "db-tty", None).is_ok());
    engine.wait("db-tty");
    assert_eq!(docker.logs("db-tty", 10), Ok((texts(&["plain"]), false)), "a terminal's log has no frames");

    for refused in [docker.act(ContainerAction::Start, "other", None).map(drop), docker.logs("other", 10).map(drop)] {
        assert!(matches!(&refused, Err(DockerError::Denied(why)) if why.contains("docker.containers")), "{refused:?}");
    }
    let missing = docker.act(ContainerAction::Stop, "nothing", None);
    assert_eq!(missing, Err(DockerError::NoSuchContainer("nothing".into())));
    assert_eq!(docker.logs("nothing", 1), Err(DockerError::NoSuchContainer("nothing".into())));
    assert_eq!(docker_of(&engine, &[]).list(), Ok(Vec::new()), "nothing is allowed unless it is named");
    assert_eq!(docker_of(&engine, &["*"]).list().map(|all| all.len()), Ok(4));
}

fn docker_of(engine: &Engine, containers: &[&str]) -> Docker {
    docker(engine.socket(), containers)
}

#[test]
fn a_long_log_is_handed_over_from_its_end() {
    let Some(engine) = Engine::start() else { return };
    engine.create("noisy", "i=0; while [ $i -lt 4000 ]; do echo line-$i; i=$((i+1)); done", false);
    let docker = Docker::new(&config::Docker {
        log_bytes: 1024,
        ..config::Docker {
            enabled: true,
            socket: engine.socket().to_owned(),
            containers: vec!["noisy".into()],
            ..Default::default()
        }
    });
    assert!(docker.act(ContainerAction::Start, "noisy", None).is_ok());
    engine.wait("noisy");
    let (lines, truncated) = docker.logs("noisy", 10_000).expect("a log");
    assert!(truncated && lines.len() < 200, "{} lines", lines.len());
    assert_eq!(lines.last().map(String::as_str), Some("line-3999"));
}

#[test]
fn an_engine_that_is_gone_or_not_allowed_is_said_so() {
    let dir = Dir::new();
    let socket = dir.path().join("engine.sock");
    let gone = docker(&socket, &["*"]).list();
    assert!(matches!(&gone, Err(DockerError::Unreachable(why)) if why.contains("no such socket")), "{gone:?}");
    drop(UnixListener::bind(&socket).expect("binds"));
    let gone = docker(&socket, &["*"]).list();
    assert!(matches!(&gone, Err(DockerError::Unreachable(why)) if why.contains("nobody listens")), "{gone:?}");
    let off = Docker::new(&config::Docker { socket, ..config::Docker::default() });
    assert!(!off.enabled());
    let off = off.list();
    assert!(matches!(&off, Err(DockerError::Denied(why)) if why.contains("docker.enabled")), "{off:?}");
}

#[test]
fn a_stalled_engine_costs_its_time_and_no_more() {
    let dir = Dir::new();
    let socket = dir.path().join("engine.sock");
    let listener = UnixListener::bind(&socket).expect("binds");
    let docker = Docker::new(&config::Docker {
        enabled: true,
        socket,
        containers: vec!["*".into()],
        timeout: Duration::from_millis(300),
        ..config::Docker::default()
    });
    // Nobody accepts.
    let began = Instant::now();
    assert_eq!(docker.list(), Err(DockerError::Slow));
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    // Each byte comes in time, the whole does not.
    let dripping = std::thread::spawn(move || {
        // The one that gave up is first.
        let _gave_up = listener.accept();
        let (mut stream, _) = listener.accept().expect("a connection");
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n[");
        stream.set_read_timeout(Some(Duration::from_millis(50))).expect("a limit");
        let mut byte = [0; 1024];
        let until = Instant::now() + Duration::from_secs(10);
        while Instant::now() < until && stream.write_all(b" ").is_ok() {
            let _ = stream.read(&mut byte);
        }
    });
    let began = Instant::now();
    assert_eq!(docker.list(), Err(DockerError::Slow));
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    dripping.join().expect("ends");
}

#[test]
fn an_answer_that_makes_no_sense_is_an_error() {
    let cases: [(&[u8], &str); 9] = [
        (b"", "hung up"),
        (b"nonsense\r\n\r\n", "no HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", "cannot be understood"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n[]", "hung up"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n[]", "length"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "no size"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n[", "hung up"),
        (b"HTTP/1.1 500 No\r\nContent-Length: 21\r\n\r\n{\"message\":\"no disk\"}", "no disk"),
        (b"HTTP/1.1 503 No\r\n\r\nbusy", "status 503"),
    ];
    for (answer, why) in cases {
        let error = answered(answer).expect_err("an error").to_string();
        assert!(error.contains(why), "{}: {error}", String::from_utf8_lossy(answer));
    }
    let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n[\r\n1;x=y\r\n]\r\n0\r\n\r\n";
    assert_eq!(answered(chunked), Ok(Vec::new()));
    let endless = [b"HTTP/1.1 200 OK\r\n\r\n[".to_vec(), vec![b' '; 5 << 20]].concat();
    let error = answered(&endless).expect_err("too long").to_string();
    assert!(error.contains("more than"), "{error}");
    let head = [b"HTTP/1.1 200 OK\r\n".to_vec(), b"x: y\r\n".repeat(10_000)].concat();
    assert!(answered(&head).is_err());
}

/// What becomes of a list that is answered so.
fn answered(answer: &[u8]) -> Result<Vec<Container>, DockerError> {
    let dir = Dir::new();
    let socket = dir.path().join("engine.sock");
    let listener = UnixListener::bind(&socket).expect("binds");
    let answer = answer.to_vec();
    let engine = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        let mut request = [0; 4096];
        let length = stream.read(&mut request).expect("a request");
        let _ = stream.write_all(&answer);
        String::from_utf8_lossy(&request[..length]).into_owned()
    });
    let answered = docker(&socket, &["*"]).list();
    let request = engine.join().expect("ends");
    assert!(request.starts_with("GET /containers/json?all=1 HTTP/1.1\r\n"), "{request}");
    answered
}
