//! Lines and columns of a text.

/// The lines of a text, found by offset without reading the text again.
pub(super) struct Lines<'a> {
    text: &'a str,
    /// Where each line starts; never empty, the first is 0.
    starts: Vec<usize>,
}

/// One line of a text, without what ends it.
#[derive(Clone, Copy)]
pub(super) struct Line<'a> {
    /// From 1.
    pub(super) number: usize,
    /// Where it starts in the text, in bytes.
    pub(super) start: usize,
    pub(super) text: &'a str,
}

impl<'a> Lines<'a> {
    pub(super) fn of(text: &'a str) -> Self {
        let ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        let starts = std::iter::once(0).chain(ends.map(|(at, _)| at + 1)).collect();
        Self { text, starts }
    }

    /// Returns the line that has the byte at `offset`; behind the end, the last one.
    pub(super) fn at(&self, offset: usize) -> Line<'a> {
        let number = self.starts.partition_point(|start| *start <= offset);
        let start = self.starts.get(number.saturating_sub(1)).copied().unwrap_or(0);
        let end = self.starts.get(number).copied().unwrap_or(self.text.len());
        let text = self.text.get(start..end).unwrap_or_default();
        let text = text.strip_suffix('\n').unwrap_or(text);
        let text = text.strip_suffix('\r').unwrap_or(text);
        Line { number, start, text }
    }
}

impl Line<'_> {
    /// Returns which character of the line is at `offset` of the text, from 1.
    pub(super) fn column(&self, offset: usize) -> usize {
        self.text.char_indices().take_while(|(at, _)| self.start + at < offset).count() + 1
    }
}
