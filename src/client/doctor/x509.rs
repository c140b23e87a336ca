//! As much of X.509 as a doctor needs: until when a certificate holds, and for whom. Nothing is verified here.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

/// What a certificate says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    pub not_before: SystemTime,
    pub not_after: SystemTime,
    /// The names and addresses of `subjectAltName`, which are the only ones that count.
    pub names: Vec<String>,
    pub addresses: Vec<IpAddr>,
}

const INTEGER: u8 = 0x02;
const OCTETS: u8 = 0x04;
const OID: u8 = 0x06;
const BOOLEAN: u8 = 0x01;
const SEQUENCE: u8 = 0x30;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const VERSION: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;
const DNS_NAME: u8 = 0x82;
const IP_ADDRESS: u8 = 0x87;

/// 2.5.29.17
const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 0x11];

impl Facts {
    /// Reads a certificate in DER; `None` where it is none.
    pub fn read(der: &[u8]) -> Option<Facts> {
        let mut certificate = Reader(Reader(der).expect(SEQUENCE)?);
        let mut signed = Reader(certificate.expect(SEQUENCE)?);
        let _ = signed.optional(VERSION);
        signed.expect(INTEGER)?;
        let _signature = signed.expect(SEQUENCE)?;
        let _issuer = signed.expect(SEQUENCE)?;
        let mut validity = Reader(signed.expect(SEQUENCE)?);
        let (not_before, not_after) = (validity.time()?, validity.time()?);
        let mut facts = Facts { not_before, not_after, names: Vec::new(), addresses: Vec::new() };
        while let Some((tag, content)) = signed.next() {
            if tag == EXTENSIONS {
                facts.extensions(Reader(content).expect(SEQUENCE)?)?;
            }
        }
        Some(facts)
    }

    fn extensions(&mut self, list: &[u8]) -> Option<()> {
        let mut list = Reader(list);
        while let Some((SEQUENCE, extension)) = list.next() {
            let mut extension = Reader(extension);
            let id = extension.expect(OID)?;
            let _critical = extension.optional(BOOLEAN);
            let value = extension.expect(OCTETS)?;
            if id == SUBJECT_ALT_NAME {
                let mut names = Reader(Reader(value).expect(SEQUENCE)?);
                while let Some((tag, name)) = names.next() {
                    self.name(tag, name);
                }
            }
        }
        Some(())
    }

    fn name(&mut self, tag: u8, name: &[u8]) {
        match tag {
            DNS_NAME => self.names.push(String::from_utf8_lossy(name).to_ascii_lowercase()),
            IP_ADDRESS => {
                let v4 = <[u8; 4]>::try_from(name).map(IpAddr::from);
                let v6 = || <[u8; 16]>::try_from(name).map(IpAddr::from);
                self.addresses.extend(v4.or_else(|_| v6()).ok());
            }
            _ => {}
        }
    }

    /// Whether clients that call the server `name` take this certificate.
    pub fn is_for(&self, name: &str) -> bool {
        if let Ok(address) = name.parse::<IpAddr>() {
            return self.addresses.contains(&address);
        }
        let name = name.to_ascii_lowercase();
        self.names.iter().any(|known| match known.strip_prefix("*.") {
            Some(domain) => name.split_once('.').is_some_and(|(first, rest)| !first.is_empty() && rest == domain),
            None => *known == name,
        })
    }

    /// All it is for, in words.
    pub fn all_names(&self) -> String {
        let addresses = self.addresses.iter().map(ToString::to_string);
        let all: Vec<_> = self.names.iter().cloned().chain(addresses).collect();
        if all.is_empty() { "no name at all (it has no subjectAltName)".to_owned() } else { all.join(", ") }
    }
}

