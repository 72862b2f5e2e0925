//! The grammars of W3C Baggage and W3C Trace Context, read in place.
//!
//! Nothing here allocates, fails or panics, whatever the bytes: what is no member has no value, what
//! is no trace id is none. What a member means, and whose it is, is not decided here.

/// Name of the field of W3C Baggage.
pub const BAGGAGE: &[u8] = b"baggage";
/// Name of the list field of W3C Trace Context.
pub const TRACESTATE: &[u8] = b"tracestate";
/// Name of the field of W3C Trace Context that carries the trace id.
pub const TRACEPARENT: &[u8] = b"traceparent";

/// Members every platform passes on whole (W3C Baggage, "Limits").
pub const BAGGAGE_MEMBERS: usize = 64;
/// Bytes every platform passes on whole, over all lines joined by commas (W3C Baggage, "Limits").
pub const BAGGAGE_BYTES: usize = 8192;

/// Returns what lies between the commas of a list's line: whole, in order, the empty too.
///
/// Neither list has a way to quote a comma: a quotation mark is no octet of a baggage value, and an
/// ordinary character of a tracestate value.
pub fn members(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|byte| *byte == b',')
}

/// Parts a text into the blanks before it, itself, and the blanks after it (OWS of RFC 9110
/// section 5.6.3: spaces and tabs).
pub fn parted(text: &[u8]) -> (&[u8], &[u8], &[u8]) {
    let solid = |byte: &u8| !matches!(byte, b' ' | b'\t');
    let start = text.iter().position(solid).unwrap_or(text.len());
    let (before, rest) = text.split_at_checked(start).unwrap_or_default();
    let end = rest.iter().rposition(solid).map_or(0, |last| last + 1);
    let (itself, after) = rest.split_at_checked(end).unwrap_or_default();
    (before, itself, after)
}

/// Returns a text without the blanks around it.
pub fn trimmed(text: &[u8]) -> &[u8] {
    parted(text).1
}

/// A member of a list: key and value as they stand there, nothing decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member<'a> {
    /// What stands before the first `=`, or all there is; without the blanks around it.
    pub key: &'a [u8],
    /// What stands behind the first `=`; none: this is no proper member.
    pub value: Option<&'a [u8]>,
}

impl<'a> Member<'a> {
    /// Reads a member of `baggage`: `key OWS "=" OWS value *( OWS ";" OWS property )`.
    ///
    /// The properties are left out, the blanks around the value too.
    pub fn of_baggage(text: &'a [u8]) -> Self {
        let text = text.split(|byte| *byte == b';').next().unwrap_or_default();
        let (key, value) = at_equals(text);
        Self { key: trimmed(key), value: value.map(trimmed) }
    }

    /// Reads a member of `tracestate`: `key "=" value`.
    ///
    /// A blank behind the `=` belongs to the value, one before it is an error, one at the end is
    /// neither.
    pub fn of_tracestate(text: &'a [u8]) -> Self {
        let (spaced, value) = at_equals(trimmed(text));
        let key = trimmed(spaced);
        Self { key, value: value.filter(|_| key == spaced) }
    }
}

/// Parts a text at its first `=`.
fn at_equals(text: &[u8]) -> (&[u8], Option<&[u8]>) {
    let mut parts = text.splitn(2, |byte| *byte == b'=');
    (parts.next().unwrap_or_default(), parts.next())
}

/// Undoes percent-encoding (RFC 3986 section 2.1). A `%` that begins no code stands for itself; so
/// does a `+`, which means a blank in forms only.
pub fn decoded(text: &[u8]) -> impl Iterator<Item = u8> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if let [b'%', high, low, behind @ ..] = rest
            && let (Some(high), Some(low)) = (digit(*high), digit(*low))
        {
            rest = behind;
            return Some(high << 4 | low);
        }
        let (first, behind) = rest.split_first()?;
        rest = behind;
        Some(*first)
    })
}

