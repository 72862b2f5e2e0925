//! The serving end of an HTTP/2 connection.

use std::cell::Cell;
use std::future::Future;
use std::rc::Rc;

use tokio::io::{AsyncRead, AsyncWrite};

use crate::http::connection::{Connection, Ended, Role};
use crate::http::exchange::Incoming;
use crate::http::frame::{self, DEFAULT_WINDOW, write};
use crate::http::http1::Http1Shared;
use crate::http::options::Options;
use crate::http::ready::Ready;

/// What a serving connection and its handle have in common.
#[derive(Default)]
pub(super) struct ServerShared {
    /// The caller's preface was read.
    pub(super) greeted: Cell<bool>,
    /// The holder of the handle wants the connection to end.
    pub(super) draining: Cell<bool>,
    ready: Rc<Ready>,
}

/// A hold on a serving connection.
#[derive(Clone)]
pub struct Server(Kind);

#[derive(Clone)]
enum Kind {
    Http2(Rc<ServerShared>),
    Http1(Rc<Http1Shared>),
}

impl Server {
    pub(super) fn of_http1(shared: Rc<Http1Shared>) -> Self {
        Self(Kind::Http1(shared))
    }

    /// Ends the connection in peace: callers are told to begin nothing more on it, requests under
    /// way are finished, and with the last of them it closes (RFC 9113 section 6.8).
    pub fn drain(&self) {
        match &self.0 {
            Kind::Http1(shared) => shared.drain(),
            Kind::Http2(shared) => {
                shared.draining.set(true);
                shared.ready.wake();
            }
        }
    }
}

/// Serves HTTP/2 on `io`: `handler` gets each request as its head is complete.
///
/// The future is the connection; it ends with it. Dropping it breaks off what is under way.
pub fn serve<S, H>(io: S, options: Options, handler: H) -> (Server, impl Future<Output = Ended>)
where
    S: AsyncRead + AsyncWrite + Unpin,
    H: FnMut(Incoming) + Unpin,
{
    let shared = Rc::new(ServerShared::default());
    let role = Role::Server { shared: shared.clone(), handler };
    let mut connection = Connection::new(io, role, shared.ready.clone(), options);
    let settings = frame::Settings {
        max_concurrent_streams: Some(options.streams),
        initial_window_size: Some(options.stream_window),
        max_header_list_size: u32::try_from(options.head.list).ok(),
        enable_connect_protocol: Some(true),
        ..frame::Settings::default()
    };
    greet(&mut connection.output, &settings, options);
    (Server(Kind::Http2(shared)), connection)
}

/// Writes our first frames: settings, and the connection's window.
pub(super) fn greet(output: &mut Vec<u8>, settings: &frame::Settings, options: Options) {
    write::settings(output, settings);
    let more = options.connection_buffer.saturating_sub(DEFAULT_WINDOW);
    if more > 0 {
        write::window_update(output, 0, more);
    }
}
