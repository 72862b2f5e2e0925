//! What makes a head well-formed, whichever protocol it came in (RFC 9113 section 8, RFC 9110).
//!
//! A malformed message is never passed on: what one hop overlooks, the next may read otherwise
//! (RFC 9113 section 10.3). So both readers, HTTP/2 and HTTP/1.1, end here.

use std::ops::ControlFlow;

use http::Method;

use crate::http::hpack::Field;
use crate::http::hpack::Known;
use crate::model::Fields;
use crate::model::RequestHead;
use crate::model::ResponseHead;
use crate::model::Scheme;

/// Bounds on the fields of one message.
#[derive(Debug, Clone, Copy)]
pub struct HeadLimits {
    /// Bytes as HTTP/2 counts them: names, values and 32 for each field.
    pub list: usize,
    /// Number of fields.
    pub fields: usize,
}

/// Why a head is not passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum HeadError {
    /// It breaks this rule.
    #[error("malformed message: {0}")]
    Malformed(&'static str),
    /// It is beyond the limits.
    #[error("header list too large")]
    TooLarge,
}

/// A well-formed head, with the length its body claims to have.
#[derive(Debug, Clone)]
pub(super) struct Checked<H> {
    /// The head.
    pub(super) head: H,
    /// The value of its `content-length`.
    pub(super) content_length: Option<u64>,
}

/// Gathers the fields of one message as they are read, and judges them.
///
/// Goes on after a fault: the compression state of a connection is shared, so a block is read to
/// its end whatever it says.
pub(super) struct HeadReader {
    limits: HeadLimits,
    fields: Fields,
    size: usize,
    fault: Option<HeadError>,
    regular: bool,
    method: Option<Method>,
    scheme: Option<Scheme>,
    authority: Option<String>,
    path: Option<String>,
    protocol: Option<String>,
    host: Option<String>,
    status: Option<u16>,
    content_length: Option<u64>,
}

fn text(bytes: &[u8]) -> Option<String> {
    std::str::from_utf8(bytes).ok().map(str::to_owned)
}

/// Reads a number of digits only.
fn number<N: std::str::FromStr>(bytes: &[u8]) -> Option<N> {
    let digits = !bytes.is_empty() && bytes.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(bytes).ok().filter(|_| digits)?.parse().ok()
}

/// Bytes of an authority: what is printed, but for what ends or precedes a host.
#[expect(clippy::indexing_slicing, reason = "the compiler runs it, and checks every index")]
const AUTHORITY: [bool; 256] = {
    let mut allowed = [false; 256];
    let mut byte = 0x21;
    while byte <= 0x7e {
        allowed[byte] = true;
        byte += 1;
    }
    let odd = b"@/?#\\\"<>^`{|}";
    let mut at = 0;
    while at < odd.len() {
        allowed[odd[at] as usize] = false;
        at += 1;
    }
    allowed
};

/// Whether this can be the host and port of a request: no user, no path, no blanks (RFC 9110
/// section 4.2.4 for the user).
fn is_authority(value: &[u8]) -> bool {
    value.iter().all(|byte| AUTHORITY.get(usize::from(*byte)) == Some(&true))
}

fn is_path(value: &[u8], method: &Method) -> bool {
    let odd = |byte: &u8| !(0x21..=0x7e).contains(byte) || *byte == b'#';
    match value {
        b"*" => *method == Method::OPTIONS,
        [b'/', rest @ ..] => !rest.iter().any(odd),
        _ => false,
    }
}

impl HeadReader {
    pub(super) fn new(limits: HeadLimits) -> Self {
        Self {
            limits,
            fields: Fields::with_capacity(16, 512),
            size: 0,
            fault: None,
            regular: false,
            method: None,
            scheme: None,
            authority: None,
            path: None,
            protocol: None,
            host: None,
            status: None,
            content_length: None,
        }
    }

