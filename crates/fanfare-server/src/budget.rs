//! A sum that requests may hold in memory together.
//!
//! Policy: each request has bounds of its own, and there may be many requests. What one holds
//! beyond the bytes that it is looking at is charged here, and the one that would pass the sum is
//! refused, not those that hold it. A charge is given back when it is dropped.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use bytes::Bytes;

/// How much is held, and how much may be.
#[derive(Clone, Debug)]
pub(crate) struct Budget {
    /// Nothing else hangs on it: it is a count.
    held: Arc<AtomicUsize>,
    bytes_max: Arc<AtomicUsize>,
}

/// What one holder has charged.
#[derive(Debug)]
pub(crate) struct Charge {
    budget: Budget,
    bytes: usize,
}

/// The budget is met; holds how many bytes it has.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct BudgetMet(pub(crate) usize);

impl Budget {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { held: Arc::default(), bytes_max: Arc::new(AtomicUsize::new(bytes_max)) }
    }

    /// Changes how much may be held. What is held already stays, whatever it is.
    pub(crate) fn set_bytes_max(&self, bytes_max: usize) {
        self.bytes_max.store(bytes_max, Relaxed);
    }

    /// A charge of nothing yet.
    pub(crate) fn charge(&self) -> Charge {
        Charge { budget: self.clone(), bytes: 0 }
    }

    /// Bytes that are held.
    pub(crate) fn held_bytes(&self) -> usize {
        self.held.load(Relaxed)
    }
}

impl Charge {
    /// Makes this a charge of so many bytes. One that the budget refuses stays what it was.
    pub(crate) fn resize(&mut self, bytes: usize) -> Result<(), BudgetMet> {
        let Budget { held, bytes_max } = &self.budget;
        if let Some(less) = self.bytes.checked_sub(bytes) {
            if less > 0 {
                held.fetch_sub(less, Relaxed);
            }
        } else {
            let (more, bytes_max) = (bytes - self.bytes, bytes_max.load(Relaxed));
            let fits = |held: usize| held.checked_add(more).filter(|held| *held <= bytes_max);
            held.fetch_update(Relaxed, Relaxed, fits).map_err(|_| BudgetMet(bytes_max))?;
        }
        self.bytes = bytes;
        Ok(())
    }

    /// Bytes that stay charged for until the last handle to them is dropped.
    pub(crate) fn hold(self, bytes: Vec<u8>) -> Bytes {
        debug_assert!(bytes.capacity() <= self.bytes, "bytes are charged for before");
        Bytes::from_owner(Held { bytes, _charge: self })
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.budget.held.fetch_sub(self.bytes, Relaxed);
    }
}

/// Bytes and the charge for them.
struct Held {
    bytes: Vec<u8>,
    _charge: Charge,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_is_bounded_and_what_is_dropped_is_given_back() {
        let budget = Budget::new(10);
        let (mut one, mut two) = (budget.charge(), budget.charge());
        one.resize(6).unwrap();
        two.resize(4).unwrap();
        assert_eq!(two.resize(5), Err(BudgetMet(10)));
        assert_eq!(budget.held_bytes(), 10);
        one.resize(2).unwrap();
        two.resize(8).unwrap();
        drop(two);
        assert_eq!(budget.held_bytes(), 2);
        assert_eq!(one.resize(usize::MAX), Err(BudgetMet(10)));
        drop(one);
        assert_eq!(budget.held_bytes(), 0);
    }

    #[test]
    fn bytes_are_held_until_their_last_handle_goes() {
        let budget = Budget::new(10);
        let mut charge = budget.charge();
        charge.resize(10).unwrap();
        let mut bytes = charge.hold(vec![7; 10]);
        let part = bytes.split_to(3);
        drop(bytes);
        assert_eq!((&part[..], budget.held_bytes()), (&[7; 3][..], 10));
        assert_eq!(budget.charge().resize(1), Err(BudgetMet(10)));
        drop(part);
        assert_eq!(budget.held_bytes(), 0);
    }
}
