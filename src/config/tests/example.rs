//! `sidecar.toml` at the root of the repository: complete, and true to the reader.

use toml::{Table, Value};

use super::parse;
use crate::config::{Carrier, Config, Key, TenantSection};

const EXAMPLE: &str = include_str!("../../../sidecar.toml");

fn example() -> Config {
    parse(EXAMPLE).unwrap_or_else(|report| panic!("\n{report}")).config
}

/// A key of `[services.NAME]` that is one of `[defaults]` too.
fn is_default_of_service(key: &Key) -> bool {
    let Some(rest) = key.section.strip_prefix("services.NAME") else { return false };
    let section = format!("defaults{rest}");
    Config::keys().iter().any(|it| it.section == section && it.name == key.name)
}

/// Whether `table` has `key` at `path`; `NAME` is any name, and a list has it if one of it has.
fn has(table: &Table, path: &[&str], key: &str) -> bool {
    let below = |value: &Value, rest: &[&str]| match value {
        Value::Table(table) => has(table, rest, key),
        Value::Array(all) => all.iter().filter_map(Value::as_table).any(|it| has(it, rest, key)),
        _ => false,
    };
    match path {
        [] => table.contains_key(key),
        ["NAME", rest @ ..] => table.values().any(|value| below(value, rest)),
        [section, rest @ ..] => table.get(*section).is_some_and(|value| below(value, rest)),
    }
}

#[test]
fn the_example_is_read_without_complaint() {
    let parsed = parse(EXAMPLE).unwrap_or_else(|report| panic!("\n{report}"));

    assert_eq!(parsed.quarantined, []);
    assert_eq!(parsed.config.instances.len(), 2);
}

#[test]
fn the_example_has_every_key() {
    let table: Table = EXAMPLE.parse().unwrap();

    let missing = Config::keys().into_iter().filter(|key| {
        let path: Vec<_> = key.section.split('.').collect();
        !has(&table, &path, key.name) && !is_default_of_service(key)
    });

    assert_eq!(missing.collect::<Vec<_>>(), []);
}

#[test]
fn the_example_says_the_bounds_of_every_key() {
    let wrong = Config::keys().into_iter().filter(|key| {
        let Some((_, bounds)) = key.kind.split_once(" of ").filter(|(_, it)| it.contains(" to "))
        else {
            return false;
        };
        let bounds = bounds.trim_start_matches("ports of ");
        let named = |line: &&str| line.split(" =").next() == Some(key.name);
        !is_default_of_service(key)
            && !EXAMPLE.lines().filter(named).any(|line| line.contains(bounds))
    });

    assert_eq!(wrong.collect::<Vec<_>>(), []);
}

#[test]
fn what_the_example_calls_a_default_is_one() {
    let minimal = "[workload]\nservice = \"order.shop\"\n[inbound]\n[outbound]\n";
    let minimal = parse(minimal).unwrap().config;

    let example = example();

    assert_eq!(example.defaults, minimal.defaults);
    assert_eq!(example.limits, minimal.limits);
    assert_eq!(example.runtime, minimal.runtime);
    assert_eq!(example.admin, minimal.admin);
    assert_eq!(example.log, minimal.log);
    assert_eq!(example.outbound, minimal.outbound);
    assert_eq!(example.inbound.claims, minimal.inbound.claims);
    assert_eq!(example.inbound.reroute, minimal.inbound.reroute);
    assert_eq!(example.inbound.echo, minimal.inbound.echo);
    assert_eq!(example.inbound.opaque_ports, minimal.inbound.opaque_ports);
    assert_eq!(example.workload.weight, minimal.workload.weight);
    assert_eq!(example.workload.protocol, minimal.workload.protocol);
    let own: Vec<Carrier> = example.tenant.read.iter().take(3).cloned().collect();
    assert_eq!(TenantSection { read: own, ..example.tenant }, minimal.tenant);
}

#[test]
fn a_service_takes_from_the_defaults_what_it_does_not_say() {
    let config = example();

    let service = config.services.get("user.shop").unwrap();

    let own = service.timeouts.head.unwrap();
    assert_eq!(own.as_secs(), 5);
    assert_eq!(service.timeouts.connect, config.defaults.timeouts.connect);
    assert_eq!(service.retries, config.defaults.retries);
}
