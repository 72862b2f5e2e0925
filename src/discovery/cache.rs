//! What the sources said last, on disk: a start during an outage routes by it.
//!
//! ```text
//! dyelane-catalog 1 2fd4e1c67a2d28fced849ee1bb76e739     version; SHA-1 of the rest, 128 bits of it
//! {"registry":{"env":"prod","instances":[…],"rules":{…}},"eureka":{…}}
//! ```
//!
//! A file is written beside the last one, flushed to the disk and put in its place: whoever reads finds
//! one or the other. One that is damaged, or of another version, is as good as none.

use std::collections::BTreeMap;
use std::fs;
use std::fs::File;
use std::io;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha1::{Digest as _, Sha1};

use crate::config::{Discovery, RemoteRules};
use crate::discovery::known::Known;
use crate::discovery::rules::Rules;
use crate::discovery::said::{Instances, Said, add};
use crate::model::{Instance, Scheduler, ServiceName};
use crate::registry::record::{Id, first_128_bits};

/// What a file begins with.
const MAGIC: &str = "dyelane-catalog 1 ";
/// The largest file that is read, in bytes.
const LARGEST: u64 = 256 << 20;

/// Why there is nothing in a file.
#[derive(Debug, thiserror::Error)]
pub(super) enum CacheError {
    /// It cannot be read.
    #[error("it cannot be read")]
    Io(#[from] io::Error),
    /// It does not begin as a file of this version does.
    #[error("it is no catalog, or one of another version")]
    Version,
    /// It is not what was written.
    #[error("it is damaged")]
    Damaged,
    /// It says what makes no sense.
    #[error("it is damaged")]
    Content(#[from] serde_json::Error),
}

/// What a file holds.
#[derive(Default, Serialize, Deserialize)]
struct Kept {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    registry: Option<KeptRegistry>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    eureka: Option<KeptSource>,
}

#[derive(Serialize, Deserialize)]
struct KeptRegistry {
    env: Arc<str>,
    #[serde(flatten)]
    source: KeptSource,
    rules: RemoteRules,
}

#[derive(Serialize, Deserialize)]
struct KeptSource {
    instances: Vec<Arc<Instance>>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    schedulers: BTreeMap<Arc<str>, Scheduler>,
}

impl KeptSource {
    fn of(said: &Said) -> Self {
        let instances = said.services.values().flat_map(|it| it.values().cloned());
        let schedulers = said.schedulers.iter();
        let schedulers = schedulers.map(|(name, it)| (name.as_str().into(), it.clone()));
        Self { instances: instances.collect(), schedulers: schedulers.collect() }
    }

    fn said(self) -> Arc<Said> {
        let mut services = BTreeMap::<ServiceName, Instances>::new();
        for instance in self.instances {
            add(services.entry(instance.service.clone()).or_default(), instance);
        }
        let services = services.into_iter().map(|(name, it)| (name, Arc::new(it))).collect();
        let schedulers = self.schedulers.into_iter();
        let schedulers =
            schedulers.filter_map(|(name, it)| Some((ServiceName::new(&name).ok()?, it)));
        let schedulers = schedulers.collect();
        Arc::new(Said { services, schedulers, left_out: Vec::new() })
    }
}

/// Writes what is known into words.
fn encode(env: &Arc<str>, known: &Known) -> serde_json::Result<Vec<u8>> {
    let registry = known.registry.as_ref().map(|said| KeptRegistry {
        env: Arc::clone(env),
        source: KeptSource::of(said),
        rules: known.rules().cloned().unwrap_or_default(),
    });
    let eureka = known.eureka.as_ref().map(|said| KeptSource::of(said));
    let body = serde_json::to_vec(&Kept { registry, eureka })?;
    let mut bytes = format!("{MAGIC}{}\n", digest(&body)).into_bytes();
    bytes.extend(body);
    Ok(bytes)
}

fn digest(body: &[u8]) -> String {
    Id(first_128_bits(&Sha1::digest(body))).to_string()
}

/// Reads what was known, as far as `section` asks for it.
fn decode(bytes: &[u8], section: &Discovery) -> Result<Known, CacheError> {
    let rest = bytes.strip_prefix(MAGIC.as_bytes()).ok_or(CacheError::Version)?;
    let end = rest.iter().position(|it| *it == b'\n').ok_or(CacheError::Damaged)?;
    let (head, body) = (rest.get(..end), rest.get(end + 1..).unwrap_or_default());
    if head != Some(digest(body).as_bytes()) {
        return Err(CacheError::Damaged);
    }
    let Kept { registry, eureka } = serde_json::from_slice(body)?;
    let env = section.registry.as_ref().map(|it| &it.env);
    // Another environment is another world.
    let registry = registry.filter(|it| Some(&it.env) == env);
    let (registry, rules) = registry
        .map(|it| (it.source.said(), Arc::new(Rules { good: it.rules, bad: Vec::new() })))
        .unzip();
    let eureka = eureka.filter(|_| section.eureka.is_some()).map(KeptSource::said);
    Ok(Known { registry, rules, eureka }.limited(section))
}

/// Reads the file that `section` names, if there is one; says so if it is of no use.
pub fn load(section: &Discovery) -> Known {
    let Some(path) = &section.cache else { return Known::default() };
    match read(path).and_then(|bytes| decode(&bytes, section)) {
        Ok(known) => {
            let instances = known.catalog(&[]).len();
            tracing::info!(file = %path.display(), instances, "the last catalog counts for now");
            known
        }
        Err(CacheError::Io(error)) if error.kind() == io::ErrorKind::NotFound => Known::default(),
        Err(error) => {
            let (file, error): (_, &dyn std::error::Error) = (path.display(), &error);
            tracing::warn!(%file, error, "the last catalog is of no use and ignored");
            Known::default()
        }
    }
}

fn read(path: &Path) -> Result<Vec<u8>, CacheError> {
    if fs::metadata(path)?.len() > LARGEST {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "more than 256 MiB").into());
    }
    Ok(fs::read(path)?)
}

