//! How requests to a service are spread over zones: what files say, and what clients are told.
//!
//! ```text
//! {"app_id": "shop.order", "env": "prod", "remark": "move to zone-b",
//!  "clients": {"zone-a": {"zones": {"zone-a": {"weight": 10}, "zone-b": {"weight": 90}}}}}
//! ```
//!
//! Read as it stands, `zone-a`'s callers send nine of ten requests to `zone-b`. A file that cannot be
//! read leaves in force what it last said.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::registry::store::ServiceKey;

/// Files a directory has at most.
const MOST_FILES: usize = 10_000;
/// Longest file, in bytes.
const LONGEST: u64 = 1 << 20;

/// How callers of each zone spread their requests.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Scheduler {
    /// By the zone callers are in.
    pub clients: BTreeMap<Arc<str>, Destinations>,
    /// What the operator noted.
    #[serde(default)]
    pub remark: Arc<str>,
}

/// Where requests of one zone go.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Destinations {
    /// By the zone they go to.
    pub zones: BTreeMap<Arc<str>, Weight>,
}

/// How many of them go there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Weight {
    /// In proportion to the other zones.
    pub weight: u32,
}

impl Scheduler {
    /// Returns it as `from zone → to zone → weight`.
    pub fn weights(&self) -> BTreeMap<Arc<str>, BTreeMap<Arc<str>, u32>> {
        let of = |to: &Destinations| {
            to.zones.iter().map(|(zone, it)| (Arc::clone(zone), it.weight)).collect()
        };
        self.clients.iter().map(|(zone, to)| (Arc::clone(zone), of(to))).collect()
    }
}

/// What a file says.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Said {
    app_id: Arc<str>,
    env: Arc<str>,
    #[serde(flatten)]
    scheduler: Scheduler,
}

