//! What goes wrong, in the words that the operator reads.
//!
//! Every failure of tapwire ends as `error: what: why` on one line, and `hint: remedy` below it where there is one. The
//! library makes that text where it knows most: at the system call or the check that failed.

use std::fmt;

use crate::input::printable;

/// White space as messages are laid out with; any other stays, to be escaped.
const LINE_SPACE: [char; 3] = [' ', '\n', '\t'];

/// A failure: what was tried, why it did not work, and what the operator can do about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {why}")]
pub struct Error {
    what: String,
    why: String,
    hint: Option<String>,
}

/// The result of everything in this library that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// `what` names the operation and its object, `why` is the cause.
    pub fn new(what: impl Into<String>, why: impl fmt::Display) -> Self {
        Self { what: shown(&what.into()), why: shown(&why.to_string()), hint: None }
    }

    /// The same failure with a remedy.
    #[must_use]
    pub fn with_hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(shown(&hint.into())), ..self }
    }

    /// The remedy, if there is one.
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// This failure, and another that came of it.
    #[must_use]
    pub fn and(self, other: &Self) -> Self {
        let Self { what, why, hint } = self;
        Self { what, why: format!("{why}; {other}"), hint: hint.or_else(|| other.hint.clone()) }
    }

    /// Several failures as one: nothing of what went wrong during a clean-up is lost.
    pub fn join(errors: Vec<Self>) -> Result<()> {
        match errors.into_iter().reduce(|sum, error| sum.and(&error)) {
            None => Ok(()),
            Some(error) => Err(error),
        }
    }
}

/// Adds the operation to a foreign error.
pub trait Context<T> {
    /// On failure, `what` was being done.
    fn context<W: Into<String>>(self, what: impl FnOnce() -> W) -> Result<T>;
}

impl<T, E: fmt::Display> Context<T> for std::result::Result<T, E> {
    fn context<W: Into<String>>(self, what: impl FnOnce() -> W) -> Result<T> {
        self.map_err(|error| Error::new(what(), error))
    }
}

/// Adds the operation to a foreign error that names its own call only, and whose cause lies below it, as aya's do.
pub trait Chained<T> {
    /// On failure, `what` was being done, and this is all that led to it.
    fn chained<W: Into<String>>(self, what: impl FnOnce() -> W) -> Result<T>;
}

impl<T, E: std::error::Error> Chained<T> for std::result::Result<T, E> {
    fn chained<W: Into<String>>(self, what: impl FnOnce() -> W) -> Result<T> {
        self.map_err(|error| Error::new(what(), chain(&error)))
    }
}

/// A foreign error with everything that it says lies below it: many name their own call only, and the cause is deeper.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

/// Causes come from kernels and crates and may span lines, and names come from anybody; the operator's line is one line,
/// and does nothing to the terminal.
fn shown(text: &str) -> String {
    printable(&text.split(LINE_SPACE).filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")).into_owned()
}
