//! The list itself: every key with its value, and whether a reload applies it. `README.md` and `systemd/pinwire.toml`
//! say the same; tests compare them.

use std::borrow::Cow;

use super::shown::Shown;
use super::{Setting, Value, When};
use crate::config::source::dotted;
use crate::config::{
    Accounts, Agent, Alerts, Auth, Commands, Config, Docker, Endrpi, Front, Gpio, History, Hub, Limits, Line, Mdns,
    Notifier, Picloud, Session, Store, Telemetry, Template, TlsFiles, Topic, Webhook,
};
use crate::types::line::Pin;

const LIVE: When = When::Live;
const RESTART: When = When::Restart;

/// Where the keys of one table go.
struct Section<'l, 'a> {
    all: &'l mut Vec<Setting<'a>>,
    name: String,
    /// Whether tables of this kind come and go.
    named: bool,
}

impl<'a> Section<'_, 'a> {
    fn push(&mut self, key: &str, when: When, value: Value<'a>) {
        let key = if self.name.is_empty() { key.to_owned() } else { format!("{}.{key}", self.name) };
        self.all.push(Setting { key, table: self.named.then(|| self.name.clone()), value, when });
    }

    fn set(&mut self, key: &str, when: When, value: &(impl Shown + ?Sized)) {
        self.push(key, when, Value::Shown(value.shown()));
    }

    /// What is compared, but told to nobody.
    fn hide(&mut self, key: &str, when: When, value: impl Into<Cow<'a, str>>) {
        self.push(key, when, Value::Hidden(value.into()));
    }
}

fn section<'l, 'a>(all: &'l mut Vec<Setting<'a>>, name: &str) -> Section<'l, 'a> {
    Section { all, name: name.to_owned(), named: false }
}

fn table<'l, 'a>(all: &'l mut Vec<Setting<'a>>, above: &str, name: &str) -> Section<'l, 'a> {
    Section { all, name: dotted(above, name), named: true }
}

/// All keys of all sections, in the order of `systemd/pinwire.toml`.
pub fn config<'a>(config: &'a Config, all: &mut Vec<Setting<'a>>) {
    let Config {
        listen,
        state_dir,
        root,
        log_level,
        log_events,
        node_id,
        shutdown_deadline,
        debug_actions,
        auth,
        accounts,
        tls,
        front,
        session,
        endrpi: Endrpi { error_style },
        picloud: Picloud { info_interval },
        topics: published,
        gpio,
        telemetry,
        store,
        commands,
        docker,
        alerts,
        mdns: Mdns { announce, discover },
        hub,
        history: History { count, age, bytes, topics },
        agent,
        warnings: _,
    } = config;
    let mut to = section(all, "");
    to.set("listen", RESTART, listen);
    to.set("state_dir", RESTART, state_dir);
    to.set("root", RESTART, root);
    to.set("node_id", RESTART, node_id);
    to.set("log_level", LIVE, log_level);
    to.set("log_events", LIVE, log_events);
    to.set("shutdown_deadline", LIVE, shutdown_deadline);
    to.set("debug_actions", RESTART, debug_actions);
    auth_keys(auth, accounts, section(all, "auth"));
    tls_keys(tls.as_ref(), section(all, "tls"));
    front_keys(front, section(all, "front"));
    session_keys(session, section(all, "session"));
    section(all, "endrpi").set("error_style", RESTART, error_style);
    section(all, "picloud").set("info_interval", RESTART, info_interval);
    for Topic { pattern, durable, keep, keep_for } in published {
        let mut to = table(all, "topics", pattern.as_str());
        to.set("durable", RESTART, durable);
        to.set("keep", RESTART, keep);
        to.set("keep_for", RESTART, keep_for);
    }
    let mut to = section(all, "history");
    to.set("count", RESTART, count);
    to.set("age", RESTART, age);
    to.set("bytes", RESTART, bytes);
    to.set("topics", RESTART, topics);
    gpio_keys(gpio, all);
    store_keys(store, section(all, "store"));
    telemetry_keys(telemetry, section(all, "telemetry"));
    let mut to = section(all, "mdns");
    to.set("announce", RESTART, announce);
    to.set("discover", RESTART, discover);
    commands_keys(commands, all);
    docker_keys(docker, section(all, "docker"));
    hub_keys(hub, section(all, "hub"));
    agent_keys(agent, section(all, "agent"));
    alerts_keys(alerts, section(all, "alerts"));
}

