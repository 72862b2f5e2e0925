//! The access log: one JSON line for each request that ended.
//!
//! Requests hand their lines to one thread that writes them in batches. Where standard output is
//! too slow, lines are dropped and counted; a request never waits for its line.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{self, Thread};
use std::time::{Duration, SystemTime};

use prometheus::IntCounter;

use crate::telemetry::line::Line;
use crate::telemetry::{Metrics, Record};

/// Bytes of lines that may wait to be written; beyond, lines are dropped.
const QUEUE: usize = 4 * 1024 * 1024;
/// Bytes written at a time, about.
const BATCH: usize = 64 * 1024;
/// How long lines may wait for company once all before them are written: so a busy request need
/// not wake the thread, which costs more than the line itself.
const LINGER: Duration = Duration::from_millis(10);
/// What most lines fit into.
const LINE: usize = 640;

/// Where requests hand their lines in. Clones write to the same place.
#[derive(Debug, Clone)]
pub struct AccessLog {
    lines: Sender<Vec<u8>>,
    shared: Arc<Shared>,
}

/// What the requests and the thread that writes share.
#[derive(Debug)]
struct Shared {
    /// Bytes that wait to be written.
    queued: AtomicUsize,
    /// The share of requests that get a line, of [`ALL`]; [`OFF`] if none does, come what may.
    share: AtomicU64,
    /// Whether the thread is to end when it has written what waits.
    ending: AtomicBool,
    dropped: IntCounter,
}

/// Every request gets a line.
const ALL: u64 = 1 << 32;
/// No request gets a line, not even one that failed.
const OFF: u64 = u64::MAX;

/// The thread that writes the lines; to be ended last of all.
#[derive(Debug)]
pub struct AccessLogWriter {
    lines: Sender<Vec<u8>>,
    shared: Arc<Shared>,
    thread: Thread,
    /// Closed when the thread has ended.
    ended: Receiver<()>,
}

impl AccessLog {
    /// Starts the thread that writes lines to `out`. Nothing is written until
    /// [`AccessLog::configure`] turns it on.
    pub fn start(
        out: impl Write + Send + 'static,
        metrics: &Metrics,
    ) -> io::Result<(Self, AccessLogWriter)> {
        let shared = Arc::new(Shared {
            queued: AtomicUsize::new(0),
            share: AtomicU64::new(OFF),
            ending: AtomicBool::new(false),
            dropped: metrics.access_log_dropped(),
        });
        let (lines, waiting) = mpsc::channel();
        let (alive, ended) = mpsc::channel();
        let theirs = Arc::clone(&shared);
        let thread = thread::Builder::new().name("access-log".to_owned()).spawn(move || {
            let _alive: Sender<()> = alive;
            write_lines(&waiting, &theirs, out);
        })?;
        let writer = AccessLogWriter {
            lines: lines.clone(),
            shared: Arc::clone(&shared),
            thread: thread.thread().clone(),
            ended,
        };
        Ok((Self { lines, shared }, writer))
    }

    /// Returns whether the log is on.
    pub(super) fn is_on(&self) -> bool {
        self.shared.share.load(Ordering::Relaxed) != OFF
    }

    /// Turns the log on or off, and says which share of requests gets a line: 0.0 to 1.0. Failures
    /// always get one. Counts at once, for all clones.
    pub fn configure(&self, enabled: bool, sample: f64) {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_precision_loss,
            clippy::cast_sign_loss,
            reason = "the share is clamped to what fits"
        )]
        let share = (sample.clamp(0.0, 1.0) * ALL as f64) as u64;
        self.shared.share.store(if enabled { share } else { OFF }, Ordering::Relaxed);
    }

    /// Decides whether a request gets a line.
    pub(super) fn wants(&self, failed: bool, random: &mut fastrand::Rng) -> bool {
        match self.shared.share.load(Ordering::Relaxed) {
            OFF => false,
            ALL => true,
            share => failed || u64::from(random.u32(..)) < share,
        }
    }

    /// Hands in the line of a request.
    pub(super) fn write(&self, record: &Record<'_>) {
        if self.shared.queued.load(Ordering::Relaxed) >= QUEUE {
            self.shared.dropped.inc();
            return;
        }
        let mut line = Vec::with_capacity(LINE);
        let written = serde_json::to_writer(&mut line, &Line::new(record, SystemTime::now()));
        line.push(b'\n');
        self.shared.queued.fetch_add(line.capacity(), Ordering::Relaxed);
        if written.is_err() || self.lines.send(line).is_err() {
            self.shared.dropped.inc();
        }
    }
}

