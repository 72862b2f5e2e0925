//! The picture: five pods on loopback, each an application and the sidecar beside it.
//!
//! ```text
//! client ──► A ──► B·alice ──► C ──► D
//!            └───► B ────────► C ──► D
//! ```
//!
//! No `sidecar.toml` names another pod: each names the registry, which its sidecar tells of its
//! application and asks for the others. Every port is chosen by the system.

use std::fmt::Write as _;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep};

use super::application::Application;
use super::{GLANCE, PATIENCE};
use crate::app::Sidecar;
use crate::cli::fetch;

/// The tenant with a sandbox.
pub(super) const ALICE: &str = "alice";
/// The name of alice's copy of B in the picture.
pub(super) const SANDBOX: &str = "B·alice";

/// One pod of the picture, running.
pub(super) struct Pod {
    /// Its name in the picture.
    pub(super) name: &'static str,
    /// The service it is a copy of.
    pub(super) service: &'static str,
    /// Where its application listens.
    pub(super) application: SocketAddr,
    /// Where its sidecar takes requests for the application.
    pub(super) inbound: SocketAddr,
    /// Where its sidecar takes requests of the application.
    pub(super) outbound: SocketAddr,
    /// Where its sidecar answers the operator.
    pub(super) admin: SocketAddr,
    /// Its sidecar's file.
    pub(super) file: PathBuf,
    /// The sidecar.
    sidecar: Sidecar,
    /// Ends the application.
    end: AbortHandle,
}

impl Pod {
    /// Returns the number of its sidecar's present world.
    pub(super) fn generation(&self) -> u64 {
        self.sidecar.generation()
    }

    /// Returns whether it is alice's own.
    pub(super) fn is_alices(&self) -> bool {
        self.name == SANDBOX
    }

    /// Returns how many instances its sidecar knows.
    async fn known(&self) -> anyhow::Result<usize> {
        let answer = fetch::get(self.admin, "admin", "/catalog", http::HeaderMap::new()).await?;
        let catalog: serde_json::Value = serde_json::from_slice(&answer.body)?;
        let services = catalog.get("services").and_then(|it| it.as_array());
        let lanes = services.into_iter().flatten().filter_map(|it| it.get("lanes")?.as_array());
        let lanes = lanes.flatten().filter_map(|it| it.get("instances")?.as_array());
        Ok(lanes.map(Vec::len).sum())
    }

    /// Waits until its sidecar knows so many instances.
    pub(super) async fn knows(&self, instances: usize) -> anyhow::Result<()> {
        let end = Instant::now() + PATIENCE;
        while self.known().await? != instances {
            let late = Instant::now() > end;
            anyhow::ensure!(!late, "{} does not come to know {instances} instances", self.name);
            sleep(GLANCE).await;
        }
        Ok(())
    }
}

/// The five pods; applications end when it is dropped.
pub(super) struct Mesh {
    pods: Vec<Pod>,
    applications: JoinSet<()>,
    directory: Directory,
    registry: SocketAddr,
}

impl Mesh {
    /// Starts the picture; `registry` is where the registry answers.
    pub(super) async fn start(registry: SocketAddr) -> anyhow::Result<Self> {
        let directory = Directory::create()?;
        let mut mesh = Self { pods: Vec::new(), applications: JoinSet::new(), directory, registry };
        for plan in PLANS {
            mesh.add(&plan).await?;
        }
        for pod in &mesh.pods {
            pod.knows(PLANS.len()).await?;
        }
        Ok(mesh)
    }