    fn refuse(&mut self, why: &'static str) {
        self.fault.get_or_insert(HeadError::Malformed(why));
    }

    /// Takes the next field of a block, a pseudo-header field included; breaks when it has seen
    /// enough.
    pub(super) fn field(&mut self, field: Field<'_>) -> ControlFlow<()> {
        let Field { name, value, known, well_formed, sensitive } = field;
        self.size += name.len() + value.len() + 32;
        if self.size > self.limits.list || self.fields.len() >= self.limits.fields {
            self.fault.get_or_insert(HeadError::TooLarge);
        } else if !well_formed {
            self.refuse("a field has a character that no field has");
        } else if let [b':', pseudo @ ..] = name {
            self.pseudo(pseudo, value);
        } else {
            self.regular(known, name, value, sensitive);
        }
        if self.fault.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn regular(&mut self, known: Known, name: &[u8], value: &[u8], sensitive: bool) {
        self.regular = true;
        match known {
            Known::HOST => self.host(value),
            Known::CONTENT_LENGTH => self.length(value),
            Known::TE if value != b"trailers" => self.refuse("te asks for more than trailers"),
            Known::CONNECTION
            | Known::PROXY_CONNECTION
            | Known::KEEP_ALIVE
            | Known::TRANSFER_ENCODING
            | Known::UPGRADE => self.refuse("a field speaks of the connection"),
            _ if sensitive => self.fields.push_sensitive(name, value),
            _ => self.fields.push(name, value),
        }
    }

    fn host(&mut self, value: &[u8]) {
        match (text(value), &self.host) {
            (Some(host), None) if is_authority(value) => self.host = Some(host),
            (Some(_), Some(_)) => self.refuse("more than one host"),
            _ => self.refuse("host is no authority"),
        }
    }

    fn length(&mut self, value: &[u8]) {
        let length = number(value);
        match (length, self.content_length) {
            (Some(_), None) => {
                self.content_length = length;
                self.fields.push(b"content-length", value);
            }
            (_, Some(_)) => self.refuse("more than one content-length"),
            (None, _) => self.refuse("content-length is no length"),
        }
    }

    fn pseudo(&mut self, name: &[u8], value: &[u8]) {
        if self.regular {
            return self.refuse("a pseudo-header field follows a field");
        }
        let repeated = match name {
            b"method" => {
                let Ok(method) = Method::from_bytes(value) else {
                    return self.refuse(":method is no method");
                };
                self.method.replace(method).is_some()
            }
            b"scheme" => {
                let scheme = match value {
                    b"http" => Scheme::Http,
                    b"https" => Scheme::Https,
                    _ => return self.refuse(":scheme is neither http nor https"),
                };
                self.scheme.replace(scheme).is_some()
            }
            b"authority" | b"path" | b"protocol" => {
                let Some(text) = text(value) else {
                    return self.refuse("a pseudo-header field is no text");
                };
                let place = match name {
                    b"authority" => &mut self.authority,
                    b"path" => &mut self.path,
                    _ => &mut self.protocol,
                };
                place.replace(text).is_some()
            }
            b"status" => {
                let status = number(value).filter(|_| value.len() == 3);
                let Some(status @ 100..) = status else {
                    return self.refuse(":status is no status");
                };
                self.status.replace(status).is_some()
            }
            _ => return self.refuse("unknown pseudo-header field"),
        };
        if repeated {
            self.refuse("a pseudo-header field is repeated");
        }
    }

    /// Returns whether what was read so far is of a gRPC call.
    pub(super) fn is_grpc(&self) -> bool {
        crate::model::is_grpc(&self.fields)
    }

    /// Judges what was read as the head of a request.
    pub(super) fn request(mut self) -> Result<Checked<RequestHead>, HeadError> {
        if let Some(fault) = self.fault.take() {
            return Err(fault);
        }
        let malformed = |why| Err(HeadError::Malformed(why));
        let Some(method) = self.method.take() else { return malformed("no :method") };
        if self.status.is_some() {
            return malformed(":status in a request");
        }
        let authority = match (self.authority.take(), self.host.take()) {
            (Some(authority), Some(host)) if !authority.eq_ignore_ascii_case(&host) => {
                return malformed(":authority and host differ");
            }
            (Some(authority), _) => authority,
            (None, host) => host.unwrap_or_default(),
        };
        if !is_authority(authority.as_bytes()) {
            return malformed(":authority is no authority");
        }
        let tunnel = method == Method::CONNECT;
        if self.protocol.is_some() && !tunnel {
            return malformed(":protocol without CONNECT");
        }
        let path = self.path.take();
        if tunnel && self.protocol.is_none() {
            // RFC 9113 section 8.5.
            if path.is_some() || self.scheme.is_some() || authority.is_empty() {
                return malformed("CONNECT names a host and nothing else");
            }
        } else if self.scheme.is_none() {
            return malformed("no :scheme");
        } else if !path.as_ref().is_some_and(|path| is_path(path.as_bytes(), &method)) {
            return malformed(":path is no path");
        }
        let head = RequestHead {
            method,
            scheme: self.scheme.unwrap_or_default(),
            authority,
            path: path.unwrap_or_default(),
            protocol: self.protocol.take(),
            fields: self.fields,
        };
        Ok(Checked { head, content_length: self.content_length })
    }

    /// Judges what was read as the head of an answer.
    pub(super) fn response(mut self) -> Result<Checked<ResponseHead>, HeadError> {
        if let Some(fault) = self.fault.take() {
            return Err(fault);
        }
        let request = self.method.is_some() || self.scheme.is_some() || self.path.is_some();
        if request || self.authority.is_some() || self.protocol.is_some() {
            return Err(HeadError::Malformed("a request's pseudo-header field in an answer"));
        }
        match self.status {
            None => Err(HeadError::Malformed("no :status")),
            // RFC 9113 section 8.6: HTTP/2 has no such status.
            Some(101) => Err(HeadError::Malformed("status 101")),
            Some(status) => {
                let head = ResponseHead { status, fields: self.fields };
                Ok(Checked { head, content_length: self.content_length })
            }
        }
    }

    /// Judges what was read as trailers: they have no pseudo-header fields and frame nothing.
    pub(super) fn trailers(mut self) -> Result<Fields, HeadError> {
        if let Some(fault) = self.fault.take() {
            return Err(fault);
        }
        let pseudo = self.method.is_some() || self.scheme.is_some() || self.path.is_some();
        if pseudo || self.authority.is_some() || self.protocol.is_some() || self.status.is_some() {
            return Err(HeadError::Malformed("a pseudo-header field in trailers"));
        }
        // RFC 9110 section 6.5.1: framing does not belong in trailers; drop it rather than the
        // message, as recipients may.
        self.fields.remove(b"content-length");
        Ok(self.fields)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::field;

    const LIMITS: HeadLimits = HeadLimits { list: 1000, fields: 10 };
    const GET: [(&str, &str); 4] =
        [(":method", "GET"), (":scheme", "http"), (":authority", "a.test"), (":path", "/")];

    fn request(more: &[(&str, &str)]) -> Result<Checked<RequestHead>, HeadError> {
        read(&GET.iter().chain(more).copied().collect::<Vec<_>>()).request()
    }

    fn plain<'a>(name: &'a str, value: &'a str) -> Field<'a> {
        let (name, value) = (name.as_bytes(), value.as_bytes());
        let well_formed = field::is_name(name) && field::is_value(value);
        Field { name, value, known: Known::of(name), well_formed, sensitive: false }
    }

    fn read(fields: &[(&str, &str)]) -> HeadReader {
        let mut reader = HeadReader::new(LIMITS);
        for (name, value) in fields {
            let _ = reader.field(plain(name, value));
        }
        reader
    }

    #[test]
    fn a_plain_request_is_read_whole() {
        let read = request(&[("x-a", "1"), ("content-length", "5"), ("te", "trailers")]).unwrap();

        assert_eq!((read.head.authority.as_str(), read.head.path.as_str()), ("a.test", "/"));
        assert_eq!(read.content_length, Some(5));
        assert_eq!(read.head.fields.len(), 3);
    }

    #[test]
    fn what_two_hops_could_read_differently_is_refused() {
        for odd in [
            ("X-Upper", "1"),
            ("", "1"),
            ("a b", "1"),
            ("a:b", "1"),
            ("a", "1\r\nb: 2"),
            ("a", "\0"),
            ("a", " 1"),
            ("a", "1 "),
            ("connection", "x-tenant"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("keep-alive", "1"),
            ("proxy-connection", "close"),
            ("te", "gzip"),
            ("host", "b.test"),
            ("content-length", "+1"),
            ("content-length", ""),
            ("content-length", "1, 1"),
            ("content-length", "99999999999999999999"),
            (":path", "/late"),
            (":method", "GET"),
        ] {
            assert!(matches!(request(&[odd]), Err(HeadError::Malformed(_))), "{odd:?}");
        }
    }

    #[test]
    fn repeats_of_what_frames_or_names_are_refused() {
        let twice = |field: (&str, &str)| request(&[field, field]).map(drop);

        assert!(twice(("content-length", "1")).is_err());
        assert!(twice(("host", "a.test")).is_err());
        assert!(twice(("x-a", "1")).is_ok());
    }

    #[test]
    fn paths_and_authorities_are_plain() {
        for (authority, path, good) in [
            ("a.test:80", "/x?y=1", true),
            ("[::1]:80", "/", true),
            ("a@b", "/", false),
            ("a/b", "/", false),
            ("a", "", false),
            ("a", "x", false),
            ("a", "*", false),
            ("a", "/a b", false),
            ("a", "/\u{7f}", false),
            ("a", "/é", false),
            ("a", "/#f", false),
            ("a", "http://a/", false),
        ] {
            let head = [(":method", "GET"), (":scheme", "http"), (":authority", authority)];
            let mut reader = read(&head);
            let _ = reader.field(plain(":path", path));

            assert_eq!(reader.request().is_ok(), good, "{authority} {path}");
        }
    }

    #[test]
    fn a_tunnel_names_a_host_and_a_websocket_names_everything() {
        let plain = read(&[(":method", "CONNECT"), (":authority", "a:1")]).request();
        let odd = read(&[(":method", "CONNECT"), (":authority", "a:1"), (":path", "/")]).request();
        let extended = read(&[
            (":method", "CONNECT"),
            (":protocol", "websocket"),
            (":scheme", "http"),
            (":authority", "a"),
            (":path", "/chat"),
        ])
        .request();

        assert!(plain.is_ok());
        assert!(odd.is_err());
        assert_eq!(extended.unwrap().head.protocol.as_deref(), Some("websocket"));
    }

    #[test]
    fn limits_count_bytes_as_http2_does() {
        let long = "v".repeat(1000);

        assert_eq!(request(&[("x", &long)]).map(drop), Err(HeadError::TooLarge));
        assert_eq!(request(&[("x", "1"); 11]).map(drop), Err(HeadError::TooLarge));
    }

    #[test]
    fn an_answer_has_a_status_and_nothing_of_a_request() {
        assert_eq!(read(&[(":status", "204")]).response().unwrap().head.status, 204);
        for odd in [&[(":status", "101")][..], &[(":status", "20")], &[(":path", "/")], &[]] {
            assert!(read(odd).response().is_err(), "{odd:?}");
        }
    }

    #[test]
    fn trailers_frame_nothing() {
        let trailers = read(&[("grpc-status", "0"), ("content-length", "3")]).trailers().unwrap();

        assert_eq!(trailers.len(), 1);
        assert!(read(&[(":status", "200")]).trailers().is_err());
    }
}
