//! Dyelane: a per-pod sidecar that sends every stream to its tenant's lane.
//!
//! The modules stand on floors; a module uses those on lower floors only, which a test holds:
//!
//! ```text
//!  7  cli                          say it
//!  6  app                          wire it: build everything from a file, reload, drain
//!  5  admin                        show it
//!  4  proxy  presence  discovery   do it: the life of a request; who is well; who there is
//!  3  http   registry              move messages; say who is there
//!  2  tenant  routing  balance     decide it
//!  1  config  telemetry  net       read, tell, connect
//!  0  model   live                 name it
//! ```

pub mod cli;

pub mod app;

pub mod admin;

pub mod discovery;
pub mod presence;
pub mod proxy;

pub mod http;
pub mod registry;

pub mod balance;
pub mod routing;
pub mod tenant;

pub mod config;
pub mod net;
pub mod telemetry;

pub mod live;
pub mod model;
