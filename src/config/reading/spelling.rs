//! What a key or word was probably meant to be.

/// Returns the one of `known` that is spelled most like `word`, if any is like it at all.
pub(super) fn nearest<'k>(word: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    let plain = |text: &str| text.to_ascii_lowercase().replace('-', "_");
    let word = plain(word);
    // An edit for every three characters, and one for the shortest.
    let limit = (word.chars().count() / 3).max(1);
    let near = known.map(|it| (strsim::damerau_levenshtein(&word, &plain(it)), it));
    near.filter(|(edits, _)| *edits <= limit).min_by_key(|(edits, _)| *edits).map(|(_, it)| it)
}

/// What people write who come from another program, or from a later version of this one: the key,
/// and what to do about it here.
const FOREIGN: &[(&str, &str)] = &[
    ("disabled", "write `enabled = false`"),
    ("disable", "write `enabled = false`"),
    ("listener", "`[inbound]` and `[outbound]` each have `listen`"),
    ("listeners", "`[inbound]` and `[outbound]` each have `listen`"),
    ("listen", "`[inbound]`, `[outbound]`, `[admin]` and `[services.\"NAME\"]` have `listen`"),
    ("port", "write the port behind the address: `listen = \"127.0.0.1:15001\"`"),
    ("route", "routes follow from `[services.\"NAME\"]`, `[tenants.NAME]` and `[[rule]]`"),
    ("routes", "routes follow from `[services.\"NAME\"]`, `[tenants.NAME]` and `[[rule]]`"),
    ("clusters", "what others call a cluster is `[services.\"NAME\"]` here"),
    ("upstream", "what others call an upstream is `[services.\"NAME\"]` here"),
    ("upstreams", "what others call an upstream is `[services.\"NAME\"]` here"),
    ("backends", "write `[[services.\"NAME\".instances]]`"),
    ("endpoints", "write `[[services.\"NAME\".instances]]`"),
    ("instance", "write `[[services.\"NAME\".instances]]`"),
    ("logging", "write `[log]`"),
    ("threads", "write `workers` in `[runtime]`"),
    ("parent", "a lane's parents are in its name: `dev.p1` is the parent of `dev.p1.alice`"),
    ("when", "write `match = { … }`"),
    ("color", "write `set = { tenant = \"NAME\" }`"),
    ("metadata", "a gRPC metadata key is a header: write `header`"),
];

/// Returns what to write instead of `key`, which people know from elsewhere.
pub(super) fn foreign(key: &str) -> Option<&'static str> {
    FOREIGN.iter().find(|(name, _)| *name == key).map(|(_, help)| *help)
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
