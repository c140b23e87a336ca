//! The command line as typed: definitions and help only. What it means is decided in `config` and `client`.

mod agent;
mod audit;
mod doctor;
mod key;
mod user;

use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::Duration;

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::config::{AuthMode, Backend, Flags};
use crate::types::features;
use crate::types::position::{Position, PositionError};
use crate::types::topic::Pattern;
pub use agent::AgentArgs;
pub use audit::AuditArgs;
pub use doctor::DoctorArgs;
pub use key::{KeyAddArgs, KeyArgs, KeyCommand, KeyListArgs, KeyRevokeArgs, StoreArgs};
pub use user::{
    PasswordArgs, UserAddArgs, UserArgs, UserCommand, UserListArgs, UserNameArgs, UserPasswdArgs, UserRoleArgs,
};

/// How a client's `--url` may begin.
const SCHEMES: [&str; 4] = ["ws://", "wss://", "http://", "https://"];

/// The longest `--timeout`; also keeps clocks from overflowing.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(24 * 60 * 60);

/// Puts a Raspberry Pi on the wire: GPIO, telemetry, events and pub/sub on one port.
///
/// Without a command it serves: `pinwire --listen X` is `pinwire serve --listen X`.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "pinwire",
    version,
    long_version = long_version(),
    about = "Puts a Raspberry Pi on the wire: GPIO, telemetry, events and pub/sub on one port",
    long_about = None,
    after_help = "Without a command, pinwire serves. Exit codes: 0 done, 1 failed, 2 bad usage or configuration.\n\
                  Environment of serve: PORT, API_KEY, USE_TLS, CERT_FILE, KEY_FILE (as PiCloud); of the clients: \
                  PINWIRE_API_KEY.",
    args_conflicts_with_subcommands = true
)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Used when there is no command.
    #[command(flatten)]
    pub serve: ServeArgs,
}

/// With `--version`; `-V` says the number alone.
fn long_version() -> &'static str {
    static TEXT: LazyLock<String> =
        LazyLock::new(|| format!("{}\nfeatures: {}", env!("CARGO_PKG_VERSION"), features::built_in()));
    &TEXT
}

#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Run the daemon (the default command)
    Serve(ServeArgs),
    /// Run the daemon as a hub's agent: connect out instead of listening
    Agent(AgentArgs),
    /// Send one action to a running daemon and print its answer
    Call(CallArgs),
    /// Print the events of a running daemon, one per line
    Watch(WatchArgs),
    /// Publish one event through a running daemon
    Publish(PublishArgs),
    /// Make, list and end API keys in the daemon's state directory
    Key(KeyArgs),
    /// Add, list and end users in the daemon's state directory
    User(UserArgs),
    /// Print the audit of a state directory: who asked for what, and what came of it; and check that it is whole
    Audit(AuditArgs),
    /// Check flags, environment and configuration file, and start nothing
    CheckConfig(CheckConfigArgs),
    /// Drive the configured safe states without a running daemon; for ExecStopPost
    Safe(SafeArgs),
    /// Say what works on this machine and what does not, and what to do about it: lines, power, clock, disk, port, keys, hub
    Doctor(DoctorArgs),
}

/// The flags of `serve`. The environment of PiCloud comes after them, then the file.
#[derive(Args, Clone, Debug, Default)]
#[command(after_help = "Environment: PORT, API_KEY, USE_TLS, CERT_FILE, KEY_FILE (as PiCloud). \
                        Order: flag, environment, file, default.")]
pub struct ServeArgs {
    /// Read this TOML file [default: none]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Listen on HOST:PORT, may be repeated; :PORT is every IPv4 interface, port 0 any free one [default: 127.0.0.1:9000]
    #[arg(long, value_name = "ADDR")]
    pub listen: Vec<String>,
    /// Keep what must outlive the process in this directory [default: none]
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// Reach the pins this way; auto takes the first that works [default: auto]
    #[arg(long, value_name = "BACKEND")]
    pub gpio: Option<GpioBackend>,
    /// Read telemetry below this directory [default: /]
    #[arg(long, value_name = "DIR")]
    pub root: Option<PathBuf>,
    /// Let in who shows the API key in this file [default: API_KEY from the environment]
    #[arg(long, value_name = "FILE")]
    pub api_key_file: Option<PathBuf>,
    /// Ask for an API key, or let everybody in [default: key if there is one, else none on loopback only]
    #[arg(long, value_name = "MODE")]
    pub auth: Option<AuthChoice>,
    /// Serve TLS with this certificate chain, PEM [default: plain]
    #[arg(long, value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,
    /// The certificate's private key, PEM
    #[arg(long, value_name = "FILE")]
    pub tls_key: Option<PathBuf>,
    /// Log this and worse to stderr: off, error, warn, info, debug, trace [default: info]
    #[arg(long, value_name = "LEVEL")]
    pub log_level: Option<String>,
    /// Serve /echo, for conformance suites
    #[arg(long)]
    pub debug_echo: bool,
    /// Answer DEBUG_PANIC and DEBUG_HANG, for failure tests
    #[arg(long)]
    pub debug_actions: bool,
}

