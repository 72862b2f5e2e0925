//! `dyelane flip`: sends a tenant elsewhere, there where it is decided.
//!
//! ```text
//! read what is said ──► what is wished ──► show the change ──► ask ──► write ──► (wait, undo)
//! ```
//!
//! The place is a file, or the rules of a registry.

mod change;
mod edit;
mod file;
mod rules;
mod wish;

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use self::file::TenantFile;
use self::wish::{InWords, Wanted};
use crate::cli::node::{Nodes, WhichRegistry, WhichToken};
use crate::cli::{Format, Outcome, default_file, print};
use crate::config::Tenant;
use crate::model::TenantId;

/// Which tenant, and where to.
#[derive(Debug, Args)]
#[command(override_usage = "dyelane flip [OPTIONS] <TENANT> <LANE|--off|--on|--clear>")]
pub(super) struct Flip {
    /// The tenant
    tenant: TenantId,
    #[command(flatten)]
    wanted: Wanted,
    /// Wait that long, then undo it; so does Ctrl-C
    #[arg(long, value_name = "PERIOD", value_parser = humantime::parse_duration)]
    ttl: Option<Duration>,
    /// The file to edit [default: `$DYELANE_CONFIG`, else ./sidecar.toml]
    #[arg(long, value_name = "FILE", visible_alias = "config", conflicts_with = "registry")]
    file: Option<PathBuf>,
    #[command(flatten)]
    registry: WhichRegistry,
    #[command(flatten)]
    token: WhichToken,
    /// Only show what would change
    #[arg(short = 'n', long)]
    dry_run: bool,
    /// Do not ask first, as is asked on a terminal
    #[arg(short, long)]
    yes: bool,
}

/// Where a tenant is flipped.
enum Place {
    File(Box<TenantFile>),
    Registry { nodes: Nodes, node: String },
}

/// A flip that is known, and not done yet.
struct Change {
    name: TenantId,
    before: Option<Tenant>,
    after: Option<Tenant>,
}

impl Flip {
    /// Shows what changes, and changes it.
    pub(super) async fn run(self, output: Format) -> anyhow::Result<Outcome> {
        let registry = match &self.file {
            Some(_) => WhichRegistry::default(),
            None => match self.registry.clone().or_environment() {
                Ok(registry) => registry,
                Err(error) => return Ok(print::bad_input(&error)),
            },
        };
        let (mut place, before) = if registry.is_empty() {
            match self.read_file() {
                Ok(read) => read,
                Err(outcome) => return Ok(outcome),
            }
        } else {
            let token = match self.token.read() {
                Ok(token) => token,
                Err(error) => return Ok(print::bad_input(&error)),
            };
            let mut nodes = Nodes::new(&registry, token);
            let (node, before) = rules::tenant(&mut nodes, self.tenant).await?;
            (Place::Registry { nodes, node }, before)
        };
        let after = self.wanted.wish().granted(self.tenant, before.as_ref());
        let change = Change { name: self.tenant, before, after };
        let changes = change.before != change.after;
        let new_text = match &place {
            Place::File(file) if changes => Some(change.edited(file)?),
            _ => None,
        };
        if output == Format::Table {
            print::text(&change.describe(&place, new_text.as_deref()))?;
        }
        let wanted = changes && !self.dry_run;
        let written =
            wanted && (self.yes || output == Format::Json || print::confirm("Change it?")?);
        if written {
            place.write(&change, new_text.as_deref()).await?;
        }
        match output {
            Format::Json => print::json(&change.document(&place, written))?,
            Format::Table if written => print::line(&place.done())?,
            Format::Table if wanted => print::line("left as it is")?,
            Format::Table => {}
        }
        match self.ttl {
            Some(ttl) if written => self.undo_after(ttl, place, change, output).await,
            _ if wanted && !written => Ok(Outcome::No),
            _ => Ok(Outcome::Good),
        }
    }

    /// Reads the file, and what it says of the tenant.
    fn read_file(&self) -> Result<(Place, Option<Tenant>), Outcome> {
        let path = self.file.clone().unwrap_or_else(default_file);
        let bad = |error: anyhow::Error| print::bad_input(&error);
        let file = TenantFile::read(&path, self.tenant).map_err(bad)?.map_err(|report| {
            print::talk(report.to_string().trim_end());
            Outcome::BadInput
        })?;
        let before = file.tenant(self.tenant).map_err(bad)?;
        Ok((Place::File(Box::new(file)), before))
    }