/// Elements of DER, one behind the other.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (tag, rest) = self.0.split_first()?;
        let (first, rest) = rest.split_first()?;
        let (length, rest) = match usize::from(*first) {
            short @ 0..=0x7f => (short, rest),
            // A certificate is shorter than 16 MiB.
            long @ 0x81..=0x83 => {
                let (digits, rest) = rest.split_at_checked(long - 0x80)?;
                (digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit)), rest)
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((*tag, content))
    }

    fn expect(&mut self, wanted: u8) -> Option<&'a [u8]> {
        self.next().filter(|(tag, _)| *tag == wanted).map(|(_, content)| content)
    }

    fn optional(&mut self, wanted: u8) -> Option<&'a [u8]> {
        if self.0.first() == Some(&wanted) { self.expect(wanted) } else { None }
    }

    /// `260302081530Z`, whose years are from 1950 to 2049, or `20500302081530Z`.
    fn time(&mut self) -> Option<SystemTime> {
        let (tag, text) = self.next()?;
        let text = std::str::from_utf8(text).ok()?;
        let (year, rest) = match tag {
            UTC_TIME => {
                let (year, rest) = (number(text.get(..2)?)?, text.get(2..)?);
                (if year < 50 { 2000 + year } else { 1900 + year }, rest)
            }
            GENERALIZED_TIME => (number(text.get(..4)?)?, text.get(4..)?),
            _ => return None,
        };
        let parts = (0..5).map(|at| number(rest.get(2 * at..2 * at + 2)?)).collect::<Option<Vec<_>>>()?;
        let [month, day, hour, minute, second] = <[i64; 5]>::try_from(parts).ok()?;
        if rest.get(10..)? != "Z" || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
            return None;
        }
        let seconds = days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second;
        // A time before 1970 is as good as 1970.
        SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(u64::try_from(seconds).unwrap_or(0)))
    }
}

fn number(digits: &str) -> Option<i64> {
    if digits.bytes().all(|byte| byte.is_ascii_digit()) { digits.parse().ok() } else { None }
}

/// Days since 1970 of a date, by years that begin in March, so that a leap day is a year's last.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    fn element(tag: u8, content: &[u8]) -> Vec<u8> {
        let mut out = vec![tag];
        match content.len() {
            short @ 0..=127 => out.push(short as u8),
            long => out.extend([0x82, (long >> 8) as u8, long as u8]),
        }
        out.extend(content);
        out
    }

    fn certificate() -> Vec<u8> {
        let validity = [element(UTC_TIME, b"260302081530Z"), element(GENERALIZED_TIME, b"20510101000000Z")].concat();
        let names =
            [element(DNS_NAME, b"Hub.example"), element(DNS_NAME, b"*.lan"), element(IP_ADDRESS, &[10, 0, 0, 7])];
        let names = element(OCTETS, &element(SEQUENCE, &names.concat()));
        let alt = [element(OID, SUBJECT_ALT_NAME), element(BOOLEAN, &[0xff]), names].concat();
        let extensions = element(SEQUENCE, &element(SEQUENCE, &alt));
        let signed = [
            element(VERSION, &element(INTEGER, &[2])),
            element(INTEGER, &[1; 20]),
            element(SEQUENCE, &[]),
            element(SEQUENCE, &[]),
            element(SEQUENCE, &validity),
            element(SEQUENCE, &[]),
            element(SEQUENCE, &[0; 90]),
            element(EXTENSIONS, &extensions),
        ];
        element(SEQUENCE, &element(SEQUENCE, &signed.concat()))
    }

    #[test]
    fn times_and_names_are_found() {
        let facts = Facts::read(&certificate()).expect("a certificate");
        let seconds = |at: SystemTime| at.duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_secs();
        assert_eq!((seconds(facts.not_before), seconds(facts.not_after)), (1_772_439_330, 2_556_144_000));
        for good in ["hub.example", "HUB.example", "pi.lan", "10.0.0.7"] {
            assert!(facts.is_for(good), "{good}");
        }
        for other in ["lan", ".lan", "a.b.lan", "example", "10.0.0.8", ""] {
            assert!(!facts.is_for(other), "{other}");
        }
    }

    #[test]
    fn garbage_is_no_certificate_and_no_crash() {
        let good = certificate();
        for cut in 0..good.len() {
            let _ = Facts::read(&good[..cut]);
        }
        for at in 0..good.len() {
            for value in [0, 0x7f, 0x80, 0x83, 0x84, 0xff] {
                let mut bad = good.clone();
                bad[at] = value;
                let _ = Facts::read(&bad);
            }
        }
        assert_eq!(Facts::read(b"-----BEGIN"), None);
        assert_eq!(Facts::read(&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff]), None);
    }
}
