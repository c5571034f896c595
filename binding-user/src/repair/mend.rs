//! What shall be, from what is: the record of a binding with its faults worked in, and what there is to do for it.
//! Nothing is changed here.

use crate::{
    datapath::HookKind,
    error::{Error, Result},
    facts::{Address, Scope},
    inspect::{Fault, Scene, Which, is_anything_in_place},
    journal::{Journal, TapBefore, TapRecord},
    lease::Lease,
    nic::Nic,
    plan::random_name,
    portal::ToGuest,
    queue,
    sysctl::{self, DISABLE_IPV6},
    tap,
    wire::ToNetwork,
};

/// What there is to do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Work {
    /// Load programs and give them to all hooks.
    pub(super) programs: bool,
    /// Make the devices silent and set them up.
    pub(super) devices: bool,
    /// Make the portal silent, and set it up.
    pub(super) portal: bool,
    /// Devices of which a clsact qdisc is no more ours, because they are others.
    pub(super) new_devices: Vec<String>,
}

impl Work {
    pub(super) fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

/// A repair that is being planned.
pub(super) struct Mend<'a> {
    pub(super) scene: &'a Scene<'a>,
    /// The record as it shall be.
    pub(super) new: Journal,
    /// What will have been done, a line each.
    pub(super) done: Vec<String>,
    /// What cannot be put right.
    pub(super) failed: Vec<Error>,
    pub(super) work: Work,
}

impl<'a> Mend<'a> {
    pub(super) fn new(scene: &'a Scene<'a>) -> Self {
        let new = scene.journal.clone();
        Self { scene, new, done: Vec::new(), failed: Vec::new(), work: Work::default() }
    }

    /// Works in every fault. An error is one that leaves nothing to do for the others.
    pub(super) async fn plan(&mut self, faults: &[Fault]) -> Result<()> {
        // Without a cookie (before 5.14) a new namespace may pass for one that is gone: it got the same inode number.
        if self.new.netns.cookie.is_none() && !is_anything_in_place(&self.new, faults) {
            let why =
                "nothing of it is in its namespace, which this kernel cannot tell from a later one of that number";
            return Err(Error::new(format!("repair {}", self.new.name), why)
                .with_hint(format!("tapwire detach {}, then attach", self.new.name)));
        }
        // First what others follow: a new NIC gives a new record.
        for fault in faults {
            if let Fault::Replaced(Which::Nic, nic) = fault {
                self.adopt_nic(nic).await?;
            }
        }
        for fault in faults {
            self.work_in(fault).await?;
        }
        Ok(())
    }

