//! A `sidecar.toml` as the place where a tenant is flipped.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};

use crate::cli::flip::edit::edit;
use crate::config::{Config, Entry, Parsed, Report, Tenant};
use crate::model::TenantId;

/// Opened only if nobody has it yet, and at first for its owner alone.
const NEW: u32 = 0o600;

/// A file, as it was read.
pub(super) struct TenantFile {
    /// As it was named to us.
    path: PathBuf,
    text: String,
    config: Option<Config>,
}

impl TenantFile {
    /// Reads the file, which a sidecar must be able to take up, what it says of `tenant` included.
    ///
    /// The outer error: it cannot be read at all. The inner one: what is wrong with what it says.
    /// Variables that are set where the sidecar runs, and not here, are nothing wrong.
    pub(super) fn read(path: &Path, tenant: TenantId) -> anyhow::Result<Result<Self, Report>> {
        let name = path.display().to_string();
        let text = fs::read(path).with_context(|| format!("cannot read {name}"))?;
        let text = String::from_utf8(text).with_context(|| format!("{name} is no UTF-8 text"))?;
        let config = match parse(&name, &text) {
            Ok(Parsed { config, quarantined }) => {
                let own = Entry::Tenant(tenant.to_string());
                if let Some(wrong) = quarantined.into_iter().find(|it| it.entry == own) {
                    return Ok(Err(wrong.report));
                }
                Some(config)
            }
            Err(report) if report.is_of_unset_variables() => None,
            Err(report) => return Ok(Err(report)),
        };
        Ok(Ok(Self { path: path.to_owned(), text, config }))
    }

    /// Returns what it says of a tenant; none if nothing.
    pub(super) fn tenant(&self, name: TenantId) -> anyhow::Result<Option<Tenant>> {
        match &self.config {
            Some(config) => Ok(config.tenants.get(&name).cloned()),
            None => tenant_alone(&self.text, name),
        }
    }

    /// Returns the text it would have with `after` in place of `before`.
    ///
    /// # Errors
    /// The edit would not say what it should, or something else as well: an entry that is written in
    /// a way we do not foresee.
    pub(super) fn edited(
        &self,
        name: TenantId,
        before: Option<&Tenant>,
        after: Option<&Tenant>,
    ) -> anyhow::Result<String> {
        let shown = self.path.display();
        let new = edit(&self.text, name, before, after).with_context(|| shown.to_string())?;
        let by_hand = || format!("cannot edit [tenants.{name}] of {shown}: do it by hand");
        match &self.config {
            Some(config) => {
                let mut expected = config.clone();
                match after {
                    Some(after) => drop(expected.tenants.insert(name, after.clone())),
                    None => drop(expected.tenants.remove(&name)),
                }
                let parsed = parse(&shown.to_string(), &new).with_context(by_hand)?;
                ensure!(parsed.config == expected, by_hand());
            }
            None => ensure!(tenant_alone(&new, name)?.as_ref() == after, by_hand()),
        }
        Ok(new)
    }

    /// Replaces the file by `new`, whole or not at all, unless somebody else has changed it since.
    /// Links are followed; owner and permissions stay.
    pub(super) fn replace(&self, new: &str) -> anyhow::Result<()> {
        let shown = self.path.display();
        let real = fs::canonicalize(&self.path).with_context(|| format!("cannot find {shown}"))?;
        if fs::read(&real).with_context(|| format!("cannot read {shown}"))? != self.text.as_bytes()
        {
            bail!("{shown} was changed meanwhile: nothing is written");
        }
        replace(&real, new).with_context(|| format!("cannot replace {shown}"))
    }

    /// Returns how it was named to us.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns what it says, in its own words.
    pub(super) fn text(&self) -> &str {
        &self.text
    }
}

fn parse(name: &str, text: &str) -> Result<Parsed, Report> {
    Config::parse(name, text, &|variable| std::env::var(variable).ok())
}