    /// Waits for the end of its time, or for a signal to end, and undoes the change unless somebody
    /// else has changed it further.
    async fn undo_after(
        &self,
        ttl: Duration,
        place: Place,
        change: Change,
        output: Format,
    ) -> anyhow::Result<Outcome> {
        let mut terminate = signal(SignalKind::terminate())?;
        if output == Format::Table {
            let period = humantime::format_duration(ttl);
            print::line(&format!("to be undone in {period}, or at once by Ctrl-C"))?;
        }
        tokio::select! {
            () = tokio::time::sleep(ttl) => {}
            interrupted = tokio::signal::ctrl_c() => interrupted?,
            _ = terminate.recv() => {}
        }
        let Change { name, before, after } = change;
        let (mut place, now) = match place {
            Place::File(file) => match TenantFile::read(file.path(), name)? {
                Ok(file) => {
                    let now = file.tenant(name)?;
                    (Place::File(Box::new(file)), now)
                }
                Err(report) => {
                    print::talk(report.to_string().trim_end());
                    return Ok(Outcome::No);
                }
            },
            Place::Registry { mut nodes, .. } => {
                let (node, now) = rules::tenant(&mut nodes, name).await?;
                (Place::Registry { nodes, node }, now)
            }
        };
        if now != after {
            print::talk(&format!("{name} was changed meanwhile: it is left as it is now"));
            return Ok(Outcome::No);
        }
        let undo = Change { name, before: now, after: before };
        let new_text = match &place {
            Place::File(file) => Some(undo.edited(file)?),
            Place::Registry { .. } => None,
        };
        place.write(&undo, new_text.as_deref()).await?;
        if output == Format::Table {
            print::line(&format!(
                "undone: {name} is {} again",
                InWords(name, undo.after.as_ref())
            ))?;
        }
        Ok(Outcome::Good)
    }
}

impl Change {
    fn edited(&self, file: &TenantFile) -> anyhow::Result<String> {
        file.edited(self.name, self.before.as_ref(), self.after.as_ref())
    }

    /// What changes, for people.
    fn describe(&self, place: &Place, new_text: Option<&str>) -> String {
        let Self { name, before, after } = self;
        let (shown, before) = (place.shown(), InWords(*name, before.as_ref()));
        if self.before == self.after {
            return format!("{name} in {shown}: {before}; nothing to change\n");
        }
        let after = InWords(*name, after.as_ref());
        let head = format!("{name} in {shown}: {before} → {after}\n");
        match (place, new_text) {
            (Place::File(file), Some(new)) => {
                format!("{head}\n{}\n", change::lines(file.text(), new))
            }
            _ => head,
        }
    }

    /// What changes, for programs.
    fn document(&self, place: &Place, written: bool) -> serde_json::Value {
        let Self { name, before, after } = self;
        let (file, registry) = match place {
            Place::File(file) => (Some(file.path().display().to_string()), None),
            Place::Registry { node, .. } => (None, Some(node)),
        };
        json!({
            "tenant": name, "file": file, "registry": registry,
            "before": before, "after": after, "changes": before != after, "written": written,
        })
    }
}

impl Place {
    fn shown(&self) -> String {
        match self {
            Self::File(file) => file.path().display().to_string(),
            Self::Registry { node, .. } => format!("the registry at {node}"),
        }
    }

    async fn write(&mut self, change: &Change, new_text: Option<&str>) -> anyhow::Result<()> {
        match self {
            Self::File(file) => file.replace(new_text.unwrap_or_default()),
            Self::Registry { nodes, node } => {
                *node = rules::write(nodes, change.name, change.after.as_ref()).await?;
                Ok(())
            }
        }
    }

    /// What is said once it is written.
    fn done(&self) -> String {
        match self {
            Self::File(_) => "changed: sidecars that run on this file take it up now".to_owned(),
            Self::Registry { node, .. } => format!("changed: {node} tells the sidecars now"),
        }
    }
}
