//! Writing the carriers of a request, and taking them away; other people's members stay as they are.

use super::read::percent_decoded;
use super::{Carriers, Place, is_baggage_key, is_baggage_member, is_tracestate_member};
use crate::model::Edit;
use crate::model::Fields;
use crate::model::TenantId;
use crate::tenant::w3c;
use crate::tenant::w3c::Member;

/// Where [`Carriers::write`] found room for the tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// In the baggage, and in the dedicated header if that is configured.
    Full,
    /// In the dedicated header only, be it configured or not: with our member the baggage would be
    /// beyond what W3C Baggage has everyone pass on. To be counted.
    NoRoom,
}

/// What the carriers of a request are like before one is written.
#[derive(Default)]
struct Survey {
    /// Lines of `baggage`.
    lines: usize,
    /// Their bytes, commas between them included.
    bytes: usize,
    /// Their members, ours included.
    members: usize,
    /// How many of them are ours, and how many of those name the tenant.
    own: usize,
    own_right: usize,
    /// How many dedicated headers there are, and how many of those name the tenant.
    headers: usize,
    headers_right: usize,
    /// Whether our member of `tracestate` names another tenant, or none.
    tracestate_wrong: bool,
}

/// What becomes of a member of a list.
#[derive(Clone, Copy)]
enum Fate<'a> {
    Stays,
    Becomes(&'a [u8]),
    Goes,
}

impl Carriers {
    /// Writes the tenant for the next hop: our member of `baggage`, and the dedicated header if
    /// configured.
    ///
    /// Our member is replaced where it stands, or appended to the last line. If that would take the
    /// baggage beyond 64 members or 8192 bytes, ours is left out and the dedicated header, as the
    /// last resort, is written even if it is not configured. Where the request names the tenant
    /// already, not a byte changes.
    ///
    /// None of our own carriers says otherwise afterwards: a dedicated header that is not to be
    /// written, or our member of `tracestate` (which is never written), goes if it names another
    /// tenant. Aliases are the application's and stay: whoever overrides a tenant strips first.
    pub fn write(&self, fields: &mut Fields, tenant: &TenantId) -> Written {
        let survey = self.survey(fields, tenant);
        if survey.tracestate_wrong {
            let own = Self::own(&self.tracestate);
            edit_list(fields, w3c::TRACESTATE, |member| fate(is_tracestate_member(member, own)));
        }
        let written = self.write_baggage(fields, tenant, &survey);
        let header_is_right = survey.headers == 1 && survey.headers_right == 1;
        if self.write_header || written == Written::NoRoom {
            if !header_is_right {
                fields.set(Self::own(&self.headers), tenant.as_str().as_bytes());
            }
        } else if survey.headers != survey.headers_right {
            fields.remove(Self::own(&self.headers));
        }
        written
    }

    fn survey(&self, fields: &Fields, tenant: &TenantId) -> Survey {
        let [header, baggage, tracestate] =
            [&self.headers, &self.baggage, &self.tracestate].map(|it| Self::own(it));
        let mut survey = Survey::default();
        for (name, value) in fields {
            if name == w3c::BAGGAGE {
                survey.add_baggage(value, baggage, tenant);
            } else if name == w3c::TRACESTATE {
                let mut own = w3c::members(value)
                    .map(Member::of_tracestate)
                    .filter(|it| it.key == tracestate);
                survey.tracestate_wrong |=
                    own.any(|it| it.value != Some(tenant.as_str().as_bytes()));
            } else if name == header {
                survey.headers += 1;
                survey.headers_right += usize::from(value == tenant.as_str().as_bytes());
            }
        }
        survey
    }

    fn write_baggage(&self, fields: &mut Fields, tenant: &TenantId, survey: &Survey) -> Written {
        if (survey.own, survey.own_right) == (1, 1) {
            return Written::Full;
        }
        let key = Self::own(&self.baggage);
        let member = [key, b"=", tenant.as_str().as_bytes()].concat();
        if survey.own == 0 {
            return append(fields, &member, survey);
        }
        let mut replacement = Some(&*member);
        edit_list(fields, w3c::BAGGAGE, |found| {
            if is_baggage_member(found, key) {
                replacement.take().map_or(Fate::Goes, Fate::Becomes)
            } else {
                Fate::Stays
            }
        });
        if self.survey(fields, tenant).is_within_limits() {
            return Written::Full;
        }
        edit_list(fields, w3c::BAGGAGE, |found| fate(is_baggage_member(found, key)));
        Written::NoRoom
    }

