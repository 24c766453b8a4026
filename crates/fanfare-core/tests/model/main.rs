//! The hub against a naive model of it.

#[cfg(test)]
mod naive;
