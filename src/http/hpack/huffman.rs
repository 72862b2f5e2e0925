//! The Huffman code of HPACK (RFC 7541 section 5.2 and appendix B).
//!
//! The code is canonical: codes of one length follow each other in the order of their symbols, and
//! shorter ones come first. So the lengths say it all, and the tables to decode with are made of
//! them by the compiler.

/// The length of each symbol's code in bits; the last is that of the end of the string.
const LENGTHS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28,
    28, 28, 28, 28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5,
    5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, 15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6,
    6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23, 22,
    23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22,
    21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20,
    22, 22, 22, 23, 22, 22, 23, 26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19,
    21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22,
    22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26, 30,
];

/// The symbol that ends a string; none may contain it.
const END: u16 = 256;
/// Codes up to this many bits are found by one look into a table: all of letters, digits and the
/// punctuation of common fields.
const SHORT: u32 = 10;
/// Bits by which two symbols are found at once: most pairs of letters and digits have no more.
const PAIR: u32 = 12;
/// The longest code, in bits.
const LONG: u32 = 30;

/// By the next ten bits: a symbol, and in the upper byte the length of its code; 0 if longer.
#[expect(clippy::indexing_slicing, reason = "the compiler runs it, and checks every index")]
static SHORTS: [u16; 1 << SHORT] = {
    let mut table = [0; 1 << SHORT];
    let mut at = 0;
    while at < CODES.symbols.len() {
        let symbol = CODES.symbols[at];
        let length = LENGTHS[symbol as usize] as u16;
        if length as u32 > SHORT {
            break;
        }
        let code = CODES.first[length as usize] as usize + at - CODES.start[length as usize];
        let free = SHORT - length as u32;
        let mut slot = code << free;
        while slot < (code + 1) << free {
            table[slot] = symbol | length << 8;
            slot += 1;
        }
        at += 1;
    }
    table
};

/// By the next twelve bits: two symbols, the length of their codes together, and 2; or one symbol,
/// the length of its code, and 1; or zeros, if the first code is longer than [`SHORT`].
#[expect(clippy::indexing_slicing, reason = "the compiler runs it, and checks every index")]
static PAIRS: [[u8; 4]; 1 << PAIR] = {
    let mut table = [[0; 4]; 1 << PAIR];
    let mut slot = 0;
    while slot < table.len() {
        let [first, length] = SHORTS[slot >> (PAIR - SHORT)].to_le_bytes();
        let behind = (slot << length) % table.len();
        let [second, more] = SHORTS[behind >> (PAIR - SHORT)].to_le_bytes();
        if length > 0 && more > 0 && (length + more) as u32 <= PAIR {
            table[slot] = [first, second, length + more, 2];
        } else if length > 0 {
            table[slot] = [first, 0, length, 1];
        }
        slot += 1;
    }
    table
};

/// The code in the form in which a long code is looked for, length by length.
struct Codes {
    /// The symbols in the order of their codes.
    symbols: [u16; 257],
    /// By length: where its symbols start in `symbols`.
    start: [usize; LONG as usize + 1],
    /// By length: its first code.
    first: [u32; LONG as usize + 1],
    /// By length: the 32 bits above every string that begins with a code of at most that length.
    limit: [u64; LONG as usize + 1],
}

#[expect(clippy::indexing_slicing, reason = "the compiler runs it, and checks every index")]
static CODES: Codes = {
    let mut codes = Codes { symbols: [0; 257], start: [0; 31], first: [0; 31], limit: [0; 31] };
    let mut length = 1;
    let mut code: u32 = 0;
    let mut found = 0;
    while length <= LONG as usize {
        code <<= 1;
        codes.first[length] = code;
        codes.start[length] = found;
        let mut symbol = 0;
        while symbol <= END {
            if LENGTHS[symbol as usize] as usize == length {
                codes.symbols[found] = symbol;
                found += 1;
                code += 1;
            }
            symbol += 1;
        }
        codes.limit[length] = (code as u64) << (32 - length);
        length += 1;
    }
    codes
};

/// A string is not one of the code: it has the end symbol, or more or other padding than allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Invalid;

/// Appends the decoded string to `text`; at most 8 bytes for each 5 of `coded`.
pub(super) fn decode(coded: &[u8], text: &mut Vec<u8>) -> Result<(), Invalid> {
    let start = text.len();
    // Symbols are put down in pairs, so one more than there are.
    text.resize(start + coded.len() * 8 / 5 + 2, 0);
    let written = decode_into(coded, text.get_mut(start..).unwrap_or_default());
    text.truncate(start + written.unwrap_or_default());
    written.map(drop)
}