impl AccessLogWriter {
    /// Ends the thread when it has written what waits, and returns whether it did so within
    /// `limit`. Blocks meanwhile.
    pub fn finish(self, limit: Duration) -> bool {
        self.shared.ending.store(true, Ordering::Release);
        // It may be waiting for a line, or for company.
        let _ = self.lines.send(Vec::new());
        self.thread.unpark();
        self.ended.recv_timeout(limit) == Err(mpsc::RecvTimeoutError::Disconnected)
    }
}

/// Writes lines to `out` until nobody can hand one in any more, or it is told to end.
fn write_lines(lines: &Receiver<Vec<u8>>, shared: &Shared, mut out: impl Write) {
    let mut batch = Vec::new();
    while let Ok(first) = lines.recv() {
        let mut held = 0;
        let mut count = 0;
        for line in std::iter::once(first).chain(lines.try_iter()) {
            held += line.capacity();
            count += u64::from(!line.is_empty());
            batch.extend_from_slice(&line);
            if batch.len() >= BATCH {
                break;
            }
        }
        if out.write_all(&batch).and_then(|()| out.flush()).is_err() {
            shared.dropped.inc_by(count);
        }
        batch.clear();
        let left = shared.queued.fetch_sub(held, Ordering::Relaxed) - held;
        if left == 0 {
            if shared.ending.load(Ordering::Acquire) {
                return;
            }
            thread::park_timeout(LINGER);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use prometheus::Registry;
    use serde_json::Value;

    use super::*;
    use crate::telemetry::Direction;

    const LIMIT: Duration = Duration::from_secs(10);

    /// An output that can be read, and that takes lines only while its gate is open.
    #[derive(Clone, Default)]
    struct Output {
        bytes: Arc<Mutex<Vec<u8>>>,
        gate: Arc<Mutex<()>>,
    }

    impl Write for Output {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _open = self.gate.lock().unwrap();
            self.bytes.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Output {
        fn lines(&self) -> Vec<Value> {
            let bytes = self.bytes.lock().unwrap();
            let text = std::str::from_utf8(&bytes).unwrap();
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
        }
    }

    fn log(out: &Output) -> (AccessLog, AccessLogWriter, Metrics) {
        let metrics = Metrics::new(&Registry::new()).unwrap();
        let (log, writer) = AccessLog::start(out.clone(), &metrics).unwrap();
        (log, writer, metrics)
    }

    #[test]
    fn every_line_handed_in_is_written_before_the_end() {
        let out = Output::default();
        let (log, writer, _) = log(&out);

        for attempts in 0..1000 {
            log.write(&Record { attempts, ..Record::new(Direction::Inbound) });
        }

        assert!(writer.finish(LIMIT));
        let attempts: Vec<_> = out.lines().iter().map(|it| it["attempts"].as_u64()).collect();
        assert_eq!(attempts, (0..1000).map(Some).collect::<Vec<_>>());
    }

    #[test]
    fn lines_nobody_takes_are_dropped_and_counted_and_hold_nobody_up() {
        let out = Output::default();
        let (log, writer, metrics) = log(&out);
        let path = "x".repeat(PATH_OF_A_KILOBYTE);
        let closed = out.gate.lock().unwrap();

        for _ in 0..6000 {
            log.write(&Record { path: &path, ..Record::new(Direction::Inbound) });
        }
        let dropped = metrics.access_log_dropped().get();
        drop(closed);

        assert!(writer.finish(LIMIT));
        assert!(dropped > 1000, "{dropped}");
        assert_eq!(out.lines().len() as u64 + dropped, 6000);
    }

    const PATH_OF_A_KILOBYTE: usize = 1024;

    #[test]
    fn an_output_that_is_stuck_does_not_hold_up_the_end() {
        let out = Output::default();
        let (log, writer, _) = log(&out);
        let closed = out.gate.lock().unwrap();
        log.write(&Record::new(Direction::Inbound));

        let finished = writer.finish(Duration::from_millis(10));

        assert!(!finished);
        drop(closed);
    }

    #[test]
    fn failures_are_wanted_whatever_the_share_unless_the_log_is_off() {
        let out = Output::default();
        let (log, _writer, _) = log(&out);
        let mut random = fastrand::Rng::with_seed(7);
        let mut wanted = |failed| (0..1000).filter(|_| log.wants(failed, &mut random)).count();

        let off = (wanted(false), wanted(true));
        log.configure(true, 0.0);
        let failures_only = (wanted(false), wanted(true));
        log.configure(true, 0.25);
        let quarter = wanted(false);
        log.configure(true, 1.0);
        let all = wanted(false);

        assert_eq!((off, failures_only, all), ((0, 0), (0, 1000), 1000));
        assert!((200..300).contains(&quarter), "{quarter}");
    }
}