/// `--gpio`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum GpioBackend {
    Auto,
    Cdev,
    Sysfs,
    Sim,
}

/// `--auth`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum AuthChoice {
    None,
    Key,
}

/// How a client command reaches the daemon.
#[derive(Args, Clone, Debug)]
pub struct ClientArgs {
    /// The daemon, as ws://, wss://, http:// or https://
    #[arg(long, default_value = "ws://127.0.0.1:9000", value_parser = parse_url)]
    pub url: String,
    /// Show the API key in this file [default: PINWIRE_API_KEY from the environment]
    #[arg(long, value_name = "FILE")]
    pub api_key_file: Option<PathBuf>,
    /// Trust these PEM certificates when the daemon serves TLS
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// Give up connecting, or waiting for an answer, after this long
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = parse_timeout)]
    pub timeout: Duration,
}

#[derive(Args, Clone, Debug)]
pub struct CallArgs {
    #[command(flatten)]
    pub client: ClientArgs,
    /// The action, such as READ_MEMORY
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    pub action: String,
    /// Its parameters as JSON, such as '{"pins":["GPIO17"]}' [default: none]
    #[arg(value_name = "JSON", allow_negative_numbers = true)]
    pub params: Option<String>,
}

#[derive(Args, Clone, Debug)]
pub struct WatchArgs {
    #[command(flatten)]
    pub client: ClientArgs,
    /// Only topics like these: * is one level, ** at the end all the rest, as in 'gpio.**' [default: everything]
    #[arg(value_name = "PATTERN", value_parser = parse_pattern)]
    pub patterns: Vec<String>,
    /// Begin behind this EPOCH:OFFSET, as printed with each event, or now; and after a lost connection where it ended
    ///
    /// The events missed meanwhile come first, none of them twice. If the daemon does not have them any more, stderr
    /// says so.
    ///
    /// Without this flag the end of the connection is the end of the command.
    #[arg(long, value_name = "POSITION", value_parser = parse_since)]
    pub since: Option<Since>,
    /// Stop after this many events [default: never]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,
}

/// `--since`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    Now,
    At(Position),
}

#[derive(Args, Clone, Debug)]
pub struct PublishArgs {
    #[command(flatten)]
    pub client: ClientArgs,
    /// The event's name
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    pub event: String,
    /// Its data, any text; - reads it from standard input [default: empty]
    #[arg(allow_negative_numbers = true)]
    pub data: Option<String>,
    /// Publish under this client name
    #[arg(long, default_value = "pinwire", value_parser = NonEmptyStringValueParser::new())]
    pub name: String,
    /// Print what became of it: accepted, or durable (on the disk, where the topic is), and its position
    #[arg(long)]
    pub ack: bool,
}

#[derive(Args, Clone, Debug)]
pub struct CheckConfigArgs {
    #[command(flatten)]
    pub serve: ServeArgs,
}

/// What concerns the lines only, for commands that reach them without a daemon.
#[derive(Args, Clone, Debug)]
pub struct LinesArgs {
    /// Read this TOML file, as serve does [default: none]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Reach the pins this way; auto takes the first that works [default: auto]
    #[arg(long, value_name = "BACKEND")]
    pub gpio: Option<GpioBackend>,
}

#[derive(Args, Clone, Debug)]
pub struct SafeArgs {
    #[command(flatten)]
    pub lines: LinesArgs,
}

impl From<&LinesArgs> for Flags {
    fn from(args: &LinesArgs) -> Flags {
        Flags { config: args.config.clone(), gpio: args.gpio.map(Backend::from), ..Flags::default() }
    }
}

impl From<&ServeArgs> for Flags {
    fn from(args: &ServeArgs) -> Flags {
        Flags {
            config: args.config.clone(),
            listen: args.listen.clone(),
            state_dir: args.state_dir.clone(),
            gpio: args.gpio.map(Backend::from),
            root: args.root.clone(),
            api_key_file: args.api_key_file.clone(),
            auth: args.auth.map(AuthMode::from),
            tls_cert: args.tls_cert.clone(),
            tls_key: args.tls_key.clone(),
            log_level: args.log_level.clone(),
            debug_echo: args.debug_echo,
            debug_actions: args.debug_actions,
            passed: Vec::new(),
            agent: None,
        }
    }
}

