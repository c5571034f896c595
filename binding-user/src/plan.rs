//! What attach is going to do. Everything that can be refused is refused here, where nothing has been changed yet.

use binding_common::{
    MacAddr,
    dhcp::{SERVER_MAC, Server},
};

use crate::{
    binding::Environment,
    change::LeaseChange,
    datapath::{Build, Constants, HookKind, PinnedMaps, PortalConstants, hook, tcx},
    dhcp::Replies,
    discover::discover,
    error::{Error, Result},
    facts::{Address, Facts, Scope},
    guard::{self, Guard, policy::Policy},
    journal::{Header, Journal, Phase, TapBefore, TapRecord},
    lease::{self, Lease},
    mac,
    neighbours::{ArpTable, every_other, find_gateway},
    netlink::Netlink,
    netns::{MachinesOwn, Netns},
    nic::Nic,
    node::NodeRecord,
    peer::find_host_side,
    portal::{self, PortalRecord, ToGuest, cni, decide::Ground, look},
    queue,
    request::{AttachRequest, DhcpMode},
    snapshot::Snapshot,
    sysctl::{self, DISABLE_IPV6},
    tap::{self, TapInfo},
    wire::{self, HookChoice, MacMode, Wire},
};

/// Refuses the machine's own namespace, where a mistake cuts the machine off.
pub fn check_not_the_machines_own(netns: &Netns, force: bool) -> Result<()> {
    let why = match netns.is_machines_own() {
        MachinesOwn::No => return Ok(()),
        _ if force => return Ok(()),
        MachinesOwn::Yes => "it is the machine's own",
        MachinesOwn::Unknown => "it may be the machine's own: that of process 1 cannot be read here",
    };
    Err(Error::new("attach in this network namespace", why)
        .with_hint("name the pod's with --netns; --force does it all the same, and takes the NIC from the machine"))
}

/// Makes the record of a binding that does not exist yet.
pub async fn plan(request: &AttachRequest, name: String, netns: &Netns, environment: &Environment) -> Result<Journal> {
    plan_with(request, name, netns, environment, None).await
}

