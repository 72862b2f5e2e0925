//! Bodies that are compressed: who takes them, how they are made, and how they are read without
//! becoming larger than they may.

use std::io::{Read as _, Write as _};

use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use http::{HeaderMap, header};

/// Bodies shorter than this are not worth it.
pub const WORTH: usize = 1 << 10;

/// Why a compressed body cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidGzip {
    /// It is none, or damaged.
    #[error("the body says it is gzip, and is not")]
    Broken,
    /// It is longer than a body may be.
    #[error("the body is longer than a body may be, once it is read")]
    TooLong,
}

/// Whether a client takes gzip.
pub fn is_wanted(headers: &HeaderMap) -> bool {
    let fields = headers.get_all(header::ACCEPT_ENCODING).iter();
    let codings = fields.filter_map(|it| it.to_str().ok()).flat_map(|it| it.split(','));
    let named = codings.filter(|it| {
        let name = it.split(';').next().unwrap_or_default().trim();
        name.eq_ignore_ascii_case("gzip") || name.eq_ignore_ascii_case("x-gzip")
    });
    named.map(|it| it.split(';').nth(1)).any(|quality| !quality.is_some_and(is_zero))
}

/// Whether a parameter is a quality of nothing.
fn is_zero(parameter: &str) -> bool {
    let number = parameter.trim().trim_start_matches(['q', 'Q']).trim_start_matches('=');
    number.parse::<f32>().is_ok_and(|it| it <= 0.0)
}

/// Compresses, quickly rather than well.
pub fn compressed(plain: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(plain.len() / 8), Compression::fast());
    // Writing to memory does not fail.
    let _ = encoder.write_all(plain);
    encoder.finish().unwrap_or_default()
}

/// Reads what is compressed, up to `limit` bytes.
///
/// # Errors
/// It is no gzip, or longer.
pub fn read(body: &[u8], limit: usize) -> Result<Vec<u8>, InvalidGzip> {
    let mut plain = Vec::new();
    let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    let read = MultiGzDecoder::new(body).take(most).read_to_end(&mut plain);
    if plain.len() > limit {
        return Err(InvalidGzip::TooLong);
    }
    read.map(|_| plain).map_err(|_| InvalidGzip::Broken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_that_take_gzip_are_told_from_those_that_do_not() {
        let is_wanted = |field: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT_ENCODING, http::HeaderValue::from_static(field));
            is_wanted(&headers)
        };

        for field in ["gzip", "deflate, gzip;q=0.5", "br,GZIP", "x-gzip", "gzip; q=1"] {
            assert!(is_wanted(field), "{field}");
        }
        for field in ["", "identity", "gzip;q=0", "gzip; q=0.0, br", "gzipped"] {
            assert!(!is_wanted(field), "{field}");
        }
    }

    #[test]
    fn what_is_compressed_is_read_as_it_was_up_to_a_bound() {
        let plain = b"instance ".repeat(10_000);
        let small = compressed(&plain);

        assert!(small.len() < plain.len() / 50);
        assert_eq!(read(&small, plain.len()), Ok(plain.clone()));
        assert_eq!(read(&small, plain.len() - 1), Err(InvalidGzip::TooLong));
        assert_eq!(read(&small[..small.len() - 9], plain.len()), Err(InvalidGzip::Broken));
        assert_eq!(read(b"{}", 9), Err(InvalidGzip::Broken));
    }
}
