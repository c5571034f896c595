//! The best probe: everything that attach does, done.
//!
//! A thread makes a mount namespace and two network namespaces of its own, a node's and a pod's, with a bpffs and a state
//! folder in memory. All of it is reachable through that thread alone and vanishes with it, whatever ends it.

use std::{fs, os::fd::AsRawFd as _, path::Path, thread};

use clap::Parser as _;
use nix::{
    errno::Errno,
    mount::{MsFlags, mount},
    sched::{CloneFlags, setns, unshare},
};

use super::{Finding, process};
use crate::{
    attach::attach,
    binding::{Environment, State},
    cli::{Cli, Command},
    datapath::{Bpffs, Programs, tcx},
    detach::detach,
    dhcp::Replies,
    error::{Context as _, Error, Result},
    journal::Store,
    mac,
    netlink::Netlink,
    netns::Netns,
    plan::{constants, plan},
    request::AttachRequest,
    tap::{self, TapSpec},
};

/// Where the folders in memory are mounted, seen by the thread alone: the first that is there.
const PLACES: [&str; 4] = ["/sys/fs/bpf", "/run", "/tmp", "/mnt"];
/// Bindings of all kinds, so that every branch of the programs meets the verifier.
const VARIANTS: [&[&str]; 3] = [
    &["--dhcp", "on", "--to-network", "peer", "--to-guest", "auto"],
    &["--dhcp", "on", "--guest-mac", "learn", "--mac-mode", "keep", "--to-network", "redirect"],
    &["--dhcp", "off", "--to-network", "redirect"],
];
const NIC: &str = "eth0";
const NOT_TRIED: &str = "not tried, for what failed above";
const ABOVE: &str = "put right what failed above, then check again";

/// Does it. `ready`: nothing of what it needs has failed so far.
pub(super) fn findings(ready: bool) -> Vec<Finding> {
    if !ready {
        return vec![Finding::failed("attach", NOT_TRIED, ABOVE)];
    }
    let done = thread::scope(|scope| {
        let thread = thread::Builder::new().name("check".to_owned()).spawn_scoped(scope, on_this_thread);
        let thread = thread.map_err(|error| Finding::failed("attach", format!("start a thread: {error}"), ABOVE))?;
        thread.join().unwrap_or_else(|_| Err(Finding::failed("attach", "the thread of the trial panicked", ABOVE)))
    });
    done.unwrap_or_else(|finding| vec![finding])
}

fn on_this_thread() -> Result<Vec<Finding>, Finding> {
    let environment = folders_in_memory().map_err(|error| {
        let may = process::effective().is_some_and(|set| set & (1 << 21) != 0);
        let hint = "allow mount(2) in the container, or check outside it";
        // With the capability, a security module refuses: attach itself mounts nothing where a bpffs is there.
        let finding = if may { Finding::warning } else { Finding::failed };
        finding("attach", format!("not tried: {error}"), hint.to_owned())
    })?;
    let scratch = Scratch::make().map_err(|error| {
        Finding::of("namespaces", Err(error), "allow unshare(2) and setns(2), and raise user.max_net_namespaces")
    })?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Finding::failed("attach", format!("start a runtime: {error}"), ABOVE))?;
    Ok(runtime.block_on(all(&environment, &scratch)))
}

/// A bpffs and a state folder that nobody else sees.
fn folders_in_memory() -> Result<Environment> {
    let none = None::<&str>;
    unshare(CloneFlags::CLONE_NEWNS).context(|| "make a mount namespace")?;
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(none, "/", none, private, none).context(|| "keep mounts within the namespace")?;
    let place = PLACES.iter().map(Path::new).find(|place| place.is_dir());
    let place = place.ok_or_else(|| Error::new("mount folders in memory", format!("none of {PLACES:?} is there")))?;
    mount(Some("tapwire"), place, Some("tmpfs"), MsFlags::empty(), Some("size=4m")).context(|| "mount a tmpfs")?;
    let (pins, state) = (place.join("pins"), place.join("state"));
    fs::create_dir(&pins).context(|| format!("make {}", pins.display()))?;
    mount(Some("tapwire"), &pins, Some("bpf"), MsFlags::empty(), none).context(|| "mount a bpffs")?;
    // The trial's bindings are nobody's: no policy bounds them.
    let policy = state.join("no-policy.toml");
    let cni = state.join("no-cni");
    let bpffs = Bpffs::at(pins.join("tapwire"));
    Ok(Environment { store: Store::at(state), bpffs, policy, cni, node_netns: None })
}

