//! Names the things the sidecar talks about. No I/O, no clock, no `async`.
//!
//! Values from outside become these types once, at the edge; whoever holds one need not check it
//! again. Floor 0: uses nothing else of the crate.

mod catalog;
mod fields;
mod head;
mod instance;
mod name;
mod scheduler;

pub use catalog::{Catalog, Services};
pub use fields::{Edit, Fields, Iter as FieldsIter};
pub use head::{RequestHead, ResponseHead, Scheme, is_grpc};
pub use instance::{Instance, Origin, Status};
pub use name::{InvalidName, LaneName, ServiceName, TenantId};
pub use scheduler::Scheduler;