impl From<GpioBackend> for Backend {
    fn from(backend: GpioBackend) -> Backend {
        match backend {
            GpioBackend::Auto => Backend::Auto,
            GpioBackend::Cdev => Backend::Cdev,
            GpioBackend::Sysfs => Backend::Sysfs,
            GpioBackend::Sim => Backend::Sim,
        }
    }
}

impl From<AuthChoice> for AuthMode {
    fn from(choice: AuthChoice) -> AuthMode {
        match choice {
            AuthChoice::None => AuthMode::None,
            AuthChoice::Key => AuthMode::Key,
        }
    }
}

fn parse_url(text: &str) -> Result<String, String> {
    let rest = SCHEMES.iter().find_map(|scheme| text.strip_prefix(scheme));
    match rest {
        Some(rest) if !rest.is_empty() && !rest.starts_with('/') => Ok(text.to_owned()),
        _ => Err("write it like ws://127.0.0.1:9000 or https://pi.local:9000".into()),
    }
}

fn parse_timeout(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(timeout) if timeout.is_zero() || timeout > LONGEST_TIMEOUT => {
            Err("it must be above 0s and at most 24h".into())
        }
        Ok(timeout) => Ok(timeout),
        Err(why) => Err(format!("{why}; write for example 10s or 500ms")),
    }
}

fn parse_since(text: &str) -> Result<Since, String> {
    if text == "now" {
        return Ok(Since::Now);
    }
    text.parse().map(Since::At).map_err(|error: PositionError| format!("{error}, or now"))
}

