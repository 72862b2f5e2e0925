//! Reading the carriers of a request: one tenant, or none, or why not.

use arrayvec::ArrayVec;

use super::{Carriers, Place, Source, is_baggage_key};
use crate::config::OnConflict;
use crate::model::Fields;
use crate::model::InvalidName;
use crate::model::TenantId;
use crate::tenant::w3c::Member;
use crate::tenant::{Claim, ClaimError, bit, w3c};

/// What the carriers of a request say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Read {
    /// The tenant they name; none, if there is no carrier, or if they are not to count.
    pub claim: Option<Claim>,
    /// What was wrong with them, where the request goes on all the same: to be counted.
    pub trouble: Option<ClaimError>,
}

/// What was found so far.
#[derive(Default)]
struct Reading {
    first: Option<(Source, TenantId)>,
    dedicated: Dedicated,
    trouble: Option<ClaimError>,
}

/// What the dedicated header says.
#[derive(Clone, Copy, Default)]
enum Dedicated {
    #[default]
    Absent,
    Clean(TenantId),
    Unclean,
}

impl Carriers {
    /// Reads all carriers that are configured.
    ///
    /// Values that agree are one. Values that do not, and values that are no name, are what
    /// `on_conflict` is about: an error, or no claim, or the dedicated header if that is one clean
    /// value (an error if not).
    pub fn read(&self, fields: &Fields) -> Result<Read, ClaimError> {
        let mut reading = Reading::default();
        for (name, value) in fields {
            if self.lengths & bit(name.len()) != 0 {
                self.read_field(name, value, &mut reading);
            }
        }
        self.conclude(&reading)
    }

    fn read_field(&self, name: &[u8], value: &[u8], reading: &mut Reading) {
        let read = |places: &'_ [Place]| places.iter().any(|it| it.read);
        for place in self.headers.iter().filter(|it| it.read && *it.name == *name) {
            reading.see(place.source, TenantId::from_bytes(value));
        }
        if name == w3c::BAGGAGE && read(&self.baggage) {
            for member in w3c::members(value).map(Member::of_baggage) {
                let ours = |place: &&Place| place.read && is_baggage_key(member.key, &place.name);
                for place in self.baggage.iter().filter(ours) {
                    reading.see(place.source, percent_decoded(member.value));
                }
            }
        }
        if name == w3c::TRACESTATE && read(&self.tracestate) {
            for member in w3c::members(value).map(Member::of_tracestate) {
                let ours = |place: &&Place| place.read && *place.name == *member.key;
                for place in self.tracestate.iter().filter(ours) {
                    let value = TenantId::from_bytes(member.value.unwrap_or_default());
                    reading.see(place.source, value);
                }
            }
        }
    }

    fn conclude(&self, reading: &Reading) -> Result<Read, ClaimError> {
        let claim = |(source, tenant): (Source, TenantId)| Claim { tenant, carrier: source.label };
        let Some(trouble) = reading.trouble else {
            return Ok(Read { claim: reading.first.map(claim), trouble: None });
        };
        let claim = match (self.on_conflict, reading.dedicated) {
            (OnConflict::Ignore, _) => None,
            (OnConflict::Header, Dedicated::Clean(tenant)) => {
                Some(Claim { tenant, carrier: "header" })
            }
            (OnConflict::Header | OnConflict::Reject, _) => return Err(trouble),
        };
        Ok(Read { claim, trouble: Some(trouble) })
    }
}

impl Reading {
    fn see(&mut self, source: Source, value: Result<TenantId, InvalidName>) {
        match value {
            Ok(tenant) => self.see_tenant(source, tenant),
            Err(why) => self.see_malformed(source, why),
        }
    }

    fn see_tenant(&mut self, source: Source, tenant: TenantId) {
        if source.is_dedicated() {
            self.dedicated = match self.dedicated {
                Dedicated::Absent => Dedicated::Clean(tenant),
                Dedicated::Clean(before) if before == tenant => self.dedicated,
                Dedicated::Clean(_) | Dedicated::Unclean => Dedicated::Unclean,
            };
        }
        match self.first {
            Some((one, before)) if before != tenant => {
                let conflict = ClaimError::Conflict { one: one.label, other: source.label };
                self.trouble.get_or_insert(conflict);
            }
            Some((one, _)) if one.rank <= source.rank => {}
            Some(_) | None => self.first = Some((source, tenant)),
        }
    }

    /// Notes a value that is no name. It outweighs a conflict: it is what has to be mended first.
    fn see_malformed(&mut self, source: Source, why: InvalidName) {
        if source.is_dedicated() {
            self.dedicated = Dedicated::Unclean;
        }
        if !matches!(self.trouble, Some(ClaimError::Malformed { .. })) {
            self.trouble = Some(ClaimError::Malformed { carrier: source.label, why });
        }
    }
}

/// Reads the value of our member of `baggage`; a member without one is as good as an empty one.
pub(super) fn percent_decoded(value: Option<&[u8]>) -> Result<TenantId, InvalidName> {
    // One byte more than a name has, so that what is too long is seen to be.
    let text: ArrayVec<u8, 64> = w3c::decoded(value.unwrap_or_default()).take(64).collect();
    TenantId::from_bytes(&text)
}
