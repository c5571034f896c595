//! Where the attacks are run: a guest on one side of a binding and a watch on the other, with tapwire between them or the
//! kernel bridge that it is compared with.

use std::{cell::Cell, os::unix::process::CommandExt as _, path::Path, process::Stdio, time::Duration};

use anyhow::{Context as _, Result, bail};
use lab::{
    BINDING, BridgeBinding, Guest, Namespace, Pod, RawPort, Tapwire, cmd, cmd::Running, guest::GUEST_NIC,
    wait::wait_until,
};

use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use serde_json::Value;

use crate::{
    packet::{self, GUEST, GUEST4, GUEST6, IPV4, Ip4, NODE, NODE4, UDP},
    row::{Attack, Row, Way},
};

/// Longest wait for what in truth is there in a moment.
pub(crate) const SOON: Duration = Duration::from_secs(5);
/// Longest that a tool may take; nmap's scripts wait a second for answers.
const TOOL: Duration = Duration::from_secs(20);

/// A guest with the pod's addresses, and both ends of what joins it to the network.
pub(crate) struct Field {
    // In the order in which they must go.
    guest: Guest,
    tapwire: Option<Tapwire>,
    pub(crate) pod: Pod,
    guest_port: RawPort,
    node_port: RawPort,
    serial: Cell<u32>,
}

/// What became of an attack.
pub(crate) struct Outcome {
    /// Hostile frames that came out at the other side.
    pub(crate) arrived: usize,
    /// Frames that tapwire dropped for the row's reason.
    pub(crate) dropped: u64,
}

fn pod() -> Result<Pod> {
    Pod::builder("attacks")
        .addresses(&["10.244.1.5/24 brd 10.244.1.255", "fd00:10:244:1::5/64"])
        .node_addresses(&["10.244.1.1/24", "fd00:10:244:1::1/64"])
        .build()
}

/// Until a kernel has asked for duplicates of its addresses it does not use them.
fn no_tentative(namespace: &Namespace) -> Result<()> {
    wait_until("the end of duplicate address detection", SOON, || {
        Ok(namespace.ip(&["-6", "addr", "show", "tentative"])?.is_empty())
    })
}

impl Field {
    /// Behind tapwire.
    pub(crate) fn of_tapwire(options: &[&str]) -> Result<Self> {
        let pod = pod()?;
        // There before attach, so that it stays when the binding is made anew.
        pod.add_tap("tap0")?;
        let tapwire = Tapwire::new()?;
        tapwire.attach(&pod, BINDING, options)?;
        Self::new(pod, Some(tapwire))
    }

    /// Behind a kernel bridge.
    pub(crate) fn of_bridge() -> Result<Self> {
        let pod = pod()?;
        BridgeBinding::wire_only(&pod, "tap0")?;
        // Where br_netfilter is loaded, a bridge looks into IP headers, and trims frames. A plain one does not.
        for family in ["iptables", "ip6tables", "arptables"] {
            let name = format!("net/bridge/bridge-nf-call-{family}");
            if Path::new("/proc/sys").join(&name).exists() {
                pod.namespace.set_sysctl(&name, "0")?;
            }
        }
        Self::new(pod, None)
    }

    fn new(pod: Pod, tapwire: Option<Tapwire>) -> Result<Self> {
        let guest = Guest::new(&pod, "tap0", &pod.mac)?;
        guest.configure("10.244.1.5/24", Some("10.244.1.1"))?;
        guest.namespace.ip(&["-6", "addr", "add", "fd00:10:244:1::5/64", "dev", GUEST_NIC, "nodad"])?;
        no_tentative(&guest.namespace)?;
        no_tentative(&pod.node)?;
        let guest_port = RawPort::open(&guest.namespace, GUEST_NIC)?;
        let node_port = RawPort::open(&pod.node, &pod.host_side)?;
        Ok(Self { guest, tapwire, pod, guest_port, node_port, serial: Cell::new(0) })
    }

    /// The same guest, with a binding made of other options.
    pub(crate) fn reattach(&self, options: &[&str]) -> Result<()> {
        let tapwire = self.tapwire.as_ref().context("a bridge has no options")?;
        tapwire.run(&["detach", BINDING])?;
        tapwire.attach(&self.pod, BINDING, options)?;
        wait_until("carrier on tap0", SOON, || {
            Ok(self.pod.namespace.ip(&["-br", "link", "show", "dev", "tap0"])?.contains("LOWER_UP"))
        })
    }

    pub(crate) fn is_bridge(&self) -> bool {
        self.tapwire.is_none()
    }

    /// The guest's namespace.
    pub(crate) fn guest(&self) -> &Namespace {
        &self.guest.namespace
    }

    /// Frames that tapwire dropped for a reason.
    pub(crate) fn dropped(&self, reason: &str) -> Result<u64> {
        self.tapwire.as_ref().map_or(Ok(0), |tapwire| tapwire.counter(BINDING, &["dropped", reason]))
    }

    /// What `show` tells.
    pub(crate) fn show(&self) -> Result<Value> {
        self.tapwire.as_ref().context("a bridge tells nothing")?.show(BINDING)
    }

