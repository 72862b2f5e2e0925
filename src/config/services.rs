//! `[services."NAME"]` and `[defaults]`: how services are reached.

use std::net::SocketAddr;
use std::time::Duration;

/// What an upstream speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum UpstreamProtocol {
    /// What the request came as.
    #[default]
    Auto,
    /// HTTP/2 with prior knowledge.
    H2,
    /// HTTP/1.1.
    Http1,
    /// Bytes we know nothing about.
    Tcp,
}

/// `timeouts`: how long each step may take. A total or head of none is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// To connect to an instance: 1 ms to 1 min.
    pub connect: Duration,
    /// From the request's head sent to the answer's head: 1 ms to 24 h.
    pub head: Option<Duration>,
    /// Without a byte moving either way: 1 s to 24 h.
    pub idle: Option<Duration>,
    /// From the request's head to the answer's end: 1 ms to 24 h. `grpc-timeout` can shorten it.
    pub total: Option<Duration>,
}

/// A failure that policy says is safe to try again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RetryOn {
    /// The answer has this status; only for idempotent methods (RFC 9110 section 9.2.2).
    Status(u16),
    /// The answer is trailers-only with this gRPC status.
    Grpc(u8),
    /// The connection broke before the head; only for idempotent methods.
    Reset,
}

/// `retries`: what is tried again. What was certainly never processed always is, within budget.
#[derive(Debug, Clone, PartialEq)]
pub struct Retries {
    /// Attempts in all, the first included: 1 to 10.
    pub attempts: u8,
    /// What else than the never processed is tried again.
    pub on: Vec<RetryOn>,
    /// Retries allowed for each request, on average over the last ten seconds: 0.0 to 1.0.
    pub budget: f64,
    /// Bytes of a request's body kept for sending it again: 0 to 1 MiB.
    pub buffer: u32,
}

/// `balance`: which instance of a rung.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Balance {
    /// The less loaded of two drawn at random (power of two choices), load being the moving
    /// average of latency × requests in flight.
    #[default]
    LeastLoad,
    /// Drawn at random by weight.
    Random,
}

/// `outlier`: when an instance that fails is left alone.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Outlier {
    /// Failures in a row after which it is: 1 to 1,000; none turns ejection off.
    pub failures: Option<u32>,
    /// For how long at first; doubled at each repetition: 100 ms to 1 h.
    pub ejection: Duration,
    /// For how long at most: 100 ms to 24 h.
    pub max_ejection: Duration,
    /// Share of a rung's instances that may be out at a time: 0 to 100. Ejection by itself never
    /// empties a rung below one instance.
    pub max_percent: u8,
}

/// `[services."NAME"]`: how a service is reached.
#[derive(Debug, Clone, PartialEq)]
pub struct Service {
    /// Hosts requests to it name, beside its own name: without port, or with one that must match.
    pub hosts: Vec<String>,
    /// A listener of its own: whatever comes in there is for this service, whatever host it names.
    pub listen: Option<SocketAddr>,
    /// What it speaks.
    pub protocol: UpstreamProtocol,
    /// Whether its requests fail rather than fall back to the baseline.
    pub strict: bool,
    /// How long each step may take.
    pub timeouts: Timeouts,
    /// What is tried again.
    pub retries: Retries,
    /// Which instance of a rung.
    pub balance: Balance,
    /// When an instance that fails is left alone.
    pub outlier: Outlier,
    /// HTTP/2 connections a worker opens to one instance: 1 to 64.
    pub connections: u16,
    /// HTTP/1.1 connections a worker opens to one instance: 1 to 10,000.
    pub http1_connections: u16,
    /// Requests a worker lets wait for a connection to one instance: 0 to 100,000.
    pub pending: u32,
    /// How long an unused connection is kept: 1 s to 24 h.
    pub connection_idle: Duration,
}
