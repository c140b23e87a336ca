//! Samples in each form, as the documentation and ChatOps' agent write them.

use super::super::write::{Object, written};
use super::*;
use crate::types::fleet::{Process, Sample};

/// What ChatOps' agent sends.
pub const REAL: &str = r#"{"server_id":"0c9b","timestamp":"2026-03-02T08:15:30Z","cpu":{"usage_percent":12.5,"cores":4,"frequency_mhz":1500},"memory":{"total_gb":3.7,"used_gb":1.1,"available_gb":2.4,"usage_percent":30.2},"disk":{"total_gb":29.1,"used_gb":8.0,"available_gb":19.6,"usage_percent":29.0},"network":{"bytes_sent":1200,"bytes_recv":3400,"packets_sent":10,"packets_recv":20},"containers":[{"id":"0123456789ab","name":"web","image":"nginx:1","status":"Up 2 hours","state":"running","created":"2026-03-02T06:00:00Z","ports":[{"private_port":80,"public_port":8080,"type":"tcp"}]}],"processes":[{"pid":1,"name":"systemd","cpu":0.1,"memory":11.9,"status":"sleep","user":"root"}]}"#;

/// What the documentation shows, with its arrays filled as its REST page does.
const FLAT: &str = r#"{"server_id":"uuid","cpu_percent":45.2,"memory_percent":62.5,"disk_usage":[{"path":"/","total":1000,"used":400,"free":600,"percent":40.0}],"network":[{"interface":"eth0","bytes_sent":1,"bytes_recv":2}],"timestamp":"2024-01-01T00:00:00Z"}"#;

/// What neither has.
const BESIDE: &str = r#"{"cpu":{"cores":2,"per_core_percent":[1.0,2.5]},"memory":{"usage_percent":5.0},"disk":{"total_gb":1.0},"network":{"bytes_sent":5},"swap":{"total_gb":1.0},"load":[0.1,0.2,0.3],"temperature_celsius":48.5,"throttled":327680,"uptime_seconds":93784.5,"clock_synchronised":false,"disks":[{"path":"/boot","total":5},{"path":"/","total":1073741824}],"interfaces":[{"interface":"wlan0","bytes_sent":5,"sent_bytes_per_second":1.5}],"containers":null,"processes":null}"#;

fn read(text: &str) -> Sample {
    sample(text).expect(text)
}

fn nested_text(sample: &Sample, absent: Absent) -> String {
    written(|out| nested(out, None, sample, absent))
}

#[test]
fn what_the_real_agent_sends_comes_out_as_it_went_in() {
    let sample = read(REAL);
    assert_eq!(sample.cpu.percent, Some(12.5));
    assert_eq!(sample.main_disk().and_then(|disk| disk.space.total), Some(31_245_887_078));
    let out = written(|out| nested(out, Some("0c9b"), &sample, Absent::EmptyList));
    assert_eq!(
        out.replacen(
            r#","disks":[{"path":"/","total":31245887078,"used":8589934592,"free":21045339750,"percent":29.0}]"#,
            "",
            1
        ),
        REAL
    );
    assert_eq!(read(&out), sample, "and once more");
    assert_eq!(read(&REAL.replace("30Z", "30+00:00")), sample);
}

#[test]
fn the_documented_form_comes_out_as_it_went_in() {
    let sample = read(FLAT);
    assert_eq!(sample.interfaces.as_ref().map(Vec::len), Some(1));
    assert_eq!(sample.traffic().bytes_received, Some(2));
    assert_eq!(sample.memory.total, None);
    let flat = |sample: &Sample| {
        written(|out| flat_members(Object::open(out), Some("uuid"), sample, Absent::EmptyList).close())
    };
    assert_eq!(flat(&sample), FLAT);
    // What the real agent sends keeps everything in the flat form too, but for the names of the interfaces.
    let real = read(REAL);
    let again = read(&flat(&real));
    assert_eq!((&again.cpu, &again.memory, &again.disks), (&real.cpu, &real.memory, &real.disks));
    assert_eq!((&again.containers, &again.processes), (&real.containers, &real.processes));
    assert_eq!(again.traffic(), real.traffic());
}

#[test]
fn browsers_get_both_forms_in_one_object() {
    let out = written(|out| merged(out, "uuid", &read(FLAT)));
    assert_eq!(
        out,
        r#"{"cpu_percent":45.2,"memory_percent":62.5,"disk_usage":[{"path":"/","total":1000,"used":400,"free":600,"percent":40.0}],"server_id":"uuid","timestamp":"2024-01-01T00:00:00Z","cpu":{"usage_percent":45.2},"memory":{"usage_percent":62.5},"disk":{"total_gb":1e-6,"used_gb":0.0,"available_gb":1e-6,"usage_percent":40.0},"network":{"bytes_sent":1,"bytes_recv":2},"interfaces":[{"interface":"eth0","bytes_sent":1,"bytes_recv":2}],"containers":[],"processes":[]}"#
            .replace("1e-6", "0.000001")
            .replace("0.000001", &written(|out| super::super::write::float(out, 1e-6)))
    );
}

