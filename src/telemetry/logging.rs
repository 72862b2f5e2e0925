//! The program's own log, on standard error.

use std::io::{self, IsTerminal};

use tracing::Subscriber;
use tracing::subscriber::SetGlobalDefaultError;
use tracing_subscriber::filter::{EnvFilter, LevelFilter, ParseError};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{Layer, Registry, fmt, reload};

/// Why there is no log, or not the wanted one.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// One word that is no level. Taken as the name of a module, it would silence all others.
    #[error(
        "{0:?} is no log level: say off, error, warn, info, debug or trace, or module=level, \
         separated by commas"
    )]
    Level(String),
    /// Not the syntax of `tracing`'s `EnvFilter`.
    #[error("{filter:?} is no log filter: say a level, or module=level, separated by commas")]
    Filter {
        /// What was asked for.
        filter: String,
        /// What is wrong with it.
        source: ParseError,
    },
    /// A process has one log.
    #[error("this process has a log already")]
    Taken(#[from] SetGlobalDefaultError),
    /// The subscriber is gone, because the process is about to end.
    #[error("the log is closed")]
    Closed(#[from] reload::Error),
}

/// What is worth a line, to be changed while running.
#[derive(Debug, Clone)]
pub struct LogLevel(reload::Handle<EnvFilter, Registry>);

impl LogLevel {
    /// Makes `filter` count from now on; a bad one changes nothing.
    pub fn set(&self, filter: &str) -> Result<(), LogError> {
        Ok(self.0.reload(parse(filter)?)?)
    }
}

/// Starts the log of this process on standard error, for what passes `filter` (a level, or the
/// syntax of `tracing`'s `EnvFilter`), as text or as one JSON object a line.
pub fn init_logging(filter: &str, json: bool) -> Result<LogLevel, LogError> {
    let colours = io::stderr().is_terminal();
    let (subscriber, level) = subscriber(filter, json, colours, io::stderr)?;
    tracing::subscriber::set_global_default(subscriber)?;
    Ok(level)
}

/// A subscriber that writes to `writer`, and its filter.
fn subscriber<W>(
    filter: &str,
    json: bool,
    colours: bool,
    writer: W,
) -> Result<(impl Subscriber + Send + Sync, LogLevel), LogError>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let (filter, handle) = reload::Layer::new(parse(filter)?);
    let lines = fmt::layer().with_ansi(colours).with_writer(writer);
    let lines = if json {
        lines.json().flatten_event(true).with_current_span(false).boxed()
    } else {
        lines.boxed()
    };
    Ok((tracing_subscriber::registry().with(filter).with(lines), LogLevel(handle)))
}

/// Parses a filter, and refuses a misspelt level.
fn parse(filter: &str) -> Result<EnvFilter, LogError> {
    let words = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let is_word = filter.chars().all(words);
    if filter.is_empty() || is_word && filter.parse::<LevelFilter>().is_err() {
        return Err(LogError::Level(filter.to_owned()));
    }
    let parsed = EnvFilter::builder().parse(filter);
    parsed.map_err(|source| LogError::Filter { filter: filter.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// A log that can be read.
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Lines {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What is logged of one error and one debug message.
    fn logged(filter: &str, json: bool) -> Result<String, LogError> {
        let lines = Lines::default();
        let writer = lines.clone();
        let (subscriber, _level) = subscriber(filter, json, false, move || writer.clone())?;
        tracing::subscriber::with_default(subscriber, || {
            tracing::error!(answer = 42, "it failed");
            tracing::debug!("it goes on");
        });
        Ok(lines.text())
    }

    #[test]
    fn what_the_filter_leaves_out_is_not_written() {
        let ordinary = logged("info", false).unwrap();
        let chatty = logged("debug", false).unwrap();
        let elsewhere = logged("some_other_crate=trace", false).unwrap();

        assert!(ordinary.contains("it failed") && ordinary.contains("answer=42"), "{ordinary}");
        assert!(!ordinary.contains("it goes on"));
        assert!(chatty.contains("it goes on"));
        assert_eq!(elsewhere, "");
    }

    #[test]
    fn json_is_one_object_a_line() {
        let lines = logged("debug", true).unwrap();

        let lines: Vec<serde_json::Value> =
            lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 2);
        assert_eq!((&lines[0]["message"], &lines[0]["answer"]), (&"it failed".into(), &42.into()));
    }

    #[test]
    fn a_misspelt_level_is_refused_with_the_right_words() {
        for bad in ["inof", "", "warning"] {
            let error = logged(bad, false).unwrap_err();

            assert!(matches!(error, LogError::Level(_)), "{error}");
            assert!(error.to_string().contains("say off, error, warn"), "{error}");
        }
        assert!(matches!(logged("dyelane=loud", false), Err(LogError::Filter { .. })));
    }

    #[test]
    fn the_filter_changes_while_running_and_a_bad_one_changes_nothing() {
        let lines = Lines::default();
        let writer = lines.clone();
        let (subscriber, level) =
            subscriber("error", false, false, move || writer.clone()).unwrap();

        tracing::subscriber::with_default(subscriber, || {
            level.set("debug").unwrap();
            assert!(level.set("inof").is_err());
            tracing::debug!("heard");
        });

        assert!(lines.text().contains("heard"));
    }
}
