//! `sidecar.toml`: what the operator wrote, read once and checked whole.
//!
//! A [`Config`] that exists is valid: its names are names, its periods and sizes are in bounds, what
//! it refers to is there. Nothing here opens a file, looks at a clock or reads the environment: the
//! text and a look-up of variables are arguments.
//!
//! Floor 1: uses [`model`](crate::model).

mod carriers;
mod rules;
mod services;
mod tenants;
mod workload;

pub use carriers::{Carrier, Correlation, CorrelationId, OnConflict, TenantSection};
pub use rules::{Percentage, PercentageKey, Rule, RuleMatch, RuleSet, StringMatch};
pub use services::{Balance, Outlier, Retries, RetryOn, Service, Timeouts, UpstreamProtocol};
pub use tenants::{Lane, OnUnhealthy, Tenant};
pub use workload::{
    AccessLog, Admin, Claims, Inbound, Limits, Log, LogFormat, Outbound, Runtime, Unknown, Workload,
};

use std::collections::BTreeMap;

use crate::model::{Instance, LaneName, ServiceName, TenantId};

/// Everything `sidecar.toml` says, with defaults filled in.
#[derive(Debug, Clone, PartialEq)]
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
    /// `[limits]`: bounds on what one peer can make us hold.
    pub limits: Limits,
    /// `[runtime]`: threads, reloading, draining.
    pub runtime: Runtime,
    /// `[admin]`: the operator's own listener.
    pub admin: Admin,
    /// `[log]`: what is written, and how.
    pub log: Log,
}