/// A node and a pod without a name.
struct Scratch {
    node: Netns,
    pod: Netns,
}

impl Scratch {
    /// Leaves the thread in the node's namespace, which so becomes the caller's.
    fn make() -> Result<Self> {
        let new = || -> Result<Netns> {
            unshare(CloneFlags::CLONE_NEWNET).map_err(|errno| {
                let why = if errno == Errno::ENOSPC { "there are too many".to_owned() } else { errno.to_string() };
                Error::new("make a network namespace", why)
            })?;
            Netns::current()
        };
        let (node, pod) = (new()?, new()?);
        setns(&node, CloneFlags::CLONE_NEWNET).context(|| "enter a network namespace")?;
        Ok(Self { node, pod })
    }

    /// The request of an attach command with these options.
    fn request(&self, options: &[&str]) -> Result<AttachRequest> {
        // Read as a command line, so that whatever is not said here is as an operator's default.
        let path = |netns: &Netns| format!("/proc/self/fd/{}", std::os::fd::AsFd::as_fd(netns).as_raw_fd());
        let (pod, node) = (path(&self.pod), path(&self.node));
        let base = ["tapwire", "attach", "--netns", &pod, "--node-netns", &node, "--nic", NIC, "--name", "check"];
        let cli = Cli::try_parse_from(base.iter().chain(options)).context(|| "read the trial's options")?;
        match cli.command {
            Command::Attach(arguments) => arguments.request(),
            _ => Err(Error::new("read the trial's options", "they are not attach's")),
        }
    }
}

async fn all(environment: &Environment, scratch: &Scratch) -> Vec<Finding> {
    let mut findings = vec![Finding::ok("namespaces", "network namespaces can be made and entered")];
    let netlink = match Netlink::open(&scratch.pod) {
        Ok(netlink) => netlink,
        Err(error) => return vec![Finding::of("namespaces", Err(error), "allow netlink sockets")],
    };
    let hint = "load the module veth; without it only macvlans and other devices of the CNI can be joined";
    findings.push(Finding::of("veth", veth(&netlink, scratch).await, hint));
    let hint = "load the module tun, and give the container /dev/net/tun and the right to open it";
    findings.push(Finding::of("tap", try_tap(&netlink, &scratch.pod).await, hint));
    if findings.iter().any(|finding| finding.verdict == super::Verdict::Failed) {
        findings.push(Finding::failed("attach", NOT_TRIED, ABOVE));
        return findings;
    }
    findings.push(match try_portal(&netlink, scratch).await {
        Ok(text) => Finding::ok("portal", text),
        Err(error) => Finding::warning(
            "portal",
            format!("{error}; --to-guest auto takes redirect"),
            error.hint().unwrap_or("load the module macvlan"),
        ),
    });
    let hint = "report it with this line: a verifier of another kernel took these programs";
    findings.push(Finding::of("programs", programs(environment, scratch).await, hint));
    findings.extend(hooks(environment, scratch, &netlink).await);
    findings
}

async fn veth(netlink: &Netlink, scratch: &Scratch) -> Result<String> {
    let ifindex = netlink.add_veth(NIC, "host0", &scratch.node).await?;
    netlink.set_up(ifindex).await?;
    let node = Netlink::open(&scratch.node)?;
    if let Some(host_side) = node.nic("host0").await? {
        node.set_up(host_side.ifindex).await?;
    }
    // TEST-NET-1 (RFC 5737). No route: then the ARP responder has the stand-in server to answer for.
    netlink.add_address(ifindex, std::net::Ipv4Addr::new(192, 0, 2, 2), 24).await?;
    Ok("veths can be made".to_owned())
}

async fn try_tap(netlink: &Netlink, pod: &Netns) -> Result<String> {
    let spec = TapSpec { name: "tap0".to_owned(), owner: None, group: None, multi_queue: true };
    let tap = tap::create(netlink, pod, &spec).await?;
    netlink.delete_link(tap.nic.ifindex).await?;
    Ok("taps can be made, with several queues".to_owned())
}

