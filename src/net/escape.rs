//! Percent signs, as queries, forms and paths have them.

/// Writes `text` as a query, a form and a path have it: all but RFC 3986's unreserved in percent signs.
pub fn escape(text: &str, to: &mut String) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            to.push(char::from(byte));
        } else {
            let digit =
                |it: u8| char::from_digit(it.into(), 16).unwrap_or('0').to_ascii_uppercase();
            to.extend(['%', digit(byte >> 4), digit(byte & 15)]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_means_something_elsewhere_is_escaped() {
        let mut text = String::new();

        escape("a-b._~/ &=%ü", &mut text);

        assert_eq!(text, "a-b._~%2F%20%26%3D%25%C3%BC");
    }
}
