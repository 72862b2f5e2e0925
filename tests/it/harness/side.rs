//! A sidecar with the file it runs on.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use dyelane::app::Sidecar;
use tempfile::TempDir;
use toml::{Table, Value};

use super::caller::{Answer, Caller};
use super::{BASELINE, within};

/// What every sidecar is told. It looks at its file only when told to, unless a test says otherwise.
const BASE: &str = r#"
    [workload]
    service = "caller.test"
    [outbound]
    listen = "127.0.0.1:0"
    unknown = "reject"
    [runtime]
    workers = 1
    poll = "1h"
    drain_timeout = "10s"
    [admin]
    listen = "127.0.0.1:0"
"#;

/// A sidecar with the file it runs on. Dropped, it breaks off what is under way.
pub(crate) struct Side {
    sidecar: Sidecar,
    table: Mutex<Table>,
    file: PathBuf,
    /// Removed when this is dropped.
    directory: TempDir,
}

/// Returns what `snippet` says over what every sidecar is told.
pub(crate) fn table(snippet: &str) -> Table {
    let mut table = BASE.parse().unwrap();
    merge(&mut table, snippet.parse().unwrap());
    table
}

/// Writes `over` over `table`, table by table.
pub(crate) fn merge(table: &mut Table, over: Table) {
    for (key, value) in over {
        match (table.get_mut(&key), value) {
            (Some(Value::Table(below)), Value::Table(value)) => merge(below, value),
            (_, value) => drop(table.insert(key, value)),
        }
    }
}

/// Adds an instance to `[services]`.
pub(crate) fn add_instance(table: &mut Table, service: &str, lane: &str, address: SocketAddr) {
    let mut instance = Table::new();
    instance.insert("address".into(), address.to_string().into());
    if lane != BASELINE {
        instance.insert("lane".into(), lane.into());
    }
    let services = table.entry("services").or_insert_with(|| Table::new().into());
    let services = services.as_table_mut().unwrap();
    let service = services.entry(service).or_insert_with(|| Table::new().into());
    let instances = service.as_table_mut().unwrap().entry("instances");
    let instances = instances.or_insert_with(|| Vec::<Value>::new().into());
    instances.as_array_mut().unwrap().push(instance.into());
}

impl Side {
    /// Starts a sidecar that is told what `table` says.
    pub(crate) async fn start(table: Table) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("sidecar.toml");
        fs::write(&file, table.to_string()).unwrap();
        Self::start_at(file, directory, table).await
    }

    /// Starts a sidecar on a file that is there, below `directory`.
    pub(crate) async fn start_at(file: PathBuf, directory: TempDir, table: Table) -> Self {
        let sidecar = Sidecar::start(&file).await;
        let sidecar = sidecar.unwrap_or_else(|error| panic!("{error}\n{table}"));
        Self { sidecar, table: table.into(), file, directory }
    }

    pub(crate) fn outbound(&self) -> SocketAddr {
        *self.sidecar.outbound().first().unwrap()
    }

    pub(crate) fn inbound(&self) -> SocketAddr {
        *self.sidecar.inbound().first().unwrap()
    }

    pub(crate) fn listener_of(&self, service: &str) -> SocketAddr {
        let mut listeners = self.sidecar.service_listeners().iter();
        listeners.find(|(name, _)| name.as_str() == service).unwrap().1
    }

    pub(crate) fn generation(&self) -> u64 {
        self.sidecar.generation()
    }

    pub(crate) fn file(&self) -> &Path {
        &self.file
    }

    /// Writes `snippet` over what the file says.
    pub(crate) fn say(&self, snippet: &str) {
        let snippet = snippet.parse().unwrap();
        self.edit(|table| merge(table, snippet));
    }

    /// Changes what the file says.
    pub(crate) fn edit(&self, change: impl FnOnce(&mut Table)) {
        let mut table = self.table.lock().unwrap();
        change(&mut table);
        fs::write(&self.file, table.to_string()).unwrap();
    }

    /// Writes what the file said last, as it was before someone spoilt it.
    pub(crate) fn restore(&self) {
        self.edit(|_| {});
    }

    /// Has the file taken up; returns the generation in force.
    pub(crate) async fn reload(&self) -> Result<u64, String> {
        within(self.sidecar.reload()).await
    }

    /// Changes what the file says, and has it taken up.
    pub(crate) async fn turn(&self, snippet: &str) {
        let before = self.generation();
        self.say(snippet);
        assert!(self.reload().await.unwrap() > before, "{snippet} changes nothing");
    }

    pub(crate) fn admin_address(&self) -> SocketAddr {
        self.sidecar.admin().unwrap()
    }

    /// Asks the operator's listener.
    pub(crate) async fn admin(&self, path: &str) -> Answer {
        Caller::http1(self.admin_address()).ask("admin").path(path).await
    }

    /// Asks the operator's listener for JSON.
    pub(crate) async fn admin_json(&self, path: &str) -> serde_json::Value {
        serde_json::from_slice(&self.admin(path).await.body).unwrap()
    }

    /// Returns a metric, by its name after `dyelane_` and its labels as they are written; 0 if there
    /// is no such series.
    pub(crate) async fn metric(&self, series: &str) -> u64 {
        let text = self.admin("/metrics").await.text();
        let line = format!("dyelane_{series} ");
        let value = text.lines().find_map(|it| it.strip_prefix(&line));
        value.map_or(0, |it| it.parse().unwrap())
    }

    /// Waits until a metric has that value.
    pub(crate) async fn until_metric(&self, series: &str, value: u64) {
        let line = format!("dyelane_{series} {value}");
        self.until("/metrics", |it| it.text().lines().any(|it| it == line)).await;
    }

    /// Asks for `path` until the answer is as `wanted`: for what follows an event by itself.
    pub(crate) async fn until(&self, path: &str, wanted: impl Fn(&Answer) -> bool) -> Answer {
        within(async {
            loop {
                let answer = self.admin(path).await;
                if wanted(&answer) {
                    return answer;
                }
                tokio::task::yield_now().await;
            }
        })
        .await
    }

    /// Waits until a generation is in force.
    pub(crate) async fn until_generation(&self, generation: u64) {
        let reached = async {
            while self.generation() < generation {
                tokio::task::yield_now().await;
            }
        };
        within(reached).await;
    }

    /// Ends the sidecar in peace.
    pub(crate) async fn stop(self) {
        within(self.sidecar.stop()).await;
    }

    /// Takes the sidecar out, to end it while the test goes on.
    pub(crate) fn into_sidecar(self) -> (Sidecar, TempDir) {
        (self.sidecar, self.directory)
    }
}
