//! Heads between hyper and ours: what is between neighbours ends here, the rest is checked.

use http::HeaderMap;
use http::HeaderName;
use http::HeaderValue;
use http::Method;
use http::Request;
use http::Response;
use http::StatusCode;
use http::Uri;
use http::Version;
use http::header;
use http::uri::PathAndQuery;

use crate::http::field;
use crate::http::hpack::Field;
use crate::http::hpack::Known;
use crate::http::http1::websocket;
use crate::http::message::{HeadError, HeadLimits, HeadReader};
use crate::model::Fields;
use crate::model::RequestHead;
use crate::model::ResponseHead;

/// A request's head, and what else its first hop said.
pub(super) struct Received {
    pub(super) head: RequestHead,
    /// The fields that `connection` says are between neighbours only.
    pub(super) nominated: Vec<String>,
    /// The key of a WebSocket handshake, which is between neighbours.
    pub(super) key: Option<HeaderValue>,
}

/// Whether a field is between neighbours only, or frames the message, whatever `connection` says.
fn is_hop_by_hop(name: &HeaderName) -> bool {
    *name == header::CONNECTION
        || *name == header::TRANSFER_ENCODING
        || *name == header::UPGRADE
        || *name == header::TE
        || matches!(name.as_str(), "proxy-connection" | "keep-alive" | "http2-settings")
}

/// The members of a list field, over all its lines.
fn members(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    let lines = headers.get_all(name).into_iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).map(str::trim).filter(|it| !it.is_empty())
}

/// Gives the reader one field; it goes on after a fault, and says so in the end.
fn feed(reader: &mut HeadReader, name: &[u8], value: &[u8]) {
    let well_formed = field::is_name(name) && field::is_value(value);
    let known = Known::of(name);
    // Once it has seen enough, it takes no notice of the rest.
    let _ = reader.field(Field { name, value, known, well_formed, sensitive: false });
}

/// Reads the head of a request. `has_body`: something follows it.
pub(super) fn received<B>(
    request: &Request<B>,
    has_body: bool,
    limits: HeadLimits,
) -> Result<Received, HeadError> {
    let headers = request.headers();
    check_framing(headers)?;
    let mut reader = HeadReader::new(limits);
    feed_target(&mut reader, request)?;
    let nominated: Vec<_> = members(headers, header::CONNECTION).collect();
    let protocol = if has_body { None } else { wanted_protocol(request, &nominated) };
    let key = match &protocol {
        Some(protocol) if websocket::is_websocket(protocol) => {
            let key = websocket::key_of(headers).cloned();
            Some(key.ok_or(HeadError::Malformed("a WebSocket handshake without its key"))?)
        }
        _ => None,
    };
    if members(headers, header::TE).any(|it| it.eq_ignore_ascii_case("trailers")) {
        feed(&mut reader, b"te", b"trailers");
    }
    for (name, value) in headers {
        let ours = *name == header::HOST
            // hyper answers it, by reading the body.
            || *name == header::EXPECT
            || (key.is_some() && *name == header::SEC_WEBSOCKET_KEY);
        if !ours && !is_hop_by_hop(name) {
            feed(&mut reader, name.as_str().as_bytes(), value.as_bytes());
        }
    }
    let mut head = reader.request()?.head;
    head.protocol = protocol;
    let nominated = nominated.into_iter().map(str::to_ascii_lowercase);
    let named = |it: &String| {
        HeaderName::from_bytes(it.as_bytes()).is_ok_and(|name| !is_hop_by_hop(&name))
            && !matches!(it.as_str(), "close" | "host" | "content-length")
    };
    Ok(Received { head, nominated: nominated.filter(named).collect(), key })
}