    async fn work_in(&mut self, fault: &Fault) -> Result<()> {
        match fault {
            // The first is done, the second was said when the record was read.
            Fault::Replaced(Which::Nic, _) | Fault::NoFile => {}
            Fault::Gone(Which::Nic, _) => self.cannot(fault, "the CNI makes it; then: tapwire repair NAME, or detach"),
            Fault::Renamed(which, name, now) => {
                let hint =
                    format!("give the {which} its name back: ip link set {now} name {name}; or detach, then attach");
                self.cannot(fault, &hint);
            }
            Fault::Gone(Which::Tap, name) if self.new.tap.before.is_none() => self.make_tap(name)?,
            Fault::Gone(Which::Tap, _) => {
                self.cannot(fault, "attach had not made it: start the VM that makes it, then: tapwire repair NAME");
            }
            Fault::Replaced(Which::Tap, nic) => self.adopt_tap(nic).await?,
            Fault::Down(which, name) => self.device(format!("set the {which} {name} up again")),
            Fault::Noise(which, name, what) => self.device(format!("the {which} {name} {what}: put right")),
            Fault::Mtu(Which::Nic, nic, was) => self.follow_mtu(nic, *was),
            Fault::Mtu(Which::Tap, nic, was) => self.tap_mtu(nic, *was),
            Fault::Missing(hook) => self.programs(format!("put {} on {} again", hook.program, hook.device)),
            Fault::Behind(hook, foreign) if foreign.priority.is_none() && self.new.wire.hook == HookKind::Tcx => {
                self.programs(format!(
                    "put {} before the {foreign} on {}, which is still there and sees none of the frames that ours ends",
                    hook.program, hook.device
                ));
            }
            Fault::Behind(_, foreign) if foreign.priority.is_none() => self.cannot(
                fault,
                "it is somebody's, and TCX programs come before all filters: have them take it off; or detach, then attach \
                 with --hook tcx",
            ),
            Fault::Behind(hook, ..) => {
                let hint = format!(
                    "it is somebody's, and where it stands is their choice: have them delete it, or add it with a \
                     priority above 50000 as a filter on {}",
                    hook.device
                );
                self.cannot(fault, &hint);
            }
            // What becomes of what they held is said when it is known.
            Fault::Unpinned(_) => self.work.programs = true,
            Fault::PortalGone(what) => {
                self.remake_portal();
                self.programs(format!("{what}: made it anew"));
            }
            Fault::PortalNoise(what) => {
                self.work.portal = true;
                self.done.push(format!("{what}: put right"));
            }
            Fault::Withdraw(why) if self.new.request.to_guest == ToGuest::Auto => {
                self.withdraw(why);
                self.done.push(format!("frames to the guest go by redirect, not through a portal: {why}"));
            }
            Fault::Withdraw(_) => self.cannot(fault, "--to-guest portal was asked for: detach, then attach without it"),
            Fault::NodeUnseen(error) => self.failed.push(error.clone()),
            Fault::HostSide(why) => {
                self.new.wire.to_network = ToNetwork::Redirect;
                self.new.wire.to_network_why.clone_from(why);
                self.programs(format!("frames to the network go by redirect, not by peer: {why}"));
            }
        }
        Ok(())
    }

    /// Frames are to go by redirect; the portal goes as soon as no program sends to it.
    pub(super) fn withdraw(&mut self, why: &str) {
        self.new.without_portal(why);
        if let Some(portal) = &mut self.new.portal {
            portal.leaving = true;
        }
        self.work.portal = true;
    }

    /// The portal went with the tap, or by hand.
    fn remake_portal(&mut self) {
        if let Some(portal) = self.new.portal.as_mut().filter(|portal| !portal.leaving) {
            portal.ifindex = None;
            self.work.portal = true;
        }
    }

    pub(super) fn cannot(&mut self, fault: &Fault, hint: &str) {
        let name = &self.new.name;
        self.failed.push(Error::new(format!("repair {name}"), fault).with_hint(hint.replace("NAME", name)));
    }

    pub(super) fn programs(&mut self, said: String) {
        self.work.programs = true;
        self.done.push(said);
    }

    fn device(&mut self, said: String) {
        self.work.devices = true;
        self.done.push(said);
    }

    /// The tap that attach had made is gone.
    fn make_tap(&mut self, name: &str) -> Result<()> {
        self.new.tap.made_as = Some(random_name()?);
        self.new.tap.ifindex = None;
        self.new_device(name);
        self.remake_portal();
        self.programs(format!("made the tap {name} anew; a VM that had it open must open it again"));
        Ok(())
    }

    /// Somebody made a tap of the same name: it is theirs, and detach will leave it.
    async fn adopt_tap(&mut self, nic: &Nic) -> Result<()> {
        let what = || format!("repair {}: use the new tap {}", self.new.name, nic.name);
        let netlink = &self.scene.netlink;
        let tap = match tap::find(netlink, &nic.name).await {
            Ok(Some(tap)) => tap,
            Ok(None) => return Ok(()),
            Err(error) => {
                self.failed.push(error);
                return Ok(());
            }
        };
        let addresses = netlink.addresses(nic.ifindex).await?;
        let has_address = addresses.iter().filter_map(Address::parse).any(|address| address.scope == Scope::Global);
        let refusal = match tap.nic.master {
            Some(_) => Some(("it is a port of a bridge", "take it out of the bridge first")),
            None if has_address => Some(("it has an address", "remove it: a tap that a guest is behind needs none")),
            None => None,
        };
        if let Some((why, hint)) = refusal {
            let refused = Error::new(what(), why).with_hint(hint);
            self.failed.push(refused);
            return Ok(());
        }
        let was = self.new.tap.mtu;
        let before = TapBefore {
            up: tap.nic.up,
            arp: tap.nic.arp,
            disable_ipv6: sysctl::read_ipv6(self.scene.netns, &nic.name, DISABLE_IPV6)?,
            mtu: (tap.nic.mtu != was).then_some(tap.nic.mtu),
            queued: queue::is_kernels_own(&netlink.tc(nic.ifindex).await?),
        };
        self.new.tap = TapRecord {
            name: nic.name.clone(),
            made_as: None,
            before: Some(before),
            ifindex: Some(nic.ifindex),
            mtu: was,
            multi_queue: tap.multi_queue,
        };
        self.new_device(&nic.name);
        self.remake_portal();
        let mtu = before.mtu.map_or(String::new(), |mtu| format!(", its MTU {mtu} set to {was}"));
        self.work.devices = true;
        self.programs(format!("took the new tap {} (index {}){mtu}; detach will leave it", nic.name, nic.ifindex));
        Ok(())
    }

