//! The daemon: the only file that sees every room. It wires them, waits for signals, and takes them down in
//! order: stop accepting, say so, Close 1001 to everyone, stop the inputs, drain the hub, write
//! what the store still has to, end.

mod durable;
mod in_use;
mod needs;
mod reload;

use std::fs::File;
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::agent::{self, Agent, Orders, OwnServer, OwnServerRooms};
use crate::alerts::Alerts;
use crate::auth::Gate;
use crate::auth::password::Passwords;
use crate::collect::{Collector, Containers};
use crate::config::{Accounts, Config, ConfigError};
use crate::conn::{Shared, Tls};
use crate::dispatch::Desk;
use crate::docker::Docker;
use crate::fleet::{Change, Fleet};
use crate::front::{self, Bound, Door, Listener, Origins};
use crate::gpio::{Gpio, GpioError, Places, Sinks};
use crate::hub::{self, Hub};
use crate::mdns::{Mdns, Me};
use crate::nodes::{Nodes, Own};
use crate::rt::{clock, random, stderr, worker};
use crate::session::Host;
use crate::store::{Health, Store};
use crate::systemd::{Fact, Given, Notify, Socket};
use crate::telemetry::Telemetry;
use crate::types::event::{Body, Event, NodeStatus};
use crate::types::features;
use crate::types::fleet::Server;
use crate::{http, logging, run, wire};
pub use needs::StartError;
use needs::{lock, make_first_key, need_a_key};

/// How long each step of a shutdown that should be immediate may take.
const STEP: Duration = Duration::from_millis(500);

/// How long the database may take to open: a large one that may be damaged is read whole.
const STORE_START: Duration = Duration::from_secs(600);

/// What it has where others have used up all the time.
const MOMENT: Duration = Duration::from_millis(50);

/// Runs until SIGTERM or SIGINT. On SIGHUP the configuration is computed again by `load`, from the same sources.
///
/// # Errors
/// Something it needs cannot be had: an address in use, a certificate that cannot be read.
pub fn run(config: Config, given: Given, load: &dyn Fn() -> Result<Config, ConfigError>) -> Result<(), StartError> {
    // Before any thread exists: signals that come during the start are kept for later.
    let again = Arc::new(AtomicBool::new(false));
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP]).map_err(StartError::new)?;
    for signal in [SIGTERM, SIGINT] {
        // The first one arms the flag, so the second one ends the process at once.
        signal_hook::flag::register_conditional_shutdown(signal, 1, Arc::clone(&again)).map_err(StartError::new)?;
        signal_hook::flag::register(signal, Arc::clone(&again)).map_err(StartError::new)?;
    }
    let mut daemon = worker::guarded("main", || Daemon::start(config, given))?;
    let notify = Arc::clone(&daemon.notify);
    // One after the other on this thread: a reload is over before the next one or the shutdown begins.
    for signal in signals.forever() {
        match signal {
            SIGHUP => {
                // Until it is dropped, the service manager knows.
                let _reloading = notify.reloading();
                worker::guarded("main", || daemon.reload(load));
            }
            _ => break,
        }
    }
    // The lines outlive a crash on the way.
    let _desk = Arc::clone(&daemon.desk);
    worker::guarded("main", || daemon.shut_down());
    Ok(())
}

