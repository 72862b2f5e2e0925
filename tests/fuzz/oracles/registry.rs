//! What clients of the registry send: fields, and the calls made of them.

use dyelane::registry::dialect::discovery::calls::{Beat, Fetch, Poll, Register, Set};
use dyelane::registry::dialect::discovery::fields::Fields;

/// The bytes are a form. Its fields are those of a plain reading, in order.
pub fn form(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        let _ = Fields::of_body("", bytes, "");
        return;
    };

    let read = Fields::of_query(text);

    assert_eq!(read, Fields::of_body("", bytes, ""));
    let pairs: Vec<&str> = text.split('&').filter(|it| !it.is_empty()).collect();
    let plain: Option<Vec<_>> = pairs.iter().map(|it| pair(it)).collect();
    match (read, plain) {
        (Ok(read), Some(plain)) => {
            for (name, _) in &plain {
                let values = plain.iter().filter(|it| it.0 == *name).map(|it| it.1.as_str());
                let values: Vec<_> = values.collect();
                assert_eq!(read.first(name), values[0]);
                let filled: Vec<_> = values.into_iter().filter(|it| !it.is_empty()).collect();
                assert_eq!(read.list(name).collect::<Vec<_>>(), filled);
            }
        }
        (Err(_), plain) => assert!(plain.is_none() || pairs.len() > 16_384),
        (Ok(read), None) => panic!("{read:?} of {text:?}"),
    }
}

/// Reads `name=value`, as the form's specification has it.
fn pair(text: &str) -> Option<(String, String)> {
    let (name, value) = text.split_once('=').unwrap_or((text, ""));
    Some((decoded(name)?, decoded(value)?))
}

fn decoded(text: &str) -> Option<String> {
    let mut parts = text.split('%');
    let mut bytes = parts.next()?.replace('+', " ").into_bytes();
    for part in parts {
        let (digits, rest) = (part.get(..2)?, part.get(2..)?);
        if !digits.bytes().all(|it| it.is_ascii_hexdigit()) {
            return None;
        }
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        bytes.extend(rest.replace('+', " ").bytes());
    }
    String::from_utf8(bytes).ok()
}

/// The bytes are a body: what begins with `{` is JSON, else it is a form. Whatever is bound is within
/// its bounds.
pub fn call(bytes: &[u8]) {
    let kind = if bytes.starts_with(b"{") { "application/json" } else { "" };
    let Ok(fields) = Fields::of_body(kind, bytes, "") else { return };

    if let Ok(register) = Register::bind(&fields) {
        let key = register.target.key();
        for name in [&key.env, &key.appid, &key.zone, &key.hostname] {
            assert!((1..=1024).contains(&name.len()), "{key}");
        }
        assert!((1..=256).contains(&register.registration.addrs.len()));
        for addr in &register.registration.addrs {
            assert!(!addr.is_empty() && !addr.contains(','), "{addr}");
        }
        // Whoever can register can renew and cancel.
        assert_eq!(Beat::renew(&fields).map(|it| it.target), Ok(register.target.clone()));
        assert_eq!(Beat::cancel(&fields).map(|it| it.target), Ok(register.target));
    }
    if let Ok(set) = Set::bind(&fields) {
        assert_eq!(set.alterations.len(), fields.split("hostname").count());
    }
    if let (Ok(one), Ok(several)) = (Fetch::one(&fields), Fetch::several(&fields)) {
        assert_eq!((one.env, one.zone, one.status), (several.env, several.zone, several.status));
    }
    for poll in [Poll::one(&fields), Poll::several(&fields)].into_iter().flatten() {
        assert!(!poll.apps.is_empty() && !poll.consumer.is_empty() && !poll.env.is_empty());
    }
}
