//! Who has the registry's token: writers of tenant rules, and its nodes among each other.

use http::{HeaderMap, HeaderValue, header};

/// How a token is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Untrusted {
    /// None is shown.
    Nameless,
    /// It is another one.
    Stranger,
}

/// Refuses who does not show `token` as `Bearer` in the `authorization` field, in a time that tells
/// nothing of it.
///
/// # Errors
/// No token is shown, or another one.
pub fn check(token: &str, field: Option<&str>) -> Result<(), Untrusted> {
    let (scheme, given) = field.and_then(|it| it.split_once(' ')).ok_or(Untrusted::Nameless)?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(Untrusted::Nameless);
    }
    if is_same(token.as_bytes(), given.trim().as_bytes()) {
        Ok(())
    } else {
        Err(Untrusted::Stranger)
    }
}

/// Shows `token` in the fields of a request, marked as nobody's to see. One that no field can hold is
/// left out: [`Secret`](crate::config::Secret) lets none through.
pub fn show(token: &str, fields: &mut HeaderMap) {
    if let Ok(mut value) = HeaderValue::from_str(&format!("Bearer {token}")) {
        value.set_sensitive(true);
        fields.insert(header::AUTHORIZATION, value);
    }
}

/// Compares two texts in a time that depends on their lengths alone.
fn is_same(one: &[u8], other: &[u8]) -> bool {
    let differences = one.iter().zip(other).fold(0, |sum, (a, b)| sum | (a ^ b));
    std::hint::black_box(differences) == 0 && one.len() == other.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_has_the_token_is_let_in() {
        for good in ["Bearer abc", "bearer  abc"] {
            assert_eq!(check("abc", Some(good)), Ok(()), "{good:?}");
        }
        for stranger in ["Bearer abd", "Bearer ab", "Bearer abcd", "Bearer "] {
            assert_eq!(check("abc", Some(stranger)), Err(Untrusted::Stranger), "{stranger:?}");
        }
        for nameless in [None, Some("abc"), Some("Basic abc")] {
            assert_eq!(check("abc", nameless), Err(Untrusted::Nameless), "{nameless:?}");
        }
    }

    #[test]
    fn what_is_shown_is_let_in_and_not_printed() {
        let mut fields = HeaderMap::new();

        show("sesame", &mut fields);

        let field = fields[header::AUTHORIZATION].to_str().unwrap();
        assert_eq!(check("sesame", Some(field)), Ok(()));
        assert!(!format!("{fields:?}").contains("sesame"));
    }
}