/// Drives the configured outputs to their safe states, without a daemon: for what is left after one was killed.
///
/// # Errors
/// The backend, or a line that could not be driven; the others have been.
pub fn safe(config: &Config) -> Result<(), StartError> {
    config.warnings.iter().for_each(|warning| stderr::say(log::Level::Warn, &format!("pinwire: warning: {warning}")));
    let sinks = Sinks::new(|_| {}, |_| true);
    let places = Places { root: config.root.clone(), state_dir: None };
    let gpio = Gpio::new(&config.gpio, &places, sinks).map_err(StartError::new)?;
    let backend = gpio.backend();
    println!("GPIO backend '{}': {}", backend.name, backend.why);
    let driven = gpio.drive_safe();
    if driven.is_empty() {
        println!("no line is configured with mode \"output\" or \"pwm\": nothing to do");
    }
    let mut failed = Vec::new();
    for (resource, outcome) in driven {
        match outcome {
            Ok(state) => println!("{resource}: {state}"),
            Err(GpioError::Held { consumer, .. }) if consumer == "pinwire" => {
                failed
                    .push(format!("{resource} is held by a running daemon, which sees to it itself; stop that first"));
            }
            Err(error) => failed.push(error.to_string()),
        }
    }
    if failed.is_empty() { Ok(()) } else { Err(StartError::new(failed.join("; "))) }
}

struct Daemon {
    /// What is in use: what it was at the start, with what reloads have applied.
    config: Config,
    gate: Arc<Gate>,
    origins: Arc<Origins>,
    docker: Arc<Docker>,
    accounts: Arc<RwLock<Accounts>>,
    notify: Arc<Notify>,
    node_id: Arc<str>,
    hub: Arc<Hub>,
    desk: Arc<Desk>,
    store: Arc<Store>,
    alerts: Arc<Alerts>,
    fleet: Arc<Fleet>,
    nodes: Arc<Nodes>,
    mdns: Option<Mdns>,
    orders: Arc<Orders>,
    agent: Option<Agent>,
    own: Option<OwnServer>,
    shared: Arc<Shared>,
    http: Arc<http::Private>,
    tls: Option<Arc<Tls>>,
    door: Arc<Door>,
    listeners: Vec<Listener>,
    /// Whether sockets outlive this process, with those who wait there.
    passed: bool,
    /// Held until the process ends, however it ends.
    _state_lock: Option<File>,
}

/// How the hub writes what it sends.
const ENCODE: hub::Encode = hub::Encode { event: wire::encode, lagged: wire::lagged };

fn hub_settings(config: &Config) -> hub::Settings {
    hub::Settings { history: config.history.clone(), slow_events: config.session.slow_events }
}

