//! The VM's tap.
//!
//! rtnetlink cannot make one (the kernel refuses to add links of kind `tun`), so it is made by ioctl on `/dev/net/tun`,
//! as tun(4)'s documentation in the kernel tells (Documentation/networking/tuntap.rst). What a tap has is read by
//! netlink, and deleting it is [`Netlink::delete_link`].

use std::{fs::File, io, mem, os::fd::AsRawFd as _};

use nix::libc;
use serde::{Deserialize, Serialize};

use crate::{
    Context as _, Error, Result,
    netlink::{
        Netlink,
        raw::{Attributes, u32_of},
    },
    netns::Netns,
    nic::{Link, Nic},
    sysctl,
};

/// The calls of `linux/if_tun.h`. All are declared `_IOW('T', nr, int)`, but only the first takes a pointer.
mod ioctl {
    use nix::{libc::ifreq, request_code_write};

    nix::ioctl_write_ptr_bad!(set_iff, request_code_write!(b'T', 202, size_of::<i32>()), ifreq);
    nix::ioctl_write_int_bad!(set_persist, request_code_write!(b'T', 203, size_of::<i32>()));
    nix::ioctl_write_int_bad!(set_owner, request_code_write!(b'T', 204, size_of::<i32>()));
    nix::ioctl_write_int_bad!(set_group, request_code_write!(b'T', 206, size_of::<i32>()));
}

const IFLA_TUN_OWNER: u16 = 1;
const IFLA_TUN_GROUP: u16 = 2;
const IFLA_TUN_TYPE: u16 = 3;
const IFLA_TUN_PI: u16 = 4;
const IFLA_TUN_VNET_HDR: u16 = 5;
const IFLA_TUN_PERSIST: u16 = 6;
const IFLA_TUN_MULTI_QUEUE: u16 = 7;
const IFLA_TUN_NUM_QUEUES: u16 = 8;
/// `IFLA_TUN_TYPE` of a tap; a tun (IP, without Ethernet) is 1.
const TYPE_TAP: u8 = 2;

/// What [`create`] makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TapSpec {
    /// Its name, 1 to 15 bytes.
    pub name: String,
    /// The user that may open it besides root.
    pub owner: Option<u32>,
    /// The group that may open it.
    pub group: Option<u32>,
    /// Sets the multi-queue flag; the VM opens the queues.
    pub multi_queue: bool,
}

/// What a tap has.
#[expect(clippy::struct_excessive_bools, reason = "the kernel's flags are independent of each other")]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TapInfo {
    /// The interface.
    #[serde(flatten)]
    pub nic: Nic,
    /// The user that may open it; `None`: root alone, or whoever has `CAP_NET_ADMIN`.
    pub owner: Option<u32>,
    /// The group that may open it.
    pub group: Option<u32>,
    /// `IFF_VNET_HDR`: checksums and segmentation can be left to the other side.
    pub vnet_hdr: bool,
    /// `IFF_MULTI_QUEUE`.
    pub multi_queue: bool,
    /// Queues that are open right now; zero when no VM runs. Only known of a multi-queue tap.
    pub open_queues: Option<u32>,
    /// It stays when the VM closes it.
    pub persistent: bool,
    /// There is no packet information header of four bytes before every frame (`IFF_NO_PI`).
    pub no_pi: bool,
}

/// The tap of that name; `None` when there is no interface of that name, an error when there is another kind of one.
pub async fn find(netlink: &Netlink, name: &str) -> Result<Option<TapInfo>> {
    match netlink.link(name).await? {
        None => Ok(None),
        Some(link) => TapInfo::of(link).map(Some),
    }
}

