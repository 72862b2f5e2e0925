//! How evenly ways of subsetting load instances, and how many connections they cost when somebody
//! comes or goes.
//!
//! `cargo bench --bench subsetting` prints the tables of docs/subsetting.md; with `-- --svg FILE` it
//! draws them too. Other clients that come or go make no difference to any of them. Nothing is timed: the same numbers come out everywhere.

#![allow(clippy::cast_precision_loss, reason = "counts are small")]

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::{env, fs};

use dyelane::balance::{Place, subset};
use fastrand::Rng;

/// Instances a client sends to.
const SIZE: usize = 20;
const INSTANCES: u32 = 200;
/// Counts of clients that are compared.
const CLIENTS: [u32; 8] = [10, 25, 50, 100, 150, 200, 400, 800];
/// Instances that come, one after the other.
const NEWCOMERS: u32 = 40;

/// An instance, by its slot.
type Slots = BTreeSet<u32>;
/// A way of subsetting: the slots a client sends to, of those there are.
type Way = fn(client: u32, slots: &[u32]) -> Slots;

const WAYS: [(&str, &str, Way); 6] = [
    ("none", "#9aa0a6", none),
    ("random", "#e8710a", random),
    ("deterministic (SRE book)", "#d93025", deterministic),
    ("consistent hashing", "#9334e6", hashed),
    ("Ringsteady (van der Corput)", "#12b5cb", ringsteady),
    ("Dyelane", "#188038", ours),
];

fn main() {
    let slots: Vec<_> = (0..INSTANCES).collect();
    let mut evenness = Vec::new();
    println!("{INSTANCES} instances, {SIZE} of them for each client\n");
    println!("Load: the busiest instance's clients to the mean, by how many clients there are.\n");
    heading(&CLIENTS.map(|it| it.to_string()));
    for (name, colour, way) in WAYS {
        let busiest = CLIENTS.map(|clients| load(way, 0..clients, 1, &slots).busiest);
        row(name, &busiest.map(|it| format!("{it:.2}")));
        evenness.push((name, colour, busiest));
    }

    println!(
        "\nLoad with 200 clients: instances without any, least, most, standard deviation; \
              and the busiest to the mean where only every 2nd or 3rd number is here.\n"
    );
    heading(&["idle", "least", "most", "deviation", "2nd", "3rd"].map(str::to_owned));
    for (name, _, way) in WAYS {
        let all = load(way, 0..200, 1, &slots);
        let [second, third] = [2, 3].map(|step| load(way, 0..200, step, &slots).busiest);
        row(
            name,
            &[
                all.idle.to_string(),
                all.least.to_string(),
                all.most.to_string(),
                format!("{:.2}", all.deviation),
                format!("{second:.2}"),
                format!("{third:.2}"),
            ],
        );
    }

    println!("\nChurn: connections opened by a client, on average, and the most by any, when\n");
    heading(&["one comes", "most", "one goes", "most", "restarts"].map(str::to_owned));
    let mut churns = Vec::new();
    for (name, colour, way) in WAYS {
        let churn = Churn::of(way);
        row(
            name,
            &[
                format!("{:.3}", churn.comes.0),
                churn.comes.1.to_string(),
                format!("{:.3}", churn.goes.0),
                churn.goes.1.to_string(),
                format!("{:.3}", churn.restarts.0),
            ],
        );
        churns.push((name, colour, churn.comes.0));
    }
    println!("\nThe least there can be when one comes is {:.3}: it needs its part.", least_churn());

    let mut arguments = env::args().skip_while(|it| it != "--svg").skip(1);
    if let Some(path) = arguments.next() {
        match fs::write(&path, svg(&evenness, &churns)) {
            Ok(()) => println!("\n{path} is written"),
            Err(error) => eprintln!("\n{path} cannot be written: {error}"),
        }
    }
}

fn heading(columns: &[String]) {
    row("", columns);
    row("---", &vec!["---:".to_owned(); columns.len()]);
}

