//! What instances say to Eureka's API: JSON, or XML that says the same.

use std::sync::Arc;

use dyelane::registry::dialect::eureka::format::Format;
use dyelane::registry::dialect::eureka::instance::{Info, Invalid};
use dyelane::registry::dialect::eureka::mapping::{self, Place};
use dyelane::registry::dialect::eureka::shown::{Row, Shown, View};
use dyelane::registry::dialect::eureka::xml;
use dyelane::registry::record::{NodeId, Record, State, Version};
use dyelane::registry::store::{Action, Member};
use serde_json::Value;

/// The bytes are an instance: what begins with `<` is XML, else it is JSON. An instance that can be
/// registered is shown in both wordings, and either is read as the same instance again.
pub fn eureka(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let value = if text.trim_start().starts_with('<') {
        xml::read(text).map(|(_, value)| value).ok()
    } else {
        serde_json::from_str(text).ok()
    };
    let Some(value) = value else { return };
    let Ok(first) = Info::bind(&value, &app(&value)) else { return };

    let json = shown(&first, Format::Json);
    let by_json: Value = serde_json::from_str(&json).unwrap();
    let second = Info::bind(&by_json, &app(&by_json)).unwrap();

    // What is not said is said once it is shown, and from then on nothing changes.
    assert_eq!(shown(&second, Format::Json), json);
    assert_eq!((&second.app, &second.id), (&first.app, &first.id));
    assert_eq!(second.metadata, first.metadata);
    let xml = shown(&first, Format::Xml);
    let (name, by_xml) = xml::read(&xml).unwrap_or_else(|error| panic!("{error}: {xml}"));
    assert_eq!(name, "instance");
    match Info::bind(&by_xml, &app(&by_xml)) {
        Ok(third) => {
            let by_xml: Value = serde_json::from_str(&shown(&third, Format::Json)).unwrap();
            assert_eq!(by_xml, carried(by_json));
        }
        // What is written in place of a character that XML has no room for is longer.
        Err(Invalid::TooLong { .. }) => assert_ne!(carried(by_json.clone()), by_json),
        Err(error) => panic!("{error}: {xml}"),
    }
}

/// The application an instance says it is one of.
fn app(value: &Value) -> String {
    let object = value.get("instance").filter(|it| it.is_object()).unwrap_or(value);
    match object.get("app") {
        Some(Value::String(text)) => text.trim().to_owned(),
        Some(Value::Number(number)) => number.to_string(),
        _ => String::new(),
    }
}

/// An instance as callers are shown it once it is registered.
fn shown(info: &Info, format: Format) -> String {
    let (env, none): (Arc<str>, Arc<str>) = ("prod".into(), "".into());
    let place = Place { env: &env, region: &none, zone: &env };
    let key = mapping::key(info, place);
    let name = key.hostname.clone();
    let registration = mapping::registration(info.clone(), None, place);
    assert_eq!(registration.eureka_status().standing(), registration.status);
    let version = Version { at: 1_795_000_000_000_000_000, node: NodeId(1) };
    let record = Record { key, version, state: State::Live(Arc::new(registration)) };
    let member = Member { id: record.key.id(), record: Arc::new(record) };
    let row = Row { name, member, renewed: version.at, action: Action::Added };
    let view = View { app: None, lease: 90 };
    String::from_utf8(format.instance(&Shown::of(&row, &view).unwrap())).unwrap()
}

/// What is left of JSON on its way through XML: a character that has no place there is replaced.
fn carried(value: Value) -> Value {
    match value {
        Value::String(text) => {
            let has_place = |c: char| {
                matches!(c, '\t' | '\n' | '\r')
                    || (c >= ' ' && !matches!(c, '\u{fffe}' | '\u{ffff}'))
            };
            let carried = text.chars().map(|c| if has_place(c) { c } else { '\u{fffd}' });
            Value::String(carried.collect())
        }
        Value::Array(all) => Value::Array(all.into_iter().map(carried).collect()),
        Value::Object(fields) => {
            Value::Object(fields.into_iter().map(|(key, value)| (key, carried(value))).collect())
        }
        other => other,
    }
}