    pub(super) fn new_device(&mut self, name: &str) {
        self.work.new_devices.push(name.to_owned());
    }

    /// The network carries more or less now: so do the programs, a tap of ours, and what the guest is told.
    fn follow_mtu(&mut self, nic: &Nic, was: u32) {
        self.new.nic.mtu = nic.mtu;
        self.programs(format!("the MTU of {} is {}, was {was}: the programs follow", nic.name, nic.mtu));
        let before = self.new.tap.mtu;
        self.new.tap.mtu = self.tap_mtu_with(nic.mtu);
        self.work.portal = self.new.portal.is_some();
        if self.new.tap.mtu != before {
            self.device(format!("gave the tap {} the MTU {}", self.new.tap.name, nic.mtu));
        }
        self.tell_mtu(was.min(before), nic.mtu.min(self.new.tap.mtu));
    }

    /// The MTU that the tap has beside a pod NIC of this one: a tap that attach made has the same, unless the operator
    /// chose another.
    pub(super) fn tap_mtu_with(&self, nic: u32) -> u32 {
        let Journal { tap, request, .. } = &self.new;
        if tap.before.is_none() && request.lease.mtu.is_none() { nic } else { tap.mtu }
    }

    /// The tap's MTU was changed: one that attach made gets its own back, another's is followed.
    fn tap_mtu(&mut self, nic: &Nic, was: u32) {
        if self.new.tap.before.is_none() {
            let mtu = self.new.tap.mtu;
            self.work.portal = self.new.portal.is_some();
            return self.device(format!("the MTU of the tap {} was {}: set it to {mtu}", nic.name, nic.mtu));
        }
        self.new.tap.mtu = nic.mtu;
        self.work.portal = self.new.portal.is_some();
        self.programs(format!("the MTU of the tap {} is {}, was {was}: the programs follow", nic.name, nic.mtu));
        let network = self.new.nic.mtu;
        self.tell_mtu(network.min(was), network.min(nic.mtu));
    }

    /// The way to the guest carried one MTU, and carries another one.
    fn tell_mtu(&mut self, carried: u32, carries: u32) {
        let fixed = self.new.change.options.mtu.or(self.new.request.lease.mtu);
        let Some(lease) = &mut self.new.lease else { return };
        self.done.extend(match fixed {
            None => lease.follow_mtu(carried, carries),
            Some(fixed) => (fixed > carries).then(|| {
                format!(
                    "the guest is still told the MTU {fixed}, which was asked for; frames over {carries} are lost: \
                     tapwire lease set {} --mtu {carries}",
                    self.new.name
                )
            }),
        });
    }
}

impl Lease {
    /// Tells the guest another MTU: what the way to it carries now, where it was told all that it carried, and never more
    /// than that. Gives what is said of it.
    fn follow_mtu(&mut self, carried: u32, carries: u32) -> Option<String> {
        let old = self.mtu;
        self.mtu = if old == carried { carries } else { old.min(carries) };
        (self.mtu != old).then(|| {
            format!("the guest is told the MTU {}, was told {old}, from the next lease or renewal on", self.mtu)
        })
    }
}