#[test]
fn what_is_missing_stays_missing() {
    let empty = read("{}");
    assert_eq!(empty, Sample::default());
    assert_eq!(read(r#"{"cpu":null,"disk":{},"network":null,"containers":null,"load":null}"#), empty);
    let null = r#"{"cpu":{},"memory":{},"disk":{},"network":{},"containers":null,"processes":null}"#;
    assert_eq!(nested_text(&empty, Absent::Null), null);
    assert_eq!(nested_text(&empty, Absent::EmptyList), null.replace("null", "[]"));
    let flat = written(|out| flat_members(Object::open(out), None, &empty, Absent::EmptyList).close());
    assert_eq!(flat, r#"{"disk_usage":[],"network":[]}"#);
    // A clock that makes no sense is no reason to lose the sample.
    assert_eq!(read(r#"{"timestamp":"yesterday"}"#), empty);
    assert_eq!(read(r#"{"timestamp":17}"#), empty);
    // No number that JSON cannot say is written.
    let nan = Sample { temperature_celsius: Some(f64::NAN), load: Some([f64::INFINITY; 3]), ..Sample::default() };
    assert!(nested_text(&nan, Absent::Null).contains(r#""load":[null,null,null]"#));
}

#[test]
fn what_chatops_does_not_have_stands_beside_and_round_trips() {
    let sample = read(BESIDE);
    assert_eq!(sample.main_disk().and_then(|disk| disk.space.total), Some(1 << 30));
    assert_eq!(sample.throttle.map(|throttle| throttle.bits), Some(0x50000));
    assert_eq!(read(&nested_text(&sample, Absent::Null)), sample);
    let flat = read(&written(|out| flat_members(Object::open(out), None, &sample, Absent::EmptyList).close()));
    assert_eq!(flat.traffic(), sample.traffic());
    assert_eq!(Sample { traffic: sample.traffic, ..flat }, sample);
}

#[test]
fn what_makes_no_sense_is_named() {
    let table = [
        ("[]", "the message must be a JSON object"),
        (r#"{"cpu":[]}"#, "'cpu' must be an object"),
        (r#"{"cpu":{"usage_percent":"12"}}"#, "'cpu.usage_percent' must be a number"),
        (r#"{"cpu":{"usage_percent":1e999}}"#, "'cpu.usage_percent' must be from 0 to 101"),
        (r#"{"cpu_percent":-1}"#, "'cpu_percent' must be from 0 to 101"),
        (r#"{"cpu":{"cores":2.5}}"#, "'cpu.cores' must be a whole number from 0 to 1024"),
        (r#"{"cpu_percent":NaN}"#, "the message must be a JSON object"),
        (r#"{"disk_usage":{}}"#, "'disk_usage' must be an array"),
        (r#"{"disk_usage":[{"path":"/"},{"total":1}]}"#, "'disk_usage[1].path' is missing"),
        (r#"{"disks":[{"path":"/","total":-5}]}"#, "'disks[0].total' must be from 0 to 9007199254740992"),
        (r#"{"network":"eth0"}"#, "'network' must be an object"),
        (r#"{"network":[[]]}"#, "'network[0]' must be an object"),
        (r#"{"clock_synchronised":1}"#, "'clock_synchronised' must be true or false"),
        (r#"{"uptime_seconds":-1}"#, "'uptime_seconds' must be from 0 to 1000000000000"),
        (r#"{"load":[1,2]}"#, "'load' must be three numbers: over 1, 5 and 15 minutes"),
        (r#"{"load":[1,2,3,4]}"#, "'load' has more than 3 elements"),
        (r#"{"load":[1,"x",3]}"#, "'load[1]' must be a number"),
        (r#"{"processes":[{"pid":-1}]}"#, "'processes[0].pid' must be a whole number from 0 to 4294967295"),
        (
            r#"{"containers":[{"id":"a","ports":[{"private_port":65536}]}]}"#,
            "'containers[0].ports[0].private_port' must be a whole number from 0 to 65535",
        ),
    ];
    for (text, expected) in table {
        assert_eq!(sample(text).expect_err(text).to_string(), expected, "{text}");
    }
}

#[test]
fn huge_and_deep_messages_are_refused_with_their_limit_or_passed_over() {
    let many = |name: &str, item: &str, count: usize| format!(r#"{{"{name}":[{}]}}"#, vec![item; count].join(","));
    for (name, item, limit) in [
        ("disks", r#"{"path":"/"}"#, 128),
        ("network", r#"{"interface":"x"}"#, 512),
        ("containers", r#"{"id":"x"}"#, 512),
        ("processes", r#"{"pid":1}"#, 32_768),
    ] {
        assert!(sample(&many(name, item, limit)).is_ok(), "{name}");
        let fault = sample(&many(name, item, limit + 1)).expect_err("too many").to_string();
        assert_eq!(fault, format!("'{name}' has more than {limit} elements"));
    }
    let long = format!(r#"{{"disks":[{{"path":"{}"}}]}}"#, "x".repeat(5000));
    assert_eq!(sample(&long).expect_err("long").to_string(), "'disks[0].path' has more than 4096 bytes");
    let deep = format!("{}{}", "[".repeat(200_000), "]".repeat(200_000));
    assert_eq!(sample(&format!(r#"{{"unknown":{deep}}}"#)), Ok(Sample::default()));
    assert!(sample(&format!(r#"{{"load":{deep}}}"#)).is_err());
    assert!(sample(&deep).is_err());
}

#[test]
fn a_page_is_told_the_busiest_of_thousands_of_processes() {
    let process = |pid: u32| Process {
        pid,
        cpu_percent: (pid < 1000).then(|| f64::from(pid)),
        memory_mib: Some(f64::from(pid)),
        ..Process::default()
    };
    let sample = Sample { processes: Some((0..5000).map(process).collect()), ..Sample::default() };
    let text = written(|out| merged(out, "s", &sample));
    let value: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let pids: Vec<u64> =
        value["processes"].as_array().expect("a list").iter().filter_map(|p| p["pid"].as_u64()).collect();
    let expected: Vec<u64> = (900..1000).rev().chain((4900..5000).rev()).collect();
    assert_eq!(pids, expected);
}
