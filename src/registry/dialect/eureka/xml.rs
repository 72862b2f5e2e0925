//! XML as Eureka's clients write it, read into the JSON that would say the same; and what is needed
//! to write it.
//!
//! An element with elements in it is an object, one with text alone is a text. An attribute is a
//! field whose name begins with `@`, and text beside attributes is the field `$`: the convention by
//! which Eureka's own JSON was made of its XML. What a document type declares is not looked at: a
//! document that has one is refused, so nothing expands. Depth and number of elements are bounded.

use std::fmt::{Display, Write as _};

use quick_xml::Reader;
use quick_xml::XmlVersion;
use quick_xml::events::{BytesRef, BytesStart, Event};
use serde_json::{Map, Value};

use crate::registry::dialect::eureka::names;

/// How deep elements may stand in each other.
const DEEPEST: usize = 16;
/// How many elements and attributes there may be.
const MOST_PARTS: usize = 8192;
/// How many attributes an element may have.
const MOST_ATTRIBUTES: usize = 16;

/// Why XML cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidXml {
    /// It is none.
    #[error("the body is no XML: {0}")]
    Syntax(String),
    /// There is no element, or one that does not end.
    #[error("the body is no XML: it ends too early")]
    Unfinished,
    /// There is something after the end.
    #[error("the body is no XML: there is more after its end")]
    Trailing,
    /// It has a document type.
    #[error("the body has a document type, which is not read")]
    DocType,
    /// It refers to what only a document type could declare.
    #[error("the body refers to {0:?}, which is not declared")]
    Entity(String),
    /// It is too deep.
    #[error("the body has elements more than {DEEPEST} deep")]
    TooDeep,
    /// There is too much of it.
    #[error("the body has more than {MOST_PARTS} elements and attributes")]
    TooMany,
}

impl From<quick_xml::Error> for InvalidXml {
    fn from(error: quick_xml::Error) -> Self {
        Self::Syntax(error.to_string())
    }
}

/// An element under way.
struct Open {
    name: String,
    fields: Map<String, Value>,
    text: String,
    has_children: bool,
}

impl Open {
    fn close(mut self) -> (String, Value) {
        if self.fields.is_empty() {
            return (self.name, Value::String(self.text));
        }
        if !self.has_children && !self.text.trim().is_empty() {
            self.fields.insert("$".to_owned(), Value::String(self.text));
        }
        (self.name, Value::Object(self.fields))
    }
}

/// Reads a document: the name of its element, and what is in that.
///
/// # Errors
/// It is not well-formed, or too much.
pub fn read(text: &str) -> Result<(String, Value), InvalidXml> {
    let mut reader = Reader::from_str(text);
    let mut open: Vec<Open> = Vec::new();
    let mut root = None;
    let mut parts = 0;
    loop {
        let ended = match reader.read_event()? {
            Event::Start(start) => {
                enter(&start, &mut open, &mut parts)?;
                false
            }
            Event::Empty(start) => {
                enter(&start, &mut open, &mut parts)?;
                true
            }
            Event::End(_) => true,
            Event::Text(text) => {
                say(&mut open, &text.xml10_content())?;
                false
            }
            Event::CData(text) => {
                say(&mut open, &text.xml10_content())?;
                false
            }
            Event::GeneralRef(reference) => {
                say(&mut open, &resolved(&reference)?)?;
                false
            }
            Event::DocType(_) => return Err(InvalidXml::DocType),
            Event::Decl(_) | Event::PI(_) | Event::Comment(_) => false,
            Event::Eof => break,
        };
        if !ended {
            continue;
        }
        let Some(closed) = open.pop() else { return Err(InvalidXml::Trailing) };
        let (name, value) = closed.close();
        match open.last_mut() {
            Some(parent) => {
                parent.has_children = true;
                parent.fields.insert(name, value);
            }
            None if root.is_some() => return Err(InvalidXml::Trailing),
            None => root = Some((name, value)),
        }
    }
    root.filter(|_| open.is_empty()).ok_or(InvalidXml::Unfinished)
}

fn enter(
    start: &BytesStart<'_>,
    open: &mut Vec<Open>,
    parts: &mut usize,
) -> Result<(), InvalidXml> {
    if open.len() >= DEEPEST {
        return Err(InvalidXml::TooDeep);
    }
    let mut fields = Map::new();
    for attribute in start.attributes() {
        let attribute = attribute.map_err(|error| InvalidXml::Syntax(error.to_string()))?;
        let value = attribute.normalized_value(XmlVersion::Implicit1_0)?;
        fields.insert(format!("@{}", attribute.key.as_ref()), Value::String(value.into_owned()));
        // Each is compared with all before it.
        if fields.len() > MOST_ATTRIBUTES {
            return Err(InvalidXml::TooMany);
        }
    }
    *parts += 1 + fields.len();
    if *parts > MOST_PARTS {
        return Err(InvalidXml::TooMany);
    }
    let name = names::decode(start.name().as_ref());
    open.push(Open { name, fields, text: String::new(), has_children: false });
    Ok(())
}

