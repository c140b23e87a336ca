//! Which web pages may talk to the daemon: the `Host` and `Origin` checks.
//!
//! A daemon without a key is open to every page its user visits, in two ways: a page may open a WebSocket to
//! any address (browsers send its `Origin` but do not stop it), and a name the page's owner controls may
//! resolve to this machine (DNS rebinding), so that even same-origin rules let it in. So `Host` must be a
//! name of this daemon, and `Origin`, where there is one, must be the daemon's own or on the list. Programs
//! other than browsers send no `Origin` and are not concerned. Whoever shows the key is not either: a page
//! cannot know it.

use std::net::IpAddr;
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

/// The names and origins that are let in; a reload may replace them.
pub struct Origins {
    own_name: String,
    lists: RwLock<Lists>,
}

struct Lists {
    names: Vec<String>,
    any_name: bool,
    origins: Vec<String>,
    any_origin: bool,
}

impl Origins {
    /// `hosts` and `origins` from the config; `own_name` is this machine's.
    pub fn new(hosts: &[String], origins: &[String], own_name: &str) -> Origins {
        Origins { lists: RwLock::new(Lists::new(hosts, origins, own_name)), own_name: own_name.to_owned() }
    }

    /// Takes other lists; who is in stays.
    pub fn replace(&self, hosts: &[String], origins: &[String]) {
        let lists = Lists::new(hosts, origins, &self.own_name);
        *self.lists.write().unwrap_or_else(PoisonError::into_inner) = lists;
    }

    /// Whether `Host` names this daemon. An IP address always does: nobody can make a name of it.
    ///
    /// # Errors
    /// What to do about it, in words for the visitor.
    pub fn check_host(&self, host: &str) -> Result<(), String> {
        let name = without_port(host).trim_end_matches('.').to_ascii_lowercase();
        let address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().is_ok();
        let lists = self.lists();
        if lists.any_name || address || name.ends_with(".localhost") || lists.names.contains(&name) {
            return Ok(());
        }
        Err(format!("Host '{name}' is not a name of this daemon; if it should be, add it to front.hosts"))
    }

    /// Whether a page of `origin` may talk to the daemon that it reached as `host`.
    ///
    /// # Errors
    /// What to do about it, in words for the visitor.
    pub fn check_origin(&self, origin: &str, host: Option<&str>) -> Result<(), String> {
        let origin = origin.to_ascii_lowercase();
        if self.is_listed(&origin) {
            return Ok(());
        }
        let authority = origin.split_once("://").map(|(_, rest)| rest);
        if authority.is_some() && authority == host.map(str::to_ascii_lowercase).as_deref() {
            return Ok(());
        }
        Err(format!("pages of Origin '{origin}' may not use this daemon; if they should, add it to front.origins"))
    }

    /// Whether the config names this origin (or any), so that its pages may read answers too (CORS).
    pub fn is_listed(&self, origin: &str) -> bool {
        let lists = self.lists();
        lists.any_origin || lists.origins.iter().any(|listed| listed.eq_ignore_ascii_case(origin))
    }

    fn lists(&self) -> RwLockReadGuard<'_, Lists> {
        self.lists.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lists {
    fn new(hosts: &[String], origins: &[String], own_name: &str) -> Lists {
        let own = own_name.to_ascii_lowercase();
        let mut names = vec!["localhost".to_owned(), format!("{own}.local"), own];
        names.extend(hosts.iter().map(|name| name.trim_end_matches('.').to_ascii_lowercase()));
        Lists {
            any_name: hosts.iter().any(|name| name == "*"),
            names,
            any_origin: origins.iter().any(|origin| origin == "*"),
            origins: origins.iter().map(|origin| origin.trim_end_matches('/').to_ascii_lowercase()).collect(),
        }
    }
}

fn without_port(host: &str) -> &str {
    match host.rfind(':') {
        // Colons inside brackets belong to an IPv6 address.
        Some(at) if !host[at..].contains(']') => &host[..at],
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origins(hosts: &[&str], origins: &[&str]) -> Origins {
        let owned = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
        Origins::new(&owned(hosts), &owned(origins), "Pi")
    }

    #[test]
    fn a_host_is_an_address_or_one_of_the_daemon_s_names() {
        let own = origins(&["garage.example"], &[]);
        for good in [
            "127.0.0.1:9000",
            "[::1]:9000",
            "[::1]",
            "192.0.2.7",
            "localhost:1",
            "a.localhost",
            "pi",
            "PI.local:9000",
            "garage.example.",
            "Garage.Example:80",
        ] {
            assert_eq!(own.check_host(good), Ok(()), "{good}");
        }
        for bad in ["evil.example", "pi.evil.example", "", "localhost.evil.example:9000"] {
            assert!(own.check_host(bad).is_err(), "{bad}");
        }
        assert!(origins(&["*"], &[]).check_host("evil.example").is_ok());
    }

    #[test]
    fn a_page_is_the_daemon_s_own_or_on_the_list() {
        let own = origins(&[], &["https://panel.example/"]);
        assert_eq!(own.check_origin("http://pi:9000", Some("pi:9000")), Ok(()));
        assert_eq!(own.check_origin("https://Panel.example", Some("pi:9000")), Ok(()));
        for bad in
            ["http://evil.example", "null", "http://pi", "http://pi:9000.evil.example", "https://panel.example.evil"]
        {
            assert!(own.check_origin(bad, Some("pi:9000")).is_err(), "{bad}");
        }
        assert!(own.check_origin("http://pi:9000", None).is_err());
        assert!(origins(&[], &["*"]).check_origin("null", Some("pi")).is_ok());
        assert!(origins(&[], &["null"]).check_origin("null", Some("pi")).is_ok());
    }
}
