//! What is printed: one table in Markdown, with its units.

use std::fmt;

/// A measured number and what it is of.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Measured {
    /// A time, in seconds.
    Time(f64),
    /// So many a second.
    Rate(f64),
    /// Memory or traffic, in bytes.
    Bytes(f64),
    /// A share of one core.
    Core(f64),
}

impl Measured {
    fn number(self) -> f64 {
        match self {
            Self::Time(it) | Self::Rate(it) | Self::Bytes(it) | Self::Core(it) => it,
        }
    }
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Time(it) if it >= 10.0 => write!(f, "{it:.0} s"),
            Self::Time(it) if it >= 1.0 => write!(f, "{it:.1} s"),
            Self::Time(it) if it >= 1e-2 => write!(f, "{:.0} ms", it * 1e3),
            Self::Time(it) if it >= 1e-3 => write!(f, "{:.1} ms", it * 1e3),
            Self::Time(it) => write!(f, "{:.1} µs", it * 1e6),
            Self::Rate(it) => write!(f, "{it:.0} /s"),
            Self::Bytes(it) if it >= f64::from(1 << 20) => {
                write!(f, "{:.1} MiB", it / f64::from(1 << 20))
            }
            Self::Bytes(it) if it >= 1024.0 => write!(f, "{:.1} KiB", it / 1024.0),
            Self::Bytes(it) => write!(f, "{it:.0} B"),
            Self::Core(it) => write!(f, "{:.1} %", it * 100.0),
        }
    }
}

/// One line of the table.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    what: String,
    registry: Measured,
    probe: Option<Measured>,
    goal: &'static str,
}

impl Row {
    /// A number that has nothing to be compared with.
    pub(crate) fn alone(what: impl Into<String>, registry: Measured) -> Self {
        Self { what: what.into(), registry, probe: None, goal: "" }
    }

    /// A number of the registry, and the probe's.
    pub(crate) fn beside(
        what: impl Into<String>,
        registry: f64,
        probe: f64,
        unit: fn(f64) -> Measured,
    ) -> Self {
        Self { probe: Some(unit(probe)), ..Self::alone(what, unit(registry)) }
    }

    /// The same, with what is aimed at.
    pub(crate) fn goal(self, goal: &'static str) -> Self {
        Self { goal, ..self }
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, registry, probe, goal } = self;
        write!(f, "| {what} | {registry} | ")?;
        match probe {
            Some(probe) if probe.number() > 0.0 => {
                write!(f, "{probe} | {:.2} |", registry.number() / probe.number())?;
            }
            Some(probe) => write!(f, "{probe} | |")?,
            None => write!(f, "| |")?,
        }
        write!(f, " {goal} |")
    }
}

/// Prints the head of the table.
pub(crate) fn head() {
    println!("| figure | registry | probe | registry / probe | aim |");
    println!("|---|--:|--:|--:|---|");
}