/// Puts what is known in the place of what the file has. Blocks as long as the disk does.
///
/// # Errors
/// It cannot be written; the file is as it was.
pub(super) fn save(path: &Path, env: &Arc<str>, known: &Known) -> io::Result<()> {
    let bytes = encode(env, known)?;
    let mut beside = path.as_os_str().to_owned();
    beside.push(".next");
    let beside = PathBuf::from(beside);
    let mut file = File::create(&beside)?;
    file.write_all(&bytes)?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    // The name is on the disk once its directory is.
    let directory = path.parent().filter(|it| !it.as_os_str().is_empty());
    File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::config::Tenant;
    use crate::model::{LaneName, Origin, TenantId};

    fn section(path: &Path, more: &str) -> Discovery {
        let file = format!(
            "[workload]\nservice = 'a.b'\n[outbound]\n[discovery]\ncache = '{}'\n
             [discovery.registry]\naddresses = ['r:1']\n{more}\n
             [discovery.eureka]\naddresses = ['http://e/eureka']",
            path.display()
        );
        Config::check("f", &file, &|_| None).unwrap().discovery
    }

    fn known() -> Known {
        let service = ServiceName::new("user.shop").unwrap();
        let address = "[fd00::1]:80".parse().unwrap();
        let instance = Instance {
            lane: Some(LaneName::new("red").unwrap()),
            origin: Origin::Registry,
            slot: Some(3),
            ..Instance::new(service.clone(), address)
        };
        let mut said = Said::default();
        let instances = Arc::new(Instances::from([(address, Arc::new(instance))]));
        said.add(&service, &instances);
        let weights = BTreeMap::from([("z1".into(), BTreeMap::from([("z2".into(), 7)]))]);
        said.schedulers.insert(service, Scheduler::new(weights));
        let mut rules = Rules::default();
        rules.good.tenants.insert(TenantId::new("alice").unwrap(), Tenant::default());
        let eureka = Some(Arc::new(Said::default()));
        Known { registry: Some(Arc::new(said)), rules: Some(Arc::new(rules)), eureka }
    }

    #[test]
    fn what_was_known_is_known_again() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("catalog");

        save(&path, &"prod".into(), &known()).unwrap();
        save(&path, &"prod".into(), &known()).unwrap();
        let again = load(&section(&path, ""));

        assert_eq!(again.catalog(&[]), known().catalog(&[]));
        assert_eq!(again.rules(), known().rules());
        assert!(again.eureka.is_some());
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1);
    }

    #[test]
    fn only_what_is_asked_for_now_counts() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("catalog");
        save(&path, &"prod".into(), &known()).unwrap();

        let other_env = load(&section(&path, "env = 'uat'"));
        let others = load(&section(&path, "services = ['*.mall']\nrules = false"));

        assert!(other_env.registry.is_none() && other_env.rules.is_none());
        assert!(other_env.eureka.is_some());
        assert!(others.registry.is_some() && others.rules.is_none());
        assert!(others.catalog(&[]).is_empty());
    }

    #[test]
    fn a_file_that_is_damaged_or_of_another_version_is_ignored() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("catalog");
        save(&path, &"prod".into(), &known()).unwrap();
        let good = fs::read(&path).unwrap();
        let flipped = |at: usize| {
            let mut bytes = good.clone();
            bytes[at] ^= 1;
            bytes
        };

        let damaged = (0..good.len()).step_by(7).map(flipped);
        let cut = (0..good.len()).step_by(11).map(|end| good[..end].to_vec());
        let other = good.clone().into_iter().map(|it| if it == b'1' { b'2' } else { it });

        for bytes in damaged.chain(cut).chain([other.collect()]) {
            fs::write(&path, bytes).unwrap();
            assert!(load(&section(&path, "")) == Known::default());
        }
    }
}
