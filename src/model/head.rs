//! The heads of requests and answers, free of any protocol's framing.

use std::fmt;

use http::Method;

use crate::model::Fields;

/// What a request says before its body.
///
/// The control data has left the fields: there is no `host` field, no `connection`, nothing that
/// frames a message. What is here passed the checks of RFC 9113 section 8.3.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct RequestHead {
    /// The method, as sent.
    pub method: Method,
    /// The scheme, as sent or as the connection implies.
    pub scheme: Scheme,
    /// Host and port the request is for; empty where the request named none.
    pub authority: String,
    /// Path and query; `*` for OPTIONS, empty for CONNECT.
    pub path: String,
    /// The protocol an extended CONNECT (RFC 8441) or an upgrade asks for.
    pub protocol: Option<String>,
    /// The fields.
    pub fields: Fields,
}

impl RequestHead {
    /// Returns whether this is a gRPC call, by its content type.
    pub fn is_grpc(&self) -> bool {
        is_grpc(&self.fields)
    }

    /// Returns the path without its query.
    pub fn path_only(&self) -> &str {
        self.path.split_once('?').map_or(&*self.path, |(path, _)| path)
    }
}

/// Returns whether a message with these fields is of a gRPC call, by its content type.
pub fn is_grpc(fields: &Fields) -> bool {
    let kind = fields.get(b"content-type").unwrap_or_default();
    kind.strip_prefix(b"application/grpc")
        .is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
}

impl fmt::Debug for RequestHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}{} {:?}", self.method, self.authority, self.path, self.fields)
    }
}

/// How the client reached the authority, as it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Scheme {
    /// `http`
    #[default]
    Http,
    /// `https`
    Https,
}

impl Scheme {
    /// Returns the scheme as text.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// What an answer says before its body: an interim one (1xx) or the final one.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct ResponseHead {
    /// The status code: 100 to 999.
    pub status: u16,
    /// The fields.
    pub fields: Fields,
}

impl ResponseHead {
    /// A head with that status and no field.
    pub fn new(status: u16) -> Self {
        Self { status, fields: Fields::default() }
    }
}

impl fmt::Debug for ResponseHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", self.status, self.fields)
    }
}
