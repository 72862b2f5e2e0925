//! A sidecar as the whole process: it ends, and takes its file up, by signal.

use std::path::Path;

use tokio::signal::unix::{SignalKind, signal};

use crate::app::file::File;
use crate::app::launch::launch_parsed;
use crate::app::{Sidecar, StartError};
use crate::config::LogFormat;
use crate::telemetry::init_logging;

/// Runs the sidecar that `file` describes until SIGTERM or SIGINT, then ends it in peace; a second
/// such signal ends it at once. SIGHUP has it take up its file.
///
/// # Errors
/// It cannot start.
pub async fn run(path: &Path) -> Result<(), StartError> {
    let (file, parsed) = File::read_first(path)?;
    let log = &parsed.config.log;
    let level = init_logging(&log.level, log.format == LogFormat::Json)?;
    for it in &parsed.quarantined {
        tracing::error!(entry = %it.entry, "left out, the rest is taken up:\n{}", it.report);
    }
    let on = |kind| signal(kind).map_err(StartError::Thread);
    let mut terminate = on(SignalKind::terminate())?;
    let mut interrupt = on(SignalKind::interrupt())?;
    let mut hang_up = on(SignalKind::hangup())?;
    let mut sidecar = launch_parsed(file, parsed, Some(level)).await?;
    announce(&sidecar);
    loop {
        tokio::select! {
            _ = hang_up.recv() => {
                // What is wrong is logged where it is found.
                let _ = sidecar.reload().await;
            }
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            () = sidecar.worker_ended() => {
                tracing::error!("a worker ended by itself; ending");
                break;
            }
        }
    }
    tokio::select! {
        () = sidecar.stop() => {}
        _ = terminate.recv() => tracing::warn!("ending at once"),
        _ = interrupt.recv() => tracing::warn!("ending at once"),
    }
    Ok(())
}

fn announce(sidecar: &Sidecar) {
    let services = sidecar.service_listeners();
    tracing::info!(
        inbound = ?sidecar.inbound(),
        outbound = ?sidecar.outbound(),
        ?services,
        admin = ?sidecar.admin(),
        "taking requests"
    );
}
