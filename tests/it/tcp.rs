//! Connections that are no HTTP, or are not to be looked at: bytes through a whole sidecar.

use tokio::net::TcpStream;

use crate::harness::app::refusing;
use crate::harness::side::{Side, table};
use crate::harness::within;
use crate::http1::{Upstream, Wire, before, much};

/// The first bytes of a TLS connection.
const TLS: &[u8] = &[0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03];

/// A sidecar whose application calls a service of bytes, by the service's own listener.
async fn service(upstream: &Upstream, more: &str) -> Side {
    let mut told = table(&format!(
        "services.db = {{ listen = '127.0.0.1:0', protocol = 'tcp',
         instances = [{{ address = '{}' }}] }}",
        upstream.address()
    ));
    crate::harness::side::merge(&mut told, more.parse().unwrap());
    Side::start(told).await
}

/// A caller and the upstream it is relayed to.
async fn relayed(side: &Side, upstream: &Upstream) -> (Wire, Wire) {
    let caller = Wire::to(side.listener_of("db")).await;
    (caller, upstream.accept().await)
}

#[tokio::test]
async fn a_server_that_speaks_first_is_heard_at_once() {
    let upstream = Upstream::new().await;
    let side = service(&upstream, "limits.detect_timeout = '1m'").await;

    let (mut caller, mut server) = relayed(&side, &upstream).await;
    server.send("220 ready").await;
    let greeting = caller.bytes(9).await;
    caller.send("HELO").await;
    let reply = server.bytes(4).await;

    assert_eq!((&*greeting, &*reply), ("220 ready", "HELO"));
}

#[tokio::test]
async fn bytes_that_look_like_something_are_not_looked_at() {
    let upstream = Upstream::new().await;
    let side = service(&upstream, "").await;
    let requests: [&[u8]; 3] =
        [b"GET / HTTP/1.1\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", TLS];
    for bytes in requests {
        let (mut caller, mut server) = relayed(&side, &upstream).await;

        caller.send(bytes).await;
        caller.end().await;
        let (heard, clean) = server.rest().await;

        assert_eq!(heard, String::from_utf8_lossy(bytes));
        assert!(clean);
    }
}

#[tokio::test]
async fn much_goes_both_ways_at_once_byte_for_byte() {
    let upstream = Upstream::new().await;
    let side = service(&upstream, "").await;
    let (mut caller, mut server) = relayed(&side, &upstream).await;
    let much = much();
    let length = much.len();

    let (mut caller_says, mut server_says) = (much.as_bytes(), much.as_bytes());
    let both = async {
        // In turns, so that neither side ever waits for the other for ever.
        while !caller_says.is_empty() || !server_says.is_empty() {
            let (one, rest) = caller_says.split_at(caller_says.len().min(100_000));
            let (other, others) = server_says.split_at(server_says.len().min(100_000));
            (caller_says, server_says) = (rest, others);
            caller.send(one).await;
            server.send(other).await;
            assert!(server.bytes(one.len()).await.as_bytes() == one);
            assert!(caller.bytes(other.len()).await.as_bytes() == other);
        }
    };
    both.await;

    assert!(length > 1 << 20);
}

#[tokio::test]
async fn an_end_leaves_the_other_way_open() {
    let upstream = Upstream::new().await;
    let side = service(&upstream, "").await;

    let (mut caller, mut server) = relayed(&side, &upstream).await;
    caller.send("question").await;
    caller.end().await;
    let heard = server.rest().await;
    server.send("answer").await;
    server.end().await;
    let answered = caller.rest().await;
    assert_eq!(
        (heard.0, heard.1, answered.0, answered.1),
        ("question".into(), true, "answer".into(), true)
    );

    let (mut caller, mut server) = relayed(&side, &upstream).await;
    server.send("goodbye").await;
    server.end().await;
    let heard = caller.rest().await;
    caller.send("same to you").await;
    caller.end().await;
    let answered = server.rest().await;
    assert_eq!(
        (heard.0, heard.1, answered.0, answered.1),
        ("goodbye".into(), true, "same to you".into(), true)
    );
}

#[tokio::test]
async fn a_reset_on_one_side_is_a_reset_on_the_other() {
    let upstream = Upstream::new().await;
    let side = service(&upstream, "").await;

    let (caller, mut server) = relayed(&side, &upstream).await;
    caller.reset();
    assert!(!server.rest().await.1, "a break looks like an end");

    let (mut caller, server) = relayed(&side, &upstream).await;
    server.reset();
    assert!(!caller.rest().await.1, "a break looks like an end");
}

#[tokio::test]
async fn whoever_does_not_take_bytes_stops_whoever_sends_them() {
    let upstream = Upstream::new().await;
    let side = service(&upstream, "").await;
    let (caller, server) = relayed(&side, &upstream).await;
    let piece = vec![0; 1 << 20];

    // Sockets hold some megabytes; a relay without bound would take it all.
    let mut sent = 0;
    while sent < 1 << 30 {
        if let Ok(count) = caller.stream.try_write(&piece) {
            sent += count;
            continue;
        }
        // That nothing happens shows only in time.
        let patience = std::time::Duration::from_millis(300);
        if tokio::time::timeout(patience, caller.stream.writable()).await.is_err() {
            break;
        }
    }

    assert!(sent < 1 << 28, "{sent} bytes were taken");
    drop(server);
}

