//! The HTTP side: tiny_http on a private loopback port, behind the front door.
//!
//! tiny_http does what it is good at: requests, bodies, keep-alive. It sees only whole requests that the front
//! door has checked. A table from the private connection's port to the visitor's address tells handlers who
//! asks; a connection that is not in it (another local user found the port) is refused.

mod ack;
mod at_once;
#[cfg_attr(not(feature = "hub"), path = "no_chatops.rs")]
mod chatops;
mod endrpi;
mod fleet;
mod later;
mod lines;
mod picloud;
mod reply;

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};
use tiny_http::{Method, Request, Server};

use crate::alerts::Alerts;
use crate::auth::password::Passwords;
use crate::auth::{self, Gate, Refused, Shown, Verdict};
use crate::config;
use crate::dispatch::Desk;
use crate::fleet::Fleet;
use crate::hub::Hub;
use crate::nodes::Nodes;
use crate::rt::clock;
use crate::rt::worker::{self, Worker};
use crate::store::Store;
use crate::types::caller::Caller;
use crate::types::features;
use crate::types::rights::Rights;
pub use at_once::Publish;
use later::{Answerer, Later, Patience};
use reply::Reply;

/// Threads that answer requests. Each answer is a few microseconds of work, and its bytes fit into the private
/// connection's buffers, so one more than the cores of a small Pi is enough.
const HANDLERS: [&str; 4] = ["http-1", "http-2", "http-3", "http-4"];

/// Threads that answer what may wait for the store. A disk that hangs holds these, and the pins go on.
const FLEET_HANDLERS: &[&str] = match features::HUB.built_in {
    true => &["http-fleet-1", "http-fleet-2", "http-fleet-3", "http-fleet-4"],
    false => &[],
};

/// Requests that may wait for one of those; one more is refused.
const FLEET_QUEUE: usize = 64;

/// How long they may: with the store's own limit it stays below `front.response_deadline`, so that who is told that
/// there was no time can rely on it.
const FLEET_WAIT: Duration = Duration::from_secs(5);

/// How long the server may take to answer our own probe before it counts as dead.
const PROBE_LIMIT: Duration = Duration::from_secs(5);

/// What handlers work with.
pub struct Rooms {
    pub hub: Arc<Hub>,
    pub desk: Arc<Desk>,
    pub gate: Arc<Gate>,
    pub store: Arc<Store>,
    pub nodes: Arc<Nodes>,
    pub alerts: Arc<Alerts>,
    pub fleet: Arc<Fleet>,
    pub listed_origin: Box<dyn Fn(&str) -> bool + Send + Sync>,
    pub limits: config::Front,
    pub accounts: Arc<RwLock<config::Accounts>>,
    pub passwords: Passwords,
    pub node_id: String,
}

/// The private server, as the front door sees it.
pub struct Private {
    address: SocketAddr,
    rooms: Arc<Rooms>,
    peers: Mutex<HashMap<u16, Peer>>,
    later: Arc<Later>,
    server: Server,
    /// To those who may wait for the store; `None` is for their end.
    fleet: Sender<Option<Box<Waiting>>>,
    stopping: AtomicBool,
    probing: AtomicBool,
    workers: Mutex<Vec<Worker>>,
}

/// A request that may have to wait for the store, and since when it waits for a thread.
struct Waiting {
    request: Request,
    peer: Peer,
    since: Instant,
}

/// Whom a connection to the private server is for.
#[derive(Clone)]
struct Peer {
    address: SocketAddr,
    patience: Patience,
}

/// A connection to the private server; leaves the table when dropped.
pub struct Upstream {
    pub stream: TcpStream,
    port: u16,
    patience: Patience,
    private: Arc<Private>,
}

impl Drop for Upstream {
    fn drop(&mut self) {
        // The port is free as soon as both sides have ended, and may be somebody else's by now.
        let mut peers = self.private.peers();
        if peers.get(&self.port).is_some_and(|peer| Arc::ptr_eq(&peer.patience, &self.patience)) {
            peers.remove(&self.port);
        }
    }
}