/// Writes the decoded string to the start of `room`; returns its length.
fn decode_into(coded: &[u8], room: &mut [u8]) -> Result<usize, Invalid> {
    let mut written = 0;
    let mut put = |symbols: [u8; 2], count: u8| {
        if let Some(two) = room.get_mut(written..written + 2) {
            two.copy_from_slice(&symbols);
        }
        written += usize::from(count);
    };
    let mut rest = coded;
    // The next bits, the first one on top, and how many there are.
    let (mut bits, mut held) = (0_u64, 0_u32);
    while let Some((chunk, after)) = rest.split_first_chunk() {
        bits |= u64::from(u32::from_be_bytes(*chunk)) << (32 - held);
        held += 32;
        rest = after;
        while held >= LONG {
            let slot = usize::try_from(bits >> (64 - PAIR)).unwrap_or_default();
            let length = match PAIRS.get(slot) {
                Some(&[first, second, length, count]) if count > 0 => {
                    put([first, second], count);
                    u32::from(length)
                }
                _ => {
                    let (symbol, length) = next_long(bits >> 32);
                    put([u8::try_from(symbol).map_err(|_| Invalid)?, 0], 1);
                    length
                }
            };
            bits <<= length;
            held -= length;
        }
    }
    for byte in rest {
        bits |= u64::from(*byte) << (56 - held);
        held += 8;
    }
    while held > 0 {
        // A code that is complete is found whatever follows it.
        let (symbol, length) = next(bits);
        if length > held {
            break;
        }
        put([u8::try_from(symbol).map_err(|_| Invalid)?, 0], 1);
        bits <<= length;
        held -= length;
    }
    if held < 8 && bits.leading_ones() >= held { Ok(written) } else { Err(Invalid) }
}

/// Returns the symbol whose code is on top, and the length of its code.
#[inline]
fn next(bits: u64) -> (u16, u32) {
    let slot = usize::try_from(bits >> (64 - SHORT)).unwrap_or_default();
    match SHORTS.get(slot) {
        Some(&entry) if entry != 0 => (entry & 0xff, u32::from(entry >> 8)),
        _ => next_long(bits >> 32),
    }
}

/// The same for a code longer than [`SHORT`], by the next 32 bits.
#[cold]
fn next_long(bits: u64) -> (u16, u32) {
    let lengths = CODES.limit.iter().zip(CODES.first).zip(CODES.start).zip(0_u32..);
    let longer = lengths.skip(SHORT as usize + 1);
    for (((limit, first), start), length) in longer {
        if bits < *limit {
            let code = usize::try_from((bits >> (32 - length)) - u64::from(first));
            let symbol = code.ok().and_then(|code| CODES.symbols.get(start + code));
            return (symbol.copied().unwrap_or(END), length);
        }
    }
    // Not below the last limit, which is above all: 30 ones, and then whatever.
    (END, LONG)
}

/// Returns the string in the code; our own encoder writes strings as they are.
#[cfg(test)]
#[expect(clippy::cast_possible_truncation, reason = "what is above the byte is written already")]
pub(super) fn encode(text: &[u8]) -> Vec<u8> {
    let (mut coded, mut bits, mut held) = (Vec::new(), 0_u64, 0);
    for byte in text {
        let length = LENGTHS[usize::from(*byte)];
        let start = CODES.start[usize::from(length)];
        let at = CODES.symbols[start..].iter().position(|it| *it == u16::from(*byte)).unwrap();
        let code = u64::from(CODES.first[usize::from(length)]) + at as u64;
        bits = bits << length | code;
        held += length;
        while held >= 8 {
            held -= 8;
            coded.push((bits >> held) as u8);
        }
    }
    if held > 0 {
        coded.push((bits << (8 - held)) as u8 | 0xff >> held);
    }
    coded
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(coded: &[u8]) -> Result<Vec<u8>, Invalid> {
        let mut text = Vec::new();
        decode(coded, &mut text).map(|()| text)
    }

    #[test]
    fn the_code_is_that_of_the_appendix() {
        // RFC 7541 appendix B: the last code of a few lengths, and the end symbol.
        for (length, first, symbol) in [(5, 0x0, b'0'), (6, 0x14, b' '), (8, 0xf8, b'&')] {
            assert_eq!(CODES.first[length], first);
            assert_eq!(CODES.symbols[CODES.start[length]], u16::from(symbol));
        }
        assert_eq!(CODES.symbols[256], END);
        assert_eq!(CODES.limit[30], 1 << 32);
    }

    #[test]
    fn every_byte_survives_in_every_place() {
        for byte in 0..=255 {
            for around in 0..9 {
                let mut text = vec![b'a'; around];
                text.push(byte);
                text.extend(vec![b'X'; around]);

                assert_eq!(decoded(&encode(&text)), Ok(text));
            }
        }
    }

    #[test]
    fn the_end_symbol_is_refused_anywhere() {
        // Section 5.2: 30 ones, alone, followed by padding, and behind a symbol.
        for coded in [&[0xff; 4][..], &[0xff; 5], &[0xff; 12], &[0x07, 0xff, 0xff, 0xff, 0xff]] {
            assert_eq!(decoded(coded), Err(Invalid), "{coded:x?}");
        }
    }

    #[test]
    fn padding_is_shorter_than_a_byte_and_of_ones() {
        assert_eq!(decoded(&[0b0000_0111]), Ok(b"0".to_vec()));
        for coded in [&[0b0000_0110][..], &[0b0000_0111, 0xff], &[0xff], &[0x00], &[0b0001_1000]] {
            let wrong = decoded(coded);
            assert_eq!(wrong, Err(Invalid), "{coded:x?}");
        }
    }
}
