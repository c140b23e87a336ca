//! Writes the manual pages and the shells' completions, from the same definitions as `-h` and from the annotated
//! configuration: `cargo run --example manual -- DIR [YYYY-MM-DD]`. The day is the pages', so that the same sources make the
//! same pages.
//!
//! They are made when a package is, and are no part of the program: it stays as small as it is.

#[path = "manual/file_page.rs"]
mod file_page;

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::Path;
use std::process::ExitCode;

use clap::{Command, CommandFactory};
use clap_complete::{Shell, generate_to};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};
use pinwire::cli::Cli;

/// What stands above every page.
const MANUAL: &str = "Pinwire";

/// A page has a day; where it does not matter, that of reproducible builds.
const NO_DAY: &str = "1970-01-01";

/// Where bash, zsh and fish look for completions, below the directory.
const SHELLS: [(Shell, &str, &str); 3] = [
    (Shell::Bash, "completions/bash", "pinwire"),
    (Shell::Zsh, "completions/zsh", "_pinwire"),
    (Shell::Fish, "completions/fish", "pinwire.fish"),
];

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let (dir, date) = match arguments.as_slice() {
        [dir] => (dir, NO_DAY),
        [dir, date] => (dir, date.to_str().unwrap_or_default()),
        _ => {
            eprintln!("usage: manual DIR [YYYY-MM-DD]");
            return ExitCode::from(2);
        }
    };
    match write_all(Path::new(dir), date) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("manual: '{}' cannot be written: {error}", dir.display());
            ExitCode::FAILURE
        }
    }
}

/// Writes `man/*.1`, `man/pinwire.toml.5` and `completions/*/*`.
///
/// # Errors
/// The directory cannot be written.
pub fn write_all(dir: &Path, date: &str) -> io::Result<()> {
    let man = dir.join("man");
    fs::create_dir_all(&man)?;
    // `pinwire help` says what the pages say.
    let mut program = Cli::command().disable_help_subcommand(true);
    program.build();
    let names = names(&program);
    pages(&program, &man, date, &names)?;
    fs::write(man.join("pinwire.toml.5"), file_page::render(date, &see_also(&names, "pinwire.toml")))?;
    for (shell, place, name) in SHELLS {
        let place = dir.join(place);
        fs::create_dir_all(&place)?;
        let written = generate_to(shell, &mut Cli::command(), "pinwire", &place)?;
        if written.file_name() != Some(OsStr::new(name)) {
            fs::rename(written, place.join(name))?;
        }
    }
    Ok(())
}

/// The names of all pages of section 1.
fn names(command: &Command) -> Vec<String> {
    let own = command.get_display_name().unwrap_or(command.get_name()).to_owned();
    std::iter::once(own).chain(command.get_subcommands().flat_map(names)).collect()
}

/// The page of a command, and those of its own commands.
fn pages(command: &Command, dir: &Path, date: &str, names: &[String]) -> io::Result<()> {
    for inner in command.get_subcommands() {
        pages(inner, dir, date, names)?;
    }
    let name = command.get_display_name().unwrap_or(command.get_name());
    let source = format!("pinwire {}", env!("CARGO_PKG_VERSION"));
    let man = Man::new(command.clone()).title(name.to_uppercase()).date(date).source(source).manual(MANUAL);
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut page)?;
    }
    if command.get_after_help().is_some() || command.get_after_long_help().is_some() {
        let mut notes = Vec::new();
        man.render_extra_section(&mut notes)?;
        page.extend(String::from_utf8_lossy(&notes).replacen(".SH EXTRA", ".SH NOTES", 1).into_bytes());
    }
    see_also(names, name).to_writer(&mut page)?;
    // Before a flag's values the library writes empty lines, which manuals' readers complain about.
    let page = String::from_utf8_lossy(&page).replace("\n.br\n\n.br\n", "\n.IP\n");
    fs::write(dir.join(format!("{name}.1")), page)
}

/// Those beside, above and below the page, and the file's.
fn see_also(names: &[String], own: &str) -> Roff {
    let up = own.rsplit_once('-').map_or(own, |(up, _)| up);
    let near = |name: &str| name == "pinwire" || name == up || name.starts_with(&format!("{own}-"));
    let programs = names.iter().filter(|name| *name != own && near(name)).map(|name| (name.as_str(), "(1)"));
    let file = (own != "pinwire.toml").then_some(("pinwire.toml", "(5)"));
    let mut roff = Roff::new();
    roff.control("SH", ["SEE ALSO"]);
    let mut line = Vec::new();
    for (name, section) in programs.chain(file) {
        if !line.is_empty() {
            line.push(roman(", "));
        }
        line.extend([bold(name), roman(section)]);
    }
    roff.text(line);
    roff
}
