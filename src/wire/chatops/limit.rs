//! How much one message may hold. A whole message is limited by its connection.

/// CPU cores in a sample.
pub const CORES: usize = 1024;
/// Disks in a sample.
pub const DISKS: usize = 128;
/// Network interfaces in a sample; every container may have one.
pub const INTERFACES: usize = 512;
/// Containers in a sample.
pub const CONTAINERS: usize = 512;
/// Published ports of a container.
pub const PORTS: usize = 256;
/// Processes in a sample: ChatOps' own agent sends all there are.
pub const PROCESSES: usize = 32_768;

/// Names, users, words: bytes.
pub const NAME_BYTES: usize = 256;
/// Images, mount points, one-line texts: bytes.
pub const LINE_BYTES: usize = 4096;
/// A log message: bytes. What is longer is cut.
pub const LOG_BYTES: usize = 16 << 10;
/// A command as sent to an agent: bytes.
pub const COMMAND_BYTES: usize = 64 << 10;
/// A command's output, or a container's log: bytes. What is longer is cut.
pub const OUTPUT_BYTES: usize = 1 << 20;
/// Lines of a container's log. Of more, the last.
pub const LOG_LINES: usize = 10_000;
/// A server's own metadata: bytes of JSON.
pub const METADATA_BYTES: usize = 16 << 10;
