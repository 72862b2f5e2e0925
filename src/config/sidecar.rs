//! `[limits]`, `[runtime]`, `[admin]` and `[log]`: the sidecar itself.

use std::net::SocketAddr;
use std::time::Duration;

use serde::Serialize;
use tracing_subscriber::EnvFilter;

use crate::config::reading::{DAY, GIBIBYTE, HOUR, KIBIBYTE, MEBIBYTE, MINUTE, SECOND, Section};
use crate::config::written;

/// `[limits]`: bounds on what one peer can make us hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
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
    #[serde(serialize_with = "written::period")]
    pub detect_timeout: Duration,
    /// How long a peer may take from the first byte of a request's head to the last: 100 ms to 10 min.
    #[serde(serialize_with = "written::period")]
    pub header_timeout: Duration,
    /// How long a connection on which nothing is under way is kept: 1 s to 24 h.
    #[serde(serialize_with = "written::period")]
    pub connection_idle: Duration,
    /// How long a stream may go without moving a byte while its other side waits: 1 s to 24 h.
    #[serde(serialize_with = "written::period")]
    pub stall_timeout: Duration,
}

/// `[runtime]`: threads, reloading, draining.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Runtime {
    /// Worker threads: 1 to 256. None: one for each CPU we may use, at most 4.
    pub workers: Option<u16>,
    /// How often the file is looked at: 100 ms to 1 h.
    #[serde(serialize_with = "written::period")]
    pub poll: Duration,
    /// How long streams under way may take to end after SIGTERM, in all: up to 1 h.
    #[serde(serialize_with = "written::period")]
    pub drain_timeout: Duration,
    /// How long we keep taking requests after SIGTERM, unready, while callers learn of it: up to 10 min.
    #[serde(serialize_with = "written::period")]
    pub drain_delay: Duration,
}

/// `[admin]`: the operator's own listener.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Admin {
    /// Where it listens; none: nowhere. Loopback unless told.
    pub listen: Option<SocketAddr>,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// `[log]`: what is written, and how.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Log {
    /// What is worth a line, in the syntax of `tracing`'s `EnvFilter`; `info` unless told.
    pub level: String,
    /// How lines look.
    pub format: LogFormat,
    /// `[log.access]`: the record of requests.
    pub access: AccessLog,
}

/// `[log.access]`: one JSON line for each request that ended.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AccessLog {
    /// Whether it is written at all, to standard output. Off unless told.
    pub enabled: bool,
    /// Share of requests that are written: 0.0 to 1.0. Answers we made ourselves, and failures,
    /// are always written.
    pub sample: f64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 10_000,
            streams: 256,
            header_list: 64 * KIBIBYTE,
            header_fields: 200,
            stream_window: 64 * KIBIBYTE,
            connection_buffer: 16 * MEBIBYTE,
            resets: 100,
            detect_timeout: Duration::from_secs(5),
            header_timeout: Duration::from_secs(10),
            connection_idle: Duration::from_secs(15 * 60),
            stall_timeout: Duration::from_secs(5 * 60),
        }
    }
}

impl Limits {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        let base = Self::default();
        let (tenth, ten) = (Duration::from_millis(100), Duration::from_millis(10));
        let longest_head = Duration::from_secs(600);
        let read = Self {
            connections: section.integer("connections", 1..=1_000_000, base.connections),
            streams: section.integer("streams", 1..=10_000, base.streams),
            header_list: section.size("header_list", 4 * KIBIBYTE..=MEBIBYTE, base.header_list),
            header_fields: section.integer("header_fields", 16..=10_000, base.header_fields),
            stream_window: section.size(
                "stream_window",
                16 * KIBIBYTE..=16 * MEBIBYTE,
                base.stream_window,
            ),
            connection_buffer: section.size(
                "connection_buffer",
                64 * KIBIBYTE..=GIBIBYTE,
                base.connection_buffer,
            ),
            resets: section.integer("resets", 10..=10_000, base.resets),
            detect_timeout: section.period("detect_timeout", ten..=MINUTE, base.detect_timeout),
            header_timeout: section.period(
                "header_timeout",
                tenth..=longest_head,
                base.header_timeout,
            ),
            connection_idle: section.period("connection_idle", SECOND..=DAY, base.connection_idle),
            stall_timeout: section.period("stall_timeout", SECOND..=DAY, base.stall_timeout),
        };
        section.ordered(
            ("stream_window", read.stream_window),
            ("connection_buffer", read.connection_buffer),
        );
        read
    }
}

impl Default for Runtime {
    fn default() -> Self {
        let (drain_timeout, drain_delay) = (Duration::from_secs(30), Duration::ZERO);
        Self { workers: None, poll: SECOND, drain_timeout, drain_delay }
    }
}

impl Runtime {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        let base = Self::default();
        let (tenth, ten) = (Duration::from_millis(100), Duration::from_secs(600));
        Self {
            workers: section.integer_or("workers", "auto", 1..=256, base.workers),
            poll: section.period("poll", tenth..=HOUR, base.poll),
            drain_timeout: section.period(
                "drain_timeout",
                Duration::ZERO..=HOUR,
                base.drain_timeout,
            ),
            drain_delay: section.period("drain_delay", Duration::ZERO..=ten, base.drain_delay),
        }
    }
}

impl Default for Admin {
    fn default() -> Self {
        Self { listen: Some(SocketAddr::from(([127, 0, 0, 1], 15000))) }
    }
}

impl Admin {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        Self { listen: section.listen_or_off("listen", Self::default().listen) }
    }
}

impl LogFormat {
    pub(super) const WORDS: [(&'static str, Self); 2] =
        [("text", Self::Text), ("json", Self::Json)];
}

impl Default for Log {
    fn default() -> Self {
        let (level, format) = ("info".to_owned(), LogFormat::Text);
        Self { level, format, access: AccessLog::default() }
    }
}

impl Log {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        let base = Self::default();
        Self {
            level: level(section).unwrap_or(base.level),
            format: section.choice("format", &LogFormat::WORDS, base.format),
            access: section.table("access", AccessLog::read),
        }
    }
}

/// Reads `level`, of a `[log]`.
pub(super) fn level(section: &mut Section<'_>) -> Option<String> {
    let kind = ("a level, perhaps with levels of modules", "\"info\"");
    section.value("level", kind, |value| {
        let level = value.label()?;
        match EnvFilter::builder().parse(&level) {
            Ok(_) => Some(level),
            Err(_) => value.refuse(
                "is no level",
                "write \"error\", \"warn\", \"info\", \"debug\" or \"trace\", perhaps with levels of \
                 modules: \"info,dyelane::proxy=debug\"",
            ),
        }
    })
}

impl Default for AccessLog {
    fn default() -> Self {
        Self { enabled: false, sample: 1.0 }
    }
}

impl AccessLog {
    fn read(section: &mut Section<'_>) -> Self {
        let base = Self::default();
        Self {
            enabled: section.flag("enabled", base.enabled),
            sample: section.number("sample", 0.0..=1.0, base.sample),
        }
    }
}
