//! The answers we make ourselves: HTTP for HTTP callers, trailers-only for gRPC.

use std::fmt::Write as _;
use std::rc::Rc;

use bytes::Bytes;

use crate::http::Pipe;
use crate::model::RequestHead;
use crate::model::ResponseHead;
use crate::proxy::error::ProxyError;

/// The header that says why we answered.
pub(super) const REASON: &[u8] = b"x-dyelane-reason";

/// Returns the answer to a request that failed here.
pub(super) fn answer(error: &ProxyError, request: &RequestHead) -> (ResponseHead, Rc<Pipe>) {
    let told = error.told();
    let mut head = ResponseHead::new(told.http);
    head.fields.push(REASON, error.label().as_bytes());
    if request.is_grpc() {
        // "Trailers-Only" of the gRPC protocol over HTTP/2: the status is in the one head.
        head.status = 200;
        head.fields.push(b"content-type", b"application/grpc");
        head.fields.push(b"grpc-status", told.grpc.to_string().as_bytes());
        head.fields.push(b"grpc-message", percent_encoded(told.line).as_bytes());
        return (head, Pipe::empty());
    }
    let line = Bytes::from(format!("{}\n", told.line));
    head.fields.push(b"content-type", b"text/plain; charset=utf-8");
    head.fields.push(b"content-length", line.len().to_string().as_bytes());
    // RFC 9110 section 9.3.2: what HEAD would be told has its length, and is not there.
    let told_only = request.method == http::Method::HEAD;
    (head, if told_only { Pipe::empty() } else { Pipe::full(line, None) })
}

/// `grpc-message` is percent-encoded: all but the printable characters, and the percent sign.
fn percent_encoded(line: &str) -> String {
    let mut coded = String::with_capacity(line.len());
    for byte in line.bytes() {
        if (0x20..=0x7e).contains(&byte) && byte != b'%' {
            coded.push(char::from(byte));
        } else {
            let _ = write!(coded, "%{byte:02X}");
        }
    }
    coded
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(method: http::Method, kind: &str) -> RequestHead {
        let fields = [("content-type", kind)].into_iter().collect();
        RequestHead { method, fields, ..RequestHead::default() }
    }

    #[test]
    fn a_grpc_caller_gets_its_status_in_the_one_head() {
        let (head, body) =
            answer(&ProxyError::Deadline, &request(http::Method::POST, "application/grpc+proto"));

        assert_eq!(head.status, 200);
        assert_eq!(head.fields.get(b"grpc-status"), Some(&b"4"[..]));
        assert_eq!(head.fields.get(REASON), Some(&b"deadline"[..]));
        assert!(body.is_at_end());
    }

    #[test]
    fn an_http_caller_gets_a_status_and_a_line() {
        let (head, body) =
            answer(&ProxyError::Unroutable, &request(http::Method::GET, "text/plain"));

        assert_eq!(head.status, 404);
        assert_eq!(head.fields.get(b"content-length"), Some(&b"16"[..]));
        assert_eq!(body.buffered(), 16);
    }

    #[test]
    fn an_answer_to_head_has_no_body() {
        let (head, body) = answer(&ProxyError::Unroutable, &request(http::Method::HEAD, ""));

        assert_eq!(head.fields.get(b"content-length"), Some(&b"16"[..]));
        assert!(body.is_at_end());
    }

    #[test]
    fn messages_are_percent_encoded() {
        assert_eq!(percent_encoded("50% é"), "50%25 %C3%A9");
    }
}
