//! Random worlds, by real sockets: every hop of every request is in the lane that a naive reading of
//! the rules says.
//!
//! A world is a chain of services. Each has instances in some lanes; each instance is an application
//! with a sidecar of its own. Applications forward `baggage` only, or a trace id only, or nothing.
//! The seed of a world that fails is printed; `DYELANE_SEED` brings that world back.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::{Arc, OnceLock};

use fastrand::Rng;
use tokio::task::JoinSet;

use super::harness::app::{Request, Response, answer};
use super::harness::caller::Caller;
use super::harness::pod::Pod;
use super::harness::side::{Side, add_instance, table};
use super::harness::{BASELINE, Mesh, within};

/// Worlds a run tries.
const WORLDS: u64 = 24;
/// Requests in each.
const REQUESTS: usize = 40;
/// Lanes there may be instances in.
const LANES: &[&str] =
    &["alice", "bob", "dev", "dev.p1", "dev.p1.alice", "dev.proj-ab", "staging", "staging.eu"];
/// Tenants there may be requests of, beside those of the lanes' names; the empty one is nobody.
const STRANGERS: &[&str] =
    &["", "ghost", "dev.p1.zed", "dev.p1.alice.x.y", "dev.proj-abc", "Alice", "staging.us"];

/// What an application sends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Forwards {
    Baggage,
    Trace,
    Nothing,
}

#[derive(Debug, Clone, Default)]
struct TenantRules {
    disabled: bool,
    lane: Option<&'static str>,
    strict: bool,
}

#[derive(Debug, Clone, Default)]
struct LaneRules {
    fallback: Vec<&'static str>,
    strict: bool,
}

/// One link of the chain.
#[derive(Debug)]
struct Service {
    name: String,
    /// The lanes it has an instance in; `baseline` among them, or not.
    lanes: BTreeSet<&'static str>,
    strict: bool,
    forwards: Forwards,
}

#[derive(Debug)]
struct World {
    services: Vec<Service>,
    tenants: BTreeMap<&'static str, TenantRules>,
    lanes: BTreeMap<&'static str, LaneRules>,
}

fn some<'a, T>(random: &mut Rng, list: &'a [T], chance: f32) -> Vec<&'a T> {
    list.iter().filter(|_| random.f32() < chance).collect()
}

