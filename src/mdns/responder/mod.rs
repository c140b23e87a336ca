//! The handle and its thread; see the room's text.

mod hosts;
mod neighbours;

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use flume::{Receiver, Selector, Sender};
use mdns_sd::{DaemonEvent, IfKind, ResolvedService, ScopedIp, ServiceDaemon, ServiceEvent, ServiceInfo};

use super::{Me, News};
use crate::config;
use crate::rt::clock;
use crate::rt::worker::Worker;
use crate::types::mac::Mac;
use hosts::{Hosts, Instance, Service, Verdict};

/// Announced services that are kept track of.
const MAX_INSTANCES: usize = 2000;

/// When this machine's own addresses are looked at again, in seconds.
const ADDRESS_INTERVAL: u32 = 60;

/// How long after a host was woken its hardware address is looked up, again and again.
const LOOK_UPS: [Duration; 4] =
    [Duration::from_millis(50), Duration::from_millis(200), Duration::from_secs(1), Duration::from_secs(3)];

/// Hosts whose hardware address is waited for at a time; more are looked at when they announce themselves again.
const MAX_WAITING: usize = 256;

/// Names may have 63 bytes, and a conflict adds a few.
const LABEL_BYTES: usize = 56;

/// A handle; see the room's text.
pub struct Mdns {
    library: ServiceDaemon,
    stop: Sender<()>,
    worker: Mutex<Option<Worker>>,
}

impl Mdns {
    /// Announces and searches, as configured; `None` where neither is wanted. `tell` is called from a thread of this
    /// room, and may not wait.
    ///
    /// # Errors
    /// No threads or descriptors to be had, or a name that cannot be announced.
    pub fn start(
        config: &config::Mdns,
        me: &Me,
        tell: impl Fn(News) + Send + 'static,
    ) -> Result<Option<Mdns>, std::io::Error> {
        if !config.announce && !config.discover {
            return Ok(None);
        }
        let failed = |error: mdns_sd::Error| std::io::Error::other(error.to_string());
        let library = ServiceDaemon::new().map_err(failed)?;
        library.set_ip_check_interval(ADDRESS_INTERVAL).map_err(failed)?;
        library.disable_interface(vec![IfKind::LoopbackV4, IfKind::LoopbackV6]).map_err(failed)?;
        let monitor = library.monitor().map_err(failed)?;
        let id = format!("{:016x}", random());
        if config.announce
            && let Some(service) = announcement(me, &id).map_err(failed)?
        {
            log::info!("announced on the network as '{}'", service.get_fullname());
            library.register(service).map_err(failed)?;
        }
        let searched: &[Service] = if config.discover { &Service::ALL } else { &[] };
        let searches = searched.iter().map(|service| Ok((*service, library.browse(service.domain())?)));
        let searches = searches.collect::<Result<Vec<_>, _>>().map_err(failed)?;
        let (stop, stopped) = flume::bounded(1);
        let thread = Thread {
            library: library.clone(),
            stopped,
            monitor: Some(monitor),
            searches,
            own_id: id,
            hosts: Hosts::default(),
            known: HashSet::new(),
            waiting: Vec::new(),
            tell: Box::new(tell),
        };
        let worker = Worker::spawn("mdns", move || thread.run())?;
        Ok(Some(Mdns { library, stop, worker: Mutex::new(Some(worker)) }))
    }

    /// Says goodbye to the network, within `limit`.
    pub fn stop(&self, limit: Duration) {
        let deadline = clock::now() + limit;
        let _ = self.stop.try_send(());
        match self.library.shutdown() {
            Ok(done) => {
                if done.recv_deadline(deadline).is_err() {
                    log::warn!("mdns: the goodbye was not sent within {}", humantime::format_duration(limit));
                }
            }
            Err(error) => log::warn!("mdns: no goodbye: {error}"),
        }
        let worker = self.worker.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(worker) = worker {
            worker.join(deadline.saturating_duration_since(clock::now()));
        }
    }
}