    /// Starts one pod.
    async fn add(&mut self, plan: &Plan) -> anyhow::Result<()> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let application = listener.local_addr()?;
        let file = self.directory.write(plan.name, &plan.file(application, self.registry))?;
        let sidecar = Sidecar::start(&file).await;
        let sidecar =
            sidecar.with_context(|| format!("cannot start the sidecar of {}", plan.name))?;
        let first = |bound: &[SocketAddr]| bound.first().copied().context("no listener");
        let (inbound, outbound) = (first(sidecar.inbound())?, first(sidecar.outbound())?);
        let next = plan.calls.map(|service| (service, outbound));
        let end = self.applications.spawn(Application::new(plan.name, next)?.serve(listener));
        let admin = sidecar.admin().context("no admin listener")?;
        let Plan { name, service, .. } = *plan;
        let pod = Pod { name, service, application, inbound, outbound, admin, file, sidecar, end };
        self.pods.push(pod);
        Ok(())
    }

    /// Kills alice's copy of B and the sidecar beside it: neither says a word. Returns once nobody
    /// listens where it was.
    pub(super) async fn kill_sandbox(&mut self) -> anyhow::Result<()> {
        let place = self.pods.iter().position(Pod::is_alices).context("alice has no sandbox")?;
        let Pod { sidecar, end, inbound, .. } = self.pods.remove(place);
        end.abort();
        drop(sidecar);
        let late = Instant::now() + PATIENCE;
        while TcpStream::connect(inbound).await.is_ok() {
            anyhow::ensure!(Instant::now() < late, "{SANDBOX} does not end");
            sleep(GLANCE).await;
        }
        Ok(())
    }

    /// Starts alice's copy of B again, at another address.
    pub(super) async fn start_sandbox(&mut self) -> anyhow::Result<()> {
        let plan = PLANS.iter().find(|it| it.name == SANDBOX).context("alice has no plan")?;
        self.add(plan).await
    }

    /// Returns the pods, in the order in which a call reaches them.
    pub(super) fn pods(&self) -> &[Pod] {
        &self.pods
    }

    /// Returns the pod whose sidecar decides between B and alice's B.
    pub(super) fn front(&self) -> anyhow::Result<&Pod> {
        self.pods.first().context("the picture has no pod")
    }

    /// Ends the sidecars in good order, the outermost first.
    pub(super) async fn stop(self) {
        for pod in self.pods {
            pod.sidecar.stop().await;
        }
    }
}

/// What a pod is to be.
struct Plan {
    name: &'static str,
    service: &'static str,
    lane: Option<&'static str>,
    /// The service it calls.
    calls: Option<&'static str>,
}

/// The pods, in the order in which a call reaches them.
const PLANS: [Plan; 5] = [
    Plan { name: "A", service: "a.demo", lane: None, calls: Some("b.demo") },
    Plan { name: SANDBOX, service: "b.demo", lane: Some(ALICE), calls: Some("c.demo") },
    Plan { name: "B", service: "b.demo", lane: None, calls: Some("c.demo") },
    Plan { name: "C", service: "c.demo", lane: None, calls: Some("d.demo") },
    Plan { name: "D", service: "d.demo", lane: None, calls: None },
];

impl Plan {
    /// Returns what the pod calls itself.
    fn host(&self) -> String {
        self.name.to_lowercase().replace('·', "-")
    }

    /// The pod's `sidecar.toml`.
    fn file(&self, application: SocketAddr, registry: SocketAddr) -> String {
        let Self { name, service, .. } = self;
        let lane = self.lane.map(|lane| format!("lane = \"{lane}\"\n")).unwrap_or_default();
        let host = self.host();
        format!(
            r#"# The sidecar beside {name}, as `dyelane demo` wrote it.

[workload]
service = "{service}"
address = "{application}"
{lane}
[inbound]
listen = "127.0.0.1:0"

[outbound]
listen = "127.0.0.1:0"
unknown = "reject"

[discovery.registry]
addresses = ["{registry}"]
services = ["*.demo"]

[registration]
hostname = "{host}"
renew = "1s"
health = {{ interval = "100ms" }}

[runtime]
workers = 1
poll = "100ms"
drain_delay = "0s"
drain_timeout = "2s"

[admin]
listen = "127.0.0.1:0"

[log]
level = "warn"
"#
        )
    }
}

/// What is written into A's file to turn alice off.
const OFF: &str = "\n[tenants.alice]\nenabled = false\n";

/// Rewrites a file so that alice is turned off in it, or not named.
pub(super) fn flip(file: &Path, on: bool) -> anyhow::Result<()> {
    let text = fs::read_to_string(file)?;
    let text = if on { text.replace(OFF, "") } else { text + OFF };
    let new = file.with_extension("new");
    fs::write(&new, text)?;
    // A rename shows a reader the old file or the new one, never half of one.
    fs::rename(&new, file).with_context(|| format!("cannot replace {}", file.display()))
}

/// A directory of the demo's own, removed in the end.
struct Directory(PathBuf);

impl Directory {
    fn create() -> anyhow::Result<Self> {
        let mut name = String::from("dyelane-demo-");
        write!(name, "{:08x}", fastrand::u32(..))?;
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).with_context(|| format!("cannot create {}", path.display()))?;
        Ok(Self(path))
    }

    /// Writes the file of one pod and returns where it is.
    fn write(&self, pod: &str, text: &str) -> anyhow::Result<PathBuf> {
        let directory = self.0.join(pod.to_lowercase().replace('·', "-"));
        fs::create_dir_all(&directory)?;
        let file = directory.join("sidecar.toml");
        fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
        Ok(file)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
