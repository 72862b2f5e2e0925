//! How a request's line of the access log reads.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use serde::{Serialize, Serializer};

use crate::telemetry::Record;

/// Longest path, in bytes: what is longer is cut and ends in `…`.
const PATH: usize = 1024;
/// Longest authority, method or trace id.
const WORD: usize = 256;

/// A line of the access log, in the order of its keys.
#[derive(Debug, Serialize)]
pub(super) struct Line<'a> {
    #[serde(serialize_with = "in_utc")]
    time: SystemTime,
    direction: &'static str,
    peer: Option<SocketAddr>,
    method: Cow<'a, str>,
    authority: Cow<'a, str>,
    path: Cow<'a, str>,
    service: &'a str,
    tenant: Option<&'a str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    carrier: &'static str,
    lane: &'a str,
    decision: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    upstream: Option<SocketAddr>,
    attempts: u32,
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    grpc_status: Option<u32>,
    request_bytes: u64,
    response_bytes: u64,
    head_ms: Option<f64>,
    duration_ms: f64,
    generation: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<Cow<'a, str>>,
}

impl<'a> Line<'a> {
    /// The line of a request that ended at `now`.
    pub(super) fn new(record: &'a Record<'_>, now: SystemTime) -> Self {
        Self {
            time: now,
            direction: record.direction.label(),
            peer: record.peer,
            method: cut(record.method, WORD),
            authority: cut(record.authority, WORD),
            path: cut(record.path, PATH),
            service: record.service_label(),
            tenant: record.tenant.map(AsRef::as_ref),
            carrier: record.carrier,
            lane: record.lane_label(),
            decision: record.decision,
            reason: record.failure,
            upstream: record.upstream,
            attempts: record.attempts,
            status: record.status,
            grpc_status: record.grpc_status,
            request_bytes: record.request_bytes,
            response_bytes: record.response_bytes,
            head_ms: record.time_to_head.map(milliseconds),
            duration_ms: milliseconds(record.duration),
            generation: record.generation,
            trace_id: record.trace_id.map(|id| cut(id, WORD)),
        }
    }
}

/// Writes a time as RFC 3339 has it, in UTC, to the millisecond.
fn in_utc<S: Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&humantime::format_rfc3339_millis(*time))
}

/// Milliseconds, to the microsecond.
fn milliseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

/// Returns `text` if it has at most `limit` bytes, else its beginning and `…`.
fn cut(text: &str, limit: usize) -> Cow<'_, str> {
    if text.len() <= limit {
        return text.into();
    }
    let end = (0..=limit).rev().find(|at| text.is_char_boundary(*at)).unwrap_or_default();
    format!("{}…", text.get(..end).unwrap_or_default()).into()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::model::{LaneName, ServiceName, TenantId};
    use crate::telemetry::Direction;

    fn written(record: &Record<'_>) -> Value {
        let now = SystemTime::UNIX_EPOCH + Duration::from_millis(1_795_424_461_007);
        serde_json::to_value(Line::new(record, now)).unwrap()
    }

    #[test]
    fn a_line_says_whose_the_request_was_where_it_went_and_why() {
        let service = ServiceName::new("user.shop").unwrap();
        let (tenant, lane) = (TenantId::new("dev.alice").unwrap(), LaneName::new("dev").unwrap());

        let seen = written(&Record {
            generation: 7,
            service: Some((2, &service)),
            tenant: Some(&tenant),
            carrier: "baggage",
            lane: Some(&lane),
            decision: "parent",
            failure: Some("interrupted"),
            method: "POST",
            path: "/shop.User/Get",
            authority: "user.shop",
            status: 200,
            grpc_status: Some(14),
            upstream: Some("10.0.0.7:9000".parse().unwrap()),
            attempts: 2,
            request_bytes: 12,
            response_bytes: 0,
            duration: Duration::from_micros(12_345),
            time_to_head: Some(Duration::from_millis(2)),
            trace_id: Some("4bf92f3577b34da6a3ce929d0e0e4736"),
            peer: Some("[::1]:40000".parse().unwrap()),
            ..Record::new(Direction::Outbound)
        });

        assert_eq!(
            seen,
            json!({
                "time": "2026-11-23T09:01:01.007Z",
                "direction": "outbound",
                "peer": "[::1]:40000",
                "method": "POST",
                "authority": "user.shop",
                "path": "/shop.User/Get",
                "service": "user.shop",
                "tenant": "dev.alice",
                "carrier": "baggage",
                "lane": "dev",
                "decision": "parent",
                "reason": "interrupted",
                "upstream": "10.0.0.7:9000",
                "attempts": 2,
                "status": 200,
                "grpc_status": 14,
                "request_bytes": 12,
                "response_bytes": 0,
                "head_ms": 2.0,
                "duration_ms": 12.345,
                "generation": 7,
                "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
            })
        );
    }

    #[test]
    fn what_a_stranger_writes_stays_inside_its_string() {
        let path = "/\"},{\"tenant\":\"root\"}\n\u{0}\u{1b}[31m\u{2028}";
        let record = Record { path, ..Record::new(Direction::Inbound) };

        let line = serde_json::to_string(&Line::new(&record, SystemTime::UNIX_EPOCH)).unwrap();

        assert_eq!(line.lines().count(), 1);
        assert!(!line.contains(|c: char| c.is_control()));
        assert_eq!(written(&record)["path"], path);
    }

    #[test]
    fn a_long_path_is_cut_between_characters() {
        let path = format!("/{}", "é".repeat(1000));
        let record = Record { path: &path, ..Record::new(Direction::Inbound) };

        let line = written(&record);

        let cut = line["path"].as_str().unwrap();
        assert!(cut.ends_with("é…") && cut.len() <= PATH + "…".len(), "{}", cut.len());
    }
}
