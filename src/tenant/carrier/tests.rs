//! What the carriers must do, rule by rule.

use super::{Carriers, Read, Written};
use crate::config::{Carrier, Correlation, OnConflict, TenantSection};
use crate::model::{Fields, InvalidName, TenantId};
use crate::tenant::{Claim, ClaimError};

/// Our own carriers, and one alias of each kind.
pub(super) fn section() -> TenantSection {
    let (header, baggage, tracestate) = (Carrier::Header, Carrier::Baggage, Carrier::Tracestate);
    TenantSection {
        header: "x-tenant".into(),
        baggage: "tenant".into(),
        tracestate: "tenant".into(),
        read: vec![
            header("x-tenant".into()),
            baggage("tenant".into()),
            tracestate("tenant".into()),
            baggage("sd-routing-key".into()),
            header("x-asm-prefer-tag".into()),
            tracestate("linkup-session".into()),
        ],
        on_conflict: OnConflict::Reject,
        write_header: true,
        own_lane: true,
        correlation: Correlation {
            ids: Vec::new(),
            capacity: 1,
            max_age: std::time::Duration::from_secs(1),
        },
    }
}

fn carriers() -> Carriers {
    Carriers::new(&section())
}

fn with(change: impl FnOnce(&mut TenantSection)) -> Carriers {
    let mut section = section();
    change(&mut section);
    Carriers::new(&section)
}

pub(super) fn tenant(name: &str) -> TenantId {
    TenantId::new(name).unwrap()
}

fn list(pairs: &[(&str, &str)]) -> Fields {
    pairs.iter().copied().collect()
}

fn claim(name: &str, carrier: &'static str) -> Read {
    Read { claim: Some(Claim { tenant: tenant(name), carrier }), trouble: None }
}

fn conflict(one: &'static str, other: &'static str) -> ClaimError {
    ClaimError::Conflict { one, other }
}

fn malformed(carrier: &'static str, why: InvalidName) -> ClaimError {
    ClaimError::Malformed { carrier, why }
}

/// Returns the lines of a list as text.
fn lines<'a>(fields: &'a Fields, name: &'a str) -> Vec<&'a str> {
    fields.all(name.as_bytes()).map(|it| std::str::from_utf8(it).unwrap()).collect()
}

mod reading {
    use super::*;

    #[test]
    fn a_tenant_is_read_from_whatever_carrier_has_it() {
        for (name, value, carrier) in [
            ("x-tenant", "alice", "header"),
            ("baggage", "tenant=alice", "baggage"),
            ("tracestate", "tenant=alice", "tracestate"),
            ("baggage", "sd-routing-key=alice", "alias"),
            ("x-asm-prefer-tag", "alice", "alias"),
            ("tracestate", "linkup-session=alice", "alias"),
        ] {
            let read = carriers().read(&list(&[("accept", "*/*"), (name, value)]));

            assert_eq!(read, Ok(claim("alice", carrier)), "{name}: {value}");
        }
    }

    #[test]
    fn a_request_without_carriers_has_no_tenant() {
        let fields = list(&[("baggage", "a=1,b=2"), ("tracestate", "x=y"), ("x-tenants", "alice")]);

        assert_eq!(carriers().read(&fields), Ok(Read::default()));
    }

    #[test]
    fn carriers_that_agree_are_one_claim_of_the_first_in_order() {
        let fields = list(&[
            ("x-asm-prefer-tag", "alice"),
            ("tracestate", "tenant=alice"),
            ("baggage", "tenant=alice,tenant=alice"),
            ("x-tenant", "alice"),
            ("x-tenant", "alice"),
        ]);

        assert_eq!(carriers().read(&fields), Ok(claim("alice", "header")));
    }

    #[test]
    fn any_two_carriers_that_disagree_are_a_conflict() {
        for (first, second, error) in [
            (("x-tenant", "alice"), ("x-tenant", "bob"), conflict("header", "header")),
            (("x-tenant", "alice"), ("x-tenant", "Alice"), conflict("header", "header")),
            (("x-tenant", "alice"), ("baggage", "tenant=bob"), conflict("header", "baggage")),
            (("baggage", "tenant=bob"), ("baggage", "tenant=al"), conflict("baggage", "baggage")),
            (("tracestate", "tenant=al"), ("x-tenant", "bob"), conflict("tracestate", "header")),
            (("x-tenant", "alice"), ("x-asm-prefer-tag", "bob"), conflict("header", "alias")),
        ] {
            assert_eq!(
                carriers().read(&list(&[first, second])),
                Err(error),
                "{first:?} {second:?}"
            );
        }
    }