/// What to announce; `None` where nobody on the network could connect.
fn announcement(me: &Me, id: &str) -> Result<Option<ServiceInfo>, mdns_sd::Error> {
    let mut open = me.listening.iter().filter(|address| !address.ip().to_canonical().is_loopback());
    let Some(first) = open.next() else { return Ok(None) };
    let everywhere = me.listening.iter().any(|address| address.ip().is_unspecified());
    let addresses: Vec<IpAddr> = match everywhere {
        true => Vec::new(),
        false => std::iter::once(first).chain(open).map(SocketAddr::ip).collect(),
    };
    let label = cut(&me.node_id, LABEL_BYTES);
    let host: String =
        label.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).collect();
    let host = cut(host.trim_matches('-'), LABEL_BYTES - "-pinwire".len());
    // The machine's own name is not ours to claim: another responder on it may do, and would have to rename it.
    let host = format!("{host}-pinwire.local.");
    let node_id = cut(&me.node_id, 200);
    let properties = [
        ("txtvers", "1"),
        ("version", env!("CARGO_PKG_VERSION")),
        ("node_id", node_id),
        ("path", "/ws"),
        ("tls", if me.tls { "1" } else { "0" }),
        ("id", id),
    ];
    let service =
        ServiceInfo::new(Service::Pinwire.domain(), label, &host, addresses.as_slice(), first.port(), &properties[..])?;
    Ok(Some(if everywhere { service.enable_addr_auto() } else { service }))
}

/// As much of a text as fits.
fn cut(text: &str, bytes: usize) -> &str {
    let end = (0..=bytes.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    &text[..end.unwrap_or_default()]
}

/// Tells our own announcement from another's with the same name.
fn random() -> u64 {
    let mut bytes = [0; 8];
    // Early in the boot there is none yet, and the start does not wait for it: its time has to do.
    match rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::NONBLOCK) {
        Ok(_) => u64::from_ne_bytes(bytes),
        Err(_) => clock::monotonic_ns(),
    }
}

struct Thread {
    library: ServiceDaemon,
    stopped: Receiver<()>,
    /// `None` once the library is gone.
    monitor: Option<Receiver<DaemonEvent>>,
    searches: Vec<(Service, Receiver<ServiceEvent>)>,
    own_id: String,
    hosts: Hosts,
    /// Full names of everything announced, of interest or not.
    known: HashSet<String>,
    waiting: Vec<Waiting>,
    tell: Box<dyn Fn(News) + Send>,
}

/// A host whose hardware address the kernel does not know yet.
struct Waiting {
    instance: Instance,
    /// How often it was looked up.
    tries: usize,
    at: Instant,
}

enum Woken {
    Stop,
    Time,
    /// `None`: the library has ended this search.
    Search(Service, Option<ServiceEvent>),
    Library(Option<DaemonEvent>),
}

impl Thread {
    fn run(mut self) {
        loop {
            match self.wait() {
                Woken::Stop => return,
                Woken::Time => self.look_up(clock::now()),
                Woken::Library(Some(event)) => tell_of(event),
                Woken::Library(None) => self.monitor = None,
                Woken::Search(service, Some(event)) => self.take(service, event),
                Woken::Search(service, None) => self.search_ended(service),
            }
        }
    }

    fn wait(&self) -> Woken {
        let mut selector = Selector::new().recv(&self.stopped, |_| Woken::Stop);
        if let Some(monitor) = &self.monitor {
            selector = selector.recv(monitor, |event| Woken::Library(event.ok()));
        }
        for (service, events) in &self.searches {
            selector = selector.recv(events, |event| Woken::Search(*service, event.ok()));
        }
        match self.waiting.iter().map(|waiting| waiting.at).min() {
            Some(at) => selector.wait_deadline(at).unwrap_or(Woken::Time),
            None => selector.wait(),
        }
    }

