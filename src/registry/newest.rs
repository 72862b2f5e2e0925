//! An answer that many are given and that changes all the time: whoever asks is given what was true
//! when he asked or later, and it is made as seldom as that allows.
//!
//! One at a time makes it. Who comes meanwhile waits, and of those who waited together one makes the
//! next, of the state there is by then: that is new enough for all of them. So a crowd costs two
//! makings, however fast the registry changes.

use std::sync::{Arc, Mutex as Locked, PoisonError};

use bytes::Bytes;
use tokio::sync::{Mutex, OnceCell};

use crate::registry::api::gzip::compressed;
use crate::registry::encoded::Encoded;

/// How new an answer is: the index of the last change in it, and a time, so that what changes by
/// itself is not told for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Age {
    /// The index of the last change.
    pub version: u64,
    /// The time, in steps of whatever it is to be renewed by.
    pub step: u64,
}

impl Age {
    fn is_enough(self, wanted: Self) -> bool {
        self.version >= wanted.version && self.step >= wanted.step
    }
}

/// An answer.
#[derive(Debug)]
pub struct Made {
    age: Age,
    instances: usize,
    plain: Bytes,
    gzip: OnceCell<Bytes>,
}

impl Made {
    /// Returns it as it is.
    pub fn plain(&self) -> Bytes {
        self.plain.clone()
    }

    /// Returns it compressed, which is done once.
    ///
    /// Cancel safe: who waits goes on with it if who began is gone.
    pub async fn gzip(&self, encoded: &Encoded) -> Bytes {
        let plain = self.plain.clone();
        let make = async || encoded.encode(self.instances, move || compressed(&plain)).await;
        self.gzip.get_or_init(make).await.clone()
    }
}

/// The newest of an answer.
#[derive(Debug, Default)]
pub struct Newest {
    made: Locked<Option<Arc<Made>>>,
    making: Mutex<()>,
}

impl Newest {
    /// Returns the answer if it is as new as wanted.
    pub fn ready(&self, wanted: Age) -> Option<Arc<Made>> {
        let made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        made.as_ref().filter(|it| it.age.is_enough(wanted)).cloned()
    }

    /// Returns an answer at least as new as wanted, which `make` makes if there is none: its age and
    /// its bytes, of one moment. `instances` is about how many it tells of. None: `make` panicked.
    ///
    /// Cancel safe: what is made is made anew if who made it is gone.
    pub async fn get<F>(
        &self,
        encoded: &Encoded,
        wanted: Age,
        instances: usize,
        make: F,
    ) -> Option<Arc<Made>>
    where
        F: FnOnce() -> (Age, Vec<u8>) + Send + 'static,
    {
        let _turn = self.making.lock().await;
        if let Some(made) = self.ready(wanted) {
            return Some(made);
        }
        let (age, plain) = encoded.run(instances, make).await?;
        let newest = Arc::new(Made { age, instances, plain: plain.into(), gzip: OnceCell::new() });
        *self.made.lock().unwrap_or_else(PoisonError::into_inner) = Some(newest.clone());
        Some(newest)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[tokio::test]
    async fn a_crowd_is_given_what_is_new_enough_and_costs_few_makings() {
        let (newest, encoded) = (Newest::default(), Encoded::default());
        let (version, makings) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));

        let ask = async || {
            // Everybody comes after one more change.
            let wanted = Age { version: version.fetch_add(1, Ordering::Relaxed) + 1, step: 0 };
            let (now, count) = (version.clone(), makings.clone());
            let make = move || {
                count.fetch_add(1, Ordering::Relaxed);
                let version = now.load(Ordering::Relaxed);
                (Age { version, step: 0 }, version.to_string().into_bytes())
            };
            let made = newest.get(&encoded, wanted, 1_000_000, make).await.unwrap();
            let told: u64 = String::from_utf8(made.plain().to_vec()).unwrap().parse().unwrap();
            told >= wanted.version
        };
        let crowd = (0..8).map(|_| async { tokio::join!(ask(), ask(), ask(), ask()) });
        let told = futures_of(crowd).await;

        assert!(told.into_iter().all(|it| it == (true, true, true, true)));
        assert!(makings.load(Ordering::Relaxed) <= 3, "{makings:?}");
    }

    /// Drives all at once.
    async fn futures_of<T>(all: impl Iterator<Item = impl Future<Output = T>>) -> Vec<T> {
        let mut pending: Vec<_> = all.map(|it| Some(Box::pin(it))).collect();
        let mut done = Vec::new();
        std::future::poll_fn(|context| {
            for slot in &mut pending {
                if let Some(future) = slot
                    && let std::task::Poll::Ready(value) = future.as_mut().poll(context)
                {
                    done.push(value);
                    *slot = None;
                }
            }
            let is_done = pending.iter().all(Option::is_none);
            if is_done { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
        })
        .await;
        done
    }

    #[tokio::test]
    async fn an_answer_is_compressed_once() {
        let (newest, encoded) = (Newest::default(), Encoded::default());
        let make = || (Age::default(), b"aaaa".repeat(1000));

        let made = newest.get(&encoded, Age::default(), 1, make).await.unwrap();
        let (one, other) = tokio::join!(made.gzip(&encoded), made.gzip(&encoded));

        assert_eq!(one.as_ptr(), other.as_ptr());
        assert!(one.len() < made.plain().len());
        assert!(newest.ready(Age { version: 1, step: 0 }).is_none());
    }
}