/// Why a file says nothing.
#[derive(Debug, thiserror::Error)]
pub enum SchedulerError {
    /// It cannot be read.
    #[error("cannot read it")]
    Io(#[from] io::Error),
    /// It is no scheduler.
    #[error("it is no JSON of `app_id`, `env` and `clients`")]
    Content(#[from] serde_json::Error),
    /// It is too long to be one.
    #[error("it is longer than {LONGEST} bytes")]
    TooLong,
}

/// A scheduler in force, or that one was.
#[derive(Debug, Clone)]
pub struct InForce {
    /// What is told; none: nothing any more.
    pub scheduler: Option<Arc<Scheduler>>,
    /// The index of its coming into force among those of the store; 0: not yet given.
    pub since: u64,
}

/// All that is said of spreading.
#[derive(Debug, Clone, Default)]
pub struct Schedulers {
    by_topic: BTreeMap<ServiceKey, InForce>,
    /// What each file last said, and the state of the file then.
    files: BTreeMap<String, (Stamp, Option<Said>)>,
}

/// What changes when a file does.
type Stamp = (Option<SystemTime>, u64);

impl Schedulers {
    /// Returns what is, or was, said of a service.
    pub fn of(&self, env: &Arc<str>, appid: &Arc<str>) -> Option<&InForce> {
        if self.by_topic.is_empty() {
            return None;
        }
        self.by_topic.get(&ServiceKey { env: Arc::clone(env), appid: Arc::clone(appid) })
    }

    /// Returns how many services something is said of.
    pub fn len(&self) -> usize {
        self.by_topic.values().filter(|it| it.scheduler.is_some()).count()
    }

    /// Returns whether nothing is said.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Reads the files of a directory that changed, and returns what is said now and of which
    /// services something else than before: these are to be [dated](Self::date). Blocks as long as
    /// the disk does.
    ///
    /// # Errors
    /// The directory cannot be listed: nothing has changed then.
    pub fn next(&self, directory: &Path) -> io::Result<(Self, Vec<ServiceKey>)> {
        let mut files = BTreeMap::new();
        for entry in fs::read_dir(directory)?.take(MOST_FILES) {
            let path = entry?.path();
            let Some(name) = path.file_name().and_then(|it| it.to_str()) else { continue };
            if name.starts_with('.') || Path::new(name).extension().is_none_or(|it| it != "json") {
                continue;
            }
            files.insert(name.to_owned(), self.read(name, &path));
        }
        let mut said = BTreeMap::new();
        for (file, (_, content)) in &files {
            let Some(content) = content else { continue };
            let topic = ServiceKey { env: content.env.clone(), appid: content.app_id.clone() };
            if said.insert(topic, &content.scheduler).is_some() {
                tracing::warn!(file, "a scheduler of the same service is in another file too");
            }
        }
        let mut by_topic = self.by_topic.clone();
        let mut changed = Vec::new();
        let before: Vec<_> = self.by_topic.keys().filter(|it| !said.contains_key(it)).collect();
        let gone = before.into_iter().map(|topic| (topic.clone(), None));
        let there = said.iter().map(|(topic, it)| (topic.clone(), Some(Arc::new((*it).clone()))));
        for (topic, scheduler) in there.chain(gone) {
            if self.by_topic.get(&topic).and_then(|it| it.scheduler.as_ref()) != scheduler.as_ref()
            {
                by_topic.insert(topic.clone(), InForce { scheduler, since: 0 });
                changed.push(topic);
            }
        }
        Ok((Self { by_topic, files }, changed))
    }

    /// Says since when what is said of these services counts. It is for whoever puts it in force: a
    /// time taken before the files were read may be before a change that clients know already, and
    /// they would not see this one.
    pub fn date(&mut self, changed: &[ServiceKey], since: u64) {
        for topic in changed {
            if let Some(in_force) = self.by_topic.get_mut(topic) {
                in_force.since = since;
            }
        }
    }

    /// Reads one file, if it is another one than before.
    fn read(&self, name: &str, path: &Path) -> (Stamp, Option<Said>) {
        let stamp = fs::metadata(path).map_or((None, 0), |it| (it.modified().ok(), it.len()));
        let before = self.files.get(name);
        if let Some((then, said)) = before
            && *then == stamp
        {
            return (stamp, said.clone());
        }
        let said = parsed(path, stamp.1).inspect_err(|error| {
            let cause = std::error::Error::source(error).map(ToString::to_string);
            tracing::error!(file = name, %error, cause, "a scheduler stays as it was");
        });
        (stamp, said.ok().or_else(|| before.and_then(|(_, said)| said.clone())))
    }
}

fn parsed(path: &Path, length: u64) -> Result<Said, SchedulerError> {
    if length > LONGEST {
        return Err(SchedulerError::TooLong);
    }
    Ok(serde_json::from_slice(&fs::read(path)?)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"{"app_id":"a","env":"prod","remark":"x",
        "clients":{"z1":{"zones":{"z1":{"weight":10},"z2":{"weight":90}}}}}"#;

    fn write(place: &tempfile::TempDir, name: &str, text: &str) {
        fs::write(place.path().join(name), text).unwrap();
    }

    fn topic() -> ServiceKey {
        ServiceKey { env: "prod".into(), appid: "a".into() }
    }

    fn of(schedulers: &Schedulers) -> Option<&InForce> {
        schedulers.of(&topic().env, &topic().appid)
    }

    #[test]
    fn files_say_how_requests_are_spread() {
        let place = tempfile::tempdir().unwrap();
        write(&place, "a.json", FILE);
        write(&place, "notes.txt", "nothing");
        write(&place, ".hidden.json", "nothing");

        let (first, changed) = Schedulers::default().next(place.path()).unwrap();
        let mut dated = first;
        dated.date(&changed, 7);
        let (second, again) = dated.next(place.path()).unwrap();

        assert_eq!((changed, again), (vec![topic()], vec![]));
        let in_force = of(&second).unwrap();
        assert_eq!(in_force.since, 7);
        let weights = in_force.scheduler.as_ref().unwrap().weights();
        assert_eq!(weights["z1"]["z2"], 90);
    }

    #[test]
    fn a_file_that_becomes_wrong_changes_nothing() {
        let place = tempfile::tempdir().unwrap();
        write(&place, "a.json", FILE);
        let (first, _) = Schedulers::default().next(place.path()).unwrap();

        for wrong in ["", "{}", "[]", r#"{"app_id":"a","env":"prod","clients":7}"#] {
            write(&place, "a.json", wrong);

            let (next, changed) = first.next(place.path()).unwrap();

            assert_eq!((changed, next.len()), (vec![], 1), "{wrong}");
        }
    }

    #[test]
    fn a_file_that_goes_is_told() {
        let place = tempfile::tempdir().unwrap();
        write(&place, "a.json", FILE);
        let (first, _) = Schedulers::default().next(place.path()).unwrap();
        fs::remove_file(place.path().join("a.json")).unwrap();

        let (second, changed) = first.next(place.path()).unwrap();

        assert_eq!(changed, [topic()]);
        let in_force = of(&second).unwrap();
        assert!(in_force.scheduler.is_none());
        assert!(first.next(&place.path().join("none")).is_err());
    }
}