impl Daemon {
    fn start(wanted: Config, given: Given) -> Result<Daemon, StartError> {
        let config = &wanted;
        let Given { notify, watchdog, sockets: passed, complaints } = given;
        let hub = Hub::start(ENCODE, &hub_settings(config)).map_err(StartError::new)?;
        logging::start(config, &hub);
        complaints.iter().for_each(|complaint| log::warn!("{complaint}"));
        config.warnings.iter().for_each(|warning| log::warn!("{warning}"));
        if let Some(dir) = &config.state_dir
            && let Err(error) = std::fs::create_dir_all(dir)
        {
            log::warn!("state_dir '{}' cannot be created: {error}; nothing will outlive this process", dir.display());
        }
        let state_lock = lock(config.state_dir.as_deref())?;
        if !config.root.is_dir() {
            log::warn!("root '{}' is no directory: there will be no telemetry", config.root.display());
        }
        // What can fail for reasons of the operator's comes first.
        let tls = config.tls.as_ref().map(Tls::load).transpose().map_err(StartError::config)?.map(Arc::new);
        if config.state_dir.is_some() && features::HUB.built_in {
            notify.takes(STORE_START, "opening the database");
        }
        if !random::is_ready() {
            log::info!(
                "the kernel has no random numbers yet; the store, and the first key, wait some seconds for them \
                 (a Pi's generator is the kernel module bcm2835-rng or iproc-rng200)"
            );
        }
        let store =
            Arc::new(Store::start_with(config.state_dir.as_deref(), &config.store).map_err(StartError::config)?);
        make_first_key(config, &store)?;
        need_a_key(config, &store)?;
        durable::begin(config, &hub, &store);
        let (passed, sockets) = (!passed.is_empty(), sockets(config, passed)?);

        let node_id: Arc<str> = config.node_id.as_str().into();
        let facts = Arc::clone(&hub);
        // The thread that changed a line sends the news itself, once it has answered.
        let (posted, left, sender) = (Arc::clone(&hub), Arc::clone(&hub), Arc::clone(&hub));
        let post = move |fact: Event| match fact.body {
            // A change that finds no room is counted there, and told of with its line's next event.
            Body::GpioState { .. } => posted.offer(fact),
            _ => posted.post(fact),
        };
        let sinks = Sinks {
            publish: Box::new(move |fact| facts.publish(fact)),
            post: Box::new(post),
            leave: Box::new(move |fact| left.leave_here(fact)),
            send: Box::new(move || sender.send_few()),
        };
        let places = Places { root: config.root.clone(), state_dir: config.state_dir.clone() };
        let gpio = Gpio::new(&config.gpio, &places, sinks).map_err(StartError::new)?;
        let backend = gpio.backend();
        log::info!("GPIO backend '{}': {}", backend.name, backend.why);
        let telemetry = Arc::new(Telemetry::new(&config.root, &config.telemetry));
        let desk = Arc::new(Desk::new(gpio, telemetry, config.endrpi.error_style, config.debug_actions));
        let alerts = Alerts::start(&config.alerts, Arc::clone(&hub), Arc::clone(&store)).map_err(StartError::new)?;
        let fleet = Fleet::start(config.hub.clone(), Arc::clone(&hub), Arc::clone(&store), Arc::clone(&alerts));
        let fleet = fleet.map_err(StartError::new)?;
        let nodes = nodes(config, &hub, &store, &fleet, &alerts, &desk).map_err(StartError::new)?;
        let gate = Arc::new(Gate::new(&config.auth, Arc::clone(store.keys())));
        let own_name = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let origins = Arc::new(Origins::new(&config.front.hosts, &config.front.origins, &own_name));
        let listed = Arc::clone(&origins);
        let accounts = Arc::new(RwLock::new(config.accounts.clone()));
        let http = http::Private::start(http::Rooms {
            hub: Arc::clone(&hub),
            desk: Arc::clone(&desk),
            gate: Arc::clone(&gate),
            store: Arc::clone(&store),
            nodes: Arc::clone(&nodes),
            alerts: Arc::clone(&alerts),
            fleet: Arc::clone(&fleet),
            listed_origin: Box::new(move |origin| listed.is_listed(origin)),
            limits: config.front.clone(),
            accounts: Arc::clone(&accounts),
            passwords: Passwords::new(),
            node_id: config.node_id.clone(),
        });
        let http = http.map_err(StartError::new)?;
        let shared = Arc::new(Shared::new(&config.session).map_err(StartError::new)?);
        let host = Arc::new(Host {
            hub: Arc::clone(&hub),
            desk: Arc::clone(&desk),
            gate: Arc::clone(&gate),
            fleet: Arc::clone(&fleet),
            store: Arc::clone(&store),
            alerts: Arc::clone(&alerts),
            limits: config.session.clone(),
            picloud: config.picloud.clone(),
        });
        let rooms = front::Rooms {
            origins: Arc::clone(&origins),
            gate: Arc::clone(&gate),
            host,
            shared: Arc::clone(&shared),
            http: Arc::clone(&http),
            tls: tls.clone(),
            notify: Arc::clone(&notify),
        };
        let docker = Arc::new(Docker::new(&config.docker));
        let own_program = Path::new(run::OWN_PROGRAM);
        let orders = Orders::start(&config.commands, Arc::clone(&docker), Arc::clone(&store), own_program);
        let orders = Arc::new(orders.map_err(StartError::new)?);
        let agent = Agent::new(&config.agent, || agent::Rooms {
            hub: Arc::clone(&hub),
            desk: Arc::clone(&desk),
            orders: Arc::clone(&orders),
            collector: Collector::new(&config.root, Arc::clone(&desk.telemetry), containers(&docker)),
            root: config.root.clone(),
            state_dir: config.state_dir.clone(),
            node_id: config.node_id.clone(),
            notify: Arc::clone(&notify),
        });
        let agent = agent.map_err(StartError::config)?;
        // It counts what is open by now.
        let door = Door::new(&config.front, descriptors_for_later(config), rooms);
        // The status is in place before anybody can ask for it.
        announce(&hub, &node_id, NodeStatus::Ready);
        let safe = Arc::downgrade(&desk);
        worker::on_crash(move || safe.upgrade().is_none_or(|desk| desk.gpio.make_safe("a thread has crashed")));
        // The lines are taken last: whatever could not be had by now has ended the start.
        let not_started = |error: std::io::Error| {
            desk.gpio.seal("the start failed");
            StartError::new(error)
        };
        in_use::leave_word(config);
        desk.gpio.start().map_err(not_started)?;
        let listeners = open(sockets, config, &door, agent.as_ref()).map_err(not_started)?;
        let own = own_server(config, &fleet, &nodes, |server| OwnServerRooms {
            fleet: Arc::clone(&fleet),
            desk: Arc::clone(&desk),
            orders: Arc::clone(&orders),
            collector: Collector::new(&config.root, Arc::clone(&desk.telemetry), containers(&docker)),
            root: config.root.clone(),
            server,
            name: config.node_id.clone(),
        });
        let mdns = on_network(config, &listeners, &nodes);
        let asked = [hub.asked(), store.asked()].into_iter().chain(desk.gpio.asked());
        let asked = asked.chain(listeners.iter().map(Listener::asked)).collect();
        notify.start(watchdog, asked).map_err(not_started)?;
        let health = Arc::clone(&notify);
        store.on_health(move |news| {
            health.tell(Fact::Store, || match news {
                Health::Degraded(why) => format!("store: {why}"),
                Health::None | Health::Ok => String::new(),
            });
        });
        let daemon = Daemon {
            config: wanted,
            gate,
            origins,
            docker,
            accounts,
            notify,
            node_id,
            hub,
            desk,
            store,
            alerts,
            fleet,
            nodes,
            mdns,
            orders,
            agent,
            own,
            shared,
            http,
            tls,
            door,
            listeners,
            passed,
            _state_lock: state_lock,
        };
        daemon.say_ready();
        Ok(daemon)
    }

