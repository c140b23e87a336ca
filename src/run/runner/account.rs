//! Whom a command runs as: a user of `/etc/passwd`, with the groups of `/etc/group`.
//!
//! The files are read as they are: a static binary has no other way, and users of a directory service have no business
//! here.

use std::path::Path;

use super::spec::Identity;
use crate::config::Commands;

const PASSWD: &str = "/etc/passwd";
const GROUP: &str = "/etc/group";

/// Finds out who a command is to be. `wanted` is the configured user.
///
/// # Errors
/// Why there is nobody it may be.
pub fn identity(config: &Commands, wanted: Option<&str>) -> Result<Identity, String> {
    let own = rustix::process::geteuid().as_raw();
    let passwd = read(PASSWD);
    let users = || passwd.lines().filter_map(User::parse);
    let Some(wanted) = wanted else {
        if own == 0 && !config.allow_root {
            return Err("the daemon runs as root: set commands.user, or commands.allow_root = true".into());
        }
        let home = users().find(|user| user.uid == own).map_or_else(|| "/".to_owned(), |user| user.home.to_owned());
        return Ok(Identity { become_: None, home });
    };
    let number = wanted.parse::<u32>().ok();
    let user = users().find(|user| user.name == wanted).or_else(|| users().find(|user| Some(user.uid) == number));
    // A number nobody has a name for is a user all the same, with a group of that number.
    let unnamed = number.map(|number| User { name: "", uid: number, gid: number, home: "/" });
    let user = user.or(unnamed).ok_or_else(|| format!("user '{wanted}' of commands.user is not in {PASSWD}"))?;
    if user.uid == 0 && !config.allow_root {
        return Err(format!("user '{wanted}' is root: choose another, or set commands.allow_root = true"));
    }
    let home = user.home.to_owned();
    if own != 0 {
        if user.uid == own {
            return Ok(Identity { become_: None, home });
        }
        return Err(format!("the daemon does not run as root, so it cannot run commands as '{wanted}'"));
    }
    let group = read(GROUP);
    let mut groups: Vec<u32> = group.lines().filter_map(|line| member(line, user.name)).collect();
    groups.push(user.gid);
    groups.sort_unstable();
    groups.dedup();
    Ok(Identity { become_: Some((user.uid, user.gid, groups)), home })
}

fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(path)).unwrap_or_else(|error| {
        log::warn!("'{path}' cannot be read: {error}");
        String::new()
    })
}

struct User<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

impl User<'_> {
    fn parse(line: &str) -> Option<User<'_>> {
        let mut fields = line.split(':');
        let (name, uid, gid) = (fields.next()?, fields.nth(1)?, fields.next()?);
        let home = fields.nth(1).filter(|home| home.starts_with('/')).unwrap_or("/");
        Some(User { name, uid: uid.parse().ok()?, gid: gid.parse().ok()?, home })
    }
}

/// The number of the group in this line, if the user is in it.
fn member(line: &str, name: &str) -> Option<u32> {
    let mut fields = line.split(':');
    let (gid, members) = (fields.nth(2)?, fields.next()?);
    members.split(',').any(|member| member == name && !name.is_empty()).then(|| gid.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_are_read_line_by_line() {
        let user = User::parse("pi:x:1000:1001:,,,:/home/pi:/bin/bash").expect("a user");
        assert_eq!((user.name, user.uid, user.gid, user.home), ("pi", 1000, 1001, "/home/pi"));
        assert_eq!(User::parse("svc:x:5:6::").map(|user| user.home), Some("/"));
        assert!(User::parse("").is_none() && User::parse("pi:x:a:b:c:d").is_none());
        assert_eq!(member("video:x:44:pi,other", "pi"), Some(44));
        assert_eq!(member("video:x:44:pip", "pi"), None);
        assert_eq!(member("video:x:44:", "pi"), None);
    }
}
