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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::discovery::said::{Instances, Services, add};
    use crate::model::{Origin, ServiceName, Status};

    /// Instances as a source, or a file, names them: service, host, weight, whether it is up.
    type Named = Vec<(usize, u8, u32, bool)>;

    fn any_named() -> impl Strategy<Value = Named> {
        proptest::collection::vec((0..2_usize, 1..5_u8, 1..9_u32, any::<bool>()), 0..8)
    }

    fn instances(named: &Named, origin: Origin) -> Vec<Instance> {
        let instances = named.iter().map(|(service, host, weight, is_up)| {
            let service = ServiceName::new(["s", "t"][*service]).unwrap();
            let address = ([10, 0, 0, *host], 80).into();
            let status = if *is_up { Status::Up } else { Status::Down };
            let hostname = Some(format!("h{host}-{weight}").into());
            let instance = Instance::new(service, address);
            Instance { weight: *weight, status, origin, hostname, ..instance }
        });
        instances.collect()
    }

    fn said(instances: impl IntoIterator<Item = Instance>) -> Said {
        let mut services = std::collections::BTreeMap::<_, Instances>::new();
        for it in instances {
            add(services.entry(it.service.clone()).or_default(), Arc::new(it));
        }
        let services: Services = services.into_iter().map(|(it, all)| (it, all.into())).collect();
        Said { services, ..Said::default() }
    }

    proptest! {
        #[test]
        fn the_file_comes_before_the_registry_before_eureka(
            file in any_named(),
            registry in any_named(),
            eureka in any_named(),
        ) {
            let file = instances(&file, Origin::File);
            let registry = said(instances(&registry, Origin::Registry));
            let eureka = said(instances(&eureka, Origin::Eureka));

            let merged = merge(&file, Some(&registry), Some(&eureka));

            for (service, all) in merged.services() {
                for (address, instance) in all {
                    let in_file = file.iter().rfind(|it| it.service == *service && it.address == *address);
                    let of = |it: &Said| it.services.get(service).and_then(|it| it.get(address)).cloned();
                    let expected = in_file.cloned().map(Arc::new)
                        .or_else(|| of(&registry))
                        .or_else(|| of(&eureka));
                    prop_assert_eq!(Some(instance.clone()), expected);
                }
            }
            let all = registry.services.iter().chain(&eureka.services);
            prop_assert!(all.flat_map(|(service, it)| it.keys().map(move |at| (service, at)))
                .all(|(service, at)| merged.instances(service).any(|it| it.address == *at)));
        }

        #[test]
        fn the_order_in_which_a_source_names_instances_makes_no_difference(
            named in any_named(),
            order in any::<u64>(),
        ) {
            let mut shuffled = named.clone();
            fastrand::Rng::with_seed(order).shuffle(&mut shuffled);
            let one = said(instances(&named, Origin::Registry));
            let other = said(instances(&shuffled, Origin::Registry));

            prop_assert_eq!(merge(&[], Some(&one), None), merge(&[], Some(&other), None));
        }
    }
}