/// Returns the trace id of a `traceparent` (W3C Trace Context, "traceparent header").
///
/// Version 00 is exactly `00-` trace id `-` parent id `-` flags in lower-case hexadecimal. A later
/// one begins like it and may go on behind another `-`; there is no version ff. Ids of all zeros
/// are none.
pub fn traceparent(value: &[u8]) -> Option<u128> {
    let (version, rest) = value.split_at_checked(2)?;
    let (trace, rest) = rest.strip_prefix(b"-")?.split_at_checked(32)?;
    let (parent, rest) = rest.strip_prefix(b"-")?.split_at_checked(16)?;
    let (flags, rest) = rest.strip_prefix(b"-")?.split_at_checked(2)?;
    let whole = match lower_hex(version)? {
        0x00 => rest.is_empty(),
        0xff => false,
        _ => matches!(rest.first(), None | Some(b'-')),
    };
    lower_hex(flags)?;
    lower_hex(parent).filter(|id| whole && *id != 0)?;
    lower_hex(trace).filter(|id| *id != 0)
}

/// Reads a number of 1 to 32 hexadecimal digits, small letters only; no sign, no blank.
fn lower_hex(text: &[u8]) -> Option<u128> {
    if text.iter().any(u8::is_ascii_uppercase) { None } else { hex(text) }
}

/// Reads a number of 1 to 32 hexadecimal digits; no sign, no blank.
pub fn hex(text: &[u8]) -> Option<u128> {
    if !(1..=32).contains(&text.len()) {
        return None;
    }
    let (high, low) = text.split_at_checked(text.len().saturating_sub(16))?;
    Some(u128::from(half(high)?) << 64 | u128::from(half(low)?))
}

/// Reads a number of at most 16 hexadecimal digits.
fn half(text: &[u8]) -> Option<u64> {
    text.iter().try_fold(0, |sum, byte| Some(sum << 4 | u64::from(digit(*byte)?)))
}

fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: u128 = 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736;

    #[test]
    fn a_member_of_baggage_is_read_without_blanks_and_properties() {
        let read = Member::of_baggage(b" key\t=  a=b ;p;q=1 ");

        assert_eq!(read, Member { key: b"key", value: Some(b"a=b") });
    }

    #[test]
    fn an_equals_sign_in_a_property_is_not_that_of_the_member() {
        let read = Member::of_baggage(b"key;p=1");

        assert_eq!(read, Member { key: b"key", value: None });
    }

    #[test]
    fn a_member_of_tracestate_keeps_the_blanks_its_value_begins_with() {
        let read = Member::of_tracestate(b"\tten@sys= a;b=c ");

        assert_eq!(read, Member { key: b"ten@sys", value: Some(b" a;b=c") });
    }

    #[test]
    fn a_member_of_tracestate_has_no_blank_before_the_equals_sign() {
        let read = Member::of_tracestate(b"key =a");

        assert_eq!(read, Member { key: b"key", value: None });
    }

    #[test]
    fn percent_codes_are_decoded_and_what_is_none_stays() {
        for (text, plain) in [
            (&b"a%62c"[..], &b"abc"[..]),
            (b"%e4%F6", b"\xe4\xf6"),
            (b"1+1", b"1+1"),
            (b"%", b"%"),
            (b"%4", b"%4"),
            (b"%zz%41", b"%zzA"),
            (b"%%41", b"%A"),
            (b"%2541", b"%41"),
        ] {
            assert_eq!(decoded(text).collect::<Vec<_>>(), plain);
        }
    }

    #[test]
    fn a_traceparent_is_read_to_the_letter() {
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let later = good.replacen("00", "cc", 1);

        for text in [good.to_owned(), later.clone(), format!("{later}-"), format!("{later}-what")] {
            assert_eq!(traceparent(text.as_bytes()), Some(TRACE), "{text}");
        }
    }

    #[test]
    fn what_is_no_traceparent_has_no_trace_id() {
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

        for text in [
            String::new(),
            good[1..].to_owned(),
            good[..54].to_owned(),
            format!("{good}-"),
            format!("{good}-00"),
            format!("{good} "),
            good.to_uppercase(),
            good.replacen("00", "ff", 1),
            good.replacen("00", "0x", 1),
            good.replacen("00", "cc", 1) + ".what",
            good.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)),
            good.replace("00f067aa0ba902b7", &"0".repeat(16)),
            good.replace("-01", "-0g"),
            good.replace("-01", "_01"),
            good.replace("4bf9", "+bf9"),
            good.replacen("6-0", "60-", 1),
        ] {
            assert_eq!(traceparent(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn a_text_is_parted_from_its_blanks() {
        assert_eq!(parted(b" \ta b "), (&b" \t"[..], &b"a b"[..], &b" "[..]));
        assert_eq!(parted(b"  "), (&b"  "[..], &b""[..], &b""[..]));
        assert_eq!(parted(b""), (&b""[..], &b""[..], &b""[..]));
    }
}
