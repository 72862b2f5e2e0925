//! Makes one world after the other, of what the file and the sources say.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::config::{Config, Underlay};
use crate::discovery::Known;
use crate::model::Catalog;
use crate::proxy::{Shared, World};

/// The least time between two worlds that sources give cause for. The first change after a quiet time
/// counts at once.
const PACE: Duration = Duration::from_millis(50);

/// What the world in force is made of.
pub(super) struct Worlds {
    shared: Arc<Shared>,
    /// As the file has it, without what a registry says.
    file: Arc<Config>,
    known: Known,
    underlay: Underlay,
    /// When the last world was made.
    made: Option<Instant>,
    /// When the next one is to be.
    due: Option<Instant>,
    /// Worlds that requests may hold still: freeing one is work that no request should do.
    past: Vec<Arc<World>>,
}

/// What a file and the sources say together.
pub(super) fn together(file: &Config, known: &Known) -> (Config, Catalog, Underlay) {
    let mut config = file.clone();
    let underlay = known.rules().map(|rules| config.lay_over(rules)).unwrap_or_default();
    let catalog = known.catalog(&file.instances);
    (config, catalog, underlay)
}

impl Worlds {
    /// Goes on from the world in force, which was made of these.
    pub(super) fn new(
        shared: Arc<Shared>,
        file: Arc<Config>,
        known: Known,
        underlay: Underlay,
    ) -> Self {
        let worlds =
            Self { shared, file, known, underlay, made: None, due: None, past: Vec::new() };
        worlds.measure(&worlds.shared.world.snapshot());
        worlds
    }

    /// Returns what the file says, without what a registry says.
    pub(super) fn file(&self) -> &Arc<Config> {
        &self.file
    }

    /// Returns what became of the rules of a registry.
    pub(super) fn underlay(&self) -> &Underlay {
        &self.underlay
    }

    /// Returns what the sources say.
    pub(super) fn known(&self) -> &Known {
        &self.known
    }

    /// The file and the sources say this: from the next request on it counts. Returns the generation
    /// in force.
    pub(super) fn take_file(&mut self, file: Config, known: Known) -> u64 {
        self.file = Arc::new(file);
        self.known = known;
        self.make()
    }

    /// The sources say this: it counts at once, or very soon where much happens. Returns whether
    /// another world is in force.
    pub(super) fn take_known(&mut self, known: Known) -> bool {
        if self.known == known {
            return false;
        }
        self.known = known;
        let now = Instant::now();
        let at = self.made.map_or(now, |made| (made + PACE).max(now));
        let due = *self.due.get_or_insert(at);
        if due > now {
            return false;
        }
        self.make();
        true
    }

    /// Waits until a world is due.
    ///
    /// Cancel safe.
    pub(super) async fn due(&self) {
        match self.due {
            Some(at) => sleep_until(at).await,
            None => std::future::pending().await,
        }
    }

    /// Makes the next world, if it is another one; returns the generation in force.
    pub(super) fn make(&mut self) -> u64 {
        self.due = None;
        let old = self.shared.world.snapshot();
        let (config, catalog, underlay) = together(&self.file, &self.known);
        self.underlay = underlay;
        let is_other_config = config != *old.config;
        if !is_other_config && catalog == *old.catalog {
            return old.generation;
        }
        // What is the same is shared with what requests hold.
        let config = if is_other_config { Arc::new(config) } else { old.config.clone() };
        let next = old.next(config, Arc::new(catalog));
        let generation = next.generation;
        self.measure(&next);
        self.shared.world.publish(next);
        self.shared.metrics.set_generation(generation);
        self.shared.generation.send_replace(generation);
        self.made = Some(Instant::now());
        self.past.push(old);
        self.sweep();
        generation
    }

    /// Frees worlds that no request holds any more.
    pub(super) fn sweep(&mut self) {
        self.past.retain(|it| Arc::strong_count(it) > 1);
    }

    fn measure(&self, world: &World) {
        let services = world.catalog.services().count();
        self.shared.metrics.set_catalog(services, world.catalog.len());
        self.shared.metrics.set_remote_rules(self.underlay.taken.len());
    }
}
