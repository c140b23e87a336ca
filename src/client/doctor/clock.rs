//! The clock: whether it can be right, and whether somebody keeps it so.

use std::time::SystemTime;

use super::Patient;
use super::report::Finding;
use crate::auth::jwt;
use crate::collect::clock_synchronised;
use crate::rt::clock;

const FIX: &str = "`sudo timedatectl set-ntp true`, and see that UDP port 123 gets out; without a network, fit a clock \
                   chip (RTC)";

pub fn look(patient: &Patient) -> Vec<Finding> {
    vec![found(clock::wall(), clock_synchronised(&patient.config.root))]
}

fn found(now: SystemTime, synchronised: Option<bool>) -> Finding {
    let shown = humantime::format_rfc3339_seconds(now);
    if now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default() < jwt::EARLIEST {
        let what = format!(
            "the clock says {shown}, which is before this program was made: certificates and tokens cannot be checked"
        );
        return Finding::problem("clock", what, FIX);
    }
    match synchronised {
        Some(true) => Finding::ok("clock", format!("synchronised; it is {shown}")),
        Some(false) => {
            let what = format!("not synchronised: it says {shown}, and nobody vouches for that");
            Finding::note("clock", what, FIX)
        }
        None => Finding::note("clock", format!("it says {shown}; whether it is synchronised cannot be asked here"), ""),
    }
}

#[cfg(test)]
mod tests {
    use super::super::report::Level;
    use super::*;

    #[test]
    fn a_clock_that_has_not_been_set_is_a_problem_and_one_that_drifts_is_worth_knowing() {
        let good = SystemTime::UNIX_EPOCH + jwt::EARLIEST;
        assert_eq!(found(good, Some(true)).level, Level::Ok);
        assert_eq!(found(good, Some(false)).level, Level::Note);
        assert_eq!(found(good, None).level, Level::Note);
        let unset = found(SystemTime::UNIX_EPOCH, Some(true));
        assert_eq!(unset.level, Level::Problem);
        assert!(unset.what.contains("1970-01-01"), "{}", unset.what);
    }
}
