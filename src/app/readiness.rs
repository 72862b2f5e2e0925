//! Why we should be given no traffic yet, or any more.

use crate::presence::Wellness;
use crate::telemetry::Source;

/// Why we are not ready before the application is.
const NO_APPLICATION: &str = "the application does not answer yet";
/// What stands before why it is not well.
const UNWELL: &str = "the application is not well: ";

/// Whether we should be given traffic, and if not, why.
#[derive(Debug, Default)]
pub(super) struct Readiness {
    /// What is wrong with the application.
    application: Option<String>,
    /// Sources that nobody has heard of since the start.
    awaited: Vec<Source>,
    /// That we end.
    end: Option<&'static str>,
}

impl Readiness {
    /// What is known at the start: whether the application is asked how it is, and which sources have
    /// yet to be heard. One that a file names later is not waited for: we are in service.
    pub(super) fn new(is_watched: bool, awaited: Vec<Source>) -> Self {
        let application = is_watched.then(|| NO_APPLICATION.to_owned());
        Self { application, awaited, end: None }
    }

    /// Returns the reasons against it; none: we are ready.
    pub(super) fn reasons(&self) -> Vec<String> {
        if let Some(end) = self.end {
            return vec![end.to_owned()];
        }
        let awaited = self.awaited.iter().map(|it| match it {
            Source::Registry => "no catalog yet: the registry has not answered".to_owned(),
            Source::Eureka => "no catalog yet: Eureka has not answered".to_owned(),
        });
        self.application.iter().cloned().chain(awaited).collect()
    }

    /// Returns whether nothing is known to be wrong with the application.
    pub(super) fn is_application_well(&self) -> bool {
        self.application.is_none()
    }

    /// The application is so.
    pub(super) fn application_is(&mut self, wellness: &Wellness) {
        self.application = match wellness {
            Wellness::Well => None,
            Wellness::Unknown => Some(NO_APPLICATION.to_owned()),
            Wellness::Unwell(why) => Some(format!("{UNWELL}{why}")),
        };
    }

    /// Of these sources alone nothing is known.
    pub(super) fn unknown(&mut self, sources: &[Source]) {
        self.awaited.retain(|it| sources.contains(it));
    }

    /// We end, or stop for good for another reason.
    pub(super) fn end(&mut self, why: &'static str) {
        self.end = Some(why);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn we_are_ready_once_the_application_and_every_source_was_heard() {
        let mut readiness = Readiness::new(true, vec![Source::Registry, Source::Eureka]);
        let at_first = readiness.reasons().len();

        readiness.application_is(&Wellness::Well);
        readiness.unknown(&[Source::Eureka]);
        let then = readiness.reasons();
        readiness.unknown(&[]);
        let ready = readiness.reasons();
        readiness.unknown(&[Source::Registry]);

        assert_eq!(at_first, 3);
        assert_eq!(then, ["no catalog yet: Eureka has not answered"]);
        assert!(ready.is_empty() && readiness.reasons().is_empty());
    }

    #[test]
    fn who_ends_is_not_ready_for_that_reason_alone() {
        let mut readiness = Readiness::new(true, vec![Source::Registry]);

        readiness.end("draining");
        readiness.application_is(&Wellness::Well);

        assert_eq!(readiness.reasons(), ["draining"]);
    }
}
