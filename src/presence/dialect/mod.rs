//! What is said to a registry, and what its answers mean, in each of the dialects it may speak.

mod discovery;
mod eureka;

use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderMap, Method};

use crate::config::{EurekaAddress, RegistryAddresses};
use crate::net::{Answer, ClientError};
use crate::presence::plan::{Announced, Plan};

/// Longest part of an answer that is shown, in characters.
const SHOWN: usize = 200;

/// What is asked of a registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Call {
    Register,
    Renew,
    Cancel,
}

/// Why a registry did not do as it was asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    /// It knows nothing of our instance: it is to be told again.
    #[error("it does not know our instance")]
    Unknown,
    /// It will not have what it is told, and no other node will.
    #[error("it refuses our registration: {0}")]
    Refused(String),
    /// It cannot do it now.
    #[error("it answers {0}")]
    Unable(String),
    /// It gives no answer.
    #[error(transparent)]
    Silent(#[from] ClientError),
    /// We do not know our own address.
    #[error("the address by which others reach us is not to be found")]
    Nowhere(#[source] std::io::Error),
}

impl Trouble {
    /// Returns whether the call may have been heard all the same.
    pub(super) fn was_heard(&self) -> bool {
        match self {
            Self::Silent(ClientError::Resolve { .. } | ClientError::Connect { .. })
            | Self::Nowhere(_) => false,
            Self::Silent(_) | Self::Unknown | Self::Refused(_) | Self::Unable(_) => true,
        }
    }
}

/// A request to a registry.
#[derive(Debug)]
pub(super) struct Words {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) fields: HeaderMap,
    pub(super) body: Bytes,
}

/// One node of a registry, by the dialect it speaks.
#[derive(Debug)]
pub(super) enum Node {
    Discovery,
    Eureka(EurekaAddress),
}

impl Node {
    /// Returns the nodes of a plan, each with its host and port.
    pub(super) fn all(plan: &Plan) -> Vec<(String, Self)> {
        match &plan.registry {
            RegistryAddresses::Discovery(all) => {
                all.iter().map(|it| (it.as_str().to_owned(), Self::Discovery)).collect()
            }
            RegistryAddresses::Eureka(all) => {
                let name = |it: &EurekaAddress| it.authority.as_str().to_owned();
                all.iter().map(|it| (name(it), Self::Eureka(it.clone()))).collect()
            }
        }
    }

    /// Puts a call into words. `told` is when our instance was last told of as it is, in milliseconds
    /// since 1970.
    pub(super) fn say(&self, call: Call, plan: &Plan, address: SocketAddr, told: u64) -> Words {
        match self {
            Self::Discovery => discovery::say(call, &plan.instance, address),
            Self::Eureka(server) => eureka::say(call, server, plan, address, told),
        }
    }

    /// Reads the answer to a call.
    ///
    /// # Errors
    /// It did not do as it was asked.
    pub(super) fn read(&self, call: Call, answer: &Answer) -> Result<(), Trouble> {
        let read = match self {
            Self::Discovery => discovery::read(answer),
            Self::Eureka(_) => eureka::read(answer),
        };
        match read {
            // Nobody is there to be taken back.
            Err(Trouble::Unknown) if call == Call::Cancel => Ok(()),
            read => read,
        }
    }
}

/// The first of what a registry says, for people.
fn excerpt(text: &str) -> String {
    text.chars().filter(|it| !it.is_control()).take(SHOWN).collect()
}

/// Writes where `instance` is, as a URL has it.
fn url(instance: &Announced, address: SocketAddr) -> String {
    format!("{}://{address}", instance.scheme)
}
