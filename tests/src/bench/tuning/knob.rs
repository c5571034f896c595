//! What may be turned on a path of tapwire, beside what it does by itself.

use std::{
    os::fd::{AsFd as _, AsRawFd as _},
    thread,
};

use anyhow::{Context as _, Result};
use nix::libc::c_int;

use crate::{
    bench::path::{Joined, TAP, tapwire},
    bpf::{EXIT, Program, set},
    netns::Namespace,
    tap::{Offloads, TapFile},
};

mod ioctl {
    use super::c_int;

    // linux/if_tun.h: TUNSETSTEERINGEBPF.
    nix::ioctl_write_ptr_bad!(set_steering, nix::request_code_read!(b'T', 224, size_of::<c_int>()), c_int);
}

/// One trial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Knob {
    /// As tapwire leaves it.
    Default,
    /// No qdisc on the tap.
    Noqueue,
    /// A ring of the tap with 128 places.
    ShortRing,
    /// A ring of the tap with 4096 places.
    LongRing,
    /// Received packet steering over all CPUs, on the pod NIC and on its host side.
    Rps,
    /// Generic receive offload on the pod NIC and on its host side.
    Gro,
    /// A tap with two queues, which the kernel chooses from by the flow.
    TwoQueues,
    /// The same, with a program that always chooses the first.
    Steering,
}

/// What must be held for a trial to last.
pub(super) type Held = Option<TapFile>;

impl Knob {
    pub(super) const ALL: [Self; 8] = [
        Self::Default,
        Self::Noqueue,
        Self::ShortRing,
        Self::LongRing,
        Self::Rps,
        Self::Gro,
        Self::TwoQueues,
        Self::Steering,
    ];

    /// Under which its samples stand.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Default => super::DEFAULT,
            Self::Noqueue => "noqueue on the tap",
            Self::ShortRing => "ring of 128",
            Self::LongRing => "ring of 4096",
            Self::Rps => "RPS on all CPUs",
            Self::Gro => "GRO on the pod NIC",
            Self::TwoQueues => "two queues",
            Self::Steering => "two queues, steered",
        }
    }

    /// Whether a guest with one queue would see all its frames.
    pub(super) fn has_one_queue(self) -> bool {
        !matches!(self, Self::TwoQueues | Self::Steering)
    }

    /// Makes the path with its knob turned, all but for what needs the tap to be open.
    pub(super) fn join(self, label: &str) -> Result<Joined> {
        let options: &[&str] = if self.has_one_queue() { &[] } else { &["--queues", "2"] };
        let joined = tapwire::with_options(label, options)?;
        self.turn(&joined).with_context(|| self.name().to_owned())?;
        Ok(joined)
    }

    fn turn(self, joined: &Joined) -> Result<()> {
        let tap = |line: &str| {
            let words: Vec<&str> = line.split(' ').collect();
            joined.tap_namespace().exec(&words).map(drop)
        };
        let ends = || {
            let pod = joined.pod().context("a path without a pod")?;
            anyhow::Ok([(&pod.namespace, &pod.nic), (&pod.node, &pod.host_side)])
        };
        match self {
            Self::Default | Self::TwoQueues | Self::Steering => Ok(()),
            Self::Noqueue => tap(&format!("tc qdisc replace dev {TAP} root noqueue")),
            Self::ShortRing => tap(&format!("ip link set {TAP} txqueuelen 128")),
            Self::LongRing => tap(&format!("ip link set {TAP} txqueuelen 4096")),
            Self::Rps => ends()?.into_iter().try_for_each(|(namespace, link)| rps(namespace, link)),
            Self::Gro => ends()?
                .into_iter()
                .try_for_each(|(namespace, link)| namespace.exec(&["ethtool", "-K", link, "gro", "on"]).map(drop)),
        }
    }

    /// What is done once somebody has opened the first queue.
    pub(super) fn opened(self, joined: &Joined) -> Result<Held> {
        if self.has_one_queue() {
            return Ok(None);
        }
        let second = TapFile::open(joined.tap_namespace(), TAP, Offloads::Virtio)?;
        if self == Self::Steering {
            let first = Program::load_filter("lab_steer", &[set(0, 0), EXIT])?;
            let program = first.as_fd().as_raw_fd();
            // SAFETY: the descriptor is open and the pointer is to a live int.
            unsafe { ioctl::set_steering(second.as_fd().as_raw_fd(), &raw const program) }.context("steering")?;
        }
        Ok(Some(second))
    }
}

/// The files of a namespace's links are in a sysfs that was mounted in it.
fn rps(namespace: &Namespace, link: &str) -> Result<()> {
    // The kernel takes no bit of a CPU that it cannot have, and wants commas between words of 32.
    let cpus = thread::available_parallelism()?.get().min(32);
    let mask = u32::MAX >> (32 - cpus);
    let line = format!("mount -t sysfs none /sys && echo {mask:x} >/sys/class/net/{link}/queues/rx-0/rps_cpus");
    namespace.exec(&["unshare", "--mount", "sh", "-c", &line]).map(drop)
}