    fn take(&mut self, service: Service, event: ServiceEvent) {
        match event {
            ServiceEvent::ServiceFound(_, fullname) => {
                self.known.insert(fullname);
                if self.known.len() > MAX_INSTANCES {
                    log::warn!(
                        "mdns: the network announces more than {MAX_INSTANCES} services: no more machines are \
                         looked for until the daemon is started again"
                    );
                    for (service, _) in self.searches.drain(..) {
                        let _ = self.library.stop_browse(service.domain());
                    }
                    self.known.clear();
                }
            }
            // Our own announcement comes back like any other.
            ServiceEvent::ServiceResolved(resolved)
                if resolved.get_property_val_str("id") != Some(self.own_id.as_str()) =>
            {
                self.resolved(instance(service, &resolved));
            }
            ServiceEvent::ServiceRemoved(_, fullname) => {
                self.known.remove(&fullname);
                self.waiting.retain(|waiting| waiting.instance.fullname != fullname);
                let verdict = self.hosts.removed(&fullname);
                self.judged(verdict);
            }
            _ => {}
        }
    }

    fn resolved(&mut self, instance: Instance) {
        self.waiting.retain(|waiting| waiting.instance.fullname != instance.fullname);
        let Some(address) = instance.address() else { return };
        let mac = mac_of(address.ip());
        let verdict = self.hosts.resolved(&instance, mac);
        self.judged(verdict);
        if mac.is_none() && self.waiting.len() < MAX_WAITING {
            neighbours::wake(address);
            self.waiting.push(Waiting { instance, tries: 0, at: clock::now() + LOOK_UPS[0] });
        }
    }

    /// Looks up the hardware addresses that are due.
    fn look_up(&mut self, now: Instant) {
        let (due, later) =
            std::mem::take(&mut self.waiting).into_iter().partition(|waiting: &Waiting| waiting.at <= now);
        self.waiting = later;
        for Waiting { instance, tries, .. } in due {
            let Some(address) = instance.address() else { continue };
            if let Some(mac) = mac_of(address.ip()) {
                let verdict = self.hosts.resolved(&instance, Some(mac));
                self.judged(verdict);
            } else if let Some(wait) = LOOK_UPS.get(tries + 1) {
                self.waiting.push(Waiting { instance, tries: tries + 1, at: now + *wait });
            }
        }
    }

    fn judged(&self, verdict: Verdict) {
        if let Verdict::Tell(news) = verdict {
            log::debug!("mdns: {news:?}");
            (self.tell)(news);
        }
    }

    /// The library ends a search whose news were not taken in time, and all of them when it ends itself.
    fn search_ended(&mut self, service: Service) {
        self.searches.retain(|(other, _)| *other != service);
        match self.library.browse(service.domain()) {
            Ok(events) => self.searches.push((service, events)),
            // At the shutdown this is as it should be.
            Err(error) => log::debug!("mdns: the search for {} has ended: {error}", service.domain()),
        }
    }
}

fn mac_of(ip: IpAddr) -> Option<Mac> {
    neighbours::mac_of(ip).unwrap_or_else(|error| {
        log::debug!("the kernel's neighbours cannot be asked for: {error}");
        None
    })
}

fn instance(service: Service, resolved: &ResolvedService) -> Instance {
    let port = resolved.get_port();
    let addresses = resolved.get_addresses().iter().map(|ip| match ip {
        ScopedIp::V6(scoped) => SocketAddrV6::new(*scoped.addr(), port, 0, scoped.scope_id().index).into(),
        other => SocketAddr::new(other.to_ip_addr(), port),
    });
    Instance {
        service,
        fullname: resolved.get_fullname().to_owned(),
        hostname: resolved.get_hostname().to_owned(),
        node_id: resolved.get_property_val_str("node_id").map(str::to_owned),
        addresses: addresses.collect(),
    }
}

fn tell_of(event: DaemonEvent) {
    match event {
        DaemonEvent::NameChange(change) => {
            log::info!("another machine is announced as '{}': this one is '{}' now", change.original, change.new_name);
        }
        DaemonEvent::Error(error) => log::warn!("mdns: {error}"),
        _ => {}
    }
}
