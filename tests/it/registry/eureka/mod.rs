//! Eureka's API over real sockets: what its clients and servers send, and how it is answered.

mod bad_input;
mod batch;
mod both;
mod calls;
mod input;
mod lists;
mod peers;
mod shapes;
mod statuses;

use dyelane::registry::api::gzip;
use serde_json::json;

use super::*;

const JSON: &str = "accept: application/json\r\n";
const SAYS_JSON: &str = "content-type: application/json\r\n";

/// What an instance says, and little more than it must.
fn instance(app: &str, id: &str) -> Value {
    json!({ "instance": {
        "instanceId": id,
        "hostName": "host-1",
        "app": app,
        "ipAddr": "10.0.0.1",
        "status": "UP",
        "port": { "$": 80, "@enabled": "true" },
        "vipAddress": app.to_lowercase(),
        "dataCenterInfo": { "name": "MyOwn" },
        "lastDirtyTimestamp": "1000",
    }})
}

impl Server {
    /// Registers what an instance says, by the path of its application.
    async fn put_in(&self, instance: &Value) -> Told {
        let app = instance["instance"]["app"].as_str().unwrap();
        let target = format!("/eureka/apps/{app}");
        self.ask("POST", &target, SAYS_JSON, &instance.to_string()).await
    }

    /// Registers an instance that says little.
    async fn put_in_plain(&self, app: &str, id: &str) {
        assert_eq!(self.put_in(&instance(app, id)).await.status, 204);
    }

    /// Asks below `/eureka/` without a body, and returns the status.
    async fn does(&self, method: &str, path: &str) -> u16 {
        self.ask(method, &format!("/eureka/{path}"), JSON, "").await.status
    }

    /// Reads below `/eureka/` as JSON.
    async fn reads(&self, path: &str) -> Value {
        let told = self.ask("GET", &format!("/eureka/{path}"), JSON, "").await;
        assert_eq!(told.status, 200, "{path}: {told:?}");
        assert_eq!(told.field("content-type"), Some("application/json"));
        told.json()
    }

    /// Reads below `/eureka/` as XML.
    async fn reads_xml(&self, path: &str) -> String {
        let told = self.get(&format!("/eureka/{path}")).await;
        assert_eq!(told.status, 200, "{path}: {told:?}");
        assert_eq!(told.field("content-type"), Some("application/xml"));
        told.body
    }

    /// Returns one instance as it is shown.
    async fn shown(&self, app: &str, id: &str) -> Value {
        self.reads(&format!("apps/{app}/{id}")).await["instance"].take()
    }

    /// Returns the ids of all instances of a list, in its order.
    async fn ids(&self, path: &str) -> Vec<String> {
        instances(&self.reads(path).await).map(|it| text(&it["instanceId"])).collect()
    }
}

/// Sends bytes on a connection of its own, which asks to be closed, and returns all that comes.
async fn exchange(server: &Server, parts: &[&[u8]]) -> Vec<u8> {
    let mut stream = TcpStream::connect(server.registry.address()).await.unwrap();
    let mut told = Vec::new();
    stream.write_all(&parts.concat()).await.unwrap();
    within(stream.read_to_end(&mut told)).await.unwrap();
    told
}

/// Returns the instances of a list.
fn instances(list: &Value) -> impl Iterator<Item = &Value> {
    let apps = list["applications"]["application"].as_array().unwrap();
    apps.iter().flat_map(|it| it["instance"].as_array().unwrap())
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}

/// Counts the statuses of a list without the registry's help.
fn counted(list: &Value) -> String {
    let mut names: Vec<_> = instances(list).map(|it| text(&it["status"])).collect();
    names.sort_unstable();
    let counted = names.chunk_by(|one, other| one == other);
    let counted: Vec<_> = counted.map(|it| format!("{}_{}_", it[0], it.len())).collect();
    counted.concat()
}

/// Replaces whatever is a time in an answer, so that the rest can be compared.
fn without_times(text: &str) -> String {
    let mut out = String::new();
    let mut digits = String::new();
    for c in text.chars().chain([' ']) {
        if c.is_ascii_digit() {
            digits.push(c);
            continue;
        }
        out.push_str(if digits.len() >= 13 { "TIME" } else { &digits });
        digits.clear();
        out.push(c);
    }
    out.trim_end().to_owned()
}
