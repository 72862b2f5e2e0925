//! One copy of each name that many records share.
//!
//! A hundred thousand records name a handful of environments, zones and metadata keys and some
//! thousand services. Each name is kept once, and dropped when nobody uses it any more.

use std::sync::Arc;

use hashbrown::HashSet;

use crate::registry::record::{Key, Registration};

/// The names in use.
#[derive(Debug, Default)]
pub(super) struct Names(HashSet<Arc<str>>);

impl Names {
    /// Replaces the parts of a key that records share by the one copy of each.
    pub(super) fn share_key(&mut self, key: &mut Key) {
        for part in [&mut key.env, &mut key.appid, &mut key.zone] {
            self.share(part);
        }
    }

    /// Replaces what registrations share by the one copy of each: region, version and the keys of
    /// the metadata; of what Eureka knows, names of services and places. Values are each instance's
    /// own.
    pub(super) fn share_registration(&mut self, registration: &mut Registration) {
        self.share(&mut registration.region);
        self.share(&mut registration.version);
        let metadata = std::mem::take(&mut registration.metadata);
        registration.metadata = metadata
            .into_iter()
            .map(|(mut key, value)| {
                self.share(&mut key);
                (key, value)
            })
            .collect();
        let part = registration.eureka.iter_mut();
        part.flat_map(|it| it.shared_texts()).for_each(|text| self.share(text));
    }

    fn share(&mut self, name: &mut Arc<str>) {
        match self.0.get(name) {
            Some(known) => *name = known.clone(),
            None => {
                self.0.insert(name.clone());
            }
        }
    }

    /// Drops the names that nobody else holds.
    pub(super) fn sweep(&mut self) {
        self.0.retain(|name| Arc::strong_count(name) > 1);
    }
}
