//! Who is asked what there is: a running sidecar, a registry, or a file.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

use crate::cli::node::WhichRegistry;
use crate::cli::{Outcome, file};
use crate::cli::{address, print};
use crate::config::{Config, Parsed};

/// Who is asked.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Who is asked")]
pub(super) struct WhichSource {
    /// The admin address of a running sidecar [default: `$DYELANE_ADMIN`, else 127.0.0.1:15000]
    #[arg(long, value_name = "ADDR", value_parser = address::parse)]
    admin: Option<SocketAddr>,
    /// A file instead: what it alone says
    #[arg(long, value_name = "FILE", visible_alias = "config", conflicts_with = "admin")]
    file: Option<PathBuf>,
    #[command(flatten)]
    registry: WhichRegistry,
    /// The environment that is meant, in a registry
    #[arg(long, value_name = "NAME", default_value = "prod")]
    env: String,
}

/// Who is asked, found out.
pub(super) enum Source {
    /// A running sidecar.
    Sidecar(SocketAddr),
    /// A registry, and which environment.
    Registry(WhichRegistry, String),
    /// A file.
    File(Box<Config>),
}

impl WhichSource {
    /// Returns who is meant: whoever is named, else the registry of `$DYELANE_REGISTRY`, else the
    /// local sidecar.
    pub(super) fn find(self) -> Result<Source, Outcome> {
        let bad = |error: anyhow::Error| print::bad_input(&error);
        let Self { admin, file, registry, env } = self;
        if !registry.is_empty() && (admin.is_some() || file.is_some()) {
            return Err(bad(anyhow::anyhow!("name one: --registry, --admin or --file")));
        }
        if let Some(path) = file {
            return read(&path).map(|config| Source::File(Box::new(config)));
        }
        if let Some(admin) = admin {
            return Ok(Source::Sidecar(admin));
        }
        let registry = registry.or_environment().map_err(bad)?;
        if !registry.is_empty() {
            return Ok(Source::Registry(registry, env));
        }
        match std::env::var("DYELANE_ADMIN").ok().filter(|named| !named.is_empty()) {
            Some(named) => {
                let admin = address::parse(&named);
                let wrong = |why| bad(anyhow::anyhow!("DYELANE_ADMIN: {why}"));
                admin.map(Source::Sidecar).map_err(wrong)
            }
            None => Ok(Source::Sidecar(address::DEFAULT)),
        }
    }
}

/// Reads a file; what a running sidecar would leave out is said.
fn read(path: &std::path::Path) -> Result<Config, Outcome> {
    match file::read(path).map_err(|error| print::bad_input(&error))? {
        Ok(Parsed { config, quarantined }) => {
            for left_out in quarantined {
                print::talk(&format!(
                    "warning: {} is wrong: a running sidecar would leave it as before",
                    left_out.entry
                ));
            }
            Ok(config)
        }
        Err(report) => {
            print::talk(report.to_string().trim_end());
            Err(Outcome::BadInput)
        }
    }
}
