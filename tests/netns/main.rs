//! Real networks: iptables sends what an application sends and receives to the sidecar; the nodes of a
//! registry are cut off from each other.
//!
//! A test of redirection makes two network namespaces joined by one cable, the pod and the world
//! outside. The sidecar runs as the user whose packets are left alone; whatever a test connects inside
//! the pod, it does as the application. A test of the registry makes one for each node, and one for the
//! switch between them. They vanish with the threads that made them, so fixed ports are free in each.
//!
//! Needs root, `ip`, and for redirection iptables. Without them the tests say so and pass, unless `REQUIRE_NETNS=1`.

#![allow(clippy::indexing_slicing, clippy::unwrap_used, reason = "a failed step is a failed test")]

mod cluster;
mod namespace;
mod pod;
mod registry;
mod server;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use pod::{Family, Pod};

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Below the limit of detection, 5 s, and above what a relayed byte takes, even if the kernel had to
/// send a SYN again, which in a namespace as young as these it does now and then, after 1 s.
const AT_ONCE: Duration = Duration::from_secs(3);

const ALICE: &str = "x-tenant: alice\r\n";

/// Sends a GET and returns the whole answer.
async fn get(pod: &Pod, to: SocketAddr, host: &str, fields: &str) -> String {
    let mut stream = pod.inside.connect(to);
    let head = format!("GET / HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n{fields}\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    timeout(PATIENCE, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
    answer
}

/// Declares a test for each address family, unless this machine cannot redirect.
macro_rules! for_both_families {
    ($($name:ident => $test:ident;)*) => {
        mod ipv4 { $(
            #[tokio::test]
            async fn $name() { super::in_a_pod(super::Family::V4, async |pod| super::$test(pod).await).await; }
        )* }
        mod ipv6 { $(
            #[tokio::test]
            async fn $name() { super::in_a_pod(super::Family::V6, async |pod| super::$test(pod).await).await; }
        )* }
    };
}

for_both_families! {
    a_request_to_a_service_goes_to_its_tenants_lane_whatever_address_was_meant => lanes;
    a_request_to_an_unknown_host_goes_where_it_was_meant_to => passthrough;
    http2_to_an_unknown_host_goes_where_it_was_meant_to => passthrough_of_http2;
    a_server_that_speaks_first_is_not_kept_waiting => server_first;
    bytes_of_no_known_protocol_pass_and_half_a_close_is_half_a_close => opaque;
    tls_of_the_application_passes_untouched => tls;
    a_destination_nobody_listens_on_is_refused => nobody;
    a_request_from_outside_reaches_the_port_it_was_meant_for => inbound;
    http2_from_outside_reaches_the_port_it_was_meant_for => inbound_http2;
    a_request_to_the_sidecars_own_ports_does_not_go_round_in_circles => no_loop;
}

async fn in_a_pod(family: Family, test: impl AsyncFnOnce(&Pod)) {
    if is_possible("redirect", &namespace::redirection_works()) {
        test(&Pod::start(family).await).await;
    }
}

/// Whether this machine lets us do what a test is about.
fn is_possible(what: &str, works: &Result<(), String>) -> bool {
    let is_required = std::env::var_os("REQUIRE_NETNS").is_some_and(|it| it == "1");
    match works {
        Err(why) if is_required => panic!("cannot {what} here: {why}"),
        Err(why) => eprintln!("not run, cannot {what} here: {why}"),
        Ok(()) => {}
    }
    works.is_ok()
}

async fn lanes(pod: &Pod) {
    server::http1(pod.outside.listen(pod.world(7001)), "baseline");
    server::http1(pod.outside.listen(pod.world(7002)), "alice");
    let nobody_listens_here = pod.world(80);

    let plain = get(pod, nobody_listens_here, "web.shop", "").await;
    let alice = get(pod, nobody_listens_here, "web.shop", ALICE).await;

    assert!(plain.ends_with("\r\n\r\nbaseline"), "{plain}");
    assert!(alice.ends_with("\r\n\r\nalice"), "{alice}");
}

async fn passthrough(pod: &Pod) {
    server::http1(pod.outside.listen(pod.world(7003)), "elsewhere");

    let answer = get(pod, pod.world(7003), "elsewhere.example", ALICE).await;

    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.ends_with("\r\n\r\nelsewhere"), "{answer}");
}

async fn passthrough_of_http2(pod: &Pod) {
    server::http2(pod.outside.listen(pod.world(7004)), "elsewhere");

    let body = get_http2(pod.inside.connect(pod.world(7004)), "elsewhere.example").await;

    assert_eq!(body, "elsewhere");
}

