//! An application of the demo: answers where a call came by, and calls the next one.
//!
//! It knows nothing of Dyelane and nothing of lanes. It does what a service under OpenTelemetry's
//! automatic instrumentation does: it calls others by their service name through the proxy it was
//! given, and sends on `traceparent` and `baggage` as they came. It does *not* send on `x-tenant`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::{HeaderMap, StatusCode, header};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

use super::hop::{self, CallAnswer, Step};
use crate::cli::fetch;

/// How long an application waits for the next one.
const PATIENCE: Duration = Duration::from_secs(5);
/// The fields that tracing libraries send on.
const SENT_ON: [&str; 2] = ["traceparent", "baggage"];

/// One running copy of a service of the demo.
pub(super) struct Application {
    /// Its name in the picture.
    name: &'static str,
    /// Whom it calls, and through what; the last one calls nobody.
    next: Option<Next>,
}

/// How an application calls the next one.
struct Next {
    /// The service's name: the authority of the calls.
    service: &'static str,
    /// The outbound listener of the sidecar beside the caller.
    sidecar: SocketAddr,
    /// One HTTP/2 connection there, shared by all calls.
    channel: Channel,
}

impl Application {
    /// An application that calls `next` (a service's name) through the sidecar at the address.
    pub(super) fn new(
        name: &'static str,
        next: Option<(&'static str, SocketAddr)>,
    ) -> anyhow::Result<Self> {
        let next = next.map(|(service, sidecar)| {
            anyhow::Ok(Next { service, sidecar, channel: channel(service, sidecar)? })
        });
        Ok(Self { name, next: next.transpose()? })
    }

    /// Serves HTTP/2 and HTTP/1.1 on `listener` until dropped.
    pub(super) async fn serve(self, listener: TcpListener) {
        let routes = Router::new()
            .route(hop::PATH, post(grpc))
            .route("/path", get(json))
            .with_state(Arc::new(self));
        let mut connections = JoinSet::new();
        loop {
            let accepted = listener.accept().await;
            while connections.try_join_next().is_some() {}
            let Ok((connection, _)) = accepted else {
                tokio::time::sleep(Duration::from_millis(10)).await; // out of descriptors
                continue;
            };
            let _ = connection.set_nodelay(true);
            let service = TowerToHyperService::new(routes.clone());
            connections.spawn(async move {
                let server = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                // Callers go as they please; what they miss, they say.
                let _ = server.serve_connection(TokioIo::new(connection), service).await;
            });
        }
    }

    /// Adds this application to the path of what the next one answered.
    fn sign(&self, metadata: &HeaderMap, rest: Option<CallAnswer>) -> CallAnswer {
        let mine = Step { application: self.name.to_owned(), tenant: tenant_in_baggage(metadata) };
        let rest = rest.map(|answer| answer.steps).unwrap_or_default();
        CallAnswer { steps: std::iter::once(mine).chain(rest).collect() }
    }
}

/// A channel to `service` through whatever listens at `through`. Connects when first used.
pub(super) fn channel(service: &str, through: SocketAddr) -> anyhow::Result<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{through}"))?;
    let origin = format!("http://{service}").parse().context("a service name is a host")?;
    Ok(endpoint.origin(origin).timeout(PATIENCE).connect_lazy())
}

/// `POST /dyelane.demo.v1.Hop/Call`: the next application is called by gRPC too.
async fn grpc(State(me): State<Arc<Application>>, request: Request) -> impl IntoResponse {
    hop::serve(request, |metadata| async move {
        let rest = match &me.next {
            Some(next) => Some(hop::call(&next.channel, sent_on(&metadata)).await?),
            None => None,
        };
        Ok::<_, Status>(me.sign(&metadata, rest))
    })
    .await
}

/// `GET /path`: the next application is asked by HTTP/1.1 too.
async fn json(State(me): State<Arc<Application>>, metadata: HeaderMap) -> Response {
    let rest = match &me.next {
        Some(next) => ask(next, &metadata).await.map(Some),
        None => Ok(None),
    };
    match rest {
        Ok(rest) => {
            let answer = me.sign(&metadata, rest);
            let text = serde_json::to_string(&answer).unwrap_or_default();
            ([(header::CONTENT_TYPE, "application/json")], text + "\n").into_response()
        }
        Err(error) => (StatusCode::BAD_GATEWAY, format!("{error:#}\n")).into_response(),
    }
}

/// Asks the next application for its path.
async fn ask(next: &Next, metadata: &HeaderMap) -> anyhow::Result<CallAnswer> {
    let answer = fetch::get(next.sidecar, next.service, "/path", sent_on(metadata)).await?;
    anyhow::ensure!(answer.status == StatusCode::OK, "{} {}", answer.status, answer.text().trim());
    Ok(serde_json::from_slice(&answer.body)?)
}

/// The part of a request's fields that an application sends on.
fn sent_on(metadata: &HeaderMap) -> HeaderMap {
    let kept = metadata.iter().filter(|(name, _)| SENT_ON.contains(&name.as_str()));
    let mut fields = HeaderMap::new();
    for (name, value) in kept {
        fields.append(name, value.clone());
    }
    fields
}

/// The tenant that an application's own code would find: the `baggage` member of that key.
fn tenant_in_baggage(metadata: &HeaderMap) -> String {
    let lines = metadata.get_all("baggage").iter().filter_map(|line| line.to_str().ok());
    let mut members = lines.flat_map(|line| line.split(','));
    let tenant = members.find_map(|member| member.trim().strip_prefix("tenant="));
    tenant.unwrap_or_default().to_owned()
}