/// Reads what `text` says of one tenant, whatever else is wrong with it.
fn tenant_alone(text: &str, name: TenantId) -> anyhow::Result<Option<Tenant>> {
    let document: toml_edit::DocumentMut = text.parse()?;
    let Some(entry) = document.get("tenants").and_then(|it| it.get(name.as_str())) else {
        return Ok(None);
    };
    let entry = entry.clone().into_value().map_err(|_| anyhow::anyhow!("no table"))?;
    let alone = format!(
        "tenants.\"{name}\" = {}\n[workload]\nservice = \"x\"\n[outbound]\n",
        entry.decorated("", "")
    );
    let parsed = parse("tenant", &alone).with_context(|| format!("[tenants.{name}] is wrong"))?;
    Ok(parsed.config.tenants.get(&name).cloned())
}

/// Writes `text` beside `path` and renames it over it: a reader sees the old file or the new one.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    };
    let old = fs::metadata(path)?;
    let beside = directory.join(format!(".{}.{:08x}", name.to_string_lossy(), fastrand::u32(..)));
    let file = OpenOptions::new().write(true).create_new(true).mode(NEW).open(&beside)?;
    let written = write(&file, text, &old).and_then(|()| fs::rename(&beside, path));
    if written.is_err() {
        let _ = fs::remove_file(&beside);
    }
    written?;
    // What was renamed is there after a crash, too, once the directory says so.
    File::open(directory)?.sync_all()
}

fn write(mut file: &File, text: &str, old: &fs::Metadata) -> io::Result<()> {
    file.write_all(text.as_bytes())?;
    let new = file.metadata()?;
    if (new.uid(), new.gid()) != (old.uid(), old.gid()) {
        // Only a privileged user may give a file away; the group matters to readers.
        fchown(file, None, Some(old.gid()))?;
        let _ = fchown(file, Some(old.uid()), None);
    }
    file.set_permissions(fs::Permissions::from_mode(old.permissions().mode() & 0o7777))?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    const FILE: &str = "[workload]\nservice = \"${NO_SUCH_NAME}\"\n[outbound]\n";

    fn alice() -> TenantId {
        TenantId::new("alice").unwrap()
    }

    #[test]
    fn a_file_whose_variables_are_set_elsewhere_is_edited() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("sidecar.toml");
        fs::write(&path, format!("{FILE}[tenants.alice]\nstrict = true\n")).unwrap();
        let file =
            TenantFile::read(&path, alice()).unwrap().unwrap_or_else(|report| panic!("{report}"));

        let before = file.tenant(alice()).unwrap().unwrap();
        let after = Tenant { disabled: true, ..before.clone() };
        let new = file.edited(alice(), Some(&before), Some(&after)).unwrap();
        file.replace(&new).unwrap();

        assert!(before.strict);
        let written = fs::read_to_string(&path).unwrap();
        assert_eq!(written, format!("{FILE}[tenants.alice]\nstrict = true\nenabled = false\n"));
    }

    #[test]
    fn a_link_stays_a_link_and_permissions_stay() {
        let directory = tempfile::tempdir().unwrap();
        let (real, link) = (directory.path().join("real.toml"), directory.path().join("link.toml"));
        fs::write(&real, FILE).unwrap();
        fs::set_permissions(&real, fs::Permissions::from_mode(0o640)).unwrap();
        symlink("real.toml", &link).unwrap();
        let file =
            TenantFile::read(&link, alice()).unwrap().unwrap_or_else(|report| panic!("{report}"));

        file.replace("new").unwrap();

        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_to_string(&real).unwrap(), "new");
        assert_eq!(fs::metadata(&real).unwrap().permissions().mode() & 0o777, 0o640);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_file_that_somebody_else_changed_is_not_overwritten() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("sidecar.toml");
        fs::write(&path, FILE).unwrap();
        let file =
            TenantFile::read(&path, alice()).unwrap().unwrap_or_else(|report| panic!("{report}"));
        fs::write(&path, "theirs").unwrap();

        let refused = file.replace("ours").unwrap_err().to_string();

        assert!(refused.contains("was changed meanwhile"), "{refused}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "theirs");
    }
}