    #[test]
    fn a_later_carrier_that_disagrees_is_seen_behind_two_that_agree() {
        let fields = list(&[
            ("x-tenant", "alice"),
            ("baggage", "tenant=alice"),
            ("tracestate", "tenant=bob"),
        ]);

        assert_eq!(carriers().read(&fields), Err(conflict("header", "tracestate")));
    }

    #[test]
    fn a_value_that_is_not_one_clean_name_is_malformed() {
        for (name, value, carrier, why) in [
            ("x-tenant", "", "header", InvalidName::Empty),
            ("x-tenant", "alice,bob", "header", InvalidName::Character(',')),
            ("x-tenant", "alice, alice", "header", InvalidName::Character(',')),
            ("x-tenant", " alice", "header", InvalidName::Character(' ')),
            ("x-tenant", "älice", "header", InvalidName::Character('ä')),
            ("x-tenant", "-a", "header", InvalidName::Start),
            ("x-tenant", &"a".repeat(64), "header", InvalidName::TooLong(63)),
            ("baggage", "tenant", "baggage", InvalidName::Empty),
            ("baggage", "tenant=", "baggage", InvalidName::Empty),
            ("baggage", "tenant;p=alice", "baggage", InvalidName::Empty),
            ("baggage", "tenant=a b", "baggage", InvalidName::Character(' ')),
            ("baggage", "tenant=%61lic%", "baggage", InvalidName::Character('%')),
            ("baggage", "tenant=a%2Cb", "baggage", InvalidName::Character(',')),
            ("baggage", "tenant=a+b", "baggage", InvalidName::Character('+')),
            ("baggage", "tenant=a=b", "baggage", InvalidName::Character('=')),
            ("baggage", "tenant=%ff", "baggage", InvalidName::Character('\u{fffd}')),
            ("baggage", &format!("tenant={}", "a".repeat(64)), "baggage", InvalidName::TooLong(63)),
            ("tracestate", "tenant", "tracestate", InvalidName::Empty),
            ("tracestate", "tenant= alice", "tracestate", InvalidName::Character(' ')),
            ("tracestate", "tenant=al%69ce", "tracestate", InvalidName::Character('%')),
            ("tracestate", "tenant =alice", "tracestate", InvalidName::Empty),
            ("baggage", "sd-routing-key=a/b", "alias", InvalidName::Character('/')),
        ] {
            let read = carriers().read(&list(&[(name, value)]));

            assert_eq!(read, Err(malformed(carrier, why)), "{name}: {value}");
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_malformed() {
        let fields: Fields = [("x-tenant", b"\xffalice")].into_iter().collect();

        let why = InvalidName::Character('\u{fffd}');
        assert_eq!(carriers().read(&fields), Err(malformed("header", why)));
    }

    #[test]
    fn a_malformed_value_outweighs_a_conflict() {
        let fields = list(&[("x-tenant", "alice"), ("x-tenant", "bob"), ("baggage", "tenant=")]);

        let error = carriers().read(&fields).unwrap_err();

        assert_eq!((error.cause(), error), ("malformed", malformed("baggage", InvalidName::Empty)));
    }

    #[test]
    fn the_letter_of_baggage_is_followed() {
        for value in [
            "a=1,tenant=alice",
            " tenant\t= alice ;p;q=1",
            "tenant=al%69ce",
            "tenant=%61%6c%69%63%65",
            ",, tenant=alice ,",
            "malformed,\"quoted\",=,;,tenant=alice",
            "ten%61nt=alice",
        ] {
            assert_eq!(
                carriers().read(&list(&[("baggage", value)])),
                Ok(claim("alice", "baggage")),
                "{value}"
            );
        }
        for value in ["Tenant=alice", "tenant2=alice", "a=1;tenant=alice", "a=tenant=alice"] {
            assert_eq!(
                carriers().read(&list(&[("baggage", value)])),
                Ok(Read::default()),
                "{value}"
            );
        }
    }

    #[test]
    fn several_lines_of_baggage_are_one_list() {
        let agreeing = list(&[("baggage", "a=1"), ("x", "y"), ("baggage", "tenant=alice")]);
        let quarrelling = list(&[("baggage", "tenant=alice"), ("baggage", "tenant=bob")]);

        assert_eq!(carriers().read(&agreeing), Ok(claim("alice", "baggage")));
        assert_eq!(carriers().read(&quarrelling), Err(conflict("baggage", "baggage")));
    }

    #[test]
    fn a_key_of_tracestate_may_name_a_system() {
        let carriers = with(|section| {
            section.tracestate = "dye@lane".into();
            section.read = vec![Carrier::Tracestate("dye@lane".into())];
        });

        let read = carriers.read(&list(&[("tracestate", "dye=bob,  dye@lane=alice\t, rojo=00f0")]));

        assert_eq!(read, Ok(claim("alice", "tracestate")));
    }

    #[test]
    fn a_carrier_that_is_not_configured_is_not_read() {
        let of_same_length = Carrier::Header("x-colour".into());
        let carriers = with(|section| {
            section.read = vec![Carrier::Baggage("tenant".into()), of_same_length];
        });

        let read = carriers.read(&list(&[
            ("x-tenant", "bob"),
            ("baggage", "tenant=alice"),
            ("tracestate", "tenant=\"\""),
        ]));

        assert_eq!(read, Ok(claim("alice", "baggage")));
    }

    #[test]
    fn where_conflicts_are_ignored_there_is_no_tenant_and_the_conflict_is_told() {
        let carriers = with(|section| section.on_conflict = OnConflict::Ignore);

        let conflicting = carriers.read(&list(&[("x-tenant", "alice"), ("baggage", "tenant=bob")]));
        let broken = carriers.read(&list(&[("x-tenant", "a b"), ("baggage", "tenant=bob")]));

        assert_eq!(
            conflicting,
            Ok(Read { claim: None, trouble: Some(conflict("header", "baggage")) })
        );
        let why = InvalidName::Character(' ');
        assert_eq!(broken, Ok(Read { claim: None, trouble: Some(malformed("header", why)) }));
    }

    #[test]
    fn where_the_header_decides_it_must_be_one_clean_value() {
        let carriers = with(|section| section.on_conflict = OnConflict::Header);
        let decided = Some(Claim { tenant: tenant("alice"), carrier: "header" });
        let baggage = ("baggage", "tenant=bob");

        let good = carriers.read(&list(&[baggage, ("x-tenant", "alice"), ("x-tenant", "alice")]));
        let absent = carriers.read(&list(&[baggage, ("tracestate", "tenant=alice")]));
        let repeated = carriers.read(&list(&[baggage, ("x-tenant", "alice"), ("x-tenant", "al")]));
        let broken = carriers.read(&list(&[baggage, ("x-tenant", "a,b"), ("x-tenant", "alice")]));

        let trouble = Some(conflict("baggage", "header"));
        assert_eq!(good, Ok(Read { claim: decided, trouble }));
        assert_eq!(absent, Err(conflict("baggage", "tracestate")));
        assert_eq!(repeated, Err(conflict("baggage", "header")));
        assert_eq!(broken, Err(malformed("header", InvalidName::Character(','))));
    }

    #[test]
    fn an_error_names_the_carriers_and_not_their_values() {
        let fields = list(&[("x-tenant", "secret"), ("baggage", "tenant=other")]);

        let error = carriers().read(&fields).unwrap_err();

        assert_eq!(error.to_string(), "the header and the baggage name different tenants");
    }
}

mod writing {
    use super::*;

    #[test]
    fn a_tenant_is_written_to_baggage_and_header() {
        let mut fields = list(&[("accept", "*/*")]);

        let written = carriers().write(&mut fields, &tenant("alice"));

        let expected = [("accept", "*/*"), ("baggage", "tenant=alice"), ("x-tenant", "alice")];
        assert_eq!((written, fields), (Written::Full, list(&expected)));
    }

    #[test]
    fn the_header_is_written_only_if_configured() {
        let carriers = with(|section| section.write_header = false);
        let mut fields = list(&[]);

        carriers.write(&mut fields, &tenant("alice"));

        assert_eq!(fields, list(&[("baggage", "tenant=alice")]));
    }

    #[test]
    fn our_member_is_appended_to_the_last_line() {
        for (line, expected) in [
            ("a=1;p , b = %20", "a=1;p , b = %20,tenant=alice"),
            ("a=1,", "a=1,tenant=alice"),
            ("a=1, ", "a=1, tenant=alice"),
            ("", "tenant=alice"),
            ("\"what;=,", "\"what;=,tenant=alice"),
        ] {
            let mut fields = list(&[("baggage", "z=0"), ("baggage", line), ("accept", "*/*")]);

            carriers().write(&mut fields, &tenant("alice"));

            assert_eq!(lines(&fields, "baggage"), ["z=0", expected], "{line}");
        }
    }

    #[test]
    fn our_member_is_replaced_where_it_stands_and_its_repeats_go() {
        let mut fields = list(&[
            ("baggage", "a=1, tenant = bob;p=1 ,b=2"),
            ("baggage", "tenant=bob"),
            ("baggage", "c=3,tenant"),
        ]);

        carriers().write(&mut fields, &tenant("alice"));

        assert_eq!(lines(&fields, "baggage"), ["a=1, tenant=alice ,b=2", "c=3"]);
    }

    #[test]
    fn a_request_that_names_the_tenant_already_keeps_its_bytes() {
        let before = list(&[
            ("baggage", "a=1, tenant = al%69ce ;p"),
            ("x-tenant", "alice"),
            ("tracestate", "tenant=alice"),
        ]);
        let mut after = before.clone();

        let written = carriers().write(&mut after, &tenant("alice"));

        assert_eq!((written, after), (Written::Full, before));
    }

    #[test]
    fn none_of_our_carriers_says_otherwise_afterwards() {
        let carriers = with(|section| section.write_header = false);
        let mut fields = list(&[
            ("x-tenant", "bob"),
            ("baggage", "tenant=bob,tenant=carol"),
            ("tracestate", "rojo=1,tenant=bob"),
        ]);

        carriers.write(&mut fields, &tenant("alice"));

        let expected = list(&[("baggage", "tenant=alice"), ("tracestate", "rojo=1")]);
        assert_eq!(fields, expected);
        assert_eq!(carriers.read(&fields), Ok(claim("alice", "baggage")));
    }

    #[test]
    fn aliases_are_the_applications_own() {
        let alias = [
            ("baggage", "sd-routing-key=bob"),
            ("x-asm-prefer-tag", "bob"),
            ("tracestate", "linkup-session=bob"),
        ];
        let mut fields = list(&alias);

        carriers().write(&mut fields, &tenant("alice"));

        assert_eq!(lines(&fields, "baggage"), ["sd-routing-key=bob,tenant=alice"]);
        assert_eq!(lines(&fields, "x-asm-prefer-tag"), ["bob"]);
        assert_eq!(lines(&fields, "tracestate"), ["linkup-session=bob"]);
    }

    #[test]
    fn baggage_is_filled_to_the_last_byte_and_no_further() {
        let member = ",tenant=alice".len();
        for (bytes, room) in [(8192 - member, true), (8192 - member + 1, false), (9000, false)] {
            let value = format!("a={}", "x".repeat(bytes - 2));
            let mut fields = list(&[("baggage", &*value)]);

            let written = carriers().write(&mut fields, &tenant("alice"));

            let expected = if room { format!("{value},tenant=alice") } else { value };
            assert_eq!(lines(&fields, "baggage"), [expected], "{bytes}");
            assert_eq!(written, if room { Written::Full } else { Written::NoRoom }, "{bytes}");
        }
    }

    #[test]
    fn baggage_is_filled_to_the_last_member_and_no_further() {
        for (members, expected) in [(63, Written::Full), (64, Written::NoRoom)] {
            let line = vec!["a=1"; members - 1].join(",");
            let mut fields = list(&[("baggage", &*line), ("baggage", ", ,b=2,")]);

            let written = carriers().write(&mut fields, &tenant("alice"));

            assert_eq!(written, expected, "{members}");
            let last = if written == Written::Full { ", ,b=2,tenant=alice" } else { ", ,b=2," };
            assert_eq!(lines(&fields, "baggage"), [&*line, last], "{members}");
        }
    }

    #[test]
    fn all_lines_together_count_against_the_limit_and_the_commas_between_them() {
        let member = ",tenant=alice".len();
        for (bytes, expected) in [(8192 - member, Written::Full), (8193 - member, Written::NoRoom)]
        {
            let first = format!("a={}", "x".repeat(4094));
            let second = format!("b={}", "x".repeat(bytes - 4096 - ",b=".len()));
            let mut fields = list(&[("baggage", &*first), ("baggage", &*second)]);

            let written = carriers().write(&mut fields, &tenant("alice"));

            assert_eq!(written, expected, "{bytes}");
            let all = fields.all(b"baggage").map(<[u8]>::len).sum::<usize>() + 1;
            assert_eq!(all, if written == Written::Full { 8192 } else { bytes });
        }
    }

    #[test]
    fn without_room_the_header_is_the_last_resort() {
        let carriers = with(|section| section.write_header = false);
        let full = vec!["a=1"; 64].join(",");
        let mut fields = list(&[("baggage", &*full)]);

        carriers.write(&mut fields, &tenant("alice"));

        assert_eq!(lines(&fields, "x-tenant"), ["alice"]);
        assert_eq!(carriers.read(&fields), Ok(claim("alice", "header")));
    }

    #[test]
    fn a_member_that_would_grow_beyond_the_limit_is_left_out() {
        let line = format!("a={},tenant=b,c=1", "x".repeat(8192 - 2 - ",tenant=b,c=1".len()));
        let mut fields = list(&[("baggage", &*line)]);

        let written = carriers().write(&mut fields, &tenant("alice"));

        assert_eq!(written, Written::NoRoom);
        assert_eq!(lines(&fields, "baggage"), [line.replace(",tenant=b", "")]);
        assert_eq!(carriers().read(&fields), Ok(claim("alice", "header")));
    }
}

mod stripping {
    use super::*;

    #[test]
    fn every_carrier_goes_and_the_rest_keeps_its_bytes() {
        let mut fields = list(&[
            ("baggage", " a=1;p , tenant=bob ,sd-routing-key=x,\tb"),
            ("x-tenant", "bob"),
            ("baggage", "tenant=bob"),
            ("tracestate", "rojo=1, tenant=bob,linkup-session=x,congo=2"),
            ("x-asm-prefer-tag", "bob"),
            ("x-tenant", "carol"),
            ("accept", "*/*"),
        ]);

        let found = carriers().strip(&mut fields);

        let expected =
            [("baggage", " a=1;p ,\tb"), ("tracestate", "rojo=1,congo=2"), ("accept", "*/*")];
        assert_eq!((found, fields), (true, list(&expected)));
    }

    #[test]
    fn a_request_without_carriers_is_left_alone() {
        let before = list(&[("baggage", "a=1,,b"), ("baggage", ""), ("tracestate", ",")]);
        let mut after = before.clone();

        let found = carriers().strip(&mut after);

        assert_eq!((found, after), (false, before));
    }

    #[test]
    fn a_line_that_held_nothing_else_goes_whole() {
        let mut fields = list(&[("baggage", " ,tenant=bob, "), ("tracestate", "tenant=bob")]);

        carriers().strip(&mut fields);

        assert_eq!(fields, list(&[]));
    }

    #[test]
    fn our_own_carriers_go_even_where_they_are_not_read() {
        let carriers = with(|section| section.read = vec![Carrier::Header("x-tenant".into())]);
        let mut fields = list(&[("baggage", "tenant=bob"), ("tracestate", "tenant=bob,a=1")]);

        carriers.strip(&mut fields);

        assert_eq!(fields, list(&[("tracestate", "a=1")]));
    }

    #[test]
    fn a_key_that_an_application_would_decode_into_ours_goes_too() {
        for key in ["ten%61nt", "+tenant", "%20tenant", "tenant%09", "%74enant", "tenant ;p"] {
            let line = format!("a=1,{key}=bob");
            let mut fields = list(&[("baggage", &*line)]);

            carriers().strip(&mut fields);

            assert_eq!(lines(&fields, "baggage"), ["a=1"], "{key}");
        }
    }

    #[test]
    fn a_malformed_member_of_ours_goes_too() {
        for member in ["tenant", "tenant;p", " tenant =", "tenant=\"a\""] {
            let line = format!("{member},a");
            let mut fields = list(&[("baggage", &*line), ("tracestate", &*line)]);

            carriers().strip(&mut fields);

            assert_eq!(lines(&fields, "baggage"), ["a"], "{member}");
        }
    }
}

#[test]
fn fields_that_hold_a_carrier_are_known_by_name() {
    let carriers = carriers();

    for name in ["x-tenant", "x-asm-prefer-tag", "baggage", "tracestate"] {
        assert!(carriers.is_carrier_name(name.as_bytes()), "{name}");
    }
    for name in ["tenant", "x-tenant2", "sd-routing-key", "traceparent", ""] {
        assert!(!carriers.is_carrier_name(name.as_bytes()), "{name}");
    }
}