fn auth_keys<'a>(auth: &'a Auth, accounts: &Accounts, mut to: Section<'_, 'a>) {
    let Accounts { open_registration, access_token_life, refresh_token_life, first_key_file } = accounts;
    // What follows from the mode as written, and from whether there is a key.
    let (mode, key) = match auth {
        Auth::None => ("none", ""),
        Auth::Undecided => ("", ""),
        Auth::Stored => ("key", ""),
        Auth::Key(key) => ("key", key.as_str()),
    };
    to.set("mode", RESTART, mode);
    to.hide("api_key_file", LIVE, key);
    to.set("first_key_file", RESTART, first_key_file);
    to.set("open_registration", LIVE, open_registration);
    to.set("access_token_life", LIVE, access_token_life);
    to.set("refresh_token_life", LIVE, refresh_token_life);
}

fn tls_keys(files: Option<&TlsFiles>, mut to: Section<'_, '_>) {
    let (cert, key) = files.map(|TlsFiles { cert, key }| (cert.clone(), key.clone())).unzip();
    to.set("cert", LIVE, &cert);
    to.set("key", LIVE, &key);
}

fn front_keys(front: &Front, mut to: Section<'_, '_>) {
    let Front {
        max_connections,
        max_per_address,
        head_bytes,
        head_deadline,
        body_bytes,
        body_deadline,
        idle_deadline,
        response_deadline,
        hosts,
        origins,
        debug_echo,
    } = front;
    to.set("max_connections", RESTART, max_connections);
    to.set("max_per_address", RESTART, max_per_address);
    to.set("head_bytes", RESTART, head_bytes);
    to.set("head_deadline", RESTART, head_deadline);
    to.set("body_bytes", RESTART, body_bytes);
    to.set("body_deadline", RESTART, body_deadline);
    to.set("idle_deadline", RESTART, idle_deadline);
    to.set("response_deadline", RESTART, response_deadline);
    to.set("hosts", LIVE, hosts);
    to.set("origins", LIVE, origins);
    to.set("debug_echo", RESTART, debug_echo);
}

fn session_keys(session: &Session, mut to: Section<'_, '_>) {
    let Session {
        message_bytes,
        message_deadline,
        ping_interval,
        pong_deadline,
        auth_deadline,
        close_deadline,
        backlog_bytes,
        total_backlog_bytes,
        send_buffer_bytes,
        slow_events,
    } = session;
    to.set("message_bytes", RESTART, message_bytes);
    to.set("message_deadline", RESTART, message_deadline);
    to.set("ping_interval", RESTART, ping_interval);
    to.set("pong_deadline", RESTART, pong_deadline);
    to.set("auth_deadline", RESTART, auth_deadline);
    to.set("close_deadline", RESTART, close_deadline);
    to.set("backlog_bytes", RESTART, backlog_bytes);
    to.set("total_backlog_bytes", RESTART, total_backlog_bytes);
    to.set("send_buffer_bytes", RESTART, send_buffer_bytes);
    to.set("slow_events", RESTART, slow_events);
}

fn gpio_keys<'a>(gpio: &'a Gpio, all: &mut Vec<Setting<'a>>) {
    let Gpio { backend, chip, lines, allow, deny, edge_events, sysfs_bias, software_pwm_limit } = gpio;
    let mut to = section(all, "gpio");
    to.set("backend", RESTART, backend);
    to.set("chip", RESTART, chip);
    match allow {
        Some(pins) => to.set("allow", LIVE, pins),
        None => to.set("allow", LIVE, &["*".to_owned()][..]),
    }
    if *deny == Pin::ALL {
        to.set("deny", LIVE, &["*".to_owned()][..]);
    } else {
        to.set("deny", LIVE, deny);
    }
    to.set("edge_events", LIVE, edge_events);
    to.set("sysfs_bias", RESTART, sysfs_bias);
    to.set("software_pwm_limit", LIVE, software_pwm_limit);
    for (name, line) in lines.iter().filter(|(name, line)| !is_only_named_by_others(name, line)) {
        pin_keys(line, table(all, "gpio.pins", name));
    }
}

