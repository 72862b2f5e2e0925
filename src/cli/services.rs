//! `dyelane services`: who is there, by service and lane.

use std::collections::BTreeMap;

use bytes::Bytes;
use clap::Args;
use http::Method;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::admin::{InstanceView, LoadView};
use crate::cli::node::Nodes;
use crate::cli::source::{Source, WhichSource};
use crate::cli::{Format, Outcome, ask, print};
use crate::config::Config;
use crate::model::Status;
use crate::registry::record::Standing;
use crate::registry::wire::{SeenInstance, WATCH_PATH, WatchAnswer, WatchRequest};

/// Which services, and who is asked.
#[derive(Debug, Args)]
pub(super) struct Services {
    /// Only this one, each instance of it; `*.shop`: those whose names end so
    #[arg(value_name = "SERVICE")]
    service: Option<String>,
    #[command(flatten)]
    source: WhichSource,
}

/// A service.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Service {
    service: String,
    lanes: Vec<Lane>,
}

/// A lane of a service.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Lane {
    /// Its name; none for the baseline.
    lane: Option<String>,
    instances: Vec<Instance>,
}

/// An instance, whoever told of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Instance {
    /// Where it takes requests.
    address: String,
    /// Its name in its zone, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<String>,
    /// How it is, in a word.
    health: String,
    weight: String,
    zone: Option<String>,
    cluster: Option<String>,
    version: Option<String>,
}

/// What we read of `/catalog`.
#[derive(Debug, Deserialize)]
struct Catalog {
    services: Vec<CatalogService>,
}

#[derive(Debug, Deserialize)]
struct CatalogService {
    service: String,
    lanes: Vec<CatalogLane>,
}

#[derive(Debug, Deserialize)]
struct CatalogLane {
    lane: Option<String>,
    instances: Vec<InstanceView>,
}

impl Services {
    /// Asks, and prints the answer.
    pub(super) async fn run(self, output: Format) -> anyhow::Result<Outcome> {
        let source = match self.source.find() {
            Ok(source) => source,
            Err(outcome) => return Ok(outcome),
        };
        let pattern = self.service.as_deref();
        let (from, mut services) = match source {
            Source::Sidecar(admin) => {
                let answer = ask::json(admin, "/catalog").await?;
                (format!("the sidecar at {admin}"), of_sidecar(Catalog::deserialize(answer)?))
            }
            Source::Registry(registry, env) => {
                let nodes = Nodes::new(&registry, None);
                let (node, answer) = watch(nodes, &env, pattern).await?;
                (format!("{env} in the registry at {node}"), of_registry(answer))
            }
            Source::File(config) => ("the file alone".to_owned(), of_file(&config)),
        };
        services.retain(|it| pattern.is_none_or(|pattern| is_like(&it.service, pattern)));
        match output {
            Format::Json => print::json(&json!({ "from": from, "services": services }))?,
            Format::Table if services.is_empty() => print::line(&format!("none, by {from}"))?,
            Format::Table if pattern.is_some() => print::line(&in_detail(&services))?,
            Format::Table => print::line(&in_brief(&services))?,
        }
        let missing = pattern.is_some() && services.is_empty();
        Ok(if missing { Outcome::No } else { Outcome::Good })
    }
}

/// Whether `name` is `pattern`, or ends as one that begins with `*` does.
fn is_like(name: &str, pattern: &str) -> bool {
    pattern.strip_prefix('*').map_or(name == pattern, |end| name.ends_with(end))
}

/// Asks a registry for all there is, as a sidecar does that has nothing yet.
async fn watch(
    mut nodes: Nodes,
    env: &str,
    pattern: Option<&str>,
) -> anyhow::Result<(String, WatchAnswer)> {
    let request = WatchRequest {
        env: env.into(),
        services: vec![pattern.unwrap_or("*").into()],
        consumer: "dyelane services".into(),
        ..WatchRequest::default()
    };
    let body = Bytes::from(serde_json::to_vec(&request)?);
    let (node, document) = nodes.json(&Method::POST, WATCH_PATH, body).await?;
    Ok((node, WatchAnswer::deserialize(document)?))
}

fn of_sidecar(catalog: Catalog) -> Vec<Service> {
    let lane = |lane: CatalogLane| {
        let instances = lane.instances.into_iter().map(|it| Instance {
            address: it.address.to_string(),
            host: None,
            health: health(&it).to_owned(),
            weight: it.weight.to_string(),
            zone: it.zone,
            cluster: it.cluster,
            version: it.version,
        });
        Lane { lane: lane.lane, instances: instances.collect() }
    };
    let services = catalog
        .services
        .into_iter()
        .map(|it| Service { service: it.service, lanes: it.lanes.into_iter().map(lane).collect() });
    services.collect()
}

