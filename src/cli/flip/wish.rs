//! What an operator wants of a tenant, and what that changes.

use std::fmt;

use clap::Args;

use crate::config::Tenant;
use crate::model::{LaneName, TenantId};

/// The same as arguments: exactly one of them is given.
#[derive(Debug, Clone, Copy, Args)]
#[group(required = true, multiple = false)]
pub(super) struct Wanted {
    /// The lane its requests are to go to; it is turned on for that
    lane: Option<LaneName>,
    /// Route it as if it were no tenant
    #[arg(long)]
    off: bool,
    /// Route it as a tenant again
    #[arg(long)]
    on: bool,
    /// Have nothing said of it: it goes to the lane of its own name
    #[arg(long)]
    clear: bool,
}

impl Wanted {
    /// Returns what is wanted.
    pub(super) fn wish(self) -> Wish {
        match self {
            Self { lane: Some(lane), .. } => Wish::Lane(lane),
            Self { off: true, .. } => Wish::Off,
            Self { on: true, .. } => Wish::On,
            Self { .. } => Wish::Clear,
        }
    }
}

/// What an operator wants of a tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    /// Its requests go to that lane; it is turned on for that if need be.
    Lane(LaneName),
    /// It is routed as if it were no tenant.
    Off,
    /// It is routed as a tenant again.
    On,
    /// Nothing is said of it.
    Clear,
}

impl Wish {
    /// Returns what is said of the tenant `name` once this is granted, if `before` is said now.
    pub(super) fn granted(self, name: TenantId, before: Option<&Tenant>) -> Option<Tenant> {
        let said = before.cloned().unwrap_or_default();
        let after = match self {
            Self::Lane(lane) if lane_of(name, &said) == lane => Tenant { disabled: false, ..said },
            Self::Lane(lane) => Tenant { lane: Some(lane), disabled: false, ..said },
            Self::Off => Tenant { disabled: true, ..said },
            Self::On => Tenant { disabled: false, ..said },
            Self::Clear => return None,
        };
        // Nothing needs to be said of a tenant to have it go where it goes anyway.
        if before.is_none() && after == Tenant::default() { None } else { Some(after) }
    }
}

fn lane_of(name: TenantId, said: &Tenant) -> LaneName {
    said.lane.unwrap_or_else(|| name.into())
}

/// What is said of a tenant, in words.
pub(super) struct InWords<'a>(pub(super) TenantId, pub(super) Option<&'a Tenant>);

impl fmt::Display for InWords<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(name, said) = self;
        let Some(said) = said else { return write!(f, "lane {name}, as nothing is said of it") };
        if said.disabled {
            write!(f, "off, routed as no tenant")?;
        } else {
            write!(f, "lane {}", lane_of(*name, said))?;
        }
        if said.strict { f.write_str(", strict") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alice() -> TenantId {
        TenantId::new("alice").unwrap()
    }

    fn lane(name: &str) -> LaneName {
        LaneName::new(name).unwrap()
    }

    #[test]
    fn a_lane_turns_a_tenant_on_and_keeps_the_rest() {
        let before = Tenant { lane: None, disabled: true, strict: true };

        let after = Wish::Lane(lane("b")).granted(alice(), Some(&before));

        assert_eq!(after, Some(Tenant { lane: Some(lane("b")), disabled: false, strict: true }));
    }

    #[test]
    fn what_is_so_already_changes_nothing() {
        let own = Tenant { lane: Some(lane("b")), ..Tenant::default() };

        assert_eq!(Wish::On.granted(alice(), None), None);
        assert_eq!(Wish::Lane(lane("alice")).granted(alice(), None), None);
        assert_eq!(Wish::Clear.granted(alice(), None), None);
        assert_eq!(Wish::Lane(lane("b")).granted(alice(), Some(&own)), Some(own));
    }

    #[test]
    fn a_tenant_that_is_turned_off_keeps_its_lane_for_later() {
        let on = Tenant { lane: Some(lane("b")), ..Tenant::default() };

        let off = Wish::Off.granted(alice(), Some(&on));
        let again = Wish::On.granted(alice(), off.as_ref());

        assert_eq!(off, Some(Tenant { disabled: true, ..on.clone() }));
        assert_eq!(again, Some(on));
    }

    #[test]
    fn a_tenant_is_told_of_in_words() {
        let said = |said: Option<&Tenant>| InWords(alice(), said).to_string();

        assert_eq!(said(None), "lane alice, as nothing is said of it");
        assert_eq!(said(Some(&Tenant { strict: true, ..Tenant::default() })), "lane alice, strict");
        let off = Tenant { disabled: true, ..Tenant::default() };
        assert_eq!(said(Some(&off)), "off, routed as no tenant");
    }
}
