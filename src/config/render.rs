//! A problem, shown under its line as compilers do.

use std::fmt;
use std::ops::Range;

use crate::config::place::{Line, Lines};
use crate::config::problem::Problem;

/// Columns of a line that are shown at most.
const WIDTH: usize = 120;
/// Columns shown before the mark, where a line is too long to be shown from its start.
const BEFORE: usize = 40;

/// A place to be marked: with `^` and nothing, or with `-` and a word about it.
struct Mark<'a> {
    line: Line<'a>,
    span: &'a Range<usize>,
    sign: char,
    text: &'a str,
}

/// Writes `problem` of `file`.
pub(super) fn problem(
    f: &mut fmt::Formatter<'_>,
    file: &str,
    lines: &Lines<'_>,
    problem: &Problem,
) -> fmt::Result {
    let line = lines.at(problem.span.start);
    let mut marks = vec![Mark { line, span: &problem.span, sign: '^', text: "" }];
    if let Some(label) = &problem.label {
        let line = lines.at(label.span.start);
        marks.push(Mark { line, span: &label.span, sign: '-', text: &label.text });
    }
    marks.sort_by_key(|mark| mark.line.number);
    let gutter = marks.last().map_or(1, |mark| mark.line.number.to_string().len());

    writeln!(f, "error: {}", problem.message)?;
    writeln!(f, "{:gutter$}--> {file}:{}:{}", "", line.number, line.column(problem.span.start))?;
    writeln!(f, "{:gutter$} |", "")?;
    let mut last = None;
    for mark in &marks {
        match last {
            Some(number) if number == mark.line.number => {}
            Some(number) if number + 1 < mark.line.number => writeln!(f, "...")?,
            _ => {}
        }
        marked(f, gutter, mark, last != Some(mark.line.number))?;
        last = Some(mark.line.number);
    }
    match &problem.help {
        Some(help) => writeln!(f, "{:gutter$} = help: {help}", ""),
        None => Ok(()),
    }
}

/// Writes the line of a mark, unless it was shown already, and the mark under it.
fn marked(f: &mut fmt::Formatter<'_>, gutter: usize, mark: &Mark<'_>, show: bool) -> fmt::Result {
    let cells = cells(mark.line.text);
    let column = |offset: usize| -> usize {
        let before = cells.iter().take_while(|cell| mark.line.start + cell.at < offset);
        before.map(|cell| cell.width).sum()
    };
    let (from, to) = (column(mark.span.start), column(mark.span.end));
    let skip = if to > WIDTH { from.saturating_sub(BEFORE) } else { 0 };
    let skip = starts(&cells).find(|start| *start >= skip).unwrap_or(0).min(from);
    if show {
        let (line, number) = (window(&cells, skip), mark.line.number);
        writeln!(f, "{}", format!("{number:>gutter$} | {line}").trim_end())?;
    }
    let indent = from - skip;
    let length = (to - from).clamp(1, WIDTH.saturating_sub(indent).max(1));
    let sign = String::from(mark.sign).repeat(length);
    let marks = format!("{:gutter$} | {:indent$}{sign} {}", "", "", mark.text);
    writeln!(f, "{}", marks.trim_end())
}

/// A character of a line as it is shown.
struct Cell {
    /// Where it is in the line, in bytes.
    at: usize,
    shown: char,
    /// Columns it takes.
    width: usize,
}

fn cells(line: &str) -> Vec<Cell> {
    let cell = |(at, c)| match c {
        '\t' => Cell { at, shown: ' ', width: 4 },
        c if c.is_control() => Cell { at, shown: '\u{fffd}', width: 1 },
        c => Cell { at, shown: c, width: width(c) },
    };
    line.char_indices().map(cell).collect()
}

/// The columns at which the cells start.
fn starts(cells: &[Cell]) -> impl Iterator<Item = usize> {
    cells.iter().scan(0, |next, cell| {
        let start = *next;
        *next += cell.width;
        Some(start)
    })
}

/// The columns `skip..skip + WIDTH` of a line, with `…` for what is left out.
fn window(cells: &[Cell], skip: usize) -> String {
    let mut shown = String::new();
    for (cell, column) in cells.iter().zip(starts(cells)) {
        if column >= skip + WIDTH {
            shown.push('…');
            break;
        }
        if column < skip {
            continue;
        }
        let cut = skip > 0 && shown.is_empty();
        let narrow = cut || cell.shown == ' ';
        shown.push(if cut { '…' } else { cell.shown });
        shown.extend(std::iter::repeat_n(
            ' ',
            if narrow { cell.width.saturating_sub(1) } else { 0 },
        ));
    }
    shown
}

/// Columns a character takes on a terminal: 2 for East Asian wide ones and pictures, 0 for marks
/// that combine with the one before.
fn width(c: char) -> usize {
    match u32::from(c) {
        0x0300..=0x036f | 0x200b..=0x200f | 0xfe00..=0xfe0f => 0,
        0x1100..=0x115f
        | 0x2e80..=0xa4cf
        | 0xac00..=0xd7a3
        | 0xf900..=0xfaff
        | 0xfe30..=0xfe6f
        | 0xff01..=0xff60
        | 0xffe0..=0xffe6
        | 0x1f300..=0x1faff
        | 0x20000..=0x3fffd => 2,
        _ => 1,
    }
}