    /// One line per listener on stdout, and a word to the service manager; whoever started us may be waiting for it.
    fn say_ready(&self) {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let addresses = self.listeners.iter().map(|listener| format!("{scheme}://{}", listener.address()));
        let addresses: Vec<_> = addresses.collect();
        if !addresses.is_empty() {
            self.notify.tell(Fact::Listening, || format!("listening on {}", addresses.join(", ")));
            self.door.tell_clients();
        }
        let backend = self.desk.gpio.backend();
        self.notify.tell(Fact::Backend, || match backend.simulated {
            true => format!("GPIO backend {}, simulated", backend.name),
            false => format!("GPIO backend {}", backend.name),
        });
        self.notify.ready();
        let mut stdout = std::io::stdout().lock();
        for address in addresses {
            // Nobody may be there to read it; the daemon serves all the same.
            let _ = writeln!(stdout, "listening on {address}");
        }
        let _ = stdout.flush();
    }

    /// Each part has its share of the time, whatever the one before took of its own: what hangs is left behind.
    fn shut_down(self) {
        let limit = self.config.shutdown_deadline;
        let deadline = clock::now() + limit;
        log::info!("shutting down");
        self.notify.stopping(limit);
        // Before anything that could take its time.
        self.desk.gpio.seal("shutting down");
        for listener in self.listeners {
            listener.close(STEP);
        }
        announce(&self.hub, &self.node_id, NodeStatus::Stopping);
        self.nodes.own_status(NodeStatus::Stopping);
        let news = deadline - limit * 2 / 5;
        if let Some(mdns) = &self.mdns {
            mdns.stop(step(news));
        }
        // What runs is ended, so that the hub and the audit hear of it. Its keeper goes on with that after us.
        self.orders.stop(limit / 2);
        if let Some(agent) = &self.agent {
            agent.stop(step(news));
        }
        // Whoever waits for an agent is answered.
        self.fleet.stop(step(news));
        if let Some(own) = &self.own {
            own.stop(step(news));
        }
        let grace = if self.passed { limit / 5 } else { Duration::ZERO };
        self.door.close_all(grace, deadline - limit / 5);
        let rooms = deadline - limit / 10;
        self.nodes.stop(step(rooms));
        self.http.stop(step(rooms));
        self.desk.gpio.stop(step(rooms));
        self.desk.telemetry.stop();
        self.alerts.stop(step(rooms));
        self.hub.stop(step(rooms));
        // A card takes its time, and what it does not get is gone.
        self.store.stop(deadline.saturating_duration_since(clock::now()));
        self.shared.flusher.stop(step(deadline));
        self.notify.stop(step(deadline));
        log::info!("stopped");
    }
}

