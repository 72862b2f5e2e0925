//! How the demo looks: aligned always, coloured on a terminal only.

use std::io::{self, IsTerminal as _, Stdout, Write as _};

use super::hop::CallAnswer;
use super::mesh::SANDBOX;

/// Standard output, and whether it is a terminal that wants colours.
pub(super) struct Screen {
    out: Stdout,
    coloured: bool,
}

/// The looks a piece of text can have.
#[derive(Debug, Clone, Copy)]
pub(super) enum Look {
    /// A heading.
    Heading,
    /// Less important than what is around it.
    Faint,
    /// Alice's.
    Alice,
    /// As it should be.
    Good,
    /// Not as it should be.
    Bad,
}

impl Look {
    /// The parameters of `ESC [ … m` (ECMA-48, SGR).
    fn code(self) -> &'static str {
        match self {
            Self::Heading => "1",
            Self::Faint => "2",
            Self::Alice => "35",
            Self::Good => "32",
            Self::Bad => "31",
        }
    }
}

impl Screen {
    /// Standard output. <https://no-color.org> is honoured.
    pub(super) fn new() -> Self {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let out = io::stdout();
        Self { coloured: wanted && out.is_terminal(), out }
    }

    /// Writes a line.
    pub(super) fn line(&self, text: &str) -> io::Result<()> {
        writeln!(&self.out, "{text}")
    }

    /// Writes an empty line and a heading.
    pub(super) fn heading(&self, text: &str) -> io::Result<()> {
        self.line(&format!("\n{}", self.paint(Look::Heading, text)))
    }

    /// Gives `text` a look.
    pub(super) fn paint(&self, look: Look, text: &str) -> String {
        if self.coloured { format!("\x1b[{}m{text}\x1b[0m", look.code()) } else { text.to_owned() }
    }

    /// Draws the path of a call, so that one below the other they line up.
    pub(super) fn path(&self, answer: &CallAnswer) -> String {
        let hop = |name: &str| {
            let in_lane = name.contains('·');
            let second = name.starts_with('B');
            let width = if second { SANDBOX.chars().count() } else { 1 };
            let room = " ".repeat(width.saturating_sub(name.chars().count()));
            let look = if in_lane { Look::Alice } else { Look::Good };
            format!(" → {}{room}", self.paint(look, name))
        };
        format!("client{}", answer.path().into_iter().map(hop).collect::<String>())
    }
}

/// Returns a number with its thousands apart: `12,345`.
pub(super) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_set_apart() {
        let written = [0, 999, 1_000, 12_345, 1_234_567].map(thousands);

        assert_eq!(written, ["0", "999", "1,000", "12,345", "1,234,567"]);
    }
}
