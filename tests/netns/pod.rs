//! A pod: an application's namespace with a sidecar in it, and the world it is connected to.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{interval, timeout};

use crate::namespace::Namespace;

/// The user whose packets are left alone.
const SIDECAR: u32 = 1337;

/// Which Internet Protocol a test is about; the rules are in force for both.
#[derive(Clone, Copy)]
pub(crate) enum Family {
    V4,
    V6,
}

/// An application's namespace with a sidecar in it, and the world outside.
pub(crate) struct Pod {
    family: Family,
    pub(crate) inside: Namespace,
    pub(crate) outside: Namespace,
    sidecar: Child,
    _folder: TempDir,
}

impl Pod {
    /// Connects the two, starts the sidecar, and then has everything else redirected to it.
    pub(crate) async fn start(family: Family) -> Self {
        let (inside, outside) = (Namespace::new().unwrap(), Namespace::new().unwrap());
        connect(&inside, &outside);
        let folder = tempfile::tempdir().unwrap();
        let sidecar = start_sidecar(&inside, &folder, family);
        let mut pod = Self { family, inside, outside, sidecar, _folder: folder };
        pod.await_readiness().await;
        pod.redirect();
        pod
    }

    /// An address in the world outside.
    pub(crate) fn world(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.family.host(1), port)
    }

    /// The pod's own address, as the world knows it.
    pub(crate) fn own(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.family.host(2), port)
    }

    /// Every address of the pod.
    pub(crate) fn any(&self, port: u16) -> SocketAddr {
        match self.family {
            Family::V4 => (Ipv4Addr::UNSPECIFIED, port).into(),
            Family::V6 => (Ipv6Addr::UNSPECIFIED, port).into(),
        }
    }

    pub(crate) fn loopback(&self, port: u16) -> SocketAddr {
        match self.family {
            Family::V4 => (Ipv4Addr::LOCALHOST, port).into(),
            Family::V6 => (Ipv6Addr::LOCALHOST, port).into(),
        }
    }

    fn redirect(&self) {
        for tables in ["iptables", "ip6tables"] {
            for rule in [
                format!("OUTPUT -p tcp -m owner --uid-owner {SIDECAR} -j RETURN"),
                "OUTPUT -p tcp -j REDIRECT --to-ports 15001".to_owned(),
                "PREROUTING -p tcp -j REDIRECT --to-ports 15006".to_owned(),
            ] {
                self.inside.command(&format!("{tables} -w -t nat -A {rule}")).unwrap();
            }
        }
    }

    async fn await_readiness(&mut self) {
        let mut ticks = interval(Duration::from_millis(10));
        let ready = async {
            while !self.is_ready().await {
                assert_eq!(self.sidecar.try_wait().unwrap(), None, "the sidecar ended");
                ticks.tick().await;
            }
        };
        timeout(Duration::from_secs(20), ready).await.unwrap();
    }

    async fn is_ready(&self) -> bool {
        let admin = (Ipv4Addr::LOCALHOST, 15000).into();
        let Ok(stream) = self.inside.run(move || std::net::TcpStream::connect::<SocketAddr>(admin))
        else {
            return false;
        };
        stream.set_nonblocking(true).unwrap();
        let mut stream = TcpStream::from_std(stream).unwrap();
        let request = b"GET /readyz HTTP/1.1\r\nhost: admin\r\nconnection: close\r\n\r\n";
        let mut answer = String::new();
        stream.write_all(request).await.is_ok()
            && stream.read_to_string(&mut answer).await.is_ok()
            && answer.starts_with("HTTP/1.1 200")
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        let _ = self.sidecar.kill();
        let _ = self.sidecar.wait();
    }
}

impl Family {
    /// The address of a host on the cable.
    fn host(self, number: u8) -> IpAddr {
        match self {
            Self::V4 => Ipv4Addr::new(10, 15, 0, number).into(),
            Self::V6 => Ipv6Addr::new(0xfd15, 0, 0, 0, 0, 0, 0, number.into()).into(),
        }
    }
}

/// Lays a cable between the two: the world is host 1, the pod host 2.
fn connect(inside: &Namespace, outside: &Namespace) {
    let holder = inside.holder();
    outside
        .command(&format!("ip link add cable type veth peer name cable netns {holder}"))
        .unwrap();
    for (namespace, number) in [(outside, 1), (inside, 2)] {
        for line in [
            format!("ip addr add {}/24 dev cable", Family::V4.host(number)),
            format!("ip addr add {}/64 dev cable nodad", Family::V6.host(number)),
            "ip link set cable up".to_owned(),
        ] {
            namespace.command(&line).unwrap();
        }
    }
}

/// Starts the real binary as its own user. That user may not be able to read where it was built, so
/// it gets a copy.
fn start_sidecar(inside: &Namespace, folder: &TempDir, family: Family) -> Child {
    let (binary, file) = (folder.path().join("dyelane"), folder.path().join("sidecar.toml"));
    fs::copy(env!("CARGO_BIN_EXE_dyelane"), &binary).unwrap();
    fs::write(&file, sidecar_toml(family)).unwrap();
    for path in [folder.path(), &binary] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    inside.run(move || {
        let mut command = Command::new(binary);
        command.arg("run").arg(file).uid(SIDECAR).gid(SIDECAR).stdin(Stdio::null());
        command.spawn().unwrap()
    })
}

fn sidecar_toml(family: Family) -> String {
    let host = family.host(1);
    let [baseline, alice] = [7001, 7002].map(|port| SocketAddr::new(host, port));
    format!(
        r#"
        [workload]
        service = "order.shop"
        [inbound]
        listen = ["0.0.0.0:15006", "[::]:15006"]
        [outbound]
        listen = ["127.0.0.1:15001", "[::1]:15001"]
        [runtime]
        workers = 1
        [services."web.shop"]
        instances = [{{ address = "{baseline}" }}, {{ address = "{alice}", lane = "alice" }}]
        "#
    )
}
