//! A pod: an application, and beside it the sidecar its requests come in by.

use super::app::{App, Request, Response, Seen, answer_with};
use super::caller::{Ask, Caller};
use super::side::{Side, merge, table};

/// A pod. Its application answers with its own lane.
pub(crate) struct Pod {
    pub(crate) app: App,
    pub(crate) side: Side,
    service: String,
}

impl Pod {
    /// Starts a pod of `service` whose sidecar is told this besides.
    pub(crate) async fn start(service: &str, snippet: &str) -> Self {
        Self::serve(service, snippet, |request| answer_with("app".to_owned(), request)).await
    }

    /// Starts a pod whose application answers as `handler` does.
    pub(crate) async fn serve<H, A>(service: &str, snippet: &str, handler: H) -> Self
    where
        H: Fn(Request) -> A + Send + Sync + 'static,
        A: Future<Output = Response> + Send + 'static,
    {
        let app = App::start(handler);
        let base = format!(
            "workload = {{ service = '{service}', address = '{}' }}
             inbound.listen = '127.0.0.1:0'",
            app.address()
        );
        let mut told = table(&base);
        merge(&mut told, snippet.parse().unwrap());
        let side = Side::start(told).await;
        Self { app, side, service: service.to_owned() }
    }

    /// Begins a request to it, on an HTTP/2 connection of its own.
    pub(crate) async fn ask(&self) -> Ask {
        Caller::http2(self.side.inbound()).await.ask(&self.service)
    }

    /// Begins a request of its application to a service, likewise.
    pub(crate) async fn call(&self, service: &str) -> Ask {
        Caller::http2(self.side.outbound()).await.ask(service)
    }

    /// Returns the last request its application was given.
    pub(crate) fn last(&self) -> Seen {
        self.app.seen().pop().unwrap()
    }
}
