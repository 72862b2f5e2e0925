//! What is called by which path. A function of a method and a path, and of nothing else.
//!
//! Names are decoded after the path is taken apart, so an id may hold anything: `%3A` and `:` are
//! the same, and `%2F` is no slash of ours. Empty parts are skipped, whatever clients join.

use std::sync::Arc;

use http::Method;

use crate::registry::eureka::app_of;

/// A call, and whom it is about. Applications are in capitals.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    /// `POST apps/APP`.
    Register(Arc<str>),
    /// `PUT apps/APP/ID`.
    Renew(Target),
    /// `DELETE apps/APP/ID`.
    Cancel(Target),
    /// `PUT apps/APP/ID/status`.
    Override(Target),
    /// `DELETE apps/APP/ID/status`.
    Restore(Target),
    /// `PUT apps/APP/ID/metadata`.
    Metadata(Target),
    /// `GET apps`.
    Apps,
    /// `GET apps/delta`.
    Delta,
    /// `GET apps/APP`.
    App(Arc<str>),
    /// `GET apps/APP/ID`.
    Instance(Target),
    /// `GET instances/ID`.
    AnyInstance(Arc<str>),
    /// `GET vips/NAME`.
    Vip(Arc<str>),
    /// `GET svips/NAME`.
    SecureVip(Arc<str>),
    /// `POST peerreplication/batch`.
    Batch,
}

/// One instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Its application.
    pub app: Arc<str>,
    /// Its id there.
    pub id: Arc<str>,
}

/// Why nothing is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoCall {
    /// There is no such path.
    #[error("there is no such path")]
    NotFound,
    /// The path has no such method.
    #[error("the path has no such method")]
    NotAllowed,
    /// What is escaped in the path is no text.
    #[error("the path is no UTF-8, or has a % without two hexadecimal digits")]
    Escape,
}

impl Call {
    /// Returns what is called by a path below `/eureka` or `/eureka/v2`.
    ///
    /// # Errors
    /// Nothing is.
    pub fn of(method: &Method, path: &str) -> Result<Self, NoCall> {
        let mut parts = path.split('/').filter(|it| !it.is_empty());
        if parts.next() != Some("eureka") {
            return Err(NoCall::NotFound);
        }
        let rest: Vec<&str> = parts.collect();
        let rest = rest.strip_prefix(&["v2"]).unwrap_or(&rest);
        match rest {
            ["apps"] => only(method, &Method::GET, Self::Apps),
            // An application of that name can register; it is read with all others.
            ["apps", "delta"] if *method == Method::GET => Ok(Self::Delta),
            ["apps", app] => match *method {
                Method::GET => Ok(Self::App(application(app)?)),
                Method::POST => Ok(Self::Register(application(app)?)),
                _ => Err(NoCall::NotAllowed),
            },
            ["apps", app, id] => match *method {
                Method::PUT => Ok(Self::Renew(target(app, id)?)),
                Method::DELETE => Ok(Self::Cancel(target(app, id)?)),
                Method::GET => Ok(Self::Instance(target(app, id)?)),
                _ => Err(NoCall::NotAllowed),
            },
            ["apps", app, id, "status"] => match *method {
                Method::PUT => Ok(Self::Override(target(app, id)?)),
                Method::DELETE => Ok(Self::Restore(target(app, id)?)),
                _ => Err(NoCall::NotAllowed),
            },
            ["apps", app, id, "metadata"] => {
                only(method, &Method::PUT, Self::Metadata(target(app, id)?))
            }
            ["instances", id] => only(method, &Method::GET, Self::AnyInstance(decoded(id)?.into())),
            ["vips", vip] => only(method, &Method::GET, Self::Vip(decoded(vip)?.into())),
            ["svips", vip] => only(method, &Method::GET, Self::SecureVip(decoded(vip)?.into())),
            ["peerreplication", "batch"] => only(method, &Method::POST, Self::Batch),
            _ => Err(NoCall::NotFound),
        }
    }