/// [`plan`] with the tap that a binding has already, if there is one.
pub(crate) async fn plan_with(
    request: &AttachRequest,
    name: String,
    netns: &Netns,
    environment: &Environment,
    tap: Option<&TapRecord>,
) -> Result<Journal> {
    let netlink = Netlink::open(netns)?;
    let facts = discover(&request.netns, netns, &request.nic, request.resolv_conf.as_deref()).await?;
    check_nic(&facts.nic)?;
    request.lease.check_mtu(facts.nic.mtu)?;
    let mut warnings = facts.warnings.clone();
    let mut lease = make_lease(request, &facts)?;
    let foreign = check_programs(&netlink, netns, &facts.nic).await?;
    warnings.extend(foreign.iter().map(|program| {
        format!("{} carries {program}; it may keep frames from the guest, or be passed over", request.nic)
    }));
    let tap = match tap {
        Some(tap) => tap.clone(),
        None => tap_record(request, &facts, &netlink, netns).await?,
    };
    if request.nic == request.tap {
        return Err(Error::new(format!("join {} to {}", request.nic, request.tap), "they are one device")
            .with_hint("name the VM's tap with --tap"));
    }
    let node = match &request.node_netns {
        None => Netns::current()?,
        Some(spec) => Netns::open(spec)?,
    };
    let host_side = find_host_side(&facts.nic, netns, &node).await?;
    let gateway_mac = match lease.as_ref().and_then(|lease| lease.gateway) {
        Some(gateway) => find_gateway(&netlink, facts.nic.ifindex, &host_side, &node, gateway).await?,
        None => None,
    };
    if let Some(lease) = &mut lease {
        warnings.extend(lease::warnings(&facts, lease));
        warnings.extend(fit_lease(lease, &tap)?);
        if request.arp_reply_all {
            lease.neighbours.push(every_other(lease.gateway, gateway_mac)?);
        }
    }
    if lease.is_none() && (request.arp_reply_all || request.lease.tells_something()) {
        warnings.push(
            "a pure wire tells the guest nothing: what was said of the lease and of ARP has no effect".to_owned(),
        );
    }
    let mac_mode = request.mac_mode.decide(&facts.nic)?;
    let snapshot = match mac_mode {
        MacMode::Keep => None,
        _ => Some(Snapshot::take(&netlink, netns, facts.nic.ifindex).await?),
    };
    let has_lease = lease.is_some();
    if let Some(bounds) = Policy::read(&environment.policy)? {
        bounds.check(&environment.policy, &request.guard, has_lease)?;
    }
    let guard = Guard::decide(&request.guard, &facts, has_lease, guard::of_host_side(&host_side, &node).await?)?;
    warnings.extend(guard.warnings(&request.guard));
    let ground = Ground {
        nic: &facts.nic,
        host_side: &host_side,
        foreign: &look::on_ingress(&netlink, netns, &facts.nic).await?,
        cni: cni::find(&environment.bpffs, &environment.cni),
    };
    let wire = decide_wire(request, &ground, netns, mac_mode, gateway_mac)?;
    let mut hooks = wire::hooks(&request.nic, &request.tap, mac_mode);
    let portal = match wire.to_guest {
        ToGuest::Portal => Some(PortalRecord::plan(&name, &host_side, portal::has_check_mtu())?),
        _ => None,
    };
    hooks.extend(portal.iter().flat_map(PortalRecord::hooks));
    let clsact_made = without_clsact(&netlink, &facts.nic, &tap, wire.hook).await?;
    Ok(Journal {
        header: Header::now()?,
        name,
        phase: Phase::Attaching,
        request: request.clone(),
        netns: netns.id(),
        netns_path: netns.path().to_owned(),
        nic: facts.nic,
        snapshot,
        tap,
        node: Some(NodeRecord::of(&node)),
        portal,
        lease,
        change: LeaseChange::default(),
        programs: Some(Build::of_this_binary()),
        maps: PinnedMaps::new(),
        wire,
        guard,
        hooks,
        clsact_made,
        foreign,
        warnings,
    })
}

/// The constants of the programs, once the tap exists.
pub fn constants(journal: &Journal, tap_ifindex: u32) -> Result<Constants> {
    let server = journal.lease.as_ref().map(|lease| Server {
        lease: lease.address.addr().octets(),
        identifier: lease.server_id.octets(),
        guest: lease.mac,
    });
    Ok(Constants {
        nic: journal.nic.ifindex,
        tap: tap_ifindex,
        mtu: journal.nic.mtu,
        tap_mtu: journal.tap.mtu,
        peer: journal.wire.to_network == wire::ToNetwork::Peer,
        portal: portal_constants(journal)?,
        // Those that have `ndo_get_peer_dev`.
        from_peer: matches!(journal.nic.kind.as_str(), "veth" | "netkit"),
        network_mac: journal.nic.mac,
        guest_mac: journal.wire.guest_mac,
        dhcp: server,
        arp: journal.lease.as_ref().map(|lease| ArpTable::of(lease, journal.wire.server_mac)).unwrap_or_default(),
        guard: journal.guard.constants(&journal.request.guard)?,
    })
}

fn portal_constants(journal: &Journal) -> Result<Option<PortalConstants>> {
    let Some(portal) = journal.portal.as_ref().filter(|portal| !portal.leaving) else { return Ok(None) };
    let what = || format!("load the programs for the portal {}", portal.name);
    let ifindex = portal.ifindex.ok_or_else(|| Error::new(what(), "its index is unknown"))?;
    Ok(Some(PortalConstants { ifindex, check: portal.checked }))
}

