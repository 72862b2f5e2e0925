//! Carriers: a tenant is what all of them say, and other people's members keep their bytes.

use std::time::Duration;

use dyelane::config::{Carrier, Correlation as Settings, CorrelationId, OnConflict, TenantSection};
use dyelane::model::{Fields, TenantId};
use dyelane::tenant::{Carriers, ClaimError, Correlation, Read, Recall, Written};

/// Names a field can have, by number; the last is nobody's.
const NAMES: [&str; 9] = [
    "x-tenant",
    "baggage",
    "tracestate",
    "x-lane",
    "traceparent",
    "b3",
    "x-datadog-trace-id",
    "x-request-id",
    "accept",
];
/// The keys of our member and of the alias's, in either list.
const KEYS: [&str; 2] = ["tenant", "lane"];

/// The bytes are lines of `baggage`.
pub fn baggage(bytes: &[u8]) {
    let lines = bytes.split(|byte| *byte == b'\n').map(|line| ("baggage", line));
    holds(&lines.collect(), &section(OnConflict::Reject, true));
}

/// The bytes are lines of `tracestate`.
pub fn tracestate(bytes: &[u8]) {
    let lines = bytes.split(|byte| *byte == b'\n').map(|line| ("tracestate", line));
    holds(&lines.collect(), &section(OnConflict::Reject, true));
}

/// The first byte is a policy; each line is a field: one byte for its name, the rest its value.
pub fn claim(bytes: &[u8]) {
    let Some((policy, bytes)) = bytes.split_first() else { return };
    let conflicts = [OnConflict::Reject, OnConflict::Ignore, OnConflict::Header];
    let section = section(conflicts[usize::from(*policy) % 3], policy & 0x80 == 0);
    let lines = bytes.split(|byte| *byte == b'\n').filter_map(<[u8]>::split_first);
    let fields = lines.map(|(name, value)| (NAMES[usize::from(*name) % NAMES.len()], value));
    let fields: Fields = fields.collect();

    holds(&fields, &section);
    joins(&fields, &section.correlation);
}

fn section(on_conflict: OnConflict, write_header: bool) -> TenantSection {
    let [key, alias] = KEYS.map(str::to_owned);
    TenantSection {
        header: "x-tenant".into(),
        baggage: key.clone(),
        tracestate: key.clone(),
        read: vec![
            Carrier::Header("x-tenant".into()),
            Carrier::Baggage(key.clone()),
            Carrier::Tracestate(key),
            Carrier::Header("x-lane".into()),
            Carrier::Baggage(alias.clone()),
            Carrier::Tracestate(alias),
        ],
        on_conflict,
        write_header,
        own_lane: true,
        correlation: Settings {
            ids: vec![
                CorrelationId::Traceparent,
                CorrelationId::B3,
                CorrelationId::Datadog,
                CorrelationId::Header("x-request-id".into()),
            ],
            capacity: 64,
            max_age: Duration::from_secs(1),
        },
    }
}

fn alice() -> TenantId {
    TenantId::new("alice").unwrap()
}

fn holds(fields: &Fields, section: &TenantSection) {
    let carriers = Carriers::new(section);
    reads(&carriers, fields, section);
    strips(&carriers, fields);
    writes(&carriers, fields, section);
}

/// What is read is what a plainer reader reads.
fn reads(carriers: &Carriers, fields: &Fields, section: &TenantSection) {
    let claims = plain_claims(fields);
    let malformed = claims.iter().any(|it| it.tenant.is_none());
    let conflict = claims.windows(2).any(|it| it[0].tenant != it[1].tenant);
    let cause = if malformed { "malformed" } else { "conflict" };

    let read = carriers.read(fields);

    if !malformed && !conflict {
        let first = claims.iter().min_by_key(|it| it.rank);
        let Ok(Read { claim, trouble: None }) = read else { panic!("{read:?} of {claims:?}") };
        assert_eq!(
            claim.map(|it| (it.tenant.to_string(), it.carrier)),
            first.map(|it| (it.tenant.clone().unwrap(), it.label()))
        );
        return;
    }
    let headers: Vec<_> = claims.iter().filter(|it| it.rank == 0).map(|it| &it.tenant).collect();
    let clean = headers.first().filter(|first| headers.iter().all(|it| it == *first));
    let decided = clean.and_then(|it| (*it).clone());
    let expected = match section.on_conflict {
        OnConflict::Ignore => Ok((None, Some(cause))),
        OnConflict::Header if decided.is_some() => Ok((decided, Some(cause))),
        OnConflict::Header | OnConflict::Reject => Err(cause),
    };
    let told =
        |it: Read| (it.claim.map(|it| it.tenant.to_string()), it.trouble.map(|it| it.cause()));
    assert_eq!(read.map(told).map_err(|it: ClaimError| it.cause()), expected);
}

