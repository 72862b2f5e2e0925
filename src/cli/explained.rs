//! An explanation, for people: who it is for, rung by rung, and the instances in the end.

use std::fmt;

use crate::admin::{Explanation, InstanceView, LoadView};
use crate::cli::print;
use crate::cli::services::health;
use crate::model::LaneName;

/// An explanation as text.
pub(super) struct ForPeople<'a>(pub(super) &'a Explanation);

impl fmt::Display for ForPeople<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Explanation { service, tenant, known_by, generation, trail, .. } = self.0;
        write!(f, "{service} for ")?;
        match (tenant, &**known_by) {
            (Some(tenant), "asked") => write!(f, "tenant {tenant}")?,
            (Some(tenant), known_by) => write!(f, "tenant {tenant} (by {known_by})")?,
            (None, "none") => write!(f, "no tenant")?,
            (None, known_by) => write!(f, "no tenant ({known_by})")?,
        }
        match generation {
            Some(generation) => writeln!(f, ", by generation {generation}\n")?,
            None => writeln!(f, ", by the file alone\n")?,
        }
        let rungs = trail.iter().map(|rung| {
            let meaning = outcome_means(&rung.outcome).to_owned();
            [lane(rung.lane.as_ref()).to_owned(), rung.outcome.clone(), meaning]
        });
        if !trail.is_empty() {
            writeln!(f, "{}\n", print::table(["LANE", "OUTCOME", ""], rungs.collect()))?;
        }
        self.conclusion(f)
    }
}

impl ForPeople<'_> {
    fn conclusion(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Explanation { found, lane: taken, reason, instances, .. } = self.0;
        let means = reason_means(reason);
        if !found {
            return writeln!(f, "=> refused ({reason}: {means})");
        }
        writeln!(f, "=> {} ({reason}: {means})\n", lane(taken.as_ref()))?;
        let header = ["INSTANCE", "HEALTH", "WEIGHT", "LOAD", "ZONE", "VERSION"];
        writeln!(f, "{}", print::table(header, instances.iter().map(row).collect()))
    }
}

/// The name of a lane.
fn lane(lane: Option<&LaneName>) -> &str {
    lane.map_or("baseline", LaneName::as_str)
}

/// An instance in a row.
fn row(instance: &InstanceView) -> [String; 6] {
    let text = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    let load = instance.load.as_ref().map_or_else(|| "-".to_owned(), work);
    [
        instance.address.to_string(),
        health(instance).to_owned(),
        instance.weight.to_string(),
        load,
        text(&instance.zone),
        text(&instance.version),
    ]
}

/// What an instance has to do.
fn work(load: &LoadView) -> String {
    match load.latency_ms {
        Some(latency) => format!("{} in flight, {latency:.1} ms", load.in_flight),
        None => format!("{} in flight", load.in_flight),
    }
}

/// What an outcome means.
fn outcome_means(outcome: &str) -> &'static str {
    match outcome {
        "taken" => "has an instance to take it",
        "absent" => "no instance there",
        "unhealthy" => "instances, none of them healthy",
        "failed" => "none of its instances healthy, and on_unhealthy = \"fail\"",
        "strict" => "not to be used: strict",
        _ => "",
    }
}

/// What a reason means.
fn reason_means(reason: &str) -> &'static str {
    match reason {
        "baseline" => "it has no tenant",
        "exact" => "the tenant's own lane",
        "parent" => "a parent of the tenant's lane",
        "fallback" => "from the lane's fallback list",
        "absent" => "no lane of the ladder has an instance",
        "unhealthy" => "no lane of the ladder has a healthy instance",
        "disabled" => "the tenant is turned off",
        "no_instance" => "503, no rung of the ladder may take it",
        "claim" => "400, what it says of its tenant is malformed or in conflict",
        _ => "",
    }
}
