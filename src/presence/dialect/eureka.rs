//! The REST protocol of Netflix Eureka, version 2.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use serde_json::json;

use crate::config::EurekaAddress;
use crate::net::{Answer, basic_credentials, escape};
use crate::presence::dialect::{Call, Trouble, Words, excerpt, url};
use crate::presence::plan::{Announced, Plan};

/// Renewals that may be missed before a server forgets us.
const MISSED: u32 = 3;

pub(super) fn say(
    call: Call,
    server: &EurekaAddress,
    plan: &Plan,
    address: SocketAddr,
    told: u64,
) -> Words {
    let instance = &plan.instance;
    let mut path = format!("{}/apps/", server.path);
    escape(&instance.service.as_str().to_uppercase(), &mut path);
    let mut body = Vec::new();
    let mut fields = HeaderMap::new();
    fields.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
    let credentials = server.user.as_ref().and_then(|it| basic_credentials(it.reveal()));
    fields.extend(credentials.map(|it| (header::AUTHORIZATION, it)));
    let method = match call {
        Call::Register => {
            let json = HeaderValue::from_static("application/json");
            fields.insert(header::CONTENT_TYPE, json);
            body = registration(instance, plan.renew, address, told).to_string().into_bytes();
            Method::POST
        }
        Call::Renew => {
            push_id(instance, address, &mut path);
            let _ = write!(path, "?status=UP&lastDirtyTimestamp={told}");
            Method::PUT
        }
        Call::Cancel => {
            push_id(instance, address, &mut path);
            Method::DELETE
        }
    };
    Words { method, path, fields, body: body.into() }
}

fn push_id(instance: &Announced, address: SocketAddr, path: &mut String) {
    path.push('/');
    escape(&id(instance, address), path);
}

/// What tells our instance from all others: as Spring Cloud has it.
fn id(instance: &Announced, address: SocketAddr) -> String {
    format!("{}:{}:{}", instance.hostname, instance.service, address.port())
}

/// Our instance, as a server is told of it.
fn registration(
    instance: &Announced,
    renew: Duration,
    address: SocketAddr,
    told: u64,
) -> serde_json::Value {
    let ip = address.ip().to_string();
    let mut metadata = instance.metadata.clone();
    metadata.entry("zone".to_owned()).or_insert_with(|| instance.zone.to_string());
    if !instance.version.is_empty() {
        metadata.entry("version".to_owned()).or_insert_with(|| instance.version.to_string());
    }
    let home = url(instance, address);
    json!({ "instance": {
        "instanceId": id(instance, address),
        // What callers connect to; a name of ours need not be one they can look up.
        "hostName": ip,
        "app": instance.service.as_str().to_uppercase(),
        "ipAddr": ip,
        "status": "UP",
        "overriddenStatus": "UNKNOWN",
        "port": { "$": address.port(), "@enabled": "true" },
        "securePort": { "$": 443, "@enabled": "false" },
        "countryId": 1,
        "dataCenterInfo": {
            "@class": "com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo",
            "name": "MyOwn",
        },
        "leaseInfo": {
            "renewalIntervalInSecs": renew.as_secs().max(1),
            "durationInSecs": renew.as_secs().max(1) * u64::from(MISSED),
        },
        "metadata": metadata,
        "homePageUrl": home,
        "vipAddress": instance.service.as_str(),
        "secureVipAddress": instance.service.as_str(),
        "isCoordinatingDiscoveryServer": "false",
        "lastUpdatedTimestamp": told.to_string(),
        "lastDirtyTimestamp": told.to_string(),
    }})
}

pub(super) fn read(answer: &Answer) -> Result<(), Trouble> {
    match answer.status {
        status if status.is_success() => Ok(()),
        StatusCode::NOT_FOUND => Err(Trouble::Unknown),
        StatusCode::BAD_REQUEST => {
            Err(Trouble::Refused(excerpt(&String::from_utf8_lossy(&answer.body))))
        }
        status => Err(Trouble::Unable(status.to_string())),
    }
}
