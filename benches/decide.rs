//! What a decision costs in a large world: 100,000 tenants and instances, 10,000 services.
//!
//! `cargo bench --bench decide`. Every case runs over questions in random order, so that the
//! caches know none of them; the cases take turns, so that a noisy neighbour disturbs all alike.
//! The time is that of the median turn. Any allocation is a panic.

#![allow(clippy::unwrap_used, reason = "a world that cannot be built cannot be measured")]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use dyelane::balance::{Endpoints, View};
use dyelane::config::{Config, Service, Tenant};
use dyelane::model::{Catalog, Instance, LaneName, ServiceName, TenantId};
use dyelane::routing::{Reason, RouteTable, ServiceId, Who, decide};
use fastrand::Rng;

const TENANTS: u32 = 100_000;
const SERVICES: u32 = 10_000;
/// Instances of a service: so many in the baseline, so many in lanes.
const BASELINE: u32 = 3;
const SANDBOXES: u32 = 7;
const QUESTIONS: u32 = 100_000;
const TURNS: usize = 31;

fn main() {
    let mut random = Rng::with_seed(7);
    let (config, catalog) = (config(), catalog(&mut random));
    let start = Instant::now();
    let table = RouteTable::build(&config, &catalog);
    println!(
        "{} tenants, {} services, {} instances, {} rungs; table built in {:.0?}",
        config.tenants.len(),
        table.services().len(),
        catalog.len(),
        table.rungs().len(),
        start.elapsed(),
    );

    let mut cases = decisions(&table, &mut random);
    cases.push(hosts(&table, &mut random));
    cases.push(health(&table, &mut random));
    cases.extend([2, 10, 100].map(picks));
    let mut times = vec![Vec::new(); cases.len()];
    for turn in 0..=TURNS {
        for (case, times) in cases.iter_mut().zip(&mut times) {
            let start = Instant::now();
            let allocations = allocation_counter::measure(|| (case.run)());
            let time = start.elapsed();
            assert_eq!(allocations.count_total, 0, "{}", case.name);
            // The first turn warms up what later turns find warm.
            if turn > 0 {
                times.push(nanos(time));
            }
        }
    }
    for (case, mut times) in cases.iter().zip(times) {
        times.sort_by(f64::total_cmp);
        let (least, median) = (times.first().unwrap(), times.get(TURNS / 2).unwrap());
        println!("{:<52} {median:>6.1} ns (least {least:.1}), 0 allocations", case.name);
    }
}

/// Something to measure: `run` answers all its questions once.
struct Case<'a> {
    name: String,
    run: Box<dyn FnMut() + 'a>,
}

fn nanos(time: Duration) -> f64 {
    time.as_secs_f64() * 1e9 / f64::from(QUESTIONS)
}

/// Half the tenants are called `user7`, half `dev.team7.user7`.
fn tenant(number: u32) -> TenantId {
    let name = match number % 2 {
        0 => format!("user{number}"),
        _ => format!("dev.team{}.user{number}", number % 1_000),
    };
    TenantId::new(&name).unwrap()
}

fn service(number: u32) -> ServiceName {
    ServiceName::new(&format!("business{}.service{number}.role", number % 100)).unwrap()
}

fn config() -> Config {
    let text = "[workload]\nservice = \"here\"\n[outbound]\n";
    let base = Config::check("sidecar.toml", text, &|_| None).unwrap();
    let tenants = (0..TENANTS).map(|it| (tenant(it), Tenant::default())).collect();
    let hosts = |it| vec![format!("{}.svc.cluster.local", service(it))];
    let services = (0..SERVICES)
        .map(|it| (service(it), Service { hosts: hosts(it), ..base.defaults.clone() }))
        .collect::<BTreeMap<_, _>>();
    Config { tenants, services, ..base }
}

/// Each service has its baseline, a sandbox of a team, and sandboxes of tenants.
fn catalog(random: &mut Rng) -> Catalog {
    let mut instances = Vec::new();
    for number in 0..SERVICES {
        for copy in 0..BASELINE + SANDBOXES {
            let ip = Ipv4Addr::from(0x0a00_0000 + number * 16 + copy);
            let instance = Instance::new(service(number), SocketAddr::from((ip, 80)));
            let team = format!("dev.team{}", random.u32(..1_000));
            instances.push(match copy.checked_sub(BASELINE) {
                None => instance,
                Some(0) => instance.in_lane(LaneName::new(&team).unwrap()),
                Some(_) => instance.in_lane(tenant(random.u32(..TENANTS)).into()),
            });
        }
    }
    instances.into_iter().collect()
}

