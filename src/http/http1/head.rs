//! Heads between hyper and ours: what is between neighbours ends here, the rest is checked.

use http::HeaderMap;
use http::HeaderName;
use http::HeaderValue;
use http::Method;
use http::Request;
use http::Response;
use http::Uri;

use crate::http::field;
use crate::http::hpack::Field;
use crate::http::hpack::Known;
use crate::http::message::{HeadError, HeadLimits, HeadReader};
use crate::model::Fields;
use crate::model::RequestHead;
use crate::model::ResponseHead;

/// A request's head, and what else its first hop said.
pub(super) struct Received {
    pub(super) head: RequestHead,
    /// The fields that `connection` says are between neighbours only.
    pub(super) nominated: Vec<String>,
}

/// Whether a field is between neighbours only, or frames the message, whatever `connection` says.
fn is_hop_by_hop(name: &str) -> bool {
    matches!(
        name,
        "connection"
            | "proxy-connection"
            | "keep-alive"
            | "transfer-encoding"
            | "upgrade"
            | "te"
            | "http2-settings"
            // We answer it ourselves, by reading the body.
            | "expect"
    )
}

/// The members of a list field, over all its lines, in lower case.
fn members(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = String> {
    let lines = headers.get_all(name).into_iter().filter_map(|line| line.to_str().ok());
    let members = lines.flat_map(|line| line.split(','));
    members.map(|it| it.trim().to_ascii_lowercase()).filter(|it| !it.is_empty())
}

fn feed(reader: &mut HeadReader, headers: &HeaderMap) {
    for (name, value) in headers {
        if is_hop_by_hop(name.as_str()) {
            continue;
        }
        if feed_one(reader, name.as_str().as_bytes(), value.as_bytes(), value.is_sensitive()) {
            return;
        }
    }
}

/// Returns whether the reader has seen enough.
fn feed_one(reader: &mut HeadReader, name: &[u8], value: &[u8], sensitive: bool) -> bool {
    let well_formed = field::is_name(name) && field::is_value(value);
    let known = Known::of(name);
    reader.field(Field { name, value, known, well_formed, sensitive }).is_break()
}

/// Reads the head of a request.
pub(super) fn received<B>(request: &Request<B>, limits: HeadLimits) -> Result<Received, HeadError> {
    let headers = request.headers();
    check_framing(headers)?;
    let mut hosts = headers.get_all(http::header::HOST).into_iter();
    let host = hosts.next();
    if hosts.next().is_some() {
        return Err(HeadError::Malformed("more than one host"));
    }
    if host.is_none() && request.version() == http::Version::HTTP_11 {
        // RFC 9112 section 3.2.
        return Err(HeadError::Malformed("no host"));
    }
    let uri = request.uri();
    let mut reader = HeadReader::new(limits);
    feed_one(&mut reader, b":method", request.method().as_str().as_bytes(), false);
    if *request.method() == Method::CONNECT {
        let authority = uri.authority().map_or("", http::uri::Authority::as_str);
        feed_one(&mut reader, b":authority", authority.as_bytes(), false);
    } else {
        feed_one(&mut reader, b":scheme", b"http", false);
        feed_one(&mut reader, b":path", path(uri).as_bytes(), false);
        // RFC 9112 section 3.2.2: an absolute target counts, whatever the host field says.
        let authority = uri.authority().map(|it| it.as_str().as_bytes());
        if let Some(authority) = authority.or(host.map(HeaderValue::as_bytes)) {
            feed_one(&mut reader, b":authority", authority, false);
        }
    }
    let nominated: Vec<_> = members(headers, http::header::CONNECTION).collect();
    if members(headers, http::header::TE).any(|it| it == "trailers") {
        feed_one(&mut reader, b"te", b"trailers", false);
    }
    let mut rest = headers.clone();
    rest.remove(http::header::HOST);
    feed(&mut reader, &rest);
    let mut head = reader.request()?.head;
    head.protocol = wanted_protocol(headers, &nominated);
    Ok(Received {
        head,
        nominated: nominated.into_iter().filter(|it| !is_hop_by_hop(it)).collect(),
    })
}

/// Path and query as sent; `*` stays, an absolute target without a path has the root.
fn path(uri: &Uri) -> &str {
    uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str)
}

/// Refuses transfer codings other than the one everybody reads alike (RFC 9112 section 6.1).
fn check_framing(headers: &HeaderMap) -> Result<(), HeadError> {
    let mut codings = headers.get_all(http::header::TRANSFER_ENCODING).into_iter();
    let plain = |it: &HeaderValue| it.as_bytes().eq_ignore_ascii_case(b"chunked");
    if codings.next().is_some_and(|it| !plain(it)) || codings.next().is_some() {
        return Err(HeadError::Malformed("a transfer coding other than chunked"));
    }
    Ok(())
}