/// Reads what the request is for: its target, and its host (RFC 9112 section 3.2).
fn feed_target<B>(reader: &mut HeadReader, request: &Request<B>) -> Result<(), HeadError> {
    let malformed = |why| Err(HeadError::Malformed(why));
    let (headers, uri) = (request.headers(), request.uri());
    let mut hosts = headers.get_all(header::HOST).into_iter();
    let host = hosts.next();
    if hosts.next().is_some() {
        return malformed("more than one host");
    }
    if host.is_none() && request.version() == Version::HTTP_11 {
        return malformed("no host");
    }
    feed(reader, b":method", request.method().as_str().as_bytes());
    let authority = uri.authority().map(|it| it.as_str().as_bytes());
    match (uri.scheme_str(), authority) {
        (None, Some(authority)) if *request.method() == Method::CONNECT => {
            feed(reader, b":authority", authority);
            return Ok(());
        }
        (None, Some(_)) => return malformed("the target is neither a path nor a URI"),
        (scheme, _) => feed(reader, b":scheme", scheme.unwrap_or("http").as_bytes()),
    }
    match uri.path_and_query().map_or("/", PathAndQuery::as_str) {
        // An absolute target with a query and no path.
        path if path.starts_with('?') => feed(reader, b":path", format!("/{path}").as_bytes()),
        path => feed(reader, b":path", path.as_bytes()),
    }
    // An absolute target counts, whatever the host field says.
    if let Some(authority) = authority.or(host.map(HeaderValue::as_bytes)) {
        feed(reader, b":authority", authority);
    }
    Ok(())
}

/// Refuses transfer codings other than the one everybody reads alike (RFC 9112 section 6.1), and a
/// body of two lengths (section 6.3).
fn check_framing(headers: &HeaderMap) -> Result<(), HeadError> {
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).into_iter();
    let Some(coding) = codings.next() else { return Ok(()) };
    if !coding.as_bytes().eq_ignore_ascii_case(b"chunked") || codings.next().is_some() {
        return Err(HeadError::Malformed("a transfer coding other than chunked"));
    }
    if headers.contains_key(header::CONTENT_LENGTH) {
        return Err(HeadError::Malformed("a body both chunked and of a length"));
    }
    Ok(())
}

/// The protocol a request wants to go on in, if it wants one that we pass on: a single one, and not
/// HTTP/2, which is taken with prior knowledge only.
fn wanted_protocol<B>(request: &Request<B>, nominated: &[&str]) -> Option<String> {
    let headers = request.headers();
    if request.version() != Version::HTTP_11
        || !nominated.iter().any(|it| it.eq_ignore_ascii_case("upgrade"))
    {
        return None;
    }
    let mut wanted = members(headers, header::UPGRADE);
    let protocol = wanted.next().filter(|_| wanted.next().is_none())?;
    let (name, _) = protocol.split_once('/').unwrap_or((protocol, ""));
    let http = ["h2c", "h2", "http", "tls"].iter().any(|it| name.eq_ignore_ascii_case(it));
    let method = request.method();
    let fits = if websocket::is_websocket(protocol) {
        *method == Method::GET
    } else {
        *method != Method::CONNECT
    };
    (fits && !http).then(|| protocol.to_owned())
}

/// Whether an answer agrees to go on in `protocol`.
pub(super) fn agrees(headers: &HeaderMap, protocol: &str) -> bool {
    let mut agreed = members(headers, header::UPGRADE);
    agreed.next().is_some_and(|it| it.eq_ignore_ascii_case(protocol)) && agreed.next().is_none()
}

/// Reads the head of an answer.
pub(super) fn answered<B>(
    response: &Response<B>,
    limits: HeadLimits,
) -> Result<ResponseHead, HeadError> {
    let headers = response.headers();
    check_framing(headers)?;
    let status = response.status();
    // RFC 9110 section 8.6: no such answer has a length, whatever it says.
    let bodiless = status.is_informational() || status == StatusCode::NO_CONTENT;
    let mut reader = HeadReader::new(limits);
    // The reader knows no 101, which HTTP/2 does not have; it is set right behind.
    let shown = if status == StatusCode::SWITCHING_PROTOCOLS { "200" } else { status.as_str() };
    feed(&mut reader, b":status", shown.as_bytes());
    let nominated: Vec<_> = members(headers, header::CONNECTION).collect();
    for (name, value) in headers {
        let skipped = is_hop_by_hop(name)
            || (bodiless && *name == header::CONTENT_LENGTH)
            || nominated.iter().any(|it| it.eq_ignore_ascii_case(name.as_str()));
        if !skipped {
            feed(&mut reader, name.as_str().as_bytes(), value.as_bytes());
        }
    }
    let mut head = reader.response()?.head;
    head.status = status.as_u16();
    Ok(head)
}

/// A field that hyper does not take.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("a head that HTTP/1.1 cannot carry")]
pub(super) struct Unwritable;

