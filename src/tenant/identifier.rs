//! Identifiers that applications forward even if they know nothing of tenants.

use std::fmt;

use crate::model::Fields;
use crate::tenant::w3c;

/// Name of the single-header form of Zipkin's B3 propagation.
const B3: &[u8] = b"b3";
/// Name of its several-headers form, the part that carries the trace id.
const B3_TRACE_ID: &[u8] = b"x-b3-traceid";
/// Name of the field in which Datadog carries the trace id.
const DATADOG: &[u8] = b"x-datadog-trace-id";

/// The form in which a field carries an identifier, the more telling first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Form {
    /// `traceparent`: version, trace id, parent id, flags.
    Traceparent,
    /// `b3`: trace id, span id, and more.
    B3,
    /// `x-b3-traceid`: the trace id alone.
    B3TraceId,
    /// `x-datadog-trace-id`: the lower half of the trace id, in decimal.
    Datadog,
    /// A field of whatever name: its value, whatever that is.
    Opaque,
}

impl Form {
    /// Returns the name of the field of that form; an opaque one has none of its own.
    pub(super) fn name(self) -> &'static [u8] {
        match self {
            Self::Traceparent => w3c::TRACEPARENT,
            Self::B3 => B3,
            Self::B3TraceId => B3_TRACE_ID,
            Self::Datadog => DATADOG,
            Self::Opaque => b"",
        }
    }

    /// Returns the form of a field of that name, if it carries a trace id.
    fn of(name: &[u8]) -> Option<Self> {
        match name {
            w3c::TRACEPARENT => Some(Self::Traceparent),
            B3 => Some(Self::B3),
            B3_TRACE_ID => Some(Self::B3TraceId),
            DATADOG => Some(Self::Datadog),
            _ => None,
        }
    }

    /// Reads the trace id; an opaque form has none.
    pub(super) fn trace_id(self, value: &[u8]) -> Option<TraceId> {
        match self {
            Self::Traceparent => w3c::traceparent(value).map(TraceId::Hex),
            Self::B3 => b3(value).map(TraceId::Hex),
            Self::B3TraceId => b3_trace_id(value).map(TraceId::Hex),
            Self::Datadog => datadog(value).map(TraceId::Decimal),
            Self::Opaque => None,
        }
    }
}

/// A trace id, displayed as the tracing system that made it writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TraceId {
    /// Of W3C Trace Context or of B3: 32 hexadecimal digits, ids of 64 bits with zeros before them.
    Hex(u128),
    /// Of Datadog: a decimal number.
    Decimal(u64),
}

impl TraceId {
    /// Returns the number it is.
    pub(super) fn number(self) -> u128 {
        match self {
            Self::Hex(id) => id,
            Self::Decimal(id) => id.into(),
        }
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hex(id) => write!(f, "{id:032x}"),
            Self::Decimal(id) => write!(f, "{id}"),
        }
    }
}

/// Returns the trace id a request carries, for people to find it by: that of `traceparent`, else of
/// B3, else of Datadog, whatever is configured.
pub fn trace_id(fields: &Fields) -> Option<TraceId> {
    let mut best: Option<(Form, TraceId)> = None;
    for (name, value) in fields {
        let Some(form) = Form::of(name) else { continue };
        if best.is_none_or(|(other, _)| form < other) {
            best = form.trace_id(value).map(|id| (form, id)).or(best);
        }
    }
    best.map(|(_, id)| id)
}

/// Returns the trace id of a `b3` field: `{trace id}-{span id}[-{sampled}[-{parent span id}]]`.
///
/// A field that only says whether to sample (`0`, `1`, `d`) names no trace.
fn b3(value: &[u8]) -> Option<u128> {
    let mut parts = value.split(|byte| *byte == b'-');
    let trace = b3_trace_id(parts.next()?)?;
    let span = |text: &[u8]| text.len() == 16 && w3c::hex(text).is_some();
    let good = parts.next().is_some_and(span)
        && parts.next().is_none_or(|sampled| matches!(sampled, b"0" | b"1" | b"d"))
        && parts.next().is_none_or(span)
        && parts.next().is_none();
    good.then_some(trace)
}

/// Reads a trace id of B3: 16 or 32 hexadecimal digits, not all zero. The shorter is the same id as
/// the longer one with zeros before it.
fn b3_trace_id(value: &[u8]) -> Option<u128> {
    if !matches!(value.len(), 16 | 32) {
        return None;
    }
    w3c::hex(value).filter(|id| *id != 0)
}

/// Reads a trace id of Datadog: a decimal number of 64 bits, not zero.
fn datadog(value: &[u8]) -> Option<u64> {
    // `parse` would take a sign.
    let text = std::str::from_utf8(value).ok().filter(|it| it.starts_with(|c: char| c != '+'))?;
    text.parse().ok().filter(|id| *id != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: &str = "80f198ee56343ba864fe8b2a57d3eff7";
    const SPAN: &str = "e457b5a2e4d86bd1";

    #[test]
    fn both_forms_of_b3_name_the_same_trace() {
        let single = format!("{LONG}-{SPAN}-1-05e3ac9a4f6e3b90");

        let id = b3(single.as_bytes());

        assert_eq!(id, Some(0x80f1_98ee_5634_3ba8_64fe_8b2a_57d3_eff7));
        assert_eq!(id, Form::B3TraceId.trace_id(LONG.as_bytes()).map(TraceId::number));
    }

    #[test]
    fn a_b3_id_of_64_bits_is_the_long_one_with_zeros_before_it() {
        let long = format!("{}{SPAN}", "0".repeat(16));

        assert_eq!(b3_trace_id(SPAN.as_bytes()), b3_trace_id(long.as_bytes()));
        assert_eq!(b3(format!("{SPAN}-{SPAN}").as_bytes()), Some(0xe457_b5a2_e4d8_6bd1));
    }

    #[test]
    fn a_b3_field_is_read_to_the_letter() {
        for good in ["", "-0", "-1", "-d", "-d-05e3ac9a4f6e3b90"] {
            assert!(b3(format!("{LONG}-{SPAN}{good}").as_bytes()).is_some(), "{good}");
        }
        for bad in
            ["-", "-2", "--05e3ac9a4f6e3b90", "-1-05", "-1-05e3ac9a4f6e3b90-", "-05e3ac9a4f6e3b90"]
        {
            assert_eq!(b3(format!("{LONG}-{SPAN}{bad}").as_bytes()), None, "{bad}");
        }
        for bad in ["", "0", "1", "d", LONG, "-", &format!("{}-{SPAN}", "0".repeat(32))] {
            assert_eq!(b3(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn an_id_of_datadog_is_a_decimal_number_of_64_bits() {
        for (text, id) in [
            ("1", Some(1)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", None),
            ("0", None),
            ("", None),
            ("+1", None),
            ("-1", None),
            ("1f", None),
            (" 1", None),
        ] {
            assert_eq!(datadog(text.as_bytes()), id, "{text}");
        }
    }

    #[test]
    fn the_trace_id_is_that_of_the_best_form_that_is_whole() {
        let broken: Fields =
            [("x-datadog-trace-id", "7"), ("traceparent", "00-oops")].into_iter().collect();
        let both: Fields =
            [("b3", &*format!("{SPAN}-{SPAN}")), ("x-datadog-trace-id", "7")].into_iter().collect();

        assert_eq!(trace_id(&broken).map(|it| it.to_string()), Some("7".to_owned()));
        assert_eq!(
            trace_id(&both).map(|it| it.to_string()),
            Some(format!("{}{SPAN}", "0".repeat(16)))
        );
        assert_eq!(trace_id(&Fields::default()), None);
    }
}
