//! Periods and sizes as they are written in the file.

use std::time::Duration;

pub(in crate::config) const MILLISECOND: Duration = Duration::from_millis(1);
pub(in crate::config) const SECOND: Duration = Duration::from_secs(1);
pub(in crate::config) const MINUTE: Duration = Duration::from_secs(60);
pub(in crate::config) const HOUR: Duration = Duration::from_secs(3600);
pub(in crate::config) const DAY: Duration = Duration::from_secs(24 * 3600);

pub(in crate::config) const KIBIBYTE: u32 = 1 << 10;
pub(in crate::config) const MEBIBYTE: u32 = 1 << 20;
pub(in crate::config) const GIBIBYTE: u32 = 1 << 30;

/// The units of a size, largest first.
const SIZES: [(&str, i64); 4] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

/// Writes a period in the largest unit that leaves no fraction: `90s`, `2m`, `24h`.
pub(super) fn period_text(period: Duration) -> String {
    let ms = period.as_millis();
    let units = [("h", 3_600_000), ("m", 60_000), ("s", 1000)];
    let whole = units.iter().find(|(_, unit)| ms >= *unit && ms.is_multiple_of(*unit));
    match whole {
        Some((name, unit)) => format!("{}{name}", ms / unit),
        None if ms == 0 => "0s".to_owned(),
        None => format!("{ms}ms"),
    }
}

/// Writes a size in the largest unit that leaves no fraction: `64KiB`, `1000B`.
pub(super) fn size_text(bytes: u32) -> String {
    let bytes = i64::from(bytes);
    let whole = SIZES.iter().find(|(_, unit)| bytes >= *unit && bytes % unit == 0);
    whole.map_or_else(|| "0B".to_owned(), |(name, unit)| format!("{}{name}", bytes / unit))
}

/// Reads a size: a whole number and `B`, `KiB`, `MiB` or `GiB`.
pub(super) fn parse_size(text: &str) -> Option<i64> {
    let (name, unit) = SIZES.iter().find(|(name, _)| text.ends_with(name))?;
    let number = text.strip_suffix(name)?.trim_end();
    let digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    let bytes = number.parse::<i64>().ok().filter(|_| digits)?.checked_mul(*unit);
    // A size beyond 64 bits is beyond any bounds.
    Some(bytes.unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_period_is_written_in_its_largest_whole_unit() {
        let texts = [0, 1, 1000, 90_000, 120_000, 86_400_000]
            .map(|ms| period_text(Duration::from_millis(ms)));

        assert_eq!(texts, ["0s", "1ms", "1s", "90s", "2m", "24h"]);
    }

    #[test]
    fn a_size_is_read_as_it_is_written() {
        for bytes in [0, 1, 1000, 1024, 65_536, 3 << 20, 1 << 30, u32::MAX] {
            assert_eq!(parse_size(&size_text(bytes)), Some(i64::from(bytes)));
        }
    }

    #[test]
    fn a_size_without_a_known_unit_is_none() {
        for text in
            ["", "64", "64KB", "64k", "KiB", "-1B", "+1B", "1.5KiB", "99999999999999999999B"]
        {
            assert_eq!(parse_size(text), None, "{text}");
        }
        assert_eq!(parse_size("99999999999999999GiB"), Some(i64::MAX));
    }
}
