//! Tenants and lanes that are wrong alone.

use super::{LEAST, good, parse};
use crate::config::Entry;
use crate::model::{LaneName, TenantId};

const MIXED: &str = "[tenants.alice]\nlane = 'new'\n[tenants.bob]\nlane = 'b c'\n\
                     [tenants.'e f']\n[lanes.x]\nfalback = []\n[lanes.y]\nstrict = true\n";

#[test]
fn a_bad_tenant_does_not_hold_up_the_others() {
    let parsed = parse(&format!("{LEAST}{MIXED}")).unwrap();

    let entries: Vec<_> = parsed.quarantined.iter().map(|it| it.entry.clone()).collect();
    let [bob, odd] = ["bob", "e f"].map(|name| Entry::Tenant(name.to_owned()));
    assert_eq!(entries, [bob, odd, Entry::Lane("x".to_owned())]);
    assert_eq!(parsed.config.tenants.len(), 1);
    assert_eq!(parsed.config.lanes.len(), 1);
}

#[test]
fn each_bad_entry_has_a_report_of_its_own() {
    let parsed = parse(&format!("{LEAST}{MIXED}")).unwrap();

    let counts: Vec<_> = parsed.quarantined.iter().map(|it| it.report.problems().len()).collect();

    assert_eq!(counts, [1, 1, 1]);
    assert!(parsed.quarantined[0].report.to_string().contains("sidecar.toml:7:8"));
    assert_eq!(parsed.quarantined[2].entry.to_string(), "lane x");
}

#[test]
fn a_bad_entry_keeps_the_value_it_had() {
    let previous = good("[tenants.bob]\nlane = 'old'\n[tenants.alice]\nlane = 'old'\n[lanes.y]\n");
    let parsed = parse(&format!("{LEAST}{MIXED}")).unwrap();
    let mut config = parsed.config;

    config.keep_quarantined(&parsed.quarantined, &previous);

    let lane = |name: &str| config.tenants[&TenantId::new(name).unwrap()].lane.unwrap();
    assert_eq!(lane("bob").as_str(), "old");
    assert_eq!(lane("alice").as_str(), "new");
    assert!(!config.lanes.contains_key("x"));
    assert!(config.lanes[&LaneName::new("y").unwrap()].strict);
}

#[test]
fn a_bad_section_refuses_the_file_and_names_the_bad_entries_too() {
    let report = parse(&format!("{LEAST}{MIXED}[tls]\n")).unwrap_err();

    assert_eq!(report.problems().len(), 4);
}
