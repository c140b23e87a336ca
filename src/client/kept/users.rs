//! `pinwire user`: adds, lists and ends users in the daemon's database, whether or not a daemon is running.

use std::io::{BufRead, IsTerminal, Read, Write};
use std::path::Path;

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

use super::super::{ClientError, print_line};
use super::keys::{failed, open, open_to_read, time};
use crate::auth::Account;
use crate::auth::password::{self, MAX_BYTES, Passwords};
use crate::cli::{PasswordArgs, UserAddArgs, UserNameArgs, UserPasswdArgs, UserRoleArgs};
use crate::rt::{clock, random};
use crate::store::Db;
use crate::types::fleet::{Role, User};
use crate::types::plain::plain;

/// Adds a user.
///
/// # Errors
/// The state directory or its database cannot be used, somebody has the name or the address, or the password is none.
pub fn add(args: &UserAddArgs, dir: &Path) -> Result<(), ClientError> {
    let db = open(dir)?;
    let users = db.users().map_err(|error| failed(&db, &error))?;
    let taken = users.iter().map(|account| &account.user).find_map(|user| {
        if user.email.eq_ignore_ascii_case(&args.email) {
            Some(format!("--email: '{}' is user '{}' already", args.email, user.username))
        } else if user.username.eq_ignore_ascii_case(&args.username) {
            Some(format!("--username: there is a user '{}' already", user.username))
        } else {
            None
        }
    });
    if let Some(why) = taken {
        return Err(ClientError(why));
    }
    let hash = ask_and_hash(&args.password)?;
    let user = User {
        id: random::uuid().map_err(|error| ClientError(format!("no random numbers to be had: {error}")))?,
        email: args.email.clone(),
        username: args.username.clone(),
        full_name: None,
        is_active: true,
        role: args.role.unwrap_or(if users.is_empty() { Role::Admin } else { Role::Operator }),
        created_at: clock::wall(),
    };
    let account = Account { user, password: hash.into(), generation: 1 };
    db.add_user(&account).map_err(|error| failed(&db, &error))?;
    let User { username, role, .. } = &account.user;
    print_line(&format!("user '{username}' added, role {}", role.as_str()))
}

/// Prints all users, one per line below a heading.
///
/// # Errors
/// There is no database, or it cannot be read.
pub fn list(dir: &Path) -> Result<(), ClientError> {
    let db = open_to_read(dir)?;
    let users = db.users().map_err(|error| failed(&db, &error))?;
    let wide = |text: fn(&User) -> &str| {
        users.iter().map(|account| text(&account.user).chars().count()).max().unwrap_or(0).max(8)
    };
    let (name, email) = (wide(|user| &user.username), wide(|user| &user.email));
    let line = |words: [&str; 5]| {
        let [username, address, role, state, created] = words;
        print_line(&plain(&format!("{username:name$}  {address:email$}  {role:8}  {state:8}  {created}")))
    };
    line(["USERNAME", "E-MAIL", "ROLE", "STATE", "CREATED"])?;
    for Account { user, .. } in &users {
        let state = if user.is_active { "active" } else { "disabled" };
        line([&user.username, &user.email, user.role.as_str(), state, &time(user.created_at)])?;
    }
    Ok(())
}

/// Sets a user's password; tokens issued before are worth nothing.
///
/// # Errors
/// There is no such user, the database cannot be written, or the password is none.
pub fn passwd(args: &UserPasswdArgs, dir: &Path) -> Result<(), ClientError> {
    let (db, account) = find(dir, &args.user)?;
    let hash = ask_and_hash(&args.password)?;
    done(&db, db.set_password(&account.user.id, &hash), &account, "has a new password and is logged out everywhere")
}

/// Keeps a user out, or lets it in again.
///
/// # Errors
/// There is no such user, or the database cannot be written.
pub fn set_active(args: &UserNameArgs, dir: &Path, active: bool) -> Result<(), ClientError> {
    let (db, account) = find(dir, &args.user)?;
    let what = if active { "is enabled" } else { "is disabled" };
    done(&db, db.set_active(&account.user.id, active), &account, what)
}

