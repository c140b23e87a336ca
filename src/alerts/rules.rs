//! What a sample says of a threshold and of the built-in limits, and in which words. Pure.

use std::time::Duration;

use super::watch::Says;
use crate::types::fleet::{AlertKind, Comparison, Disk, Sample, Severity, Threshold};

/// How far a disk has to be emptied below a built-in limit before its alert is resolved, in percent.
const DISK_HYSTERESIS: f64 = 1.0;

/// The value a threshold on this metric looks at: percent, and for the network bytes per second.
pub fn value(metric: AlertKind, sample: &Sample, network: Option<f64>) -> Option<f64> {
    let value = match metric {
        AlertKind::Cpu => sample.cpu.percent,
        AlertKind::Memory => sample.memory.percent(),
        AlertKind::Disk => sample.main_disk().and_then(|disk| disk.space.percent()),
        AlertKind::Network => network,
        // Samples say nothing of services; no threshold is taken for them.
        AlertKind::Service => None,
    };
    value.filter(|value| value.is_finite())
}

/// What `value` says of a threshold. The comparison is strict.
pub fn says(threshold: &Threshold, value: f64) -> Says {
    let Threshold { value: limit, hysteresis, .. } = *threshold;
    match threshold.comparison {
        Comparison::Above if value > limit => Says::Holds,
        Comparison::Below if value < limit => Says::Holds,
        Comparison::Above if value <= limit - hysteresis => Says::Gone,
        Comparison::Below if value >= limit + hysteresis => Says::Gone,
        _ => Says::Between,
    }
}

/// ChatOps' rule. It is applied when the alert is raised, and not again.
pub fn severity(threshold: &Threshold, value: f64) -> Severity {
    let critical = match threshold.comparison {
        Comparison::Above => value > threshold.value * 1.5,
        Comparison::Below => value < threshold.value * 0.5,
    };
    if critical { Severity::Critical } else { Severity::Warning }
}

/// ChatOps' text.
pub fn message(threshold: &Threshold, value: f64) -> String {
    let metric = threshold.metric.as_str().to_ascii_uppercase();
    let sign = match threshold.comparison {
        Comparison::Above => '>',
        Comparison::Below => '<',
    };
    let unit = if threshold.metric == AlertKind::Network { " bytes/s" } else { "%" };
    format!("{metric} usage is {value:.1}{unit}, which exceeds threshold of {sign} {:?}{unit}", threshold.value)
}

/// Bytes per second over all interfaces but the loopback, both directions, where the agent says rates.
pub fn rate(sample: &Sample) -> Option<f64> {
    let interfaces = sample.interfaces.as_deref()?.iter().filter(|interface| interface.name != "lo");
    let rates = interfaces.filter_map(|interface| Some(interface.sent_rate? + interface.received_rate?));
    rates.reduce(|sum, rate| sum + rate)
}

/// Bytes sent and received since boot, for agents that say no rates: the difference between two samples is one.
pub fn bytes(sample: &Sample) -> Option<u64> {
    let traffic = sample.traffic();
    Some(traffic.bytes_sent?.saturating_add(traffic.bytes_received?))
}

/// The rate between two readings of [`bytes`]; none where the counters began anew.
pub fn rate_between(before: u64, after: u64, time: Duration) -> Option<f64> {
    let seconds = time.as_secs_f64();
    let bytes = after.checked_sub(before)?;
    (seconds > 0.0).then(|| bytes as f64 / seconds)
}

/// What a disk says of the built-in limits `[warning, critical]`: of the warning it is gone while it is critical, so
/// that there is one alert of a disk at a time.
pub fn disk_says(percent: f64, limits: [f64; 2], was_critical: bool) -> [Says; 2] {
    let [warning, critical] = limits.map(|limit| match percent {
        percent if percent > limit => Says::Holds,
        percent if percent <= limit - DISK_HYSTERESIS => Says::Gone,
        _ => Says::Between,
    });
    let is_critical = critical == Says::Holds || (critical == Says::Between && was_critical);
    [if is_critical { Says::Gone } else { warning }, critical]
}

/// The percentage of a disk that can be full: images such as snaps' always are.
pub fn fullness(disk: &Disk) -> Option<f64> {
    let is_image = disk.path.starts_with("/snap/") || disk.space.total == Some(0);
    disk.space.percent().filter(|percent| percent.is_finite() && !is_image)
}

