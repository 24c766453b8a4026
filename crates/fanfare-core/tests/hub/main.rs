//! What the hub promises, rule by rule, through its public face.

#[cfg(test)]
mod bench;
#[cfg(test)]
mod bounds;
#[cfg(test)]
mod deltas;
#[cfg(test)]
mod gaps;
#[cfg(test)]
mod lifecycle;
#[cfg(test)]
mod lists;
#[cfg(test)]
mod live;
#[cfg(test)]
mod producers;
#[cfg(test)]
mod publish;
#[cfg(test)]
mod slow;
#[cfg(test)]
mod subscribe;
#[cfg(test)]
mod waiters;
