//! HTTP/2 as peers meet it, well-behaved ones and others.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a failed step is a failed test, and says which"
)]

mod accounting;
mod calling;
mod chance;
mod clock;
mod engine;
mod hostile;
mod independent;
mod played;
mod sections;
mod serving;
mod sharing;
mod spec;
mod upstream;
mod wire;
