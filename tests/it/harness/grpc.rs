//! A gRPC service with one method of each kind, and a caller of it; no code is generated.
//!
//! ```protobuf
//! service Echo {
//!   rpc One (Note) returns (Note);                  rpc Many (Note) returns (stream Note);
//!   rpc Sum (stream Note) returns (Note);           rpc Chat (stream Note) returns (stream Note);
//!   rpc Fail (Note) returns (Note);                 rpc Hang (Note) returns (Note);
//! }
//! message Note { string lane = 1; uint32 number = 2; bytes load = 3; }
//! ```

use std::net::SocketAddr;
use std::pin::Pin;

use http::uri::PathAndQuery;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt as _};
use tonic::metadata::MetadataMap;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;

use super::app;

/// The only message there is.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Note {
    /// The lane of whoever wrote it.
    #[prost(string, tag = "1")]
    pub(crate) lane: String,
    #[prost(uint32, tag = "2")]
    pub(crate) number: u32,
    #[prost(bytes = "vec", tag = "3")]
    pub(crate) load: Vec<u8>,
}

impl Note {
    pub(crate) fn new(number: u32) -> Self {
        Self { number, ..Self::default() }
    }
}

/// Messages of more than the usual 4 MiB pass.
const LARGEST: usize = 64 << 20;

type Codec = ProstCodec<Note, Note>;
type Notes = Pin<Box<dyn Stream<Item = Result<Note, Status>> + Send>>;
type Answering<T> = Pin<Box<dyn Future<Output = Result<Response<T>, Status>> + Send>>;

/// The service, in one lane.
#[derive(Clone)]
pub(crate) struct Echo {
    lane: String,
    /// How many calls of `Hang`, and streams, were given up by their callers.
    abandoned: watch::Sender<usize>,
    /// How many calls there were.
    called: watch::Sender<usize>,
}

/// Counts a call that is dropped before its end.
struct Abandoned(Option<watch::Sender<usize>>);

impl Drop for Abandoned {
    fn drop(&mut self) {
        if let Some(count) = self.0.take() {
            count.send_modify(|it| *it += 1);
        }
    }
}

impl Echo {
    pub(crate) fn new(lane: &str) -> Self {
        let count = || watch::Sender::new(0);
        Self { lane: lane.to_owned(), abandoned: count(), called: count() }
    }

    #[track_caller]
    pub(crate) fn until_abandoned(&self, count: usize) -> impl Future<Output = ()> {
        reached(self.abandoned.subscribe(), count)
    }

    #[track_caller]
    pub(crate) fn until_called(&self, count: usize) -> impl Future<Output = ()> {
        reached(self.called.subscribe(), count)
    }

    /// Answers a request of whatever method.
    pub(crate) async fn serve(self, request: app::Request) -> app::Response {
        self.called.send_modify(|it| *it += 1);
        let method = request.uri().path().rsplit('/').next().unwrap().to_owned();
        let grpc = tonic::server::Grpc::new(Codec::default());
        let mut grpc = grpc.max_decoding_message_size(LARGEST).max_encoding_message_size(LARGEST);
        match &*method {
            "One" => grpc.unary(One(self), request).await,
            "Many" => grpc.server_streaming(Many(self), request).await,
            "Sum" => grpc.client_streaming(Sum(self), request).await,
            "Chat" => grpc.streaming(Chat(self), request).await,
            "Fail" => grpc.unary(Fail, request).await,
            "Hang" => grpc.unary(Hang(self), request).await,
            _ => Status::unimplemented(method).into_http(),
        }
    }

    fn note(&self, number: u32) -> Note {
        Note { lane: self.lane.clone(), number, load: Vec::new() }
    }

    /// An answer that returns the metadata of the request whose names begin with `x-`.
    fn answer<T>(metadata: &MetadataMap, message: T) -> Response<T> {
        let mut answer = Response::new(message);
        let headers = metadata.clone().into_headers();
        let own = headers.iter().filter(|(name, _)| name.as_str().starts_with("x-"));
        let own = own.map(|(name, value)| (name.clone(), value.clone())).collect();
        *answer.metadata_mut() = MetadataMap::from_headers(own);
        answer
    }
}

#[track_caller]
fn reached(mut counter: watch::Receiver<usize>, count: usize) -> impl Future<Output = ()> {
    super::within(async move {
        counter.wait_for(|it| *it >= count).await.unwrap();
    })
}

struct One(Echo);

impl tonic::server::UnaryService<Note> for One {
    type Response = Note;
    type Future = Answering<Note>;

    fn call(&mut self, request: Request<Note>) -> Answering<Note> {
        let echo = self.0.clone();
        Box::pin(async move {
            let (metadata, _, note) = request.into_parts();
            Ok(Echo::answer(&metadata, Note { lane: echo.lane, ..note }))
        })
    }
}

/// Sends as many notes as it is told, then fails if the load says so.
struct Many(Echo);

impl tonic::server::ServerStreamingService<Note> for Many {
    type Response = Note;
    type ResponseStream = Notes;
    type Future = Answering<Notes>;

    fn call(&mut self, request: Request<Note>) -> Answering<Notes> {
        let echo = self.0.clone();
        Box::pin(async move {
            let (metadata, _, asked) = request.into_parts();
            let (sender, receiver) = mpsc::channel(4);
            tokio::spawn(async move {
                let mut abandoned = Abandoned(Some(echo.abandoned.clone()));
                for number in 0..asked.number {
                    if sender.send(Ok(echo.note(number))).await.is_err() {
                        return;
                    }
                }
                if !asked.load.is_empty() {
                    let _ = sender.send(Err(failure())).await;
                }
                abandoned.0 = None;
            });
            let notes: Notes = Box::pin(ReceiverStream::new(receiver));
            Ok(Echo::answer(&metadata, notes))
        })
    }
}

