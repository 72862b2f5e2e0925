//! The languages in which clients speak to the registry, over one store.

pub mod discovery;
pub mod eureka;