/// Makes a persistent tap, and leaves it down and with IPv6 off: a tap that is up would at once send the guest the
/// node kernel's own multicast reports, duplicate address detection and router solicitations.
pub async fn create(netlink: &Netlink, netns: &Netns, spec: &TapSpec) -> Result<TapInfo> {
    let what = || format!("make the tap {}", spec.name);
    if let Some(found) = find(netlink, &spec.name).await? {
        return Err(Error::new(what(), format!("{} exists", found.nic.name)));
    }
    netns.run(|| make(spec))?;
    let made = async {
        sysctl::write_ipv6(netns, &spec.name, sysctl::DISABLE_IPV6, 1)?;
        find(netlink, &spec.name).await?.ok_or_else(|| Error::new(what(), "it vanished as soon as it was made"))
    };
    match made.await {
        Ok(tap) => Ok(tap),
        Err(error) => {
            // Nothing half made stays behind.
            let mut errors = vec![error];
            if let Ok(Some(nic)) = netlink.nic(&spec.name).await {
                errors.extend(netlink.delete_link(nic.ifindex).await.err());
            }
            Err(Error::join(errors).err().unwrap_or_else(|| Error::new(what(), "it failed")))
        }
    }
}

/// Refuses what no interface can be called, by the rules of `dev_valid_name()`, and what nobody should call one.
pub fn check_name(name: &str) -> Result<()> {
    // One byte of IFNAMSIZ stays for the terminating zero.
    let fits = (1..libc::IFNAMSIZ).contains(&name.len());
    if !fits
        || matches!(name, "." | "..")
        || name.contains(|c: char| matches!(c, '/' | ':' | '%') || c.is_whitespace() || c.is_control())
    {
        return Err(Error::new(format!("make the tap \"{name}\""), "no interface can have this name")
            .with_hint("1 to 15 bytes, without / : %, white space and control characters"));
    }
    Ok(())
}

/// `struct ifreq` with name and flags in it.
fn interface_request(name: &str, multi_queue: bool) -> Result<libc::ifreq> {
    // SAFETY: a C struct of integers, arrays and a union of such; all zeros is a value of it.
    let mut request: libc::ifreq = unsafe { mem::zeroed() };
    check_name(name)?;
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = libc::c_char::from_ne_bytes([from]);
    }
    // IFF_TUN_EXCL: fail if it exists, whoever was faster.
    let flags = libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR | libc::IFF_TUN_EXCL;
    let flags = flags | if multi_queue { libc::IFF_MULTI_QUEUE } else { 0 };
    // The field is a short, and IFF_TUN_EXCL its sign bit.
    request.ifr_ifru.ifru_flags = u16::try_from(flags).map_or(0, u16::cast_signed);
    Ok(request)
}

/// The system calls, on a thread in the namespace.
fn make(spec: &TapSpec) -> Result<()> {
    let what = || format!("make the tap {}", spec.name);
    let request = interface_request(&spec.name, spec.multi_queue)?;
    let file = File::options().read(true).write(true).open("/dev/net/tun").map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Error::new(what(), "/dev/net/tun does not exist")
            .with_hint("load the module tun, or give the container the device /dev/net/tun"),
        _ => Error::new(what(), format!("open /dev/net/tun: {error}")),
    })?;
    let fd = file.as_raw_fd();
    // SAFETY: the descriptor is open, and the pointer is to an initialised ifreq that outlives the call.
    unsafe { ioctl::set_iff(fd, &raw const request) }.context(|| format!("{}: TUNSETIFF", what()))?;
    if let Some(owner) = spec.owner {
        // SAFETY: the descriptor is open; the argument is a number, not a pointer.
        unsafe { ioctl::set_owner(fd, owner.cast_signed()) }.context(|| format!("{}: TUNSETOWNER", what()))?;
    }
    if let Some(group) = spec.group {
        // SAFETY: as above.
        unsafe { ioctl::set_group(fd, group.cast_signed()) }.context(|| format!("{}: TUNSETGROUP", what()))?;
    }
    // Last: until here the tap goes away by itself with the descriptor, so that a failure leaves nothing.
    // SAFETY: as above.
    unsafe { ioctl::set_persist(fd, 1) }.context(|| format!("{}: TUNSETPERSIST", what()))?;
    Ok(())
}

