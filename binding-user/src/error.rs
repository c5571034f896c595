//! What goes wrong, in the words that the operator reads.
//!
//! Every failure of tapwire ends as `error: what: why` on one line, and `hint: remedy` below it where there is one. The
//! library makes that text where it knows most: at the system call or the check that failed.

use std::fmt;

/// A failure: what was tried, why it did not work, and what the operator can do about it.
#[derive(Debug, thiserror::Error)]
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
        Self { what: what.into(), why: one_line(&why.to_string()), hint: None }
    }

    /// The same failure with a remedy.
    #[must_use]
    pub fn with_hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// The remedy, if there is one.
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// Several failures as one: nothing of what went wrong during a clean-up is lost.
    pub fn join(mut errors: Vec<Self>) -> Result<()> {
        match errors.len() {
            0 => Ok(()),
            1 => Err(errors.remove(0)),
            _ => {
                let hint = errors.iter_mut().find_map(|error| error.hint.take());
                let mut rest = errors.into_iter();
                let first = rest.next();
                let (what, mut why) = first.map_or_else(Default::default, |error| (error.what, error.why));
                for error in rest {
                    why.push_str("; ");
                    why.push_str(&error.to_string());
                }
                Err(Self { what, why, hint })
            }
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

/// Causes come from kernels and crates and may span lines; the operator's line may not.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