/// For a step of the shutdown that should be immediate: no longer than `until`, but for a moment.
fn step(until: Instant) -> Duration {
    until.saturating_duration_since(clock::now()).clamp(MOMENT, STEP)
}

/// The sockets of all addresses: those that are open already, and the others.
fn sockets(config: &Config, passed: Vec<Socket>) -> Result<Vec<Bound>, StartError> {
    let mut passed: Vec<_> = passed.into_iter().map(|socket| (socket.address, socket.listener)).collect();
    let open = |address: &SocketAddr| match passed.iter().position(|(other, _)| other == address) {
        Some(at) => {
            log::info!("{address} is the service manager's socket");
            Ok(Bound::passed(passed.swap_remove(at).1))
        }
        None => Bound::new(*address, &config.session)
            .map_err(|error| StartError::new(format!("cannot listen on {address}: {}", plain(&error)))),
    };
    config.listen.iter().map(open).collect()
}

/// Lets visitors in, and the agent out.
fn open(
    sockets: Vec<Bound>,
    config: &Config,
    door: &Arc<Door>,
    agent: Option<&Agent>,
) -> std::io::Result<Vec<Listener>> {
    let listeners = sockets.into_iter().map(|socket| Listener::open(socket, &config.session, Arc::clone(door)));
    let listeners = listeners.collect::<Result<Vec<_>, _>>()?;
    agent.map(Agent::start).transpose()?;
    Ok(listeners)
}

/// Descriptors that rooms behind the door may come to need, all at once, besides those that are open when it opens.
fn descriptors_for_later(config: &Config) -> usize {
    let Config { listen, agent, mdns, commands, docker, alerts, .. } = config;
    let count = |wanted: bool, descriptors: usize| if wanted { descriptors } else { 0 };
    // What each address is waited at with.
    2 * listen.len()
        // Its sockets, and a look at the kernel's neighbours.
        + count(mdns.announce || mdns.discover, 12)
        // The connection and the look-up of its name, the spool's files, the logs' and those they are replaced by.
        + count(agent.hub.is_some(), 8 + agent.log_files.len() + 1)
        // Its pipes, and what starting it takes.
        + count(agent.hub.is_some() && agent.journal, 6)
        // A keeper's socket and pipe, and what starting it takes.
        + count(commands.enabled(), 8 * commands.max_running)
        // One for an order, one for a sample.
        + count(docker.enabled, 2)
        + count(alerts.webhook.is_some(), 4)
        + count(alerts.command.is_some(), 8)
}