impl Upstream {
    /// Until when the answer may take, where that is longer than usual.
    pub fn patience(&self) -> Option<Instant> {
        *self.patience.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Private {
    /// # Errors
    /// No port or no thread to be had.
    pub fn start(rooms: Rooms) -> io::Result<Arc<Private>> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let server = Server::from_listener(listener, None).map_err(io::Error::other)?;
        let (fleet, waiting) = bounded(FLEET_QUEUE);
        let rooms = Arc::new(rooms);
        let private = Arc::new(Private {
            address,
            rooms: Arc::clone(&rooms),
            peers: Mutex::default(),
            later: Later::start()?,
            server,
            fleet,
            stopping: AtomicBool::new(false),
            probing: AtomicBool::new(false),
            workers: Mutex::default(),
        });
        for name in HANDLERS {
            let (own, rooms) = (Arc::clone(&private), Arc::clone(&rooms));
            let worker = Worker::spawn(name, move || own.serve(&rooms))?;
            private.workers.lock().unwrap_or_else(PoisonError::into_inner).push(worker);
        }
        for name in FLEET_HANDLERS {
            let (own, rooms, waiting) = (Arc::clone(&private), Arc::clone(&rooms), waiting.clone());
            let worker = Worker::spawn(name, move || own.serve_fleet(&rooms, &waiting))?;
            private.workers.lock().unwrap_or_else(PoisonError::into_inner).push(worker);
        }
        Ok(private)
    }

    /// Opens a connection for a visitor. Its port is in the table before the server can see it.
    ///
    /// # Errors
    /// The system's: no descriptors, no ports.
    pub fn connect(self: &Arc<Private>, peer: SocketAddr) -> io::Result<Upstream> {
        use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, getsockname, socket_with};
        let socket = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        bind(&socket, &SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
        let own = SocketAddr::try_from(getsockname(&socket)?)?;
        let patience = Patience::default();
        self.peers().insert(own.port(), Peer { address: peer, patience: Arc::clone(&patience) });
        let (stream, private) = (TcpStream::from(socket), Arc::clone(self));
        let upstream = Upstream { stream, port: own.port(), patience, private };
        connect(&upstream.stream, &self.address)?;
        upstream.stream.set_nodelay(true)?;
        Ok(upstream)
    }

    /// Asks the server whether it is alive, in a thread of its own; ends the process if it is not, so that the
    /// supervisor starts a new one. Called when an answer did not come.
    pub fn probe(self: &Arc<Private>) {
        if self.stopping.load(Ordering::Acquire) || self.probing.swap(true, Ordering::AcqRel) {
            return;
        }
        let own = Arc::clone(self);
        let asked = Worker::spawn("http-probe", move || {
            if let Err(error) = own.ask() {
                log::error!("the HTTP server does not answer ({error}); the daemon ends");
                worker::die();
            }
            own.probing.store(false, Ordering::Release);
        });
        if let Err(error) = asked {
            log::error!("no thread to probe the HTTP server: {error}");
            self.probing.store(false, Ordering::Release);
        }
    }

    fn ask(self: &Arc<Private>) -> io::Result<()> {
        use std::io::{Read, Write};
        let mut upstream = self.connect(self.address)?;
        upstream.stream.set_read_timeout(Some(PROBE_LIMIT))?;
        upstream.stream.write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        upstream.stream.read_exact(&mut [0; 12])
    }

    /// Stops the handlers, within `limit`.
    pub fn stop(&self, limit: Duration) {
        self.stopping.store(true, Ordering::Release);
        let workers = std::mem::take(&mut *self.workers.lock().unwrap_or_else(PoisonError::into_inner));
        let until = clock::now() + limit;
        // Each call wakes one handler.
        HANDLERS.iter().for_each(|_| self.server.unblock());
        // Each wakes one of the others; where there is no room they are awake.
        FLEET_HANDLERS.iter().for_each(|_| drop(self.fleet.try_send(None)));
        for worker in workers {
            worker.join(until.saturating_duration_since(clock::now()));
        }
        self.later.stop(until.saturating_duration_since(clock::now()));
    }

    fn serve(&self, rooms: &Rooms) {
        loop {
            match self.server.recv() {
                Ok(request) => {
                    let peer = request.remote_addr().and_then(|own| self.peers().get(&own.port()).cloned());
                    match peer {
                        Some(peer) if chatops::serves(request.url()) => self.put_off(rooms, request, peer),
                        Some(peer) => {
                            answer(rooms, &self.later, request, peer);
                            rooms.hub.combine();
                        }
                        None => drop(request.respond(Reply::text(403, "This port is private.\n").response())),
                    }
                }
                Err(_) if self.stopping.load(Ordering::Acquire) => return,
                Err(error) => {
                    log::error!("the HTTP server died: {error}; the daemon ends");
                    worker::die();
                }
            }
        }
    }

    /// Leaves a request to those who may wait for the store.
    fn put_off(&self, rooms: &Rooms, request: Request, peer: Peer) {
        let waiting = Box::new(Waiting { request, peer, since: clock::now() });
        if let Err(error) = self.fleet.try_send(Some(waiting))
            && let Some(waiting) = error.into_inner()
        {
            busy(rooms, waiting.request);
        }
    }

    fn serve_fleet(&self, rooms: &Rooms, waiting: &Receiver<Option<Box<Waiting>>>) {
        while let Ok(Some(next)) = waiting.recv() {
            let Waiting { request, peer, since } = *next;
            if self.stopping.load(Ordering::Acquire) {
                // A request that is dropped answers 500 by itself.
                return;
            }
            if clock::now().saturating_duration_since(since) > FLEET_WAIT {
                busy(rooms, request);
                continue;
            }
            answer(rooms, &self.later, request, peer);
            rooms.hub.combine();
        }
    }

    fn peers(&self) -> MutexGuard<'_, HashMap<u16, Peer>> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Refuses a request, since others wait for the store already.
fn busy(rooms: &Rooms, request: Request) {
    let reply = Reply::json(503, br#"{"detail":"the store is busy; try again"}"#.to_vec()).with("Retry-After", "1");
    let origin = origin(rooms, &request);
    let _ = request.respond(reply.for_origin(origin).response());
}

/// The listed origin of the page that asks, if it is one.
fn origin(rooms: &Rooms, request: &Request) -> Option<String> {
    header(request, "Origin").filter(|origin| (rooms.listed_origin)(origin))
}

/// A request as handlers see it.
struct Asked {
    peer: SocketAddr,
    method: Method,
    path: String,
    /// As written, without the `?`.
    query: String,
    shown: Shown,
    client_name: Option<String>,
    accepts_html: bool,
    json: bool,
    body: Vec<u8>,
    /// What the key that was shown allows; `None`: everything.
    rights: Option<Arc<Rights>>,
    /// The thread is the visitor's own, and may wait for the answer.
    may_wait: bool,
}

impl Asked {
    /// A request leaves nothing behind that could end with it.
    fn caller(&self) -> Caller {
        self.caller_with(self.rights.clone())
    }

    /// The same, where who asks is found out in another way.
    fn caller_with(&self, rights: Option<Arc<Rights>>) -> Caller {
        Caller { id: None, name: self.peer.to_string().into(), rights }
    }
}

/// Answers one request. A handler that panics answers 500 and takes nobody with it.
fn answer(rooms: &Rooms, later: &Arc<Later>, mut request: Request, peer: Peer) {
    let origin = origin(rooms, &request);
    if let Some(origin) = &origin
        && *request.method() == Method::Options
        && header(&request, "Access-Control-Request-Method").is_some()
    {
        let _ = request.respond(Reply::preflight().for_origin(Some(origin.clone())).response());
        return;
    }
    let mut reply = match read(&mut request, peer.address, rooms.limits.body_bytes) {
        Ok(mut asked) => {
            let routed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| route(rooms, &mut asked)));
            routed.unwrap_or_else(|_| {
                log::error!("the handler of {} {} crashed", asked.method, asked.path);
                worker::crashed();
                Reply::text(500, "Internal Server Error")
            })
        }
        Err(error) => Reply::text(400, &format!("cannot read the request body: {error}\n")),
    };
    match reply.take_later() {
        Some(start) => start(Answerer { request, origin, patience: peer.patience, later: Arc::clone(later) }),
        None => later.send(request, reply.for_origin(origin)),
    }
}

fn route(rooms: &Rooms, asked: &mut Asked) -> Reply {
    let path = asked.path.as_str();
    if matches!(path, "/publish" | "/subscribe" | "/info") {
        return picloud::answer(rooms, asked);
    }
    if chatops::serves(path) {
        return chatops::answer(rooms, asked);
    }
    // The page, its documents and the health checks hold no secrets; everything else needs the key.
    let public = matches!(path, "/" | "/health" | "/ready" | "/docs" | "/openapi.json" | "/asyncapi.yaml")
        || path.starts_with("/public/");
    if !public {
        match rooms.gate.check(asked.peer.ip(), &asked.shown) {
            Verdict::Admitted(badge) => asked.rights = rooms.gate.rights(badge),
            Verdict::Missing | Verdict::Wrong => {
                return Reply::json(401, br#"{"detail":"Invalid API Key","message":"Invalid API Key"}"#.to_vec());
            }
            Verdict::Slowed(wait) => {
                let text = Refused::wait_text(wait);
                let body =
                    format!("{{\"detail\":\"Invalid API Key: {text}\",\"message\":\"Invalid API Key: {text}\"}}");
                return Reply::json(429, body.into()).with("Retry-After", Refused::wait_seconds(wait).to_string());
            }
        }
    }
    match asked.path.as_str() {
        "/ws" => Reply::text(400, "Bad Request\n"),
        "/" | "/health" | "/ready" => fleet::answer(rooms, asked),
        _ => endrpi::answer(rooms, asked),
    }
}

fn read(request: &mut Request, peer: SocketAddr, limit: usize) -> io::Result<Asked> {
    use std::io::Read;
    let mut asked = Asked {
        peer,
        method: request.method().clone(),
        path: String::new(),
        query: String::new(),
        shown: Shown {
            header: header(request, "X-API-Key"),
            bearer: header(request, "Authorization").and_then(|value| auth::bearer(&value)),
            ..Shown::default()
        },
        client_name: header(request, "X-API-Client-Name").filter(|name| !name.is_empty()),
        accepts_html: header(request, "Accept").is_some_and(|accept| accept.contains("text/html")),
        json: is_of(request, "application/json"),
        body: Vec::new(),
        rights: None,
        may_wait: false,
    };
    let (path, query) = request.url().split_once('?').unwrap_or((request.url(), ""));
    path.clone_into(&mut asked.path);
    query.clone_into(&mut asked.query);
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        auth::take_query(&mut asked.shown, &mut asked.client_name, &name, &value);
    }
    // The front door has counted the bytes already; this bound is for whoever comes past it.
    request.as_reader().take(limit as u64).read_to_end(&mut asked.body)?;
    Ok(asked)
}

fn is_of(request: &Request, wanted: &str) -> bool {
    let kind = header(request, "Content-Type");
    kind.is_some_and(|kind| kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case(wanted)))
}

fn header(request: &Request, name: &'static str) -> Option<String> {
    let found = request.headers().iter().find(|header| header.field.equiv(name))?;
    Some(found.value.as_str().trim().to_owned())
}
