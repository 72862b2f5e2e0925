//! The file: its bytes as they were last judged, and what they say.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::app::StartError;
use crate::config::Config;
use crate::config::Parsed;

/// The largest file that is read, in bytes: one far beyond what a sidecar holds is a mistake.
const LARGEST_FILE: u64 = 64 << 20;

/// The file, and its bytes as they were last looked at.
pub(super) struct File {
    path: PathBuf,
    /// What was last judged; none if it could not be read.
    last: Option<Vec<u8>>,
}

impl File {
    /// Reads the file for the first time.
    pub(super) fn read_first(path: &Path) -> Result<(Self, Parsed), StartError> {
        let failed = |source| StartError::Read { file: path.to_owned(), source };
        let bytes = read(path).map_err(failed)?;
        let text = text(&bytes).map_err(failed)?;
        let parsed = parse(path, text).map_err(StartError::Config)?;
        Ok((Self { path: path.to_owned(), last: Some(bytes) }, parsed))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the file, and returns its bytes if they differ from those last judged.
    ///
    /// Bytes are compared, not times or inodes: right for a `ConfigMap` whose link is swapped, for a
    /// file edited in place, and for file systems that tell nobody.
    pub(super) fn changed(&mut self, force: bool) -> io::Result<Option<Vec<u8>>> {
        let bytes = match read(&self.path) {
            Ok(bytes) => bytes,
            Err(error) => {
                self.last = None;
                return Err(error);
            }
        };
        if !force && self.last.as_ref() == Some(&bytes) {
            return Ok(None);
        }
        self.last = Some(bytes.clone());
        Ok(Some(bytes))
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    if fs::metadata(path)?.len() > LARGEST_FILE {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "more than 64 MiB"));
    }
    fs::read(path)
}

pub(super) fn text(bytes: &[u8]) -> io::Result<&str> {
    std::str::from_utf8(bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

pub(super) fn parse(path: &Path, text: &str) -> Result<Parsed, crate::config::Report> {
    Config::parse(&path.display().to_string(), text, &|name| std::env::var(name).ok())
}
