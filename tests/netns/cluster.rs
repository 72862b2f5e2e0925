//! A registry of three nodes, each in a namespace of its own, joined by a switch in a fourth.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{interval, timeout};

use crate::namespace::Namespace;

/// How long anything may take on a machine that has much else to do.
const PATIENCE: Duration = Duration::from_secs(30);
/// How many nodes there are.
pub(crate) const NODES: [usize; 3] = [1, 2, 3];
/// What rules are written with.
pub(crate) const TOKEN: &str = "sesame";

/// Three nodes.
pub(crate) struct Cluster {
    switch: Namespace,
    hosts: Vec<Host>,
    folder: TempDir,
}

/// Where a node runs, and the node.
struct Host {
    inside: Namespace,
    node: Option<Child>,
}

/// What a node answers.
pub(crate) struct Told {
    pub(crate) status: u16,
    pub(crate) body: String,
    /// How long that took.
    pub(crate) took: Duration,
}

impl Told {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    /// The verdict of an answer to a client of the discovery API.
    pub(crate) fn code(&self) -> i64 {
        self.json()["code"].as_i64().unwrap()
    }
}

/// Where a node listens.
fn address(number: usize) -> SocketAddr {
    let host = u8::try_from(number).unwrap();
    (Ipv4Addr::new(10, 16, 0, host), 7171).into()
}

impl Cluster {
    /// Starts all three, and waits until they have met.
    pub(crate) async fn start() -> Self {
        let switch = Namespace::new().unwrap();
        switch.command("ip link add switch type bridge").unwrap();
        switch.command("ip link set switch up").unwrap();
        let hosts = NODES.map(|number| host(&switch, number)).into_iter().collect();
        let mut cluster = Self { switch, hosts, folder: tempfile::tempdir().unwrap() };
        std::fs::write(cluster.path("token"), TOKEN).unwrap();
        for number in NODES {
            cluster.launch(number);
        }
        cluster.until("all have met", async |it| it.is_whole().await).await;
        cluster
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Starts a node that has nothing but what is on its disk.
    pub(crate) fn launch(&mut self, number: usize) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dyelane"));
        let own = address(number).to_string();
        command.args(["registry", "--listen", &own, "--host", &format!("node-{number}")]);
        command.arg("--data").arg(self.path(&format!("data-{number}")));
        command.arg("--token-file").arg(self.path("token"));
        for peer in NODES {
            command.args(["--peer", &address(peer).to_string()]);
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).env("NO_COLOR", "1");
        let host = &mut self.hosts[number - 1];
        host.node = Some(host.inside.run(move || command.spawn().unwrap()));
    }

    /// Sends a signal to a node.
    pub(crate) fn signal(&self, number: usize, what: Signal) {
        let node = self.hosts[number - 1].node.as_ref().unwrap();
        kill(Pid::from_raw(node.id().try_into().unwrap()), what).unwrap();
    }

    /// Kills a node, and waits until it is gone.
    pub(crate) fn kill(&mut self, number: usize) {
        self.hosts[number - 1].end();
    }

    /// Pulls a node's cable out of the switch, or puts it back.
    pub(crate) fn plug(&self, number: usize, is_in: bool) {
        let state = if is_in { "up" } else { "down" };
        self.switch.command(&format!("ip link set port{number} {state}")).unwrap();
    }

    /// Has what a node sends to another go nowhere, or arrive again. The way back stays.
    pub(crate) fn misdirect(&self, number: usize, to: usize, is_lost: bool) {
        let to = address(to).ip();
        let line = if is_lost {
            format!("ip neigh replace {to} lladdr 02:00:00:00:00:99 nud permanent dev cable")
        } else {
            format!("ip neigh del {to} dev cable")
        };
        self.hosts[number - 1].inside.command(&line).unwrap();
    }

