//! What the carriers must do whatever the bytes.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::tests::{section, tenant};
use super::{Carriers, Read, Written};
use crate::config::{Carrier, OnConflict, TenantSection};
use crate::model::Fields;
use crate::tenant::{Claim, w3c};

/// Members of our key, in either list, however they are written.
const OWN: &[&str] = &[
    "tenant=alice",
    " tenant=bob ",
    "tenant=bob\t",
    "tenant",
    "tenant=",
    "tenant=%2",
    "tenant=\u{e4}",
];
/// Members of an alias's key.
const ALIAS: &[&str] = &["lane=alice", "\tlane=bob", "lane"];
/// Members that are nobody's business, well-formed or not.
const FOREIGN: &[&str] = &[
    "a=1",
    " b = 2;p;q=3",
    "",
    "  ",
    "\"c",
    "=",
    ";",
    "Tenant=x",
    "tenants=1",
    "k8s.pod=p%20q",
    "%",
];

fn aliased() -> TenantSection {
    let mut section = section();
    section.read.truncate(3);
    section.read.push(Carrier::Baggage("lane".into()));
    section.read.push(Carrier::Tracestate("lane".into()));
    section.read.push(Carrier::Header("x-lane".into()));
    section
}

fn member() -> impl Strategy<Value = Vec<u8>> {
    let known = |members| select(members).prop_map(|it: &str| it.as_bytes().to_vec());
    let odd = vec(any::<u8>().prop_filter("a comma parts", |it| *it != b','), 0..20);
    let long = (0_usize..9000).prop_map(|length| vec![b'x'; length]);
    prop_oneof![4 => known(OWN), 2 => known(ALIAS), 6 => known(FOREIGN), 1 => odd, 1 => long]
}

fn line() -> impl Strategy<Value = Vec<u8>> {
    let few = vec(member(), 0..6);
    let many = (member(), 1_usize..80).prop_map(|(member, count)| vec![member; count]);
    prop_oneof![8 => few, 1 => many].prop_map(|members| members.join(&b','))
}

fn field() -> impl Strategy<Value = (&'static str, Vec<u8>)> {
    let lists = select(&["baggage", "tracestate"][..]);
    let names = select(&["x-tenant", "x-lane", "accept"][..]);
    let tenants = select(&["alice", "bob", "a,b", "", "\u{e4}"][..]);
    let values = prop_oneof![
        3 => tenants.prop_map(|it| it.as_bytes().to_vec()),
        1 => vec(any::<u8>(), 0..20),
    ];
    prop_oneof![3 => (lists, line()), 2 => (names, values)]
}

fn fields() -> impl Strategy<Value = Fields> {
    vec(field(), 0..8).prop_map(|it| it.into_iter().collect())
}

/// Returns the members of a list, in order, but for the empty and for `but`, blanks aside.
fn members(fields: &Fields, list: &[u8], but: &[&str]) -> Vec<Vec<u8>> {
    let left_out = |member: &[u8]| {
        let member = w3c::trimmed(member);
        member.is_empty() || but.iter().any(|it| w3c::trimmed(it.as_bytes()) == member)
    };
    let all = fields.all(list).flat_map(w3c::members);
    all.filter(|it| !left_out(it)).map(<[u8]>::to_vec).collect()
}

/// Returns the bytes of the baggage, commas between its lines included.
fn baggage_bytes(fields: &Fields) -> usize {
    fields.all(w3c::BAGGAGE).map(|line| line.len() + 1).sum::<usize>().saturating_sub(1)
}

