//! The `pinwire` program: reads the command line, runs the command, and says once what went wrong.
//!
//! Exit codes: 0 done, 1 failed, 2 bad usage or configuration: the units try again after 1, not after 2.
#![deny(unsafe_code)]
// Clocks and threads belong to `rt` (clippy.toml says why); tests may use them.
#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

use std::path::Path;
use std::process::ExitCode;

use clap::Parser;
use pinwire::cli::{Cli, Command, StoreArgs};
use pinwire::config::{self, Config, ConfigError, Flags, Passed};
use pinwire::types::features;
use pinwire::{
    client::{self, ClientError, kept},
    daemon, rt, run, systemd,
};

const FAILED: u8 = 1;
const BAD_USAGE: u8 = 2;

fn main() -> ExitCode {
    rt::memory::one_arena();
    // A command's keeper or launcher, which is this program as well.
    let arguments: Vec<_> = std::env::args_os().collect();
    if let Some(code) = run::inner_main(&arguments) {
        return ExitCode::from(code);
    }
    let cli = Cli::parse();
    match cli.command.unwrap_or(Command::Serve(cli.serve)) {
        Command::Serve(args) => serve((&args).into()),
        Command::Agent(args) => serve((&args).into()),
        Command::CheckConfig(args) => match load(&(&args.serve).into()) {
            Ok(config) => exit(client::check(&config), BAD_USAGE),
            Err(error) => exit(Err(error), BAD_USAGE),
        },
        Command::Safe(args) => match config::load_safe(&(&args.lines).into(), &|name| std::env::var(name).ok()) {
            Ok(config) => exit(daemon::safe(&config), FAILED),
            Err(error) => exit(Err(error), BAD_USAGE),
        },
        Command::Doctor(args) => match config::examine(&(&args).into(), &|name| std::env::var(name).ok()) {
            Ok(examined) => {
                let named = args.daemon.serve.config.is_some();
                exit(client::doctor(examined, args.as_agent(), named, args.json), FAILED)
            }
            Err(error) => {
                if args.json {
                    client::refused(&error.to_string());
                }
                exit(Err(error), BAD_USAGE)
            }
        },
        Command::Key(args) => within("key", args.command.store(), &|dir| kept::key(&args.command, dir)),
        Command::User(args) => within("user", args.command.store(), &|dir| kept::user(&args.command, dir)),
        Command::Audit(args) => within("audit", &args.store, &|dir| kept::audit(&args, dir)),
        Command::Call(args) => exit(client::call(&args), FAILED),
        Command::Watch(args) => exit(client::watch(&args), FAILED),
        Command::Publish(args) => exit(client::publish(&args), FAILED),
    }
}

/// Runs the daemon, with what a service manager has for it.
fn serve(mut flags: Flags) -> ExitCode {
    let given = match systemd::take() {
        Ok(given) => given,
        Err(error) => return exit(Err(error), BAD_USAGE),
    };
    let passed = |socket: &systemd::Socket| Passed { address: socket.address, both_families: socket.both_families };
    flags.passed = given.sockets.iter().map(passed).collect();
    match load(&flags) {
        Ok(config) => {
            let served = daemon::run(config, given, &|| load(&flags));
            // What may be there the next time is tried again by a service manager.
            let lasting = served.as_ref().is_err_and(daemon::StartError::is_lasting);
            exit(served, if lasting { BAD_USAGE } else { FAILED })
        }
        Err(error) => exit(Err(error), BAD_USAGE),
    }
}

/// Runs a command on the database of a state directory.
fn within(command: &str, store: &StoreArgs, run: &dyn Fn(&Path) -> Result<(), ClientError>) -> ExitCode {
    if !features::HUB.built_in {
        return exit(Err(features::HUB.needed_by(&format!("pinwire {command}"))), BAD_USAGE);
    }
    match config::load_state_dir(&store.into()) {
        Ok(dir) => exit(run(&dir), FAILED),
        Err(error) => exit(Err(error), BAD_USAGE),
    }
}

fn load(flags: &Flags) -> Result<Config, ConfigError> {
    config::load(flags, &|name| std::env::var(name).ok())
}

fn exit<E: std::fmt::Display>(result: Result<(), E>, code: u8) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // One line, also where a library's text has several.
            let text = error.to_string().lines().map(str::trim).collect::<Vec<_>>().join(" ");
            if !text.is_empty() {
                rt::stderr::say(log::Level::Error, &format!("pinwire: {text}"));
            }
            ExitCode::from(code)
        }
    }
}
