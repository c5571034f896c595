//! A path with a guest at its end that can run programs: its stack is the kernel's, behind a pump.

use std::{process::Stdio, time::Duration};

use anyhow::{Context as _, Result};

use super::connects;
use crate::{
    bench::{lane::on_one_cpu, path::Joined},
    cmd::{self, Running},
    guest::{GUEST_NIC, Guest},
    wait::wait_until,
};

/// Where iperf3 listens unless it is told otherwise.
const IPERF: u16 = 5201;

/// A path, its guest, and a server at its far end.
#[derive(Debug)]
pub struct Bed {
    name: String,
    // In the order in which they must go: the server, then the guest, whose pump holds the tap.
    _server: Running,
    guest: Guest,
    joined: Joined,
}

impl Bed {
    /// Puts a guest behind a path that is there, under a name of choice.
    pub fn of(name: &str, joined: Joined) -> Result<Self> {
        let mac = joined.guest.mac.map(|octet| format!("{octet:02x}")).join(":");
        // A thread stays on the CPU of the one that started it: so the pump has one of its own, as a VM's vhost thread would,
        // and a round does not depend on where the scheduler has put it.
        let guest = on_one_cpu(|| Guest::behind(joined.port()?, &mac, joined.kind.offloads()))?;
        guest.namespace.set_sysctl("net/ipv6/conf/all/disable_ipv6", "1")?;
        guest.namespace.ip(&["link", "set", GUEST_NIC, "mtu", &joined.mtu.to_string()])?;
        let (address, gateway) = (joined.guest.address, joined.gateway.address);
        guest.configure(&format!("{address}/{}", joined.prefix), Some(&gateway.to_string()))?;
        let server = serve(&joined).with_context(|| format!("iperf3's server behind {name}"))?;
        let bed = Self { name: name.to_owned(), _server: server, guest, joined };
        // Both sides learn each other's MAC, and it is seen that the guest reaches the far end at all.
        connects::run(&bed, 1).with_context(|| format!("nothing passes through {name}"))?;
        Ok(bed)
    }

    /// Under which its samples stand.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The path.
    pub fn joined(&self) -> &Joined {
        &self.joined
    }

    /// The guest.
    pub fn guest(&self) -> &Guest {
        &self.guest
    }
}

/// Starts iperf3 at the far end, and waits until it listens.
fn serve(joined: &Joined) -> Result<Running> {
    let far = joined.far_namespace();
    let mut server = cmd::command(&["iperf3", "-s"])?;
    let server = far.spawn(server.stdout(Stdio::null()).stderr(Stdio::null()))?;
    wait_until("iperf3's server", Duration::from_secs(5), || {
        Ok(far.exec(&["ss", "-Hltn"])?.contains(&format!(":{IPERF}")))
    })?;
    Ok(server)
}
