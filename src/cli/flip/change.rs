//! What is going to change, as it is shown before it does.

use std::fmt::Write as _;

/// Lines shown around a change.
const AROUND: usize = 2;

/// Returns the lines in which `new` differs from `old`, with a few around them; empty if none.
///
/// What is edited lies together, so all between the first and the last difference is shown.
pub(super) fn lines(old: &str, new: &str) -> String {
    let (old, new): (Vec<_>, Vec<_>) = (old.lines().collect(), new.lines().collect());
    let same = |pair: &(&&str, &&str)| pair.0 == pair.1;
    let before = old.iter().zip(&new).take_while(same).count();
    let room = old.len().min(new.len()) - before;
    let after = old.iter().rev().zip(new.iter().rev()).take(room).take_while(same).count();
    let between = |all: &[&str], sign: char| {
        let changed = all.iter().take(all.len() - after).skip(before);
        changed.fold(String::new(), |mut shown, line| {
            let _ = writeln!(shown, "{}", format!("{sign} {line}").trim_end());
            shown
        })
    };
    let (gone, come) = (between(&old, '-'), between(&new, '+'));
    if gone.is_empty() && come.is_empty() {
        return String::new();
    }
    let around = |lines: &mut dyn Iterator<Item = &&str>| {
        lines.fold(String::new(), |shown, line| shown + format!("  {line}").trim_end() + "\n")
    };
    let above = around(&mut new.iter().take(before).skip(before.saturating_sub(AROUND)));
    let below = around(&mut new.iter().skip(new.len() - after).take(AROUND));
    // An empty line at either end shows nothing.
    let shown = [above.trim_start_matches('\n'), &gone, &come, below.trim_end_matches('\n'), "\n"];
    shown.concat().trim_end_matches('\n').to_owned() + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_shown_with_what_stands_around_it() {
        let old = "a\nb\nc\nd\ne\nf\n";

        assert_eq!(lines(old, "a\nb\nc\nX\ne\nf\n"), "  b\n  c\n- d\n+ X\n  e\n  f\n");
        assert_eq!(lines(old, "a\nb\nc\nd\ne\nf\ng\n"), "  e\n  f\n+ g\n");
        assert_eq!(lines(old, "b\nc\nd\ne\nf\n"), "- a\n  b\n  c\n");
        assert_eq!(lines("a\na\n", "a\na\na\n"), "  a\n  a\n+ a\n");
        assert_eq!(lines("", "\nx\n"), "+\n+ x\n");
        assert_eq!(lines(old, old), "");
    }
}