proptest! {
    #[test]
    fn what_is_written_is_read(mut fields in fields(), write_header in any::<bool>()) {
        let mut section = TenantSection { write_header, ..section() };
        section.read.truncate(3);
        let carriers = Carriers::new(&section);

        carriers.write(&mut fields, &tenant("alice"));

        let carrier = if fields.contains(b"x-tenant") { "header" } else { "baggage" };
        let claim = Some(Claim { tenant: tenant("alice"), carrier });
        prop_assert_eq!(carriers.read(&fields), Ok(Read { claim, trouble: None }));
    }

    #[test]
    fn writing_again_changes_nothing(mut fields in fields()) {
        let carriers = Carriers::new(&aliased());
        let written = carriers.write(&mut fields, &tenant("alice"));
        let once = fields.clone();

        let again = carriers.write(&mut fields, &tenant("alice"));

        prop_assert_eq!((written, once), (again, fields));
    }

    #[test]
    fn writing_keeps_what_others_wrote(before in fields()) {
        let mut after = before.clone();

        Carriers::new(&aliased()).write(&mut after, &tenant("alice"));

        for list in [w3c::BAGGAGE, w3c::TRACESTATE] {
            prop_assert_eq!(members(&after, list, OWN), members(&before, list, OWN));
        }
        prop_assert!(before.all(b"accept").eq(after.all(b"accept")));
        prop_assert!(before.all(b"x-lane").eq(after.all(b"x-lane")));
    }

    #[test]
    fn our_member_never_takes_the_baggage_beyond_its_limits(mut fields in fields()) {
        let carriers = Carriers::new(&aliased());
        carriers.strip(&mut fields);
        let members = members(&fields, w3c::BAGGAGE, &[]).len();
        let bytes = baggage_bytes(&fields);

        let written = carriers.write(&mut fields, &tenant("alice"));

        let grown = baggage_bytes(&fields) - bytes;
        prop_assert_eq!(written == Written::Full, grown > 0);
        prop_assert!(grown == 0 || (members < 64 && bytes + grown <= 8192));
        prop_assert!(grown > 0 || members == 64 || members > 64 || bytes > 8192 - ",tenant=alice".len());
    }

    #[test]
    fn stripping_leaves_no_claim_and_all_else(before in fields()) {
        let carriers = Carriers::new(&aliased());
        let mut after = before.clone();

        let found = carriers.strip(&mut after);

        prop_assert_eq!(carriers.read(&after), Ok(Read::default()));
        prop_assert_eq!(found, before != after);
        for list in [w3c::BAGGAGE, w3c::TRACESTATE] {
            let ours = [OWN, ALIAS].concat();
            prop_assert_eq!(members(&after, list, &[]), members(&before, list, &ours));
        }
        prop_assert!(before.all(b"accept").eq(after.all(b"accept")));
    }

    #[test]
    fn no_policy_makes_up_a_tenant(fields in fields()) {
        let read = |on_conflict| {
            Carriers::new(&TenantSection { on_conflict, ..aliased() }).read(&fields)
        };
        let (reject, ignore, header) =
            (read(OnConflict::Reject), read(OnConflict::Ignore), read(OnConflict::Header));

        match reject {
            Ok(read) => prop_assert_eq!((ignore, header), (Ok(read), Ok(read))),
            Err(trouble) => {
                let nobody = Read { claim: None, trouble: Some(trouble) };
                prop_assert_eq!(ignore, Ok(nobody));
                let values: Vec<_> = fields.all(b"x-tenant").collect();
                let same = values.windows(2).all(|it| it[0] == it[1]);
                let one = values.first().filter(|_| same);
                let clean = one.and_then(|it| crate::model::TenantId::from_bytes(it).ok());
                let claim = clean.map(|tenant| Claim { tenant, carrier: "header" });
                let decided = claim.map(|claim| Read { claim: Some(claim), ..nobody });
                prop_assert_eq!(header, decided.ok_or(trouble));
            }
        }
    }

    #[test]
    fn no_bytes_make_it_panic(
        name in "baggage|tracestate|x-tenant|traceparent|b3",
        value in vec(any::<u8>(), 0..200),
    ) {
        let carriers = Carriers::new(&aliased());
        let mut fields: Fields = [(name, value)].into_iter().collect();

        let _ = (carriers.read(&fields), crate::tenant::trace_id(&fields));
        carriers.write(&mut fields, &tenant("alice"));
        carriers.strip(&mut fields);
    }
}
