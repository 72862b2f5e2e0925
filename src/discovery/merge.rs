//! One catalog of what the file and every source say.

use std::sync::Arc;

use crate::discovery::said::Said;
use crate::model::{Catalog, Instance};

/// Merges what is said, by service and address. Where several speak of one instance, it is as the
/// file has it, else as the registry has it, else as Eureka does: whole, not field by field.
pub(super) fn merge(file: &[Instance], registry: Option<&Said>, eureka: Option<&Said>) -> Catalog {
    let sources = eureka.into_iter().chain(registry);
    let told = sources.flat_map(|said| said.services.values().flat_map(|it| it.values().cloned()));
    let written = file.iter().cloned().map(Arc::new);
    let catalog: Catalog = told.chain(written).collect();
    let schedulers = registry.map(|said| said.schedulers.clone()).unwrap_or_default();
    catalog.with_schedulers(schedulers)
}