/// The table of nodes: this device, and whose agents come and go.
fn nodes(
    config: &Config,
    hub: &Arc<Hub>,
    store: &Arc<Store>,
    fleet: &Arc<Fleet>,
    alerts: &Alerts,
    desk: &Desk,
) -> std::io::Result<Arc<Nodes>> {
    let address = config.listen.iter().map(|address| address.ip()).find(|ip| !ip.is_loopback() && !ip.is_unspecified());
    let facts = agent::facts_of_this_machine(&config.root, &desk.telemetry, address);
    let own = Own { node_id: config.node_id.as_str().into(), facts };
    let servers = Arc::clone(fleet);
    let look = move |id: &str| servers.server(id);
    let nodes = Nodes::start(Arc::clone(hub), Arc::clone(store), own, Box::new(look))?;
    let told = Arc::downgrade(&nodes);
    fleet.on_change(move |server, change| {
        let agent = match change {
            Change::Connected(agent) => Some(&**agent),
            _ => None,
        };
        if let Some(nodes) = told.upgrade() {
            nodes.server_changed(&server.id, agent);
        }
    });
    // Something critical makes a node not ready.
    let told = Arc::downgrade(&nodes);
    alerts.on_change(move |server_id| {
        if let Some(nodes) = told.upgrade() {
            nodes.server_changed(server_id, None);
        }
    });
    Ok(nodes)
}

/// Announces this daemon and finds others, as configured; without it the daemon serves all the same.
fn on_network(config: &Config, listeners: &[Listener], nodes: &Arc<Nodes>) -> Option<Mdns> {
    let listening = listeners.iter().map(Listener::address).collect();
    let me = Me { node_id: config.node_id.clone(), listening, tls: config.tls.is_some() };
    let nodes = Arc::downgrade(nodes);
    let tell = move |news| {
        if let Some(nodes) = nodes.upgrade() {
            nodes.seen(news);
        }
    };
    Mdns::start(&config.mdns, &me, tell).unwrap_or_else(|error| {
        log::warn!("mdns: {error}; this daemon is not announced, and finds no other machines");
        None
    })
}

fn announce(hub: &Hub, node_id: &Arc<str>, status: NodeStatus) {
    hub.publish(Event { at: clock::wall(), body: Body::NodeStatus { node_id: Arc::clone(node_id), status } });
    // Not `combine`: a busy hub would take it in after the Close that follows a shutdown's announcement.
    hub.drain();
}

/// This machine as a server of its own hub, where there is somewhere to keep it. A hub without it is a hub all the same.
fn own_server(
    config: &Config,
    fleet: &Fleet,
    nodes: &Nodes,
    rooms: impl FnOnce(Server) -> OwnServerRooms,
) -> Option<OwnServer> {
    if !config.hub.own_server || config.state_dir.is_none() {
        return None;
    }
    let none = |error: &dyn std::fmt::Display| log::error!("this machine is no server of its own hub: {error}");
    let server = fleet.own_server(&config.node_id).inspect_err(|error| none(error)).ok()?;
    // Known before it connects: it is this machine's node, and not another one's.
    nodes.own_server(&server.id);
    OwnServer::start(&config.agent, rooms(server)).inspect_err(|error| none(error)).ok()
}

/// This machine's containers, where they are anybody's business.
fn containers(docker: &Arc<Docker>) -> Option<Containers> {
    if !docker.enabled() {
        return None;
    }
    let docker = Arc::clone(docker);
    let list = move || match docker.list() {
        Ok(containers) => Some(containers),
        Err(error) => {
            log::debug!("containers cannot be listed: {error}");
            None
        }
    };
    Some(Box::new(list))
}

/// The reason without the number, and with the fix where there is a usual one.
fn plain(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::AddrInUse => {
            "the address is in use; stop the other program, or choose another --listen".into()
        }
        std::io::ErrorKind::PermissionDenied => "not permitted; ports below 1024 need CAP_NET_BIND_SERVICE".into(),
        std::io::ErrorKind::AddrNotAvailable => "this machine has no such address".into(),
        _ => error.to_string(),
    }
}
