//! HTTP/2 as peers meet it, well-behaved ones and others.

mod accounting;
mod calling;
mod chance;
mod clock;
mod engine;
mod hostile;
mod serving;
mod sharing;
mod spec;
mod wire;