/// Changes what a user may do; tokens issued before are worth nothing.
///
/// # Errors
/// There is no such user, or the database cannot be written.
pub fn set_role(args: &UserRoleArgs, dir: &Path) -> Result<(), ClientError> {
    let (db, account) = find(dir, &args.user)?;
    let role = args.role.as_str();
    let what = match account.user.role == args.role {
        true => format!("has the role {role} already"),
        false => format!("has the role {role} now and is logged out everywhere"),
    };
    done(&db, db.set_role(&account.user.id, args.role), &account, &what)
}

/// Removes a user.
///
/// # Errors
/// There is no such user, or the database cannot be written.
pub fn remove(args: &UserNameArgs, dir: &Path) -> Result<(), ClientError> {
    let (db, account) = find(dir, &args.user)?;
    done(&db, db.remove_user(&account.user.id), &account, "is removed")
}

fn find(dir: &Path, name: &str) -> Result<(Db, Account), ClientError> {
    let db = Db::open_existing(dir).map_err(super::keys::unusable)?;
    let found = db.user(name).map_err(|error| failed(&db, &error))?;
    let account = found.ok_or_else(|| no_such(dir))?;
    Ok((db, account))
}

fn no_such(dir: &Path) -> ClientError {
    ClientError(format!("there is no such user in '{}'; see pinwire user list", dir.display()))
}

fn done(db: &Db, done: rusqlite::Result<bool>, account: &Account, what: &str) -> Result<(), ClientError> {
    match done.map_err(|error| failed(db, &error))? {
        true => print_line(&format!("user '{}' {what}", account.user.username)),
        // Somebody was faster.
        false => Err(ClientError(format!("user '{}' has just been removed", account.user.username))),
    }
}

fn ask_and_hash(args: &PasswordArgs) -> Result<String, ClientError> {
    let password = match &args.password_file {
        Some(path) => {
            let file = std::fs::File::open(path);
            let file = file.map_err(|error| ClientError(format!("--password-file '{}': {error}", path.display())))?;
            first_line(file)?
        }
        None if std::io::stdin().is_terminal() => prompt()?,
        None => first_line(std::io::stdin().lock())?,
    };
    password::acceptable(&password).map_err(|why| ClientError(why.to_string()))?;
    Passwords::new().hash(&password).map_err(|why| ClientError(why.to_string()))
}

fn first_line(from: impl Read) -> Result<String, ClientError> {
    let mut bytes = Vec::new();
    // Two more for the end of the line.
    let read = std::io::BufReader::new(from.take(MAX_BYTES as u64 + 2)).read_until(b'\n', &mut bytes);
    read.map_err(|error| ClientError(format!("the password cannot be read: {error}")))?;
    let line = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    String::from_utf8(line.to_vec()).map_err(|_| ClientError::new("the password is not UTF-8"))
}

fn prompt() -> Result<String, ClientError> {
    let first = ask("Password: ")?;
    password::acceptable(&first).map_err(|why| ClientError(why.to_string()))?;
    if ask("The same once more: ")? == first { Ok(first) } else { Err(ClientError::new("the two are not the same")) }
}

/// Asks on the terminal, which does not show what is typed.
fn ask(text: &str) -> Result<String, ClientError> {
    let broken = |error: std::io::Error| ClientError(format!("the terminal cannot be used: {error}"));
    let mut stderr = std::io::stderr().lock();
    write!(stderr, "{text}").and_then(|()| stderr.flush()).map_err(broken)?;
    let line = {
        let _quiet = Quiet::begin().map_err(broken)?;
        first_line(std::io::stdin().lock())
    };
    let _ = writeln!(stderr);
    let line = line?;
    // Ctrl-C among them: while nothing is shown it does not end the program, which would leave the terminal so.
    if line.chars().any(char::is_control) { Err(ClientError::new("no password was given")) } else { Ok(line) }
}

/// A terminal that shows nothing, until this is dropped.
struct Quiet(Termios);

impl Quiet {
    fn begin() -> std::io::Result<Quiet> {
        let stdin = std::io::stdin();
        let before = tcgetattr(&stdin)?;
        let mut quiet = before.clone();
        quiet.local_modes &= !(LocalModes::ECHO | LocalModes::ISIG);
        tcsetattr(&stdin, OptionalActions::Flush, &quiet)?;
        Ok(Quiet(before))
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Flush, &self.0);
    }
}
