//! What a key or word was probably meant to be.

use crate::config::reading::document::Kind;

/// Returns the one of `known` that is spelled most like `word`, if any is like it at all.
pub(super) fn nearest<'k>(word: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    let plain = |text: &str| text.to_ascii_lowercase().replace('-', "_");
    let word = plain(word);
    // An edit for every three characters, and one for the shortest.
    let limit = (word.chars().count() / 3).max(1);
    let near = known.map(|it| (strsim::damerau_levenshtein(&word, &plain(it)), it));
    near.filter(|(edits, _)| *edits <= limit).min_by_key(|(edits, _)| *edits).map(|(_, it)| it)
}

/// What people write who come from another program: the section, the key, and what to do about it
/// here.
const FOREIGN: &[(&str, &str, &str)] = &[
    (ANY, "disabled", "write `enabled = false`"),
    (ANY, "port", "write the port behind the address: `listen = \"127.0.0.1:15001\"`"),
    ("", "listen", "`[inbound]`, `[outbound]` and `[services.\"NAME\"]` have `listen`"),
    ("", "listener", "`[inbound]`, `[outbound]` and `[services.\"NAME\"]` have `listen`"),
    ("", "listeners", "`[inbound]`, `[outbound]` and `[services.\"NAME\"]` have `listen`"),
    ("", "route", "routes follow from `[services.\"NAME\"]`, `[tenants.NAME]` and `[[rule]]`"),
    ("", "routes", "routes follow from `[services.\"NAME\"]`, `[tenants.NAME]` and `[[rule]]`"),
    ("", "cluster", "what others call a cluster is `[services.\"NAME\"]` here"),
    ("", "clusters", "what others call a cluster is `[services.\"NAME\"]` here"),
    ("", "upstream", "what others call an upstream is `[services.\"NAME\"]` here"),
    ("", "upstreams", "what others call an upstream is `[services.\"NAME\"]` here"),
    ("", "logging", "write `[log]`"),
    ("runtime", "threads", "write `workers`"),
    ("services.NAME", "backends", "write `[[services.\"NAME\".instances]]`"),
    ("services.NAME", "endpoints", "write `[[services.\"NAME\".instances]]`"),
    (
        "lanes.NAME",
        "parent",
        "a lane's name says its parents: `dev.p1` is the parent of `dev.p1.x`",
    ),
    ("rule", "when", "write `match = { … }`"),
    ("rule", "tenant", "write `set = { tenant = \"NAME\" }`"),
    ("rule.match", "host", "write `hosts = [\"NAME\"]`"),
    ("rule.match", "path", "write `path_prefix = \"/PATH\"`"),
];

/// The same, in the file of a registry.
const FOREIGN_TO_REGISTRIES: &[(&str, &str, &str)] = &[
    ("", "nodes", "write `peers = [\"HOST:PORT\"]` in `[registry]`"),
    ("", "httpServer", "write `listen = \"IP:PORT\"` in `[registry]`"),
    ("", "eureka", "Eureka's API is served as it is, beside bilibili/discovery's"),
    ("", "tenants", "rules are written to a running registry: `dyelane flip`"),
    ("", "lanes", "rules are written to a running registry: `dyelane flip`"),
    ("registry", "addr", "write `listen = \"IP:PORT\"`"),
    ("registry", "address", "write `listen`, or `advertise` for where others reach it"),
    ("registry", "nodes", "write `peers = [\"HOST:PORT\"]`"),
    ("registry", "port", "write the port behind the address: `listen = \"127.0.0.1:7171\"`"),
];

/// Stands for every section; the file itself is the empty one.
const ANY: &str = "*";

/// Returns what to write instead of `key` in `section`, as people know it from elsewhere.
pub(super) fn foreign(kind: Kind, section: &str, key: &str) -> Option<String> {
    let here = |it: &str| it == ANY || it == section;
    let foreign = match kind {
        Kind::Sidecar => FOREIGN,
        Kind::Registry => FOREIGN_TO_REGISTRIES,
    };
    let known = foreign.iter().find(|(at, name, _)| here(at) && *name == key);
    known.map(|(_, _, help)| (*help).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_is_understood() {
        let known = ["timeouts", "retries", "balance", "enabled"];

        let nearest = |word| nearest(word, known.into_iter());

        assert_eq!(nearest("timeout"), Some("timeouts"));
        assert_eq!(nearest("Retires"), Some("retries"));
        assert_eq!(nearest("enable"), Some("enabled"));
        assert_eq!(nearest("zone"), None);
    }
}
