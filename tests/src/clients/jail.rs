//! Keeps a DHCP client's files apart from the machine's and from other clients'.
//!
//! The client runs in a mount namespace where the folders it writes to are empty ones of its own and /etc/resolv.conf
//! is a file of its own, and in a UTS namespace, because clients set the host name.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context as _, Result};
use tempfile::TempDir;

use super::lease::Event;
use crate::{
    cmd::{self, Running},
    netns::Namespace,
};

/// Runs the client's own script and then notes the event. The file appears whole, under its own name, by the rename.
const WRAPPER: &str = "#!/bin/sh
'@SCRIPT@' \"$@\"
status=$?
new=$(mktemp '@FOLDER@/new.XXXXXX')
{ echo \"lab_argument=$1\"; env; } >\"$new\"
number=$(ls '@FOLDER@/events' | wc -l)
mv \"$new\" \"@FOLDER@/events/$(printf %05d \"$number\")\"
exit $status
";

#[derive(Debug)]
pub(super) struct Jail {
    folder: TempDir,
    private: &'static [&'static str],
}

impl Jail {
    pub(super) fn new(script: &str, private: &'static [&'static str]) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("twt-dhcp-").tempdir().context("making a client's folder")?;
        // dhcpcd gives up its rights and must still reach what is in here.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))?;
        let jail = Self { folder, private };
        fs::create_dir(jail.path("events"))?;
        fs::write(jail.path("resolv.conf"), "")?;
        let text = WRAPPER.replace("@SCRIPT@", script).replace("@FOLDER@", &jail.folder.path().display().to_string());
        fs::write(jail.wrapper(), text)?;
        fs::set_permissions(jail.wrapper(), fs::Permissions::from_mode(0o755))?;
        Ok(jail)
    }

    /// A file of the client's own.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The script that the client is to call.
    pub(super) fn wrapper(&self) -> PathBuf {
        self.path("script")
    }

    /// Starts the client in a network namespace.
    pub(super) fn spawn(&self, namespace: &Namespace, line: &[String]) -> Result<Running> {
        let mount = |folder: &&str| format!("mount -t tmpfs -o mode=755 lab '{folder}'\n");
        let mounts: String = self.private.iter().map(mount).collect();
        let resolv_conf = self.path("resolv.conf").display().to_string();
        // Clients take a host name from DHCP only if there is none worth keeping.
        let setup =
            format!("set -e\n{mounts}mount --bind '{resolv_conf}' /etc/resolv.conf\nhostname localhost\nexec \"$@\"\n");
        let mut words = ["unshare", "--mount", "--uts", "sh", "-c", &setup, "client"].map(str::to_owned).to_vec();
        words.extend_from_slice(line);
        let log = fs::File::create(self.path("log"))?;
        let mut command = cmd::command(&words)?;
        command.stdout(Stdio::from(log.try_clone()?)).stderr(Stdio::from(log));
        // The script's variables are noted from its environment: ours do not belong there.
        command.env_clear().env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        namespace.spawn(&mut command)
    }

    pub(super) fn events(&self) -> Result<Vec<Event>> {
        let mut files = Vec::new();
        for entry in fs::read_dir(self.path("events"))? {
            files.push(entry?.path());
        }
        files.sort();
        files.iter().map(|file| event(file)).collect()
    }

    pub(super) fn resolv_conf(&self) -> Result<String> {
        fs::read_to_string(self.path("resolv.conf")).context("reading the guest's resolv.conf")
    }

    pub(super) fn log(&self) -> Result<String> {
        fs::read_to_string(self.path("log")).context("reading the client's output")
    }
}

/// udhcpc names the event in its script's argument, the others in `reason`.
fn event(file: &Path) -> Result<Event> {
    let text = fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    let told: BTreeMap<_, _> = pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    let reason = told.get("reason").or_else(|| told.get("lab_argument")).cloned().unwrap_or_default();
    Ok(Event { reason, told })
}
