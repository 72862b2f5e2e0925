//! gRPC from a client through two sidecars to a server: every kind of call, and what goes with it.

use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::MetadataValue;
use tonic::{Code, Request};

use super::harness::grpc::{Client, Echo, Note, failure};
use super::harness::pod::Pod;
use super::harness::{BASELINE, Mesh, within};

const ECHO: &str = "echo.shop";

/// A caller's sidecar, and a pod in each lane behind a sidecar of its own.
struct Calls {
    mesh: Mesh,
    services: Vec<Echo>,
    _pods: Vec<Pod>,
    client: Client,
}

impl Calls {
    async fn start() -> Self {
        Self::with("").await
    }

    async fn with(snippet: &str) -> Self {
        let (mut pods, mut services, mut plan) = (Vec::new(), Vec::new(), Mesh::new(snippet));
        for lane in [BASELINE, "alice"] {
            let service = Echo::new(lane);
            services.push(service.clone());
            let pod = Pod::serve(ECHO, "", move |request| service.clone().serve(request)).await;
            plan = plan.at(ECHO, lane, pod.side.inbound());
            pods.push(pod);
        }
        let mesh = plan.start().await;
        let client = Client::connect(ECHO, mesh.side.outbound()).await;
        Self { mesh, services, _pods: pods, client }
    }
}

#[tokio::test]
async fn a_unary_call_goes_to_its_tenants_lane() {
    let calls = Calls::start().await;

    assert_eq!(calls.client.of("alice").lane().await.unwrap(), "alice");
    assert_eq!(calls.client.of("bob").lane().await.unwrap(), BASELINE);
    assert_eq!(calls.client.lane().await.unwrap(), BASELINE);
}

#[tokio::test]
async fn a_server_streams() {
    let calls = Calls::start().await;

    let mut notes = calls.client.of("alice").many(Note::new(500)).await.unwrap().into_inner();

    let mut numbers = Vec::new();
    while let Some(note) = within(notes.message()).await.unwrap() {
        assert_eq!(note.lane, "alice");
        numbers.push(note.number);
    }
    assert_eq!(numbers, (0..500).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_client_streams() {
    let calls = Calls::start().await;

    let sum = calls.client.of("alice").sum(tokio_stream::iter((0..500).map(Note::new))).await;

    let sum = sum.unwrap().into_inner();
    assert_eq!((&*sum.lane, sum.number), ("alice", 500 * 499 / 2));
}

#[tokio::test]
async fn both_stream_and_each_hears_the_other_at_once() {
    let calls = Calls::start().await;
    let (say, said) = mpsc::channel(1);

    let answers = calls.client.of("alice").chat(ReceiverStream::new(said)).await.unwrap();
    let mut answers = answers.into_inner();

    for number in 0..100 {
        say.send(Note::new(number)).await.unwrap();
        let answer = within(answers.message()).await.unwrap().unwrap();
        assert_eq!((&*answer.lane, answer.number), ("alice", number));
    }
    drop(say);
    assert_eq!(within(answers.message()).await.unwrap(), None);
    assert!(within(answers.trailers()).await.unwrap().is_some());
}

#[tokio::test]
async fn metadata_passes_both_ways_byte_for_byte() {
    let calls = Calls::start().await;
    let mut request = Request::new(Note::new(1));
    let bytes: Vec<u8> = (0..=255).collect();
    request.metadata_mut().insert("x-text", "a b;c=\"d\"".parse().unwrap());
    request.metadata_mut().append("x-text", "second".parse().unwrap());
    request.metadata_mut().insert_bin("x-bytes-bin", MetadataValue::from_bytes(&bytes));

    let answer = calls.client.of("alice").unary("/Echo/One", request).await.unwrap();

    let texts: Vec<_> = answer.metadata().get_all("x-text").iter().collect();
    assert_eq!(texts, ["a b;c=\"d\"", "second"]);
    let returned = answer.metadata().get_bin("x-bytes-bin").unwrap().to_bytes().unwrap();
    assert_eq!(returned, bytes);
}

#[tokio::test]
async fn a_failure_keeps_its_code_message_details_and_metadata() {
    let calls = Calls::start().await;
    let expected = failure();

    let status = calls.client.of("alice").unary("/Echo/Fail", Request::new(Note::new(1))).await;

    let status = status.unwrap_err();
    assert_eq!((status.code(), status.message()), (expected.code(), expected.message()));
    assert_eq!(status.details(), expected.details());
    assert_eq!(status.metadata().get("x-why").unwrap(), "because");
    let bytes = status.metadata().get_bin("x-why-bin").unwrap().to_bytes().unwrap();
    assert_eq!(&*bytes, [0, 255, 7]);
}

#[tokio::test]
async fn a_failure_after_some_answers_comes_in_the_trailers() {
    let calls = Calls::start().await;
    let asked = Note { load: vec![1], ..Note::new(3) };

    let mut notes = calls.client.of("alice").many(asked).await.unwrap().into_inner();

    for number in 0..3 {
        assert_eq!(within(notes.message()).await.unwrap().unwrap().number, number);
    }
    let status = within(notes.message()).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::FailedPrecondition, "50% é"));
    assert_eq!(status.details(), failure().details());
}