fn check_nic(nic: &Nic) -> Result<()> {
    let what = || format!("attach to {}", nic.name);
    if nic.netkit_l3 {
        return Err(Error::new(what(), "it is a netkit in L3 mode: it has no Ethernet header that a guest could use")
            .with_hint("have the CNI make netkit devices in L2 mode (Cilium: bpf.datapathMode=netkit-l2)"));
    }
    if nic.mac == MacAddr::ZERO {
        return Err(Error::new(what(), format!("this {} has no MAC address, so no Ethernet header", nic.kind))
            .with_hint("tapwire joins Ethernet devices only"));
    }
    if nic.kind == "bridge" {
        return Err(Error::new(what(), "it is a bridge").with_hint("name the NIC that the CNI gave to the pod"));
    }
    if nic.master.is_some() {
        return Err(Error::new(what(), "it is already a port of a bridge or bond")
            .with_hint("another binding holds it; remove that one first"));
    }
    Ok(())
}

fn make_lease(request: &AttachRequest, facts: &Facts) -> Result<Option<Lease>> {
    if request.dhcp == DhcpMode::Off {
        return Ok(None);
    }
    match Lease::from_facts(facts, &request.lease.for_pod(&request.netns))? {
        None if request.dhcp == DhcpMode::On => {
            Err(Error::new(format!("make a lease from {}", request.nic), "it has no global IPv4 address")
                .with_hint("--dhcp auto or off makes a pure wire, over which an outside DHCP server can answer"))
        }
        lease => Ok(lease.map(|lease| Lease { mac: request.guest_mac.expected(facts.nic.mac), ..lease })),
    }
}

/// Makes the lease fit the tap and the replies; what had to give way is told.
fn fit_lease(lease: &mut Lease, tap: &TapRecord) -> Result<Vec<String>> {
    let mut warnings = Vec::new();
    if tap.mtu < lease.mtu {
        warnings.push(format!("the tap's MTU {} is below {}: the guest is told {}", tap.mtu, lease.mtu, tap.mtu));
        lease.mtu = tap.mtu;
    }
    warnings.extend(Replies::new(lease)?.warnings());
    Ok(warnings)
}

async fn tap_record(request: &AttachRequest, facts: &Facts, netlink: &Netlink, netns: &Netns) -> Result<TapRecord> {
    tap::check_name(&request.tap)?;
    let Some(tap) = tap::find(netlink, &request.tap).await? else {
        return Ok(TapRecord {
            name: request.tap.clone(),
            made_as: Some(random_name()?),
            before: None,
            ifindex: None,
            mtu: request.lease.mtu.unwrap_or(facts.nic.mtu),
            multi_queue: request.queues.is_some_and(|queues| queues > 1),
        });
    };
    check_tap(request, &tap)?;
    let addresses = netlink.addresses(tap.nic.ifindex).await?;
    if addresses.iter().filter_map(Address::parse).any(|address| address.scope == Scope::Global) {
        return Err(Error::new(format!("use the tap {}", request.tap), "it has an address")
            .with_hint("a tap that a guest is behind needs none; remove it first"));
    }
    let disable_ipv6 = sysctl::read_ipv6(netns, &tap.nic.name, DISABLE_IPV6)?;
    let queued = queue::is_kernels_own(&netlink.tc(tap.nic.ifindex).await?);
    Ok(TapRecord {
        name: tap.nic.name,
        made_as: None,
        before: Some(TapBefore { up: tap.nic.up, arp: tap.nic.arp, disable_ipv6, mtu: None, queued }),
        ifindex: Some(tap.nic.ifindex),
        mtu: tap.nic.mtu,
        multi_queue: tap.multi_queue,
    })
}

/// Refuses a tap that is there and not as it was asked for: it keeps its owner, its flags and its MTU.
fn check_tap(request: &AttachRequest, tap: &TapInfo) -> Result<()> {
    let wants_mtu = request.lease.mtu.is_some_and(|mtu| mtu != tap.nic.mtu);
    let wants_queues = request.queues.is_some_and(|queues| (queues > 1) != tap.multi_queue);
    let wants_owner = request
        .tap_owner
        .is_some_and(|owner| tap.owner != Some(owner.uid) || owner.gid.is_some_and(|gid| tap.group != Some(gid)));
    let keep = "leave the option out to use the tap as it is, or delete the tap and let attach make it";
    let (why, hint) = if tap.nic.master.is_some() {
        ("it is a port of a bridge".to_owned(), "take it out of the bridge first")
    } else if wants_mtu {
        (format!("its MTU is {}", tap.nic.mtu), keep)
    } else if wants_queues {
        (format!("it is {}multi-queue", if tap.multi_queue { "" } else { "not " }), keep)
    } else if wants_owner {
        ("it has another owner".to_owned(), keep)
    } else {
        return Ok(());
    };
    Err(Error::new(format!("use the tap {}", request.tap), why).with_hint(hint))
}

