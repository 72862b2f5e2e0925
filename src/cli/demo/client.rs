//! The client left of the picture: calls A, as one tenant or as none.

use std::fmt;

use http::{HeaderMap, HeaderName, HeaderValue};
use tonic::Status;
use tonic::transport::Channel;

use super::hop::{self, CallAnswer};
use super::mesh::ALICE;

/// In whose name the client calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Caller {
    /// No tenant: production's own users.
    Nobody,
    /// A tenant with a sandbox of B.
    Alice,
    /// A tenant with no sandbox anywhere.
    Bob,
}

impl Caller {
    /// Returns the tenant's name; empty for none.
    pub(super) fn tenant(self) -> &'static str {
        match self {
            Self::Nobody => "",
            Self::Alice => ALICE,
            Self::Bob => "bob",
        }
    }

    /// Returns what a request of this caller says of itself.
    pub(super) fn fields(self) -> HeaderMap {
        let mut fields = HeaderMap::new();
        let tenant = self.tenant();
        if !tenant.is_empty() {
            let name = HeaderName::from_static("x-tenant");
            fields.insert(name, HeaderValue::from_static(tenant));
        }
        fields
    }
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nobody => f.pad("no tenant"),
            Self::Alice | Self::Bob => f.pad(&format!("x-tenant: {}", self.tenant())),
        }
    }
}

/// Calls A by gRPC.
pub(super) async fn call(channel: &Channel, caller: Caller) -> Result<CallAnswer, Status> {
    hop::call(channel, caller.fields()).await
}
