//! What is called by which path. A function of a method and a path, and of nothing else.
//!
//! Names are decoded after the path is taken apart, so an id may hold anything: `%3A` and `:` are
//! the same, and `%2F` is no slash of ours. Empty parts are skipped, whatever clients join.

use std::sync::Arc;

use http::Method;

use crate::registry::eureka::app_of;

/// What is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    /// A question.
    Read(Read),
    /// A change.
    Write(Write),
}

/// A question. Applications are in capitals.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Read {
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
}

/// A change, and whom it is about. Applications are in capitals.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
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
        let read = |read: Read| Ok(Self::Read(read));
        let write = |write: Write| Ok(Self::Write(write));
        let rest: Vec<&str> = parts.collect();
        let rest = rest.strip_prefix(&["v2"]).unwrap_or(&rest);
        match (method, rest) {
            (&Method::GET, ["apps"]) => read(Read::Apps),
            // An application of that name can register; it is read with all others.
            (&Method::GET, ["apps", "delta"]) => read(Read::Delta),
            (&Method::GET, ["apps", app]) => read(Read::App(application(app)?)),
            (&Method::POST, ["apps", app]) => write(Write::Register(application(app)?)),
            (&Method::GET, ["apps", app, id]) => read(Read::Instance(target(app, id)?)),
            (&Method::PUT, ["apps", app, id]) => write(Write::Renew(target(app, id)?)),
            (&Method::DELETE, ["apps", app, id]) => write(Write::Cancel(target(app, id)?)),
            (&Method::PUT, ["apps", app, id, "status"]) => write(Write::Override(target(app, id)?)),
            (&Method::DELETE, ["apps", app, id, "status"]) => {
                write(Write::Restore(target(app, id)?))
            }
            (&Method::PUT, ["apps", app, id, "metadata"]) => {
                write(Write::Metadata(target(app, id)?))
            }
            (&Method::GET, ["instances", id]) => read(Read::AnyInstance(decoded(id)?.into())),
            (&Method::GET, ["vips", vip]) => read(Read::Vip(decoded(vip)?.into())),
            (&Method::GET, ["svips", vip]) => read(Read::SecureVip(decoded(vip)?.into())),
            (&Method::POST, ["peerreplication", "batch"]) => write(Write::Batch),
            (
                _,
                ["apps"]
                | ["apps" | "instances" | "vips" | "svips", _]
                | ["apps", _, _]
                | ["apps", _, _, "status" | "metadata"]
                | ["peerreplication", "batch"],
            ) => Err(NoCall::NotAllowed),
            _ => Err(NoCall::NotFound),
        }
    }

    /// Returns its name among those that are counted.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Read(Read::Apps) => "eureka_apps",
            Self::Read(Read::Delta) => "eureka_delta",
            Self::Read(Read::App(_)) => "eureka_app",
            Self::Read(Read::Instance(_) | Read::AnyInstance(_)) => "eureka_instance",
            Self::Read(Read::Vip(_) | Read::SecureVip(_)) => "eureka_vip",
            Self::Write(Write::Register(_)) => "eureka_register",
            Self::Write(Write::Renew(_)) => "eureka_renew",
            Self::Write(Write::Cancel(_)) => "eureka_cancel",
            Self::Write(Write::Override(_) | Write::Restore(_)) => "eureka_status",
            Self::Write(Write::Metadata(_)) => "eureka_metadata",
            Self::Write(Write::Batch) => "eureka_batch",
        }
    }
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
            assert_eq!(Call::of(&Method::GET, path), Ok(Call::Read(Read::Apps)), "{path}");
        }
    }

    #[test]
    fn names_are_decoded_and_applications_in_capitals() {
        let path = "/eureka/v2/apps/user.shop/h%3Auser%2Fx:80";
        let target = Target { app: "USER.SHOP".into(), id: "h:user/x:80".into() };

        let call = Call::of(&Method::PUT, path);

        assert_eq!(call, Ok(Call::Write(Write::Renew(target))));
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
