//! Bodies of REST, both ways.

use std::time::{Duration, SystemTime};

use super::super::write::written;
use super::*;
use crate::types::fleet::{
    AlertKind, ApiKey, Comparison, Health, LogLevel, Point, Sample, Secret, Server, ServerStatus, Threshold, User,
};

const AT: SystemTime = SystemTime::UNIX_EPOCH;
const ID: &str = "0c9b1a52-0000-4000-8000-000000000001";

fn invalid<T: std::fmt::Debug>(result: Result<T, Invalid>) -> String {
    let invalid = result.expect_err("invalid");
    let text = written(|out| invalid.write(out));
    serde_json::from_str::<serde_json::Value>(&text).expect("JSON");
    text
}

#[test]
fn models_have_their_members_in_order() {
    let owner = User {
        role: crate::types::fleet::Role::Admin,
        id: ID.into(),
        email: "a@b.c".into(),
        username: "ann".into(),
        full_name: None,
        is_active: true,
        created_at: AT,
    };
    let user_text = format!(
        r#"{{"email":"a@b.c","username":"ann","full_name":null,"id":"{ID}","is_active":true,"created_at":"1970-01-01T00:00:00Z","role":"admin"}}"#
    );
    let life = Duration::from_secs(1800);
    assert_eq!(
        written(|out| token(out, "A", "R", life, &owner)),
        format!(
            r#"{{"access_token":"A","refresh_token":"R","token_type":"bearer","expires_in":1800,"user":{user_text}}}"#
        )
    );
    assert_eq!(
        written(|out| access_token(out, "A", life)),
        r#"{"access_token":"A","token_type":"bearer","expires_in":1800}"#
    );
    let pi = Server {
        owner: None,
        id: ID.into(),
        name: "pi".into(),
        host: None,
        port: Some(22),
        metadata: None,
        status: ServerStatus::Unknown,
        health: Health::Healthy,
        last_seen: None,
        created_at: AT,
        updated_at: AT,
    };
    assert_eq!(
        written(|out| servers(out, &[pi])),
        format!(
            r#"[{{"name":"pi","host":null,"port":22,"metadata":{{}},"id":"{ID}","status":"unknown","health_status":"healthy","last_seen":null,"created_at":"1970-01-01T00:00:00Z","updated_at":"1970-01-01T00:00:00Z"}}]"#
        )
    );
    let key = ApiKey {
        id: "k".into(),
        server_id: "s".into(),
        name: Some("n".into()),
        is_active: true,
        expires_at: None,
        last_used: None,
        created_at: AT,
    };
    assert_eq!(written(|out| key_info(out, &key)), r#"{"server_id":"s","key_id":"k","name":"n","is_active":true}"#);
    assert_eq!(
        written(|out| api_key(out, &key, Some("secret"))),
        r#"{"name":"n","expires_at":null,"id":"k","server_id":"s","key":"secret","is_active":true,"last_used":null,"created_at":"1970-01-01T00:00:00Z"}"#
    );
    assert!(!written(|out| api_keys(out, std::slice::from_ref(&key))).contains("\"key\""));
    let high = Threshold {
        id: "t".into(),
        server_id: "s".into(),
        metric: AlertKind::Disk,
        value: 80.0,
        comparison: Comparison::Above,
        enabled: true,
        duration: Duration::from_secs(60),
        hysteresis: 5.0,
        created_at: AT,
        updated_at: AT,
    };
    assert_eq!(
        written(|out| threshold(out, &high)),
        r#"{"server_id":"s","metric_type":"disk","threshold_value":80.0,"comparison":"gt","enabled":true,"for_seconds":60,"hysteresis":5.0,"id":"t","created_at":"1970-01-01T00:00:00Z","updated_at":"1970-01-01T00:00:00Z"}"#
    );
}

#[test]
fn other_answers_are_those_of_chatops_and_its_documentation() {
    let reply =
        CommandReply { command_id: "u", command: "ls", output: "no", exit_code: 2, duration_ms: 7, truncated: false };
    assert_eq!(
        written(|out| command_reply(out, &reply)),
        r#"{"success":false,"output":"no","error":"no","exit_code":2,"command_id":"u","command":"ls","duration_ms":7}"#
    );
    let reply = CommandReply { exit_code: 0, truncated: true, ..reply };
    assert_eq!(
        written(|out| command_reply(out, &reply)),
        r#"{"success":true,"output":"no","error":null,"exit_code":0,"command_id":"u","command":"ls","duration_ms":7,"truncated":true}"#
    );
    assert_eq!(written(|out| detail(out, "Not Found")), r#"{"detail":"Not Found"}"#);
    assert_eq!(written(|out| denied(out, "No")), r#"{"detail":"No","denied":true}"#);
    assert_eq!(written(|out| status(out, "ok", "Metrics received")), r#"{"status":"ok","message":"Metrics received"}"#);
    assert_eq!(written(|out| containers(out, None)), "[]");
    assert_eq!(written(|out| container_logs(out, &["a\n".into()])), r#"["a\n"]"#);
    let empty = Sample::default();
    assert_eq!(written(|out| flat_metrics(out, "s", &empty)), r#"{"server_id":"s","disk_usage":[],"network":[]}"#);
    assert!(written(|out| latest(out, "s", &empty)).contains(r#""containers":[]"#));
    let point = Point {
        at: AT,
        samples: 12,
        cpu_percent: Some(1.5),
        memory_percent: None,
        disk_percent: None,
        temperature_celsius: None,
        load_1m: None,
        bytes_sent: Some(1),
        bytes_received: None,
    };
    assert_eq!(
        written(|out| history(out, &[point])),
        r#"[{"timestamp":"1970-01-01T00:00:00Z","samples":12,"cpu_percent":1.5,"memory_percent":null,"disk_percent":null,"temperature_celsius":null,"load_1m":null,"bytes_sent":1,"bytes_recv":null}]"#
    );
}

#[test]
fn good_bodies_become_typed_requests() {
    let body = br#"{"email":"a@b.c","username":"ann","password":"12345678","password_confirm":"12345678"}"#;
    let wanted = register(body).expect("valid");
    assert_eq!((wanted.email.as_str(), wanted.password), ("a@b.c", Secret("12345678".into())));
    let login = Login { name: "a@b.c".into(), password: Secret("p w".into()) };
    assert_eq!(login_form(b"grant_type=password&username=a%40b.c&password=p+w"), Ok(login.clone()));
    assert_eq!(login_json(br#"{"email":"a@b.c","password":"p w"}"#), Ok(login));
    assert_eq!(profile(br#"{"full_name":null}"#), Ok(Some(None)));
    assert_eq!(profile(br#"{"email":"x"}"#), Ok(None));
    let change = server_change(br#"{"host":null,"port":80,"metadata":{"a":[1]}}"#).expect("valid");
    assert_eq!((change.name, change.host, change.port), (None, Some(None), Some(Some(80))));
    assert_eq!(change.metadata, Some(Some(r#"{"a":[1]}"#.into())));
    let body = format!(r#"{{"server_id":"{ID}","metric_type":"cpu","threshold_value":80,"comparison":"gt"}}"#);
    let threshold = new_threshold(body.as_bytes()).expect("valid");
    assert_eq!((threshold.value, threshold.enabled, threshold.duration), (80.0, true, Duration::ZERO));
    let body = format!(r#"{{"server_id":"{}","expires_at":"1970-01-01T01:00:00+01:00"}}"#, ID.to_uppercase());
    assert_eq!(new_key(body.as_bytes()).map(|key| (key.server_id, key.expires_at)), Ok((ID.into(), Some(AT))));
    let (server_id, sample) = metrics(br#"{"server_id":"s","cpu":{"usage_percent":1}}"#).expect("valid");
    assert_eq!((server_id.as_deref(), sample.cpu.percent), (Some("s"), Some(1.0)));
    let longest = std::time::Duration::from_secs(600);
    assert_eq!(command(br#"{"command":"ls"}"#, longest).map(|command| command.timeout), Ok(None));
    let long = command(br#"{"command":"ls","timeout":601}"#, longest);
    assert!(invalid(long).contains(r#""loc":["body","timeout"]"#));
}

#[test]
fn faults_are_all_named_and_no_password_comes_back() {
    assert_eq!(
        invalid(new_server(b"{}")),
        r#"{"detail":[{"type":"missing","loc":["body","name"],"msg":"Field required","input":null}]}"#
    );
    assert_eq!(
        invalid(new_server(br#"{"name":7,"port":0}"#)),
        r#"{"detail":[{"type":"string_type","loc":["body","name"],"msg":"Input should be a valid string","input":7},{"type":"greater_than_equal","loc":["body","port"],"msg":"Input should be greater than or equal to 1","input":0,"ctx":{"ge":1}}]}"#
    );
    let text =
        invalid(register(br#"{"email":"ann","username":"ann","password":"hunter2","password_confirm":"hunter3"}"#));
    assert!(
        text.contains(r#""type":"string_too_short","loc":["body","password"]"#) && !text.contains("hunter"),
        "{text}"
    );
    assert!(text.contains(r#""msg":"value is not a valid email address"#), "{text}");
    let text = invalid(threshold_change(br#"{"comparison":"ge","threshold_value":"x","enabled":1,"hysteresis":-1}"#));
    for part in [
        r#""msg":"Input should be 'gt' or 'lt'","input":"ge","ctx":{"expected":"'gt' or 'lt'"}"#,
        r#""type":"float_type","loc":["body","threshold_value"]"#,
        r#""type":"bool_type","loc":["body","enabled"]"#,
        r#""type":"value_error","loc":["body","hysteresis"]"#,
    ] {
        assert!(text.contains(part), "{text}");
    }
    assert!(invalid(metrics(br#"{"disks":[{"total":1}]}"#)).contains(r#""loc":["body","disks[0]","path"]"#));
    for (body, kind) in [
        ("", "missing"),
        ("null", "missing"),
        ("{", "json_invalid"),
        (r#"{"name":NaN}"#, "json_invalid"),
        ("[]", "model_attributes_type"),
        (r#"{"name":"\ud800"}"#, "string_type"),
    ] {
        assert!(invalid(new_server(body.as_bytes())).contains(&format!(r#""type":"{kind}""#)), "{body}");
    }
    for metadata in [format!("{{\"a\":{}{}}}", "[".repeat(1000), "]".repeat(1000)), r#"{"a":"\ud800"}"#.to_owned()] {
        let text = invalid(new_server(format!(r#"{{"name":"x","metadata":{metadata}}}"#).as_bytes()));
        assert!(text.contains("must be text and not nested too deep"), "{text}");
    }
    let deep = format!(r#"{{"name":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
    assert!(invalid(new_server(deep.as_bytes())).contains("string_type"));
    assert!(invalid(login_form(b"username=x")).contains(r#"["body","password"]"#));
}

#[test]
fn queries_have_defaults_and_limits() {
    assert_eq!(Query("").page(), Ok(Page { skip: 0, limit: 100 }));
    let far = Query("skip=4294967296").page().expect("valid");
    assert!(far.skip >= u32::MAX as usize, "{far:?}, also where addresses have 32 bits");
    let logs = Query("level=INFO&limit=5&component=a%20b").logs().expect("valid");
    assert_eq!((logs.limit, logs.level, logs.component.as_deref()), (5, Some(LogLevel::Info), Some("a b")));
    let history = Query("start=1970-01-01T00:00:00Z&end_time=1970-01-01T02:00:00+02:00").history().expect("valid");
    assert_eq!((history.start, history.end), (Some(AT), Some(AT)));
    assert_eq!(Query("status=active").alerts().map(|alerts| alerts.resolved), Ok(Some(false)));
    assert_eq!(
        invalid(Query("limit=1001").logs()),
        r#"{"detail":[{"type":"less_than_equal","loc":["query","limit"],"msg":"Input should be less than or equal to 1000","input":"1001","ctx":{"le":1000}}]}"#
    );
    assert!(invalid(Query("limit=99999999999999999999999999999999999999999").page()).contains("int_parsing"));
    assert!(invalid(path_id("server_id", "7")).contains(r#""loc":["path","server_id"]"#));
    assert_eq!(path_id("server_id", ID), Ok(ID.into()));
    assert_eq!(Query("since=7").events(), Ok((7, 100)));
}