fn row(name: &str, columns: &[String]) {
    println!(
        "| {name:<28} | {} |",
        columns.iter().map(|it| format!("{it:>9}")).collect::<Vec<_>>().join(" | ")
    );
}

fn none(_: u32, slots: &[u32]) -> Slots {
    slots.iter().copied().collect()
}

/// Each client draws for itself, always alike.
fn random(client: u32, slots: &[u32]) -> Slots {
    let mut slots = slots.to_vec();
    Rng::with_seed(u64::from(client) ^ 0x5eed).shuffle(&mut slots);
    slots.into_iter().take(SIZE).collect()
}

/// Chapter 20 of the SRE book: clients in rounds, each with a shuffle of its own.
fn deterministic(client: u32, slots: &[u32]) -> Slots {
    let subsets = (slots.len() / SIZE).max(1);
    let (round, turn) = (client as usize / subsets, client as usize % subsets);
    let mut slots = slots.to_vec();
    Rng::with_seed(round as u64).shuffle(&mut slots);
    slots.into_iter().skip(turn * SIZE).take(SIZE).collect()
}

/// The next few of a ring of hashes.
fn hashed(client: u32, slots: &[u32]) -> Slots {
    let place = |kind: u8, it: u32| Place::named(&[&[kind], &it.to_be_bytes()[..]].concat());
    walk(place(0, client), slots.iter().map(|it| (place(1, *it), *it)).collect())
}

/// The next few of a ring, from the first behind a place.
fn walk(from: Place, mut ring: Vec<(Place, u32)>) -> Slots {
    ring.sort_unstable();
    let first = ring.partition_point(|it| it.0 < from);
    ring.iter().cycle().skip(first).take(SIZE).map(|it| it.1).collect()
}

/// As the article has it, with backend scaling: places are numbers with their bits reversed.
fn ringsteady(client: u32, slots: &[u32]) -> Slots {
    let mut ring = slots.to_vec();
    ring.sort_unstable_by_key(|it| it.reverse_bits());
    let first = (u64::from(client.reverse_bits()) * ring.len() as u64) >> 32;
    let first = usize::try_from(first).unwrap_or_default();
    ring.iter().cycle().skip(first).take(SIZE).copied().collect()
}

/// The product's.
fn ours(client: u32, slots: &[u32]) -> Slots {
    let ring: Vec<_> = slots.iter().map(|it| (Place::numbered(*it), *it)).collect();
    let chosen = subset(Place::numbered(client), &ring, SIZE);
    chosen.into_iter().filter_map(|it| slots.get(it)).copied().collect()
}

/// How clients load the instances.
struct Load {
    idle: usize,
    least: usize,
    most: usize,
    deviation: f64,
    /// The most to the mean.
    busiest: f64,
}

/// The load of clients with every `step`-th number.
fn load(way: Way, clients: std::ops::Range<u32>, step: u32, slots: &[u32]) -> Load {
    let mut counts = vec![0_usize; slots.len()];
    for slot in clients.flat_map(|it| way(it * step, slots)) {
        if let Some(count) = counts.get_mut(slot as usize) {
            *count += 1;
        }
    }
    let mean = counts.iter().sum::<usize>() as f64 / counts.len() as f64;
    let variance =
        counts.iter().map(|it| (*it as f64 - mean).powi(2)).sum::<f64>() / counts.len() as f64;
    let most = counts.iter().copied().max().unwrap_or_default();
    Load {
        idle: counts.iter().filter(|it| **it == 0).count(),
        least: counts.iter().copied().min().unwrap_or_default(),
        most,
        deviation: variance.sqrt(),
        busiest: most as f64 / mean,
    }
}

/// Connections a client opens: on average, and at most.
struct Churn {
    /// When an instance comes.
    comes: (f64, usize),
    /// When one goes.
    goes: (f64, usize),
    /// When one restarts, and has its slot again: it is another, of another address.
    restarts: (f64, usize),
}

