//! A guest without a CPU of its own: a namespace whose only NIC is the far side of a pump.

use std::{ffi::OsStr, time::Duration};

use anyhow::Result;

use crate::{
    netns::{Namespace, PREFIX},
    pod::Pod,
    port::FramePort,
    portal,
    pump::{Offloads, Pump},
    wait::wait_until,
};

/// The guest's NIC.
pub const GUEST_NIC: &str = "eth0";

/// A guest namespace joined to a tap by a pump.
#[derive(Debug)]
pub struct Guest {
    // Before the namespace: its tap keeps the namespace busy.
    pump: Pump,
    /// The guest's own namespace.
    pub namespace: Namespace,
}

impl Guest {
    /// A guest with virtio offloads behind `tap` in the pod's namespace, its NIC up, and no address on it.
    pub fn new(pod: &Pod, tap: &str, mac: &str) -> Result<Self> {
        Self::with_offloads(pod, tap, mac, Offloads::Virtio)
    }

    /// [`new`](Self::new) with chosen offloads.
    pub fn with_offloads(pod: &Pod, tap: &str, mac: &str, offloads: Offloads) -> Result<Self> {
        let guest = Self::in_namespace(&pod.namespace, tap, mac, offloads)?;
        portal::wait_for(pod, tap)?;
        Ok(guest)
    }

    /// A guest behind a tap in any namespace.
    pub fn in_namespace(namespace: &Namespace, tap: &str, mac: &str, offloads: Offloads) -> Result<Self> {
        let guest = Namespace::with_prefix(PREFIX, "guest")?;
        let pump = Pump::start((namespace, tap), (&guest, GUEST_NIC), offloads)?;
        guest.ip(&["link", "set", GUEST_NIC, "address", mac])?;
        guest.ip(&["link", "set", GUEST_NIC, "up"])?;
        // The kernel reports a new carrier late, and until then bridges and queues throw frames away.
        for (side, link) in [(namespace, tap), (&guest, GUEST_NIC)] {
            wait_until(&format!("carrier on {link}"), Duration::from_secs(5), || {
                Ok(side.ip(&["-br", "link", "show", "dev", link])?.contains("LOWER_UP"))
            })?;
        }
        Ok(Self { pump, namespace: guest })
    }

    /// A guest behind an end that is open already, its NIC up.
    pub fn behind(port: Box<dyn FramePort>, mac: &str, offloads: Offloads) -> Result<Self> {
        let guest = Namespace::with_prefix(PREFIX, "guest")?;
        let pump = Pump::behind(port, (&guest, GUEST_NIC), offloads)?;
        guest.ip(&["link", "set", GUEST_NIC, "address", mac])?;
        guest.ip(&["link", "set", GUEST_NIC, "up"])?;
        wait_until(&format!("carrier on {GUEST_NIC}"), Duration::from_secs(5), || {
            Ok(guest.ip(&["-br", "link", "show", "dev", GUEST_NIC])?.contains("LOWER_UP"))
        })?;
        Ok(Self { pump, namespace: guest })
    }

    /// Runs a command in the guest.
    pub fn exec<S: AsRef<OsStr> + Sync>(&self, args: &[S]) -> Result<String> {
        self.namespace.exec(args)
    }

    /// Configures the NIC by hand, for tests that are not about DHCP.
    pub fn configure(&self, address: &str, gateway: Option<&str>) -> Result<()> {
        self.namespace.ip(&["addr", "replace", address, "dev", GUEST_NIC])?;
        if let Some(gateway) = gateway {
            self.namespace.ip(&["route", "replace", "default", "via", gateway, "dev", GUEST_NIC])?;
        }
        Ok(())
    }

    /// The pump, for its counters.
    pub fn pump(&self) -> &Pump {
        &self.pump
    }
}