    /// Returns its name among those that are counted.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Register(_) => "eureka_register",
            Self::Renew(_) => "eureka_renew",
            Self::Cancel(_) => "eureka_cancel",
            Self::Override(_) | Self::Restore(_) => "eureka_status",
            Self::Metadata(_) => "eureka_metadata",
            Self::Apps => "eureka_apps",
            Self::Delta => "eureka_delta",
            Self::App(_) => "eureka_app",
            Self::Instance(_) | Self::AnyInstance(_) => "eureka_instance",
            Self::Vip(_) | Self::SecureVip(_) => "eureka_vip",
            Self::Batch => "eureka_batch",
        }
    }

    /// Whether it changes nothing.
    pub fn is_read(&self) -> bool {
        match self {
            Self::Apps
            | Self::Delta
            | Self::App(_)
            | Self::Instance(_)
            | Self::AnyInstance(_)
            | Self::Vip(_)
            | Self::SecureVip(_) => true,
            Self::Register(_)
            | Self::Renew(_)
            | Self::Cancel(_)
            | Self::Override(_)
            | Self::Restore(_)
            | Self::Metadata(_)
            | Self::Batch => false,
        }
    }
}

fn only(method: &Method, wanted: &Method, call: Call) -> Result<Call, NoCall> {
    if method == wanted { Ok(call) } else { Err(NoCall::NotAllowed) }
}

fn application(part: &str) -> Result<Arc<str>, NoCall> {
    Ok(app_of(&decoded(part)?).into())
}

fn target(app: &str, id: &str) -> Result<Target, NoCall> {
    Ok(Target { app: application(app)?, id: decoded(id)?.into() })
}

/// Undoes percent-encoding.
fn decoded(part: &str) -> Result<String, NoCall> {
    let mut bytes = Vec::with_capacity(part.len());
    let mut rest = part.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let digits = after.get(..2).and_then(|it| str::from_utf8(it).ok());
        let digits = digits.filter(|it| it.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let byte = digits.and_then(|it| u8::from_str_radix(it, 16).ok());
        bytes.push(byte.ok_or(NoCall::Escape)?);
        rest = after.get(2..).unwrap_or_default();
    }
    String::from_utf8(bytes).map_err(|_| NoCall::Escape)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_bases_and_any_slashes_lead_to_the_same_call() {
        let paths = ["/eureka/apps", "/eureka/apps/", "/eureka/v2/apps/", "/eureka//apps//"];

        for path in paths {
            assert_eq!(Call::of(&Method::GET, path), Ok(Call::Apps), "{path}");
        }
    }

    #[test]
    fn names_are_decoded_and_applications_in_capitals() {
        let path = "/eureka/v2/apps/user.shop/h%3Auser%2Fx:80";
        let target = Target { app: "USER.SHOP".into(), id: "h:user/x:80".into() };

        let call = Call::of(&Method::PUT, path);

        assert_eq!(call, Ok(Call::Renew(target)));
    }

    #[test]
    fn what_is_no_call_says_why() {
        for (method, path, why) in [
            (Method::GET, "/eureka", NoCall::NotFound),
            (Method::GET, "/eureka/v2", NoCall::NotFound),
            (Method::GET, "/eureka/apps/a/b/c", NoCall::NotFound),
            (Method::GET, "/eureka/apps/a/b/status/x", NoCall::NotFound),
            (Method::POST, "/eureka/apps", NoCall::NotAllowed),
            (Method::GET, "/eureka/apps/a/b/status", NoCall::NotAllowed),
            (Method::GET, "/eureka/apps/%ff", NoCall::Escape),
            (Method::GET, "/eureka/apps/%4", NoCall::Escape),
            (Method::GET, "/eureka/apps/%+1", NoCall::Escape),
        ] {
            assert_eq!(Call::of(&method, path), Err(why), "{method} {path}");
        }
    }
}
