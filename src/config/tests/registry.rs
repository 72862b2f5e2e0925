//! `registry.toml`: what it says, what is said of it, and that `docs/` is true to the reader.

use std::time::Duration;

use toml::Table;

use super::{told, variables};
use crate::config::{InvalidSecret, Key, RegistryConfig, Report, Secret, Token};

const EXAMPLE: &str = include_str!("../../../docs/registry.toml");
const REFERENCE: &str = include_str!("../../../docs/registry.md");

fn parse(text: &str) -> Result<RegistryConfig, Report> {
    RegistryConfig::parse("registry.toml", text, &variables)
}

fn good(text: &str) -> RegistryConfig {
    parse(text).unwrap_or_else(|report| panic!("\n{report}"))
}

/// Checks that `text` has one problem: at `at`, with a message and a help that contain these.
#[track_caller]
fn refused(text: &str, at: &str, message: &str, help: &str) {
    let found = told(&parse(text).unwrap_err());

    let [(place, said, remedy)] = &*found else { panic!("not one problem: {found:#?}") };
    assert_eq!(place, at, "{said}");
    assert!(said.contains(message), "{said:?} does not contain {message:?}");
    assert!(remedy.contains(help), "{remedy:?} does not contain {help:?}");
}

/// The row of `key`, as the reference has to begin it.
fn row(key: &Key) -> String {
    format!("| {} | {} | {} |", key.name, key.kind, key.default).replace('`', "")
}

/// The text of the reference under the heading of `section`, up to the next heading.
fn under(section: &str) -> &'static str {
    let (_, text) = REFERENCE.split_once(&format!("### `[{section}]`\n")).unwrap_or_default();
    text.split("\n#").next().unwrap_or(text)
}

#[test]
fn an_empty_file_is_a_registry() {
    assert_eq!(good(""), RegistryConfig::default());
    assert_eq!(good("[registry]\n[leases]\n"), RegistryConfig::default());
}

#[test]
fn what_the_example_calls_a_default_is_one() {
    let mut example = good(EXAMPLE);

    assert_eq!(std::mem::take(&mut example.node.region), "eu");
    assert_eq!(example, RegistryConfig::default());
}

#[test]
fn the_example_has_every_key_with_its_bounds() {
    let table: Table = EXAMPLE.parse().unwrap();

    let wrong = RegistryConfig::keys().into_iter().filter(|key| {
        let section = table.get(&key.section).and_then(|it| it.as_table());
        let bounds = key.kind.split_once(" of ").map(|(_, it)| it).filter(|it| it.contains(" to "));
        let line = EXAMPLE.lines().filter(|line| line.split(" =").next() == Some(key.name));
        let says_bounds = bounds.is_none_or(|it| line.clone().any(|line| line.contains(it)));
        section.is_none_or(|it| !it.contains_key(key.name)) || !says_bounds
    });

    assert_eq!(wrong.collect::<Vec<_>>(), []);
}

#[test]
fn the_reference_has_every_key_and_no_other() {
    let keys = RegistryConfig::keys();

    let missing = keys.iter().filter(|key| {
        let text = under(&key.section).replace('`', "");
        !text.lines().any(|line| line.starts_with(&row(key)))
    });
    let strange = ["registry", "leases", "protection", "limits", "log"].map(|section| {
        let rows = under(section).lines();
        let names = rows.filter_map(|line| line.strip_prefix("| `")?.split('`').next());
        let known = |name: &str| keys.iter().any(|key| key.section == section && key.name == name);
        names.filter(|name| !known(name)).collect::<Vec<_>>()
    });

    assert_eq!(missing.map(row).collect::<Vec<_>>(), Vec::<String>::new());
    assert_eq!(strange.concat(), Vec::<&str>::new());
}

#[test]
fn a_node_knows_others_by_host_and_port() {
    let text = "[registry]\nlisten = '0.0.0.0:7171'\nadvertise = 'R-1:80'\nzone = 'z'\n\
                peers = ['10.0.0.2:7171', '[::1]:7171']\nzones = { other = ['r.other:7171'] }\n\
                [leases]\nlease = '1s'\npass = '100ms'\n[limits]\nbody = '4KiB'\n";

    let config = good(text);

    assert_eq!(config.node.advertise.unwrap().as_str(), "r-1:80");
    assert_eq!(
        config.node.peers.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["10.0.0.2:7171", "[::1]:7171"]
    );
    assert_eq!(config.node.zones["other"][0].as_str(), "r.other:7171");
    assert_eq!(config.leases.lease, Duration::from_secs(1));
    assert_eq!(config.limits.body, 4096);
}