async fn server_first(pod: &Pod) {
    // The port of MySQL, one of those that are never looked at.
    server::echo(pod.outside.listen(pod.world(3306)), "welcome", "");

    let mut stream = pod.inside.connect(pod.world(3306));
    let started = Instant::now();
    let mut greeting = [0; 7];
    timeout(PATIENCE, stream.read_exact(&mut greeting)).await.unwrap().unwrap();

    assert_eq!(&greeting, b"welcome");
    assert!(started.elapsed() < AT_ONCE, "{:?}", started.elapsed());
}

async fn opaque(pod: &Pod) {
    server::echo(pod.outside.listen(pod.world(7005)), "", "farewell");
    let sent: Vec<u8> = (0..200_000_u32).flat_map(u32::to_le_bytes).collect();
    let expected = [&sent, "farewell".as_bytes()].concat();

    let (mut reader, mut writer) = pod.inside.connect(pod.world(7005)).into_split();
    let writing = tokio::spawn(async move {
        writer.write_all(&sent).await.unwrap();
        writer.shutdown().await.unwrap();
    });
    let mut received = Vec::new();
    timeout(PATIENCE, reader.read_to_end(&mut received)).await.unwrap().unwrap();
    writing.await.unwrap();

    assert!(received == expected, "{} of {} bytes came", received.len(), expected.len());
}

async fn tls(pod: &Pod) {
    server::echo(pod.outside.listen(pod.world(443)), "", "");
    // The start of a ClientHello, as far as anyone on the way could tell.
    let hello = b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x03 and more of it";

    let mut stream = pod.inside.connect(pod.world(443));
    stream.write_all(hello).await.unwrap();
    let mut received = [0; 25];
    timeout(PATIENCE, stream.read_exact(&mut received)).await.unwrap().unwrap();

    assert_eq!(&received, hello);
}

async fn nobody(pod: &Pod) {
    let answer = get(pod, pod.world(7999), "elsewhere.example", "").await;

    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    assert!(answer.contains("x-dyelane-reason: connect"), "{answer}");
}

async fn inbound(pod: &Pod) {
    server::http1(pod.inside.listen(pod.any(8080)), "application");

    let mut stream = pod.outside.connect(pod.own(8080));
    stream
        .write_all(b"GET / HTTP/1.1\r\nhost: order.shop\r\nconnection: close\r\n\r\n")
        .await
        .unwrap();
    let mut answer = String::new();
    timeout(PATIENCE, stream.read_to_string(&mut answer)).await.unwrap().unwrap();

    assert!(answer.ends_with("\r\n\r\napplication"), "{answer}");
}

async fn inbound_http2(pod: &Pod) {
    server::http2(pod.inside.listen(pod.any(8081)), "application");

    let body = get_http2(pod.outside.connect(pod.own(8081)), "order.shop").await;

    assert_eq!(body, "application");
}

async fn no_loop(pod: &Pod) {
    let mut stream = pod.outside.connect(pod.own(15006));
    let started = Instant::now();

    let outbound = get(pod, pod.loopback(15001), "elsewhere.example", "").await;
    stream
        .write_all(b"GET / HTTP/1.1\r\nhost: order.shop\r\nconnection: close\r\n\r\n")
        .await
        .unwrap();
    let mut inbound = String::new();
    timeout(PATIENCE, stream.read_to_string(&mut inbound)).await.unwrap().unwrap();

    assert!(outbound.starts_with("HTTP/1.1 404"), "{outbound}");
    assert!(
        inbound.starts_with("HTTP/1.1 404") || inbound.starts_with("HTTP/1.1 503"),
        "{inbound}"
    );
    assert!(started.elapsed() < AT_ONCE, "{:?}", started.elapsed());
}

/// Sends a GET on a fresh HTTP/2 connection and returns the answer's body.
async fn get_http2(stream: tokio::net::TcpStream, authority: &str) -> String {
    let (mut sender, connection) = h2::client::handshake(stream).await.unwrap();
    let driver = tokio::spawn(connection);
    let request = http::Request::get(format!("http://{authority}/")).body(()).unwrap();
    let (answer, _) = sender.send_request(request, true).unwrap();
    let mut body = timeout(PATIENCE, answer).await.unwrap().unwrap().into_body();
    let mut text = Vec::new();
    while let Some(piece) = timeout(PATIENCE, body.data()).await.unwrap() {
        let piece: Bytes = piece.unwrap();
        body.flow_control().release_capacity(piece.len()).unwrap();
        text.extend_from_slice(&piece);
    }
    driver.abort();
    String::from_utf8(text).unwrap()
}
