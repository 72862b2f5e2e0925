//! The file as a whole: from its text to a [`Config`], or to all that is wrong with it.

use std::collections::BTreeMap;

use toml::de::DeTable;

use crate::config::problem::{Problem, Report};
use crate::config::quarantine::{Entry, Quarantined};
use crate::config::reading::{Document, Key, Section};
use crate::config::syntax;
use crate::config::{
    Admin, Config, Discovery, Inbound, Lane, Limits, Log, Outbound, Registration, Rule, Runtime,
    Service, Tenant, TenantSection, Workload,
};

/// What a file says, and what of it was left out.
#[derive(Debug, Clone, PartialEq)]
pub struct Parsed {
    /// What the file says, without what was left out.
    pub config: Config,
    /// The tenants and lanes that were left out, in order of kind and name.
    pub quarantined: Vec<Quarantined>,
}

/// A file of which every section is there, with one entry of each kind.
const EVERY_SECTION: &str = "[workload]\n[inbound]\n[outbound]\n[tenants.x]\n[lanes.x]\n[[rule]]\n\
                             [services.x]\n[[services.x.instances]]\n[discovery.registry]\n\
                             [discovery.eureka]\n[registration]\n";

impl Config {
    /// Reads a file called `file`. `variables` looks up what stands in for `${NAME}`.
    ///
    /// A tenant or lane that is wrong is left out alone; anything else that is wrong refuses the
    /// file. The report then has all that is wrong, in tenants and lanes too.
    pub fn parse(
        file: &str,
        text: &str,
        variables: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Parsed, Report> {
        let (config, mut problems, wrong) = read(text, variables);
        match config {
            Some(config) if problems.is_empty() => {
                let quarantined = wrong.into_iter().map(|(entry, problems)| Quarantined {
                    entry,
                    report: Report::new(file, text, problems),
                });
                Ok(Parsed { config, quarantined: quarantined.collect() })
            }
            _ => {
                problems.extend(wrong.into_iter().flat_map(|(_, problems)| problems));
                Err(Report::new(file, text, problems))
            }
        }
    }

    /// Reads a file as [`parse`](Self::parse) does, but lets nothing pass: a tenant or lane that is
    /// wrong refuses the file too.
    pub fn check(
        file: &str,
        text: &str,
        variables: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, Report> {
        let (config, mut problems, wrong) = read(text, variables);
        problems.extend(wrong.into_iter().flat_map(|(_, problems)| problems));
        match config {
            Some(config) if problems.is_empty() => Ok(config),
            _ => Err(Report::new(file, text, problems)),
        }
    }

    /// Returns every key a file may have, in the order of the reference.
    pub fn keys() -> Vec<Key> {
        let Ok(tree) = DeTable::parse(EVERY_SECTION) else { return Vec::new() };
        let document = Document::new(EVERY_SECTION, &|_| None).listing_keys();
        Section::file(&document, tree.get_ref(), |file| read_file(file, &mut Vec::new()));
        document.into_keys()
    }
}

/// A tenant or lane that is wrong, and what is wrong with it.
type Wrong = (Entry, Vec<Problem>);

/// Reads the text: what it says, if that can be said, what is wrong, and which entries are.
fn read(
    text: &str,
    variables: &dyn Fn(&str) -> Option<String>,
) -> (Option<Config>, Vec<Problem>, Vec<Wrong>) {
    let (tree, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        // What is no TOML has no keys to be judged.
        return (None, errors.iter().map(|it| syntax::problem(text, it)).collect(), Vec::new());
    }
    let document = Document::new(text, variables);
    let mut wrong = Vec::new();
    let config = Section::file(&document, tree.get_ref(), |file| read_file(file, &mut wrong));
    (config, document.into_problems(), wrong)
}

/// Reads every section; none if a part without which there is no configuration is missing.
fn read_file(file: &mut Section<'_>, wrong: &mut Vec<Wrong>) -> Option<Config> {
    let workload = file.table("workload", Workload::read);
    let inbound = file.table_if_given("inbound", Inbound::read).unwrap_or_else(Inbound::none);
    let outbound = file.table_if_given("outbound", Outbound::read).unwrap_or_else(Outbound::none);
    let tenant = file.table("tenant", TenantSection::read);
    let (mut tenants, mut lanes) = (BTreeMap::new(), BTreeMap::new());
    let document = file.document();
    file.named_tables("tenants", |table| {
        let (read, problems) = document.aside(|| {
            let name = table.name.name("tenant");
            name.zip(table.read(Tenant::read))
        });
        keep(&mut tenants, read, problems, || Entry::Tenant(table.name.text().to_owned()), wrong);
    });
    file.named_tables("lanes", |table| {
        let (read, problems) = document.aside(|| {
            let name = table.name.name("lane")?;
            Some(name).zip(table.read(|it| Lane::read(it, name)))
        });
        keep(&mut lanes, read, problems, || Entry::Lane(table.name.text().to_owned()), wrong);
    });
    let rules = file.tables("rule", Rule::read);
    let defaults = file.table("defaults", |it| Service::read(it, &Service::default()));
    let (mut services, mut instances) = (BTreeMap::new(), Vec::new());
    file.named_tables("services", |table| {
        services.extend(Service::read_named(table, &defaults, &mut instances));
    });
    let zone = workload.as_ref().and_then(|it| it.zone.clone());
    let discovery = file.table("discovery", |it| Discovery::read(it, zone));
    let registration = file
        .table_if_given("registration", |it| Registration::read(it, workload.as_ref(), &discovery));
    let limits = file.table("limits", Limits::read);
    let runtime = file.table("runtime", Runtime::read);
    let admin = file.table("admin", Admin::read);
    let log = file.table("log", Log::read);
    let idle = !file.has("inbound") && !file.has("outbound");
    if idle && services.values().all(|service| service.listen.is_none()) {
        let help = "write `[inbound]`, `[outbound]` or both; their `listen` has a default";
        file.refuse("inbound", "the sidecar would listen nowhere", help);
    }
    Some(Config {
        workload: workload?,
        inbound,
        outbound,
        tenant,
        tenants,
        lanes,
        rules,
        services,
        defaults,
        instances,
        discovery,
        registration: registration.flatten(),
        limits,
        runtime,
        admin,
        log,
    })
}

/// Keeps what was read of an entry, or else notes it as wrong.
fn keep<K: Ord, V>(
    entries: &mut BTreeMap<K, V>,
    read: Option<(K, V)>,
    problems: Vec<Problem>,
    entry: impl FnOnce() -> Entry,
    wrong: &mut Vec<Wrong>,
) {
    match read {
        Some((name, value)) if problems.is_empty() => drop(entries.insert(name, value)),
        _ => wrong.push((entry(), problems)),
    }
}
