//! Keeps a DHCP client's files apart from the machine's and from other clients'.
//!
//! The client runs in a mount namespace where the folders it writes to are empty ones of its own and /etc/resolv.conf
//! is a file of its own, and in a UTS namespace, because clients set the host name. A client that is a service of a
//! whole system also gets what such a service finds there: a message bus, a machine id, and a /sys of its namespace.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context as _, Result};
use tempfile::TempDir;

use crate::{
    cmd::{self, Running},
    netns::Namespace,
    wait::wait_until,
};

/// Whoever asks may do anything: the client is alone on its bus.
const BUS: &str = r#"<busconfig>
  <type>system</type>
  <listen>unix:path=/run/dbus/system_bus_socket</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/>
    <allow own="*"/>
    <allow send_destination="*"/>
    <allow receive_sender="*"/>
  </policy>
</busconfig>
"#;
const BUS_SOCKET: &str = "/run/dbus/system_bus_socket";
const MACHINE_ID: &str = "8f3c1d5e7a9b4c2d8e6f0a1b2c3d4e5f\n";
/// A client that manages devices waits for udev where /sys can be written to; in a container there is none. The radios
/// of the machine are no business of its.
const SERVICE: &str = "mount -t sysfs lab /sys
mount -o remount,bind,ro /sys
[ ! -e /dev/rfkill ] || mount --bind /dev/null /dev/rfkill
";

/// What a client needs around it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Needs {
    /// Folders that it writes to, or where the machine's files must not be seen.
    pub(super) folders: &'static [&'static str],
    /// Folders in those that it does not make itself.
    pub(super) within: &'static [&'static str],
    /// It is a service of a whole system.
    pub(super) service: bool,
}

/// Finds the file that is /etc/resolv.conf, and makes it if it is missing.
const RESOLV_CONF: &str = "file=$(readlink /etc/resolv.conf || echo /etc/resolv.conf)
case $file in /*) ;; *) file=/etc/$file ;; esac
mkdir -p \"${file%/*}\"
[ -e \"$file\" ] || : >\"$file\"
";

#[derive(Debug)]
pub(super) struct Jail {
    folder: TempDir,
    needs: Needs,
}

/// A client's process, and that of its bus. The client first: it goes first.
#[derive(Debug)]
pub(super) struct Inmates {
    pub(super) client: Running,
    _bus: Option<Running>,
}

impl Jail {
    pub(super) fn new(needs: Needs) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("twt-dhcp-").tempdir().context("making a client's folder")?;
        // dhcpcd gives up its rights and must still reach what is in here.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))?;
        let jail = Self { folder, needs };
        fs::write(jail.path("resolv.conf"), "")?;
        for folder in needs.folders.iter().chain(needs.within) {
            fs::create_dir_all(jail.inside(folder))?;
        }
        if needs.service {
            fs::create_dir_all(jail.inside("/run/dbus"))?;
            fs::write(jail.path("machine-id"), MACHINE_ID)?;
            fs::write(jail.path("bus.conf"), BUS)?;
        }
        Ok(jail)
    }

    /// A file of the client's own.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Where a file lies that the client sees in one of its folders.
    pub(super) fn inside(&self, seen: &str) -> PathBuf {
        self.path("root").join(seen.trim_start_matches('/'))
    }

    /// A file of that kind; nothing where it is not there yet.
    pub(super) fn read(&self, seen: &str) -> Option<String> {
        fs::read_to_string(self.inside(seen)).ok()
    }

    /// Starts the client in a network namespace.
    pub(super) fn spawn(&self, namespace: &Namespace, line: &[String]) -> Result<Inmates> {
        let setup = self.setup();
        let enter = ["unshare", "--mount", "--uts", "sh", "-c", &setup, "client"];
        if !self.needs.service {
            return Ok(Inmates { client: self.start(namespace, &enter, line, "log")?, _bus: None });
        }
        let config = format!("--config-file={}", self.path("bus.conf").display());
        let line_of_bus = ["dbus-daemon", "--nofork", "--nopidfile", &config].map(str::to_owned);
        let bus = self.start(namespace, &enter, &line_of_bus, "log-of-bus")?;
        let socket = self.inside(BUS_SOCKET);
        let there = wait_until("the client's message bus", Duration::from_secs(10), || Ok(socket.exists()));
        there.with_context(|| fs::read_to_string(self.path("log-of-bus")).unwrap_or_default())?;
        let pid = bus.pid().to_string();
        let client = self.start(namespace, &["nsenter", "--target", &pid, "--mount", "--uts"], line, "log")?;
        Ok(Inmates { client, _bus: Some(bus) })
    }

    fn start(&self, namespace: &Namespace, enter: &[&str], line: &[String], log: &str) -> Result<Running> {
        let words = [enter.iter().copied().map(str::to_owned).collect(), line.to_vec()].concat();
        let log = fs::File::create(self.path(log))?;
        let mut command = cmd::command(&words)?;
        command.stdout(Stdio::from(log.try_clone()?)).stderr(Stdio::from(log));
        // A script's variables are noted from its environment: ours do not belong there.
        command.env_clear().env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        namespace.spawn(&mut command)
    }

    /// What is to be done in the new namespaces before the client starts.
    fn setup(&self) -> String {
        let bind = |from: &Path, to: &str| format!("mount --bind '{}' \"{to}\"\n", from.display());
        let mut text = "set -e\n".to_owned();
        text.extend(self.needs.folders.iter().map(|folder| bind(&self.inside(folder), folder)));
        // It may be a link into /run, which is an empty folder by now.
        text.push_str(RESOLV_CONF);
        text.push_str(&bind(&self.path("resolv.conf"), "$file"));
        if self.needs.service {
            text.push_str(&bind(&self.path("machine-id"), "/etc/machine-id"));
            text.push_str(SERVICE);
        }
        // Clients take a host name from DHCP only if there is none worth keeping.
        text.push_str("hostname localhost\nexec \"$@\"\n");
        text
    }

    pub(super) fn resolv_conf(&self) -> Result<String> {
        fs::read_to_string(self.path("resolv.conf")).context("reading the guest's resolv.conf")
    }

    pub(super) fn log(&self) -> Result<String> {
        let bytes = fs::read(self.path("log")).context("reading the client's output")?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}
