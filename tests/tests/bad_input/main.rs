//! Whatever comes from outside and is wrong: one clear line, and nothing is changed. No text of another does anything to
//! the terminal, no file keeps tapwire waiting, and no journal leads to what is not its own.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod files;
mod flags;
mod host;
mod journals;
mod names;

use std::process::{Command, Output};

use lab::{Pod, Tapwire, fingerprint};

/// A pod, and what it was like.
struct Lab {
    pod: Pod,
    tapwire: Tapwire,
    before: String,
    links: Vec<String>,
}

impl Lab {
    fn new(label: &str) -> Self {
        let (pod, tapwire) = (Pod::new(label).unwrap(), Tapwire::new().unwrap());
        let (before, links) = (pod.fingerprint().unwrap(), Pod::links(&pod.namespace).unwrap());
        Self { pod, tapwire, before, links }
    }

    /// The command line that attaches, with more options.
    fn attach<'a>(&'a self, more: &[&'a str]) -> Vec<&'a str> {
        let (netns, node) = (self.pod.namespace.name(), self.pod.node.name());
        [&["attach", "--netns", netns, "--node-netns", node, "--name", "b"], more].concat()
    }

    /// The pod is as it was, and nothing is kept of what was tried.
    fn assert_unchanged(&self) {
        let after = self.pod.fingerprint().unwrap();
        assert!(after == self.before, "{}", fingerprint::difference(&self.before, &after));
        assert_eq!(Pod::links(&self.pod.namespace).unwrap(), self.links);
        assert!(!self.tapwire.pins().join("b").exists());
        for left in ["b.json", "b.new"] {
            assert!(!self.tapwire.state().join(left).exists(), "{left}");
        }
    }
}

/// What a refusal said: exit code 1, one line of error, perhaps a hint, and no character that acts on a terminal.
fn refusal(mut command: Command) -> String {
    refused(&command.output().unwrap())
}

/// The same of a command that has been run.
fn refused(output: &Output) -> String {
    let said = plain(output, 1);
    let mut lines = said.lines();
    assert!(lines.next().is_some_and(|line| line.starts_with("error: ")), "{said}");
    assert!(lines.next().is_none_or(|line| line.starts_with("hint: ")), "{said}");
    assert_eq!(lines.next(), None, "{said}");
    said
}

/// The standard error of a command that ended with this code, which nobody's text has any power over.
fn plain(output: &Output, code: i32) -> String {
    let said = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert!(!said.chars().any(|c| c.is_control() && c != '\n'), "{said:?}");
    said
}
