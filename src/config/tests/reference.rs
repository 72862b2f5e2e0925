//! `docs/config.md`: true to the reader in every key, bound, default and report.

use super::parse;
use crate::config::{Config, Key};

const REFERENCE: &str = include_str!("../../../docs/config.md");

/// The heading a section has in the reference.
fn heading(section: &str) -> String {
    match section {
        "rule" => "### `[[rule]]`".to_owned(),
        "services.NAME" => "### `[services.\"NAME\"]`".to_owned(),
        "services.NAME.instances" => "### `[[services.\"NAME\".instances]]`".to_owned(),
        section => format!("### `[{section}]`"),
    }
}

/// The text under `heading`, up to the next heading.
fn under(heading: &str) -> Option<&'static str> {
    let (_, text) = REFERENCE.split_once(&format!("{heading}\n"))?;
    Some(text.split("\n#").next().unwrap_or(text))
}

/// The text of the first fenced block of that language behind `at`.
fn block(at: &str, language: &str) -> &'static str {
    let (_, text) = REFERENCE.split_once(at).unwrap();
    let (_, text) = text.split_once(&format!("```{language}\n")).unwrap();
    text.split("```").next().unwrap()
}

/// The row of `key`, as the reference has to begin it.
fn row(key: &Key) -> String {
    format!("| {} | {} | {} |", key.name, key.kind, key.default).replace('`', "")
}

#[test]
fn the_reference_has_every_key_with_its_bounds_and_default() {
    let keys = Config::keys();
    let repeated = |key: &Key| {
        let section = key.section.replace("services.NAME", "defaults");
        key.section != section && keys.iter().any(|it| it.section == section && it.name == key.name)
    };

    let missing = keys.iter().filter(|key| !repeated(key)).filter(|key| {
        let text = under(&heading(&key.section)).unwrap_or_default().replace('`', "");
        !text.lines().any(|line| line.starts_with(&row(key)))
    });

    assert_eq!(missing.map(row).collect::<Vec<_>>(), Vec::<String>::new());
}

#[test]
fn the_reference_has_no_key_that_is_none() {
    let keys = Config::keys();
    let sections = keys.iter().map(|key| &key.section);

    let strange = sections.flat_map(|section| {
        let text = under(&heading(section)).unwrap_or_default();
        let rows = text.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
        rows.filter(|name| !keys.iter().any(|key| key.section == *section && key.name == *name))
    });

    assert_eq!(strange.collect::<Vec<_>>(), Vec::<&str>::new());
}

#[test]
fn the_report_in_the_reference_is_what_the_operator_sees() {
    let file = block("## Reports", "toml");

    let report = parse(file).unwrap_err();

    assert_eq!(report.to_string(), block("is answered with", "text"));
}

#[test]
fn the_least_file_of_the_reference_is_enough() {
    let file = block("# sidecar.toml", "toml");

    let config = parse(file).unwrap().config;

    assert_eq!(config.inbound.listen, ["0.0.0.0:15006".parse().unwrap()]);
    assert_eq!(config.outbound.listen, ["127.0.0.1:15001".parse().unwrap()]);
}

#[test]
fn the_reference_names_what_needs_a_restart() {
    let least = block("# sidecar.toml", "toml");
    let old = parse(least).unwrap().config;
    let new = "[workload]\nservice = \"order.shop\"\n\
               [inbound]\nlisten = \"127.0.0.1:1\"\n[outbound]\nlisten = \"127.0.0.1:2\"\n\
               [admin]\nlisten = \"off\"\n[limits]\nconnections = 1\n[runtime]\nworkers = 1\n\
               [log]\nformat = \"json\"\n[services.NAME]\nlisten = \"127.0.0.1:3\"\n";
    let new = parse(new).unwrap().config;

    let keys = Config::needs_restart(&old, &new);

    let named = under("### What needs a restart").unwrap();
    let listed: Vec<_> = named.lines().filter_map(|it| it.strip_prefix("- `")).collect();
    assert_eq!(listed, keys.iter().map(|key| format!("{key}`")).collect::<Vec<_>>());
}
