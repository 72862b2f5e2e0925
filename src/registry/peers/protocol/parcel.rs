//! What nodes say to each other: the body of `POST /v1/peer/exchange`, and of its answer.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::model::{LaneName, TenantId};
use crate::registry::record::{Id, NodeId, Record, Version};
use crate::registry::rules::Rule;

/// The path of the exchange.
pub const EXCHANGE_PATH: &str = "/v1/peer/exchange";
/// Longest body of an exchange, either way, in bytes.
pub const MOST_BODY: usize = 16 << 20;

/// Buckets a registry's records are compared by.
pub const BUCKETS: u16 = 1024;
/// Records sent in one parcel at most.
pub(super) const MOST_RECORDS: usize = 1000;
/// What the records of one parcel weigh at most, in bytes, unless the first alone weighs more.
pub(super) const MOST_WEIGHT: usize = 1 << 20;
/// The heaviest record there may be, in bytes: so that one with its escapes fits into a body.
const HEAVIEST: usize = 8 << 20;
/// Renewals sent in one parcel at most.
pub(super) const MOST_RENEWED: usize = 1000;
/// Ids asked for in one parcel at most.
pub(super) const MOST_WANTED: usize = 4000;
/// Entries of buckets listed in one parcel, from which on no further bucket is.
pub(super) const MOST_LISTED: usize = 4000;
/// Rules sent or asked for in one parcel at most.
pub(super) const MOST_RULES: usize = 1000;
/// Rules there are at most, removed ones included.
const MOST_RULES_KNOWN: usize = 100_000;
/// Nodes named in one parcel at most.
pub(super) const MOST_NAMED: usize = 128;

/// What is taken of a stranger is more generous than what we send, so that the bounds of one
/// release are not the faults of the next.
const LENIENCE: usize = 16;
/// Longest name of a node's place, in bytes.
const LONGEST_NAME: usize = 512;

/// One thing said by one node to another. Every part may be missing.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Parcel {
    /// Who speaks.
    pub from: Speaker,
    /// Other nodes the speaker knows to be there.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<Acquaintance>,
    /// Records: new ones, those asked for, and those of which the other showed an older writing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub records: Vec<Arc<Record>>,
    /// Leases renewed by their providers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub renewed: Vec<Mark>,
    /// In an answer: records the speaker lacks, or has an older writing of.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub wanted: Vec<Id>,
    /// The digest of all records the speaker has. Asks for the other's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub root: Option<Id>,
    /// In an answer to a different `root`: the digests of the [`BUCKETS`].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub buckets: Vec<Id>,
    /// What the speaker has in buckets that differ. Asks for what it lacks of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub listed: Vec<Listing>,
    /// In an answer to `listed`: buckets that are to be listed again, as there was no room for all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub again: Vec<u16>,
    /// Asks for a page of a copy of everything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub copy: Option<Span>,
    /// The digest of the tenant rules the speaker has. Asks for the other's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rules_root: Option<Id>,
    /// In an answer to a different `rules_root`: which writing of each rule the speaker has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rules_known: Option<Vec<RuleMark>>,
    /// Rules the speaker lacks, or has an older writing of.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rules_wanted: Vec<RuleName>,
    /// Rules.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<Rule>,
    /// In an answer to `copy`: what of the span is still to be asked for; none: nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rest: Option<Span>,
}

/// Who speaks, and from where.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Speaker {
    /// Its number among all nodes.
    pub node: NodeId,
    /// Its run: drawn at random whenever the process starts.
    pub run: u64,
    /// Where others reach it: `host:port`.
    pub at: Arc<str>,
    /// The zone it runs in.
    pub zone: Arc<str>,
    /// What it is called in its zone.
    pub host: Arc<str>,
    /// Whether it has a complete copy, or has given up waiting for one.
    pub readable: bool,
    /// Whether it began less than a lease ago and without a copy of a node that did not: it need not
    /// have heard of everybody.
    pub filling: bool,
}

/// A node that somebody knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acquaintance {
    /// Where it is reached: `host:port`.
    pub at: Arc<str>,
    /// The zone it runs in.
    pub zone: Arc<str>,
}

