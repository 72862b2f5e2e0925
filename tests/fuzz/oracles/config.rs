//! `sidecar.toml`: whatever the text, it is a configuration or a report that can be shown.

use dyelane::config::{Config, Parsed, Report};
use dyelane::model::Catalog;
use dyelane::routing::{RouteTable, RuleTable};
use dyelane::tenant::{Carriers, Correlation};

/// The bytes are the file.
pub fn config(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let variables = |name: &str| name.len().is_multiple_of(2).then(|| name.to_lowercase());

    let parsed = Config::parse("sidecar.toml", text, &variables);

    let checked = Config::check("sidecar.toml", text, &variables);
    match parsed {
        Ok(Parsed { config, quarantined }) => {
            assert_eq!(checked.is_ok(), quarantined.is_empty());
            for entry in &quarantined {
                shows(&entry.report, text);
            }
            can_be_built(&config);
        }
        Err(report) => {
            assert!(checked.is_err());
            shows(&report, text);
        }
    }
}

fn shows(report: &Report, text: &str) {
    assert!(!report.problems().is_empty());
    for problem in report.problems() {
        assert!(text.get(problem.span.clone()).is_some(), "{problem:?}");
        assert!(!problem.message.is_empty());
    }
    for located in report.located() {
        assert!((1..=text.lines().count() + 1).contains(&located.line), "{located:?}");
    }
    assert!(!report.to_string().is_empty());
}

/// A configuration is valid: what is made of it asks no more questions.
fn can_be_built(config: &Config) {
    let catalog: Catalog = config.instances.iter().cloned().collect();
    let routes = RouteTable::build(config, &catalog);
    for name in config.services.keys() {
        assert!(routes.by_name(name.as_str()).is_some(), "{name}");
    }
    RuleTable::build(&config.rules);
    let carriers = Carriers::new(&config.tenant);
    assert!(carriers.is_carrier_name(config.tenant.header.as_bytes()));
    if config.tenant.correlation.capacity < 100_000 {
        Correlation::new(&config.tenant.correlation);
    }
}
