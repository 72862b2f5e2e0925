//! Trace ids: what the specifications take for one, and nothing else.

use dyelane::model::Fields;
use dyelane::tenant::{TraceId, trace_id, w3c};

/// A `traceparent` is read to the letter of W3C Trace Context.
pub fn traceparent(bytes: &[u8]) {
    let expected = plain_traceparent(bytes);

    assert_eq!(w3c::traceparent(bytes), expected);
    assert_eq!(read("traceparent", bytes), expected.map(TraceId::Hex));
}

/// A `b3` field is read to the letter of B3 Propagation.
pub fn b3(bytes: &[u8]) {
    assert_eq!(read("b3", bytes), plain_b3(bytes).map(TraceId::Hex));
    let short = matches!(bytes.len(), 16 | 32).then(|| number(bytes, false)).flatten();
    assert_eq!(read("x-b3-traceid", bytes), short.filter(|it| *it != 0).map(TraceId::Hex));
}

fn read(name: &str, value: &[u8]) -> Option<TraceId> {
    trace_id(&[(name, value)].into_iter().collect::<Fields>())
}

fn plain_traceparent(bytes: &[u8]) -> Option<u128> {
    let parts: Vec<&[u8]> = bytes.splitn(5, |byte| *byte == b'-').collect();
    let [version, trace, parent, flags, more @ ..] = &*parts else { return None };
    let lengths = [version, trace, parent, flags].map(|it| it.len());
    let numbers = [version, trace, parent, flags].map(|it| number(it, true));
    let [Some(version), Some(trace), Some(parent), Some(_)] = numbers else { return None };
    let good = lengths == [2, 32, 16, 2]
        && version != 0xff
        && (version != 0 || more.is_empty())
        && trace != 0
        && parent != 0;
    good.then_some(trace)
}

fn plain_b3(bytes: &[u8]) -> Option<u128> {
    let text = std::str::from_utf8(bytes).ok()?;
    let parts: Vec<&str> = text.split('-').collect();
    let (trace, span, sampled, parent) = match &*parts {
        [trace, span] => (trace, span, "1", "0000000000000000"),
        [trace, span, sampled] => (trace, span, *sampled, "0000000000000000"),
        [trace, span, sampled, parent] => (trace, span, *sampled, *parent),
        _ => return None,
    };
    let id = |text: &str| (text.len() == 16).then(|| number(text.as_bytes(), false)).flatten();
    let good = matches!(trace.len(), 16 | 32)
        && ["0", "1", "d"].contains(&sampled)
        && id(span).is_some()
        && id(parent).is_some();
    number(trace.as_bytes(), false).filter(|it| good && *it != 0)
}

fn number(digits: &[u8], lower: bool) -> Option<u128> {
    let text = std::str::from_utf8(digits).ok()?;
    let digit = |it: char| it.is_ascii_hexdigit() && !(lower && it.is_ascii_uppercase());
    text.chars().all(digit).then(|| u128::from_str_radix(text, 16).ok()).flatten()
}
