//! Who goes first when there is too much to do.
//!
//! ```text
//! heartbeats                 always, at once
//! register, cancel, set      always, at once
//! polls                      as many as may be held
//! fetches                    some at a time, some waiting for a while
//! everything at once         few at a time, some waiting for a while; what a crowd is told alike
//!                            is made once for all of it, so many may wait for that
//! bodies of more than 16 KiB as many as there is room for while they are read
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

    fn is_full(&self) -> bool {
        self.places.available_permits() == 0
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

/// Longest body that is read whatever else is: heartbeats and registrations are shorter.
const SHORT: u64 = 16 << 10;
/// What long bodies may take together while they are read, in KiB.
const KIB_OF_BODIES: usize = 256 << 10;
/// How long a long body waits for its room.
const UNTIL_ROOM: Duration = Duration::from_secs(2);

/// Room for long bodies: thousands of connections must not fill the memory with what they have not
/// finished to say.
#[derive(Debug)]
pub struct Room(Semaphore);

impl Room {
    /// Waits for the room that a body of so many bytes takes; none if it needs none.
    ///
    /// Cancel safe.
    ///
    /// # Errors
    /// There is no room in time.
    pub async fn take(&self, bytes: u64) -> Result<Option<SemaphorePermit<'_>>, Shed> {
        if bytes <= SHORT {
            return Ok(None);
        }
        let most = u32::try_from(KIB_OF_BODIES).unwrap_or(u32::MAX);
        let kib = u32::try_from(bytes >> 10).unwrap_or(u32::MAX).clamp(1, most);
        let room = timeout(UNTIL_ROOM, self.0.acquire_many(kib)).await;
        room.ok().and_then(Result::ok).map(Some).ok_or(Shed::Patience)
    }
}

/// The doors there are.
#[derive(Debug)]
pub struct Admission {
    /// For lists of some services.
    pub fetches: Gate,
    /// For the whole registry at once.
    pub everything: Gate,
    /// For lists that all who wait for them are given alike.
    pub alike: Gate,
    /// For long bodies while they are read.
    pub bodies: Room,
}

impl Default for Admission {
    fn default() -> Self {
        Self {
            fetches: Gate::new(64, 4096, Duration::from_secs(5)),
            everything: Gate::new(2, 256, Duration::from_secs(10)),
            alike: Gate::new(512, 4096, Duration::from_secs(10)),
            bodies: Room(Semaphore::new(KIB_OF_BODIES)),
        }
    }
}

impl Admission {
    /// Whether some wait for a place.
    pub fn is_crowded(&self) -> bool {
        [&self.fetches, &self.everything, &self.alike].into_iter().any(Gate::is_full)
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
    async fn long_bodies_wait_for_room_and_short_ones_never() {
        let room = Room(Semaphore::new(KIB_OF_BODIES));
        let all = room.take(u64::MAX).await.unwrap();

        let (long, short) = tokio::join!(room.take(SHORT + 1), room.take(SHORT));
        drop(all);
        let later = room.take(SHORT + 1).await;

        assert!(matches!(long, Err(Shed::Patience)) && matches!(short, Ok(None)));
        assert!(matches!(later, Ok(Some(_))));
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_goes_once_there_is_room() {
        let gate = Gate::new(1, 1, Duration::from_secs(1));
        let first = gate.enter().await.unwrap();

        let (second, ()) = tokio::join!(gate.enter(), async { drop(first) });

        assert!(second.is_ok());
    }
}
