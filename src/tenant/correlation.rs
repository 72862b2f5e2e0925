//! Joins outbound requests to inbound ones by the identifiers that both carry.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use arrayvec::ArrayVec;

use crate::config::Correlation as Settings;
use crate::config::CorrelationId;
use crate::model::{Fields, TenantId};
use crate::tenant::bit;
use crate::tenant::identifier::Form;
use crate::tenant::table::{Id, Owner, Table};

/// Fields that are looked at; more are not. A configuration has at most 16 identifiers, and none is
/// more than two fields.
const FIELDS: usize = 32;
/// Longest value of an opaque identifier, in bytes; a longer one is none.
const OPAQUE_BYTES: usize = 256;

/// Remembers which tenant an identifier came in with, and nothing else.
///
/// Shared by all workers; a look-up holds one of several locks for some ten nanoseconds.
#[derive(Debug)]
pub struct Correlation {
    watched: ArrayVec<Watch, FIELDS>,
    /// The lengths of their names, see [`bit`].
    lengths: u64,
    table: Table,
    /// Opaque values are kept as 128 bits of a hash whose keys nobody outside knows: two of them
    /// are taken for one another with a chance of 2⁻¹²⁸.
    opaque: (RandomState, RandomState),
}

/// A field that may carry an identifier.
#[derive(Debug)]
struct Watch {
    name: Box<[u8]>,
    form: Form,
    /// Which of the configured identifiers it is.
    kind: u8,
}

/// The identifiers of a request by rank of the field, in that order; none where a field has none.
type Ids = ArrayVec<(usize, Option<Id>), FIELDS>;

/// What [`Correlation::remember`] did; all to be counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Remembered {
    /// Identifiers the request has.
    pub ids: usize,
    /// Those of them that were known with another tenant, and are from now on no guide.
    pub poisoned: usize,
    /// Identifiers that were forgotten before `max_age`, for want of room.
    pub forgotten: usize,
}

/// What [`Correlation::recall`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recall {
    /// The tenant that the request's identifier came in with.
    Tenant(TenantId),
    /// The request has an identifier, and none that came in with a tenant.
    Unknown,
    /// The request has no identifier.
    NoId,
    /// The request's identifier came in with more than one tenant.
    Poisoned,
}

impl Correlation {
    /// Prepares an empty table.
    ///
    /// The first 32 fields are looked at; B3 is two, each other identifier is one.
    pub fn new(settings: &Settings) -> Self {
        let mut watched = ArrayVec::<Watch, FIELDS>::new();
        for (kind, id) in (0..).zip(&settings.ids) {
            let forms: &[Form] = match id {
                CorrelationId::Traceparent => &[Form::Traceparent],
                CorrelationId::B3 => &[Form::B3, Form::B3TraceId],
                CorrelationId::Datadog => &[Form::Datadog],
                CorrelationId::Header(_) => &[Form::Opaque],
            };
            for form in forms {
                let name = match id {
                    CorrelationId::Header(name) => name.as_bytes(),
                    _ => form.name(),
                };
                let watch = Watch { name: name.into(), form: *form, kind };
                if watched.try_push(watch).is_err() {
                    break;
                }
            }
        }
        Self {
            lengths: watched.iter().fold(0, |all, it| all | bit(it.name.len())),
            watched,
            table: Table::new(settings.capacity.try_into().unwrap_or(usize::MAX), settings.max_age),
            opaque: (RandomState::new(), RandomState::new()),
        }
    }

    /// Remembers that the request's identifiers came in with `tenant`, at `now` since the one moment
    /// that all calls count from.
    ///
    /// An identifier that is known with another tenant is no guide until it was not seen for
    /// `max_age`. A request of no tenant is none to remember: it says nothing of its identifiers.
    pub fn remember(&self, fields: &Fields, tenant: TenantId, now: Duration) -> Remembered {
        let mut done = Remembered::default();
        for id in self.ids(fields).iter().filter_map(|(_, id)| *id) {
            let seen = self.table.see(id, tenant, now);
            done.ids += 1;
            done.poisoned += usize::from(seen.poisoned);
            done.forgotten += seen.forgotten;
        }
        done
    }

