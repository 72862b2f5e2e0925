//! A network namespace, held by a thread that lives in it.

use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::Duration;

use nix::sched::{CloneFlags, unshare};
use tokio::net::{TcpListener, TcpStream};

type Work = Box<dyn FnOnce() + Send>;

/// A network namespace of its own, with loopback up. It ends when this, every socket and every
/// process made in it are gone.
pub(crate) struct Namespace {
    work: Sender<Work>,
}

impl Namespace {
    /// Makes one; needs `CAP_SYS_ADMIN`.
    pub(crate) fn new() -> nix::Result<Self> {
        let (work, orders) = channel::<Work>();
        let (tell, told) = channel();
        thread::spawn(move || {
            tell.send(unshare(CloneFlags::CLONE_NEWNET)).unwrap();
            for order in orders {
                order();
            }
        });
        told.recv().unwrap()?;
        let namespace = Self { work };
        namespace.command("ip link set lo up").unwrap();
        Ok(namespace)
    }

    /// Does `work` inside: sockets and processes it makes belong to the namespace for good.
    pub(crate) fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let (tell, told) = channel();
        self.work.send(Box::new(move || tell.send(work()).unwrap())).unwrap();
        told.recv().unwrap()
    }

    /// Runs a program inside to its end; an error is what it complained of.
    pub(crate) fn command(&self, line: &str) -> Result<(), String> {
        let line = line.to_owned();
        self.run(move || {
            let mut words = line.split(' ');
            let mut command = Command::new(words.next().unwrap());
            let done = command.args(words).stdin(Stdio::null()).output();
            let done = done.map_err(|error| format!("{line}: {error}"))?;
            let complaint = String::from_utf8_lossy(&done.stderr);
            if done.status.success() { Ok(()) } else { Err(format!("{line}: {complaint}")) }
        })
    }

    /// The thread that holds the namespace, as `ip link … netns` wants it.
    pub(crate) fn holder(&self) -> String {
        let thread = self.run(|| std::fs::read_link("/proc/thread-self").unwrap());
        thread.file_name().unwrap().to_str().unwrap().to_owned()
    }

    /// Connects from inside.
    pub(crate) fn connect(&self, to: SocketAddr) -> TcpStream {
        let stream = self.run(move || {
            std::net::TcpStream::connect_timeout(&to, Duration::from_secs(5)).unwrap()
        });
        stream.set_nonblocking(true).unwrap();
        TcpStream::from_std(stream).unwrap()
    }

    /// Listens inside.
    pub(crate) fn listen(&self, at: SocketAddr) -> TcpListener {
        let listener = self.run(move || std::net::TcpListener::bind(at).unwrap());
        listener.set_nonblocking(true).unwrap();
        TcpListener::from_std(listener).unwrap()
    }
}

/// Whether this machine lets us join namespaces; if not, why.
pub(crate) fn switches_work() -> Result<(), String> {
    let namespace = Namespace::new().map_err(|error| format!("unshare: {error}"))?;
    namespace.command("ip link add switch type bridge")
}

/// Whether this machine lets us redirect packets; if not, why.
pub(crate) fn redirection_works() -> Result<(), String> {
    let namespace = Namespace::new().map_err(|error| format!("unshare: {error}"))?;
    for tables in ["iptables", "ip6tables"] {
        namespace
            .command(&format!("{tables} -w -t nat -A OUTPUT -p tcp -j REDIRECT --to-ports 1"))?;
    }
    Ok(())
}
