//! What the daemon, a command's keeper and its launcher tell each other: texts in a frame.
//!
//! A frame is its length as 32 bits, big-endian, and texts with a NUL behind each.

use std::io::{self, Read, Write};
use std::time::Duration;

use crate::config::Limits;

/// Larger than any command.
const MAX_FRAME_BYTES: usize = 1024 * 1024;

/// Everything that is needed to start a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    pub argv: Vec<String>,
    pub directory: String,
    pub identity: Identity,
    pub timeout: Duration,
    pub kill_after: Duration,
    pub limits: Limits,
}

/// Whom the command runs as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// User, group and all groups; `None` to stay who one is.
    pub become_: Option<(u32, u32, Vec<u32>)>,
    pub home: String,
}

/// What a keeper reports, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// The process that leads the command's group.
    Started(i32),
    /// It could not be started, and why.
    Failed(String),
    Ended {
        how: Exit,
        /// Whether and why the keeper ended it.
        ended: Option<Reason>,
        /// Processes of it that could not be ended.
        left: usize,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    Code(i32),
    Signal(i32),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    Timeout,
    /// The daemon asked for it, or is gone.
    Told,
}

impl Spec {
    pub fn send(&self, to: &mut impl Write) -> io::Result<()> {
        let (uid, gid, groups) = match &self.identity.become_ {
            Some((uid, gid, groups)) => {
                let groups: Vec<String> = groups.iter().map(u32::to_string).collect();
                (uid.to_string(), gid.to_string(), groups.join(","))
            }
            None => Default::default(),
        };
        let number = |limit: Option<u64>| limit.map(|limit| limit.to_string()).unwrap_or_default();
        let limits = &self.limits;
        let mut texts = vec![
            self.directory.clone(),
            uid,
            gid,
            groups,
            self.identity.home.clone(),
            self.timeout.as_millis().to_string(),
            self.kill_after.as_millis().to_string(),
            number(limits.processes),
            number(limits.memory_bytes),
            number(limits.file_bytes),
            // The kernel counts whole seconds.
            number(limits.cpu_time.map(|time| time.as_secs() + u64::from(time.subsec_nanos() > 0))),
        ];
        texts.extend(self.argv.iter().cloned());
        send(to, &texts)
    }

    pub fn receive(from: &mut impl Read) -> io::Result<Spec> {
        let texts = receive(from)?.ok_or_else(broken)?;
        let [directory, uid, gid, groups, home, timeout, kill_after, processes, memory, file, cpu, argv @ ..] =
            &texts[..]
        else {
            return Err(broken());
        };
        let become_ = match uid.as_str() {
            "" => None,
            uid => {
                let groups = groups.split(',').map(number).collect::<io::Result<_>>()?;
                Some((number(uid)?, number(gid)?, groups))
            }
        };
        let limit = |text: &str| if text.is_empty() { Ok(None) } else { number(text).map(Some) };
        if argv.is_empty() {
            return Err(broken());
        }
        Ok(Spec {
            argv: argv.to_vec(),
            directory: directory.clone(),
            identity: Identity { become_, home: home.clone() },
            timeout: Duration::from_millis(number(timeout)?),
            kill_after: Duration::from_millis(number(kill_after)?),
            limits: Limits {
                processes: limit(processes)?,
                memory_bytes: limit(memory)?,
                file_bytes: limit(file)?,
                cpu_time: limit(cpu)?.map(Duration::from_secs),
            },
        })
    }
}

impl Report {
    pub fn send(&self, to: &mut impl Write) -> io::Result<()> {
        let texts = match self {
            Report::Started(pid) => vec!["started".to_owned(), pid.to_string()],
            Report::Failed(why) => vec!["failed".to_owned(), why.replace('\0', " ")],
            Report::Ended { how, ended, left } => {
                let (kind, number) = match how {
                    Exit::Code(code) => ("code", code),
                    Exit::Signal(signal) => ("signal", signal),
                };
                let reason = match ended {
                    None => "",
                    Some(Reason::Timeout) => "timeout",
                    Some(Reason::Told) => "told",
                };
                vec![kind.to_owned(), number.to_string(), reason.to_owned(), left.to_string()]
            }
        };
        send(to, &texts)
    }

    /// `None` where the keeper has nothing more to say.
    pub fn receive(from: &mut impl Read) -> io::Result<Option<Report>> {
        let Some(texts) = receive(from)? else { return Ok(None) };
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let report = match texts[..] {
            ["started", pid] => Report::Started(number(pid)?),
            ["failed", why] => Report::Failed(why.to_owned()),
            [kind @ ("code" | "signal"), value, reason, left] => Report::Ended {
                how: if kind == "code" { Exit::Code(number(value)?) } else { Exit::Signal(number(value)?) },
                ended: match reason {
                    "" => None,
                    "timeout" => Some(Reason::Timeout),
                    _ => Some(Reason::Told),
                },
                left: number(left)?,
            },
            _ => return Err(broken()),
        };
        Ok(Some(report))
    }
}

fn send(to: &mut impl Write, texts: &[String]) -> io::Result<()> {
    let mut frame = vec![0; 4];
    for text in texts {
        frame.extend_from_slice(text.as_bytes());
        frame.push(0);
    }
    let length = u32::try_from(frame.len() - 4).map_err(|_| broken())?;
    if length as usize > MAX_FRAME_BYTES {
        return Err(io::Error::other("the command is too long"));
    }
    frame[..4].copy_from_slice(&length.to_be_bytes());
    to.write_all(&frame)
}

/// `None` at the end.
fn receive(from: &mut impl Read) -> io::Result<Option<Vec<String>>> {
    let mut length = [0; 4];
    match from.read_exact(&mut length) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    }
    let length = u32::from_be_bytes(length) as usize;
    if length > MAX_FRAME_BYTES {
        return Err(broken());
    }
    let mut frame = vec![0; length];
    from.read_exact(&mut frame)?;
    let text = String::from_utf8(frame).map_err(|_| broken())?;
    Ok(Some(text.split_terminator('\0').map(str::to_owned).collect()))
}

fn number<T: std::str::FromStr>(text: &str) -> io::Result<T> {
    text.parse().map_err(|_| broken())
}

fn broken() -> io::Error {
    io::Error::other("a frame makes no sense")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Commands;

    #[test]
    fn what_is_sent_arrives() {
        let mut spec = Spec {
            argv: vec!["/bin/echo".into(), String::new(), "ä b\n".into(), String::new()],
            directory: "/".into(),
            identity: Identity { become_: Some((1000, 1001, vec![44, 1001])), home: "/home/pi".into() },
            timeout: Duration::from_millis(1500),
            kill_after: Duration::from_secs(2),
            limits: Commands::default().limits,
        };
        for _ in 0..2 {
            let mut bytes = Vec::new();
            spec.send(&mut bytes).expect("sent");
            assert_eq!(Spec::receive(&mut &bytes[..]).expect("received"), spec);
            spec.identity.become_ = None;
            spec.limits.processes = None;
        }
        let ended = Report::Ended { how: Exit::Signal(9), ended: Some(Reason::Timeout), left: 3 };
        for report in [Report::Started(7), Report::Failed("no".into()), ended] {
            let mut bytes = Vec::new();
            report.send(&mut bytes).expect("sent");
            assert_eq!(Report::receive(&mut &bytes[..]).expect("received"), Some(report));
        }
        assert_eq!(Report::receive(&mut &b""[..]).expect("the end"), None);
    }
}