fn decisions<'a>(table: &'a RouteTable, random: &mut Rng) -> Vec<Case<'a>> {
    let lanes: Vec<_> =
        table.rungs().iter().filter_map(|it| Some((it.service, it.lane?))).collect();
    let somewhere = |random: &mut Rng| lanes.get(random.usize(..lanes.len())).copied().unwrap();
    let anywhere = |random: &mut Rng| {
        let all = table.services();
        all.get(random.usize(..all.len())).unwrap().id
    };
    let stranger = |random: &mut Rng, above: &str| {
        TenantId::new(&format!("{above}stranger{}", random.u32(..))).unwrap()
    };
    let teams: Vec<_> = lanes.iter().filter(|it| it.1.as_str().split('.').count() == 2).collect();
    let team = |random: &mut Rng| **teams.get(random.usize(..teams.len())).unwrap();
    vec![
        decision("nobody: the baseline", table, Reason::Baseline, || {
            (anywhere(random), Who::Nobody)
        }),
        decision("a known tenant with a sandbox there: exact", table, Reason::Exact, || {
            let (service, lane) = somewhere(random);
            (service, Who::Tenant(lane.into()))
        }),
        decision("a known tenant without one: absent", table, Reason::Absent, || {
            (anywhere(random), Who::Tenant(tenant(random.u32(..TENANTS / 2) * 2)))
        }),
        decision("a known tenant of a hierarchy: absent", table, Reason::Absent, || {
            (anywhere(random), Who::Tenant(tenant(random.u32(..TENANTS / 2) * 2 + 1)))
        }),
        decision("an unknown tenant: absent", table, Reason::Absent, || {
            (anywhere(random), Who::Tenant(stranger(random, "")))
        }),
        decision("an unknown tenant of a hierarchy: parent", table, Reason::Parent, || {
            let (service, lane) = team(random);
            (service, Who::Tenant(stranger(random, &format!("{lane}."))))
        }),
    ]
}

/// Nearly all the questions have that answer; chance makes a few sandboxes meet.
fn decision<'a>(
    name: &str,
    table: &'a RouteTable,
    reason: Reason,
    mut question: impl FnMut() -> (ServiceId, Who),
) -> Case<'a> {
    let questions: Vec<_> = (0..QUESTIONS).map(|_| question()).collect();
    let ask = |(service, who): &_| decide(table, *service, who, |_| true, &mut ());
    let as_expected = questions.iter().filter(|it| ask(it).reason == reason).count();
    assert!(as_expected > questions.len() * 9 / 10, "{name}: {as_expected}");
    let run = move || {
        for (service, who) in &questions {
            black_box(decide(table, *service, who, |_| true, &mut ()));
        }
    };
    Case { name: format!("decide: {name}"), run: Box::new(run) }
}

fn hosts<'a>(table: &'a RouteTable, random: &mut Rng) -> Case<'a> {
    let authority = |_| format!("{}.svc.Cluster.local:8080", service(random.u32(..SERVICES)));
    let authorities: Vec<_> = (0..QUESTIONS).map(authority).collect();
    let run = move || {
        for authority in &authorities {
            assert!(black_box(table.by_host(authority)).is_some());
        }
    };
    Case { name: "by_host: a host with a port".into(), run: Box::new(run) }
}

/// A decision as the data path makes it: it asks the endpoints whether they are well.
fn health<'a>(table: &'a RouteTable, random: &mut Rng) -> Case<'a> {
    let rungs = table.rungs();
    let settings = |it: &dyelane::routing::Rung| &table.service(it.service).unwrap().settings;
    let endpoints: Vec<_> = rungs
        .iter()
        .map(|it| Endpoints::new(&it.instances, settings(it), &View::default()))
        .collect();
    let question = |_| {
        let rung = rungs.get(random.usize(..rungs.len())).unwrap();
        (rung.service, rung.lane.map_or(Who::Nobody, |lane| Who::Tenant(lane.into())))
    };
    let questions: Vec<_> = (0..QUESTIONS).map(question).collect();
    let now = Duration::from_secs(1);
    let run = move || {
        for (service, who) in &questions {
            let is_well = |it: dyelane::routing::RungId| {
                endpoints.get(it.index()).is_some_and(|it| it.is_healthy(now, &[]))
            };
            black_box(decide(table, *service, who, is_well, &mut ()));
        }
    };
    Case { name: "decide: as the data path, asking endpoints".into(), run: Box::new(run) }
}

fn picks(size: u32) -> Case<'static> {
    let text = "[workload]\nservice = \"here\"\n[outbound]\n";
    let settings = Config::check("sidecar.toml", text, &|_| None).unwrap().defaults;
    let instance = |it: u32| {
        let address = SocketAddr::from((Ipv4Addr::from(0x0a00_0000 + it), 80));
        Arc::new(Instance { weight: 50 + it, ..Instance::new(service(0), address) })
    };
    let endpoints =
        Endpoints::new(&(0..size).map(instance).collect::<Vec<_>>(), &settings, &View::default());
    let mut random = Rng::with_seed(1);
    let run = move || {
        for at in 0..u64::from(QUESTIONS) {
            let now = Duration::from_micros(at);
            let picked = endpoints.pick(now, &mut random, |_| false).unwrap();
            let latency = Duration::from_micros(500 + at % 100);
            picked.begin().end(dyelane::balance::End::Answered, latency, now);
        }
    };
    Case { name: format!("pick, begin, end: of {size}, by weight"), run: Box::new(run) }
}
