//! A small mesh in this process: applications, sidecars between them, callers; every port chosen by
//! the system, everything gone when it is dropped.
//!
//! ```text
//! let mesh = Mesh::new("[tenants.acme]").app("orders", "baseline").app("orders", "acme").start().await;
//! assert_eq!(mesh.lane("orders", "acme").await, "acme");
//! ```
//!
//! An application answers with the name of its lane, so that an assertion is a word. To wait is to
//! await an event: a request that came, a generation in force, a state the operator is shown; each
//! within [`PATIENCE`].

pub(crate) mod alone;
pub(crate) mod app;
pub(crate) mod caller;
pub(crate) mod grpc;
pub(crate) mod pieces;
pub(crate) mod pod;
pub(crate) mod registry;
pub(crate) mod side;

use std::net::SocketAddr;
use std::time::Duration;

use app::{App, Request, Response};
use caller::{Ask, Caller};
use side::Side;

/// How long anything may take that should be at once.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// The pause between two looks.
const GLANCE: Duration = Duration::from_millis(5);

/// The body of every message.
pub(crate) type Body = tonic::body::Body;

/// The name of no lane.
pub(crate) const BASELINE: &str = "baseline";

/// Awaits what should be at once; if it is not, the test has failed.
#[track_caller]
pub(crate) fn within<F: Future>(future: F) -> impl Future<Output = F::Output> {
    let place = std::panic::Location::caller();
    async move {
        let outcome = tokio::time::timeout(PATIENCE, future).await;
        outcome.unwrap_or_else(|_| panic!("not within {PATIENCE:?}: {place}"))
    }
}

/// Looks again and again, until it holds; where nothing says when.
#[track_caller]
pub(crate) fn until(mut holds: impl FnMut() -> bool) -> impl Future<Output = ()> {
    within(async move {
        while !holds() {
            tokio::time::sleep(GLANCE).await;
        }
    })
}

/// Applications, and the sidecar of whoever calls them.
pub(crate) struct Mesh {
    pub(crate) side: Side,
    apps: Vec<Place>,
    caller: Caller,
}

/// An instance as the caller's sidecar is told of it.
struct Place {
    service: String,
    lane: String,
    address: SocketAddr,
    app: Option<App>,
}

/// A mesh in the making.
pub(crate) struct Plan {
    table: toml::Table,
    places: Vec<Place>,
}

impl Mesh {
    /// A mesh whose caller's sidecar is told this, beside where the applications are.
    #[expect(clippy::new_ret_no_self, reason = "a mesh begins as a plan")]
    pub(crate) fn new(snippet: &str) -> Plan {
        Plan { table: side::table(snippet), places: Vec::new() }
    }

    /// Begins a request to a service, on the HTTP/2 connection all of them share.
    pub(crate) fn ask(&self, service: &str) -> Ask {
        self.caller.ask(service)
    }

    /// Begins a request to a service, on an HTTP/1.1 connection of its own.
    pub(crate) fn ask_http1(&self, service: &str) -> Ask {
        Caller::http1(self.side.outbound()).ask(service)
    }

    /// Returns the lane that answers a tenant; the empty name is no tenant.
    #[track_caller]
    pub(crate) fn lane(&self, service: &str, tenant: &str) -> impl Future<Output = String> {
        let asking = self.ask(service).tenant(tenant);
        let place = std::panic::Location::caller();
        async move {
            let answer = asking.await;
            assert_eq!(answer.status, 200, "{answer:?} at {place}");
            answer.text()
        }
    }

    /// Returns the first application of a service in a lane.
    pub(crate) fn app(&self, service: &str, lane: &str) -> &App {
        self.apps_of(service, lane).next().unwrap()
    }

    /// Returns the applications in the order in which they were planned.
    pub(crate) fn all_apps(&self) -> impl Iterator<Item = &App> {
        self.apps.iter().filter_map(|it| it.app.as_ref())
    }

    /// Returns the applications of a service in a lane.
    pub(crate) fn apps_of(&self, service: &str, lane: &str) -> impl Iterator<Item = &App> {
        let (service, lane) = (service.to_owned(), lane.to_owned());
        let places = self.apps.iter().filter(move |it| it.service == service && it.lane == lane);
        places.filter_map(|it| it.app.as_ref())
    }
}

impl Plan {
    /// Adds an application that answers with the name of its lane.
    pub(crate) fn app(self, service: &str, lane: &str) -> Self {
        let name = lane.to_owned();
        self.serve(service, lane, move |request| app::answer_with(name.clone(), request))
    }

    /// Adds an application that answers as `handler` does.
    pub(crate) fn serve<H, A>(self, service: &str, lane: &str, handler: H) -> Self
    where
        H: Fn(Request) -> A + Send + Sync + 'static,
        A: Future<Output = Response> + Send + 'static,
    {
        let app = App::start(handler);
        let place =
            Place { app: Some(app), ..Self::place(service, lane, SocketAddr::from(([0; 4], 0))) };
        let address = place.app.as_ref().map_or(place.address, App::address);
        self.with(Place { address, ..place })
    }

    /// Adds an instance that somebody else runs, or nobody.
    pub(crate) fn at(self, service: &str, lane: &str, address: SocketAddr) -> Self {
        self.with(Self::place(service, lane, address))
    }

    fn place(service: &str, lane: &str, address: SocketAddr) -> Place {
        Place { service: service.to_owned(), lane: lane.to_owned(), address, app: None }
    }

    fn with(mut self, place: Place) -> Self {
        side::add_instance(&mut self.table, &place.service, &place.lane, place.address);
        self.places.push(place);
        self
    }

    /// Starts the caller's sidecar.
    pub(crate) async fn start(self) -> Mesh {
        let side = Side::start(self.table).await;
        let caller = Caller::http2(side.outbound()).await;
        Mesh { side, apps: self.places, caller }
    }
}
