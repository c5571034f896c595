//! The queue before the tap, which attach takes away.
//!
//! A tap has a ring of its own, which its reader empties; the kernel puts a root qdisc before that all the same. As tun
//! never stops its queue, nothing ever waits there, and each frame to the guest pays for a lock, a way in and a way out
//! (`sch_direct_xmit`). Without it (`noqueue`) the frame goes into the ring at once. A qdisc that somebody else chose is
//! theirs, and stays.

use nix::errno::Errno;

use crate::{
    Context as _, Result,
    journal::TapRecord,
    netlink::{
        Netlink,
        raw::NlError,
        tc::{Qdisc, Tc},
    },
};

const NOQUEUE: &str = "noqueue";

/// Whether the root qdisc is the one that the kernel chose itself. A link that was never up has none.
pub(crate) fn is_kernels_own(tc: &Tc) -> bool {
    tc.root.as_ref().is_none_or(|root| root.handle == 0)
}

/// Takes the queue away, unless it is somebody's, or there is none.
pub(crate) async fn take_away(record: &TapRecord, ifindex: u32, netlink: &Netlink) -> Result<()> {
    let tc = netlink.tc(ifindex).await?;
    let has_one = tc.root.as_ref().is_none_or(|root| root.kind != NOQUEUE);
    if !record.may_lose_queue() || !is_kernels_own(&tc) || !has_one {
        return Ok(());
    }
    match netlink.replace_root(ifindex, NOQUEUE).await {
        // A kernel that cannot do without: the guest misses nothing but a few nanoseconds.
        Err(NlError::Kernel(Errno::ENOENT | Errno::EOPNOTSUPP)) => Ok(()),
        other => other.context(|| format!("take the queue off the tap {}", record.name)),
    }
}

/// Gives the kernel's own queue back, if attach took it away and nobody has put another in its place.
pub(crate) async fn give_back(record: &TapRecord, ifindex: u32, netlink: &Netlink) -> Result<()> {
    let ours = |root: &Qdisc| root.kind == NOQUEUE && root.handle != 0;
    if !record.may_lose_queue() || !netlink.tc(ifindex).await?.root.as_ref().is_some_and(ours) {
        return Ok(());
    }
    match netlink.delete_root(ifindex).await {
        Err(NlError::Kernel(Errno::EINVAL | Errno::ENOENT | Errno::ENODEV)) => Ok(()),
        other => other.context(|| format!("give the tap {} its queue back", record.name)),
    }
}
