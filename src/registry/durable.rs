//! What outlives the process: small files in one directory, each replaced whole.
//!
//! A file is written beside the one it replaces, forced to the disk, then given its name, and the
//! directory is forced to the disk too: whenever the power goes, there is the old file or the new
//! one. The first line says what the file is and what its content must hash to. A file that is torn,
//! or not ours, stops the node from starting; it is never taken for an empty one.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;
use sha1::{Digest as _, Sha1};

use crate::registry::record::{Id, first_128_bits};

/// How the first line begins.
const MAGIC: &str = "dyelane";
/// The version of the format.
const FORMAT: &str = "1";

/// Why something is not kept, or not known any more.
#[derive(Debug, thiserror::Error)]
pub enum DurableError {
    /// The file system says no.
    #[error("cannot {deed} {}", .path.display())]
    Io {
        /// What was tried.
        deed: &'static str,
        /// With which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is none of ours.
    #[error(
        "{} was not written by this program; move it away, or keep our files elsewhere",
        .0.display()
    )]
    Foreign(PathBuf),
    /// The file is ours, and not as we left it.
    #[error(
        "{} is damaged: its content is not what its first line says; restore it from a copy, or \
         move it away and let the other nodes tell what was in it",
        .0.display()
    )]
    Torn(PathBuf),
    /// The file is whole, and says what we do not understand.
    #[error("{} is of another version of this program", .path.display())]
    Unknown {
        /// Which file.
        path: PathBuf,
        /// What is not understood.
        source: serde_json::Error,
    },
}

/// A directory of our files.
#[derive(Debug, Clone)]
pub struct Directory(PathBuf);

impl Directory {
    /// Opens a directory; makes it if it is not there.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, DurableError> {
        let path = path.into();
        fs::create_dir_all(&path).map_err(failed("make the directory", &path))?;
        Ok(Self(path))
    }

    /// Returns where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Reads the file `name`; none if there is none.
    ///
    /// # Errors
    /// It cannot be read, or it is not what [`write`](Self::write) left.
    pub fn read<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, DurableError> {
        let path = self.0.join(name);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed("read", &path)(error)),
        };
        let end = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
        let (first, rest) = bytes.split_at(end);
        let content = rest.get(1..).unwrap_or_default();
        let first = String::from_utf8_lossy(first);
        let words: Vec<_> = first.split(' ').collect();
        let [MAGIC, kind, FORMAT, hash] = words.as_slice() else {
            // A file cut off within its first line is empty or all zeros, as a rule.
            let is_torn =
                bytes.iter().all(|byte| *byte == 0) || MAGIC.starts_with(words.concat().trim());
            let why = if is_torn { DurableError::Torn } else { DurableError::Foreign };
            return Err(why(path));
        };
        if *kind != name {
            return Err(DurableError::Foreign(path));
        }
        if hash.parse() != Ok(hash_of(content)) {
            return Err(DurableError::Torn(path));
        }
        let read = serde_json::from_slice(content);
        read.map(Some).map_err(|source| DurableError::Unknown { path, source })
    }

    /// Replaces the file `name`. On success it is on the disk, and will be after a loss of power.
    ///
    /// # Errors
    /// The file system says no; what was there before is there still.
    pub fn write<T: Serialize>(&self, name: &str, value: &T) -> Result<(), DurableError> {
        let (path, beside) = (self.0.join(name), self.0.join(format!("{name}.new")));
        let content = serde_json::to_vec_pretty(value)
            .map_err(|source| DurableError::Unknown { path: path.clone(), source })?;
        let first = format!("{MAGIC} {name} {FORMAT} {}\n", hash_of(&content));
        let written = File::create(&beside).and_then(|mut file| {
            file.write_all(first.as_bytes())?;
            file.write_all(&content)?;
            file.sync_all()
        });
        written.map_err(failed("write", &beside))?;
        fs::rename(&beside, &path).map_err(failed("rename to", &path))?;
        let directory = File::open(&self.0).and_then(|it| it.sync_all());
        directory.map_err(failed("force to the disk", &self.0))
    }
}

fn failed<'a>(deed: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> DurableError + 'a {
    move |source| DurableError::Io { deed, path: path.to_owned(), source }
}

fn hash_of(content: &[u8]) -> Id {
    Id(first_128_bits(&Sha1::digest(content)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory() -> (tempfile::TempDir, Directory) {
        let place = tempfile::tempdir().unwrap();
        let directory = Directory::open(place.path().join("deep/er")).unwrap();
        (place, directory)
    }

    fn read(directory: &Directory) -> Result<Option<Vec<u32>>, DurableError> {
        directory.read("rules")
    }

    #[test]
    fn what_is_written_is_read() {
        let (_place, directory) = directory();

        let before = read(&directory).unwrap();
        directory.write("rules", &vec![1, 2]).unwrap();
        directory.write("rules", &vec![3]).unwrap();

        assert_eq!(before, None);
        assert_eq!(read(&directory).unwrap(), Some(vec![3]));
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_cut_off_anywhere_is_refused() {
        let (_place, directory) = directory();
        directory.write("rules", &vec![1, 2, 3]).unwrap();
        let path = directory.path().join("rules");
        let whole = fs::read(&path).unwrap();

        for length in 0..whole.len() {
            fs::write(&path, &whole[..length]).unwrap();

            let refused = read(&directory);

            assert!(refused.is_err(), "{length}: {refused:?}");
        }
    }

    #[test]
    fn a_file_with_any_other_byte_is_refused() {
        let (_place, directory) = directory();
        directory.write("rules", &vec![1, 2, 3]).unwrap();
        let path = directory.path().join("rules");
        let whole = fs::read(&path).unwrap();

        for at in 0..whole.len() {
            let mut torn = whole.clone();
            torn[at] ^= 4;
            fs::write(&path, &torn).unwrap();

            assert!(read(&directory).is_err(), "{at}");
        }
    }

    #[test]
    fn a_file_says_why_it_is_refused() {
        let (_place, directory) = directory();
        let path = directory.path().join("rules");

        let mut said = Vec::new();
        for text in ["", "\0\0\0", "[1, 2, 3]\n", "dyelane rules 1 00\n[]"] {
            fs::write(&path, text).unwrap();
            said.push(read(&directory).unwrap_err().to_string());
        }
        directory.write("other", &vec![1]).unwrap();
        fs::rename(directory.path().join("other"), &path).unwrap();
        said.push(read(&directory).unwrap_err().to_string());

        let parts = ["damaged", "damaged", "not written by", "damaged", "not written by"];
        for (said, part) in said.iter().zip(parts) {
            assert!(said.contains(part), "{said} has no {part:?}");
        }
    }

    #[test]
    fn what_cannot_be_written_leaves_what_was() {
        let (_place, directory) = directory();
        directory.write("rules", &vec![1]).unwrap();
        fs::create_dir(directory.path().join("rules.new")).unwrap();

        let refused = directory.write("rules", &vec![2]);

        assert!(matches!(refused, Err(DurableError::Io { .. })));
        assert_eq!(read(&directory).unwrap(), Some(vec![1]));
    }
}
