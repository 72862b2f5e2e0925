//! Label values: each a closed set, so that no stranger's text becomes a time series.

use std::borrow::Cow;

/// Declares an enum of label values and their texts.
macro_rules! labels {
    ($(#[$about:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name {
            $($(#[$doc])* $variant,)+
        }

        impl $name {
            /// Every value there is.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// Returns the value as it is written in metrics and logs.
            pub const fn label(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)+
                }
            }
        }
    };
}

labels! {
    /// Which way a connection or request goes, as our application sees it.
    Direction {
        /// To our application.
        Inbound = "inbound",
        /// From our application.
        Outbound = "outbound",
    }
}

labels! {
    /// What a connection speaks.
    Protocol {
        /// HTTP/2.
        H2 = "h2",
        /// HTTP/1.0 or HTTP/1.1.
        Http1 = "http/1.1",
        /// Bytes we know nothing about.
        Tcp = "tcp",
    }
}

labels! {
    /// Which way relayed bytes went.
    Way {
        /// From the side that connected.
        ToServer = "to_server",
        /// To the side that connected.
        ToClient = "to_client",
    }
}

labels! {
    /// What a look for an outbound request's tenant by its correlation ids came to.
    Correlated {
        /// The tenant is known.
        Tenant = "tenant",
        /// There is an id that we never saw, or no longer know.
        Unknown = "unknown",
        /// There is no id.
        NoId = "no_id",
        /// The id was seen with two tenants.
        Poisoned = "poisoned",
    }
}

labels! {
    /// What became of the wish to try a request again.
    Retry {
        /// It was sent again.
        Sent = "sent",
        /// The service's retry budget is used up.
        NoBudget = "no_budget",
        /// It had all its attempts.
        NoAttempts = "no_attempts",
        /// Its body was too long to keep.
        NoBody = "no_body",
    }
}

labels! {
    /// Who tells us of instances.
    Source {
        /// A registry.
        Registry = "registry",
        /// A Eureka server.
        Eureka = "eureka",
    }
}

/// How a request was answered, as the label `code`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Code {
    /// It was not: the stream broke before a head.
    None,
    /// By that HTTP status.
    Http(u16),
    /// By that gRPC status.
    Grpc(u32),
}

impl Code {
    /// The gRPC status if there is one, else the HTTP status, 0 being none.
    pub(super) fn new(status: u16, grpc_status: Option<u32>) -> Self {
        match (grpc_status, status) {
            (Some(grpc), _) => Self::Grpc(grpc),
            (None, 0) => Self::None,
            (None, http) => Self::Http(http),
        }
    }

    /// Returns the code as text, one of some 520.
    pub(super) fn label(self) -> Cow<'static, str> {
        match self {
            Self::None => "none".into(),
            Self::Http(status @ 100..=599) => status.to_string().into(),
            Self::Http(_) => "other".into(),
            Self::Grpc(status @ 0..=16) => format!("grpc:{status}").into(),
            Self::Grpc(_) => "grpc:other".into(),
        }
    }

    /// Returns whether the server, rather than the caller, is at fault: such answers are always
    /// worth a line of the access log.
    ///
    /// Of the gRPC codes, those OpenTelemetry counts as errors of a server: `UNKNOWN`,
    /// `DEADLINE_EXCEEDED`, `UNIMPLEMENTED`, `INTERNAL`, `UNAVAILABLE` and `DATA_LOSS`.
    pub(super) fn is_failure(self) -> bool {
        match self {
            Self::None => true,
            Self::Http(status) => status >= 500,
            Self::Grpc(status) => matches!(status, 2 | 4 | 12..=15),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_a_stranger_can_choose_are_few() {
        let labels = [
            Code::new(200, None),
            Code::new(999, None),
            Code::new(0, None),
            Code::new(200, Some(14)),
            Code::new(200, Some(4_000_000)),
        ]
        .map(Code::label);

        assert_eq!(labels, ["200", "other", "none", "grpc:14", "grpc:other"]);
    }

    #[test]
    fn a_caller_at_fault_is_no_failure() {
        let failures = [(503, None), (0, None), (200, Some(14))];
        let ordinary = [(200, None), (404, None), (200, Some(0)), (200, Some(5))];

        assert!(failures.iter().all(|(http, grpc)| Code::new(*http, *grpc).is_failure()));
        assert!(!ordinary.iter().any(|(http, grpc)| Code::new(*http, *grpc).is_failure()));
    }
}
