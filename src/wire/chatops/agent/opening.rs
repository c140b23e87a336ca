//! How an agent begins: with its key, perhaps after it has asked the hub to prove that it knows that key.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::super::read::{Fault, Field, Read, fields, text, utf8};
use super::super::{NoAuth, limit};
use crate::types::fleet::{AgentInfo, NodeFacts, Protocol, Secret};

/// Random bytes an agent sends for the hub's proof.
pub const NONCE_BYTES: usize = 32;

/// Streams an agent may name: one per run whose records it still has.
const STREAMS: usize = 64;

/// The first messages of a socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opening {
    Hello(Hello),
    Auth(Box<Auth>),
}

/// Asks the hub to prove that it knows this key, before the key is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    pub key_id: String,
    pub nonce: [u8; NONCE_BYTES],
}

/// What an agent authenticates itself with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Auth {
    pub api_key: Secret,
    /// Which form of the protocol it wants to be spoken to.
    pub protocol: Option<Protocol>,
    pub info: AgentInfo,
}

/// Texts of the Close frame (code 1008) of a socket that does not begin with an authentication.
const AUTH_REQUIRED: &str = "Authentication required: send {'type': 'auth', 'api_key': '...'} as first message";

/// The reason for the Close frame; the error frame before it says the same.
pub fn auth_reason(refusal: &NoAuth) -> String {
    refusal.reason(AUTH_REQUIRED)
}

/// Reads a message before the authentication.
///
/// # Errors
/// Why it is no authentication; [`auth_reason`] has the words.
pub fn first(message: &[u8]) -> Result<Opening, NoAuth> {
    opening(message).map_err(|fault| NoAuth::Failed(fault.to_string()))?.ok_or(NoAuth::Required)
}

fn opening(message: &[u8]) -> Read<Option<Opening>> {
    let text = utf8(message)?;
    let [kind, api_key, protocol, agent] = fields(text, ["type", "api_key", "protocol", "agent"])?;
    match kind.any_text()?.as_deref() {
        Some("hello") => Ok(Some(Opening::Hello(hello(text)?))),
        Some("auth") => {
            let Some(api_key) = api_key.text(limit::NAME_BYTES)?.filter(|key| !key.is_empty()) else { return Ok(None) };
            let protocol = protocol.word(Protocol::WORDS, Protocol::from_word)?;
            let info = agent.object(info)?.unwrap_or_default();
            Ok(Some(Opening::Auth(Box::new(Auth { api_key: Secret(api_key), protocol, info }))))
        }
        _ => Ok(None),
    }
}

fn hello(text: &str) -> Read<Hello> {
    let [key_id, nonce] = fields(text, ["key_id", "nonce"])?;
    let bytes = nonce.required(nonce.text(limit::NAME_BYTES)?)?;
    let bytes = URL_SAFE_NO_PAD.decode(bytes.trim_end_matches('=')).ok().and_then(|bytes| bytes.try_into().ok());
    let nonce = bytes.ok_or_else(|| nonce.fault(format!("must be {NONCE_BYTES} bytes in base64url")))?;
    Ok(Hello { key_id: key_id.required(key_id.text(limit::NAME_BYTES)?)?, nonce })
}

fn info(text: &str) -> Read<AgentInfo> {
    let names = ["name", "version", "boot_id", "monotonic_ns", "cluster", "streams", "node"];
    let [name, version, boot_id, monotonic_ns, cluster, streams, node] = fields(text, names)?;
    Ok(AgentInfo {
        name: line(name)?,
        version: line(version)?,
        boot_id: line(boot_id)?,
        monotonic_ns: monotonic_ns.count()?,
        cluster: line(cluster)?,
        streams: streams.list(STREAMS, stream)?.unwrap_or_default(),
        node: node.object(facts)?,
    })
}

fn stream(value: &serde_json::value::RawValue) -> Read<Arc<str>> {
    let name = text(value)?;
    if name.len() > limit::NAME_BYTES {
        return Err(Fault::new("", format!("has more than {} bytes", limit::NAME_BYTES)));
    }
    Ok(name.into())
}

fn facts(text: &str) -> Read<NodeFacts> {
    let names = ["ip_address", "mac_address", "architecture", "model", "serial_number", "os_version", "kernel_version"];
    let [ip_address, mac_address, architecture, model, serial_number, os_version, kernel_version] =
        fields(text, names)?;
    let [cpu_cores, memory] = fields(text, ["cpu_cores", "memory"])?;
    Ok(NodeFacts {
        ip_address: line(ip_address)?,
        mac_address: line(mac_address)?,
        architecture: line(architecture)?,
        model: line(model)?,
        serial_number: line(serial_number)?,
        cpu_cores: cpu_cores.whole(1, limit::CORES as i64)?.map(|cores| cores as u32),
        memory: memory.count()?,
        os_version: line(os_version)?,
        kernel_version: line(kernel_version)?,
    })
}

/// A name or the like: not empty, and without control characters, so that it can stand in a log.
fn line(field: Field) -> Read<Option<String>> {
    let line = field.text(limit::NAME_BYTES)?.filter(|line| !line.is_empty());
    match line {
        Some(line) if line.chars().any(char::is_control) => Err(field.fault("has control characters in it")),
        line => Ok(line),
    }
}
