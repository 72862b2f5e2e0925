//! `dyelane.demo.v1.Hop/Call`: the one gRPC method of the demo, written out by hand.
//!
//! ```protobuf
//! service Hop { rpc Call(CallRequest) returns (CallAnswer); }
//! message CallRequest {}
//! message CallAnswer { repeated Step steps = 1; }
//! message Step { string application = 1; string tenant = 2; }
//! ```

use std::fmt;
use std::pin::Pin;

use http::uri::PathAndQuery;
use serde::{Deserialize, Serialize};
use tonic::body::Body;
use tonic::transport::Channel;
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;

/// The method's path.
pub(super) const PATH: &str = "/dyelane.demo.v1.Hop/Call";

/// What a caller says: nothing. Whose request it is stands in the metadata.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct CallRequest {}

/// Where a call came by.
#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize)]
pub(super) struct CallAnswer {
    /// The applications, in the order in which the call reached them.
    #[prost(message, repeated, tag = "1")]
    pub(super) steps: Vec<Step>,
}

/// One application a call came by.
#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize)]
pub(super) struct Step {
    /// Its name in the picture: `A`, `B·alice`, …
    #[prost(string, tag = "1")]
    pub(super) application: String,
    /// The tenant it was told of, as its own code saw it in `baggage`; empty for none.
    #[prost(string, tag = "2")]
    pub(super) tenant: String,
}

impl CallAnswer {
    /// Returns the names of the applications, in order.
    pub(super) fn path(&self) -> Vec<&str> {
        self.steps.iter().map(|step| &*step.application).collect()
    }

    /// Returns whether every application was told of that tenant; of none for the empty text.
    pub(super) fn all_saw(&self, tenant: &str) -> bool {
        self.steps.iter().all(|step| step.tenant == tenant)
    }
}

impl fmt::Display for CallAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path().join(" → "))
    }
}

/// A future a service returns.
type Answering = Pin<Box<dyn Future<Output = Result<Response<CallAnswer>, Status>> + Send>>;

/// What tonic asks of a method: here, any function from request to answer.
struct Method<F>(F);

impl<F, A> tonic::server::UnaryService<CallRequest> for Method<F>
where
    F: FnOnce(http::HeaderMap) -> A + Clone,
    A: Future<Output = Result<CallAnswer, Status>> + Send + 'static,
{
    type Response = CallAnswer;
    type Future = Answering;

    fn call(&mut self, request: Request<CallRequest>) -> Answering {
        let answer = self.0.clone()(request.into_parts().0.into_headers());
        Box::pin(async { answer.await.map(Response::new) })
    }
}

/// Serves one call: `method` is given the metadata and makes the answer.
pub(super) async fn serve<F, A>(
    request: http::Request<axum::body::Body>,
    method: F,
) -> http::Response<Body>
where
    F: FnOnce(http::HeaderMap) -> A + Clone,
    A: Future<Output = Result<CallAnswer, Status>> + Send + 'static,
{
    tonic::server::Grpc::new(ProstCodec::default()).unary(Method(method), request).await
}

/// Calls the method through `channel`, with `metadata`.
pub(super) async fn call(
    channel: &Channel,
    metadata: http::HeaderMap,
) -> Result<CallAnswer, Status> {
    let mut client = tonic::client::Grpc::new(channel.clone());
    let ready = client.ready().await;
    ready.map_err(|error| Status::unavailable(error.to_string()))?;
    let metadata = tonic::metadata::MetadataMap::from_headers(metadata);
    let request = Request::from_parts(metadata, tonic::Extensions::default(), CallRequest {});
    let codec = ProstCodec::<CallRequest, CallAnswer>::default();
    let answer = client.unary(request, PathAndQuery::from_static(PATH), codec).await?;
    Ok(answer.into_inner())
}
