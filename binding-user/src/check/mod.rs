//! `check`: what this host can do, and what is missing for `attach`.
//!
//! Nothing is concluded from the kernel's version: distributions backport, and containers take away. Each finding comes
//! from asking the kernel itself, and the last ones from doing it all in namespaces that vanish with the thread that made
//! them ([`trial`]). Nothing stays, also when the check is killed.

use std::path::Path;

use serde::Serialize;

use crate::{
    binding::Environment,
    error::{Error, Result},
    guard::policy::Policy,
    netns::{MachinesOwn, Netns, NetnsSpec},
};

mod kernel;
mod places;
mod process;
mod trial;

/// How a finding is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// Attach works, but something is worse than it could be, or could not be looked at.
    Warning,
    /// Attach cannot work.
    Failed,
}

impl Verdict {
    fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Failed => "failed",
        }
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// What was looked at; one of the names in `docs/check.schema.json`.
    pub name: &'static str,
    /// How it is meant.
    pub verdict: Verdict,
    /// What was found, and what that means.
    pub text: String,
    /// The remedy, where there is one.
    pub hint: Option<String>,
}

impl Finding {
    fn ok(name: &'static str, text: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Ok, text: text.into(), hint: None }
    }

    fn warning(name: &'static str, text: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Warning, text: text.into(), hint: Some(hint.into()) }
    }

    fn failed(name: &'static str, text: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Failed, text: text.into(), hint: Some(hint.into()) }
    }

    /// What `done` came to: its text, or its error with the error's own remedy before `hint`.
    fn of(name: &'static str, done: Result<String>, hint: &str) -> Self {
        match done {
            Ok(text) => Self::ok(name, text),
            Err(error) => Self::failed(name, error.to_string(), error.hint().unwrap_or(hint)),
        }
    }
}

/// Everything that was found.
#[derive(Clone, Debug, Serialize)]
pub struct CheckReport {
    /// Version of this layout.
    pub version: u32,
    /// Whether attach works here: nothing failed.
    pub attach: bool,
    /// In the order in which they build on one another.
    pub findings: Vec<Finding>,
}

impl CheckReport {
    /// Looks at the host, and at one pod's namespace if one is named.
    pub fn make(environment: &Environment, netns: Option<&NetnsSpec>) -> Self {
        let mut findings = kernel::findings();
        findings.push(process::capabilities());
        findings.push(places::bpffs(&environment.bpffs));
        findings.push(places::state(environment.store.folder()));
        findings.push(policy(&environment.policy));
        findings.extend(netns.map(namespace));
        let ready = findings.iter().all(|finding| finding.verdict != Verdict::Failed);
        findings.extend(trial::findings(ready));
        let attach = findings.iter().all(|finding| finding.verdict != Verdict::Failed);
        Self { version: 1, attach, findings }
    }

    /// An error if attach cannot work here, with the names of what failed.
    pub fn verdict(&self) -> Result<()> {
        if self.attach {
            return Ok(());
        }
        let failed = self.findings.iter().filter(|finding| finding.verdict == Verdict::Failed);
        let names: Vec<_> = failed.map(|finding| finding.name).collect();
        Err(Error::new("check this host", format!("attach cannot work here, for what failed: {}", names.join(", "))))
    }

    /// A line for each finding, and its remedy below it.
    pub fn to_text(&self) -> String {
        let width = self.findings.iter().map(|finding| finding.name.len()).max().unwrap_or_default();
        let mut lines = Vec::new();
        for Finding { name, verdict, text, hint } in &self.findings {
            lines.push(format!("{:<7}  {name:<width$}  {text}", verdict.word()));
            lines.extend(hint.as_ref().map(|hint| format!("{:<7}  {:<width$}  hint: {hint}", "", "")));
        }
        lines.join("\n")
    }
}

/// Whether the node's policy, if it has one, can be read: attach refuses everything where it cannot.
fn policy(path: &Path) -> Finding {
    const NAME: &str = "policy";
    match Policy::read(path) {
        Ok(None) => Finding::ok(NAME, format!("none at {}: whoever may attach decides on the guard", path.display())),
        Ok(Some(_)) => Finding::ok(NAME, format!("{} bounds what a binding may relax of the guard", path.display())),
        Err(error) => Finding::of(NAME, Err(error), "correct the file"),
    }
}

/// Whether a pod's namespace can be opened and entered, and is a pod's.
fn namespace(spec: &NetnsSpec) -> Finding {
    const NAME: &str = "netns";
    let netns = match Netns::open(spec) {
        Ok(netns) => netns,
        Err(error) => return Finding::of(NAME, Err(error), "give a name below /run/netns, a path, pid:N or self"),
    };
    match netns.is_machines_own() {
        MachinesOwn::No => Finding::ok(NAME, format!("{spec} can be entered")),
        MachinesOwn::Yes => {
            Finding::warning(NAME, format!("{spec} is the machine's own"), "name the pod's; attach wants --force here")
        }
        MachinesOwn::Unknown => Finding::warning(
            NAME,
            format!("{spec} may be the machine's own: that of process 1 cannot be read here"),
            "name the pod's; attach wants --force here",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_failure_is_enough_and_is_named() {
        let findings = vec![
            Finding::ok("kernel", "Linux"),
            Finding::warning("btf", "none", "none"),
            Finding::failed("tap", "make the tap: no", "load the module tun"),
        ];
        let report = CheckReport { version: 1, attach: false, findings };
        assert!(report.verdict().unwrap_err().to_string().ends_with("for what failed: tap"));
        let text = report.to_text();
        assert!(
            text.contains("failed   tap     make the tap: no\n                 hint: load the module tun"),
            "{text}"
        );
    }

    #[test]
    fn every_finding_is_in_the_schema() {
        let schema: serde_json::Value = serde_json::from_str(include_str!("../../../docs/check.schema.json")).unwrap();
        let names = schema["properties"]["findings"]["items"]["properties"]["name"]["enum"].as_array().unwrap();
        let environment = Environment {
            store: crate::journal::Store::at("/run/tapwire"),
            bpffs: crate::datapath::Bpffs::at("/sys/fs/bpf/tapwire"),
            policy: "/nonexistent".into(),
            cni: "/nonexistent".into(),
            node_netns: None,
        };
        for finding in CheckReport::make(&environment, Some(&NetnsSpec::Current)).findings {
            assert!(names.iter().any(|name| name == finding.name), "{}", finding.name);
        }
    }
}
