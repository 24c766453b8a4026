//! The HTTP side.

mod config;
pub use config::Config;