/// A line that stands in somebody's interlock and has no table of its own.
fn is_only_named_by_others(name: &str, line: &Line) -> bool {
    name == line.pin.to_string() && *line == Line { interlock: line.interlock.clone(), ..Line::plain(line.pin) }
}

/// Which of these changes apply live also depends on what the line is doing: see `gpio::reload`.
fn pin_keys(line: &Line, mut to: Section<'_, '_>) {
    let Line {
        pin,
        mode,
        bias,
        active_low,
        debounce,
        edge,
        initial,
        safe,
        on_disconnect,
        max_on,
        min_off,
        interlock,
        persist,
        frequency,
        duty,
    } = line;
    to.set("pin", LIVE, pin);
    to.set("mode", RESTART, mode);
    match bias {
        Some(bias) => to.set("bias", LIVE, bias),
        None => to.set("bias", LIVE, "as-is"),
    }
    to.set("active_low", LIVE, active_low);
    to.set("debounce", LIVE, &Some(*debounce).filter(|period| !period.is_zero()));
    to.set("edge", LIVE, edge);
    to.set("initial", LIVE, initial);
    to.set("safe", LIVE, safe);
    let on_disconnect = on_disconnect
        .map_or_else(|| "hold".to_owned(), |grace| format!("safe after {}", humantime::format_duration(grace)));
    to.set("on_disconnect", LIVE, &on_disconnect);
    to.set("max_on", LIVE, max_on);
    to.set("min_off", LIVE, &Some(*min_off).filter(|period| !period.is_zero()));
    to.set("interlock", LIVE, interlock);
    to.set("persist", LIVE, persist);
    to.set("frequency", LIVE, frequency);
    to.set("duty", LIVE, duty);
}

fn store_keys(store: &Store, mut to: Section<'_, '_>) {
    let Store { flush_interval, pending_bytes, max_bytes, durable_bytes } = store;
    to.set("flush_interval", LIVE, flush_interval);
    to.set("pending_bytes", RESTART, pending_bytes);
    to.set("max_mib", LIVE, &(max_bytes / (1024 * 1024)));
    to.set("durable_mib", RESTART, &(durable_bytes / (1024 * 1024)));
}

fn telemetry_keys(telemetry: &Telemetry, mut to: Section<'_, '_>) {
    let Telemetry { max_age, vcgencmd, firmware_interval, firmware_deadline } = telemetry;
    to.set("max_age", RESTART, max_age);
    to.set("vcgencmd", RESTART, vcgencmd);
    to.set("firmware_interval", RESTART, firmware_interval);
    to.set("firmware_deadline", RESTART, firmware_deadline);
}

fn commands_keys<'a>(commands: &'a Commands, all: &mut Vec<Setting<'a>>) {
    let Commands {
        templates,
        shell,
        user,
        allow_root,
        without_audit,
        directory,
        timeout,
        kill_after,
        output_bytes,
        max_running,
        queue,
        limits: Limits { processes, memory_bytes, file_bytes, cpu_time },
    } = commands;
    let mut to = section(all, "commands");
    to.set("shell", LIVE, shell);
    to.set("user", LIVE, user);
    to.set("allow_root", LIVE, allow_root);
    to.set("without_audit", RESTART, without_audit);
    to.set("directory", LIVE, directory);
    to.set("timeout", LIVE, timeout);
    to.set("kill_after", LIVE, kill_after);
    to.set("output_bytes", LIVE, output_bytes);
    to.set("max_running", RESTART, max_running);
    to.set("queue", RESTART, queue);
    to.set("max_processes", LIVE, &processes.unwrap_or(0));
    to.set("max_memory_bytes", LIVE, &memory_bytes.unwrap_or(0));
    to.set("max_file_bytes", LIVE, &file_bytes.unwrap_or(0));
    to.set("max_cpu_time", LIVE, &cpu_time.unwrap_or_default());
    for (name, template) in templates {
        let Template { argv, params, timeout, user } = template;
        let mut to = table(all, "commands.templates", name);
        // An argument may be a password.
        to.hide("argv", LIVE, format!("{argv:?}"));
        to.hide("params", LIVE, format!("{params:?}"));
        to.set("timeout", LIVE, timeout);
        to.set("user", LIVE, user);
    }
}