#[tokio::test]
async fn draining_lets_what_is_under_way_end() {
    let upstream = Upstream::new().await;
    let side = service(&upstream, "").await;
    let listener = side.listener_of("db");
    let (mut caller, mut server) = relayed(&side, &upstream).await;

    let stopping = tokio::spawn(side.stop());
    let refused = async {
        // The listener closes, sooner or later.
        while tokio::net::TcpStream::connect(listener).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    within(refused).await;
    caller.send("still here").await;
    let heard = server.bytes(10).await;
    server.send("me too").await;
    let answered = caller.bytes(6).await;
    caller.end().await;
    server.end().await;
    within(stopping).await.unwrap();

    assert_eq!((&*heard, &*answered), ("still here", "me too"));
    assert!(caller.rest().await.1);
}

#[tokio::test]
async fn what_outlasts_the_drain_is_reset() {
    let upstream = Upstream::new().await;
    let side = service(&upstream, "runtime.drain_timeout = '100ms'").await;
    let (mut caller, mut server) = relayed(&side, &upstream).await;
    server.send("first").await;
    caller.bytes(5).await;

    side.stop().await;

    assert!(!caller.rest().await.1, "a break looks like an end");
    assert!(!server.rest().await.1, "a break looks like an end");
}

#[tokio::test]
async fn an_instance_that_takes_no_connection_is_passed_over() {
    let upstream = Upstream::new().await;
    let nobody = Upstream::new().await.address();
    let side = Side::start(table(&format!(
        "services.db = {{ listen = '127.0.0.1:0', protocol = 'tcp',
         instances = [{{ address = '{nobody}' }}, {{ address = '{}' }}] }}",
        upstream.address()
    )))
    .await;
    for _ in 0..8 {
        let (mut caller, mut server) = relayed(&side, &upstream).await;

        server.send("hello").await;

        assert_eq!(caller.bytes(5).await, "hello");
    }
}

#[tokio::test]
async fn nobody_to_connect_to_is_a_closed_connection() {
    let nobody = Upstream::new().await.address();
    let side = Side::start(table(&format!(
        "services.db = {{ listen = '127.0.0.1:0', protocol = 'tcp',
         instances = [{{ address = '{nobody}' }}] }}"
    )))
    .await;

    // The reset may come before our own connect has returned.
    if let Ok(stream) = TcpStream::connect(side.listener_of("db")).await {
        Wire::new(stream).ended().await;
    }
    let failures = "upstream_connect_failures_total{cause=\"refused\",service=\"db\"}";
    side.until_metric(failures, 1).await;
}

#[tokio::test]
async fn a_sandbox_is_relayed_to_its_own_lane() {
    let (baseline, lane) = (Upstream::new().await, Upstream::new().await);
    let side = Side::start(table(&format!(
        "workload.lane = 'alice'
         services.db = {{ listen = '127.0.0.1:0', protocol = 'tcp',
         instances = [{{ address = '{}' }}, {{ address = '{}', lane = 'alice' }}] }}",
        baseline.address(),
        lane.address()
    )))
    .await;

    let (mut caller, mut server) = relayed(&side, &lane).await;
    server.send("alice's").await;

    assert_eq!(caller.bytes(7).await, "alice's");
}

#[tokio::test]
async fn a_sandbox_is_relayed_to_the_baseline_where_its_own_lane_takes_no_connection() {
    let (baseline, (_held, dead)) = (Upstream::new().await, refusing());
    let side = Side::start(table(&format!(
        "workload.lane = 'alice'
         services.db = {{ listen = '127.0.0.1:0', protocol = 'tcp',
         instances = [{{ address = '{}' }}, {{ address = '{dead}', lane = 'alice' }}] }}",
        baseline.address(),
    )))
    .await;

    let (mut caller, mut server) = relayed(&side, &baseline).await;
    server.send("everyone's").await;

    assert_eq!(caller.bytes(10).await, "everyone's");
}

#[tokio::test]
async fn an_application_of_bytes_hears_its_callers_at_once() {
    let application = Upstream::new().await;
    let side = before(&application, "tcp", "limits.detect_timeout = '1m'").await;

    let mut caller = Wire::to(side.inbound()).await;
    let mut server = application.accept().await;
    server.send("220 ready").await;

    assert_eq!(caller.bytes(9).await, "220 ready");
}

#[tokio::test]
async fn where_nothing_is_declared_a_silent_caller_is_relayed_in_the_end() {
    let application = Upstream::new().await;
    let side = before(&application, "auto", "limits.detect_timeout = '50ms'").await;

    let mut caller = Wire::to(side.inbound()).await;
    let mut server = application.accept().await;
    server.send("220 ready").await;

    assert_eq!(caller.bytes(9).await, "220 ready");
}

#[tokio::test]
async fn bytes_that_are_no_http_reach_the_application_whole() {
    let application = Upstream::new().await;
    let side = before(&application, "auto", "").await;
    for bytes in [TLS, b"*1\r\n$4\r\nPING\r\n"] {
        let mut caller = Wire::to(side.inbound()).await;
        caller.send(bytes).await;
        let mut server = application.accept().await;
        caller.end().await;

        assert_eq!(server.rest().await.0, String::from_utf8_lossy(bytes));
    }
}

#[tokio::test]
async fn bytes_to_nowhere_are_not_kept() {
    let side = Side::start(table("limits.detect_timeout = '1m'")).await;
    for bytes in [TLS, b"*1\r\n$4\r\nPING\r\n"] {
        let mut caller = Wire::to(side.outbound()).await;

        caller.send(bytes).await;

        caller.ended().await;
    }
}