/// One writing of one record, by name only: `[id, at, node]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "(Id, u64, NodeId)", into = "(Id, u64, NodeId)")]
pub struct Mark {
    /// Which record.
    pub id: Id,
    /// Which writing of it.
    pub version: Version,
}

impl From<(Id, u64, NodeId)> for Mark {
    fn from((id, at, node): (Id, u64, NodeId)) -> Self {
        Self { id, version: Version { at, node } }
    }
}

impl From<Mark> for (Id, u64, NodeId) {
    fn from(it: Mark) -> Self {
        (it.id, it.version.at, it.version.node)
    }
}

/// Which rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RuleName {
    /// That of a tenant.
    Tenant(TenantId),
    /// That of a lane.
    Lane(LaneName),
}

/// One writing of one rule, by name only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleMark {
    /// Which rule.
    pub name: RuleName,
    /// Which writing of it.
    pub version: Version,
}

impl From<&Rule> for RuleMark {
    fn from(rule: &Rule) -> Self {
        match rule {
            Rule::Tenant(it) => Self { name: RuleName::Tenant(it.name), version: it.version },
            Rule::Lane(it) => Self { name: RuleName::Lane(it.name), version: it.version },
        }
    }
}

/// All a node has in one bucket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listing {
    /// Which bucket.
    pub bucket: u16,
    /// What there is.
    pub entries: Vec<Mark>,
}

/// A run of buckets, of the first of which a part may have been had already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// The first bucket.
    pub from: u16,
    /// The bucket after the last.
    pub to: u16,
    /// In the first bucket, only ids after this one; none: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Id>,
}

impl Span {
    /// Whether this is a true rest of `whole`.
    pub(super) fn is_less_than(self, whole: Self) -> bool {
        self.to == whole.to && (self.from, self.after) > (whole.from, whole.after)
    }
}

/// Why a parcel is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidParcel {
    /// A list is too long.
    #[error("names too many {0}")]
    TooMany(&'static str),
    /// There is no such bucket.
    #[error("names a bucket there is not")]
    Bucket,
    /// The speaker does not say who it is, or at too great length.
    #[error("does not say who speaks")]
    Speaker,
    /// A record is so heavy that no parcel could pass it on.
    #[error("has a record of more than 8 MiB")]
    Heavy,
}

