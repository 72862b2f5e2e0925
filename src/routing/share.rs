//! A share of requests, drawn so that the same caller always falls on the same side.

/// Slots callers fall into: a ten-thousandth of a percent each.
const SLOTS: u32 = 1_000_000;

/// Returns how many slots `percent` takes.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped before")]
pub(super) fn slots(percent: f64) -> u32 {
    (percent.clamp(0.0, 100.0) * 10_000.0).round() as u32
}

/// Returns the slot of a caller, below a million.
///
/// The slot is a promise: it is the same in every sidecar, on every machine and in every version,
/// so that two hops agree and an upgrade moves nobody. It is FNV-1a (64 bits) over `salt`, a zero
/// byte and `key`, stirred by the finaliser of `MurmurHash3` (FNV alone leaves the high bits of
/// short keys too even), and scaled by multiplication. The salt, a rule's name, keeps one rule from
/// drawing the same callers as the next.
pub(super) fn slot(salt: &str, key: &[u8]) -> u32 {
    let bytes = salt.bytes().chain([0]).chain(key.iter().copied());
    let hash = stir(bytes.fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    }));
    // The upper half of the product is below `SLOTS`.
    let scaled = (u128::from(hash) * u128::from(SLOTS)) >> 64;
    u32::try_from(scaled).unwrap_or(SLOTS - 1)
}

/// The 64-bit finaliser of `MurmurHash3`.
fn stir(mut hash: u64) -> u64 {
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_never_move() {
        let seen = [("beta", "alice"), ("beta", "bob"), ("canary", "alice"), ("", "")]
            .map(|(salt, key)| slot(salt, key.as_bytes()));

        assert_eq!(seen, [755_580, 252_074, 314_830, 722_706]);
    }

    #[test]
    fn callers_fall_into_slots_evenly() {
        let mut tenths = [0_u32; 10];

        for caller in 0..100_000 {
            let slot = slot("beta", format!("user-{caller}").as_bytes());
            tenths[slot as usize / 100_000] += 1;
        }

        assert!(tenths.iter().all(|it| (9_600..10_400).contains(it)), "{tenths:?}");
    }

    #[test]
    fn a_percent_is_ten_thousand_slots_and_never_more_than_all() {
        let seen = [0.0, 0.0001, 5.0, 33.3333, 100.0, 250.0, -1.0, f64::NAN].map(slots);

        assert_eq!(seen, [0, 1, 50_000, 333_333, 1_000_000, 1_000_000, 0, 0]);
    }
}