pub fn disk_message(path: &str, percent: f64, limit: f64) -> String {
    let path: String = path.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
    format!("Disk {path} is {percent:.1}% full, which exceeds threshold of > {limit:?}%")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::fleet::{Interface, Space, Traffic};

    fn threshold(comparison: Comparison, value: f64, hysteresis: f64) -> Threshold {
        let at = std::time::SystemTime::UNIX_EPOCH;
        Threshold {
            id: "t".into(),
            server_id: "s".into(),
            metric: AlertKind::Cpu,
            value,
            comparison,
            enabled: true,
            duration: Duration::ZERO,
            hysteresis,
            created_at: at,
            updated_at: at,
        }
    }

    #[test]
    fn comparisons_are_strict_and_come_back_beyond_the_hysteresis() {
        let high = threshold(Comparison::Above, 80.0, 5.0);
        let cases = [(80.1, Says::Holds), (80.0, Says::Between), (75.1, Says::Between), (75.0, Says::Gone)];
        for (value, expected) in cases {
            assert_eq!(says(&high, value), expected, "{value}");
        }
        let low = threshold(Comparison::Below, 20.0, 0.0);
        for (value, expected) in [(19.9, Says::Holds), (20.0, Says::Gone), (f64::NAN, Says::Between)] {
            assert_eq!(says(&low, value), expected, "{value}");
        }
    }

    #[test]
    fn severities_and_texts_are_those_of_chatops() {
        let high = threshold(Comparison::Above, 60.0, 0.0);
        assert_eq!((severity(&high, 90.0), severity(&high, 90.1)), (Severity::Warning, Severity::Critical));
        let low = threshold(Comparison::Below, 20.0, 0.0);
        assert_eq!((severity(&low, 10.0), severity(&low, 9.9)), (Severity::Warning, Severity::Critical));
        let high = threshold(Comparison::Above, 80.0, 0.0);
        assert_eq!(message(&high, 85.0), "CPU usage is 85.0%, which exceeds threshold of > 80.0%");
        let memory = Threshold { metric: AlertKind::Memory, value: 12.25, ..low };
        assert_eq!(message(&memory, 3.12), "MEMORY usage is 3.1%, which exceeds threshold of < 12.25%");
        let network = Threshold { metric: AlertKind::Network, value: 1e6, ..high };
        let text = "NETWORK usage is 1500000.0 bytes/s, which exceeds threshold of > 1000000.0 bytes/s";
        assert_eq!(message(&network, 1.5e6), text);
    }

    #[test]
    fn a_disk_has_one_alert_at_a_time() {
        use Says::{Between, Gone, Holds};
        let limits = [90.0, 97.0];
        for (percent, was_critical, expected) in [
            (90.0, false, [Between, Gone]),
            (90.5, false, [Holds, Gone]),
            (97.5, false, [Gone, Holds]),
            (96.5, true, [Gone, Between]),
            (96.5, false, [Holds, Between]),
            (95.0, true, [Holds, Gone]),
            (88.0, true, [Gone, Gone]),
        ] {
            assert_eq!(disk_says(percent, limits, was_critical), expected, "{percent} {was_critical}");
        }
        let disk = |path: &str, total: u64| Disk {
            path: path.into(),
            space: Space { total: Some(total), percent: Some(100.0), ..Space::default() },
        };
        assert_eq!(fullness(&disk("/snap/core/1", 1)), None);
        assert_eq!(fullness(&disk("/", 0)), None);
        assert_eq!(fullness(&disk("/", 1)), Some(100.0));
    }

    #[test]
    fn network_rates_are_those_of_the_agent_or_counted() {
        let interface = |name: &str, sent: Option<f64>| Interface {
            name: name.into(),
            traffic: Traffic::default(),
            sent_rate: sent,
            received_rate: Some(1.0),
        };
        let mut sample = Sample::default();
        assert_eq!((rate(&sample), bytes(&sample)), (None, None));
        sample.interfaces = Some(vec![interface("lo", Some(99.0)), interface("eth0", Some(2.0)), interface("x", None)]);
        assert_eq!(rate(&sample), Some(3.0));
        sample.traffic = Traffic { bytes_sent: Some(1), bytes_received: Some(2), ..Traffic::default() };
        assert_eq!(bytes(&sample), Some(3));
        assert_eq!(rate_between(3, 13, Duration::from_secs(5)), Some(2.0));
        assert_eq!(rate_between(13, 3, Duration::from_secs(5)), None);
        assert_eq!(rate_between(3, 13, Duration::ZERO), None);
    }
}
