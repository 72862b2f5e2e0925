//! Names of XML elements for keys that need be none: what `XStream` does, by which Java reads and
//! writes Eureka's XML.
//!
//! `$` is `_-`; what may not stand in a name is `_.` and four hexadecimal digits, a UTF-16 unit each.
//! An underscore is doubled where it would be taken for the beginning of either, and there alone: so
//! `my_key` is readable to those who know nothing of this, and `XStream` reads all of it.

use std::fmt::Write as _;

/// Returns whether a character may stand in a name as it is. Letters beyond ASCII might, and are
/// escaped: their rules differ between the versions of XML.
fn is_plain(c: char, is_first: bool) -> bool {
    c.is_ascii_alphabetic() || c == '_' || (!is_first && matches!(c, '0'..='9' | '-' | '.'))
}

/// Writes a key as the name of an element. It must not be empty.
pub fn encode(key: &str, out: &mut String) {
    let mut chars = key.chars().peekable();
    let mut is_first = true;
    while let Some(c) = chars.next() {
        let next = chars.peek().copied();
        let is_misread =
            next.is_some_and(|it| matches!(it, '_' | '-' | '.') || !is_plain(it, false));
        match c {
            '_' if is_misread => out.push_str("__"),
            '$' => out.push_str("_-"),
            c if is_plain(c, is_first) => out.push(c),
            c => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    // Writing to a string does not fail.
                    let _ = write!(out, "_.{unit:04x}");
                }
            }
        }
        is_first = false;
    }
}

/// Returns the key that a name stands for.
pub fn decode(name: &str) -> String {
    if !name.contains('_') {
        return name.to_owned();
    }
    let mut units: Vec<u16> = Vec::with_capacity(name.len());
    let mut rest = name;
    while let Some(c) = rest.chars().next() {
        let escape = rest.strip_prefix("_.").and_then(|it| it.get(..4));
        let escape = escape.filter(|it| it.bytes().all(|digit| digit.is_ascii_hexdigit()));
        let (unit, length) = match escape.map(|it| u16::from_str_radix(it, 16)) {
            Some(Ok(unit)) => (Some(unit), 6),
            _ if rest.starts_with("__") => (Some(u16::from(b'_')), 2),
            _ if rest.starts_with("_-") => (Some(u16::from(b'$')), 2),
            _ => (None, c.len_utf8()),
        };
        match unit {
            Some(unit) => units.push(unit),
            None => units.extend_from_slice(c.encode_utf16(&mut [0; 2])),
        }
        rest = rest.get(length..).unwrap_or_default();
    }
    String::from_utf16_lossy(&units)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encoded(key: &str) -> String {
        let mut name = String::new();
        encode(key, &mut name);
        name
    }

    #[test]
    fn names_are_what_xstream_makes_of_keys() {
        for (key, name) in [
            ("zone", "zone"),
            ("management.port", "management.port"),
            ("my_key", "my_key"),
            ("a__b", "a___b"),
            ("_.x", "__.x"),
            ("_ ", "__.0020".replace("__", "___").as_str()),
            ("$x", "_-x"),
            ("1st", "_.0031st"),
            ("a b", "a_.0020b"),
            ("<a>", "_.003ca_.003e"),
            ("a:b", "a_.003ab"),
            ("😀", "_.d83d_.de00"),
        ] {
            assert_eq!(encoded(key), name);
            assert_eq!(decode(name), key);
        }
    }

    #[test]
    fn names_of_strangers_are_read_too() {
        for (name, key) in
            [("my__key", "my_key"), ("_", "_"), ("_.00", "_.00"), ("a_.zzzz", "a_.zzzz")]
        {
            assert_eq!(decode(name), key);
        }
    }

    proptest! {
        #[test]
        fn every_key_comes_back_and_is_a_name_on_its_way(key in any::<String>()) {
            let name = encoded(&key);

            prop_assert_eq!(decode(&name), key);
            for (at, c) in name.chars().enumerate() {
                prop_assert!(is_plain(c, at == 0), "{}", name);
            }
        }

        #[test]
        fn any_name_is_read(name in any::<String>()) {
            decode(&name);
        }
    }
}
