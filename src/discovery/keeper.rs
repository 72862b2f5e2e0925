//! Keeps the file that has what the sources said last: not more often than every few seconds.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::discovery::cache;
use crate::discovery::known::Known;

/// The least time between two writings.
const EVERY: Duration = Duration::from_secs(3);
/// How long the last one may take when we end.
const PARTING: Duration = Duration::from_secs(1);

/// Writes what is known to a file, in the background. Dropped, what was not written yet still is, if
/// the runtime goes on for so long.
#[derive(Debug)]
pub(super) struct Keeper {
    path: PathBuf,
    env: Arc<str>,
    known: watch::Sender<Known>,
    /// Cancelled when there is no time to wait any more.
    end: CancellationToken,
    task: JoinHandle<()>,
}

impl Keeper {
    /// Keeps `path`, of which the content is `known` already. Must be called in a tokio runtime.
    pub(super) fn start(path: PathBuf, env: Arc<str>, known: Known) -> Self {
        let (known, told) = watch::channel(known);
        let end = CancellationToken::new();
        let task = tokio::spawn(keep(path.clone(), Arc::clone(&env), told, end.clone()));
        Self { path, env, known, end, task }
    }

    /// Returns whether it keeps that file.
    pub(super) fn keeps(&self, path: &PathBuf, env: &Arc<str>) -> bool {
        self.path == *path && self.env == *env
    }

    /// Has this written, soon.
    pub(super) fn keep(&self, known: &Known) {
        self.known.send_if_modified(|it| {
            let is_other = it != known;
            it.clone_from(known);
            is_other
        });
    }

    /// Writes what is not written yet, if the disk is quick enough.
    pub(super) async fn finish(self) {
        self.end.cancel();
        drop(self.known);
        let _ = timeout(PARTING, self.task).await;
    }
}

async fn keep(
    path: PathBuf,
    env: Arc<str>,
    mut told: watch::Receiver<Known>,
    end: CancellationToken,
) {
    let mut is_failing = false;
    // The last value is seen even if nobody tells any more.
    while told.changed().await.is_ok() {
        let known = told.borrow_and_update().clone();
        let (to, of) = (path.clone(), Arc::clone(&env));
        let saving = tokio::task::spawn_blocking(move || cache::save(&to, &of, &known));
        let saved = saving.await.unwrap_or_else(|error| Err(io::Error::other(error)));
        if let Err(error) = &saved
            && !is_failing
        {
            let file = path.display();
            tracing::error!(%file, %error, "the catalog cannot be kept: a start during an outage would know nobody");
        }
        is_failing = saved.is_err();
        let _ = timeout(EVERY, end.cancelled()).await;
    }
}