fn docker_keys(docker: &Docker, mut to: Section<'_, '_>) {
    let Docker { enabled, socket, containers, timeout, max_stop_timeout, log_bytes } = docker;
    to.set("enabled", RESTART, enabled);
    to.set("socket", LIVE, socket);
    to.set("containers", LIVE, containers);
    to.set("timeout", LIVE, timeout);
    to.set("max_stop_timeout", LIVE, max_stop_timeout);
    to.set("log_bytes", LIVE, log_bytes);
}

fn hub_keys(hub: &Hub, mut to: Section<'_, '_>) {
    let Hub {
        own_server,
        auth_deadline,
        agent_silence,
        message_bytes,
        invalid_messages,
        order_timeout,
        order_timeout_max,
        orders_per_server,
        orders,
        servers,
    } = hub;
    to.set("own_server", RESTART, own_server);
    to.set("auth_deadline", RESTART, auth_deadline);
    to.set("agent_silence", RESTART, agent_silence);
    to.set("message_bytes", RESTART, message_bytes);
    to.set("invalid_messages", RESTART, invalid_messages);
    to.set("order_timeout", RESTART, order_timeout);
    to.set("order_timeout_max", RESTART, order_timeout_max);
    to.set("orders_per_server", RESTART, orders_per_server);
    to.set("orders", RESTART, orders);
    to.set("servers", RESTART, servers);
}

fn agent_keys<'a>(agent: &'a Agent, mut to: Section<'_, 'a>) {
    let Agent {
        hub,
        key,
        key_place: _,
        ca,
        pin,
        name,
        cluster,
        protocol,
        metrics_interval,
        spool_ram,
        spool_bytes,
        forward,
        actions,
        journal,
        log_files,
    } = agent;
    to.set("hub", RESTART, hub);
    to.hide("key_file", RESTART, key);
    to.set("ca", RESTART, ca);
    to.set("pin", RESTART, pin);
    to.set("name", RESTART, name);
    to.set("cluster", RESTART, cluster);
    to.set("protocol", RESTART, protocol);
    to.set("metrics_interval", RESTART, metrics_interval);
    to.set("spool_ram", RESTART, spool_ram);
    to.set("spool_bytes", RESTART, spool_bytes);
    to.set("forward", RESTART, forward);
    to.set("actions", RESTART, actions);
    to.set("journal", RESTART, journal);
    to.set("log_files", RESTART, log_files);
}

fn alerts_keys<'a>(alerts: &'a Alerts, mut to: Section<'_, 'a>) {
    let Alerts {
        offline,
        offline_after,
        under_voltage,
        disk,
        disk_warning,
        disk_critical,
        store,
        clock,
        clock_after,
        webhook,
        command,
    } = alerts;
    to.set("offline", RESTART, offline);
    to.set("offline_after", LIVE, offline_after);
    to.set("under_voltage", RESTART, under_voltage);
    to.set("disk", RESTART, disk);
    to.set("disk_warning", LIVE, disk_warning);
    to.set("disk_critical", LIVE, disk_critical);
    to.set("store", RESTART, store);
    to.set("clock", RESTART, clock);
    to.set("clock_after", LIVE, clock_after);
    // Whoever knows the URL can post to it.
    let (url, ca, timeout) = match webhook {
        Some(Webhook { url, ca, timeout }) => (url.as_str(), ca.clone(), Some(*timeout)),
        None => ("", None, None),
    };
    to.hide("webhook", LIVE, url);
    to.set("webhook_ca", LIVE, &ca);
    to.set("webhook_timeout", LIVE, &timeout);
    // An argument may be a password.
    let (argv, timeout) = match command {
        Some(Notifier { program, arguments, timeout }) => (format!("{program:?} {arguments:?}"), Some(*timeout)),
        None => (String::new(), None),
    };
    to.hide("command", LIVE, argv);
    to.set("command_timeout", LIVE, &timeout);
}
