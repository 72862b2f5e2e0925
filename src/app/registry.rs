//! A node of the registry as the whole process: from what a file says to a running node, and to its
//! end.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;

use crate::config::{
    Authority, InvalidSecret, LogFormat, Protection, RegistryConfig, RegistryNode, Secret, Token,
};
use crate::registry::node::Settings;
use crate::registry::record::NodeId;
use crate::registry::server::{Registry, StartError};
use crate::registry::store;
use crate::telemetry::{LogError, LogLevel, init_logging};

/// How often a node renews its own registration, unless leases are short.
const RENEW: Duration = Duration::from_secs(30);
/// How long answers under way may take once it is told to end.
const PARTING: Duration = Duration::from_secs(10);
/// Where Linux says what the machine is called.
const HOST_NAME: &str = "/proc/sys/kernel/hostname";
/// Longest file that holds a token, in bytes.
const LONGEST_TOKEN_FILE: u64 = 64 << 10;

/// Why a node does not start.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The file of the token cannot be read.
    #[error("cannot read the token in {}", .file.display())]
    TokenFile {
        /// The file.
        file: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// What the file holds is no token.
    #[error("what {} holds is no token", .file.display())]
    Token {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        source: InvalidSecret,
    },
    /// It listens at every address, and none is known by which others reach it.
    #[error("cannot tell where others reach it: say so with --advertise, or `advertise`")]
    Unreachable,
    /// The log cannot be written as wanted.
    #[error("cannot log")]
    Log(#[from] LogError),
    /// Signals cannot be listened for.
    #[error("cannot listen for signals")]
    Signal(#[source] io::Error),
    /// The node does not start.
    #[error("cannot start")]
    Start(#[from] StartError),
    /// The node ended without being told to.
    #[error("it ended by itself")]
    Ended,
}

/// Returns what a node is told, with what the file leaves to the machine found out.
///
/// # Errors
/// The token cannot be had.
pub fn settings(config: &RegistryConfig) -> Result<Settings, RegistryError> {
    let RegistryConfig { node, leases, protection, limits, .. } = config;
    let text = |text: &str| Arc::<str>::from(text);
    let authorities = |all: &[Authority]| all.iter().map(|it| text(it.as_str())).collect();
    let zones = node.zones.iter().map(|(zone, nodes)| (text(zone), authorities(nodes)));
    let Protection { enabled, window, share, least } = *protection;
    let size = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
    Ok(Settings {
        listen: node.listen,
        id: node.id.map(|id| NodeId(id.into())),
        region: text(&node.region),
        zone: text(&node.zone),
        env: text(&node.env),
        host: node.host.as_deref().map_or_else(host_name, text),
        advertise: advertised(node)?.map(|it| text(it.as_str())),
        store: store::Settings {
            lease: leases.lease,
            ceiling: leases.ceiling,
            pass: leases.pass,
            evict_share: leases.evict,
            tombstones: leases.tombstones,
            capacity: size(limits.instances),
            protect_window: window,
            protect_share: share,
            // What can never be reached protects nobody.
            protect_least: if enabled { size(least) } else { usize::MAX },
            drift: leases.drift,
        },
        renew: RENEW.min(leases.lease / 3),
        data: node.data.clone(),
        schedulers: node.schedulers.clone(),
        token: token(&node.token)?.map(|it| text(it.reveal())),
        peers: authorities(&node.peers),
        zones: zones.collect(),
        connections: size(limits.connections),
        watchers: size(limits.watchers),
        body: size(limits.body),
        ..Settings::default()
    })
}

/// Reads the token, wherever it stands.
fn token(token: &Token) -> Result<Option<Secret>, RegistryError> {
    let file = match token {
        Token::None => return Ok(None),
        Token::Text(secret) => return Ok(Some(secret.clone())),
        Token::File(file) => file,
    };
    let read = std::fs::File::open(file).and_then(|opened| {
        let mut text = String::new();
        io::Read::read_to_string(&mut io::Read::take(opened, LONGEST_TOKEN_FILE), &mut text)?;
        Ok(text)
    });
    let text = read.map_err(|source| RegistryError::TokenFile { file: file.clone(), source })?;
    let secret = Secret::new(text.trim());
    secret.map(Some).map_err(|source| RegistryError::Token { file: file.clone(), source })
}

/// Returns where others reach the node; none: where it listens.
fn advertised(node: &RegistryNode) -> Result<Option<Authority>, RegistryError> {
    match &node.advertise {
        Some(advertise) => Ok(Some(advertise.clone())),
        None if !node.listen.ip().is_unspecified() => Ok(None),
        None if node.listen.port() == 0 => Err(RegistryError::Unreachable),
        None => {
            let own = own_address(node.listen.ip()).ok_or(RegistryError::Unreachable)?;
            Ok(Some(SocketAddr::new(own, node.listen.port()).into()))
        }
    }
}

/// Returns the address by which this machine goes out, of the family of `any`; a machine that goes
/// nowhere is reached on loopback.
///
/// Connecting a datagram socket sends nothing: it asks the kernel which way it would go. The far
/// side is of a range kept for documentation (RFC 5737, RFC 3849).
fn own_address(any: IpAddr) -> Option<IpAddr> {
    let (far, loopback): (IpAddr, IpAddr) = match any {
        IpAddr::V4(_) => (Ipv4Addr::new(192, 0, 2, 1).into(), Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(_) => {
            let far = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
            (far.into(), Ipv6Addr::LOCALHOST.into())
        }
    };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    let own = socket.connect((far, 9)).and_then(|()| socket.local_addr());
    Some(own.map_or(loopback, |it| it.ip()))
}

/// Returns what the machine is called.
fn host_name() -> Arc<str> {
    let named = std::env::var("HOSTNAME").ok();
    let known = named.or_else(|| std::fs::read_to_string(HOST_NAME).ok()).unwrap_or_default();
    match known.trim() {
        "" => "localhost".into(),
        name => name.into(),
    }
}

/// A node as the whole process: it ends, and looks at its file again, by signal.
pub struct Process<Announce, Reread> {
    /// What it is told at the start.
    pub config: RegistryConfig,
    /// Is told where it listens, once it answers there.
    pub announce: Announce,
    /// Says what it would be told now; else what is wrong with that.
    pub reread: Reread,
}

impl<Announce, Reread> Process<Announce, Reread>
where
    Announce: FnOnce(SocketAddr) -> io::Result<()>,
    Reread: FnMut() -> Result<RegistryConfig, String>,
{
    /// Runs the node until SIGTERM or SIGINT, then ends it in peace; a second such signal ends it at
    /// once. SIGHUP has it take up what it can without a restart: the log's level.
    ///
    /// # Errors
    /// It cannot start, or its listener has failed.
    pub async fn run(mut self) -> Result<(), RegistryError> {
        let log = &self.config.log;
        let level = init_logging(&log.level, log.format == LogFormat::Json)?;
        let on = |kind| signal(kind).map_err(RegistryError::Signal);
        let mut terminate = on(SignalKind::terminate())?;
        let mut interrupt = on(SignalKind::interrupt())?;
        let mut hang_up = on(SignalKind::hangup())?;
        let registry = Registry::start(settings(&self.config)?).await?;
        let (zone, peers) = (&self.config.node.zone, self.config.node.peers.len());
        let (listen, advertised) = (registry.address(), registry.advertised());
        tracing::info!(%listen, %advertised, %zone, peers, "taking requests");
        if let Err(error) = (self.announce)(listen) {
            tracing::debug!(%error, "nobody reads where it listens");
        }
        let is_told = loop {
            tokio::select! {
                _ = hang_up.recv() => self.config = take_up(&self.config, (self.reread)(), &level),
                _ = terminate.recv() => break true,
                _ = interrupt.recv() => break true,
                () = registry.stopped() => break false,
            }
        };
        tracing::info!("ending");
        tokio::select! {
            ended = timeout(PARTING, registry.stop()) => if ended.is_err() {
                tracing::warn!("answers under way were broken off");
            },
            _ = terminate.recv() => tracing::warn!("ending at once"),
            _ = interrupt.recv() => tracing::warn!("ending at once"),
        }
        tracing::info!("ended");
        if is_told { Ok(()) } else { Err(RegistryError::Ended) }
    }
}

/// Takes up what a file says now, and returns what is in force: all but the log's level is as it was.
fn take_up(
    old: &RegistryConfig,
    read: Result<RegistryConfig, String>,
    level: &LogLevel,
) -> RegistryConfig {
    let mut now = old.clone();
    let new = match read {
        Ok(new) => new,
        Err(why) => {
            tracing::error!("the file is not taken up: {why}");
            return now;
        }
    };
    match level.set(&new.log.level) {
        Ok(()) => now.log.level.clone_from(&new.log.level),
        Err(error) => tracing::error!(%error, "the log's level stays as it was"),
    }
    let waits = needs_restart(&now, &new);
    if waits.is_empty() {
        tracing::info!("the file is taken up");
    } else {
        tracing::warn!(?waits, "these sections have changed, and wait for a restart");
    }
    now
}

/// Returns the sections that differ and are read at the start alone.
fn needs_restart(old: &RegistryConfig, new: &RegistryConfig) -> Vec<&'static str> {
    let sections = [
        ("registry", old.node != new.node),
        ("leases", old.leases != new.leases),
        ("protection", old.protection != new.protection),
        ("limits", old.limits != new.limits),
        ("log.format", old.log.format != new.log.format),
    ];
    sections.into_iter().filter(|it| it.1).map(|it| it.0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_that_listens_everywhere_must_be_reachable_somewhere() {
        let mut node = RegistryConfig::default().node;
        node.listen = "0.0.0.0:0".parse().unwrap();

        let nowhere = advertised(&node);
        node.listen = "0.0.0.0:7171".parse().unwrap();
        let somewhere = advertised(&node).unwrap().unwrap();

        assert!(matches!(nowhere, Err(RegistryError::Unreachable)), "{nowhere:?}");
        assert!(somewhere.as_str().ends_with(":7171"), "{somewhere}");
        assert_ne!(somewhere.as_str(), "0.0.0.0:7171");
    }

    #[test]
    fn a_tokens_line_end_is_no_part_of_it() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("token");
        std::fs::write(&file, "open sesame\n").unwrap();

        let with_a_space = token(&Token::File(file.clone()));
        std::fs::write(&file, "sesame\n").unwrap();
        let good = token(&Token::File(file)).unwrap().unwrap();

        assert!(matches!(with_a_space, Err(RegistryError::Token { .. })), "{with_a_space:?}");
        assert_eq!(good.reveal(), "sesame");
    }

    #[test]
    fn what_waits_for_a_restart_is_named() {
        let old = RegistryConfig::default();
        let mut new = old.clone();
        new.leases.lease = Duration::from_secs(10);
        new.log.level = "debug".to_owned();

        assert_eq!(needs_restart(&old, &new), ["leases"]);
    }
}