impl Churn {
    fn of(way: Way) -> Self {
        let clients = 0..200;
        let (mut comes, mut goes, mut restarts) = (Vec::new(), Vec::new(), Vec::new());
        for client in clients {
            for count in INSTANCES..INSTANCES + NEWCOMERS {
                let before: Vec<_> = (0..count).collect();
                let after: Vec<_> = (0..=count).collect();
                comes.push(opened(&way(client, &before), &way(client, &after)));
                let mut rest = before.clone();
                let gone = rest.remove((count as usize * 7919) % before.len());
                goes.push(opened(&way(client, &before), &way(client, &rest)));
                restarts.push(usize::from(way(client, &before).contains(&gone)));
            }
        }
        Self { comes: summary(&comes), goes: summary(&goes), restarts: summary(&restarts) }
    }
}

fn opened(before: &Slots, after: &Slots) -> usize {
    after.difference(before).count()
}

fn summary(counts: &[usize]) -> (f64, usize) {
    let mean = counts.iter().sum::<usize>() as f64 / counts.len() as f64;
    (mean, counts.iter().copied().max().unwrap_or_default())
}

/// What a newcomer costs if it takes no more than its part.
fn least_churn() -> f64 {
    let parts = (INSTANCES..INSTANCES + NEWCOMERS).map(|it| SIZE as f64 / f64::from(it + 1));
    parts.sum::<f64>() / f64::from(NEWCOMERS)
}

/// Both comparisons, side by side.
fn svg(evenness: &[(&str, &str, [f64; 8])], churns: &[(&str, &str, f64)]) -> String {
    let mut text = String::from(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 920 430\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"920\" height=\"430\" fill=\"white\"/>\n",
    );
    let mut draw = |line: String| {
        let _ = writeln!(text, "{line}");
    };
    draw(label(
        20.0,
        24.0,
        "start",
        "Clients of the busiest instance, to the mean (200 instances, 20 each)",
    ));
    let x = |place: usize| 50.0 + place as f64 * 58.0;
    let y = |value: f64| 330.0 - (value.min(4.0) - 1.0) * 95.0;
    for value in [1.0, 2.0, 3.0, 4.0] {
        draw(format!("<path d=\"M50 {0:.1}H456\" stroke=\"#dadce0\"/>", y(value)));
        draw(label(42.0, y(value) + 4.0, "end", &format!("{value:.0}")));
    }
    for (place, clients) in CLIENTS.iter().enumerate() {
        draw(label(x(place), 350.0, "middle", &clients.to_string()));
    }
    draw(label(253.0, 370.0, "middle", "clients"));
    for (_, colour, busiest) in evenness {
        let points =
            busiest.iter().enumerate().map(|(at, it)| format!("{:.1},{:.1}", x(at), y(*it)));
        let points = points.collect::<Vec<_>>().join(" ");
        draw(format!(
            "<polyline points=\"{points}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>"
        ));
    }
    draw(label(500.0, 24.0, "start", "Connections a client opens when an instance comes"));
    let most = churns.iter().map(|it| it.2).fold(1.0, f64::max);
    for (place, (name, colour, churn)) in churns.iter().enumerate() {
        let top = 44.0 + place as f64 * 48.0;
        let width = churn / most * 330.0;
        draw(label(500.0, top + 10.0, "start", name));
        draw(format!(
            "<rect x=\"500\" y=\"{:.1}\" width=\"{width:.1}\" height=\"16\" fill=\"{colour}\"/>",
            top + 15.0
        ));
        draw(label(506.0 + width, top + 28.0, "start", &format!("{churn:.2}")));
    }
    for (place, (name, colour, _)) in evenness.iter().enumerate() {
        let (left, top) = (50.0 + (place % 3) as f64 * 220.0, 398.0 + (place / 3) as f64 * 18.0);
        draw(format!(
            "<rect x=\"{left}\" y=\"{:.1}\" width=\"12\" height=\"12\" fill=\"{colour}\"/>",
            top - 10.0
        ));
        draw(label(left + 18.0, top, "start", name));
    }
    text + "</svg>\n"
}

fn label(x: f64, y: f64, anchor: &str, text: &str) -> String {
    format!("<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{text}</text>")
}