fn parse_pattern(text: &str) -> Result<String, String> {
    Pattern::new(text).map(|pattern| pattern.as_str().to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;
    use clap::error::ErrorKind;

    use super::*;
    use crate::types::position::Epoch;

    fn parse(words: &[&str]) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(std::iter::once(&"pinwire").chain(words))
    }

    #[test]
    fn the_definitions_are_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn serving_is_the_default_command() {
        let cli = parse(&["--listen", ":0", "--listen", "[::1]:0", "--gpio", "sim"]).expect("parses");
        assert!(cli.command.is_none());
        assert_eq!(cli.serve.listen, [":0", "[::1]:0"]);
        let Some(Command::Serve(serve)) = parse(&["serve", "--listen", ":0"]).expect("parses").command else {
            panic!("not serve");
        };
        assert_eq!(serve.listen, [":0"]);
        assert!(parse(&[]).expect("parses").command.is_none());
    }

    #[test]
    fn every_flag_of_serve_reaches_the_configuration() {
        let words = "--config c --listen l --state-dir s --gpio cdev --root r --api-key-file k --auth none \
                     --tls-cert tc --tls-key tk --log-level warn --debug-echo --debug-actions";
        let cli = parse(&words.split_whitespace().collect::<Vec<_>>()).expect("parses");
        let flags = Flags::from(&cli.serve);
        assert_eq!(flags.config, Some("c".into()));
        assert_eq!(flags.listen, ["l"]);
        assert_eq!(flags.state_dir, Some("s".into()));
        assert_eq!(flags.gpio, Some(Backend::Cdev));
        assert_eq!(flags.root, Some("r".into()));
        assert_eq!(flags.api_key_file, Some("k".into()));
        assert_eq!(flags.auth, Some(AuthMode::None));
        assert_eq!(flags.tls_cert, Some("tc".into()));
        assert_eq!(flags.tls_key, Some("tk".into()));
        assert_eq!(flags.log_level.as_deref(), Some("warn"));
        assert!(flags.debug_echo && flags.debug_actions);
    }

    #[test]
    fn the_commands_beside_the_daemon_take_only_what_concerns_the_lines() {
        let words = ["safe", "--config", "c", "--gpio", "sysfs"];
        let Some(Command::Safe(safe)) = parse(&words).expect("parses").command else { panic!("not safe") };
        let flags = Flags::from(&safe.lines);
        assert_eq!((flags.config, flags.gpio), (Some("c".into()), Some(Backend::Sysfs)));

        for words in [["safe", "--json"], ["safe", "--listen=:0"]] {
            assert_eq!(parse(&words).expect_err("refused").kind(), ErrorKind::UnknownArgument, "{words:?}");
        }
    }

    #[test]
    fn doctor_looks_at_what_serve_would_do_or_an_agent() {
        let parsed = |words: &[&str]| match parse(words).expect("parses").command {
            Some(Command::Doctor(doctor)) => (Flags::from(&doctor), doctor.json),
            _ => panic!("not doctor"),
        };
        let (flags, json) = parsed(&["doctor", "--config", "d", "--gpio", "auto", "--listen", ":1", "--json"]);
        assert_eq!((flags.config, flags.gpio, json), (Some("d".into()), Some(Backend::Auto), true));
        assert_eq!((flags.listen, flags.agent.is_none()), (vec![":1".to_owned()], true));
        assert!(parsed(&["doctor", "--agent"]).0.agent.is_some_and(|agent| agent.hub.is_none()));
        let hub = parsed(&["doctor", "--hub", "wss://h", "--pin", "x"]).0.agent.expect("an agent");
        assert_eq!((hub.hub.as_deref(), hub.pin.as_deref()), (Some("wss://h"), Some("x")));
    }

    #[test]
    fn every_command_has_help_that_fits_a_line_per_flag() {
        for command in [
            &[][..],
            &["serve"],
            &["agent"],
            &["call"],
            &["watch"],
            &["publish"],
            &["check-config"],
            &["safe"],
            &["doctor"],
            &["key"],
            &["key", "add"],
            &["key", "list"],
            &["key", "revoke"],
            &["user"],
            &["user", "add"],
            &["user", "list"],
            &["user", "passwd"],
            &["user", "disable"],
            &["user", "enable"],
            &["user", "remove"],
        ] {
            for flag in ["-h", "--help"] {
                let words: Vec<_> = command.iter().copied().chain([flag]).collect();
                let help = parse(&words).expect_err("help");
                assert_eq!(help.kind(), ErrorKind::DisplayHelp, "{words:?}");
                assert!(help.to_string().lines().all(|line| line.len() <= 160), "{help}");
            }
        }
        assert_eq!(parse(&["--version"]).expect_err("version").kind(), ErrorKind::DisplayVersion);
    }

    #[test]
    fn client_commands_take_their_defaults_and_their_words() {
        let Some(Command::Call(call)) = parse(&["call", "READ_MEMORY"]).expect("parses").command else {
            panic!("not call");
        };
        assert_eq!((call.client.url.as_str(), call.client.timeout), ("ws://127.0.0.1:9000", Duration::from_secs(10)));
        assert_eq!((call.action.as_str(), call.params), ("READ_MEMORY", None));

        let words = ["watch", "gpio.**", "system.**", "--count", "3", "--url", "wss://pi:1", "--timeout", "500ms"];
        let Some(Command::Watch(watch)) = parse(&words).expect("parses").command else {
            panic!("not watch");
        };
        assert_eq!((watch.patterns, watch.since), (vec!["gpio.**".to_owned(), "system.**".to_owned()], None));
        let since = |text: &str| match parse(&["watch", "--since", text]) {
            Ok(Cli { command: Some(Command::Watch(watch)), .. }) => watch.since,
            _ => None,
        };
        let position = Position { epoch: Epoch(0xc0ffee), offset: 42 };
        assert_eq!(since("0000000000c0ffee:42"), Some(Since::At(position)));
        assert_eq!((since("now"), since("42")), (Some(Since::Now), None));
        assert_eq!((watch.count, watch.client.timeout), (Some(3), Duration::from_millis(500)));

        for data in ["-", "-5", "open"] {
            let Some(Command::Publish(publish)) = parse(&["publish", "door", data]).expect("parses").command else {
                panic!("not publish");
            };
            assert_eq!((publish.event.as_str(), publish.data.as_deref()), ("door", Some(data)));
            assert_eq!(publish.name, "pinwire");
        }
    }

    #[test]
    fn what_cannot_work_is_refused_while_parsing() {
        let wrong: [&[&str]; 9] = [
            &["--gpio", "magic"],
            &["--auth", "maybe"],
            &["--listen"],
            &["call"],
            &["call", "A", "--url", "ftp://pi"],
            &["call", "A", "--url", "ws://"],
            &["call", "A", "--timeout", "0s"],
            &["watch", "--count", "0"],
            &["publish", ""],
        ];
        for words in wrong {
            assert_eq!(parse(words).expect_err("refused").exit_code(), 2, "{words:?}");
        }
        assert!(parse(&["--listen", ":0", "call", "A"]).is_err(), "flags of serve do not belong to other commands");
    }
}