fn one(random: &mut Rng, list: &[&'static str]) -> &'static str {
    list[random.usize(..list.len())]
}

impl World {
    fn random(random: &mut Rng) -> Self {
        let services = (0..random.usize(2..=4)).map(|number| {
            let chance = random.f32() * 0.6;
            let mut lanes: BTreeSet<_> = some(random, LANES, chance).into_iter().copied().collect();
            if random.f32() < 0.9 || lanes.is_empty() {
                lanes.insert(BASELINE);
            }
            let forwards = [Forwards::Baggage, Forwards::Trace, Forwards::Nothing];
            let forwards = forwards[random.usize(..20).min(19) * 3 / 22];
            let strict = random.f32() < 0.1;
            Service { name: format!("s{number}.test"), lanes, strict, forwards }
        });
        let services = services.collect();
        let tenants = some(random, LANES, 0.4).into_iter().map(|name| {
            let lane = (random.f32() < 0.5).then(|| one(random, LANES));
            let rules =
                TenantRules { disabled: random.f32() < 0.2, lane, strict: random.f32() < 0.2 };
            (*name, rules)
        });
        let tenants = tenants.collect();
        let lanes = some(random, LANES, 0.4).into_iter().map(|name| {
            let fallback = some(random, LANES, 0.2).into_iter().filter(|it| *it != name);
            (*name, LaneRules { fallback: fallback.copied().collect(), strict: random.f32() < 0.2 })
        });
        let lanes = lanes.collect();
        Self { services, tenants, lanes }
    }

    /// What each sidecar is told of tenants and lanes, and of the next service.
    fn told(&self, next: Option<(&Service, &[(&'static str, Pod)])>) -> toml::Table {
        let mut text = String::new();
        for (name, rules) in &self.tenants {
            let _ = writeln!(text, "[tenants.\"{name}\"]\nenabled = {}", !rules.disabled);
            let _ = writeln!(text, "strict = {}", rules.strict);
            if let Some(lane) = rules.lane {
                let _ = writeln!(text, "lane = {lane:?}");
            }
        }
        for (name, rules) in &self.lanes {
            let _ = writeln!(text, "[lanes.\"{name}\"]\nstrict = {}", rules.strict);
            let _ = writeln!(text, "fallback = {:?}", rules.fallback);
        }
        let mut table: toml::Table = text.parse().unwrap();
        if let Some((service, pods)) = next {
            for (lane, pod) in pods {
                add_instance(&mut table, &service.name, lane, pod.side.inbound());
            }
            let strict = &mut table["services"][&service.name];
            strict.as_table_mut().unwrap().insert("strict".to_owned(), service.strict.into());
        }
        table
    }
}

/// Whose request it is, as a hop sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    Nobody,
    Tenant(&'static str),
    /// A sandbox's own.
    Lane(&'static str),
}

/// The rules, read as a person would: lists, built anew for every request.
impl World {
    fn rules_of_lane(&self, lane: &str) -> LaneRules {
        let mut name = lane;
        loop {
            if let Some(rules) = self.lanes.get(name) {
                return rules.clone();
            }
            match name.rsplit_once('.') {
                Some((parent, _)) => name = parent,
                None => return LaneRules::default(),
            }
        }
    }

    /// The lanes a request may use, in order; and whether the baseline is not among them.
    fn ladder(&self, who: Who) -> (Vec<String>, bool) {
        let (lane, strict) = match who {
            Who::Nobody => return (Vec::new(), false),
            Who::Lane(lane) => (lane, false),
            Who::Tenant(tenant) => {
                let rules = self.tenants.get(tenant).cloned().unwrap_or_default();
                if rules.disabled {
                    return (Vec::new(), false);
                }
                (rules.lane.unwrap_or(tenant), rules.strict)
            }
        };
        let mut ladder = vec![lane.to_owned()];
        let mut name = lane;
        while let Some((parent, _)) = name.rsplit_once('.') {
            ladder.push(parent.to_owned());
            name = parent;
        }
        let rules = self.rules_of_lane(lane);
        ladder.extend(rules.fallback.iter().map(|it| (*it).to_owned()));
        (ladder, strict || rules.strict)
    }

    fn resolve(&self, service: &Service, who: Who) -> Option<&'static str> {
        let (ladder, strict) = self.ladder(who);
        let taken = ladder.iter().find_map(|rung| service.lanes.get(&**rung)).copied();
        let has_tenant = !ladder.is_empty();
        let baseline_counts = !(has_tenant && (strict || service.strict));
        let baseline = service.lanes.get(BASELINE).copied().filter(|_| baseline_counts);
        taken.or(baseline)
    }

    /// The lanes of the hops of a request, and an exclamation mark where no instance was found.
    fn expected(&self, tenant: &'static str) -> String {
        let mut who = if tenant.is_empty() { Who::Nobody } else { Who::Tenant(tenant) };
        let (mut path, mut traced) = (Vec::new(), true);
        for service in &self.services {
            let Some(lane) = self.resolve(service, who) else {
                path.push("!");
                break;
            };
            self.assert_allowed(who, lane);
            path.push(lane);
            // The sandbox is told of a tenant, whatever made it one.
            let told = match who {
                Who::Nobody => None,
                Who::Tenant(name) | Who::Lane(name) => Some(name),
            };
            // A trace id joins the next request to this one, if one came and is sent on.
            let joined = match service.forwards {
                Forwards::Baggage => true,
                Forwards::Trace => traced,
                Forwards::Nothing => false,
            };
            traced &= service.forwards == Forwards::Trace;
            who = match told {
                Some(tenant) if joined => Who::Tenant(tenant),
                _ if lane != BASELINE => Who::Lane(lane),
                _ => Who::Nobody,
            };
        }
        path.join(">")
    }

    /// What holds always: no tenant, the baseline; a tenant, its ladder; never a sibling's lane.
    fn assert_allowed(&self, who: Who, lane: &str) {
        let (ladder, _) = self.ladder(who);
        let allowed = lane == BASELINE || ladder.iter().any(|it| it == lane);
        assert!(allowed, "{who:?} in {lane}");
    }
}

/// A world, running.
struct Running {
    entry: Side,
    /// Those of the first service, then those of the next.
    pods: Vec<Vec<(&'static str, Pod)>>,
}

impl Running {
    async fn start(world: &World) -> Self {
        let mut pods: Vec<Vec<(&'static str, Pod)>> = Vec::new();
        for (number, service) in world.services.iter().enumerate().rev() {
            let next = world.services.get(number + 1);
            let told = world.told(next.zip(pods.first().map(Vec::as_slice)));
            let mut own = Vec::new();
            for lane in &service.lanes {
                let mut told = told.clone();
                if *lane != BASELINE {
                    let workload =
                        told.entry("workload").or_insert_with(|| toml::Table::new().into());
                    workload.as_table_mut().unwrap().insert("lane".into(), (*lane).into());
                }
                let next = next.map(|it| it.name.clone());
                own.push((*lane, pod(service, lane, next, &told.to_string()).await));
            }
            pods.insert(0, own);
        }
        let first = world.services.first().zip(pods.first().map(Vec::as_slice));
        let entry = Side::start(table(&world.told(first).to_string())).await;
        Self { entry, pods }
    }
}

/// Starts an application that says its lane, then what the next one says.
async fn pod(service: &Service, lane: &'static str, next: Option<String>, told: &str) -> Pod {
    let sidecar: Arc<OnceLock<Caller>> = Arc::default();
    let (outbound, forwards) = (sidecar.clone(), service.forwards);
    let pod = Pod::serve(&service.name, told, move |request| {
        hop(lane, forwards, next.clone(), outbound.clone(), request)
    });
    let pod = pod.await;
    let _ = sidecar.set(Caller::http2(pod.side.outbound()).await);
    pod
}

async fn hop(
    lane: &'static str,
    forwards: Forwards,
    next: Option<String>,
    sidecar: Arc<OnceLock<Caller>>,
    request: Request,
) -> Response {
    let Some(next) = next else { return answer(200, lane) };
    let mut ask = sidecar.get().unwrap().ask(&next);
    let sent_on: &[_] = match forwards {
        Forwards::Baggage => &["baggage"],
        Forwards::Trace => &["traceparent"],
        Forwards::Nothing => &[],
    };
    for name in sent_on {
        for value in request.headers().get_all(*name) {
            ask = ask.header(name, value.to_str().unwrap());
        }
    }
    let rest = ask.await;
    answer(200, &format!("{lane}>{}", said(rest.status, &rest.reason(), rest.text())))
}

/// What an answer says of the path.
fn said(status: u16, reason: &str, text: String) -> String {
    match (status, reason) {
        (200, _) => text,
        (503, "no_instance") => "!".to_owned(),
        _ => format!("?{status} {reason} {text}"),
    }
}

async fn check(seed: u64) {
    let mut random = Rng::with_seed(seed);
    let world = World::random(&mut random);
    let running = Running::start(&world).await;
    let through = running.entry.outbound();
    let shared = Caller::http2(through).await;
    let mut asking = JoinSet::new();

    for _ in 0..REQUESTS {
        let tenants = if random.bool() { LANES } else { STRANGERS };
        let tenant = one(&mut random, tenants);
        let trace = format!("00-{:032x}-{:016x}-01", random.u128(1..), random.u64(1..));
        let caller = if random.u8(..8) == 0 { Caller::http1(through) } else { shared.clone() };
        let carrier = one(&mut random, &["x-tenant", "baggage", "tracestate"]);
        let mut ask = caller.ask(&world.services[0].name).header("traceparent", &trace);
        if !tenant.is_empty() {
            let value =
                if carrier == "x-tenant" { tenant } else { &format!("a=1,tenant={tenant}") };
            ask = ask.header(carrier, value);
        }
        asking.spawn(async move { (tenant, within(ask.into_future()).await) });
    }

    while let Some(answered) = asking.join_next().await {
        let (tenant, answer) = answered.unwrap();
        let path = said(answer.status, &answer.reason(), answer.text());
        assert_eq!(path, world.expected(tenant), "{tenant:?} in {world:#?}");
    }
    drop(running.pods);
}

/// Says which world it was, if the test fails.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("to see this world again: DYELANE_SEED={}", self.0);
        }
    }
}

#[tokio::test]
async fn every_hop_of_every_request_is_where_the_rules_say() {
    let given = std::env::var("DYELANE_SEED").ok().map(|it| it.parse().unwrap());
    let seeds = match given {
        Some(seed) => vec![seed],
        None => (0..WORLDS).map(|_| fastrand::u64(..)).collect(),
    };

    for seed in seeds {
        let _seed = Seed(seed);
        check(seed).await;
    }
}

/// What may come of a request while everything around it fails.
fn is_allowed(tenant: &str, status: u16, reason: &str, text: &str) -> bool {
    match (status, reason) {
        // `strict` has no baseline; `alice` has; neither has the other's lane.
        (200, "") if tenant == "strict" => text == "strict",
        (200, "") if tenant == "alice" => text == "alice" || text == BASELINE,
        (200, "") => text == BASELINE,
        (503, "connect") | (502, "interrupted") | (504, "deadline") => true,
        (503, "no_instance") => tenant == "strict",
        _ => false,
    }
}

#[tokio::test]
async fn whatever_fails_no_request_leaves_its_ladder_and_none_is_forgotten() {
    let given = std::env::var("DYELANE_SEED").ok().map(|it| it.parse().unwrap());
    let seed = Seed(given.unwrap_or_else(|| fastrand::u64(..)));
    let mut random = Rng::with_seed(seed.0);
    for protocol in ["h2", "http/1.1"] {
        let snippet = format!(
            "tenants.strict = {{ strict = true }}
             [services.'a.test']
             protocol = '{protocol}'
             connections = 1
             http1_connections = 2
             pending = 16
             retries.on = ['reset']
             timeouts = {{ connect = '100ms', head = '2s' }}
             outlier = {{ failures = 2, ejection = '100ms', max_ejection = '200ms' }}"
        );
        let plan = [BASELINE, BASELINE, "alice", "strict", "bob"].iter();
        let plan = plan.fold(Mesh::new(&snippet), |plan, lane| plan.app("a.test", lane));
        let mesh = plan.start().await;
        let callers = [
            Caller::http2(mesh.side.outbound()).await,
            Caller::http2(mesh.side.outbound()).await,
            Caller::http1(mesh.side.outbound()),
        ];
        let mut asking = JoinSet::new();
        let mut dead = BTreeSet::new();

        for step in 0..600 {
            let tenant = one(&mut random, &["", "alice", "strict", "carl"]);
            let ask = callers[random.usize(..callers.len())].ask("a.test").tenant(tenant);
            let ask = if random.bool() { ask.post(vec![7; random.usize(..20_000)]) } else { ask };
            let asked = asking.spawn(async move { (tenant, within(ask.into_future()).await) });
            if random.u8(..16) == 0 {
                asked.abort();
            }
            if random.u8(..24) == 0 {
                let app = random.usize(..5);
                let apps: Vec<_> = mesh.all_apps().collect();
                if dead.remove(&app) {
                    apps[app].revive();
                } else {
                    apps[app].kill().await;
                    dead.insert(app);
                }
            }
            if random.u8(..40) == 0 {
                let enabled = random.bool();
                mesh.side
                    .say(&format!("tenants.alice = {{ enabled = {enabled} }}\nlog.level = 'info'"));
                mesh.side.reload().await.unwrap();
            }
            while asking.len() > 24 || (step == 599 && !asking.is_empty()) {
                let Some(Ok((tenant, answer))) = asking.join_next().await else { continue };
                let (reason, text) = (answer.reason(), answer.text());
                let allowed = is_allowed(tenant, answer.status, &reason, &text);
                assert!(allowed, "{tenant:?}: {answer:?}");
            }
        }

        mesh.side.until_metric("streams_active{direction=\"outbound\"}", 0).await;
        let catalog = mesh.side.admin_json("/catalog").await.to_string();
        assert_eq!(catalog.matches("\"in_flight\":0").count(), 5, "{catalog}");
        for app in mesh.all_apps().enumerate().filter(|(number, _)| dead.contains(number)) {
            app.1.revive();
        }
        let until_well =
            async { while mesh.ask("a.test").tenant("strict").await.text() != "strict" {} };
        within(until_well).await;
        assert!(mesh.app("a.test", "bob").seen().is_empty());
    }
}