    /// Recalls the tenant of a request that names none itself.
    ///
    /// The identifiers are asked in the order they are configured; the first that is known decides,
    /// be it that it is no guide. Being recalled keeps nothing alive: an identifier that an
    /// application never changes would stay with one tenant for good.
    pub fn recall(&self, fields: &Fields, now: Duration) -> Recall {
        let ids = self.ids(fields);
        let mut ids = ids.iter().filter_map(|(_, id)| *id).peekable();
        if ids.peek().is_none() {
            return Recall::NoId;
        }
        match ids.find_map(|id| self.table.get(id, now)) {
            Some(Owner::One(tenant)) => Recall::Tenant(tenant),
            Some(Owner::Several) => Recall::Poisoned,
            None => Recall::Unknown,
        }
    }

    /// Returns how many identifiers the table holds, the outdated included.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Returns whether the table holds no identifier.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Finds the identifiers of a request in one pass.
    ///
    /// An identifier is one field: where one of that name is repeated, there is none.
    fn ids(&self, fields: &Fields) -> Ids {
        let mut ids = Ids::new();
        for (name, value) in fields {
            if self.lengths & bit(name.len()) == 0 {
                continue;
            }
            let watched = self.watched.iter().enumerate();
            for (rank, watch) in watched.filter(|(_, watch)| *watch.name == *name) {
                let place = ids.partition_point(|(other, _)| *other < rank);
                match ids.get_mut(place) {
                    Some((other, id)) if *other == rank => *id = None,
                    // There is a place for every rank, so this cannot fail.
                    _ => drop(ids.try_insert(place, (rank, self.id(watch, value)))),
                }
            }
        }
        ids
    }

