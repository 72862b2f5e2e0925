//! What a reading gathers: problems, claims, and which keys there are.

use std::cell::{OnceCell, RefCell};
use std::net::SocketAddr;
use std::ops::Range;

use crate::config::Config;
use crate::config::RegistryConfig;
use crate::config::problem::Problem;
use crate::config::reading::ledger::Ledger;

/// A key the file may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// The table it belongs to, as it is written: `services.NAME.timeouts`; empty for the file.
    pub section: String,
    /// The key.
    pub name: &'static str,
    /// What its value is, with bounds: `a period of 1ms to 1m`.
    pub kind: String,
    /// What counts if it is not given, as it would be written.
    pub default: String,
}

/// What a reading gathers while it goes through the tables of one file.
pub(in crate::config) struct Document<'d> {
    text: &'d str,
    variables: &'d dyn Fn(&str) -> Option<String>,
    problems: RefCell<Vec<Problem>>,
    ledger: RefCell<Ledger>,
    keys: Option<RefCell<Vec<Key>>>,
    all_keys: OnceCell<Vec<Key>>,
    kind: Kind,
}

/// Which kind of file is read: it says which other keys there are, for remedies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// `sidecar.toml`
    Sidecar,
    /// `registry.toml`
    Registry,
}

impl<'d> Document<'d> {
    /// A reading of `text` that found nothing wrong yet.
    pub(in crate::config) fn new(
        text: &'d str,
        variables: &'d dyn Fn(&str) -> Option<String>,
    ) -> Self {
        let (problems, ledger) = (RefCell::default(), RefCell::default());
        let (all_keys, kind) = (OnceCell::new(), Kind::Sidecar);
        Self { text, variables, problems, ledger, keys: None, all_keys, kind }
    }

    /// The same reading, of a `registry.toml`.
    pub(in crate::config) fn of_registry(self) -> Self {
        Self { kind: Kind::Registry, ..self }
    }

    /// The same reading, which also lists the keys it asks for.
    pub(in crate::config) fn listing_keys(self) -> Self {
        Self { keys: Some(RefCell::default()), ..self }
    }

    pub(in crate::config) fn text(&self) -> &'d str {
        self.text
    }

    pub(super) fn variables(&self) -> &'d dyn Fn(&str) -> Option<String> {
        self.variables
    }

    /// Notes a problem.
    pub(in crate::config) fn note(&self, problem: Problem) {
        self.problems.borrow_mut().push(problem);
    }

    /// Returns whether a problem was noted at one of `places`.
    pub(super) fn has_problem_at(&self, places: &[Range<usize>]) -> bool {
        self.problems.borrow().iter().any(|problem| places.contains(&problem.span))
    }

    /// Returns what `read` gives, and what it noted, which is not held against the file.
    pub(in crate::config) fn aside<T>(&self, read: impl FnOnce() -> T) -> (T, Vec<Problem>) {
        let before = self.problems.take();
        let value = read();
        (value, self.problems.replace(before))
    }

    /// Notes that the service `owner` answers to `host`, which no other may.
    pub(in crate::config) fn claim_host(&self, host: &str, owner: &str, span: Range<usize>) {
        self.ledger.borrow_mut().host(host, owner, span);
    }

    /// Notes that the key `owner` binds `address`, which no other may.
    pub(in crate::config) fn claim_listener(
        &self,
        address: SocketAddr,
        owner: &str,
        span: Range<usize>,
    ) {
        self.ledger.borrow_mut().listener(address, owner, span);
    }

    /// Notes that the key `owner` is where our application listens, so we do not.
    pub(in crate::config) fn claim_target(
        &self,
        address: SocketAddr,
        owner: &str,
        span: Range<usize>,
    ) {
        self.ledger.borrow_mut().target(address, owner, span);
    }

    /// Notes that something of the kind `what` is called `name`, which no other of the kind may be.
    pub(in crate::config) fn claim_only(&self, what: &str, name: &str, span: Range<usize>) {
        self.ledger.borrow_mut().only(what, name, span);
    }

    /// Notes a key, if keys are listed.
    pub(super) fn key(&self, key: impl FnOnce() -> Key) {
        if let Some(keys) = &self.keys {
            keys.borrow_mut().push(key());
        }
    }

    /// Returns every key a file of this kind may have.
    pub(super) fn all_keys(&self) -> &[Key] {
        self.all_keys.get_or_init(match self.kind {
            Kind::Sidecar => Config::keys,
            Kind::Registry => RegistryConfig::keys,
        })
    }

    /// Returns which kind of file is read.
    pub(super) fn kind(&self) -> Kind {
        self.kind
    }

    /// Returns the problems: those noted, and what was claimed twice.
    pub(in crate::config) fn into_problems(self) -> Vec<Problem> {
        let mut problems = self.problems.into_inner();
        problems.extend(self.ledger.into_inner().conflicts());
        problems
    }

    /// Returns the keys that were asked for, in the order of the asking.
    pub(in crate::config) fn into_keys(self) -> Vec<Key> {
        self.keys.map(RefCell::into_inner).unwrap_or_default()
    }
}
