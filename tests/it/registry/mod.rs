//! The registry over real sockets, by bytes that clients of it send.

mod bad_input;
mod discovery;
mod eureka;
mod half_closed;
mod overload;
mod peers;
mod polling;
mod rules;
mod simulation;
mod watching;

use std::net::SocketAddr;
use std::sync::Arc;

use dyelane::registry::node::{Node, Settings};
use dyelane::registry::record::{Key, Registration};
use dyelane::registry::server::Registry;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::harness::{until, within};

/// A node, and how to ask it.
struct Server {
    registry: Registry,
}

/// What it answers.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Told {
    status: u16,
    head: String,
    body: String,
}

impl Told {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The verdict in the body; the header must repeat it.
    fn code(&self) -> i64 {
        let code = self.json()["code"].as_i64().unwrap();
        assert_eq!(self.field("kratos-status-code"), Some(code.to_string().as_str()));
        code
    }

    fn field(&self, name: &str) -> Option<&str> {
        let fields = self.head.lines().filter_map(|line| line.split_once(": "));
        fields.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value).next()
    }
}

impl Server {
    async fn new() -> Self {
        Self::with(Settings::default()).await
    }

    async fn with(settings: Settings) -> Self {
        Self { registry: Registry::start(settings).await.unwrap() }
    }

    fn node(&self) -> &Arc<Node> {
        self.registry.node()
    }

    /// Sends a request on a connection of its own.
    async fn send(&self, method: &str, target: &str, fields: &str, body: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.registry.address()).await.unwrap();
        let request = format!(
            "{method} {target} HTTP/1.1\r\nhost: registry\r\nconnection: close\r\n{fields}\
             content-length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        stream
    }

    async fn ask(&self, method: &str, target: &str, fields: &str, body: &str) -> Told {
        answer(self.send(method, target, fields, body).await).await
    }

    async fn get(&self, target: &str) -> Told {
        self.ask("GET", target, "", "").await
    }

    /// Sends a form.
    async fn post(&self, call: &str, form: &str) -> Told {
        let kind = "content-type: application/x-www-form-urlencoded\r\n";
        self.ask("POST", &format!("/discovery/{call}"), kind, form).await
    }

    async fn register(&self, appid: &str, hostname: &str) {
        let who = format!("zone=z&env=prod&appid={appid}&hostname={hostname}&status=1");
        let told = self.post("register", &format!("{who}&addrs=grpc://{hostname}:9000")).await;
        assert_eq!(told.code(), 0);
    }

    /// Registers an instance of `a` without asking for it.
    fn put(&self, hostname: &str, addr: &str) {
        let [env, appid, zone, hostname] = ["prod", "a", "z", hostname].map(Arc::from);
        let registration = Registration { addrs: vec![addr.into()], ..Registration::default() };
        let key = Key { env, appid, zone, hostname };
        self.node().write(|store, now| store.register(key, registration, now).map(drop)).unwrap();
    }

    async fn cancel(&self, appid: &str, hostname: &str) {
        let who = format!("zone=z&env=prod&appid={appid}&hostname={hostname}");
        assert_eq!(self.post("cancel", &who).await.code(), 0);
    }

    /// Returns the timestamp of a service.
    async fn latest(&self, appid: &str) -> i64 {
        let told = self.get(&format!("/discovery/fetch?env=prod&appid={appid}&status=3")).await;
        told.json()["data"]["latest_timestamp"].as_i64().unwrap()
    }

    /// Returns once so many requests wait for news.
    async fn watchers(&self, number: usize) {
        within(async {
            while self.node().hub().len() != number {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
}

/// Reads an answer to the end of its connection.
async fn answer(mut stream: TcpStream) -> Told {
    let mut bytes = Vec::new();
    within(stream.read_to_end(&mut bytes)).await.unwrap();
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text:?}"));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Told { status, head: head.to_owned(), body: body.to_owned() }
}

/// Asks a node at `address` on a connection of its own.
async fn ask_at(address: SocketAddr, request: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // It may answer and close before it has read everything.
    let _ = stream.write_all(request).await;
    let _ = stream.shutdown().await;
    let mut bytes = Vec::new();
    let _ = within(stream.read_to_end(&mut bytes)).await;
    bytes
}
