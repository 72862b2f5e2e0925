//! `dyelane status --registry`: how the nodes of a registry are, and whether they agree.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::cli::node::{Nodes, WhichRegistry};
use crate::cli::{Format, Outcome, print};
use crate::config::Authority;

/// Nodes that are asked at most: those named, and those they name.
const MOST: usize = 64;
/// How long one of them may take to answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// What we read of `/v1/status`.
#[derive(Debug, Deserialize)]
struct Status {
    version: String,
    zone: String,
    uptime_seconds: u64,
    readable: bool,
    instances: u64,
    services: u64,
    watchers: u64,
    protected: Vec<Group>,
    digest: String,
    members: Vec<Member>,
    rules: Rules,
}

/// A zone and lane that is protected.
#[derive(Debug, Deserialize)]
struct Group {
    zone: String,
    lane: String,
}

#[derive(Debug, Deserialize)]
struct Member {
    addr: String,
    zone: String,
    state: String,
    /// Why it is not up; none: it is, or was not asked yet.
    why: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Rules {
    tenants: u64,
    lanes: u64,
    digest: String,
    durable: bool,
    writable: bool,
}

/// What each node says, or why it says nothing; by its address.
type Answers = BTreeMap<Authority, Result<Value, String>>;

/// Asks every node named, and those they know of, and prints the answers.
pub(super) async fn run(which: WhichRegistry, output: Format) -> anyhow::Result<Outcome> {
    let answers = ask(which.registry).await;
    let known = answers.iter().filter_map(|(node, answer)| {
        let status = Status::deserialize(answer.as_ref().ok()?).ok()?;
        Some((node, status))
    });
    let known: BTreeMap<_, _> = known.collect();
    let is_well = known.len() == answers.len() && known.values().all(|it| it.readable);
    match output {
        Format::Json => {
            let nodes = answers.iter().map(|(node, answer)| match answer {
                Ok(status) => json!({ "node": node, "status": status }),
                Err(error) => json!({ "node": node, "error": error }),
            });
            print::json(&json!({ "nodes": nodes.collect::<Vec<_>>() }))?;
        }
        Format::Table => print::text(&describe(&answers, &known))?,
    }
    Ok(if is_well { Outcome::Good } else { Outcome::No })
}

/// Asks all at once; who is a member by the word of another is asked too.
async fn ask(named: Vec<Authority>) -> Answers {
    let mut answers = Answers::new();
    let mut asked = BTreeSet::new();
    let mut asking = JoinSet::new();
    let mut waiting = named;
    loop {
        for node in waiting.drain(..) {
            if asked.len() < MOST && asked.insert(node.clone()) {
                asking.spawn(async move { (node.clone(), ask_one(node).await) });
            }
        }
        let Some(Ok((node, answer))) = asking.join_next().await else { return answers };
        if let Ok(Ok(status)) = answer.as_ref().map(Status::deserialize) {
            waiting.extend(status.members.iter().filter_map(|it| it.addr.parse().ok()));
        }
        answers.insert(node, answer);
    }
}

async fn ask_one(node: Authority) -> Result<Value, String> {
    let mut client = Nodes::new(&WhichRegistry { registry: vec![node.clone()] }, None);
    let asked = timeout(PATIENCE, client.json(&Method::GET, "/v1/status", Bytes::new())).await;
    let asked = asked.map_err(|_| format!("it does not answer within {PATIENCE:?}"))?;
    asked.map(|(_, status)| status).map_err(|error| format!("{error:#}"))
}

/// The answers, for people.
fn describe(answers: &Answers, known: &BTreeMap<&Authority, Status>) -> String {
    let rows = known.iter().map(|(node, it)| {
        let uptime = humantime::format_duration(Duration::from_secs(it.uptime_seconds));
        [
            node.to_string(),
            it.zone.clone(),
            if it.readable { "yes" } else { "no" }.to_owned(),
            it.instances.to_string(),
            it.services.to_string(),
            it.watchers.to_string(),
            protection(&it.protected),
            format!("{}, up {uptime}", it.version),
        ]
    });
    let header =
        ["NODE", "ZONE", "READY", "INSTANCES", "SERVICES", "WATCHERS", "PROTECTED", "DYELANE"];
    let mut text = String::new();
    if !known.is_empty() {
        text = print::table(header, rows.collect()) + "\n\n";
    }
    let silent = answers.iter().filter_map(|(node, answer)| match answer {
        Err(error) => Some(format!("{node} is silent: {error}\n")),
        Ok(_) if !known.contains_key(node) => Some(format!("{node} is no node of a registry\n")),
        Ok(_) => None,
    });
    text.extend(silent);
    let lost = known.iter().flat_map(|(node, it)| {
        let lost = it.members.iter().filter(|member| member.state != "up");
        lost.map(move |member| {
            let Member { addr, zone, why, .. } = member;
            let why = why.as_ref().map(|it| format!(": {it}")).unwrap_or_default();
            format!("{node} does not reach {addr} of zone {zone}{why}\n")
        })
    });
    text.extend(lost);
    text.extend(agreement(known, known.len() == answers.len()));
    text
}

/// The groups that are protected.
fn protection(groups: &[Group]) -> String {
    let name = |it: &Group| if it.lane.is_empty() { "baseline" } else { &*it.lane }.to_owned();
    let groups: Vec<_> = groups.iter().map(|it| format!("{}/{}", it.zone, name(it))).collect();
    if groups.is_empty() { "no".to_owned() } else { groups.join(" ") }
}

/// Whether the nodes have the same, and what of it are rules.
fn agreement(known: &BTreeMap<&Authority, Status>, all_answer: bool) -> Vec<String> {
    let Some(first) = known.values().next() else { return Vec::new() };
    let is_same = |what: fn(&Status) -> &str| known.values().all(|it| what(it) == what(first));
    let word = |same: bool| match (same, all_answer) {
        (true, true) => "the same on every node",
        (true, false) => "the same on every node that answers",
        (false, _) => "differ, for now",
    };
    let Rules { tenants, lanes, durable, writable, .. } = &first.rules;
    let kept = if *durable { "kept on disk" } else { "kept in memory alone" };
    let written = if *writable { "written by whoever has the token" } else { "written by nobody" };
    vec![
        format!("instances    {}\n", word(is_same(|it| &it.digest))),
        format!(
            "rules        {}; {tenants} of tenants, {lanes} of lanes, {kept}, {written}\n",
            word(is_same(|it| &it.rules.digest))
        ),
    ]
}