async fn try_portal(netlink: &Netlink, scratch: &Scratch) -> Result<String> {
    let spec = TapSpec { name: "tap0".to_owned(), owner: None, group: None, multi_queue: false };
    let tap = tap::create(netlink, &scratch.pod, &spec).await?;
    let made = netlink.add_portal("twpcheck", mac::random()?, tap.nic.ifindex, &scratch.node).await;
    // The portal goes with it.
    netlink.delete_link(tap.nic.ifindex).await?;
    made.map(|()| "portals can be made: macvlans of a tap, in another namespace".to_owned())
}

/// Has the verifier judge the programs, once for each kind of binding.
async fn programs(environment: &Environment, scratch: &Scratch) -> Result<String> {
    for options in VARIANTS {
        let journal = plan(&scratch.request(options)?, "check".to_owned(), &scratch.pod, environment).await?;
        let replies = journal.lease.as_ref().map(Replies::new).transpose()?;
        // Any index will do for the tap and the portal: nothing is sent.
        let mut journal = journal;
        if let Some(portal) = &mut journal.portal {
            portal.ifindex = Some(journal.nic.ifindex);
        }
        Programs::load(&constants(&journal, journal.nic.ifindex)?, replies.as_ref(), None)?;
    }
    Ok(format!("the verifier takes them, for {} kinds of bindings", VARIANTS.len()))
}

/// Attaches and detaches: by each kind of hook, and as `auto` would.
async fn hooks(environment: &Environment, scratch: &Scratch, netlink: &Netlink) -> Vec<Finding> {
    let mut findings = Vec::new();
    let has_tcx = scratch.pod.run(|| tcx::is_supported(NIC));
    findings.push(match has_tcx {
        Ok(true) => Finding::ok("tcx", "programs are attached by TCX links"),
        Ok(false) => Finding::warning(
            "tcx",
            "the kernel has no TCX: clsact is used, where whoever deletes the qdisc deletes the programs",
            "use a kernel of 6.6 or later",
        ),
        Err(error) => Finding::of("tcx", Err(error), "use a kernel of 6.6 or later"),
    });
    let clsact = once(environment, scratch, netlink, &["--hook", "clsact"]).await;
    let hint = "load the modules sch_ingress and cls_bpf (CONFIG_NET_SCH_INGRESS, CONFIG_NET_CLS_BPF)";
    let attached = once(environment, scratch, netlink, &[]).await;
    findings.push(match clsact {
        Err(error) if attached.is_ok() => {
            Finding::warning("clsact", format!("{error}; it is not needed where there is TCX"), hint)
        }
        clsact => Finding::of("clsact", clsact.map(|_| "a binding by clsact was made and removed".to_owned()), hint),
    });
    findings.push(Finding::of(
        "attach",
        attached.map(|[network, guest]| {
            format!("a binding was made and removed, frames to the network by {network}, to the guest by {guest}")
        }),
        "the error says what failed",
    ));
    findings
}

/// One binding, made, looked at and removed. Gives its ways to the network and to the guest.
async fn once(
    environment: &Environment,
    scratch: &Scratch,
    netlink: &Netlink,
    options: &[&str],
) -> Result<[String; 2]> {
    let node = Netlink::open(&scratch.node)?;
    let before = (netlink.nics().await?, node.nics().await?);
    // On the heap: the future of attach is large.
    let journal = Box::pin(attach(environment, &scratch.request(options)?)).await?;
    let state = State::of(environment, &journal).await?;
    detach(environment, &journal.name).await?;
    if state != State::Ready {
        return Err(Error::new("attach", format!("the binding is {}: {}", state.word(), state.reason())));
    }
    if (netlink.nics().await?, node.nics().await?) != before {
        return Err(Error::new("detach", "the links are not as they were"));
    }
    let word = |way: serde_json::Result<serde_json::Value>| {
        way.ok().and_then(|way| way.as_str().map(str::to_owned)).unwrap_or_default()
    };
    let wire = &journal.wire;
    Ok([word(serde_json::to_value(wire.to_network)), word(serde_json::to_value(wire.to_guest))])
}
