//! What a request says, whatever it says it in: a query, a form, or JSON.
//!
//! A function of bytes and of nothing else. The body goes before the query where both name a
//! field; names and order are kept as they came.

use std::borrow::Cow;

use serde_json::Value;

/// Fields a request has at most: a list of 1,000 services and their times is far below.
const MOST_FIELDS: usize = 16_384;

/// What is wrong with a request, in the words clients of this dialect know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// A percent sign is not followed by two hexadecimal digits.
    #[error("invalid URL escape {0:?}")]
    Escape(String),
    /// What the escapes stand for is no UTF-8.
    #[error("field {0:?} is no UTF-8")]
    Text(String),
    /// There are more fields than anybody needs.
    #[error("more than {MOST_FIELDS} fields")]
    TooMany,
    /// The body says it is JSON, and is not an object.
    #[error("the body is no JSON object: {0}")]
    Json(String),
    /// A number is none.
    #[error("strconv.{function}: parsing {text:?}: {cause}")]
    Number {
        /// The function of Go that would have refused it.
        function: &'static str,
        /// What it was given.
        text: String,
        /// What it would have said.
        cause: &'static str,
    },
    /// Fields are missing, or have the value of what is missing.
    #[error("{0}")]
    Missing(String),
    /// A text is longer than any name.
    #[error("{field} is longer than {limit} bytes")]
    TooLong {
        /// Which.
        field: &'static str,
        /// How long it may be.
        limit: usize,
    },
    /// A list has more entries than it may.
    #[error("{field} has more than {limit} entries")]
    TooLarge {
        /// Which.
        field: &'static str,
        /// How many it may have.
        limit: usize,
    },
    /// The metadata is no JSON object of texts.
    #[error("metadata is no JSON object of texts: {0}")]
    Metadata(String),
    /// The status is neither 1 nor 2.
    #[error("status is {0}: 1 takes traffic, 2 does not, and there is no other")]
    Status(u32),
    /// Lists that belong together have other lengths.
    #[error("{one} has {ones} entries, {other} has {others}")]
    Unequal {
        /// The one.
        one: &'static str,
        /// Its length.
        ones: usize,
        /// The other.
        other: &'static str,
        /// Its length.
        others: usize,
    },
}

/// The fields of a request.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Fields(Vec<(String, String)>);

impl Fields {
    /// Reads a query alone: a `GET`.
    ///
    /// # Errors
    /// It cannot be decoded.
    pub fn of_query(query: &str) -> Result<Self, Invalid> {
        let mut fields = Self::default();
        fields.add_form(query.as_bytes())?;
        Ok(fields)
    }

    /// Reads a body and a query: a `POST`. `kind` is its content type.
    ///
    /// # Errors
    /// Either cannot be decoded.
    pub fn of_body(kind: &str, body: &[u8], query: &str) -> Result<Self, Invalid> {
        let mut fields = Self::default();
        let kind = kind.split(';').next().unwrap_or_default().trim();
        if kind.eq_ignore_ascii_case("application/json") {
            fields.add_json(body)?;
        } else if kind.is_empty() || kind.eq_ignore_ascii_case("application/x-www-form-urlencoded")
        {
            fields.add_form(body)?;
        }
        fields.add_form(query.as_bytes())?;
        Ok(fields)
    }

    /// Returns the first value of a field; empty if there is none.
    pub fn first(&self, name: &str) -> &str {
        let wanted = self.0.iter().find(|(key, _)| key == name);
        wanted.map(|(_, value)| value.as_str()).unwrap_or_default()
    }

