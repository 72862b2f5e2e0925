//! Which instances of a rung we send to, by zone.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::balance::shares::Sharing;
use crate::balance::site::Site;
use crate::balance::subset::{Place, subset};
use crate::balance::zone::sum;
use crate::config::{self, Service};
use crate::model::Instance;

/// How a service looks from where we are.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct View {
    /// Where we are.
    pub site: Arc<Site>,
    /// How requests of our zone are to spread over the zones of the service; empty: nobody has said.
    pub weights: BTreeMap<Arc<str>, u32>,
}

/// The instances of a rung that we send to.
#[derive(Debug)]
pub(super) struct Choice {
    /// By zone: our own first, then by name; one of no name where zones make no difference. None is
    /// empty.
    pub(super) groups: Vec<Group>,
    /// Those that are left to other clients.
    pub(super) left_out: Vec<Arc<Instance>>,
    pub(super) sharing: Sharing,
    instances: Vec<Arc<Instance>>,
    settings: (config::Zones, Option<u16>),
    view: View,
}

/// The instances of one zone.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) zone: Option<Arc<str>>,
    /// Those that we send to.
    pub(super) chosen: Vec<Arc<Instance>>,
    /// The weight of all of them.
    pub(super) weight: f32,
    /// The share of requests that come from the zone; none: not known.
    pub(super) demand: Option<f32>,
    /// The weight a scheduler gives it.
    pub(super) scheduled: Option<u32>,
}

impl Choice {
    pub(super) fn of(instances: &[Arc<Instance>], settings: &Service, view: &View) -> Self {
        let own = view.site.zone.as_deref();
        let is_scheduled = !view.weights.is_empty();
        let is_own = |zone: Option<&str>| own.is_some() && zone == own;
        let has_own = instances.iter().any(|it| is_own(it.zone.as_deref()));
        let is_zoned = is_scheduled || settings.zones.prefer && has_own;
        let mut zones: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for instance in instances {
            let zone = instance.zone.as_ref().filter(|_| is_zoned);
            let order = (!is_own(zone.map(|it| &**it)), zone);
            zones.entry(order).or_default().push(Arc::clone(instance));
        }
        let elsewhere = |zone: Option<&str>| !is_own(zone) && is_zoned;
        let far = instances.iter().filter(|it| elsewhere(it.zone.as_deref())).count();
        let mut left_out = Vec::new();
        let groups = zones.into_iter().map(|((_, zone), members)| {
            let whole = if elsewhere(zone.map(|it| &**it)) { far } else { members.len() };
            let size = settings.subset.map(|it| (usize::from(it) * members.len()).div_ceil(whole));
            let (weight, zone) = (sum(&members), zone.cloned());
            let (chosen, left) = choose(members, size, view.site.place);
            left_out.extend(left);
            let demand = view.site.demand(zone.as_deref());
            let scheduled = zone.as_ref().and_then(|it| view.weights.get(it)).copied();
            Group { zone, chosen, weight, demand, scheduled }
        });
        let groups: Vec<_> = groups.collect();
        #[expect(clippy::cast_possible_truncation, reason = "it is 1.0 to 10.0")]
        let slack = settings.zones.slack as f32;
        let sharing = Sharing { own: (is_zoned && has_own).then_some(0), slack, is_scheduled };
        Self {
            groups,
            left_out,
            sharing,
            instances: instances.to_vec(),
            settings: (settings.zones, settings.subset),
            view: view.clone(),
        }
    }

    /// Returns whether it is what [`Choice::of`] would make of these.
    pub(super) fn is_of(
        &self,
        instances: &[Arc<Instance>],
        settings: &Service,
        view: &View,
    ) -> bool {
        self.instances == instances
            && self.settings == (settings.zones, settings.subset)
            && self.view == *view
    }
}

/// Returns those of the members that are ours, and those that are not.
fn choose(
    members: Vec<Arc<Instance>>,
    size: Option<usize>,
    client: Place,
) -> (Vec<Arc<Instance>>, Vec<Arc<Instance>>) {
    let Some(size) = size.filter(|size| *size < members.len()) else {
        return (members, Vec::new());
    };
    let places: Vec<_> = members.iter().map(|it| (Place::of_instance(it), it.address)).collect();
    let chosen = subset(client, &places, size);
    let (mut ours, mut others) = (Vec::with_capacity(chosen.len()), Vec::new());
    for (place, member) in members.into_iter().enumerate() {
        let list = if chosen.binary_search(&place).is_ok() { &mut ours } else { &mut others };
        list.push(member);
    }
    (ours, others)
}
