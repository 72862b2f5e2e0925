//! What may be given once only, and by whom it was.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;

use crate::config::problem::Problem;

/// Everything the file claims for one owner only, in any order.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    hosts: Vec<(String, Claim)>,
    listeners: Vec<(SocketAddr, Claim)>,
    targets: Vec<(SocketAddr, Claim)>,
    names: Vec<(String, Claim)>,
}

/// Who claims something, and where.
#[derive(Debug, Clone)]
struct Claim {
    owner: String,
    span: Range<usize>,
}

impl Ledger {
    /// `owner`, a service, answers to `host`.
    pub(super) fn host(&mut self, host: &str, owner: &str, span: Range<usize>) {
        self.hosts.push((host.to_owned(), Claim { owner: owner.to_owned(), span }));
    }

    /// `owner`, a key, binds `address`.
    pub(super) fn listener(&mut self, address: SocketAddr, owner: &str, span: Range<usize>) {
        self.listeners.push((address, Claim { owner: owner.to_owned(), span }));
    }

    /// `owner`, a key, is where somebody else listens, so nobody of ours may.
    pub(super) fn target(&mut self, address: SocketAddr, owner: &str, span: Range<usize>) {
        self.targets.push((address, Claim { owner: owner.to_owned(), span }));
    }

    /// Something of the kind `what` has that name, or address, which no other of the kind has.
    pub(super) fn only(&mut self, what: &str, name: &str, span: Range<usize>) {
        self.names.push((format!("{what} {name}"), Claim { owner: String::new(), span }));
    }

    /// Returns what was claimed twice; the earlier place in the text is in the right.
    pub(super) fn conflicts(mut self) -> Vec<Problem> {
        self.hosts.sort_by_key(|(_, claim)| claim.span.start);
        self.listeners.sort_by_key(|(_, claim)| claim.span.start);
        self.names.sort_by_key(|(_, claim)| claim.span.start);
        let mut problems = hosts(self.hosts);
        problems.extend(loops(&self.listeners, &self.targets));
        problems.extend(listeners(self.listeners));
        problems.extend(names(self.names));
        problems
    }
}

fn hosts(claims: Vec<(String, Claim)>) -> Vec<Problem> {
    let mut first: BTreeMap<String, Claim> = BTreeMap::new();
    let mut problems = Vec::new();
    for (host, claim) in claims {
        match first.get(&host) {
            Some(earlier) if earlier.owner != claim.owner => problems.push(
                Problem::new(claim.span, format!("host `{host}` is named by two services"))
                    .label(earlier.span.clone(), format!("first by `{}`", earlier.owner))
                    .help("let one service have it; a service's own name is one of its hosts"),
            ),
            Some(_) => {}
            None => drop(first.insert(host, claim)),
        }
    }
    problems
}

fn listeners(claims: Vec<(SocketAddr, Claim)>) -> Vec<Problem> {
    let mut ports: BTreeMap<u16, Vec<(IpAddr, Claim)>> = BTreeMap::new();
    let mut problems = Vec::new();
    // Port 0 is whichever the system finds free, so it never clashes.
    for (address, claim) in claims.into_iter().filter(|(address, _)| address.port() != 0) {
        let taken = ports.entry(address.port()).or_default();
        match taken.iter().find(|(ip, _)| overlap(*ip, address.ip())) {
            Some((ip, earlier)) => problems.push(
                Problem::new(
                    claim.span,
                    format!("`{}` listens at {address}, which is taken", claim.owner),
                )
                .label(
                    earlier.span.clone(),
                    format!(
                        "`{}` listens at {}",
                        earlier.owner,
                        SocketAddr::new(*ip, address.port())
                    ),
                )
                .help("give each listener a port of its own"),
            ),
            None => taken.push((address.ip(), claim)),
        }
    }
    problems
}

fn loops(listeners: &[(SocketAddr, Claim)], targets: &[(SocketAddr, Claim)]) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (target, claim) in targets {
        let same = |it: &SocketAddr| it.port() == target.port() && overlap(it.ip(), target.ip());
        if let Some((_, listener)) = listeners.iter().find(|(address, _)| same(address)) {
            let message = format!("`{}` is where the sidecar itself listens", claim.owner);
            problems.push(
                Problem::new(claim.span.clone(), message)
                    .label(listener.span.clone(), format!("`{}`", listener.owner))
                    .help("write where the application listens"),
            );
        }
    }
    problems
}

/// Whether one port of both addresses cannot be bound twice.
fn overlap(one: IpAddr, other: IpAddr) -> bool {
    let any = one.is_unspecified() || other.is_unspecified();
    one == other || (any && one.is_ipv4() == other.is_ipv4())
}

fn names(claims: Vec<(String, Claim)>) -> Vec<Problem> {
    let mut first: BTreeMap<String, Claim> = BTreeMap::new();
    let mut problems = Vec::new();
    for (name, claim) in claims {
        match first.get(&name) {
            Some(earlier) => problems.push(
                Problem::new(claim.span, format!("{name} is given twice"))
                    .label(earlier.span.clone(), "first here")
                    .help("remove one of the two"),
            ),
            None => drop(first.insert(name, claim)),
        }
    }
    problems
}
