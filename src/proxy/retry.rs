//! Whether a request is sent again.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicI32;
use std::sync::atomic::Ordering::Relaxed;

use arrayvec::ArrayVec;
use http::Method;

use crate::config::Retries;
use crate::config::RetryOn;
use crate::http::CallError;
use crate::model::RequestHead;
use crate::model::ResponseHead;
use crate::proxy::error::ProxyError;

/// Attempts a request, or a connection of bytes, has at most, whatever the policy.
pub(super) const ATTEMPTS: usize = 10;
/// What one retry costs; a request pays in its share of it.
const RETRY: i32 = 1_000;
/// Retries a service may save up: enough for a burst, and for services that are seldom called.
const SAVED: i32 = 10 * RETRY;

/// How many retries a service may still cause.
///
/// Each request pays in a part of a retry, each retry takes one out; ten can be saved up. So an
/// upstream that fails everything sees, for a share of 0.2, a fifth more requests and not a
/// multiple (the token bucket of gRPC's retry throttling, gRFC A6, fed by requests).
#[derive(Debug)]
pub(super) struct Budget {
    saved: AtomicI32,
    share: i32,
}

impl Budget {
    /// A budget of `share` retries for each request; what `before` saved is kept.
    pub(super) fn succeed(before: Option<&Arc<Self>>, share: f64) -> Arc<Self> {
        #[expect(clippy::cast_possible_truncation, reason = "0 to 1000 by the config's bounds")]
        let share = (share * f64::from(RETRY)) as i32;
        match before {
            Some(before) if before.share == share => before.clone(),
            _ => {
                let first = if share == 0 { 0 } else { SAVED };
                Arc::new(Self { saved: first.into(), share })
            }
        }
    }

    /// A request was sent for the first time.
    pub(super) fn pay_in(&self) {
        // Not exact between threads, and need not be: a lost payment is one in thousands.
        let saved = self.saved.load(Relaxed);
        if saved < SAVED && self.share > 0 {
            self.saved.store((saved + self.share).min(SAVED), Relaxed);
        }
    }

    /// Takes a retry out, if there is one.
    pub(super) fn take(&self) -> bool {
        self.saved
            .fetch_update(Relaxed, Relaxed, |saved| (saved >= RETRY).then(|| saved - RETRY))
            .is_ok()
    }
}

/// The instances that a request was sent to in vain.
#[derive(Debug, Default)]
pub(super) struct Tried {
    all: ArrayVec<SocketAddr, ATTEMPTS>,
    refused: ArrayVec<SocketAddr, ATTEMPTS>,
}

impl Tried {
    /// Notes what became of an attempt. There are no more than there is room for.
    pub(super) fn note<T>(&mut self, address: SocketAddr, outcome: &Result<T, ProxyError>) {
        let _ = self.all.try_push(address);
        if matches!(outcome, Err(ProxyError::Connect { .. })) {
            let _ = self.refused.try_push(address);
        }
    }

    /// Returns whether this one was tried.
    pub(super) fn has(&self, address: SocketAddr) -> bool {
        self.all.contains(&address)
    }

    /// Returns those that could not be connected to.
    pub(super) fn refused(&self) -> &[SocketAddr] {
        &self.refused
    }
}

/// RFC 9110 section 9.2.2.
fn is_idempotent(method: &Method) -> bool {
    method.is_idempotent()
}

/// Returns whether the policy has a failed attempt sent again.
pub(super) fn after_failure(policy: &Retries, head: &RequestHead, error: &ProxyError) -> bool {
    match error {
        ProxyError::Connect { .. } | ProxyError::Pending { .. } => true,
        ProxyError::Interrupted { source, .. } => {
            source.never_processed()
                || (is_idempotent(&head.method) && policy.on.contains(&RetryOn::Reset))
        }
        _ => false,
    }
}

/// Returns whether the request was given to a connection that was over, so that not a byte of it
/// left us.
pub(super) fn met_a_closed_connection<T>(outcome: &Result<T, ProxyError>) -> bool {
    matches!(outcome, Err(ProxyError::Interrupted { source: CallError::NeverSent, .. }))
}

/// Returns whether a retry after this is outside the budget: no instance saw anything of the
/// request, so that sending it to another one is no more work for them than they would have had.
pub(super) fn costs_nothing(error: &ProxyError) -> bool {
    matches!(
        error,
        ProxyError::Connect { .. }
            | ProxyError::Pending { .. }
            | ProxyError::Interrupted { source: CallError::NeverSent | CallError::LeftOut, .. }
    )
}

/// Returns whether the policy has an answered attempt sent again.
pub(super) fn after_answer(policy: &Retries, request: &RequestHead, answer: &ResponseHead) -> bool {
    if policy.on.is_empty() {
        return false;
    }
    if let Some(status) = grpc_status(answer) {
        let status = u8::try_from(status).ok();
        return status.is_some_and(|it| policy.on.contains(&RetryOn::Grpc(it)));
    }
    is_idempotent(&request.method) && policy.on.contains(&RetryOn::Status(answer.status))
}

/// Returns the gRPC status of a trailers-only answer.
pub(super) fn grpc_status(answer: &ResponseHead) -> Option<u32> {
    let text = std::str::from_utf8(answer.fields.get(b"grpc-status")?).ok()?;
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upstream_that_fails_everything_sees_a_fifth_more() {
        let budget = Budget::succeed(None, 0.2);

        let retried = (0..1_000).filter(|_| {
            budget.pay_in();
            budget.take()
        });

        assert!((200..=211).contains(&retried.count()));
    }

    #[test]
    fn no_budget_is_no_retry() {
        let budget = Budget::succeed(None, 0.0);

        budget.pay_in();

        assert!(!budget.take());
    }

    #[test]
    fn a_reload_keeps_what_was_saved_unless_the_share_changes() {
        let before = Budget::succeed(None, 0.2);
        while before.take() {}

        assert!(!Budget::succeed(Some(&before), 0.2).take());
        assert!(Budget::succeed(Some(&before), 0.5).take());
    }
}
