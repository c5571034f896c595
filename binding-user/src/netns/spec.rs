//! How the operator names a network namespace: `NAME`, `PATH`, `pid:N` or `self`.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    str::FromStr,
};

use serde::{Deserialize, Serialize};

use crate::Error;

/// Where `ip netns add` binds its namespaces.
pub const NAMED_DIR: &str = "/run/netns";

/// A network namespace as the operator wrote it. Nothing has been opened yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum NetnsSpec {
    /// A name below `/run/netns`, as `ip netns` has it.
    Named(String),
    /// A file that is bound to a namespace, e.g. what a container runtime hands to a CNI plugin.
    Path(PathBuf),
    /// The namespace of a process.
    Pid(u32),
    /// The caller's own.
    Current,
}

impl From<NetnsSpec> for String {
    fn from(spec: NetnsSpec) -> Self {
        spec.to_string()
    }
}

impl TryFrom<String> for NetnsSpec {
    type Error = <Self as FromStr>::Err;

    fn try_from(text: String) -> Result<Self, <Self as FromStr>::Err> {
        text.parse()
    }
}

impl NetnsSpec {
    /// The file to open. For [`Self::Current`] it is that of the calling *thread*: `/proc/self` would be that of the
    /// main thread, which need not be in the same namespace.
    pub fn path(&self) -> PathBuf {
        match self {
            Self::Named(name) => Path::new(NAMED_DIR).join(name),
            Self::Path(path) => path.clone(),
            Self::Pid(pid) => PathBuf::from(format!("/proc/{pid}/ns/net")),
            Self::Current => PathBuf::from("/proc/thread-self/ns/net"),
        }
    }

    /// What a binding in this namespace is called when the operator gives no name: the namespace's name, the last part
    /// of the path, or for a process the first 12 digits of its container's id (as `crictl` and `docker` shorten it).
    pub fn default_name(&self) -> String {
        match self {
            Self::Named(name) => name.clone(),
            Self::Path(path) => {
                path.file_name().map_or_else(|| "netns".to_owned(), |name| name.to_string_lossy().into_owned())
            }
            Self::Pid(pid) => fs::read_to_string(format!("/proc/{pid}/cgroup"))
                .ok()
                .and_then(|text| container_id(&text))
                .unwrap_or_else(|| format!("pid{pid}")),
            Self::Current => "self".to_owned(),
        }
    }
}

impl FromStr for NetnsSpec {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        // What some container runtimes hand over; as a path, it would name every binding alike.
        let pid =
            text.strip_prefix("/proc/").and_then(|rest| rest.strip_suffix("/ns/net")).and_then(|pid| pid.parse().ok());
        if let Some(pid) = pid.filter(|pid| *pid > 0) {
            return Ok(Self::Pid(pid));
        }
        let refuse = |why: &str| {
            Error::new(format!("read the namespace \"{text}\""), why)
                .with_hint("give a name below /run/netns, a path, pid:N or self")
        };
        if text == "self" {
            return Ok(Self::Current);
        }
        if let Some(pid) = text.strip_prefix("pid:") {
            return match pid.parse() {
                Ok(pid) if pid > 0 => Ok(Self::Pid(pid)),
                _ => Err(refuse("the number of the process is not a positive number")),
            };
        }
        match text {
            "" => Err(refuse("it is empty")),
            "." | ".." => Err(refuse("it is not a name")),
            _ if text.contains('\0') => Err(refuse("it contains a zero byte")),
            _ if text.contains('/') => Ok(Self::Path(text.into())),
            _ => Ok(Self::Named(text.to_owned())),
        }
    }
}

impl fmt::Display for NetnsSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(name) => f.write_str(name),
            Self::Path(path) => write!(f, "{}", path.display()),
            Self::Pid(pid) => write!(f, "pid:{pid}"),
            Self::Current => f.write_str("self"),
        }
    }
}

/// The first run of exactly 64 hexadecimal digits in the text of a cgroup(7) file, shortened to 12. The last line that
/// has one wins nothing over the first: every controller of a container names the same id.
fn container_id(cgroup: &str) -> Option<String> {
    cgroup.split(|c: char| !c.is_ascii_hexdigit()).find(|run| run.len() == 64).map(|run| run[..12].to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_read_and_printed_back() {
        for (text, spec, path) in [
            ("pod1", NetnsSpec::Named("pod1".into()), "/run/netns/pod1"),
            ("/run/netns/cni-1", NetnsSpec::Path("/run/netns/cni-1".into()), "/run/netns/cni-1"),
            ("./x", NetnsSpec::Path("./x".into()), "./x"),
            ("pid:42", NetnsSpec::Pid(42), "/proc/42/ns/net"),
            ("self", NetnsSpec::Current, "/proc/thread-self/ns/net"),
        ] {
            assert_eq!(text.parse::<NetnsSpec>().unwrap(), spec);
            assert_eq!(spec.to_string(), text);
            assert_eq!(spec.path(), Path::new(path));
        }
    }

    #[test]
    fn what_names_no_namespace_is_refused_with_a_hint() {
        for text in ["", ".", "..", "pid:", "pid:0", "pid:-1", "pid:x", "a\0b"] {
            let error = text.parse::<NetnsSpec>().unwrap_err();
            assert!(error.hint().is_some(), "{text}");
        }
    }

    #[test]
    fn the_default_name_is_the_last_part() {
        assert_eq!(NetnsSpec::Named("pod1".into()).default_name(), "pod1");
        assert_eq!(NetnsSpec::Path("/run/netns/cni-1".into()).default_name(), "cni-1");
        assert_eq!(NetnsSpec::Pid(u32::MAX).default_name(), "pid4294967295");
    }

    #[test]
    fn a_container_is_found_in_either_kind_of_cgroup_file() {
        let id = "0123456789abcdef".repeat(4);
        let v2 = format!("0::/kubepods.slice/kubepods-pod3.slice/cri-containerd-{id}.scope\n");
        let v1 = format!("12:cpuset:/docker/{id}\n11:memory:/docker/{id}\n");
        for text in [v2, v1] {
            assert_eq!(container_id(&text).as_deref(), Some("0123456789ab"));
        }
        assert_eq!(container_id("0::/user.slice/session-1.scope\n"), None);
        assert_eq!(container_id(&format!("0::/{id}0\n")), None, "65 digits are another thing");
    }
}