    /// Removes every carrier, aliases too, read or not; returns whether there was one.
    ///
    /// Other members of `baggage` and `tracestate` keep their bytes and their order. A line that had
    /// no other goes whole.
    pub fn strip(&self, fields: &mut Fields) -> bool {
        let held = |places: &[Place], member: &[u8], is: fn(&[u8], &[u8]) -> bool| {
            places.iter().any(|place| is(member, &place.name))
        };
        let mut found = false;
        fields.edit(|name, value| {
            let edit = if name == w3c::BAGGAGE {
                rewritten(value, |it| fate(held(&self.baggage, it, is_baggage_member)))
            } else if name == w3c::TRACESTATE {
                rewritten(value, |it| fate(held(&self.tracestate, it, is_tracestate_member)))
            } else if self.headers.iter().any(|place| *place.name == *name) {
                Edit::Remove
            } else {
                Edit::Keep
            };
            found |= edit != Edit::Keep;
            edit
        });
        found
    }
}

impl Survey {
    fn add_baggage(&mut self, line: &[u8], key: &[u8], tenant: &TenantId) {
        self.bytes += line.len() + usize::from(self.lines > 0);
        self.lines += 1;
        for member in w3c::members(line) {
            self.members += usize::from(!w3c::trimmed(member).is_empty());
            let member = Member::of_baggage(member);
            if is_baggage_key(member.key, key) {
                let named = percent_decoded(member.value);
                self.own += 1;
                self.own_right += usize::from(named == Ok(*tenant));
            }
        }
    }

    fn is_within_limits(&self) -> bool {
        self.members <= w3c::BAGGAGE_MEMBERS && self.bytes <= w3c::BAGGAGE_BYTES
    }
}

/// The fate of a member that goes if it is ours.
fn fate(is_ours: bool) -> Fate<'static> {
    if is_ours { Fate::Goes } else { Fate::Stays }
}

/// Appends a member to the last line of `baggage`, or in a line of its own, if the limits allow it.
fn append(fields: &mut Fields, member: &[u8], before: &Survey) -> Written {
    let last = fields.all(w3c::BAGGAGE).last().map(<[u8]>::to_vec);
    let line = last.as_deref().map(w3c::trimmed).unwrap_or_default();
    let comma: &[u8] = if line.is_empty() || line.ends_with(b",") { b"" } else { b"," };
    let grown = Survey {
        bytes: before.bytes + comma.len() + member.len(),
        members: before.members + 1,
        ..Survey::default()
    };
    if !grown.is_within_limits() {
        return Written::NoRoom;
    }
    let Some(last) = last else {
        fields.push(w3c::BAGGAGE, member);
        return Written::Full;
    };
    let mut seen = 0;
    fields.edit(|name, _| {
        seen += usize::from(name == w3c::BAGGAGE);
        if name == w3c::BAGGAGE && seen == before.lines {
            Edit::Replace([&last, comma, member].concat())
        } else {
            Edit::Keep
        }
    });
    Written::Full
}

/// Does with every member of a list, over all its lines, what `fate` says.
fn edit_list<'a>(fields: &mut Fields, list: &[u8], mut fate: impl FnMut(&[u8]) -> Fate<'a>) {
    fields.edit(|name, value| if name == list { rewritten(value, &mut fate) } else { Edit::Keep });
}

/// Does with every member of a line what `fate` says; a line of which no member stays goes.
fn rewritten<'a>(line: &[u8], mut fate: impl FnMut(&[u8]) -> Fate<'a>) -> Edit {
    let mut kept: Option<Vec<u8>> = None;
    let (mut changed, mut members) = (false, 0);
    for member in w3c::members(line) {
        let (before, itself, after) = w3c::parted(member);
        let itself = match fate(member) {
            Fate::Stays => itself,
            Fate::Becomes(new) => {
                changed = true;
                new
            }
            Fate::Goes => {
                changed = true;
                continue;
            }
        };
        members += usize::from(!itself.is_empty());
        let kept = match &mut kept {
            Some(kept) => {
                kept.push(b',');
                kept
            }
            None => kept.insert(Vec::with_capacity(line.len() + 80)),
        };
        for part in [before, itself, after] {
            kept.extend_from_slice(part);
        }
    }
    match kept {
        _ if !changed => Edit::Keep,
        Some(kept) if members > 0 => Edit::Replace(kept),
        _ => Edit::Remove,
    }
}