/// Adds the numbers up.
struct Sum(Echo);

impl tonic::server::ClientStreamingService<Note> for Sum {
    type Response = Note;
    type Future = Answering<Note>;

    fn call(&mut self, request: Request<Streaming<Note>>) -> Answering<Note> {
        let echo = self.0.clone();
        Box::pin(async move {
            let (metadata, _, mut notes) = request.into_parts();
            let mut abandoned = Abandoned(Some(echo.abandoned.clone()));
            let mut sum = 0;
            while let Some(note) = notes.message().await? {
                sum += note.number;
            }
            abandoned.0 = None;
            Ok(Echo::answer(&metadata, echo.note(sum)))
        })
    }
}

/// Answers each note as it comes.
struct Chat(Echo);

impl tonic::server::StreamingService<Note> for Chat {
    type Response = Note;
    type ResponseStream = Notes;
    type Future = Answering<Notes>;

    fn call(&mut self, request: Request<Streaming<Note>>) -> Answering<Notes> {
        let echo = self.0.clone();
        Box::pin(async move {
            let (metadata, _, notes) = request.into_parts();
            let answers = notes.map(move |note| Ok(Note { lane: echo.lane.clone(), ..note? }));
            let answers: Notes = Box::pin(answers);
            Ok(Echo::answer(&metadata, answers))
        })
    }
}

/// Fails with details and metadata.
struct Fail;

impl tonic::server::UnaryService<Note> for Fail {
    type Response = Note;
    type Future = Answering<Note>;

    fn call(&mut self, _: Request<Note>) -> Answering<Note> {
        Box::pin(async { Err(failure()) })
    }
}

/// How the service fails.
pub(crate) fn failure() -> Status {
    let mut metadata = MetadataMap::new();
    metadata.insert("x-why", "because".parse().unwrap());
    metadata.insert_bin("x-why-bin", tonic::metadata::MetadataValue::from_bytes(&[0, 255, 7]));
    let details = bytes::Bytes::from_static(&[8, 9, 0, 255]);
    Status::with_details_and_metadata(Code::FailedPrecondition, "50% é", details, metadata)
}

/// Never answers.
struct Hang(Echo);

impl tonic::server::UnaryService<Note> for Hang {
    type Response = Note;
    type Future = Answering<Note>;

    fn call(&mut self, _: Request<Note>) -> Answering<Note> {
        let abandoned = Abandoned(Some(self.0.abandoned.clone()));
        Box::pin(async move {
            let _abandoned = abandoned;
            std::future::pending().await
        })
    }
}

/// A caller of the service, through whatever listens at an address.
#[derive(Clone)]
pub(crate) struct Client {
    grpc: tonic::client::Grpc<Channel>,
    tenant: String,
}

impl Client {
    /// Connects.
    pub(crate) async fn connect(service: &str, through: SocketAddr) -> Self {
        let endpoint = Endpoint::from_shared(format!("http://{through}")).unwrap();
        let origin = format!("http://{service}").parse().unwrap();
        let channel = super::within(endpoint.origin(origin).connect()).await.unwrap();
        let grpc = tonic::client::Grpc::new(channel);
        let grpc = grpc.max_decoding_message_size(LARGEST).max_encoding_message_size(LARGEST);
        Self { grpc, tenant: String::new() }
    }

    /// The same, on behalf of a tenant.
    pub(crate) fn of(&self, tenant: &str) -> Self {
        Self { grpc: self.grpc.clone(), tenant: tenant.to_owned() }
    }

    fn prepared<T>(&self, mut request: Request<T>) -> Request<T> {
        if !self.tenant.is_empty() {
            request.metadata_mut().insert("x-tenant", self.tenant.parse().unwrap());
        }
        request
    }

    async fn ready(&self) -> tonic::client::Grpc<Channel> {
        let mut grpc = self.grpc.clone();
        super::within(grpc.ready()).await.unwrap();
        grpc
    }

    /// Calls a method that takes one note and returns one.
    pub(crate) async fn unary(
        &self,
        method: &'static str,
        request: Request<Note>,
    ) -> Result<Response<Note>, Status> {
        let path = PathAndQuery::from_static(method);
        let mut grpc = self.ready().await;
        super::within(grpc.unary(self.prepared(request), path, Codec::default())).await
    }

    /// Calls `One` with a number; returns the lane that answers.
    pub(crate) async fn lane(&self) -> Result<String, Status> {
        Ok(self.unary("/Echo/One", Request::new(Note::new(1))).await?.into_inner().lane)
    }

    pub(crate) async fn many(&self, note: Note) -> Result<Response<Streaming<Note>>, Status> {
        let path = PathAndQuery::from_static("/Echo/Many");
        let request = self.prepared(Request::new(note));
        let mut grpc = self.ready().await;
        super::within(grpc.server_streaming(request, path, Codec::default())).await
    }

    pub(crate) async fn sum(
        &self,
        notes: impl Stream<Item = Note> + Send + 'static,
    ) -> Result<Response<Note>, Status> {
        let path = PathAndQuery::from_static("/Echo/Sum");
        let request = self.prepared(Request::new(notes));
        let mut grpc = self.ready().await;
        super::within(grpc.client_streaming(request, path, Codec::default())).await
    }

    pub(crate) async fn chat(
        &self,
        notes: impl Stream<Item = Note> + Send + 'static,
    ) -> Result<Response<Streaming<Note>>, Status> {
        let path = PathAndQuery::from_static("/Echo/Chat");
        let request = self.prepared(Request::new(notes));
        let mut grpc = self.ready().await;
        super::within(grpc.streaming(request, path, Codec::default())).await
    }
}
