//! Names we know by number: those of the static table and a few more.

/// The static table (RFC 7541 appendix A), then names that it lacks and we look for.
static FIELDS: [(&str, &str); 81] = [
    (":authority", ""),
    (":method", "GET"),
    (":method", "POST"),
    (":path", "/"),
    (":path", "/index.html"),
    (":scheme", "http"),
    (":scheme", "https"),
    (":status", "200"),
    (":status", "204"),
    (":status", "206"),
    (":status", "304"),
    (":status", "400"),
    (":status", "404"),
    (":status", "500"),
    ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"),
    ("accept-language", ""),
    ("accept-ranges", ""),
    ("accept", ""),
    ("access-control-allow-origin", ""),
    ("age", ""),
    ("allow", ""),
    ("authorization", ""),
    ("cache-control", ""),
    ("content-disposition", ""),
    ("content-encoding", ""),
    ("content-language", ""),
    ("content-length", ""),
    ("content-location", ""),
    ("content-range", ""),
    ("content-type", ""),
    ("cookie", ""),
    ("date", ""),
    ("etag", ""),
    ("expect", ""),
    ("expires", ""),
    ("from", ""),
    ("host", ""),
    ("if-match", ""),
    ("if-modified-since", ""),
    ("if-none-match", ""),
    ("if-range", ""),
    ("if-unmodified-since", ""),
    ("last-modified", ""),
    ("link", ""),
    ("location", ""),
    ("max-forwards", ""),
    ("proxy-authenticate", ""),
    ("proxy-authorization", ""),
    ("range", ""),
    ("referer", ""),
    ("refresh", ""),
    ("retry-after", ""),
    ("server", ""),
    ("set-cookie", ""),
    ("strict-transport-security", ""),
    ("transfer-encoding", ""),
    ("user-agent", ""),
    ("vary", ""),
    ("via", ""),
    ("www-authenticate", ""),
    (":protocol", ""),
    ("connection", ""),
    ("keep-alive", ""),
    ("proxy-connection", ""),
    ("te", ""),
    ("upgrade", ""),
    ("http2-settings", ""),
    ("baggage", ""),
    ("tracestate", ""),
    ("traceparent", ""),
    ("grpc-timeout", ""),
    ("grpc-status", ""),
    ("grpc-message", ""),
    ("grpc-status-details-bin", ""),
    ("x-request-id", ""),
    ("x-correlation-id", ""),
    ("b3", ""),
    ("x-b3-traceid", ""),
    ("x-b3-spanid", ""),
    ("x-b3-parentspanid", ""),
];

/// How many of [`FIELDS`] are the static table.
pub(super) const STATIC: usize = 61;

/// A field name that is known by number; comparing two costs nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known(u8);

macro_rules! known {
    ($($name:ident = $number:literal)*) => {
        #[expect(missing_docs, reason = "each is the field name it spells")]
        impl Known {
            $(pub const $name: Self = Self($number);)*
        }
    };
}

known! {
    AUTHORITY = 1
    METHOD = 2
    PATH = 4
    SCHEME = 6
    STATUS = 8
    ACCEPT_ENCODING = 16
    AGE = 21
    AUTHORIZATION = 23
    CONTENT_LENGTH = 28
    CONTENT_RANGE = 30
    CONTENT_TYPE = 31
    COOKIE = 32
    DATE = 33
    ETAG = 34
    EXPIRES = 36
    HOST = 38
    IF_MODIFIED_SINCE = 40
    IF_NONE_MATCH = 41
    LAST_MODIFIED = 44
    LOCATION = 46
    PROXY_AUTHORIZATION = 49
    RANGE = 50
    RETRY_AFTER = 53
    SET_COOKIE = 55
    TRANSFER_ENCODING = 57
    PROTOCOL = 62
    CONNECTION = 63
    KEEP_ALIVE = 64
    PROXY_CONNECTION = 65
    TE = 66
    UPGRADE = 67
    HTTP2_SETTINGS = 68
    BAGGAGE = 69
    TRACESTATE = 70
    TRACEPARENT = 71
    GRPC_TIMEOUT = 72
    GRPC_STATUS = 73
    GRPC_MESSAGE = 74
    GRPC_STATUS_DETAILS_BIN = 75
    X_REQUEST_ID = 76
    X_CORRELATION_ID = 77
    B3 = 78
    X_B3_TRACEID = 79
    X_B3_SPANID = 80
    X_B3_PARENTSPANID = 81
}

impl Known {
    /// Any name that is not known by number.
    pub const OTHER: Self = Self(0);

    /// Returns the number of a name.
    pub fn of(name: &[u8]) -> Self {
        let number = BY_HASH.get(usize::from(hash(name))).copied().unwrap_or_default();
        let same = field(number.into()).is_some_and(|(it, _)| it == name);
        if same { Self(number) } else { Self::OTHER }
    }

    /// Returns the place of the name in the static table, the first if it has several.
    pub(super) fn in_static_table(self) -> Option<usize> {
        let number = usize::from(self.0);
        (1..=STATIC).contains(&number).then_some(number)
    }

    /// Returns the place of the field with this name and `value` in the static table.
    pub(super) fn with_value(self, value: &[u8]) -> Option<usize> {
        let first = self.in_static_table()?;
        let last = match self {
            Self::METHOD | Self::PATH | Self::SCHEME => first + 1,
            Self::STATUS => first + 6,
            _ => first,
        };
        (first..=last).find(|index| field(*index).is_some_and(|(_, it)| it == value))
    }

