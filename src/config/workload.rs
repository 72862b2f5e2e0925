//! `[workload]`, `[inbound]`, `[outbound]`, `[limits]`, `[runtime]`, `[admin]` and `[log]`: this
//! sidecar and the pod around it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::config::UpstreamProtocol;
use crate::model::{LaneName, ServiceName};

/// `[workload]`: who we sit beside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workload {
    /// The service our application is a copy of.
    pub service: ServiceName,
    /// Where our application takes requests. None: at the port the caller meant, on loopback,
    /// known where connections are redirected to us.
    pub address: Option<SocketAddr>,
    /// What our application speaks. `auto` is HTTP/2 for what came as HTTP/2, HTTP/1.1 for what
    /// came as HTTP/1.1.
    pub protocol: UpstreamProtocol,
    /// The lane our application is a sandbox of; none is the baseline.
    pub lane: Option<LaneName>,
    /// The cluster we run in.
    pub cluster: Option<Arc<str>>,
    /// The failure domain we run in.
    pub zone: Option<Arc<str>>,
    /// Weight our instance announces: 1 to 10,000, 100 unless told.
    pub weight: u32,
    /// The version our instance announces.
    pub version: Option<Arc<str>>,
    /// Whatever else our instance announces.
    pub metadata: BTreeMap<String, String>,
}

/// What becomes of a tenant named by an incoming request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Claims {
    /// It is believed: callers are our own sidecars.
    #[default]
    Accept,
    /// It is removed from every carrier before anything reads it: callers are strangers.
    Strip,
}

/// `[inbound]`: what comes to our application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inbound {
    /// Where requests come in; every worker listens on each.
    pub listen: Vec<SocketAddr>,
    /// What becomes of a tenant that a request names.
    pub claims: Claims,
    /// Whether a baseline instance hands a request of a tenant to the tenant's instance, where the
    /// caller had no sidecar to do so. Off unless told.
    pub reroute: bool,
    /// Whether `x-dyelane-echo: 1` is answered with the path a request took. On unless told.
    pub echo: bool,
    /// Ports whose connections are relayed as bytes without a look at them.
    pub opaque_ports: Vec<u16>,
}

/// What becomes of a request to a host that no service has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Unknown {
    /// It goes to its original destination, if the connection was redirected; else 404.
    #[default]
    Passthrough,
    /// 404, reason `unroutable`.
    Reject,
}

/// `[outbound]`: what our application sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outbound {
    /// Where our application's requests come in; every worker listens on each.
    pub listen: Vec<SocketAddr>,
    /// What becomes of a request to a host that no service has.
    pub unknown: Unknown,
    /// Whether `x-dyelane-echo: 1` is answered with the path a request took. On unless told.
    pub echo: bool,
    /// Destination ports whose connections are relayed as bytes without a look at them: where
    /// the server speaks first. 25, 3306, 5432, 6379, 9042, 11211 and 27017 unless told.
    pub opaque_ports: Vec<u16>,
}

/// `[limits]`: bounds on what one peer can make us hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Connections one listener of one worker holds at a time; more wait in the kernel's queue. 1
    /// to 1,000,000.
    pub connections: u32,
    /// Requests under way on one HTTP/2 connection (`SETTINGS_MAX_CONCURRENT_STREAMS`): 1 to
    /// 10,000.
    pub streams: u32,
    /// Bytes of a message's fields as HTTP/2 counts them (`SETTINGS_MAX_HEADER_LIST_SIZE`): 4 KiB
    /// to 1 MiB.
    pub header_list: u32,
    /// Fields of one message: 16 to 10,000.
    pub header_fields: u32,
    /// Bytes a peer may send on one stream before any of them went on
    /// (`SETTINGS_INITIAL_WINDOW_SIZE`): 16 KiB to 16 MiB.
    pub stream_window: u32,
    /// Bytes that one connection's streams may make us hold together: 64 KiB to 1 GiB.
    pub connection_buffer: u32,
    /// Streams one peer may break off, or have broken off by its own faults, beyond those that
    /// ended in peace, before its connection is ended: 10 to 10,000.
    pub resets: u32,
    /// How long we wait for the first bytes that tell the protocol of a connection, and for an
    /// HTTP/2 client's first frame: 10 ms to 1 min.
    pub detect_timeout: Duration,
    /// How long a peer may take from the first byte of a request's head to the last: 100 ms to 10 min.
    pub header_timeout: Duration,
    /// How long a connection on which nothing is under way is kept: 1 s to 24 h.
    pub connection_idle: Duration,
    /// How long a stream may go without moving a byte while its other side waits: 1 s to 24 h.
    pub stall_timeout: Duration,
}

/// `[runtime]`: threads, reloading, draining.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Runtime {
    /// Worker threads: 1 to 256. None: one for each CPU we may use, at most 4.
    pub workers: Option<u16>,
    /// How often the file is looked at: 100 ms to 1 h.
    pub poll: Duration,
    /// How long streams under way may take to end after SIGTERM, in all: up to 1 h.
    pub drain_timeout: Duration,
    /// How long we keep taking requests after SIGTERM, unready, while callers learn of it: up to 10 min.
    pub drain_delay: Duration,
}

/// `[admin]`: the operator's own listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admin {
    /// Where it listens; none: nowhere. Loopback unless told.
    pub listen: Option<SocketAddr>,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// `[log]`: what is written, and how.
#[derive(Debug, Clone, PartialEq)]
pub struct Log {
    /// What is worth a line, in the syntax of `tracing`'s `EnvFilter`; `info` unless told.
    pub level: String,
    /// How lines look.
    pub format: LogFormat,
    /// `[log.access]`: the record of requests.
    pub access: AccessLog,
}

/// `[log.access]`: one JSON line for each request that ended.
#[derive(Debug, Clone, PartialEq)]
pub struct AccessLog {
    /// Whether it is written at all, to standard output. Off unless told.
    pub enabled: bool,
    /// Share of requests that are written: 0.0 to 1.0. Answers we made ourselves, and failures,
    /// are always written.
    pub sample: f64,
}