/// Stripping leaves no claim, and everything else.
fn strips(carriers: &Carriers, before: &Fields) {
    let mut after = before.clone();

    let found = carriers.strip(&mut after);

    assert_eq!(carriers.read(&after), Ok(Read::default()));
    assert_eq!(found, *before != after);
    for list in ["baggage", "tracestate"] {
        assert_eq!(others(&after, list, &[]), others(before, list, &KEYS), "{list}");
    }
    assert!(untouched(before).eq(untouched(&after)));
    assert!(!carriers.strip(&mut after));
}

/// Writing makes our carriers say the tenant, and leaves everything else.
fn writes(carriers: &Carriers, before: &Fields, section: &TenantSection) {
    let mut after = before.clone();
    let own = [KEYS[0]];

    let written = carriers.write(&mut after, &alice());

    let claims = plain_claims(&after);
    let ours = claims.iter().filter(|it| it.rank < 3);
    assert!(ours.clone().all(|it| it.tenant.as_deref() == Some("alice")));
    let has = |rank| ours.clone().filter(|it| it.rank == rank).count();
    assert_eq!(has(1), usize::from(written == Written::Full));
    assert!(has(0) == 1 || !section.write_header);
    assert!(has(0) > 0 || written == Written::Full);
    for list in ["baggage", "tracestate"] {
        assert_eq!(others(&after, list, &own), others(before, list, &own), "{list}");
    }
    assert!(untouched(before).eq(untouched(&after)));
    room(before, &after, written);

    let once = after.clone();
    assert_eq!(carriers.write(&mut after, &alice()), written);
    assert_eq!(once, after);
}

/// Our member is written if, and only if, the limits of W3C Baggage allow it.
fn room(before: &Fields, after: &Fields, written: Written) {
    let size = |fields: &Fields| {
        let lines: Vec<_> = fields.all(b"baggage").collect();
        (lines.join(&b',').len(), others(fields, "baggage", &[]).len())
    };
    let ((bytes, members), (before_bytes, before_members)) = (size(after), size(before));
    let changed = !before.all(b"baggage").eq(after.all(b"baggage"));
    if written == Written::Full {
        assert!(!changed || (bytes <= 8192 && members <= 64));
    } else {
        assert!(before_bytes + ",tenant=alice".len() > 8192 || before_members + 1 > 64);
    }
}

/// What came in with a tenant is recalled with it, and with no other.
fn joins(fields: &Fields, settings: &Settings) {
    let correlation = Correlation::new(settings);
    let (now, later) = (Duration::from_secs(5), Duration::from_secs(6));

    let remembered = correlation.remember(fields, alice(), now);

    let known = if remembered.ids > 0 { Recall::Tenant(alice()) } else { Recall::NoId };
    assert_eq!(correlation.recall(fields, now), known);
    let outdated = if remembered.ids > 0 { Recall::Unknown } else { Recall::NoId };
    assert_eq!(correlation.recall(fields, later), outdated);
    let again = correlation.remember(fields, TenantId::new("bob").unwrap(), now);
    let poisoned = if remembered.ids > 0 { Recall::Poisoned } else { Recall::NoId };
    assert_eq!(correlation.recall(fields, now), poisoned);
    assert_eq!((again.ids, again.forgotten), (remembered.ids, 0));
    assert!(correlation.len() <= remembered.ids);
}

