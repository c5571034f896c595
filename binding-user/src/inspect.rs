//! Finds what is not as the record of a binding says.
//!
//! One list of faults serves two: `list` and `show` tell it, `repair` works it off. What is amiss only because something
//! else is (a program is not on a device that is gone) is not told beside it.

use std::fmt;

use crate::{
    binding::Environment,
    datapath::{Foreign, Hook, Pins, Place},
    error::{Error, Result},
    journal::Journal,
    netlink::{Netlink, tc::Tc},
    netns::Netns,
    nic::Nic,
    portal::Node,
    sysctl::{self, DISABLE_IPV6},
    wire::{MacMode, ToNetwork, skipped},
};

/// Which of the two devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// The pod NIC.
    Nic,
    /// The tap.
    Tap,
}

impl fmt::Display for Which {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nic => "pod NIC",
            Self::Tap => "tap",
        })
    }
}

/// Something that is not as the record says.
#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    /// A device is gone, and no other has its name.
    Gone(Which, String),
    /// A device is there under another name.
    Renamed(Which, String, String),
    /// Another device has the name.
    Replaced(Which, Box<Nic>),
    /// A device is down.
    Down(Which, String),
    /// A device has another MTU than the record says.
    Mtu(Which, Box<Nic>, u32),
    /// A device would speak by itself, or has a MAC that it should not have; in words.
    Noise(Which, String, String),
    /// A program of ours is not on its hook.
    Missing(Hook),
    /// A program of somebody else comes before ours.
    Behind(Hook, Foreign),
    /// These maps have no pin.
    Unpinned(Vec<&'static str>),
    /// The host side has got what frames by peer would skip; in words.
    HostSide(String),
    /// The portal is gone, or another device; in words.
    PortalGone(String),
    /// The portal is not as it should be; in words.
    PortalNoise(String),
    /// There can be no portal any more, or it would pass over what has come; in words.
    Withdraw(String),
    /// The node's namespace, where the portal is, cannot be seen.
    NodeUnseen(Error),
    /// The journal's file is gone, and its copy is there.
    NoFile,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gone(which, name) => write!(f, "the {which} {name} is gone"),
            Self::Renamed(which, name, now) => write!(f, "the {which} {name} is called {now}"),
            Self::Replaced(which, nic) => {
                write!(f, "the {which} {} is another device than the one that was attached", nic.name)
            }
            Self::Down(which, name) => write!(f, "the {which} {name} is down"),
            Self::Mtu(which, nic, was) => write!(f, "the MTU of the {which} {} is {}, was {was}", nic.name, nic.mtu),
            Self::Noise(which, name, what) => write!(f, "the {which} {name} {what}"),
            Self::Missing(hook) => write!(f, "the program {} is not attached to {}", hook.program, hook.device),
            Self::Behind(hook, foreign) => write!(f, "the {foreign} comes before ours on {}", hook.device),
            Self::Unpinned(maps) => write!(f, "the pins of the maps {} are gone", maps.join(" and ")),
            Self::HostSide(why) => write!(f, "frames go by peer, but {why}"),
            Self::PortalGone(what) | Self::PortalNoise(what) => f.write_str(what),
            Self::Withdraw(why) => write!(f, "frames to the guest go through a portal, but {why}"),
            Self::NodeUnseen(error) => write!(f, "{error}"),
            Self::NoFile => f.write_str("the journal is gone, but for its copy beside the pins"),
        }
    }
}

impl Fault {
    /// Whether a device is not where the record has it.
    fn is_absence_of(&self, which: Which) -> bool {
        match self {
            Self::Gone(whose, _) | Self::Renamed(whose, ..) | Self::Replaced(whose, _) => *whose == which,
            _ => false,
        }
    }
}

/// Whether some program of a binding is in its place.
pub(crate) fn is_anything_in_place(journal: &Journal, faults: &[Fault]) -> bool {
    let there = |which, device: &str| {
        let is_missing = |hook: &&Hook| faults.contains(&Fault::Missing((*hook).clone()));
        !faults.iter().any(|fault| fault.is_absence_of(which))
            && journal.hooks.iter().filter(|hook| hook.is_device_of_pod(device)).any(|hook| !is_missing(&hook))
    };
    there(Which::Nic, &journal.nic.name) || there(Which::Tap, &journal.tap.name)
}

/// All faults as one line.
pub fn in_words(faults: &[Fault]) -> String {
    faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// A binding in its namespace, to be looked at.
#[derive(Debug)]
pub struct Scene<'a> {
    pub(crate) environment: &'a Environment,
    pub(crate) journal: &'a Journal,
    pub(crate) netns: &'a Netns,
    pub(crate) netlink: Netlink,
    pub(crate) pins: Pins,
}

impl<'a> Scene<'a> {
    /// The binding of a journal, whose namespace was found.
    pub fn new(environment: &'a Environment, journal: &'a Journal, netns: &'a Netns) -> Result<Self> {
        let pins = Pins::of(&environment.bpffs, &journal.name);
        Ok(Self { environment, journal, netns, netlink: Netlink::open(netns)?, pins })
    }

