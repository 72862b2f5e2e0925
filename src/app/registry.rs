//! A node of the registry as the whole process: from what a file says to a running node, and to its
//! end.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use crate::config::{
    Authority, InvalidSecret, LogFormat, Protection, RegistryConfig, RegistryNode, Secret, Token,
};
use crate::registry::node::Settings;
use crate::registry::record::NodeId;
use crate::registry::server::{Registry, StartError};
use crate::registry::store;
use crate::telemetry::{LogError, init_logging};

/// How often a node renews its own registration, unless leases are short.
const RENEW: Duration = Duration::from_secs(30);
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
    /// The node does not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// Signals cannot be listened to.
    #[error("cannot listen to signals")]
    Signals(#[source] io::Error),
    /// It stopped by itself.
    #[error("it can take no more connections, and has stopped")]
    Listener,
    /// The log cannot be written as wanted.
    #[error("cannot log")]
    Log(#[from] LogError),
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

/// Runs a node until SIGTERM or SIGINT, then ends it in peace; a second such signal ends it at
/// once. `announce` is told where it listens.
///
/// # Errors
/// It cannot start.
pub async fn run(
    config: RegistryConfig,
    announce: impl FnOnce(SocketAddr) -> io::Result<()>,
) -> Result<(), RegistryError> {
    let _level = init_logging(&config.log.level, config.log.format == LogFormat::Json)?;
    let on = |kind| signal(kind).map_err(RegistryError::Signals);
    let (mut terminate, mut interrupt) =
        (on(SignalKind::terminate())?, on(SignalKind::interrupt())?);
    let registry = Registry::start(settings(&config)?).await?;
    let address = registry.address();
    tracing::info!(%address, node = registry.node().id().0, "the registry is up");
    if let Err(error) = announce(address) {
        tracing::debug!(%error, "nobody reads where it listens");
    }
    let has_failed = tokio::select! {
        _ = terminate.recv() => false,
        _ = interrupt.recv() => false,
        () = registry.stopped() => true,
    };
    tracing::info!("the registry stops");
    tokio::select! {
        () = registry.stop() => {}
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    if has_failed { Err(RegistryError::Listener) } else { Ok(()) }
}