    /// All that tapwire dropped, by reason.
    pub(crate) fn drops(&self) -> Result<Value> {
        Ok(self.show()?["counters"]["dropped"].clone())
    }

    fn ends(&self, way: Way) -> (&RawPort, &RawPort) {
        match way {
            Way::ToNetwork => (&self.guest_port, &self.node_port),
            Way::ToGuest => (&self.node_port, &self.guest_port),
        }
    }

    /// Sends a frame into one side.
    pub(crate) fn send(&self, way: Way, frame: &[u8]) -> Result<()> {
        self.ends(way).0.send(frame)
    }

    /// What came out at the other side of all that was sent before: a frame that passes for sure is sent after it.
    pub(crate) fn arrived(&self, way: Way) -> Result<Vec<Vec<u8>>> {
        let mut all = Vec::new();
        // A tool may have filled a queue, and then this one is lost.
        wait_until("a frame that is honest", SOON, || {
            let last = self.last(way);
            self.send(way, &last)?;
            while let Some(seen) = self.ends(way).1.receive(Duration::from_millis(200))? {
                if seen.outgoing {
                    continue;
                }
                if seen.data == last {
                    return Ok(true);
                }
                all.push(seen.data);
            }
            Ok(false)
        })?;
        Ok(all)
    }

    fn last(&self, way: Way) -> Vec<u8> {
        self.serial.set(self.serial.get() + 1);
        let datagram = packet::udp((9, 9), &self.serial.get().to_be_bytes());
        let (macs, ips) = match way {
            Way::ToNetwork => ((NODE, GUEST), (GUEST4, NODE4)),
            Way::ToGuest => ((GUEST, NODE), (NODE4, GUEST4)),
        };
        packet::ethernet(macs.0, macs.1, IPV4, &Ip4::default().packet(ips.0, ips.1, UDP, &datagram))
    }

    /// The guest is heard, and hears, over both families.
    pub(crate) fn is_honest(&self) -> Result<()> {
        for (from, to) in [(self.guest(), NODE4.to_string()), (&self.pod.node, GUEST6.to_string())] {
            from.exec(&["busybox", "ping", "-c", "1", "-W", "5", &to])?;
        }
        Ok(())
    }

    /// Runs an attack, waits for its effect, and tells what became of it.
    pub(crate) fn run(&self, row: &Row) -> Result<Outcome> {
        let before = self.dropped(row.reason)?;
        self.arrived(row.way)?;
        let mut hostile = Vec::new();
        let mut effect = || {
            if !self.is_bridge() {
                return Ok(self.dropped(row.reason)? > before);
            }
            while let Some(seen) = self.ends(row.way).1.receive(Duration::ZERO)? {
                hostile.extend((!seen.outgoing && (row.hostile)(&seen.data)).then_some(seen.data));
            }
            Ok(!hostile.is_empty())
        };
        self.launch(row, &mut effect).with_context(|| format!("attack {:?} by {}", row.name, row.tool))?;
        let rest = self.arrived(row.way)?;
        hostile.extend(rest.into_iter().filter(|frame| (row.hostile)(frame)));
        Ok(Outcome { arrived: hostile.len(), dropped: self.dropped(row.reason)? - before })
    }

    fn launch(&self, row: &Row, effect: &mut dyn FnMut() -> Result<bool>) -> Result<()> {
        match &row.attack {
            Attack::Frames(frames) => frames().iter().try_for_each(|frame| self.send(row.way, frame)),
            Attack::Jumbo(frames) => {
                self.guest().ip(&["link", "set", GUEST_NIC, "mtu", "9000"])?;
                frames().iter().try_for_each(|frame| self.send(row.way, frame))?;
                self.guest().ip(&["link", "set", GUEST_NIC, "mtu", "1500"]).map(drop)
            }
            Attack::Tool(line) => {
                let mut tool = self.start(line)?;
                // Many end with an error when nobody answers, some crash when they have sent everything.
                tool.wait(TOOL).map(drop)
            }
            Attack::Endless(line) => {
                let mut tool = self.start(line)?;
                wait_until("its effect", SOON, || Ok(effect()? || is_over(&mut tool)?))?;
                end(&tool)
            }
            Attack::Server(line, asked) => {
                let mut tool = self.start(line)?;
                wait_until("its effect", SOON, || {
                    self.node_port.send(&asked())?;
                    Ok(effect()? || is_over(&mut tool)?)
                })?;
                end(&tool)
            }
        }
    }

    fn start(&self, line: &str) -> Result<Running> {
        let mut command = cmd::command(&line.split_whitespace().collect::<Vec<_>>())?;
        // Some end when their input does.
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        self.guest().spawn(&mut command)
    }
}

/// Ends a program with its children, which would go on in the next row.
fn end(tool: &Running) -> Result<()> {
    killpg(Pid::from_raw(tool.pid()), Signal::SIGKILL).context("ending it")
}

fn is_over(tool: &mut Running) -> Result<bool> {
    match tool.ended()? {
        None => Ok(false),
        Some(status) => bail!("it ended without an effect ({status})"),
    }
}