/// A carrier that was found, by a plainer reader.
#[derive(Debug)]
struct Plain {
    rank: usize,
    /// None: malformed.
    tenant: Option<String>,
}

impl Plain {
    fn label(&self) -> &'static str {
        ["header", "baggage", "tracestate"].get(self.rank).copied().unwrap_or("alias")
    }
}

fn plain_claims(fields: &Fields) -> Vec<Plain> {
    let mut found = Vec::new();
    for (name, value) in fields {
        let name = std::str::from_utf8(name).unwrap();
        if let Some(rank) = [("x-tenant", 0), ("x-lane", 3)].iter().find(|it| it.0 == name) {
            found.push(Plain { rank: rank.1, tenant: plain_name(value) });
        }
        for member in value.split(|byte| *byte == b',') {
            if name == "baggage"
                && let Some(which) = KEYS.iter().position(|key| is_member(name, member, key))
            {
                let (_, value) = parted(until(member, b';'));
                let value = value.map(|it| percent_decoded(trimmed(it)));
                let tenant = value.and_then(|it| plain_name(&it));
                found.push(Plain { rank: 1 + 3 * which, tenant });
            }
            if name == "tracestate"
                && let Some(which) = KEYS.iter().position(|key| is_member(name, member, key))
            {
                let (key, value) = parted(trimmed(member));
                let good = key == KEYS[which].as_bytes();
                let tenant = value.filter(|_| good).and_then(plain_name);
                found.push(Plain { rank: 2 + 3 * which, tenant });
            }
        }
    }
    found
}

/// The members of a list that have none of the keys, in order, but for the empty.
fn others<'a>(fields: &'a Fields, list: &'a str, keys: &[&str]) -> Vec<&'a [u8]> {
    let all = fields.all(list.as_bytes()).flat_map(|line| line.split(|byte| *byte == b','));
    let all = all.filter(|it| !trimmed(it).is_empty());
    all.filter(|it| !keys.iter().any(|key| is_member(list, it, key))).collect()
}

/// The fields that can carry nothing.
fn untouched(fields: &Fields) -> impl Iterator<Item = (&[u8], &[u8])> {
    let carriers: [&[u8]; 4] = [b"x-tenant", b"x-lane", b"baggage", b"tracestate"];
    fields.iter().filter(move |(name, _)| !carriers.contains(name))
}

fn is_member(list: &str, member: &[u8], key: &str) -> bool {
    if list == "tracestate" {
        return trimmed(parted(member).0) == key.as_bytes();
    }
    let found = trimmed(parted(until(member, b';')).0);
    let spaced: Vec<u8> = found.iter().map(|it| if *it == b'+' { b' ' } else { *it }).collect();
    let decoded = percent_decoded(&spaced);
    let visible: Vec<u8> = decoded.into_iter().filter(u8::is_ascii_graphic).collect();
    found == key.as_bytes() || visible == key.as_bytes()
}

fn until(text: &[u8], end: u8) -> &[u8] {
    &text[..text.iter().position(|it| *it == end).unwrap_or(text.len())]
}

fn parted(text: &[u8]) -> (&[u8], Option<&[u8]>) {
    match text.iter().position(|it| *it == b'=') {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    }
}

fn trimmed(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = text {
        text = rest;
    }
    text
}

fn percent_decoded(text: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::new();
    let mut at = 0;
    while at < text.len() {
        let code = text.get(at + 1..at + 3).filter(|it| it.iter().all(u8::is_ascii_hexdigit));
        if let (b'%', Some(code)) = (text[at], code) {
            let code = std::str::from_utf8(code).unwrap();
            decoded.push(u8::from_str_radix(code, 16).unwrap());
            at += 3;
        } else {
            decoded.push(text[at]);
            at += 1;
        }
    }
    decoded
}

fn plain_name(text: &[u8]) -> Option<String> {
    let good = (1..=63).contains(&text.len())
        && text[0].is_ascii_alphanumeric()
        && text.iter().all(|it| it.is_ascii_alphanumeric() || b"._-".contains(it));
    good.then(|| String::from_utf8(text.to_vec()).unwrap())
}