    /// Returns the values of a field that are not empty, in order.
    pub fn list<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.all(name).filter(|it| !it.is_empty())
    }

    /// Returns the values of a field that are not empty, each taken apart at its commas: some
    /// clients repeat the field, some join it.
    pub fn split<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.all(name).flat_map(|it| it.split(',')).map(str::trim).filter(|it| !it.is_empty())
    }

    /// Returns every field in the order in which they came.
    pub fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Returns whether a switch is on. What Go takes for no truth value is off.
    pub fn is_on(&self, name: &str) -> bool {
        matches!(self.first(name), "1" | "t" | "T" | "TRUE" | "true" | "True")
    }

    fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let wanted = self.0.iter().filter(move |(key, _)| key == name);
        wanted.map(|(_, value)| value.as_str())
    }

    fn add(&mut self, name: String, value: String) -> Result<(), Invalid> {
        if self.0.len() >= MOST_FIELDS {
            return Err(Invalid::TooMany);
        }
        self.0.push((name, value));
        Ok(())
    }

    fn add_form(&mut self, form: &[u8]) -> Result<(), Invalid> {
        for pair in form.split(|byte| *byte == b'&').filter(|it| !it.is_empty()) {
            let middle = pair.iter().position(|byte| *byte == b'=').unwrap_or(pair.len());
            let (name, value) = pair.split_at(middle);
            let name = decoded(name)?;
            let value = decoded(value.get(1..).unwrap_or_default())?;
            self.add(name, value)?;
        }
        Ok(())
    }

    /// Takes the fields of a JSON object, by the names Go's decoder would find: letters alone count.
    fn add_json(&mut self, body: &[u8]) -> Result<(), Invalid> {
        if body.iter().all(u8::is_ascii_whitespace) {
            return Ok(());
        }
        let read = serde_json::from_slice::<serde_json::Map<String, Value>>(body);
        for (name, value) in read.map_err(|error| Invalid::Json(error.to_string()))? {
            let name = known(&name);
            match value {
                Value::Null => {}
                Value::Array(values) => {
                    for value in values {
                        self.add(name.clone().into_owned(), scalar(value))?;
                    }
                }
                value => self.add(name.into_owned(), scalar(value))?,
            }
        }
        Ok(())
    }
}

/// Returns the form's name of a field of JSON: `LatestTimestamp` is `latest_timestamp`.
fn known(name: &str) -> Cow<'_, str> {
    let letters = name.replace('_', "").to_ascii_lowercase();
    let form = match letters.as_str() {
        "latesttimestamp" => "latest_timestamp",
        "dirtytimestamp" => "dirty_timestamp",
        "settimestamp" => "set_timestamp",
        "fromzone" => "from_zone",
        _ => return Cow::Owned(letters),
    };
    Cow::Borrowed(form)
}

/// Returns a JSON value as text: a string without its quotes, null as nothing, the rest as JSON.
pub(super) fn scalar(value: Value) -> String {
    match value {
        Value::String(text) => text,
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// Undoes what a form does to text: `+` is a space, `%41` an `A`.
fn decoded(part: &[u8]) -> Result<String, Invalid> {
    let shown = |part: &[u8]| String::from_utf8_lossy(part.get(..3).unwrap_or(part)).into_owned();
    let mut bytes = Vec::with_capacity(part.len());
    let mut rest = part;
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        bytes.push(match first {
            b'+' => b' ',
            b'%' => {
                let escape = || Invalid::Escape(shown(&[b"%", after].concat()));
                let (high, low) = match after {
                    [high, low, ..] => (hex(*high), hex(*low)),
                    _ => (None, None),
                };
                rest = after.get(2..).unwrap_or_default();
                high.zip(low).map(|(high, low)| high << 4 | low).ok_or_else(escape)?
            }
            byte => *byte,
        });
    }
    String::from_utf8(bytes).map_err(|error| {
        Invalid::Text(String::from_utf8_lossy(error.as_bytes()).chars().take(32).collect())
    })
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|it| u8::try_from(it).ok())
}

/// Reads a number as `strconv.ParseInt(text, 10, 64)` does; nothing is 0.
///
/// # Errors
/// As Go says it.
pub fn signed(text: &str) -> Result<i64, Invalid> {
    number("ParseInt", text, text.parse())
}

/// Reads a number as `strconv.ParseUint(text, 10, 32)` does, which takes no sign; nothing is 0.
///
/// # Errors
/// As Go says it.
pub fn unsigned(text: &str) -> Result<u32, Invalid> {
    // Rust would take the sign.
    let digits = if text.starts_with('+') { "+" } else { text };
    number("ParseUint", text, digits.parse())
}

