//! Which bytes the name and the value of a header field may have.

/// Bytes of a lower-case field name: the `tchar` of RFC 9110 section 5.6.2 without A to Z.
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
    // Without a way out of the loop it is done sixteen bytes at a time.
    let odd = value
        .iter()
        .fold(false, |odd, byte| odd | ((*byte < b' ') & (*byte != b'\t')) | (*byte == 0x7f));
    !odd && !space(value.first()) && !space(value.last())
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