#[test]
fn a_node_that_cannot_be_reached_is_refused() {
    let peers = |peer: &str| format!("[registry]\npeers = [{peer}]");
    refused(&peers("'a'"), "'a'", "`peers` has no port", "behind a colon");
    refused(&peers("'http://a:1'"), "'http://a:1'", "URL", "the host and the port only");
    refused(&peers("'0.0.0.0:1'"), "'0.0.0.0:1'", "nobody can be reached", "others reach it");
    refused(&peers("'a:1', \"A:1\""), "\"A:1\"", "names a:1 twice", "remove one");
    refused(&peers("7171"), "7171", "is a whole number", "in quotes");
    refused("[registry]\nadvertise = 'a:0'", "'a:0'", "no good port", "1 to 65535");
    refused("[registry]\nzones = { b = 'a:1' }", "'a:1'", "is a string", "a list of hosts");
    let own = "[registry]\nzone = 'b'\nzones = { b = ['a:1'] }";
    refused(own, "['a:1']", "`b` is our own zone", "write its nodes as `peers`");
    let many: Vec<_> = (0..65).map(|it| format!("'a{it}:1'")).collect();
    refused(&peers(&many.join(",")), "'a64:1'", "more than 64 nodes", "learn of each other");
}

#[test]
fn what_is_out_of_bounds_or_unknown_is_met_with_a_remedy() {
    refused("[leases]\nlease = '2h'", "'2h'", "`lease` is out of bounds", "1s to 1h");
    let text = "[leases]\nlease = '30m'\nceiling = '1m'";
    refused(text, "'30m'", "`lease` is more than `ceiling`", "at most");
    let text = "[leases]\ntombstones = '1m'";
    refused(text, "'1m'", "`ceiling` is more than `tombstones`", "at most");
    refused("[protection]\nshare = 15", "15", "out of bounds", "0.0 to 1.0");
    refused("[registry]\nzone = 'a b'", "'a b'", "has a space", "without spaces");
    refused("[registry]\nlease = '1s'", "lease", "unknown key", "`lease` belongs to `[leases]`");
    refused("[registry]\npeer = []", "peer", "unknown key", "did you mean `peers`?");
    refused("[registry]\nport = 7171", "port", "unknown key", "behind the address");
    refused("[tenants.alice]", "tenants", "unknown section", "`dyelane flip`");
    refused("listen = '127.0.0.1:1'", "listen", "unknown key", "belongs to `[registry]`");
    refused("[log]\nlevel = 'a=b=c'", "'a=b=c'", "is no level", "\"warn\"");
    refused("[registry\n", "", "unclosed table", "close what is opened");
}

#[test]
fn a_token_is_said_once_and_shown_to_nobody() {
    let text = "[registry]\ntoken = 's3cret'";

    let token = good(text).node.token;
    let file = good("[registry]\ntoken_file = '/run/token'\ntoken = '${EMPTY}'").node.token;

    assert_eq!(token, Token::Text(Secret::new("s3cret").unwrap()));
    assert!(!format!("{token:?}").contains("s3cret"));
    assert_eq!(file, Token::File("/run/token".into()));
    refused(&format!("{text}\ntoken_file = 'x'"), "'x'", "`token` is given too", "keep one");
    refused("[registry]\ntoken = 'a b'", "'a b'", "no header field can hold", "without spaces");
    assert_eq!(Secret::new(""), Err(InvalidSecret::Empty));
    assert_eq!(Secret::new(&"x".repeat(4097)), Err(InvalidSecret::TooLong));
}

#[test]
fn a_file_is_a_registrys_by_its_sections_or_else_by_its_name() {
    for (file, text, meant) in [
        ("registry.toml", "", true),
        ("etc/registry.toml", "[log]\n", true),
        ("a.toml", "[registry]\n", true),
        ("a.toml", "[leases]\n[broken", true),
        ("a.toml", "", false),
        ("registry.toml", "[workload]\n", false),
        ("sidecar.toml", "[registry]\n[workload]\n", false),
    ] {
        assert_eq!(RegistryConfig::is_meant(file, text), meant, "{file}: {text}");
    }
}
