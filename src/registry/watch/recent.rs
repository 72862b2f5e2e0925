//! What changed on this node, in the order in which it did: the last 65,536 changes.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::registry::record::Record;
use crate::registry::store::ServiceKey;

/// Changes that are remembered. Who was away for more is told everything.
const MOST: usize = 1 << 16;

/// One change.
#[derive(Debug, Clone)]
pub enum News {
    /// An instance came, changed or went.
    Instance(Arc<Record>),
    /// How requests to a service are spread over zones changed.
    Spread(ServiceKey),
}

impl News {
    /// Returns whose it is: environment and service.
    pub fn of(&self) -> (&Arc<str>, &Arc<str>) {
        match self {
            Self::Instance(record) => (&record.key.env, &record.key.appid),
            Self::Spread(topic) => (&topic.env, &topic.appid),
        }
    }
}

/// The last changes of a node.
#[derive(Debug)]
pub struct Recent {
    /// How many changes there were before those kept.
    forgotten: u64,
    kept: VecDeque<News>,
}

impl Default for Recent {
    /// Nothing has changed; but nobody's first index, which is 0, is ours.
    fn default() -> Self {
        Self { forgotten: 1, kept: VecDeque::new() }
    }
}

impl Recent {
    /// Adds a change.
    pub fn push(&mut self, news: News) {
        if self.kept.len() == MOST {
            self.kept.pop_front();
            self.forgotten += 1;
        }
        self.kept.push_back(news);
    }

    /// Returns how many changes there were: where a watcher is who knows all.
    pub fn index(&self) -> u64 {
        self.forgotten + self.kept.len() as u64
    }

    /// Returns what changed since a watcher was at `index`; none if that is no longer known, or was
    /// never so.
    pub fn since(&self, index: u64) -> Option<impl Iterator<Item = &News>> {
        let known = usize::try_from(index.checked_sub(self.forgotten)?).ok()?;
        (known <= self.kept.len()).then(|| self.kept.range(known..))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn news(number: usize) -> News {
        News::Spread(ServiceKey { env: "prod".into(), appid: number.to_string().into() })
    }

    fn since(recent: &Recent, index: u64) -> Option<Vec<String>> {
        Some(recent.since(index)?.map(|it| it.of().1.to_string()).collect())
    }

    #[test]
    fn a_watcher_is_told_what_it_missed() {
        let mut recent = Recent::default();
        let first = recent.index();

        recent.push(news(1));
        let second = recent.index();
        recent.push(news(2));

        assert!(first > 0);
        assert_eq!(since(&recent, first).unwrap(), ["1", "2"]);
        assert_eq!(since(&recent, second).unwrap(), ["2"]);
        assert_eq!(since(&recent, recent.index()).unwrap(), [""; 0]);
        assert_eq!(since(&recent, recent.index() + 1), None);
        assert_eq!(since(&recent, 0), None);
    }

    #[test]
    fn what_is_long_ago_is_forgotten() {
        let mut recent = Recent::default();
        let first = recent.index();

        for number in 0..=MOST {
            recent.push(news(number));
        }

        assert_eq!(since(&recent, first), None);
        assert_eq!(since(&recent, first + 1).unwrap().len(), MOST);
    }
}