/// The protocol a request wants to go on in, if it wants one that we pass on. HTTP/2 itself is
/// taken with prior knowledge only.
fn wanted_protocol(headers: &HeaderMap, nominated: &[String]) -> Option<String> {
    let wanted = headers.get(http::header::UPGRADE)?.to_str().ok()?;
    let asked = nominated.iter().any(|it| it == "upgrade");
    (asked && !wanted.eq_ignore_ascii_case("h2c")).then(|| wanted.to_owned())
}

/// Reads the head of an answer.
pub(super) fn answered<B>(
    response: &Response<B>,
    limits: HeadLimits,
) -> Result<ResponseHead, HeadError> {
    check_framing(response.headers())?;
    let mut reader = HeadReader::new(limits);
    let status = response.status();
    // The reader knows no 101, which HTTP/2 does not have; it is set right behind.
    let shown =
        if status == http::StatusCode::SWITCHING_PROTOCOLS { "200" } else { status.as_str() };
    feed_one(&mut reader, b":status", shown.as_bytes(), false);
    let nominated: Vec<_> = members(response.headers(), http::header::CONNECTION).collect();
    let mut rest = response.headers().clone();
    for name in nominated {
        rest.remove(name);
    }
    feed(&mut reader, &rest);
    let mut head = reader.response()?.head;
    head.status = status.as_u16();
    Ok(head)
}

/// A field that hyper does not take.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("a field that HTTP/1.1 cannot carry")]
pub(super) struct Unwritable;

/// Our fields as hyper's. Cookies, which HTTP/2 lets come in pieces, are one line again (RFC 9113
/// section 8.2.3). A message that announces trailers goes out in chunks, whatever its length: nothing
/// else carries them (RFC 9112 section 7.1.2).
pub(super) fn headers_of(fields: &Fields) -> Result<HeaderMap, Unwritable> {
    let mut headers = HeaderMap::with_capacity(fields.len());
    let mut cookies = Vec::new();
    let in_chunks = fields.iter().any(|(name, _)| name == b"trailer");
    for (name, value, sensitive) in fields.iter_marked() {
        if name == b"cookie" {
            if !cookies.is_empty() {
                cookies.extend_from_slice(b"; ");
            }
            cookies.extend_from_slice(value);
            continue;
        }
        let name = HeaderName::from_bytes(name).map_err(|_| Unwritable)?;
        if is_hop_by_hop(name.as_str()) || (in_chunks && name == http::header::CONTENT_LENGTH) {
            continue;
        }
        let mut value = HeaderValue::from_bytes(value).map_err(|_| Unwritable)?;
        value.set_sensitive(sensitive);
        headers.try_append(name, value).map_err(|_| Unwritable)?;
    }
    if !cookies.is_empty() {
        let value = HeaderValue::from_bytes(&cookies).map_err(|_| Unwritable)?;
        headers.insert(http::header::COOKIE, value);
    }
    Ok(headers)
}

/// hyper's fields as ours: those of trailers.
pub(super) fn fields_of(headers: &HeaderMap) -> Fields {
    let mut fields = Fields::with_capacity(headers.len(), headers.len() * 32);
    for (name, value) in headers {
        let framing = matches!(name.as_str(), "content-length" | "host");
        if !is_hop_by_hop(name.as_str()) && !framing && field::is_value(value.as_bytes()) {
            fields.push(name.as_str().as_bytes(), value.as_bytes());
        }
    }
    fields
}

/// Our request as hyper's, for an upstream that speaks HTTP/1.1. `bodiless`: nothing follows.
pub(super) fn request_of(head: &RequestHead, bodiless: bool) -> Result<Request<()>, Unwritable> {
    let mut request = Request::new(());
    let method = if head.protocol.is_some() { Method::GET } else { head.method.clone() };
    *request.method_mut() = method;
    *request.uri_mut() = head.path.parse().map_err(|_| Unwritable)?;
    let mut headers = headers_of(&head.fields)?;
    let host = HeaderValue::from_str(&head.authority).map_err(|_| Unwritable)?;
    headers.insert(http::header::HOST, host);
    if head.fields.get(b"te") == Some(b"trailers") {
        headers.insert(http::header::TE, HeaderValue::from_static("trailers"));
        headers.insert(http::header::CONNECTION, HeaderValue::from_static("te"));
    }
    if !bodiless && head.protocol.is_none() && !headers.contains_key(http::header::CONTENT_LENGTH) {
        // Said outright, since hyper takes a GET without a length for one without a body.
        let chunked = HeaderValue::from_static("chunked");
        headers.insert(http::header::TRANSFER_ENCODING, chunked);
    }
    *request.headers_mut() = headers;
    Ok(request)
}

/// Our answer as hyper's.
pub(super) fn response_of(head: &ResponseHead) -> Result<Response<()>, Unwritable> {
    let mut response = Response::new(());
    *response.status_mut() = http::StatusCode::from_u16(head.status).map_err(|_| Unwritable)?;
    *response.headers_mut() = headers_of(&head.fields)?;
    Ok(response)
}
