//! The lab: namespaces, pods, pumps, DHCP clients and virtual machines to try tapwire on.
//!
//! It knows nothing of tapwire's own code, so that it compiles before any eBPF toolchain is there: `cargo xtask demo`
//! and the integration tests both stand on it, and what it reports comes from the kernel and from other people's
//! programs, never from ours. Everything it makes lies in namespaces of its own and goes away with the value that made it.

pub mod bench;
pub mod bpf;
pub mod bridge;
pub mod clients;
pub mod cmd;
pub mod cpio;
pub mod crowd;
pub mod debs;
pub mod discover;
pub mod dnsmasq;
pub mod fingerprint;
pub mod firmware;
pub mod foreign;
pub mod gso;
pub mod guest;
pub mod initramfs;
pub mod interrupt;
pub mod kernel;
pub mod layouts;
pub mod machine;
pub mod netns;
pub mod observer;
pub mod pair;
pub mod pod;
pub mod port;
pub mod portal;
pub mod pump;
pub mod raw;
pub mod scene;
pub mod stop;
pub mod stream;
pub mod tap;
pub mod tapwire;
pub mod tftp;
pub mod vm;
pub mod wait;
pub mod watch;

pub use bridge::BridgeBinding;
pub use clients::{ClientKind, DhcpClient, LeaseSeen};
pub use discover::discover;
pub use dnsmasq::{Dnsmasq, DnsmasqConfig};
pub use firmware::{Firmware, FirmwareKind, Uefi};
pub use foreign::{Foreign, Verdict};
pub use guest::Guest;
pub use netns::Namespace;
pub use observer::Observer;
pub use pod::{Joint, Pod, PodBuilder};
pub use pump::{Offloads, Pump};
pub use raw::{RawPort, TapPort};
pub use scene::{BINDING, Scene};
pub use tapwire::Tapwire;
pub use tftp::TftpServer;
pub use vm::{Vm, VmConfig};
pub use wait::wait_for;

/// Whether this process may make namespaces at all.
pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// Ends the test, loudly, where there is no root: `cargo test` as a user must pass, and must not look as if it had tested.
#[macro_export]
macro_rules! require_root {
    () => {
        if !$crate::is_root() {
            // The runner counts these lines, so they bypass the capture of a passing test's output.
            let _ = ::std::io::Write::write_all(
                &mut ::std::io::stderr(),
                concat!("skipped: needs root: ", module_path!(), "\n").as_bytes(),
            );
            return;
        }
    };
}