/// A name that nobody else gives to a device.
pub(crate) fn random_name() -> Result<String> {
    let octets = mac::random()?.0;
    Ok(octets.iter().fold("tw".to_owned(), |name, octet| format!("{name}{octet:02x}")))
}

/// Refuses a pod NIC with programs of ours, whose binding is recorded elsewhere; gives the names of other people's.
async fn check_programs(netlink: &Netlink, netns: &Netns, nic: &Nic) -> Result<Vec<String>> {
    let tc = netlink.tc(nic.ifindex).await?;
    let filters = tc.ingress.iter().chain(&tc.egress).map(|filter| filter.name().to_owned());
    let programs: Vec<_> = filters.chain(netns.run(|| tcx::programs_on(&nic.name))?).collect();
    if let Some(ours) = programs.iter().find(|program| hook::is_ours(program)) {
        return Err(Error::new(format!("attach to {}", nic.name), format!("the program {ours} is on it already"))
            .with_hint("a tapwire with another state folder (TAPWIRE_STATE_DIR) made that binding; detach it there"));
    }
    Ok(programs)
}

fn decide_wire(
    request: &AttachRequest,
    ground: &Ground<'_>,
    pod: &Netns,
    mac_mode: MacMode,
    gateway: Option<MacAddr>,
) -> Result<Wire> {
    let nic = ground.nic;
    let (to_network, to_network_why) = request.to_network.decide(nic, ground.host_side)?;
    let (to_guest, to_guest_why) = request.to_guest.decide(ground, portal::has_check_mtu)?;
    let hook = match request.hook {
        HookChoice::Clsact => HookKind::Clsact,
        choice => {
            let has_tcx = pod.run(|| tcx::is_supported(&nic.name))?;
            match (choice, has_tcx) {
                (_, true) => HookKind::Tcx,
                (HookChoice::Tcx, false) => {
                    return Err(Error::new("attach with TCX", "this kernel has none: it came with 6.6")
                        .with_hint("--hook auto takes clsact"));
                }
                (_, false) => HookKind::Clsact,
            }
        }
    };
    let server_mac = gateway.unwrap_or(SERVER_MAC);
    Ok(Wire {
        hook,
        to_network,
        to_network_why,
        to_guest,
        to_guest_why,
        mac_mode,
        guest_mac: request.guest_mac,
        server_mac,
    })
}

/// The devices that get a clsact qdisc from us, and lose it at detach.
pub(crate) async fn without_clsact(
    netlink: &Netlink,
    nic: &Nic,
    tap: &TapRecord,
    kind: HookKind,
) -> Result<Vec<String>> {
    let mut devices = Vec::new();
    if kind != HookKind::Clsact {
        return Ok(devices);
    }
    for (name, ifindex) in [(&nic.name, Some(nic.ifindex)), (&tap.name, tap.ifindex)] {
        let qdisc = match ifindex {
            Some(ifindex) => netlink.tc(ifindex).await?.hook_qdisc,
            None => None,
        };
        match qdisc.as_deref() {
            None => devices.push(name.clone()),
            Some("clsact") => {}
            Some(other) => {
                return Err(Error::new(
                    format!("add the clsact qdisc to {name}"),
                    format!("an {other} qdisc is there"),
                )
                .with_hint(format!("tc qdisc del dev {name} {other}, if nobody needs it")));
            }
        }
    }
    Ok(devices)
}
