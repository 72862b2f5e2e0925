//! `timeouts`, `retries` and `outlier`: when a service has failed, and what is done then.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::config::reading::{
    DAY, HOUR, KIBIBYTE, MEBIBYTE, MILLISECOND, MINUTE, SECOND, Section, Value,
};
use crate::config::written;

/// `timeouts`: how long each step may take. A total or head of none is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Timeouts {
    /// To connect to an instance: 1 ms to 1 min.
    #[serde(serialize_with = "written::period")]
    pub connect: Duration,
    /// From the request's head sent to the answer's head: 1 ms to 24 h.
    #[serde(serialize_with = "written::limit")]
    pub head: Option<Duration>,
    /// Without a byte moving either way: 1 s to 24 h.
    #[serde(serialize_with = "written::limit")]
    pub idle: Option<Duration>,
    /// From the request's head to the answer's end: 1 ms to 24 h. `grpc-timeout` can shorten it.
    #[serde(serialize_with = "written::limit")]
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
#[derive(Debug, Clone, PartialEq, Serialize)]
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

/// `outlier`: when an instance that fails is left alone.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Outlier {
    /// Failures in a row after which it is: 1 to 1,000; none turns ejection off.
    pub failures: Option<u32>,
    /// For how long at first; doubled at each repetition: 100 ms to 1 h.
    #[serde(serialize_with = "written::period")]
    pub ejection: Duration,
    /// For how long at most: 100 ms to 24 h.
    #[serde(serialize_with = "written::period")]
    pub max_ejection: Duration,
    /// Share of a rung's instances that may be out at a time: 0 to 100. Ejection by itself never
    /// empties a rung below one instance.
    pub max_percent: u8,
}

impl Default for Timeouts {
    fn default() -> Self {
        // No time for the head: long polls and watches answer when there is something to say.
        let (head, idle) = (None, Some(Duration::from_secs(300)));
        Self { connect: SECOND, head, idle, total: None }
    }
}

impl Timeouts {
    pub(super) fn read(section: &mut Section<'_>, base: &Self) -> Self {
        let read = Self {
            connect: section.period("connect", MILLISECOND..=MINUTE, base.connect),
            head: section.period_or_off("head", MILLISECOND..=DAY, base.head),
            idle: section.period_or_off("idle", SECOND..=DAY, base.idle),
            total: section.period_or_off("total", MILLISECOND..=DAY, base.total),
        };
        let (head, total) = (read.head.unwrap_or(DAY), read.total.unwrap_or(DAY));
        section.ordered(("connect", read.connect), ("head", head));
        if read.head.is_some() {
            section.ordered(("head", head), ("total", total));
        } else {
            section.ordered(("connect", read.connect), ("total", total));
        }
        read
    }
}

impl Default for Retries {
    fn default() -> Self {
        // Nothing more than what was certainly never processed, unless the operator says so.
        Self { attempts: 3, on: Vec::new(), budget: 0.2, buffer: 64 * KIBIBYTE }
    }
}

impl Retries {
    pub(super) fn read(section: &mut Section<'_>, base: &Self) -> Self {
        let kind = "`\"reset\"`, statuses such as `\"503\"` and gRPC codes such as `\"grpc:14\"`";
        let shown: Vec<_> = base.on.iter().map(|it| format!("\"{it}\"")).collect();
        let shown = format!("[{}]", shown.join(", "));
        let on = section.list("on", (kind, &shown), RetryOn::read);
        Self {
            attempts: section.integer("attempts", 1..=10, base.attempts),
            on: on.unwrap_or_else(|| base.on.clone()),
            budget: section.number("budget", 0.0..=1.0, base.budget),
            buffer: section.size("buffer", 0..=MEBIBYTE, base.buffer),
        }
    }
}

impl fmt::Display for RetryOn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(f, "{status}"),
            Self::Grpc(code) => write!(f, "grpc:{code}"),
            Self::Reset => f.write_str("reset"),
        }
    }
}

impl RetryOn {
    fn read(value: Value<'_>) -> Option<Self> {
        if !value.is_text() {
            return value.integer(&(400..=599)).map(Self::Status);
        }
        let text = value.text("a failure in quotes")?;
        if text == "reset" {
            return Some(Self::Reset);
        }
        let (status, grpc) = match text.split_once(':') {
            Some(("grpc", code)) => (None, code.parse().ok().filter(|it| (1..=16).contains(it))),
            _ => (text.parse().ok().filter(|it| (400..=599).contains(it)), None),
        };
        let found = status.map(Self::Status).or(grpc.map(Self::Grpc));
        found.or_else(|| {
            let help = "write \"reset\", a status of 400 to 599 such as \"503\", or a gRPC code of 1 to \
                        16 such as \"grpc:14\"";
            value.refuse(format!("knows no failure {text:?}"), help)
        })
    }
}

impl Default for Outlier {
    fn default() -> Self {
        let (ejection, max_ejection) = (Duration::from_secs(10), Duration::from_secs(300));
        Self { failures: Some(5), ejection, max_ejection, max_percent: 50 }
    }
}

impl Outlier {
    pub(super) fn read(section: &mut Section<'_>, base: &Self) -> Self {
        let least = Duration::from_millis(100);
        let read = Self {
            failures: section.integer_or("failures", "off", 1..=1000, base.failures),
            ejection: section.period("ejection", least..=HOUR, base.ejection),
            max_ejection: section.period("max_ejection", least..=DAY, base.max_ejection),
            max_percent: section.integer("max_percent", 0..=100, base.max_percent),
        };
        section.ordered(("ejection", read.ejection), ("max_ejection", read.max_ejection));
        read
    }
}