/// How an instance is, in a word.
pub(super) fn health(instance: &InstanceView) -> &'static str {
    match &instance.load {
        Some(LoadView { unreachable: true, .. }) => "unreachable",
        Some(LoadView { ejected: true, .. }) => "ejected",
        Some(LoadView { share, .. }) if *share < 1.0 => "returning",
        Some(_) => "healthy",
        None if instance.up => "up",
        None => "down",
    }
}

fn of_registry(answer: WatchAnswer) -> Vec<Service> {
    let services = answer.services.into_iter().filter(|(_, change)| !change.set.is_empty());
    let services = services.map(|(service, change)| {
        let instances = change.set.iter().map(|it| (lane_of(it), seen(it)));
        Service { service: service.to_string(), lanes: by_lane(instances) }
    });
    services.collect()
}

/// The lane an instance says it is in.
fn lane_of(seen: &SeenInstance) -> Option<String> {
    let said = ["lane", "color"].into_iter().filter_map(|key| seen.metadata.get(key));
    said.filter(|it| !it.is_empty()).map(ToString::to_string).next()
}

fn seen(seen: &SeenInstance) -> Instance {
    let said = |key: &str| seen.metadata.get(key).map(ToString::to_string);
    let given = |text: &str| Some(text.to_owned()).filter(|it| !it.is_empty());
    let health = match seen.status {
        Standing::Up => "up",
        Standing::Waiting => "waiting",
    };
    Instance {
        address: seen.addrs.join(" "),
        host: given(&seen.hostname),
        health: health.to_owned(),
        weight: said("weight").unwrap_or_else(|| "-".to_owned()),
        zone: given(&seen.zone),
        cluster: said("cluster"),
        version: given(&seen.version),
    }
}

fn of_file(config: &Config) -> Vec<Service> {
    let services = config.services.keys().map(|name| {
        let own = config.instances.iter().filter(|it| it.service == *name);
        let instances = own.map(|it| {
            let text = |text: &Option<std::sync::Arc<str>>| text.as_deref().map(str::to_owned);
            let up = it.status == Status::Up;
            let instance = Instance {
                address: it.address.to_string(),
                host: None,
                health: if up { "up" } else { "down" }.to_owned(),
                weight: it.weight.to_string(),
                zone: text(&it.zone),
                cluster: text(&it.cluster),
                version: text(&it.version),
            };
            (it.lane.map(|lane| lane.to_string()), instance)
        });
        Service { service: name.to_string(), lanes: by_lane(instances) }
    });
    services.collect()
}

/// Puts instances under their lanes, the baseline first.
fn by_lane(instances: impl Iterator<Item = (Option<String>, Instance)>) -> Vec<Lane> {
    let mut lanes: BTreeMap<Option<String>, Vec<Instance>> = BTreeMap::new();
    for (lane, instance) in instances {
        lanes.entry(lane).or_default().push(instance);
    }
    lanes.into_iter().map(|(lane, instances)| Lane { lane, instances }).collect()
}

/// A row for each lane.
fn in_brief(services: &[Service]) -> String {
    let rows = services.iter().flat_map(|service| {
        service.lanes.iter().map(|lane| {
            let well = |it: &&Instance| ["up", "healthy", "returning"].contains(&&*it.health);
            let up = lane.instances.iter().filter(well).count();
            let instances = format!("{up} of {} up", lane.instances.len());
            [service.service.clone(), name(lane).to_owned(), instances]
        })
    });
    print::table(["SERVICE", "LANE", "INSTANCES"], rows.collect())
}

/// A row for each instance.
fn in_detail(services: &[Service]) -> String {
    let text = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    let rows = services.iter().flat_map(|service| {
        let lanes = service.lanes.iter();
        let all = lanes.flat_map(|lane| lane.instances.iter().map(move |it| (lane, it)));
        all.map(|(lane, it)| {
            [
                service.service.clone(),
                name(lane).to_owned(),
                it.address.clone(),
                it.health.clone(),
                it.weight.clone(),
                text(&it.zone),
                text(&it.cluster),
                text(&it.version),
                text(&it.host),
            ]
        })
    });
    let header =
        ["SERVICE", "LANE", "INSTANCE", "HEALTH", "WEIGHT", "ZONE", "CLUSTER", "VERSION", "HOST"];
    print::table(header, rows.collect())
}

fn name(lane: &Lane) -> &str {
    lane.lane.as_deref().unwrap_or("baseline")
}
