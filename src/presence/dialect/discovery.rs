//! The calls of bilibili/discovery, which our registry takes too.

use std::net::SocketAddr;

use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use serde::Deserialize;

use crate::net::{Answer, escape};
use crate::presence::dialect::{Call, Trouble, Words, excerpt, url};
use crate::presence::plan::Announced;

/// It did as it was asked.
const DONE: i64 = 0;
/// What was sent makes no sense to it.
const BAD: i64 = -400;
/// It does not know the instance.
const NOT_FOUND: i64 = -404;

/// What every answer has.
#[derive(Deserialize)]
struct Envelope {
    code: i64,
    #[serde(default)]
    message: String,
}

/// A form in the making.
#[derive(Default)]
struct Form(String);

impl Form {
    fn with(mut self, key: &str, value: &str) -> Self {
        if !self.0.is_empty() {
            self.0.push('&');
        }
        self.0.push_str(key);
        self.0.push('=');
        escape(value, &mut self.0);
        self
    }
}

pub(super) fn say(call: Call, instance: &Announced, address: SocketAddr) -> Words {
    let mut form = Form::default()
        .with("zone", &instance.zone)
        .with("env", &instance.env)
        .with("appid", instance.service.as_str())
        .with("hostname", &instance.hostname);
    let path = match call {
        Call::Renew => "/discovery/renew",
        Call::Cancel => "/discovery/cancel",
        Call::Register => {
            let metadata = serde_json::to_string(&instance.metadata).unwrap_or_default();
            form = form
                .with("region", &instance.region)
                .with("status", "1")
                .with("addrs", &url(instance, address))
                .with("version", &instance.version)
                .with("metadata", &metadata);
            "/discovery/register"
        }
    };
    let form_type = HeaderValue::from_static("application/x-www-form-urlencoded");
    let fields = HeaderMap::from_iter([(header::CONTENT_TYPE, form_type)]);
    Words { method: Method::POST, path: path.to_owned(), fields, body: form.0.into() }
}

pub(super) fn read(answer: &Answer) -> Result<(), Trouble> {
    if answer.status != StatusCode::OK {
        return Err(Trouble::Unable(answer.status.to_string()));
    }
    let Ok(Envelope { code, message }) = serde_json::from_slice(&answer.body) else {
        return Err(Trouble::Unable("what is no answer of a registry".to_owned()));
    };
    match code {
        DONE => Ok(()),
        NOT_FOUND => Err(Trouble::Unknown),
        BAD => Err(Trouble::Refused(excerpt(&message))),
        _ => Err(Trouble::Unable(format!("code {code}: {}", excerpt(&message)))),
    }
}
