//! Answers that many are given: encoded once, and shared as bytes.
//!
//! Whoever asks first encodes; who asks meanwhile waits for that. Large answers are encoded on
//! threads of their own, a few at a time, so that heartbeats never wait behind them.

use std::collections::HashMap;
use std::mem;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::sync::{OnceCell, Semaphore};

use crate::registry::api::gzip;
use crate::registry::fingerprint::Fingerprint;

/// Answers one generation holds before the one before it is forgotten.
const MOST_ANSWERS: usize = 1024;
/// Bytes one generation holds before the one before it is forgotten.
const MOST_BYTES: usize = 32 << 20;
/// Instances from which on an answer is large: encoding so many takes about a millisecond.
const LARGE: usize = 512;
/// Large answers that are encoded at a time: one, so that a core is left for all the rest.
const AT_A_TIME: usize = 1;

/// The bytes of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Body {
    /// As they are sent.
    pub bytes: Bytes,
    /// Whether they are compressed.
    pub is_gzip: bool,
}

type Cell = Arc<OnceCell<Bytes>>;

/// Encoded answers, by the fingerprint of what they say.
#[derive(Debug)]
pub struct Encoded {
    generations: Mutex<Generations>,
    large: Semaphore,
}

#[derive(Debug, Default)]
struct Generations {
    young: HashMap<u128, Cell>,
    young_bytes: usize,
    old: HashMap<u128, Cell>,
}

impl Generations {
    fn cell(&mut self, of: u128) -> Cell {
        if let Some(cell) = self.young.get(&of) {
            return Arc::clone(cell);
        }
        let cell = self.old.remove(&of).unwrap_or_default();
        let bytes = cell.get().map_or(0, Bytes::len);
        self.make_room(bytes);
        self.young.insert(of, Arc::clone(&cell));
        cell
    }

    fn make_room(&mut self, bytes: usize) {
        if self.young.len() >= MOST_ANSWERS || self.young_bytes + bytes > MOST_BYTES {
            self.old = mem::take(&mut self.young);
            self.young_bytes = 0;
        }
        self.young_bytes += bytes;
    }
}

impl Default for Encoded {
    fn default() -> Self {
        Self { generations: Mutex::default(), large: Semaphore::new(AT_A_TIME) }
    }
}

impl Encoded {
    /// Returns the bytes of the answer `of`, which `encode` makes if nobody has made them before;
    /// `instances` is how many it tells of.
    ///
    /// Cancel safe: who waits goes on with the encoding if who began it is gone.
    pub async fn get<F>(&self, of: u128, instances: usize, encode: F) -> Bytes
    where
        F: FnOnce() -> Vec<u8> + Send + 'static,
    {
        let cell = self.generations().cell(of);
        let made = cell.get_or_init(async || {
            let bytes = self.encode(instances, encode).await;
            self.generations().make_room(bytes.len());
            bytes
        });
        made.await.clone()
    }

    /// Returns what [`get`](Self::get) does; compressed, once for all who take that, if it is long
    /// enough to be worth it.
    ///
    /// Cancel safe, as that is.
    pub async fn get_body<F>(&self, of: u128, instances: usize, takes_gzip: bool, encode: F) -> Body
    where
        F: FnOnce() -> Vec<u8> + Send + 'static,
    {
        let plain = self.get(of, instances, encode).await;
        if !takes_gzip || plain.len() < gzip::WORTH {
            return Body { bytes: plain, is_gzip: false };
        }
        let of = Fingerprint::default().text("gzip").number(of).finish();
        let bytes = self.get(of, instances, move || gzip::compressed(&plain)).await;
        Body { bytes, is_gzip: true }
    }

    /// Encodes an answer that nobody else will be given.
    pub async fn encode<F>(&self, instances: usize, encode: F) -> Bytes
    where
        F: FnOnce() -> Vec<u8> + Send + 'static,
    {
        // An encoder that panics is a fault of ours; its asker gets an empty answer.
        self.run(instances, encode).await.unwrap_or_default().into()
    }

    /// Does what takes as long as encoding so many instances: at once, or in its turn on a thread of
    /// its own. None: it panicked.
    pub async fn run<F, R>(&self, instances: usize, work: F) -> Option<R>
    where
        F: FnOnce() -> R + Send + 'static,
        R: Send + 'static,
    {
        if instances < LARGE {
            return Some(work());
        }
        // Never closed; and if it were, doing it at once would be right.
        let _place = self.large.acquire().await;
        tokio::task::spawn_blocking(work).await.ok()
    }

    fn generations(&self) -> std::sync::MutexGuard<'_, Generations> {
        self.generations.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn an_answer_is_encoded_once() {
        let encoded = Encoded::default();
        let times = Arc::new(AtomicUsize::new(0));
        let encode = |size: usize| {
            let times = Arc::clone(&times);
            move || {
                times.fetch_add(1, Ordering::Relaxed);
                vec![b'x'; size]
            }
        };

        let (one, other) =
            tokio::join!(encoded.get(7, 1, encode(3)), encoded.get(7, LARGE, encode(3)));

        assert_eq!(one, other);
        assert_eq!(times.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn who_takes_gzip_is_given_it_where_it_is_worth_it() {
        let encoded = Encoded::default();
        let long = || vec![b'x'; gzip::WORTH];

        let plain = encoded.get_body(7, 1, false, long).await;
        let packed = encoded.get_body(7, 1, true, long).await;
        let again = encoded.get_body(7, 1, true, || unreachable!("it is made already")).await;
        let short = encoded.get_body(8, 1, true, || vec![b'x'; gzip::WORTH - 1]).await;

        assert_eq!([plain.is_gzip, packed.is_gzip, short.is_gzip], [false, true, false]);
        assert_eq!(gzip::read(&packed.bytes, gzip::WORTH).unwrap(), plain.bytes);
        assert_eq!(again.bytes.as_ptr(), packed.bytes.as_ptr());
    }

    #[tokio::test]
    async fn what_nobody_asks_for_is_forgotten() {
        let encoded = Encoded::default();

        for of in 0..10 * MOST_ANSWERS as u128 {
            encoded.get(of, 1, || vec![b'x'; MOST_BYTES / 512]).await;
        }

        let held = encoded.generations();
        let held = held.young.values().chain(held.old.values());
        let bytes: usize = held.filter_map(|it| it.get()).map(Bytes::len).sum();
        assert!(bytes <= 2 * MOST_BYTES, "{bytes}");
    }
}
