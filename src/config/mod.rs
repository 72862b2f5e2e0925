//! `sidecar.toml` and `registry.toml`: what the operator wrote, read once and checked whole.
//!
//! A [`Config`] that exists is valid: its names are names, its periods and sizes are in bounds, what
//! it refers to is there. Nothing here opens a file, looks at a clock or reads the environment: the
//! text and a look-up of variables are arguments.
//!
//! ```text
//! text ──reading──► sections, each with its defaults and bounds ──► Config
//!                        │
//!                        └──► Problem… ──► Report, shown under the lines of the text
//! ```
//!
//! Every problem is reported, not the first. A tenant or lane that is wrong is left out alone
//! ([`Quarantined`]); anything else that is wrong refuses the file.
//!
//! Floor 1: uses [`model`](crate::model).

mod authority;
mod carriers;
mod discovery;
mod failure;
mod file;
mod health;
mod overlay;
mod place;
mod problem;
mod quarantine;
mod reading;
mod registration;
mod registry;
mod render;
mod restart;
mod rules;
mod secret;
mod services;
mod sidecar;
mod syntax;
mod tenants;
#[cfg(test)]
mod tests;
mod workload;
mod written;
mod zones;

pub use authority::{Authority, InvalidAuthority};
pub use carriers::{Carrier, Correlation, CorrelationId, OnConflict, TenantSection};
pub use discovery::{
    Dialect, Discovery, EurekaAddress, EurekaSource, InvalidEurekaAddress, RegistrySource,
    ServicePattern,
};
pub use failure::{Outlier, Retries, RetryOn, Timeouts};
pub use file::Parsed;
pub use health::{Health, Probe, ProbeKind};
pub use overlay::{RemoteRules, Underlay};
pub use problem::{Label, Located, Problem, Report};
pub use quarantine::{Entry, Quarantined};
pub use reading::Key;
pub use registration::{Registration, RegistryAddresses};
pub use registry::{
    InvalidPlaceName, Leases, PlaceName, Protection, RegistryConfig, RegistryLimits, RegistryLog,
    RegistryNode, Token,
};
pub use rules::{Percentage, PercentageKey, Rule, RuleMatch, RuleSet, StringMatch};
pub use secret::{InvalidSecret, Secret};
pub use services::{Balance, Service, UpstreamProtocol};
pub use sidecar::{AccessLog, Admin, Limits, Log, LogFormat, Runtime};
pub use tenants::{Lane, OnUnhealthy, Tenant};
pub use workload::{Claims, Inbound, Outbound, Unknown, Workload};
pub use zones::Zones;

use std::collections::BTreeMap;

use serde::Serialize;

use crate::model::{Instance, LaneName, ServiceName, TenantId};

/// Everything `sidecar.toml` says, with defaults filled in.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Config {
    /// `[workload]`: who we sit beside.
    pub workload: Workload,
    /// `[inbound]`: what comes to our application.
    pub inbound: Inbound,
    /// `[outbound]`: what our application sends.
    pub outbound: Outbound,
    /// `[tenant]`: where a request's tenant is read and written.
    pub tenant: TenantSection,
    /// `[tenants.NAME]`: what is particular to a tenant.
    pub tenants: BTreeMap<TenantId, Tenant>,
    /// `[lanes.NAME]`: what is particular to a lane.
    pub lanes: BTreeMap<LaneName, Lane>,
    /// `[[rule]]`: coloring of requests at the edge, in order; the first that matches counts.
    pub rules: Vec<Rule>,
    /// `[services."NAME"]`: how each service is reached.
    pub services: BTreeMap<ServiceName, Service>,
    /// `[defaults]`: how a service is reached of which nothing else is said.
    pub defaults: Service,
    /// The instances of `[[services."NAME".instances]]`, of all services.
    pub instances: Vec<Instance>,
    /// `[discovery]`: who tells us of instances.
    pub discovery: Discovery,
    /// `[registration]`: our own instance, as a registry is told of it; none: nobody is told.
    pub registration: Option<Registration>,
    /// `[limits]`: bounds on what one peer can make us hold.
    pub limits: Limits,
    /// `[runtime]`: threads, reloading, draining.
    pub runtime: Runtime,
    /// `[admin]`: the operator's own listener.
    pub admin: Admin,
    /// `[log]`: what is written, and how.
    pub log: Log,
}
