//! The picture: five pods on loopback, each an application and the sidecar beside it.
//!
//! ```text
//! client ──► A ──► B·alice ──► C ──► D
//!            └───► B ────────► C ──► D
//! ```
//!
//! Pods start innermost first, so that each `sidecar.toml` can name the addresses of the ones it
//! calls; every port is chosen by the system.

use std::fmt::Write as _;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::application::Application;
use crate::app::Sidecar;

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
}

/// The five pods; applications end when it is dropped.
pub(super) struct Mesh {
    pods: Vec<Pod>,
    applications: JoinSet<()>,
    directory: Directory,
}

impl Mesh {
    /// Starts the picture.
    pub(super) async fn start() -> anyhow::Result<Self> {
        let directory = Directory::create()?;
        let mut mesh = Self { pods: Vec::new(), applications: JoinSet::new(), directory };
        let d = mesh.pod(&Plan::new("D", "d.demo")).await?;
        let c = mesh.pod(&Plan::new("C", "c.demo").calls("d.demo", &[(d, None)])).await?;
        let calls_c = |plan: Plan| plan.calls("c.demo", &[(c, None)]);
        let b = mesh.pod(&calls_c(Plan::new("B", "b.demo"))).await?;
        let sandbox = mesh.pod(&calls_c(Plan::new(SANDBOX, "b.demo").in_lane(ALICE))).await?;
        let both = [(b, None), (sandbox, Some(ALICE))];
        mesh.pod(&Plan::new("A", "a.demo").calls("b.demo", &both).flips(ALICE)).await?;
        mesh.pods.reverse();
        Ok(mesh)
    }

    /// Starts one pod and returns where its sidecar takes requests.
    async fn pod(&mut self, plan: &Plan) -> anyhow::Result<SocketAddr> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let application = listener.local_addr()?;
        let file = self.directory.write(plan.name, &plan.file(application))?;
        let sidecar = Sidecar::start(&file).await;
        let sidecar =
            sidecar.with_context(|| format!("cannot start the sidecar of {}", plan.name))?;
        let first = |bound: &[SocketAddr]| bound.first().copied().context("no listener");
        let pod = Pod {
            name: plan.name,
            service: plan.service,
            application,
            inbound: first(sidecar.inbound())?,
            outbound: first(sidecar.outbound())?,
            admin: sidecar.admin().context("no admin listener")?,
            file,
            sidecar,
        };
        let next = plan.calls.as_ref().map(|(service, _)| (*service, pod.outbound));
        self.applications.spawn(Application::new(plan.name, next)?.serve(listener));
        let inbound = pod.inbound;
        self.pods.push(pod);
        Ok(inbound)
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

/// An instance: its address, and its lane; none is the baseline.
type Place = (SocketAddr, Option<&'static str>);

/// What a pod is to be.
struct Plan {
    name: &'static str,
    service: &'static str,
    lane: Option<&'static str>,
    /// The service it calls, and that one's instances.
    calls: Option<(&'static str, Vec<Place>)>,
    /// The tenant that can be turned off in its file.
    flips: Option<&'static str>,
}

impl Plan {
    fn new(name: &'static str, service: &'static str) -> Self {
        Self { name, service, lane: None, calls: None, flips: None }
    }

    fn in_lane(self, lane: &'static str) -> Self {
        Self { lane: Some(lane), ..self }
    }

    fn calls(self, service: &'static str, instances: &[Place]) -> Self {
        Self { calls: Some((service, instances.to_vec())), ..self }
    }

    fn flips(self, tenant: &'static str) -> Self {
        Self { flips: Some(tenant), ..self }
    }

    /// The pod's `sidecar.toml`.
    fn file(&self, application: SocketAddr) -> String {
        let mut file = format!(
            "# The sidecar beside {}, as `dyelane demo` wrote it.\n\n\
             [workload]\nservice = \"{}\"\naddress = \"{application}\"\n",
            self.name, self.service
        );
        let mut add = |text: &str| file.push_str(text);
        if let Some(lane) = self.lane {
            add(&format!("lane = \"{lane}\"\n"));
        }
        add("\n[inbound]\nlisten = \"127.0.0.1:0\"\n");
        add("\n[outbound]\nlisten = \"127.0.0.1:0\"\nunknown = \"reject\"\n");
        if let Some(tenant) = self.flips {
            add(&format!("\n[tenants.{tenant}]\n{ENABLED}   # false: routed like everyone else\n"));
        }
        if let Some((service, instances)) = &self.calls {
            for (address, lane) in instances {
                add(&format!("\n[[services.\"{service}\".instances]]\naddress = \"{address}\"\n"));
                if let Some(lane) = lane {
                    add(&format!("lane = \"{lane}\"\n"));
                }
            }
        }
        add("\n[runtime]\nworkers = 1\npoll = \"100ms\"\ndrain_timeout = \"2s\"\n");
        add("\n[admin]\nlisten = \"127.0.0.1:0\"\n\n[log]\nlevel = \"warn\"\n");
        file
    }
}

/// The line of A's file that a flip changes.
const ENABLED: &str = "enabled = true ";
/// The same line, flipped.
const DISABLED: &str = "enabled = false";

/// Rewrites a file so that its flippable tenant is on or off.
pub(super) fn flip(file: &Path, on: bool) -> anyhow::Result<()> {
    let text = fs::read_to_string(file)?;
    let (from, to) = if on { (DISABLED, ENABLED) } else { (ENABLED, DISABLED) };
    anyhow::ensure!(text.contains(from), "{} has no {from:?} to change", file.display());
    let new = file.with_extension("new");
    fs::write(&new, text.replacen(from, to, 1))?;
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
        fs::create_dir(&directory)?;
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
