//! HTTP/2 as peers meet it, well-behaved ones and others.

mod accounting;
mod calling;
mod clock;
mod engine;
mod serving;
mod spec;
mod wire;
