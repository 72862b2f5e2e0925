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

    /// Forgets the answer if it is older than a time: nobody has asked for long.
    pub fn forget_before(&self, step: u64) {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if made.as_ref().is_some_and(|it| it.age.step < step) {
            *made = None;
        }
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
    use std::sync::mpsc;

    use tokio::sync::oneshot;
    use tokio::task::{JoinSet, yield_now};

    use super::*;

    #[tokio::test]
    async fn a_crowd_is_given_what_is_new_enough_and_costs_two_makings() {
        let (newest, encoded) = (Arc::new(Newest::default()), Arc::new(Encoded::default()));
        let (version, makings) = (Arc::new(AtomicU64::new(1)), Arc::new(AtomicU64::new(0)));
        let mut crowd = JoinSet::new();
        let mut come = |wanted: u64, make: Box<dyn FnOnce() -> u64 + Send>| {
            let (newest, encoded, makings) = (newest.clone(), encoded.clone(), makings.clone());
            crowd.spawn(async move {
                let encode = move || {
                    makings.fetch_add(1, Ordering::Relaxed);
                    let version = make();
                    (Age { version, step: 0 }, version.to_string().into_bytes())
                };
                let age = Age { version: wanted, step: 0 };
                let made = newest.get(&encoded, age, usize::MAX, encode).await.unwrap();
                (wanted, String::from_utf8(made.plain().to_vec()).unwrap().parse().unwrap())
            });
        };
        let (begins, has_begun) = oneshot::channel();
        let (finishes, has_finished) = mpsc::channel();

        let first = version.clone();
        come(
            1,
            Box::new(move || {
                let version = first.load(Ordering::Relaxed);
                begins.send(()).unwrap();
                has_finished.recv().unwrap();
                version
            }),
        );
        has_begun.await.unwrap();
        for _ in 1..32 {
            // Everybody comes after one more change, while the first is still made.
            let wanted = version.fetch_add(1, Ordering::Relaxed) + 1;
            let version = version.clone();
            come(wanted, Box::new(move || version.load(Ordering::Relaxed)));
        }
        yield_now().await;
        finishes.send(()).unwrap();

        let told: Vec<(u64, u64)> = crowd.join_all().await;
        assert!(told.iter().all(|(wanted, told)| told >= wanted), "{told:?}");
        assert_eq!(makings.load(Ordering::Relaxed), 2);
    }

    #[tokio::test]
    async fn an_answer_is_compressed_once() {
        let (newest, encoded) = (Newest::default(), Encoded::default());
        let encode = || (Age::default(), b"aaaa".repeat(1000));

        let made = newest.get(&encoded, Age::default(), 1, encode).await.unwrap();
        let (one, other) = tokio::join!(made.gzip(&encoded), made.gzip(&encoded));

        assert_eq!(one.as_ptr(), other.as_ptr());
        assert!(one.len() < made.plain().len());
        assert!(newest.ready(Age { version: 1, step: 0 }).is_none());
        newest.forget_before(0);
        assert!(newest.ready(Age::default()).is_some());
        newest.forget_before(1);
        assert!(newest.ready(Age::default()).is_none());
    }
}
