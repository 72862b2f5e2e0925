//! Requests as bytes, made before the clock starts, and a client that does as little as one can.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long an answer may take: longer than any poll is held.
const PATIENCE: Duration = Duration::from_secs(60);

/// One instance among many: ten of a service, in three zones.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Instance(pub(crate) usize);

impl Instance {
    fn appid(self) -> String {
        format!("business.service-{}.grpc", self.0 / 10)
    }

    fn name(self, appid: &str) -> String {
        let Self(number) = self;
        let zone = number % 3;
        format!("zone=sh00{zone}&env=prod&appid={appid}&hostname=service-7d9c5b8f6-{number:05x}")
    }

    /// Returns a heartbeat.
    pub(crate) fn renew(self) -> Vec<u8> {
        post("/discovery/renew", &self.name(&self.appid()))
    }

    /// Returns a leave-taking.
    pub(crate) fn cancel(self) -> Vec<u8> {
        post("/discovery/cancel", &self.name(&self.appid()))
    }

    /// Returns its registration.
    pub(crate) fn register(self) -> Vec<u8> {
        self.register_as(&self.appid(), "1.14.2")
    }

    /// Returns its registration with a service of another name, in one of its versions.
    pub(crate) fn register_as(self, appid: &str, version: &str) -> Vec<u8> {
        let (high, low) = (self.0 >> 8 & 255, self.0 & 255);
        let form = format!(
            "{}&region=sh&status=1&version={version}&addrs=grpc%3A%2F%2F10.{high}.{low}.7%3A9000\
             &addrs=http%3A%2F%2F10.{high}.{low}.7%3A8000\
             &metadata=%7B%22color%22%3A%22%22%2C%22cluster%22%3A%22c1%22%2C%22weight%22%3A%2210%22%7D",
            self.name(appid)
        );
        post("/discovery/register", &form)
    }

    /// Returns a question for all instances of its service.
    pub(crate) fn fetch(self) -> Vec<u8> {
        fetch(&self.appid())
    }
}

/// Returns a question for all instances of a service.
pub(crate) fn fetch(appid: &str) -> Vec<u8> {
    get(&format!("/discovery/fetch?env=prod&appid={appid}&status=1"))
}

/// Returns a question of the reference's dialect for news of a service.
pub(crate) fn polls(consumer: usize, appid: &str, since: u64) -> Vec<u8> {
    get(&format!(
        "/discovery/polls?env=prod&hostname=consumer-{consumer}&appid={appid}\
         &latest_timestamp={since}"
    ))
}

/// Returns a GET, with the header fields a client of the reference sends.
pub(crate) fn get(path: &str) -> Vec<u8> {
    format!(
        "GET {path} HTTP/1.1\r\nhost: registry:7171\r\nuser-agent: Go-http-client/1.1\r\n\
         x1-bmspy-timeout: 40000\r\n\r\n"
    )
    .into()
}

/// Returns the same, of a client that takes gzip.
pub(crate) fn get_packed(path: &str) -> Vec<u8> {
    format!(
        "GET {path} HTTP/1.1\r\nhost: registry:7171\r\nuser-agent: Go-http-client/1.1\r\n\
         accept-encoding: gzip\r\n\r\n"
    )
    .into()
}

/// Returns a POST of a form.
pub(crate) fn post(path: &str, form: &str) -> Vec<u8> {
    send("POST", path, "application/x-www-form-urlencoded", "", form)
}

/// Returns a request of JSON.
pub(crate) fn json(method: &str, path: &str, fields: &str, body: &str) -> Vec<u8> {
    send(method, path, "application/json", fields, body)
}

fn send(method: &str, path: &str, kind: &str, fields: &str, body: &str) -> Vec<u8> {
    format!(
        "{method} {path} HTTP/1.1\r\nhost: registry:7171\r\nuser-agent: Go-http-client/1.1\r\n\
         content-type: {kind}\r\n{fields}content-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into()
}

/// What came back; its body is the [`Connection`]'s until the next request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Answer {
    /// The status of HTTP.
    pub(crate) status: u16,
    /// Bytes of head and body.
    pub(crate) bytes: usize,
}

/// A connection that carries one request after the other.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
    body: usize,
}

impl Connection {
    /// Opens one.
    pub(crate) async fn open(addr: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(addr).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::with_capacity(1024), body: 0 })
    }

    /// Sends a request and reads its answer whole.
    pub(crate) async fn ask(&mut self, request: &[u8]) -> anyhow::Result<Answer> {
        match timeout(PATIENCE, self.exchange(request)).await {
            Ok(answer) => answer,
            Err(_) => bail!("no answer within {PATIENCE:?}"),
        }
    }

    async fn exchange(&mut self, request: &[u8]) -> anyhow::Result<Answer> {
        self.stream.write_all(request).await?;
        self.buffer.clear();
        let (body, bytes) = loop {
            self.read().await?;
            let Some(body) = end_of_head(&self.buffer) else { continue };
            break (body, body + content_length(self.buffer.get(..body).unwrap_or_default())?);
        };
        self.buffer.reserve(bytes.saturating_sub(self.buffer.len()));
        while self.buffer.len() < bytes {
            self.read().await?;
        }
        ensure!(self.buffer.len() == bytes, "more came than one answer");
        self.body = body;
        let status = self.buffer.get(9..12).and_then(|it| str::from_utf8(it).ok());
        let status = status.context("no status line")?.parse()?;
        Ok(Answer { status, bytes })
    }

    async fn read(&mut self) -> anyhow::Result<()> {
        ensure!(self.stream.read_buf(&mut self.buffer).await? > 0, "the server hung up");
        Ok(())
    }

    /// Returns the body of the last answer.
    pub(crate) fn body(&self) -> &[u8] {
        self.buffer.get(self.body..).unwrap_or_default()
    }
}

fn end_of_head(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|it| it == b"\r\n\r\n").map(|at| at + 4)
}

fn content_length(head: &[u8]) -> anyhow::Result<usize> {
    let head = str::from_utf8(head)?;
    let mut lines = head.lines().filter_map(|it| it.split_once(':'));
    let length = lines.find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    Ok(length.context("an answer without its length")?.1.trim().parse()?)
}

/// Returns the number behind the last `"latest_timestamp":` of an answer: that of the service.
pub(crate) fn latest_timestamp(body: &[u8]) -> anyhow::Result<u64> {
    const NAME: &[u8] = b"\"latest_timestamp\":";
    let at = body.windows(NAME.len()).rposition(|it| it == NAME).context("no latest_timestamp")?;
    let digits = body.get(at + NAME.len()..).unwrap_or_default();
    let end = digits.iter().position(|it| !it.is_ascii_digit()).unwrap_or(digits.len());
    Ok(str::from_utf8(digits.get(..end).unwrap_or_default())?.parse()?)
}
