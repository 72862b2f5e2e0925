//! Which bytes the name and the value of a header field may have.

/// Bytes of a lower-case field name: the `tchar` of RFC 9110 section 5.6.2 without A to Z.
#[expect(clippy::indexing_slicing, reason = "the compiler runs it, and checks every index")]
const NAME: [bool; 256] = {
    let mut allowed = [false; 256];
    let marks = b"!#$%&'*+-.^_`|~";
    let mut at = 0;
    while at < marks.len() {
        allowed[marks[at] as usize] = true;
        at += 1;
    }
    let mut byte = 0;
    while byte < 128 {
        if byte >= b'0' && byte <= b'9' || byte >= b'a' && byte <= b'z' {
            allowed[byte as usize] = true;
        }
        byte += 1;
    }
    allowed
};

/// Returns whether these bytes are a field name of HTTP/2: a lower-case token, which may have a
/// colon before it (RFC 9113 section 8.2.1).
///
/// Whether a name with a colon is a pseudo-header field that the message may have is for the reader
/// of the message to say.
pub fn is_name(name: &[u8]) -> bool {
    let token = name.strip_prefix(b":").unwrap_or(name);
    !token.is_empty() && token.iter().all(|byte| NAME.get(usize::from(*byte)) == Some(&true))
}

/// Returns whether these bytes are a field value: no control characters but the tab, and no white
/// space at either end (RFC 9113 section 8.2.1, RFC 9110 section 5.5).
pub fn is_value(value: &[u8]) -> bool {
    let space = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    !space(value.first()) && !space(value.last()) && !has_control(value)
}

/// Returns whether there is a control character that is not the tab.
fn has_control(value: &[u8]) -> bool {
    let (chunks, rest) = value.as_chunks();
    // Eight bytes at a time, then the last eight, of which some are looked at twice.
    let suspect = match value.last_chunk() {
        Some(last) => chunks.iter().chain([last]).any(|chunk| may_have_control(*chunk)),
        None => !rest.is_empty(),
    };
    suspect && value.iter().any(|byte| byte.is_ascii_control() && *byte != b'\t')
}

/// Returns whether one of eight bytes is a control character, or the tab.
#[inline]
fn may_have_control(chunk: [u8; 8]) -> bool {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    let bytes = u64::from_le_bytes(chunk);
    // Taking 32 from each byte borrows into its upper bit if it is less; likewise 1 from what is 0
    // if it was 127.
    let low = bytes.wrapping_sub(ONES * 0x20) & !bytes;
    let delete = bytes ^ (ONES * 0x7f);
    let deletes = delete.wrapping_sub(ONES) & !delete;
    (low | deletes) & (ONES * 0x80) != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_lower_case_token() {
        for good in ["te", "x-tenant", ":path", "a_b.c~1"] {
            assert!(is_name(good.as_bytes()), "{good}");
        }
        for bad in ["", ":", "Te", "a b", "a:", "::a", "a\0", "é", "a\n", "\u{7f}"] {
            assert!(!is_name(bad.as_bytes()), "{bad:?}");
        }
    }

    #[test]
    fn a_control_character_is_found_wherever_it_is() {
        for byte in 0..=255_u8 {
            for place in 1..23 {
                let mut value = [b'\xff'; 24];
                value[place] = byte;

                let good = byte == b'\t' || !byte.is_ascii_control();
                assert_eq!(is_value(&value), good, "{byte} at {place}");
                assert_eq!(is_value(&value[place - 1..=place + 1]), good, "{byte}");
            }
        }
    }

    #[test]
    fn a_value_has_no_control_characters_and_no_space_around_it() {
        for good in ["", "a", "a b\tc", "é", "a longer value, of more than sixteen bytes"] {
            assert!(is_value(good.as_bytes()), "{good:?}");
        }
        for bad in
            ["a\r\nb: c", "\0", " a", "a ", "\ta", "a\t", "a\u{7f}", "more than sixteen \n b"]
        {
            assert!(!is_value(bad.as_bytes()), "{bad:?}");
        }
    }
}
