//! Sockets that take connections, and where those connections were meant to go.

use std::io;
use std::net::{IpAddr, SocketAddr};

use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::{TcpListener, TcpStream};

/// Connections that may wait in the kernel until we accept them; the kernel's own limit
/// (`net.core.somaxconn`) can be lower.
const BACKLOG: i32 = 4096;

/// Listens on `address`; port 0 lets the kernel choose one.
///
/// With `reuse_port`, several listeners share the port and the kernel deals connections out among
/// them, so that each worker thread can have its own. An IPv6 listener takes IPv6 only.
pub fn listen(address: SocketAddr, reuse_port: bool) -> io::Result<TcpListener> {
    let socket = socket_at(address, reuse_port)?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Makes sure that nobody listens at `address`, where [`listen`] is about to with `reuse_port`: the
/// kernel would let another process of the same user share the port unasked.
pub fn claim(address: SocketAddr) -> io::Result<()> {
    socket_at(address, false).map(drop)
}

fn socket_at(address: SocketAddr, reuse_port: bool) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM.nonblocking().cloexec(),
        Some(Protocol::TCP),
    )?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(reuse_port)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

/// Returns where the client of an accepted connection meant to connect, if the packet filter
/// redirected it to us (`SO_ORIGINAL_DST`); none if it meant us.
///
/// An IPv4 address mapped into IPv6 comes back as IPv4.
pub fn original_destination(stream: &TcpStream) -> Option<SocketAddr> {
    let local = canonical(stream.local_addr().ok()?);
    let socket = SockRef::from(stream);
    // The kernel answers with an error if it does not track the connection, and with our own
    // address if it tracks but did not redirect it.
    let original = match local {
        SocketAddr::V4(_) => socket.original_dst_v4(),
        SocketAddr::V6(_) => socket.original_dst_v6(),
    };
    redirected(local, original.ok()?.as_socket()?)
}

/// Returns `original` unless it is `local`.
fn redirected(local: SocketAddr, original: SocketAddr) -> Option<SocketAddr> {
    let original = canonical(original);
    // Scope and flow are no part of where a connection goes: the two options disagree on them.
    let same = original.ip() == local.ip() && original.port() == local.port();
    (!same && original.port() != 0).then_some(original)
}

/// Turns an IPv4 address mapped into IPv6 back into IPv4.
fn canonical(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        IpAddr::V4(ip) => SocketAddr::new(ip.into(), address.port()),
        IpAddr::V6(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use nix::sched::CloneFlags;

    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[tokio::test]
    async fn two_listeners_share_a_port_only_if_both_say_so() {
        let first = listen(address("127.0.0.1:0"), true).unwrap();
        let taken = first.local_addr().unwrap();

        let second = listen(taken, true);
        let stranger = listen(taken, false);

        assert_eq!(second.unwrap().local_addr().unwrap(), taken);
        assert_eq!(stranger.unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }

    #[tokio::test]
    async fn an_ipv6_listener_leaves_ipv4_alone() {
        let six = listen(address("[::]:0"), false).unwrap();

        assert!(SockRef::from(&six).only_v6().unwrap());
    }

    #[tokio::test]
    async fn a_connection_nobody_redirected_has_no_original_destination() {
        for loopback in ["127.0.0.1:0", "[::1]:0"] {
            let listener = listen(address(loopback), false).unwrap();
            let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let (accepted, _) = listener.accept().await.unwrap();

            assert_eq!(original_destination(&accepted), None);
            assert_eq!(original_destination(&client), None);
        }
    }

    #[test]
    fn the_original_destination_is_told_from_our_own_address() {
        let ours = address("127.0.0.1:15001");

        assert_eq!(redirected(ours, address("127.0.0.1:15001")), None);
        assert_eq!(redirected(ours, address("[::ffff:127.0.0.1]:15001")), None);
        assert_eq!(redirected(ours, address("[::ffff:10.0.0.7]:80")), Some(address("10.0.0.7:80")));
        assert_eq!(
            redirected(address("[::1]:1"), address("[fd00::7]:1")),
            Some(address("[fd00::7]:1"))
        );
    }

    /// Runs `body` on a thread with a network of its own, in which connections to port 80 are
    /// redirected to port 15001. Does nothing where that is not allowed, unless `REQUIRE_NETNS`
    /// says that it must be.
    fn redirecting(body: impl AsyncFnOnce() + Send + 'static) {
        let run = |command: &str| {
            let mut words = command.split(' ');
            let done = Command::new(words.next().unwrap()).args(words).output();
            done.is_ok_and(|it| it.status.success())
        };
        let rule = "-w -t nat -A OUTPUT -p tcp --dport 80 -j REDIRECT --to-ports 15001";
        let thread = std::thread::spawn(move || {
            let ready = nix::sched::unshare(CloneFlags::CLONE_NEWNET).is_ok()
                && run("ip link set lo up")
                && run("ip address add 10.1.2.3/32 dev lo")
                && run("ip address add fd00::7/128 dev lo nodad")
                && run(&format!("iptables {rule}"))
                && run(&format!("ip6tables {rule}"));
            if ready {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                runtime.unwrap().block_on(body());
            } else {
                let required = std::env::var_os("REQUIRE_NETNS").is_some();
                assert!(!required, "cannot set up a network of our own");
            }
        });
        thread.join().unwrap();
    }

    #[test]
    fn a_redirected_connection_knows_its_original_destination() {
        redirecting(async || {
            for (ours, theirs) in
                [("127.0.0.1:15001", "10.1.2.3:80"), ("[::1]:15001", "[fd00::7]:80")]
            {
                let listener = listen(address(ours), true).unwrap();
                let client = TcpStream::connect(address(theirs)).await.unwrap();
                let (accepted, _) = listener.accept().await.unwrap();

                assert_eq!(original_destination(&accepted), Some(address(theirs)));
                drop(client);
            }
        });
    }

    #[test]
    fn a_redirected_ipv4_connection_to_an_ipv6_socket_knows_it_too() {
        redirecting(async || {
            let socket = Socket::new(Domain::IPV6, Type::STREAM.nonblocking(), None).unwrap();
            socket.set_only_v6(false).unwrap();
            socket.bind(&address("[::]:15001").into()).unwrap();
            socket.listen(1).unwrap();
            let listener = TcpListener::from_std(socket.into()).unwrap();
            let client = TcpStream::connect(address("10.1.2.3:80")).await.unwrap();
            let (accepted, _) = listener.accept().await.unwrap();

            assert_eq!(original_destination(&accepted), Some(address("10.1.2.3:80")));
            drop(client);
        });
    }
}