impl TapInfo {
    fn of(link: Link) -> Result<Self> {
        let Link { nic, data } = link;
        let find = |wanted| Attributes::new(&data).find_map(|(kind, value)| (kind == wanted).then_some(value));
        let flag = |wanted| find(wanted).is_some_and(|value| value.first().is_some_and(|byte| *byte != 0));
        let is_tap = nic.kind == "tun" && find(IFLA_TUN_TYPE) == Some(&[TYPE_TAP]);
        if !is_tap {
            let kind = if nic.kind == "tun" { "tun without Ethernet" } else { &nic.kind };
            return Err(Error::new(format!("use {} as the tap", nic.name), format!("it is a {kind}, not a tap"))
                .with_hint("name another with --tap, or delete it first"));
        }
        Ok(Self {
            owner: find(IFLA_TUN_OWNER).and_then(u32_of),
            group: find(IFLA_TUN_GROUP).and_then(u32_of),
            vnet_hdr: flag(IFLA_TUN_VNET_HDR),
            multi_queue: flag(IFLA_TUN_MULTI_QUEUE),
            open_queues: find(IFLA_TUN_NUM_QUEUES).and_then(u32_of),
            persistent: flag(IFLA_TUN_PERSIST),
            no_pi: !flag(IFLA_TUN_PI),
            nic,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::Lab;

    #[test]
    fn names_that_no_interface_can_have_are_refused() {
        for name in ["", ".", "..", "a/b", "a:b", "a b", "tap%d", "0123456789abcdef"] {
            assert!(interface_request(name, false).is_err(), "{name}");
        }
        assert!(interface_request("0123456789abcde", true).is_ok());
    }

    fn spec(multi_queue: bool) -> TapSpec {
        TapSpec { name: "tap0".to_owned(), owner: Some(107), group: Some(36), multi_queue }
    }

    #[tokio::test]
    async fn a_tap_is_made_down_and_silent_and_survives_its_maker() {
        let Some(lab) = Lab::new() else { return };
        let (pod, netlink) = (lab.pod.open(), lab.netlink());
        assert_eq!(find(&netlink, "tap0").await.unwrap(), None);
        for multi_queue in [false, true] {
            let tap = create(&netlink, &pod, &spec(multi_queue)).await.unwrap();
            assert_eq!(find(&netlink, "tap0").await.unwrap().as_ref(), Some(&tap));
            assert_eq!((tap.owner, tap.group, tap.multi_queue), (Some(107), Some(36), multi_queue));
            assert!(tap.vnet_hdr && tap.persistent && tap.no_pi && !tap.nic.up, "{tap:?}");
            assert_eq!(tap.open_queues, multi_queue.then_some(0));
            assert_eq!(sysctl::read_ipv6(&pod, "tap0", sysctl::DISABLE_IPV6).unwrap(), Some(1));
            let error = create(&netlink, &pod, &spec(multi_queue)).await.unwrap_err();
            assert!(error.to_string().contains("exists"), "{error}");
            netlink.delete_link(tap.nic.ifindex).await.unwrap();
        }
    }

    #[tokio::test]
    async fn taps_made_by_others_are_read() {
        let Some(lab) = Lab::new() else { return };
        let netlink = lab.netlink();
        lab.pod.ip("tuntap add tap0 mode tap pi");
        let tap = find(&netlink, "tap0").await.unwrap().unwrap();
        assert_eq!((tap.owner, tap.group, tap.vnet_hdr, tap.no_pi), (None, None, false, false));
    }

    #[tokio::test]
    async fn what_is_no_tap_is_refused() {
        let Some(lab) = Lab::new() else { return };
        let (pod, netlink) = (lab.pod.open(), lab.netlink());
        lab.pod.ip("tuntap add tap0 mode tun");
        lab.pod.ip("link add br0 type bridge");
        for (name, word) in [("tap0", "tun without Ethernet"), ("br0", "bridge"), ("eth0", "veth")] {
            let error = find(&netlink, name).await.unwrap_err();
            assert!(error.to_string().contains(word), "{error}");
            let spec = TapSpec { name: name.to_owned(), ..spec(false) };
            assert!(create(&netlink, &pod, &spec).await.is_err());
        }
    }
}