    fn id(&self, watch: &Watch, value: &[u8]) -> Option<Id> {
        let number = match watch.form {
            Form::Opaque if (1..=OPAQUE_BYTES).contains(&value.len()) => {
                let (high, low) = &self.opaque;
                u128::from(high.hash_one(value)) << 64 | u128::from(low.hash_one(value))
            }
            form => form.trace_id(value)?.number(),
        };
        Some(Id { kind: watch.kind, number })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const NOW: Duration = Duration::from_secs(7);

    fn correlation(ids: &[CorrelationId]) -> Correlation {
        let max_age = Duration::from_mins(1);
        Correlation::new(&Settings { ids: ids.to_vec(), capacity: 1000, max_age })
    }

    fn all() -> Correlation {
        let header = |name: &str| CorrelationId::Header(name.into());
        let own = [header("x-request-id"), header("x-job")];
        let known = [CorrelationId::Traceparent, CorrelationId::B3, CorrelationId::Datadog];
        correlation(&[&known[..], &own[..]].concat())
    }

    fn tenant(name: &str) -> TenantId {
        TenantId::new(name).unwrap()
    }

    fn list(pairs: &[(&str, &str)]) -> Fields {
        pairs.iter().copied().collect()
    }

    fn traceparent(span: u64) -> Fields {
        list(&[("traceparent", &format!("00-{TRACE}-{span:016x}-01"))])
    }

    #[test]
    fn a_request_of_the_same_trace_gets_the_tenant() {
        let correlation = all();

        let done = correlation.remember(&traceparent(1), tenant("alice"), NOW);

        assert_eq!(done, Remembered { ids: 1, ..Remembered::default() });
        assert_eq!(correlation.recall(&traceparent(2), NOW), Recall::Tenant(tenant("alice")));
    }

    #[test]
    fn every_kind_of_identifier_joins() {
        let single = format!("{TRACE}-00f067aa0ba902b7-1");
        for (inbound, outbound) in [
            (("b3", &*single), ("x-b3-traceid", TRACE)),
            (("x-b3-traceid", "a3ce929d0e0e4736"), ("b3", "a3ce929d0e0e4736-00f067aa0ba902b7")),
            (
                ("x-b3-traceid", "0000000000000000a3ce929d0e0e4736"),
                ("x-b3-traceid", "a3ce929d0e0e4736"),
            ),
            (("x-datadog-trace-id", "42"), ("x-datadog-trace-id", "42")),
            (("x-request-id", "abc"), ("x-request-id", "abc")),
            (("x-job", "\u{e4}\u{0}"), ("x-job", "\u{e4}\u{0}")),
        ] {
            let correlation = all();

            correlation.remember(&list(&[inbound]), tenant("alice"), NOW);

            let recalled = correlation.recall(&list(&[outbound]), NOW);
            assert_eq!(recalled, Recall::Tenant(tenant("alice")), "{inbound:?} {outbound:?}");
        }
    }

    #[test]
    fn identifiers_of_different_kinds_never_meet() {
        let correlation = all();

        correlation.remember(&list(&[("x-request-id", "42")]), tenant("alice"), NOW);
        correlation.remember(&traceparent(1), tenant("alice"), NOW);

        for other in [("x-job", "42"), ("x-datadog-trace-id", "42"), ("x-b3-traceid", TRACE)] {
            assert_eq!(correlation.recall(&list(&[other]), NOW), Recall::Unknown, "{other:?}");
        }
    }

    #[test]
    fn what_is_no_identifier_is_none() {
        let correlation = all();
        let twice = list(&[("x-request-id", "a"), ("x-request-id", "a")]);

        for fields in [
            list(&[("accept", "*/*")]),
            list(&[("b3", "0")]),
            list(&[("traceparent", "00-0-0-0")]),
            list(&[("x-request-id", "")]),
            list(&[("x-request-id", &"x".repeat(257))]),
            twice,
        ] {
            assert_eq!(correlation.remember(&fields, tenant("alice"), NOW), Remembered::default());
            assert_eq!(correlation.recall(&fields, NOW), Recall::NoId, "{fields:?}");
        }
    }

    #[test]
    fn only_configured_identifiers_are_remembered() {
        let correlation = correlation(&[CorrelationId::Datadog]);

        correlation.remember(&traceparent(1), tenant("alice"), NOW);

        assert!(correlation.is_empty());
        assert_eq!(correlation.recall(&traceparent(1), NOW), Recall::NoId);
    }

    #[test]
    fn the_first_known_identifier_in_the_configured_order_decides() {
        let correlation = all();
        correlation.remember(&list(&[("x-request-id", "r1")]), tenant("alice"), NOW);
        correlation.remember(&list(&[("x-datadog-trace-id", "7")]), tenant("bob"), NOW);

        let both = list(&[("x-request-id", "r1"), ("x-datadog-trace-id", "7")]);
        let second = list(&[("x-request-id", "r1"), ("x-datadog-trace-id", "8")]);

        assert_eq!(correlation.recall(&both, NOW), Recall::Tenant(tenant("bob")));
        assert_eq!(correlation.recall(&second, NOW), Recall::Tenant(tenant("alice")));
    }

    #[test]
    fn an_identifier_of_two_tenants_is_no_guide_and_lets_no_other_guess() {
        let correlation = all();
        let with_request = |id| list(&[("x-request-id", id), ("x-datadog-trace-id", "7")]);
        correlation.remember(&with_request("r1"), tenant("alice"), NOW);

        let done = correlation.remember(&with_request("r2"), tenant("bob"), NOW);

        assert_eq!(done, Remembered { ids: 2, poisoned: 1, forgotten: 0 });
        assert_eq!(correlation.recall(&with_request("r1"), NOW), Recall::Poisoned);
        let alone = list(&[("x-request-id", "r1")]);
        assert_eq!(correlation.recall(&alone, NOW), Recall::Tenant(tenant("alice")));
    }

    #[test]
    fn more_identifiers_than_are_looked_at_do_no_harm() {
        let names: Vec<_> = (0..40).map(|it| format!("x-id-{it}")).collect();
        let ids: Vec<_> = names.iter().cloned().map(CorrelationId::Header).collect();
        let fields: Fields = names.iter().rev().map(|name| (name, "v")).collect();

        let done = correlation(&ids).remember(&fields, tenant("alice"), NOW);

        assert_eq!(done.ids, FIELDS);
    }
}
