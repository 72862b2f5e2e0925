//! The carriers of a tenant: where in a request its name stands.

mod edit;
#[cfg(test)]
mod properties;
mod read;
#[cfg(test)]
mod tests;

pub use edit::Written;
pub use read::Read;

use crate::config::Carrier;
use crate::config::OnConflict;
use crate::config::TenantSection;
use crate::tenant::bit;
use crate::tenant::w3c;
use crate::tenant::w3c::Member;

/// The carriers of a tenant, as configured; built once, used for every request.
#[derive(Debug, Clone)]
pub struct Carriers {
    /// The dedicated header, then the aliases that are headers; likewise below.
    headers: Box<[Place]>,
    baggage: Box<[Place]>,
    tracestate: Box<[Place]>,
    /// The lengths of the names of fields that are read, see [`bit`].
    lengths: u64,
    on_conflict: OnConflict,
    write_header: bool,
}

/// A field, or a key in one, that carries a tenant.
#[derive(Debug, Clone)]
struct Place {
    /// Name of the header or key of the member.
    name: Box<[u8]>,
    source: Source,
    /// Whether reading looks at it. Our own carriers are removed even where they are not read:
    /// another hop may read them.
    read: bool,
}

/// Where a value was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Source {
    /// Position in the order of reading.
    rank: usize,
    /// `header`, `baggage`, `tracestate` or `alias`.
    label: &'static str,
}

impl Source {
    /// Whether this is our own header, the one that `on_conflict = "header"` is about.
    fn is_dedicated(self) -> bool {
        self.label == "header"
    }
}

impl Carriers {
    /// Prepares the carriers of a section.
    pub fn new(section: &TenantSection) -> Self {
        let own = [
            (Carrier::Header(section.header.clone()), "header"),
            (Carrier::Baggage(section.baggage.clone()), "baggage"),
            (Carrier::Tracestate(section.tracestate.clone()), "tracestate"),
        ];
        let rank = |carrier: &Carrier| section.read.iter().position(|it| it == carrier);
        let own = own.map(|(carrier, label)| (rank(&carrier), carrier, label));
        let is_own = |carrier: &Carrier| own.iter().any(|(_, it, _)| it == carrier);
        let read = section.read.iter().enumerate();
        let aliases = read.filter(|(_, carrier)| !is_own(carrier));
        let aliases = aliases.map(|(rank, carrier)| (Some(rank), carrier.clone(), "alias"));

        let (mut headers, mut baggage, mut tracestate) = (Vec::new(), Vec::new(), Vec::new());
        for (rank, carrier, label) in own.iter().cloned().chain(aliases) {
            let (places, name) = match carrier {
                Carrier::Header(name) => (&mut headers, name),
                Carrier::Baggage(key) => (&mut baggage, key),
                Carrier::Tracestate(key) => (&mut tracestate, key),
            };
            let source = Source { rank: rank.unwrap_or(usize::MAX), label };
            let name = name.into_bytes().into_boxed_slice();
            places.push(Place { name, source, read: rank.is_some() });
        }
        let names = headers.iter().filter(|it| it.read).map(|it| it.name.len());
        let lists = [(&baggage, w3c::BAGGAGE), (&tracestate, w3c::TRACESTATE)];
        let lists = lists.iter().filter(|(places, _)| places.iter().any(|it| it.read));
        let lengths = names.chain(lists.map(|(_, name)| name.len()));
        Self {
            lengths: lengths.fold(0, |all, length| all | bit(length)),
            headers: headers.into(),
            baggage: baggage.into(),
            tracestate: tracestate.into(),
            on_conflict: section.on_conflict,
            write_header: section.write_header,
        }
    }

    /// Returns whether a field of that name, in lower case, is or holds a carrier.
    ///
    /// Such a field is the request's own and not the connection's: `connection: x-tenant` cannot
    /// take it away.
    pub fn is_carrier_name(&self, name: &[u8]) -> bool {
        name == w3c::BAGGAGE
            || name == w3c::TRACESTATE
            || self.headers.iter().any(|it| *it.name == *name)
    }

    /// Returns our own place of that list: the first.
    fn own(places: &[Place]) -> &[u8] {
        places.first().map(|it| &*it.name).unwrap_or_default()
    }
}

/// Returns whether `found`, as it stands in a `baggage` field, is the key `key` or turns into it on
/// the way through an application.
///
/// OpenTelemetry percent-decodes keys; for Python a `+` is a blank, and blanks around a key go. So
/// `ten%61nt` and `+tenant` come out of an application as `tenant`: seen as anything else, they
/// would carry a claim past the edge that strips it.
fn is_baggage_key(found: &[u8], key: &[u8]) -> bool {
    let odd = |byte: &u8| matches!(byte, b'%' | b'+') || !byte.is_ascii_graphic();
    found == key || (found.len() > key.len() && found.iter().any(odd) && decodes_to(found, key))
}

fn decodes_to(found: &[u8], key: &[u8]) -> bool {
    let decoded = found.split(|byte| *byte == b'+').flat_map(w3c::decoded);
    decoded.filter(u8::is_ascii_graphic).eq(key.iter().copied())
}

/// Returns whether a member of `baggage` is the one with that key.
fn is_baggage_member(member: &[u8], key: &[u8]) -> bool {
    is_baggage_key(Member::of_baggage(member).key, key)
}

/// Returns whether a member of `tracestate` is the one with that key.
fn is_tracestate_member(member: &[u8], key: &[u8]) -> bool {
    Member::of_tracestate(member).key == key
}
