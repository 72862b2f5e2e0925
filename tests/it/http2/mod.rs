//! HTTP/2 as peers meet it, well-behaved ones and others.

mod accounting;
mod clock;
mod engine;
mod wire;
