//! How values are shown again: as the file would say them.

use std::time::Duration;

use serde::{Deserialize as _, Deserializer, Serialize, Serializer};

use crate::config::{CorrelationId, PercentageKey, RetryOn};

/// A period: `"1m 30s"`.
pub(super) fn period<S: Serializer>(period: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(&humantime::format_duration(*period))
}

/// A period that may be none: `"off"`.
#[expect(clippy::ref_option, reason = "serde passes a reference to the field")]
pub(super) fn limit<S: Serializer>(limit: &Option<Duration>, to: S) -> Result<S::Ok, S::Error> {
    match limit {
        Some(limit) => period(limit, to),
        None => to.serialize_str("off"),
    }
}

/// A period that may be left to us: `"auto"`.
#[expect(clippy::ref_option, reason = "serde passes a reference to the field")]
pub(super) fn automatic<S: Serializer>(it: &Option<Duration>, to: S) -> Result<S::Ok, S::Error> {
    match it {
        Some(it) => period(it, to),
        None => to.serialize_str("auto"),
    }
}

/// A flag that the file says the other way round.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference to the field")]
pub(super) fn inverse<S: Serializer>(flag: &bool, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_bool(!flag)
}

/// Reads such a flag.
pub(super) fn read_inverse<'de, D: Deserializer<'de>>(from: D) -> Result<bool, D::Error> {
    Ok(!bool::deserialize(from)?)
}

impl Serialize for RetryOn {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Status(status) => to.collect_str(status),
            Self::Grpc(code) => to.collect_str(&format_args!("grpc:{code}")),
            Self::Reset => to.serialize_str("reset"),
        }
    }
}

impl Serialize for CorrelationId {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(match self {
            Self::Traceparent => "traceparent",
            Self::B3 => "b3",
            Self::Datadog => "datadog",
            Self::Header(name) => name,
        })
    }
}

impl Serialize for PercentageKey {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Header(name) => to.collect_str(&format_args!("header:{name}")),
            Self::Cookie(name) => to.collect_str(&format_args!("cookie:{name}")),
            Self::Source => to.serialize_str("source"),
        }
    }
}