    /// Asks a node from its own host. None: there is no answer.
    async fn try_ask(&self, number: usize, head: &str, body: &str) -> Option<Told> {
        let to = address(number);
        let started = Instant::now();
        let stream = self.hosts[number - 1].inside.run(move || {
            let stream = std::net::TcpStream::connect_timeout(&to, Duration::from_secs(5)).ok()?;
            stream.set_nonblocking(true).ok()?;
            Some(stream)
        })?;
        let mut stream = TcpStream::from_std(stream).ok()?;
        let request = format!(
            "{head} HTTP/1.1\r\nhost: registry\r\nconnection: close\r\n\
             content-type: application/x-www-form-urlencoded\r\nauthorization: Bearer {TOKEN}\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut answer = String::new();
        timeout(PATIENCE, stream.read_to_string(&mut answer)).await.ok()?.ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        let status = head.split(' ').nth(1)?.parse().ok()?;
        Some(Told { status, body: body.to_owned(), took: started.elapsed() })
    }

    /// Asks a node that must answer.
    pub(crate) async fn ask(&self, number: usize, head: &str, body: &str) -> Told {
        let told = self.try_ask(number, head, body).await;
        told.unwrap_or_else(|| panic!("node {number} does not answer {head}"))
    }

    /// Says something of an instance to a node, which must answer 0; returns how long that took.
    pub(crate) async fn say(&self, number: usize, call: &str, host: &str) -> Duration {
        let body = form(host);
        let told = self.ask(number, &format!("POST /discovery/{call}"), &body).await;
        assert_eq!(told.code(), 0, "{call} {host} at node {number}: {}", told.body);
        told.took
    }

    /// Renews as an instance does: registers where the node does not know it.
    pub(crate) async fn renew(&self, number: usize, host: &str) -> Duration {
        let told = self.ask(number, "POST /discovery/renew", &form(host)).await;
        match told.code() {
            0 => told.took,
            -404 => self.say(number, "register", host).await,
            code => panic!("renew {host} at node {number}: {code}"),
        }
    }

    /// Returns the hosts of which a node shows instances.
    pub(crate) async fn hosts(&self, number: usize) -> Vec<String> {
        let fetch = "GET /discovery/fetch?env=prod&appid=a.b.c&status=1";
        let told = self.ask(number, fetch, "").await.json();
        let all = told["data"]["instances"]["z"].as_array().cloned().unwrap_or_default();
        let mut hosts: Vec<_> =
            all.iter().map(|it| it["hostname"].as_str().unwrap().to_owned()).collect();
        hosts.sort();
        hosts
    }

    /// Returns what a node says of itself.
    pub(crate) async fn status(&self, number: usize) -> Option<Value> {
        self.try_ask(number, "GET /v1/status", "").await.map(|it| it.json())
    }

    /// Returns what a node says of another.
    pub(crate) async fn told_of(&self, number: usize, other: usize) -> Value {
        let status = self.status(number).await.unwrap();
        let members = status["members"].as_array().unwrap().clone();
        let other = address(other).to_string();
        members.into_iter().find(|it| it["addr"] == *other).unwrap()
    }

    /// Whether all reach all.
    pub(crate) async fn is_whole(&self) -> bool {
        for number in NODES {
            let Some(status) = self.status(number).await else { return false };
            let members = status["members"].as_array().unwrap();
            if members.len() != 3 || members.iter().any(|it| it["state"] != "up") {
                return false;
            }
        }
        true
    }

    /// Whether all have the same instances and the same rules.
    pub(crate) async fn agrees(&self) -> bool {
        let mut digests = Vec::new();
        for number in NODES {
            let Some(status) = self.status(number).await else { return false };
            digests.push((status["digest"].clone(), status["rules"]["digest"].clone()));
        }
        digests.windows(2).all(|it| it[0] == it[1])
    }

    /// Waits until something holds, and tells how long that took.
    pub(crate) async fn until(&self, what: &str, holds: impl AsyncFn(&Self) -> bool) -> Duration {
        let started = Instant::now();
        let mut ticks = interval(Duration::from_millis(20));
        let waiting = async {
            while !holds(self).await {
                ticks.tick().await;
            }
        };
        let ended = timeout(PATIENCE, waiting).await;
        assert!(ended.is_ok(), "not within {PATIENCE:?}: {what}");
        eprintln!("{what}: after {:?}", started.elapsed());
        started.elapsed()
    }
}

impl Host {
    fn end(&mut self) {
        if let Some(mut node) = self.node.take() {
            let _ = node.kill();
            let _ = node.wait();
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.end();
    }
}

/// What an instance says of itself.
fn form(host: &str) -> String {
    format!("zone=z&env=prod&appid=a.b.c&hostname={host}&status=1&addrs=grpc://{host}:9000")
}

/// Makes a namespace whose cable is in the switch.
fn host(switch: &Namespace, number: usize) -> Host {
    let inside = Namespace::new().unwrap();
    let holder = inside.holder();
    for line in [
        format!("ip link add port{number} type veth peer name cable netns {holder}"),
        format!("ip link set port{number} master switch"),
        format!("ip link set port{number} up"),
    ] {
        switch.command(&line).unwrap();
    }
    inside.command(&format!("ip addr add {}/24 dev cable", address(number).ip())).unwrap();
    inside.command("ip link set cable up").unwrap();
    Host { inside, node: None }
}