/// Why bytes are no parcel that is taken.
#[derive(Debug, thiserror::Error)]
pub enum ParcelError {
    /// They are none.
    #[error("is no parcel: {0}")]
    Json(#[from] serde_json::Error),
    /// They are one out of bounds.
    #[error(transparent)]
    Invalid(#[from] InvalidParcel),
}

impl Parcel {
    /// A parcel that says nothing yet.
    pub fn new(from: Speaker) -> Self {
        Self { from, ..Self::default() }
    }

    /// Reads one, and makes sure that it keeps within bounds.
    pub fn read(bytes: &[u8]) -> Result<Self, ParcelError> {
        let parcel: Self = serde_json::from_slice(bytes)?;
        parcel.check()?;
        Ok(parcel)
    }

    /// Makes sure that it keeps within bounds; its length in bytes has been seen to already.
    pub fn check(&self) -> Result<(), InvalidParcel> {
        let entries = self.listed.iter().map(|it| it.entries.len()).sum();
        let lists = [
            (self.records.len(), MOST_RECORDS, "records"),
            (self.renewed.len(), MOST_RENEWED, "renewals"),
            (self.wanted.len(), MOST_WANTED, "wanted records"),
            (entries, MOST_LISTED, "entries"),
            (self.nodes.len(), MOST_NAMED, "nodes"),
            (self.rules.len(), MOST_RULES, "rules"),
            (self.rules_wanted.len(), MOST_RULES, "wanted rules"),
            (self.rules_known.as_ref().map_or(0, Vec::len), MOST_RULES_KNOWN, "rules"),
            (self.listed.len(), BUCKETS.into(), "buckets"),
            (self.again.len(), BUCKETS.into(), "buckets"),
        ];
        for (length, most, what) in lists {
            if length > most * LENIENCE {
                return Err(InvalidParcel::TooMany(what));
            }
        }
        if self.records.iter().any(|it| weight(it) > HEAVIEST) {
            return Err(InvalidParcel::Heavy);
        }
        let mut named = self.listed.iter().map(|it| it.bucket).chain(self.again.iter().copied());
        let spans = self.copy.iter().chain(&self.rest);
        if named.any(|it| it >= BUCKETS)
            || spans.into_iter().any(|it| it.from > it.to || it.to > BUCKETS)
            || !matches!(self.buckets.len(), 0 | 1024)
        {
            return Err(InvalidParcel::Bucket);
        }
        let Speaker { at, zone, host, .. } = &self.from;
        if at.is_empty() || [at, zone, host].iter().any(|it| it.len() > LONGEST_NAME) {
            return Err(InvalidParcel::Speaker);
        }
        Ok(())
    }
}

/// What is left of a parcel's room for records.
#[derive(Debug)]
pub(super) struct Room {
    records: usize,
    weight: usize,
}

impl Room {
    /// Whether there is none left.
    pub(super) fn is_full(&self) -> bool {
        self.records == 0
    }

    /// The room of an empty parcel.
    pub(super) fn new() -> Self {
        Self { records: MOST_RECORDS, weight: MOST_WEIGHT }
    }

    /// Takes the room of one more record, if there is any: an empty parcel has room for any one. The
    /// first for which there is none is the last that is tried.
    pub(super) fn admits(&mut self, record: &Record) -> bool {
        let weight = weight(record);
        let fits = self.weight >= weight || self.records == MOST_RECORDS;
        if self.records == 0 || !fits {
            self.records = 0;
            return false;
        }
        self.records -= 1;
        self.weight = self.weight.saturating_sub(weight);
        true
    }
}

/// Returns about how many bytes a record takes when written.
fn weight(record: &Record) -> usize {
    let key = &record.key;
    let key = key.env.len() + key.appid.len() + key.zone.len() + key.hostname.len();
    let live = record.live().map_or(0, |live| {
        let addrs: usize = live.addrs.iter().map(|it| it.len() + 3).sum();
        let fields = live.metadata.iter().map(|(key, value)| key.len() + value.len() + 6);
        let told = live.eureka.iter().flat_map(|it| it.texts()).map(|it| it.len() + 16);
        let texts: usize = fields.chain(told).sum();
        200 + live.region.len() + live.version.len() + addrs + texts
    });
    150 + key + live
}

#[cfg(test)]
mod tests {
    use super::*;

    fn speaker() -> Speaker {
        Speaker { at: "10.0.0.1:7171".into(), zone: "z".into(), ..Speaker::default() }
    }

    #[test]
    fn a_parcel_is_read_as_it_was_written() {
        let version = Version { at: u64::MAX, node: NodeId(7) };
        let entry = Mark { id: Id(9), version };
        let parcel = Parcel {
            renewed: vec![Mark { id: Id(u128::MAX), version }],
            listed: vec![Listing { bucket: 1023, entries: vec![entry] }],
            copy: Some(Span { from: 0, to: BUCKETS, after: Some(Id(1)) }),
            ..Parcel::new(speaker())
        };

        let text = serde_json::to_string(&parcel).unwrap();

        assert_eq!(serde_json::from_str::<Parcel>(&text).unwrap(), parcel);
        assert_eq!(parcel.check(), Ok(()));
        assert!(!text.contains("records"), "what is not said takes no room: {text}");
    }

    #[test]
    fn a_stranger_cannot_say_more_than_there_is() {
        let said = Parcel::new(speaker());
        let nobody = Parcel::default();
        let listing = Listing { bucket: BUCKETS, entries: vec![] };
        let no_bucket = Parcel { listed: vec![listing], ..said.clone() };
        let no_span = Parcel { copy: Some(Span { from: 2, to: 1, after: None }), ..said.clone() };
        let few_buckets = Parcel { buckets: vec![Id(0)], ..said.clone() };
        let many = Parcel { wanted: vec![Id(0); 64_001], ..said };

        assert_eq!(nobody.check(), Err(InvalidParcel::Speaker));
        assert_eq!(no_bucket.check(), Err(InvalidParcel::Bucket));
        assert_eq!(no_span.check(), Err(InvalidParcel::Bucket));
        assert_eq!(few_buckets.check(), Err(InvalidParcel::Bucket));
        assert_eq!(many.check(), Err(InvalidParcel::TooMany("wanted records")));
    }
}
