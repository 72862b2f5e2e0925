//! Who goes first when there is too much to do.
//!
//! ```text
//! heartbeats                 always, at once
//! register, cancel, set      always, at once
//! polls                      as many as may be held
//! fetches                    some at a time, some waiting for a while
//! everything at once         few at a time, some waiting for a while
//! ```
//!
//! The first two cost microseconds; shedding them would make the rest worse, as whoever is not
//! renewed registers again. What is shed is told when to come back.

use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

/// Why a request is turned away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Shed {
    /// Too many wait already.
    #[error("too many requests of this kind wait already")]
    Crowd,
    /// It has waited for long enough.
    #[error("there was no room for this request in time")]
    Patience,
}

/// A door through which some go at a time.
#[derive(Debug)]
pub struct Gate {
    places: Semaphore,
    queue: Semaphore,
    patience: Duration,
}

impl Gate {
    fn new(places: usize, queue: usize, patience: Duration) -> Self {
        Self { places: Semaphore::new(places), queue: Semaphore::new(queue), patience }
    }

    /// Waits for a place, which is kept for as long as what is returned.
    ///
    /// Cancel safe.
    ///
    /// # Errors
    /// There is none, and none is to be expected.
    pub async fn enter(&self) -> Result<SemaphorePermit<'_>, Shed> {
        if let Ok(place) = self.places.try_acquire() {
            return Ok(place);
        }
        let _waiting = self.queue.try_acquire().map_err(|_| Shed::Crowd)?;
        let place = timeout(self.patience, self.places.acquire()).await;
        place.ok().and_then(Result::ok).ok_or(Shed::Patience)
    }
}

/// The doors there are.
#[derive(Debug)]
pub struct Admission {
    /// For lists of some services.
    pub fetches: Gate,
    /// For the whole registry at once.
    pub everything: Gate,
}

impl Default for Admission {
    fn default() -> Self {
        Self {
            fetches: Gate::new(64, 4096, Duration::from_secs(5)),
            everything: Gate::new(2, 256, Duration::from_secs(10)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn some_go_some_wait_and_the_rest_is_turned_away() {
        let gate = Gate::new(1, 1, Duration::from_secs(1));

        let first = gate.enter().await;
        let (second, third) = tokio::join!(gate.enter(), gate.enter());

        assert!(first.is_ok());
        assert_eq!(second.map(drop), Err(Shed::Patience));
        assert_eq!(third.map(drop), Err(Shed::Crowd));
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_goes_once_there_is_room() {
        let gate = Gate::new(1, 1, Duration::from_secs(1));
        let first = gate.enter().await.unwrap();

        let (second, ()) = tokio::join!(gate.enter(), async { drop(first) });

        assert!(second.is_ok());
    }
}
