//! What the registry is compared with: hyper on tokio, answering the same sizes and knowing nothing.
//!
//! ```text
//! GET  /teach/N/PATH        from now on PATH is answered with N bytes
//! GET  /teach/N/held/PATH   the same, once something wakes who asks
//! GET  /teach/N/waking/PATH the same at once, and it wakes those
//! GET  /v1/status           how many are held
//! ```

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::watch;

/// What an answer has to do with the others.
#[derive(Debug, Clone, Copy)]
enum Manner {
    AtOnce,
    Held,
    Waking,
}

#[derive(Debug)]
struct Probe {
    taught: Mutex<HashMap<String, (Manner, Bytes)>>,
    wake: watch::Sender<u64>,
    held: AtomicUsize,
}

/// Serves until it is killed.
pub(crate) fn serve() -> anyhow::Result<()> {
    // As many threads as there are cores it may use: as the registry.
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(accept())
}

async fn accept() -> anyhow::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("listening on {}", listener.local_addr()?);
    let (wake, _) = watch::channel(0);
    let probe = Arc::new(Probe { taught: Mutex::default(), wake, held: AtomicUsize::new(0) });
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let probe = Arc::clone(&probe);
        tokio::spawn(async move {
            let service = service_fn(|request| answer(&probe, request));
            // Whoever hangs up is gone.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(
    probe: &Probe,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let _ = body.collect().await;
    let path = head.uri.path();
    if let Some(lesson) = path.strip_prefix("/teach/") {
        probe.learn(lesson);
        return Ok(Response::default());
    }
    if path == "/v1/status" {
        let watchers = probe.held.load(Ordering::Relaxed);
        return Ok(Response::new(Full::from(format!(r#"{{"watchers":{watchers}}}"#))));
    }
    let taught = probe.taught.lock().unwrap_or_else(PoisonError::into_inner).get(path).cloned();
    let (manner, bytes) = taught.unwrap_or((Manner::AtOnce, Bytes::new()));
    match manner {
        Manner::AtOnce => {}
        Manner::Held => {
            let mut woken = probe.wake.subscribe();
            let _held = Held::at(&probe.held);
            let _ = woken.changed().await;
        }
        Manner::Waking => probe.wake.send_modify(|it| *it += 1),
    }
    Ok(Response::new(Full::new(bytes)))
}

impl Probe {
    fn learn(&self, lesson: &str) {
        let Some((size, path)) = lesson.split_once('/') else { return };
        let (manner, path) = match path.split_once('/') {
            Some(("held", path)) => (Manner::Held, path),
            Some(("waking", path)) => (Manner::Waking, path),
            _ => (Manner::AtOnce, path),
        };
        let bytes = Bytes::from(vec![b'a'; size.parse().unwrap_or(0)]);
        let mut taught = self.taught.lock().unwrap_or_else(PoisonError::into_inner);
        taught.insert(format!("/{path}"), (manner, bytes));
    }
}

/// One more who is held, until dropped: by an answer, or by a caller who hangs up.
struct Held<'a>(&'a AtomicUsize);

impl<'a> Held<'a> {
    fn at(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