fn number<T: Default>(
    function: &'static str,
    text: &str,
    read: Result<T, std::num::ParseIntError>,
) -> Result<T, Invalid> {
    use std::num::IntErrorKind::{NegOverflow, PosOverflow};
    match read {
        _ if text.is_empty() => Ok(T::default()),
        Ok(number) => Ok(number),
        Err(error) => {
            let cause = match error.kind() {
                PosOverflow | NegOverflow => "value out of range",
                _ => "invalid syntax",
            };
            let text = text.chars().take(64).collect();
            Err(Invalid::Number { function, text, cause })
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn query(text: &str) -> Fields {
        Fields::of_query(text).unwrap()
    }

    #[test]
    fn the_body_goes_before_the_query() {
        let kind = "application/x-www-form-urlencoded; charset=utf-8";

        let both = Fields::of_body(kind, b"zone=body&a=1", "zone=query&a=2&b=3").unwrap();

        assert_eq!(both.first("zone"), "body");
        assert_eq!(both.list("a").collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!(both.first("b"), "3");
    }

    #[test]
    fn a_post_may_say_everything_in_its_query() {
        for kind in ["", "application/x-www-form-urlencoded", "text/plain"] {
            let read = Fields::of_body(kind, b"", "appid=a.b%20c+d").unwrap();

            assert_eq!(read.first("appid"), "a.b c d", "{kind:?}");
        }
    }

    #[test]
    fn lists_are_repeated_or_joined_and_have_no_empty_entries() {
        let read = query("a=1,2&a=&a=3,,&b");

        assert_eq!(read.split("a").collect::<Vec<_>>(), ["1", "2", "3"]);
        assert_eq!(read.list("a").collect::<Vec<_>>(), ["1,2", "3,,"]);
        assert_eq!(read.first("b"), "");
        assert_eq!(read.first("none"), "");
    }

    #[test]
    fn json_is_bound_by_the_names_of_go() {
        let body = br#"{"Zone":"z","addrs":["a","b"],"latesttimestamp":7,"FromZone":true,"x":null,
                        "metadata":{"weight":10}}"#;

        let read = Fields::of_body("application/json", body, "env=prod").unwrap();

        assert_eq!((read.first("zone"), read.first("env")), ("z", "prod"));
        assert_eq!(read.list("addrs").collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(read.first("latest_timestamp"), "7");
        assert!(read.is_on("from_zone"));
        assert_eq!(read.first("metadata"), r#"{"weight":10}"#);
    }

    #[test]
    fn what_cannot_be_decoded_is_refused() {
        for wrong in ["a=%", "a=%4", "a=%zz", "%g1=1", "a=%ff"] {
            assert!(Fields::of_query(wrong).is_err(), "{wrong}");
        }
        for wrong in ["[1]", "{", "7", "{\"a\":1}x"] {
            let read = Fields::of_body("application/json", wrong.as_bytes(), "");
            assert!(matches!(read, Err(Invalid::Json(_))), "{wrong}");
        }
        assert_eq!(Fields::of_query(&"a&".repeat(MOST_FIELDS + 1)), Err(Invalid::TooMany));
    }

    #[test]
    fn numbers_are_read_as_go_reads_them() {
        assert_eq!((signed("-7"), signed("+7"), signed("")), (Ok(-7), Ok(7), Ok(0)));
        assert_eq!((unsigned("7"), unsigned("")), (Ok(7), Ok(0)));
        let said = |it: Result<i64, Invalid>| it.unwrap_err().to_string();
        assert_eq!(said(signed("0,0")), r#"strconv.ParseInt: parsing "0,0": invalid syntax"#);
        assert_eq!(
            said(signed("9223372036854775808")),
            r#"strconv.ParseInt: parsing "9223372036854775808": value out of range"#
        );
        for wrong in ["+1", "-1", "1.0", " 1", "4294967296"] {
            assert!(unsigned(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn switches_are_on_for_the_truths_of_go_alone() {
        for on in ["1", "t", "T", "true", "TRUE", "True"] {
            assert!(query(&format!("replication={on}")).is_on("replication"));
        }
        for off in ["", "0", "f", "yes", "tRUE"] {
            assert!(!query(&format!("replication={off}")).is_on("replication"));
        }
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_odd(body: Vec<u8>, query: String, json: bool) {
            let kind = if json { "application/json" } else { "" };

            let _ = Fields::of_body(kind, &body, &query);
        }

        #[test]
        fn what_is_encoded_is_read(pairs in proptest::collection::vec((".{1,9}", ".{0,9}"), 0..9)) {
            let encoded = |text: &str| -> String {
                text.bytes().fold(String::new(), |text, byte| format!("{text}%{byte:02X}"))
            };
            let form = pairs.iter().map(|(a, b)| format!("{}={}", encoded(a), encoded(b)));

            let read = Fields::of_query(&form.collect::<Vec<_>>().join("&"));

            prop_assert_eq!(read, Ok(Fields(pairs)));
        }
    }
}
