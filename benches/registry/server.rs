//! The processes that are measured: nodes of the registry, and the probe they are compared with.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::machine::{self, Cores};
use crate::wire::{self, Connection};

/// The word by which this program knows that it is to be the probe.
pub(crate) const PROBE: &str = "--be-the-probe";
/// What tenant rules are written with.
pub(crate) const TOKEN: &str = "token-of-the-bench";
/// How long a server may take to start or to get where it is awaited.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server of its own process, killed once dropped.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    // What it says is read no further, but a closed pipe would be an error to it.
    _stdout: BufReader<ChildStdout>,
    addr: SocketAddr,
}

impl Server {
    /// Starts a server, which says `listening on ADDR` once it does.
    fn start<S: AsRef<OsStr>>(
        program: &Path,
        words: impl IntoIterator<Item = S>,
        cores: Cores,
    ) -> anyhow::Result<Self> {
        let mut command = Command::new(program);
        command.args(words).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        // A child inherits the core of the thread that starts it.
        machine::stay_on(cores.servers)?;
        let started = command.spawn();
        machine::stay_on(cores.load)?;
        let mut child = started.with_context(|| format!("cannot start {}", program.display()))?;
        let mut stdout = BufReader::new(child.stdout.take().context("it has no stdout")?);
        let mut said = String::new();
        stdout.read_line(&mut said)?;
        let addr = said.trim().strip_prefix("listening on ").and_then(|it| it.parse().ok());
        let Some(addr) = addr else {
            let _ = child.kill();
            let status = child.wait()?;
            anyhow::bail!("{} said {said:?} and ended: {status}", program.display());
        };
        Ok(Self { child, _stdout: stdout, addr })
    }

    /// Starts the probe.
    pub(crate) fn probe(cores: Cores) -> anyhow::Result<Self> {
        Self::start(&std::env::current_exe()?, [PROBE], cores)
    }

    /// Returns where it listens.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Returns the processor time it took so far, in seconds.
    pub(crate) fn cpu_seconds(&self) -> anyhow::Result<f64> {
        machine::cpu_seconds(self.child.id())
    }

    /// Returns its resident memory, in bytes.
    pub(crate) fn resident(&self) -> anyhow::Result<f64> {
        machine::resident(self.child.id())
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        Ok(kill(Pid::from_raw(self.child.id().try_into()?), signal)?)
    }

    /// Connects to it.
    pub(crate) async fn connect(&self) -> anyhow::Result<Connection> {
        Connection::open(self.addr).await
    }

    /// Returns what a registry says of itself.
    pub(crate) async fn status(&self) -> anyhow::Result<Value> {
        let mut connection = self.connect().await?;
        let answer = connection.ask(&wire::get("/v1/status")).await?;
        ensure!(answer.status == 200, "/v1/status answers {}", answer.status);
        Ok(serde_json::from_slice(connection.body())?)
    }

    /// Waits until a registry says of itself what is wanted; returns how long that took.
    pub(crate) async fn await_status(
        &self,
        what: &str,
        wanted: impl Fn(&Value) -> bool,
    ) -> anyhow::Result<Duration> {
        let started = Instant::now();
        loop {
            if let Ok(status) = self.status().await
                && wanted(&status)
            {
                return Ok(started.elapsed());
            }
            ensure!(started.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits until so many watchers are held, by a registry or by the probe.
    pub(crate) async fn await_watchers(&self, watchers: usize) -> anyhow::Result<Duration> {
        let enough =
            |it: &Value| it.get("watchers").and_then(Value::as_u64) == Some(watchers as u64);
        self.await_status(&format!("{watchers} watchers"), enough).await
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // One that is stopped hears nothing else.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The registry that is measured.
#[derive(Debug, Clone)]
pub(crate) struct Registry {
    /// The program.
    pub(crate) program: std::path::PathBuf,
    /// Who runs where.
    pub(crate) cores: Cores,
}

impl Registry {
    /// Starts a node that is alone.
    pub(crate) async fn alone(&self) -> anyhow::Result<Server> {
        self.node("127.0.0.1:0".parse()?, &[], None).await
    }

    /// Starts a node at an address, with peers, and if `data` is given with tenant rules that may
    /// be written; returns once it answers reads.
    pub(crate) async fn node(
        &self,
        listen: SocketAddr,
        peers: &[SocketAddr],
        data: Option<&Path>,
    ) -> anyhow::Result<Server> {
        let server = self.opening(listen, peers, data)?;
        server.await_status("a node that answers reads", is_readable).await?;
        Ok(server)
    }

    /// Starts a node, which may not answer reads yet.
    pub(crate) fn opening(
        &self,
        listen: SocketAddr,
        peers: &[SocketAddr],
        data: Option<&Path>,
    ) -> anyhow::Result<Server> {
        let mut words = vec!["registry".to_owned(), "--listen".into(), listen.to_string()];
        words.extend(["--host".into(), format!("node-{}", listen.port())]);
        for peer in peers {
            words.extend(["--peer".into(), peer.to_string()]);
        }
        if let Some(data) = data {
            let token = data.join("token");
            std::fs::write(&token, TOKEN)?;
            words.extend(["--data".into(), data.display().to_string()]);
            words.extend(["--token-file".into(), token.display().to_string()]);
        }
        Server::start(&self.program, words, self.cores)
    }
}

/// Whether a node says that it answers reads.
pub(crate) fn is_readable(status: &Value) -> bool {
    status.get("readable").and_then(Value::as_bool) == Some(true)
}

/// Returns addresses of loopback where nobody listens now.
pub(crate) fn free_addresses(count: usize) -> anyhow::Result<Vec<SocketAddr>> {
    let holders: Vec<TcpListener> =
        (0..count).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<Result<_, _>>()?;
    Ok(holders.iter().map(TcpListener::local_addr).collect::<Result<_, _>>()?)
}