    /// Everything that is not as the record says.
    pub async fn faults(&self) -> Result<Vec<Fault>> {
        let Journal { nic, tap, .. } = self.journal;
        let mut faults = Vec::new();
        if !self.environment.store.has_file(&self.journal.name) {
            faults.push(Fault::NoFile);
        }
        let found_nic = self.device(Which::Nic, &nic.name, Some(nic.ifindex), &mut faults).await?;
        let found_tap = self.device(Which::Tap, &tap.name, tap.ifindex, &mut faults).await?;
        if let Some(found) = &found_nic {
            self.look_at_nic(found, &mut faults).await?;
        }
        if let Some(found) = &found_tap {
            self.look_at_tap(found, &mut faults)?;
        }
        for found in [&found_nic, &found_tap].into_iter().flatten() {
            self.look_at_hooks(found, &mut faults).await?;
        }
        if let Some(found) = &found_nic {
            self.look_beyond(found, found_tap.as_ref(), &mut faults).await?;
        }
        let unpinned = self.pins.missing(&self.journal.maps);
        if !unpinned.is_empty() {
            faults.push(Fault::Unpinned(unpinned));
        }
        Ok(faults)
    }

    /// The device of the record, if it is there under its name.
    async fn device(
        &self,
        which: Which,
        name: &str,
        ifindex: Option<u32>,
        faults: &mut Vec<Fault>,
    ) -> Result<Option<Nic>> {
        let named = self.netlink.nic(name).await?;
        if let Some(nic) = named.as_ref().filter(|nic| Some(nic.ifindex) == ifindex) {
            if !nic.up {
                faults.push(Fault::Down(which, name.to_owned()));
            }
            return Ok(named);
        }
        let numbered = match ifindex {
            Some(ifindex) => self.netlink.nic_by_index(ifindex).await?,
            None => None,
        };
        faults.push(match (numbered, named) {
            (Some(numbered), _) => Fault::Renamed(which, name.to_owned(), numbered.name),
            (None, Some(named)) => Fault::Replaced(which, Box::new(named)),
            (None, None) => Fault::Gone(which, name.to_owned()),
        });
        Ok(None)
    }

    async fn look_at_nic(&self, found: &Nic, faults: &mut Vec<Fault>) -> Result<()> {
        let Journal { nic, snapshot, wire, .. } = self.journal;
        let noise = |what| Fault::Noise(Which::Nic, nic.name.clone(), what);
        match snapshot {
            Some(snapshot) => {
                faults.extend(snapshot.noise(&self.netlink, self.netns, found).await?.into_iter().map(noise));
            }
            None if wire.mac_mode == MacMode::Keep && found.mac != nic.mac => {
                faults.push(noise(format!("has the MAC {}, had {}", found.mac, nic.mac)));
            }
            None => {}
        }
        if found.mtu != nic.mtu {
            faults.push(Fault::Mtu(Which::Nic, Box::new(found.clone()), nic.mtu));
        }
        Ok(())
    }

    /// Looks at the host side and the portal. Without the tap there can be none, and nothing is said of it.
    async fn look_beyond(&self, found: &Nic, tap: Option<&Nic>, faults: &mut Vec<Fault>) -> Result<()> {
        let Journal { wire, request, portal, .. } = self.journal;
        let by_peer = wire.to_network == ToNetwork::Peer && request.to_network == ToNetwork::Auto;
        if !by_peer && portal.is_none() {
            return Ok(());
        }
        match self.host_side(found).await? {
            Some(host_side) => {
                faults.extend(skipped(&host_side).filter(|_| by_peer).map(Fault::HostSide));
                if let Some(tap) = tap {
                    self.look_at_portal([found, tap], &host_side, faults).await?;
                }
            }
            // For the words of it.
            None => faults.extend(Node::of(self.environment, self.journal).err().map(Fault::NodeUnseen)),
        }
        Ok(())
    }

    fn look_at_tap(&self, found: &Nic, faults: &mut Vec<Fault>) -> Result<()> {
        let noise = |what: &str| Fault::Noise(Which::Tap, found.name.clone(), what.to_owned());
        if found.arp {
            faults.push(noise("does ARP"));
        }
        if sysctl::read_ipv6(self.netns, &found.name, DISABLE_IPV6)?.is_some_and(|value| value != 1) {
            faults.push(noise("has IPv6 on"));
        }
        if found.mtu != self.journal.tap.mtu {
            faults.push(Fault::Mtu(Which::Tap, Box::new(found.clone()), self.journal.tap.mtu));
        }
        Ok(())
    }

    async fn look_at_hooks(&self, device: &Nic, faults: &mut Vec<Fault>) -> Result<()> {
        let tc = self.netlink.tc(device.ifindex).await?;
        for hook in self.journal.hooks.iter().filter(|hook| hook.is_device_of_pod(&device.name)) {
            let Some(place) = self.find(hook, &tc)? else {
                faults.push(Fault::Missing(hook.clone()));
                continue;
            };
            let unknown = place.before.into_iter().find(|foreign| !self.journal.foreign.contains(&foreign.name));
            faults.extend(unknown.map(|foreign| Fault::Behind(hook.clone(), foreign)));
        }
        Ok(())
    }

    /// A program of ours on its hook.
    pub(crate) fn find(&self, hook: &Hook, tc: &Tc) -> Result<Option<Place>> {
        self.netns.run(|| hook.find(self.journal.wire.hook, &self.pins, tc))
    }
}
