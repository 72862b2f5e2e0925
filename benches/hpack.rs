//! What a request's header block costs once both tables are warm: `cargo bench --bench hpack`.
//!
//! With a number of rounds as its argument it runs that many of each, for a counter of
//! instructions; the difference of two such runs is free of what starting costs.

use std::hint::black_box;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use dyelane::http::hpack::{Decoder, Encoder};

/// Fields that a gRPC call has behind its pseudo fields; the last three change every time.
const FIELDS: [(&str, &str); 7] = [
    ("content-type", "application/grpc"),
    ("te", "trailers"),
    ("user-agent", "grpc-go/1.76.0"),
    ("grpc-accept-encoding", "identity,deflate,gzip"),
    ("x-tenant", "acme"),
    ("baggage", "tenant=acme,team=checkout"),
    ("x-forwarded-proto", "https"),
];

/// What changes from one request to the next.
struct Changing {
    path: String,
    traceparent: String,
    timeout: String,
}

impl Changing {
    fn new(round: usize) -> Self {
        Self {
            path: format!("/shop.Orders/Method{}", round % 7),
            traceparent: format!("00-4bf92f3577b34da6a3ce929d{round:08x}-00f067aa0ba902b7-01"),
            timeout: format!("{}m", 900 + round % 100),
        }
    }
}

fn encode(encoder: &mut Encoder, changing: &Changing, out: &mut Vec<u8>) {
    out.clear();
    let mut block = encoder.block(out);
    block.method(b"POST");
    block.scheme(b"http");
    block.path(changing.path.as_bytes());
    block.authority(b"shop.orders.api:50051");
    for (name, value) in FIELDS {
        block.field(name.as_bytes(), value.as_bytes(), false);
    }
    block.field(b"grpc-timeout", changing.timeout.as_bytes(), false);
    block.field(b"traceparent", changing.traceparent.as_bytes(), false);
    block.field(b"tracestate", b"vendor=1", false);
}

fn decode(decoder: &mut Decoder, block: &[u8]) -> usize {
    let mut bytes = 0;
    let read = decoder.decode(block, |field| {
        bytes += black_box(field).value.len();
        ControlFlow::Continue(())
    });
    assert_eq!(read, Ok(()), "our own encoder wrote it");
    bytes
}

fn report(what: &str, rounds: usize, spent: Duration) {
    let nanoseconds = spent.as_nanos() / u128::try_from(rounds).unwrap_or(1);
    println!("{what:8} {nanoseconds:5} ns for 14 fields");
}

fn main() {
    let rounds = std::env::args().find_map(|it| it.parse().ok()).unwrap_or(2_000_000);
    let requests: Vec<_> = (0..256).map(Changing::new).collect();
    let mut encoder = Encoder::new();
    let mut out = Vec::with_capacity(1024);

    let started = Instant::now();
    for request in requests.iter().cycle().take(rounds) {
        encode(&mut encoder, black_box(request), &mut out);
        black_box(&out);
    }
    report("encode", rounds, started.elapsed());

    let mut encoder = Encoder::new();
    let mut blocks = Vec::new();
    for request in &requests {
        encode(&mut encoder, request, &mut out);
        blocks.push(out.clone());
    }
    let mut decoder = Decoder::new(4096);
    for block in &blocks {
        decode(&mut decoder, block);
    }
    // Nothing goes into the table any more, so the warm blocks can be read again and again.
    let warm = blocks.get(1..).unwrap_or_default();

    let started = Instant::now();
    for block in warm.iter().cycle().take(rounds) {
        decode(&mut decoder, black_box(block));
    }
    report("decode", rounds, started.elapsed());
}