    /// Returns whether fields of this name seldom come twice, or have a value that should not be
    /// found out by guessing it (RFC 7541 section 7.1): such a field is not worth a place in a table.
    pub(super) fn is_poor(self) -> bool {
        POOR & (1 << self.0) != 0
    }

    /// Returns the known name at this place of the static table.
    pub(super) fn at(index: usize) -> Self {
        let number = FIRST.get(index).copied().unwrap_or_default();
        Self(number)
    }
}

/// Returns the field at this place of the static table, counted from 1, or a known name behind it.
pub(super) fn field(number: usize) -> Option<(&'static [u8], &'static [u8])> {
    let (name, value) = FIELDS.get(number.checked_sub(1)?)?;
    Some((name.as_bytes(), value.as_bytes()))
}

/// Hashes a name. No two names of [`FIELDS`] have the same hash, which the compiler checks.
const fn hash(name: &[u8]) -> u8 {
    let (Some(first), Some(last)) = (name.first(), name.last()) else { return 0 };
    let Some((_, half)) = name.split_at_checked(name.len() / 2) else { return 0 };
    let Some(middle) = half.first() else { return 0 };
    let length = name.len().to_le_bytes()[0];
    length
        .wrapping_mul(254)
        .wrapping_add(first.wrapping_mul(235))
        .wrapping_add(last.wrapping_mul(72))
        .wrapping_add(middle.wrapping_mul(138))
}

/// The number of each name by its hash; 0 where there is none.
#[expect(clippy::indexing_slicing, reason = "the compiler runs it, and checks every index")]
static BY_HASH: [u8; 256] = {
    let mut numbers = [0; 256];
    let mut at = FIELDS.len();
    while at > 0 {
        at -= 1;
        let slot = hash(FIELDS[at].0.as_bytes()) as usize;
        // Several fields of one name lie together, and the first is met last.
        assert!(numbers[slot] == 0 || numbers[slot] == number(at + 2), "two names of one hash");
        numbers[slot] = number(at + 1);
    }
    numbers
};

/// The number of the name at each place of the static table.
#[expect(clippy::indexing_slicing, reason = "the compiler runs it, and checks every index")]
static FIRST: [u8; STATIC + 1] = {
    let mut first = [0; STATIC + 1];
    let mut at = 1;
    while at <= STATIC {
        first[at] = BY_HASH[hash(FIELDS[at - 1].0.as_bytes()) as usize];
        at += 1;
    }
    first
};

const fn number(at: usize) -> u8 {
    assert!(at < 128, "a number is a bit of POOR");
    at.to_le_bytes()[0]
}

/// A bit for each name that [`Known::is_poor`].
#[expect(clippy::indexing_slicing, reason = "the compiler runs it, and checks every index")]
const POOR: u128 = {
    let names = [
        Known::PATH,
        Known::AGE,
        Known::AUTHORIZATION,
        Known::CONTENT_LENGTH,
        Known::CONTENT_RANGE,
        Known::COOKIE,
        Known::DATE,
        Known::ETAG,
        Known::EXPIRES,
        Known::IF_MODIFIED_SINCE,
        Known::IF_NONE_MATCH,
        Known::LAST_MODIFIED,
        Known::LOCATION,
        Known::PROXY_AUTHORIZATION,
        Known::RANGE,
        Known::RETRY_AFTER,
        Known::SET_COOKIE,
        Known::TRACEPARENT,
        Known::GRPC_TIMEOUT,
        Known::GRPC_MESSAGE,
        Known::GRPC_STATUS_DETAILS_BIN,
        Known::X_REQUEST_ID,
        Known::X_CORRELATION_ID,
        Known::B3,
        Known::X_B3_TRACEID,
        Known::X_B3_SPANID,
        Known::X_B3_PARENTSPANID,
    ];
    let mut bits = 0;
    let mut at = 0;
    while at < names.len() {
        bits |= 1 << names[at].0;
        at += 1;
    }
    bits
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_of_the_list_is_known_by_the_number_of_its_first_place() {
        for (name, _) in FIELDS {
            let known = Known::of(name.as_bytes());

            let first = FIELDS.iter().position(|(it, _)| *it == name).unwrap() + 1;
            assert_eq!(usize::from(known.0), first, "{name}");
        }
    }

    #[test]
    fn a_name_that_only_resembles_a_known_one_is_none() {
        for name in ["", "x", ":Path", ":pathx", "xontent-length", "conteXt-length"] {
            assert_eq!(Known::of(name.as_bytes()), Known::OTHER, "{name}");
        }
    }

    #[test]
    fn a_static_field_is_found_by_its_value() {
        let at = |name: Known, value: &str| name.with_value(value.as_bytes());

        assert_eq!(at(Known::STATUS, "500"), Some(14));
        assert_eq!(at(Known::METHOD, "POST"), Some(3));
        assert_eq!(at(Known::ACCEPT_ENCODING, "gzip, deflate"), Some(16));
        assert_eq!(at(Known::HOST, ""), Some(38));
        assert_eq!(at(Known::STATUS, ""), None);
        assert_eq!(at(Known::TE, ""), None);
        assert_eq!(Known::at(14), Known::STATUS);
    }
}
