//! Places that are taken and given back, at most so many at once.
//!
//! Policy: the bound is asked for at each taking, so it may change at any time; one that is
//! lowered takes no place back, and new ones wait until enough are free.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use tokio::sync::Notify;

/// A count of places.
#[derive(Debug, Default)]
pub(crate) struct Places {
    /// Nothing else hangs on it: it is a count.
    taken: AtomicUsize,
    /// Told when a place is free again.
    freed: Notify,
}

/// One place, until it is dropped.
#[derive(Debug)]
pub(crate) struct Place(Arc<Places>);

impl Places {
    /// A place if fewer than `places_max` are taken.
    pub(crate) fn try_take(self: &Arc<Self>, places_max: usize) -> Option<Place> {
        let fits = |taken| (taken < places_max).then_some(taken + 1);
        let taken = self.taken.fetch_update(Relaxed, Relaxed, fits);
        taken.is_ok().then(|| Place(Arc::clone(self)))
    }

    /// Waits for a place. One at a time waits.
    pub(crate) async fn take(self: &Arc<Self>, places_max: impl Fn() -> usize) -> Place {
        loop {
            if let Some(place) = self.try_take(places_max()) {
                return place;
            }
            // A place that was given back since is remembered, so this does not miss it.
            self.freed.notified().await;
        }
    }

    /// Lets who waits look again, because the bound has changed.
    pub(crate) fn look_again(&self) {
        self.freed.notify_one();
    }

    /// Places that are taken.
    pub(crate) fn taken(&self) -> usize {
        self.taken.load(Relaxed)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Relaxed);
        self.0.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_place_that_is_given_back_goes_to_who_waits() {
        let places = Arc::new(Places::default());
        let one = places.try_take(2).unwrap();
        let _two = places.try_take(2).unwrap();
        assert!(places.try_take(2).is_none());
        let waits = {
            let places = Arc::clone(&places);
            tokio::spawn(async move { places.take(|| 2).await })
        };
        tokio::task::yield_now().await;
        assert!(!waits.is_finished());
        drop(one);
        let _place = waits.await.unwrap();
        assert_eq!(places.taken(), 2);
    }

    #[tokio::test]
    async fn the_bound_may_change() {
        let places = Arc::new(Places::default());
        let taken: Vec<_> = (0..3).map(|_| places.try_take(3).unwrap()).collect();
        assert!(places.try_take(1).is_none(), "and nobody loses a place");
        assert_eq!(places.taken(), 3);
        let bound = Arc::new(AtomicUsize::new(3));
        let waits = {
            let (places, bound) = (Arc::clone(&places), Arc::clone(&bound));
            tokio::spawn(async move { places.take(|| bound.load(Relaxed)).await })
        };
        tokio::task::yield_now().await;
        bound.store(4, Relaxed);
        places.look_again();
        drop(waits.await.unwrap());
        drop(taken);
        assert_eq!(places.taken(), 0);
    }
}