#[tokio::test]
async fn a_method_nobody_has_is_the_servers_answer() {
    let calls = Calls::start().await;

    let status = calls.client.unary("/Echo/None", Request::new(Note::new(1))).await.unwrap_err();

    assert_eq!((status.code(), status.message()), (Code::Unimplemented, "None"));
}

#[tokio::test]
async fn a_deadline_ends_the_call_everywhere() {
    let calls = Calls::start().await;
    let mut request = Request::new(Note::new(1));
    request.set_timeout(Duration::from_millis(100));
    let begun = Instant::now();

    let status = calls.client.of("alice").unary("/Echo/Hang", request).await.unwrap_err();

    // tonic's own clock and ours ring at the same time; its word for it is another.
    assert!([Code::DeadlineExceeded, Code::Cancelled].contains(&status.code()), "{status:?}");
    assert!(begun.elapsed() < Duration::from_secs(5));
    calls.services[1].until_abandoned(1).await;
}

#[tokio::test]
async fn a_call_that_is_cancelled_ends_at_the_server() {
    let calls = Calls::start().await;

    let (client, hang) = (calls.client.of("alice"), Request::new(Note::new(1)));
    let asking = tokio::spawn(async move { client.unary("/Echo/Hang", hang).await });
    calls.services[1].until_called(1).await;
    asking.abort();
    calls.services[1].until_abandoned(1).await;

    let notes = calls.client.of("alice").many(Note::new(u32::MAX)).await.unwrap();
    drop(notes);
    calls.services[1].until_abandoned(2).await;
}

#[tokio::test]
async fn large_messages_pass() {
    let calls = Calls::start().await;
    let load: Vec<u8> = (0..4 << 20).map(|it| u8::try_from(it % 251).unwrap()).collect();

    for client in [calls.client.of("alice"), calls.client.clone()] {
        let request = Request::new(Note { load: load.clone(), ..Note::new(1) });
        let answer = client.unary("/Echo/One", request).await.unwrap().into_inner();
        assert!(answer.load == load);
    }
}

#[tokio::test]
async fn many_calls_of_two_tenants_on_one_connection_keep_apart() {
    let calls = Calls::start().await;
    let mut asking = JoinSet::new();

    for number in 0..300 {
        let (tenant, lane) = if number % 2 == 0 { ("alice", "alice") } else { ("", BASELINE) };
        let client = calls.client.of(tenant);
        asking.spawn(async move {
            match number % 3 {
                0 => assert_eq!(client.lane().await.unwrap(), lane),
                1 => {
                    let notes = client.many(Note::new(20)).await.unwrap().into_inner();
                    let notes: Vec<_> = within(notes.collect()).await;
                    assert_eq!(notes.len(), 20);
                    assert!(notes.iter().all(|it| it.as_ref().unwrap().lane == lane));
                }
                _ => {
                    let notes = tokio_stream::iter((0..20).map(Note::new));
                    let chat = client.chat(notes).await.unwrap().into_inner();
                    let notes: Vec<_> = within(chat.collect()).await;
                    assert_eq!(notes.len(), 20);
                    assert!(notes.iter().all(|it| it.as_ref().unwrap().lane == lane));
                }
            }
        });
    }

    while let Some(done) = asking.join_next().await {
        done.unwrap();
    }
}

#[tokio::test]
async fn what_the_sidecar_answers_is_a_status_to_the_client() {
    let calls = Calls::with("tenants.carl.strict = true").await;
    let nobody = Client::connect("nobody.shop", calls.mesh.side.outbound()).await;

    let no_instance = calls.client.of("carl").lane().await.unwrap_err();
    let unroutable = nobody.lane().await.unwrap_err();

    let told = (no_instance.code(), no_instance.message());
    assert_eq!(told, (Code::Unavailable, "no instance for this tenant"));
    assert_eq!((unroutable.code(), unroutable.message()), (Code::Unimplemented, "no such service"));
    assert_eq!(no_instance.metadata().get("x-dyelane-reason").unwrap(), "no_instance");
}

#[tokio::test]
async fn a_stream_outlives_a_flip_and_a_new_one_goes_the_new_way() {
    let calls = Calls::with("tenants.alice.enabled = true").await;
    let (say, said) = mpsc::channel(1);
    let answers = calls.client.of("alice").chat(ReceiverStream::new(said)).await.unwrap();
    let mut answers = answers.into_inner();

    calls.mesh.side.turn("tenants.alice.enabled = false").await;
    let after = calls.client.of("alice").lane().await.unwrap();
    say.send(Note::new(1)).await.unwrap();
    let under_way = within(answers.message()).await.unwrap().unwrap();

    assert_eq!((&*after, &*under_way.lane), (BASELINE, "alice"));
}
