//! Rules that are written, told, ended and merged.

use proptest::prelude::*;

use super::*;
use crate::registry::record::Version;

const NODE: NodeId = NodeId(7);

fn off() -> Tenant {
    Tenant { disabled: true, ..Tenant::default() }
}

fn tenant(name: &str, value: Option<Tenant>) -> Edit {
    Edit::Tenant(TenantId::new(name).unwrap(), value)
}

fn lane(name: &str, fallback: &[&str]) -> Edit {
    let fallback = fallback.iter().map(|it| LaneName::new(it).unwrap()).collect();
    Edit::Lane(LaneName::new(name).unwrap(), Some(Lane { fallback, ..Lane::default() }))
}

#[test]
fn what_is_written_later_wins_whatever_the_clock_says() {
    let mut rules = Rules::default();

    rules.write(tenant("alice", Some(off())), NODE, 100).unwrap();
    let second = rules.write(tenant("alice", None), NODE, 5).unwrap();

    assert_eq!(rules.tenant(&TenantId::new("alice").unwrap()), None);
    let Rule::Tenant(second) = second else { unreachable!() };
    assert_eq!(second.version.at, 101);
}

#[test]
fn a_removed_rule_does_not_come_back() {
    let (mut here, mut there) = (Rules::default(), Rules::default());
    let old = here.write(tenant("alice", Some(off())), NODE, 1).unwrap();
    let removed = here.write(tenant("alice", None), NODE, 2).unwrap();
    there.merge(removed);

    let taken = there.merge(old);

    assert!(!taken);
    assert_eq!(here.digest(), there.digest());
    assert!(there.content().tenants.is_empty());
}

#[test]
fn the_hash_is_that_of_what_is_said() {
    let (mut one, mut other) = (Rules::default(), Rules::default());

    one.write(tenant("alice", Some(off())), NODE, 1).unwrap();
    other.write(tenant("alice", Some(off())), NodeId(9), 2).unwrap();

    assert_eq!(one.content(), other.content());
    assert_ne!(one.digest(), other.digest());
    assert_ne!(one.content().hash, Rules::default().content().hash);
}

#[test]
fn what_a_file_could_not_say_is_refused() {
    let mut rules = Rules::default();
    let nine: Vec<_> = (0..9).map(|it| format!("l{it}")).collect();
    let nine: Vec<_> = nine.iter().map(String::as_str).collect();

    for (fallback, why) in [
        (&["a"][..], InvalidRule::Itself(LaneName::new("a").unwrap())),
        (&["b", "c", "b"], InvalidRule::Twice(LaneName::new("b").unwrap())),
        (&nine, InvalidRule::TooMany),
    ] {
        assert_eq!(rules.write(lane("a", fallback), NODE, 1), Err(why));
    }
    assert!(rules.write(lane("a", &["b", "c"]), NODE, 1).is_ok());
}

#[test]
fn a_version_that_could_never_be_replaced_is_not_taken() {
    let mut rules = Rules::default();
    let version = Version { at: u64::MAX, node: NODE };
    let name = TenantId::new("alice").unwrap();

    let taken = rules.merge(Rule::Tenant(Entry { name, version, value: Some(off()), until: None }));

    assert!(!taken && rules.is_empty());
}

#[test]
fn what_is_said_for_a_time_ends_by_itself_on_every_node_alike() {
    let (mut here, mut there) = (Rules::default(), Rules::default());
    let alice = TenantId::new("alice").unwrap();
    let strict = Tenant { strict: true, ..Tenant::default() };
    here.write(tenant("alice", Some(strict.clone())), NODE, 100).unwrap();
    here.write_until(tenant("alice", Some(off())), Some(500), NODE, 200).unwrap();
    here.write_until(tenant("alice", None), Some(600), NODE, 300).unwrap();
    for rule in here.all() {
        there.merge(rule);
    }

    let early = here.expire(599);
    let ended = (here.next_end(), here.expire(600).len(), there.expire(9_999).len());

    assert_eq!((early, ended), (Vec::new(), (Some(600), 1, 1)));
    assert_eq!(here.tenant(&alice), Some(&strict));
    assert_eq!((here.digest(), here.next_end()), (there.digest(), None));
}

#[test]
fn an_end_does_not_undo_what_was_said_since() {
    let (mut here, mut cut_off) = (Rules::default(), Rules::default());
    let timed = here.write_until(tenant("alice", Some(off())), Some(500), NODE, 100).unwrap();
    cut_off.merge(timed);
    let since = here.write(tenant("alice", Some(off())), NODE, 200).unwrap();

    let ended = cut_off.expire(500).remove(0);
    let taken = (here.merge(ended), cut_off.merge(since));

    assert_eq!(taken, (false, true));
    assert_eq!(here, cut_off);
    assert_eq!(here.expire(u64::MAX), []);
}

fn any_rule() -> impl Strategy<Value = Rule> {
    let version = (0..4_u64, 0..3_u64).prop_map(|(at, node)| Version { at, node: NodeId(node) });
    let value = proptest::option::of(any::<bool>());
    let until = proptest::option::of((0..4_u64, value.clone()));
    let rule = ("[ab]", version, value, until, any::<bool>());
    rule.prop_map(|(name, version, value, until, is_lane)| {
        if is_lane {
            let said = |strict| Lane { strict, ..Lane::default() };
            let until = until.map(|(at, then)| Until { at, then: then.map(said) });
            let (name, value) = (LaneName::new(&name).unwrap(), value.map(said));
            Rule::Lane(Entry { name, version, value, until })
        } else {
            let said = |strict| Tenant { strict, ..Tenant::default() };
            let until = until.map(|(at, then)| Until { at, then: then.map(said) });
            let (name, value) = (TenantId::new(&name).unwrap(), value.map(said));
            Rule::Tenant(Entry { name, version, value, until })
        }
    })
}

proptest! {
    #[test]
    fn nodes_agree_in_whatever_order_they_hear(
        rules in proptest::collection::vec(any_rule(), 0..12),
        again in proptest::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let (mut one, mut other) = (Rules::default(), Rules::default());

        for rule in &rules {
            one.merge(rule.clone());
        }
        for rule in rules.iter().rev() {
            other.merge(rule.clone());
        }
        if !rules.is_empty() {
            for index in again {
                prop_assert!(!other.merge(index.get(&rules).clone()));
            }
        }

        prop_assert_eq!(one, other);
    }

    #[test]
    fn a_rule_is_read_as_it_was_written(rule in any_rule()) {
        let text = serde_json::to_string(&rule).unwrap();

        prop_assert_eq!(serde_json::from_str::<Rule>(&text).unwrap(), rule);
    }
}
