//! The `pinwire` program: reads the command line, runs the command, and says once what went wrong.
//!
//! Exit codes: 0 done, 1 failed, 2 bad usage or configuration.
#![deny(unsafe_code)]
// Clocks and threads belong to `rt` (clippy.toml says why); tests may use them.
#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

use std::path::Path;
use std::process::ExitCode;

use clap::Parser;
use pinwire::cli::{Cli, Command, KeyCommand, StoreArgs, UserCommand};
use pinwire::config::{self, Config, ConfigError, Flags, Passed};
use pinwire::{
    client::{self, ClientError},
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
            Err(error) => exit(Err(error), BAD_USAGE),
        },
        Command::Key(args) => key(&args.command),
        Command::User(args) => user(&args.command),
        Command::Audit(args) => within(&args.store, &|dir| client::audit(&args, dir)),
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
        Ok(config) => exit(daemon::run(config, given, &|| load(&flags)), BAD_USAGE),
        Err(error) => exit(Err(error), BAD_USAGE),
    }
}

fn key(command: &KeyCommand) -> ExitCode {
    match command {
        KeyCommand::Add(args) => within(&args.store, &|dir| client::keys::add(args, dir)),
        KeyCommand::List(args) => within(&args.store, &client::keys::list),
        KeyCommand::Revoke(args) => within(&args.store, &|dir| client::keys::revoke(args, dir)),
    }
}

fn user(command: &UserCommand) -> ExitCode {
    use client::users;
    match command {
        UserCommand::Add(args) => within(&args.store, &|dir| users::add(args, dir)),
        UserCommand::List(args) => within(&args.store, &users::list),
        UserCommand::Passwd(args) => within(&args.store, &|dir| users::passwd(args, dir)),
        UserCommand::Disable(args) => within(&args.store, &|dir| users::set_active(args, dir, false)),
        UserCommand::Enable(args) => within(&args.store, &|dir| users::set_active(args, dir, true)),
        UserCommand::Role(args) => within(&args.store, &|dir| users::set_role(args, dir)),
        UserCommand::Remove(args) => within(&args.store, &|dir| users::remove(args, dir)),
    }
}

/// Runs a command on the database of a state directory.
fn within(store: &StoreArgs, run: &dyn Fn(&Path) -> Result<(), ClientError>) -> ExitCode {
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
