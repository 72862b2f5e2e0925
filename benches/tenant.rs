//! What reading, writing and remembering a tenant cost, in nanoseconds.
//!
//! `cargo bench --bench tenant` prints the best of several rounds, which is what repeats best on a
//! machine that does other things too.

use std::hint::black_box;
use std::time::{Duration, Instant};

use dyelane::config::{Carrier, Correlation as Settings, CorrelationId, OnConflict, TenantSection};
use dyelane::model::{Fields, TenantId};
use dyelane::tenant::{Carriers, Correlation, trace_id};

/// Calls in a round.
const CALLS: u32 = 200_000;
/// Rounds of which the best counts.
const ROUNDS: u32 = 10;

fn section() -> TenantSection {
    TenantSection {
        header: "x-tenant".into(),
        baggage: "tenant".into(),
        tracestate: "tenant".into(),
        read: vec![
            Carrier::Header("x-tenant".into()),
            Carrier::Baggage("tenant".into()),
            Carrier::Tracestate("tenant".into()),
            Carrier::Baggage("sd-routing-key".into()),
            Carrier::Header("x-asm-prefer-tag".into()),
        ],
        on_conflict: OnConflict::Reject,
        write_header: true,
        own_lane: true,
        correlation: Settings {
            ids: vec![
                CorrelationId::Traceparent,
                CorrelationId::B3,
                CorrelationId::Datadog,
                CorrelationId::Header("x-request-id".into()),
            ],
            capacity: 65_536,
            max_age: Duration::from_secs(60),
        },
    }
}

/// A request of a browser's page, behind one proxy.
fn plain(number: u32) -> Fields {
    let request_id = format!("6f1c9a52-3e0b-4c8e-9b57-2d1f{number:08x}");
    let mut fields = Fields::with_capacity(16, 1024);
    for (name, value) in [
        ("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
        ("accept", "application/json, text/plain, */*"),
        ("accept-language", "en-GB,en;q=0.8"),
        ("accept-encoding", "gzip, deflate, br, zstd"),
        ("content-type", "application/grpc"),
        ("authorization", "Bearer eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9.e30.c2lnbmF0dXJl"),
        ("cookie", "session=4f9d1c5e8a7b; theme=dark; seen=1,2,3"),
        ("x-forwarded-for", "203.0.113.9"),
        ("te", "trailers"),
        ("x-request-id", &request_id),
    ] {
        fields.push(name.as_bytes(), value.as_bytes());
    }
    fields
}

/// The same with what OpenTelemetry adds, our member in it.
fn traced(number: u32) -> Fields {
    let mut fields = plain(number);
    let trace = format!("00-4bf92f3577b34da6a3ce929d{number:08x}-00f067aa0ba902b7-01");
    fields.push(b"traceparent", trace.as_bytes());
    fields.push(b"tracestate", b"rojo=00f067aa0ba902b7,congo=t61rcWkgMzE");
    fields.push(b"baggage", b"session.id=8f3a,user.tier=gold;ttl=60,tenant=alice");
    fields
}

fn measure<T>(what: &str, mut call: impl FnMut(u32) -> T) {
    let round = |_| {
        let start = Instant::now();
        for number in 0..CALLS {
            black_box(call(number));
        }
        start.elapsed().as_secs_f64() * 1e9 / f64::from(CALLS)
    };
    let best = (0..ROUNDS).map(round).fold(f64::INFINITY, f64::min);
    println!("{best:8.1} ns  {what}");
}

fn main() {
    let carriers = Carriers::new(&section());
    let (plain, traced) = (plain(1), traced(1));
    let Ok(alice) = TenantId::new("alice") else { return };

    measure("read, no carrier", |_| carriers.read(black_box(&plain)));
    measure("read, baggage and tracestate", |_| carriers.read(black_box(&traced)));
    measure("copy of the fields, for comparison with the next two", |_| plain.clone());
    measure("write to a copy without carriers", |_| {
        let mut fields = plain.clone();
        carriers.write(&mut fields, &alice)
    });
    measure("strip a copy with carriers", |_| {
        let mut fields = traced.clone();
        carriers.strip(&mut fields)
    });
    let mut written = traced.clone();
    carriers.write(&mut written, &alice);
    measure("write, nothing to do", |_| carriers.write(black_box(&mut written), &alice));
    measure("trace id", |_| trace_id(black_box(&traced)));
    correlation(alice);
}

fn correlation(alice: TenantId) {
    let correlation = Correlation::new(&section().correlation);
    let known: Vec<_> = (0..CALLS).map(traced).collect();
    let unknown: Vec<_> = (CALLS..2 * CALLS).map(traced).collect();
    let now = Duration::from_secs(1);
    let one = traced(0);

    measure("recall, table empty", |_| correlation.recall(&one, now));
    let mut requests = known.iter().cycle();
    measure("remember two new identifiers", |_| {
        requests.next().map(|it| correlation.remember(it, alice, now))
    });
    let last = known.iter().rev().take(10_000);
    let mut requests = last.clone().cycle();
    measure("remember two known ones", |_| {
        requests.next().map(|it| correlation.remember(it, alice, now))
    });
    let mut requests = last.cycle();
    measure("recall a known one", |_| requests.next().map(|it| correlation.recall(it, now)));
    let mut requests = unknown.iter().cycle();
    measure("recall two unknown ones", |_| requests.next().map(|it| correlation.recall(it, now)));
    println!("{:8}     identifiers held", correlation.len());
}