/// Appends our fields to hyper's. Cookies, which HTTP/2 lets come in pieces, are one line again
/// (RFC 9113 section 8.2.3). A message that announces trailers goes out in chunks, whatever its
/// length: nothing else carries them (RFC 9112 section 7.1.2).
fn append(headers: &mut HeaderMap, fields: &Fields) -> Result<(), Unwritable> {
    let mut cookies = Vec::new();
    let in_chunks = fields.contains(b"trailer");
    for (name, value) in fields {
        if name == b"cookie" {
            if !cookies.is_empty() {
                cookies.extend_from_slice(b"; ");
            }
            cookies.extend_from_slice(value);
            continue;
        }
        let name = HeaderName::from_bytes(name).map_err(|_| Unwritable)?;
        if is_hop_by_hop(&name) || (in_chunks && name == header::CONTENT_LENGTH) {
            continue;
        }
        let value = HeaderValue::from_bytes(value).map_err(|_| Unwritable)?;
        headers.try_append(name, value).map_err(|_| Unwritable)?;
    }
    if !cookies.is_empty() {
        let value = HeaderValue::from_bytes(&cookies).map_err(|_| Unwritable)?;
        headers.insert(header::COOKIE, value);
    }
    Ok(())
}

/// Our fields as hyper's.
pub(super) fn headers_of(fields: &Fields) -> Result<HeaderMap, Unwritable> {
    let mut headers = HeaderMap::with_capacity(fields.len());
    append(&mut headers, fields).map(|()| headers)
}

/// hyper's trailers as ours; those that frame a message or name its target have no business there
/// (RFC 9110 section 6.5.1).
pub(super) fn fields_of(headers: &HeaderMap) -> Option<Fields> {
    let mut fields = Fields::default();
    for (name, value) in headers {
        let framing = *name == header::CONTENT_LENGTH || *name == header::HOST;
        if !is_hop_by_hop(name) && !framing && field::is_value(value.as_bytes()) {
            fields.push(name.as_str().as_bytes(), value.as_bytes());
        }
    }
    Some(fields).filter(|it| !it.is_empty())
}

/// Our request as hyper's, for an upstream that speaks HTTP/1.1. `has_body`: something follows.
pub(super) fn request_of(head: &RequestHead, has_body: bool) -> Result<Request<()>, Unwritable> {
    let mut request = Request::new(());
    // Whoever asks for a protocol in HTTP/2's way does so by CONNECT (RFC 8441 section 5).
    let extended = head.protocol.is_some() && head.method == Method::CONNECT;
    *request.method_mut() = if extended { Method::GET } else { head.method.clone() };
    let path = PathAndQuery::try_from(head.path.as_str()).map_err(|_| Unwritable)?;
    *request.uri_mut() = Uri::from(path);
    let headers = request.headers_mut();
    headers.reserve(head.fields.len() + 4);
    let host = HeaderValue::from_str(&head.authority).map_err(|_| Unwritable)?;
    headers.insert(header::HOST, host);
    append(headers, &head.fields)?;
    if let Some(protocol) = &head.protocol {
        announce(headers, HeaderValue::from_str(protocol).map_err(|_| Unwritable)?);
    } else if head.fields.get(b"te") == Some(b"trailers") {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
        headers.insert(header::CONNECTION, HeaderValue::from_static("te"));
    }
    let length = headers.contains_key(header::CONTENT_LENGTH);
    if has_body && !length {
        // Said outright, since hyper takes a GET without a length for one without a body.
        headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    } else if !length && matches!(head.method, Method::POST | Method::PUT | Method::PATCH) {
        // RFC 9110 section 8.6: these methods usually have a body, so none is said outright too.
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
    Ok(request)
}

/// Says in a head that the connection goes on in `protocol`.
pub(super) fn announce(headers: &mut HeaderMap, protocol: HeaderValue) {
    headers.insert(header::UPGRADE, protocol);
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
}

/// Our answer as hyper's.
pub(super) fn response_of(head: &ResponseHead) -> Result<Response<()>, Unwritable> {
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::from_u16(head.status).map_err(|_| Unwritable)?;
    response.headers_mut().reserve(head.fields.len() + 2);
    append(response.headers_mut(), &head.fields)?;
    Ok(response)
}

/// The length a head claims for its body.
pub(super) fn length_of(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}
