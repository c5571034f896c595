//! The node's namespace, found again by a later command.
//!
//! What attach changes there must be undone, exchanged and looked at by commands that may be started elsewhere: in a
//! container, or in `ip netns exec`. Interface indexes mean nothing in another namespace, so the record has the identity
//! of the one where attach was, and only that one is taken.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, Result},
    netns::{Netns, NetnsId, NetnsSpec},
};

/// Where the host side is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeRecord {
    /// Its identity.
    pub netns: NetnsId,
    /// Where it was found, to look there first.
    pub path: PathBuf,
}

impl NodeRecord {
    /// Of a namespace that was opened.
    pub fn of(node: &Netns) -> Self {
        Self { netns: node.id(), path: node.path().to_owned() }
    }

    /// Opens it: where it was, where the operator says that it is now, or where any process has it. An error: it cannot be
    /// found from here.
    pub fn open(&self, named: Option<&NetnsSpec>) -> Result<Netns> {
        let what = || format!("find the node's network namespace, which was {}", self.path.display());
        if let Some(spec) = named {
            let named = Netns::open(spec)?;
            return if named.id().same(&self.netns) {
                Ok(named)
            } else {
                Err(Error::new(what(), format!("{spec} is another one"))
                    .with_hint("--node-netns names the one that the pod's host side was in when it was attached"))
            };
        }
        Netns::find(&self.netns, Some(&self.path))?.ok_or_else(|| {
            Error::new(what(), "no name and no process leads to it from here")
                .with_hint("run it in the node's namespace, or name that with --node-netns")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::Lab;

    #[test]
    fn it_is_found_from_elsewhere_and_no_other_is_taken_for_it() {
        let Some(lab) = Lab::new() else { return };
        let node = lab.node.open();
        // As one records it that was in it.
        let record = NodeRecord { path: "/proc/thread-self/ns/net".into(), ..NodeRecord::of(&node) };
        assert!(record.open(None).unwrap().same(&node));
        assert!(record.open(Some(&lab.node.spec())).unwrap().same(&node));
        let error = record.open(Some(&lab.pod.spec())).unwrap_err();
        assert!(error.to_string().contains("is another one") && error.hint().is_some(), "{error}");
        let gone = NodeRecord { netns: NetnsId { ino: 1, ..record.netns }, ..record };
        let error = gone.open(None).unwrap_err();
        assert!(error.hint().unwrap().contains("--node-netns"), "{error}");
    }
}
