//! The routes of the operator's listener, and what each answers.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::SystemTime;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Query, State as Shared};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::{StatusCode, Uri, header};
use serde::Serialize;
use serde_json::json;

use crate::admin::catalog;
use crate::admin::decide::{Question, Refusal, explain};
use crate::admin::state::State;
use crate::telemetry::Metrics;

/// What there is, for `/` and for who lost the way.
const ROUTES: &[(&str, &str)] = &[
    ("/metrics", "counters, for Prometheus"),
    ("/healthz", "200 while the process runs"),
    ("/readyz", "200 if requests may come, else 503 with the reasons"),
    ("/config", "file, generation, last error, what was left out, effective values"),
    ("/catalog", "services, their lanes and instances, with load and health"),
    ("/decide", "?service=NAME&tenant=NAME: where a request would go, and why"),
];
/// Longest request body: none of the routes has a use for one.
const BODY: usize = 1 << 10;

/// The routes over what they answer from.
pub(super) fn router(state: Arc<State>) -> Router {
    Router::new()
        .route("/", get(index))
        .route("/metrics", get(metrics))
        .route("/healthz", get(async || "alive\n"))
        .route("/readyz", get(readyz))
        .route("/config", get(config))
        .route("/catalog", get(show_catalog))
        .route("/decide", get(decide))
        .fallback(not_found)
        .method_not_allowed_fallback(not_allowed)
        .layer(DefaultBodyLimit::max(BODY))
        .with_state(state)
}

async fn index() -> String {
    let version = env!("CARGO_PKG_VERSION");
    let mut text = format!("dyelane {version}: the operator's side\n\n");
    for (path, what) in ROUTES {
        let _ = writeln!(text, "{path:<10} {what}");
    }
    text
}

async fn metrics(Shared(state): Shared<Arc<State>>) -> impl IntoResponse {
    catalog::measure(&state.world.snapshot(), &state.metrics, (state.now)());
    ([(header::CONTENT_TYPE, Metrics::CONTENT_TYPE)], state.metrics.render())
}

async fn readyz(Shared(state): Shared<Arc<State>>) -> (StatusCode, String) {
    let status = state.status.snapshot();
    if status.not_ready.is_empty() {
        return (StatusCode::OK, "ready\n".to_owned());
    }
    let reasons = status.not_ready.iter().map(|reason| format!("not ready: {reason}\n"));
    (StatusCode::SERVICE_UNAVAILABLE, reasons.collect())
}

async fn config(Shared(state): Shared<Arc<State>>) -> Response {
    let (world, status) = (state.world.snapshot(), state.status.snapshot());
    let uptime = SystemTime::now().duration_since(status.started).unwrap_or_default();
    shown(&json!({
        "version": env!("CARGO_PKG_VERSION"),
        "generation": world.generation,
        "ready": status.not_ready.is_empty(),
        "uptime_seconds": uptime.as_secs(),
        "status": &*status,
        "effective": &*world.config,
    }))
}

async fn show_catalog(Shared(state): Shared<Arc<State>>) -> Response {
    let world = state.world.snapshot();
    let services = catalog::services(&world, (state.now)());
    shown(&json!({ "generation": world.generation, "services": services }))
}

async fn decide(
    Shared(state): Shared<Arc<State>>,
    Query(pairs): Query<Vec<(String, String)>>,
) -> Response {
    let world = state.world.snapshot();
    let answer =
        Question::from_pairs(pairs).and_then(|question| explain(&world, &question, (state.now)()));
    match answer {
        Ok(explanation) => shown(&explanation),
        Err(refusal @ Refusal::UnknownService { .. }) => {
            refuse(StatusCode::NOT_FOUND, &refusal.to_string())
        }
        Err(refusal) => refuse(StatusCode::BAD_REQUEST, &refusal.to_string()),
    }
}

async fn not_found(uri: Uri) -> Response {
    let known: Vec<_> = ROUTES.iter().map(|(path, _)| *path).collect();
    let text = format!("there is no {}; there are {}", uri.path(), known.join(", "));
    refuse(StatusCode::NOT_FOUND, &text)
}

async fn not_allowed() -> Response {
    refuse(StatusCode::METHOD_NOT_ALLOWED, "these routes can only be read: use GET")
}

/// An answer that says no, and why.
fn refuse(status: StatusCode, why: &str) -> Response {
    (status, shown(&json!({ "error": why }))).into_response()
}

/// An answer in JSON that a person can read too.
fn shown(value: &impl Serialize) -> Response {
    match serde_json::to_string_pretty(value) {
        Ok(text) => ([(header::CONTENT_TYPE, "application/json")], text + "\n").into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}