fn say(open: &mut [Open], text: &str) -> Result<(), InvalidXml> {
    match open.last_mut() {
        Some(open) => open.text.push_str(text),
        None if text.trim_start_matches('\u{feff}').trim().is_empty() => {}
        None => return Err(InvalidXml::Trailing),
    }
    Ok(())
}

/// Returns what one of the five references that need no declaration, or a number, stands for.
fn resolved(reference: &BytesRef<'_>) -> Result<String, InvalidXml> {
    if let Some(c) = reference.resolve_char_ref()? {
        return Ok(c.to_string());
    }
    let name = reference.xml10_content();
    let known = quick_xml::escape::resolve_xml_entity(&name);
    known.map(str::to_owned).ok_or_else(|| InvalidXml::Entity(name.chars().take(32).collect()))
}

/// Writes text so that it is read as it was. What XML has no place for is written as U+FFFD.
pub fn push_text(text: &str, out: &mut String) {
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            // Else read as the end of a line, or within an attribute as a space.
            '\r' | '\n' | '\t' => {
                let _ = write!(out, "&#{};", u32::from(c));
            }
            '\0'..='\x1f' | '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
}

/// Writes an element with text alone.
pub fn push_leaf(name: &str, text: impl Display, out: &mut String) {
    let _ = write!(out, "<{name}>");
    push_text(&text.to_string(), out);
    let _ = write!(out, "</{name}>");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn value(text: &str) -> Value {
        read(text).unwrap().1
    }

    #[test]
    fn elements_are_read_as_the_json_that_says_the_same() {
        let read = read(
            "<?xml version=\"1.0\"?><!-- x -->\n<instance>\n  <app>A &amp; &#66;</app><port \
             enabled='true'>80</port><vip><![CDATA[<b>]]></vip><metadata class=\"x\"/><none/>\
             <metadata><a_.0020b> c </a_.0020b></metadata></instance>\n",
        );

        let wanted = json!({
            "app": "A & B",
            "port": {"@enabled": "true", "$": "80"},
            "vip": "<b>",
            "none": "",
            "metadata": {"a b": " c "},
        });
        assert_eq!(read, Ok(("instance".to_owned(), wanted)));
    }

    #[test]
    fn nothing_is_expanded() {
        let bomb = "<!DOCTYPE a [<!ENTITY b \"bbbb\"><!ENTITY c \"&b;&b;\">]><a>&c;</a>";
        let outside = "<!DOCTYPE a SYSTEM \"file:///etc/passwd\"><a/>";

        assert_eq!(read(bomb), Err(InvalidXml::DocType));
        assert_eq!(read(outside), Err(InvalidXml::DocType));
        assert_eq!(read("<a>&c;</a>"), Err(InvalidXml::Entity("c".to_owned())));
    }

    #[test]
    fn what_is_too_much_is_refused() {
        let deep = format!("{}{}", "<a>".repeat(17), "</a>".repeat(17));
        let wide = format!("<a>{}</a>", "<b/>".repeat(8192));

        assert_eq!(read(&deep), Err(InvalidXml::TooDeep));
        assert_eq!(read(&wide), Err(InvalidXml::TooMany));
    }

    #[test]
    fn what_is_not_well_formed_is_refused() {
        for text in ["", "x", "<a>", "<a></b>", "<a/><b/>", "<a/>x", "<a b/>", "<a>&</a>", "</a>"] {
            assert!(read(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn text_is_read_as_it_was_written(text in "[^\\x00-\\x08\\x0b\\x0c\\x0e-\\x1f\u{fffe}\u{ffff}]{0,20}") {
            let mut written = String::new();
            push_leaf("a", &text, &mut written);

            prop_assert_eq!(value(&written), Value::String(text));
        }

        #[test]
        fn any_text_can_be_carried(text in any::<String>()) {
            let mut written = String::new();
            push_leaf("a", &text, &mut written);

            prop_assert!(read(&written).is_ok());
        }

        #[test]
        fn anything_is_read_or_refused(text in "[<>/a&;! \\[\\]\"'=?-]{0,40}") {
            let _ = read(&text);
        }
    }
}
