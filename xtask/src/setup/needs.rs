//! The table of what tapwire's chores need, and how to see that it is there.
//!
//! A probe looks for the thing itself, not for a package: what was installed in another way is as good.

use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
    process::Command,
};

use super::{CYCLONEDX, DENY, LLVM, apt};

/// The same answer that `build.rs` will find.
#[path = "../../../binding-user/build/toolchain.rs"]
mod toolchain;

/// Where tapwire pins its programs.
pub(super) const BPFFS: &str = "/sys/fs/bpf";
const PINNED_LINKER: &str = "0.10.3";
const BPF_TARGET: &str = if cfg!(target_endian = "big") { "bpfeb-unknown-none" } else { "bpfel-unknown-none" };

/// Of the libraries that `NetworkManager` is linked with, those that a small system may lack.
const NETWORK_MANAGER_LIBRARIES: [&str; 3] = ["libndp.so.0", "libcurl-gnutls.so.4", "libgio-2.0.so.0"];

/// One thing that must be there.
pub(super) struct Need {
    pub(super) name: &'static str,
    pub(super) why: &'static str,
    probe: Probe,
    pub(super) remedy: Remedy,
}

impl Need {
    pub(super) fn is_met(&self, found: &Found) -> bool {
        match self.probe {
            Probe::Program => program(self.name),
            Probe::Ask(probe) => probe(found),
        }
    }
}

enum Probe {
    /// The need bears the name of a program.
    Program,
    Ask(fn(&Found) -> bool),
}

/// What brings a thing that is missing.
#[derive(Clone, Copy)]
pub(super) enum Remedy {
    /// Packages of Debian.
    Apt(&'static [&'static str]),
    /// apt's own lists.
    AptLists,
    /// The pinned bpf-linker, built by cargo.
    Linker,
    /// A tool of this name and version, built by cargo.
    Cargo(&'static str),
    /// Debian's rustc under the name tapwire-bpf.
    Link,
    /// The file system of pinned programs.
    MountBpffs,
}

impl Remedy {
    /// What set-up will do.
    pub(super) fn shown(self) -> String {
        match self {
            Self::Apt(packages) => format!("apt-get install {}", packages.join(" ")),
            Self::AptLists => "apt-get update".to_owned(),
            Self::Linker => format!("cargo install {}", super::LINKER),
            Self::Cargo(tool) => format!("cargo install --locked {tool}"),
            Self::Link => "rustup toolchain link tapwire-bpf /usr".to_owned(),
            Self::MountBpffs => format!("mount -t bpf bpf {BPFFS}"),
        }
    }

    /// What a person can do when set-up could not.
    pub(super) fn by_hand(self) -> String {
        match self {
            Self::Apt(packages) if packages.contains(&"rustc-web") => {
                "rustup toolchain install nightly --component rust-src, and a bpf-linker for its LLVM".to_owned()
            }
            other => other.shown(),
        }
    }

    pub(super) fn needs_root(self) -> bool {
        match self {
            Self::Apt(_) | Self::AptLists | Self::MountBpffs => true,
            Self::Linker | Self::Cargo(_) | Self::Link => false,
        }
    }
}

/// What several probes ask for and takes a moment to find out.
pub(super) struct Found {
    linker: Option<PathBuf>,
    /// A compiler for the programs is ready to use, whichever it is.
    compiler: bool,
    /// It is a nightly that builds `core`, or one that the user named; then nothing of Debian's is needed for it.
    own_compiler: bool,
}

impl Found {
    pub(super) fn look() -> Self {
        let linker = toolchain::which("bpf-linker");
        // Without a linker, ask for the version that would be installed.
        let asked = linker.clone().unwrap_or_default();
        let compiler = toolchain::choose(BPF_TARGET, &asked).ok();
        let own = |compiler: &toolchain::Compiler| compiler.builds_core || compiler.toolchain != toolchain::LINKED;
        Self { own_compiler: compiler.as_ref().is_some_and(own), compiler: compiler.is_some(), linker }
    }

    fn has_linker(&self) -> bool {
        self.linker.as_deref().is_some_and(|linker| {
            // For their own compiler the user may have had to take another version.
            self.own_compiler || toolchain::linker_version(linker).as_deref() == Some(PINNED_LINKER)
        })
    }

    /// Debian's rustc with the ready-built `core`, linked or not.
    fn has_debian_rustc(&self) -> bool {
        let core = Path::new("/usr/lib/rustlib").join(BPF_TARGET).join("lib");
        self.compiler
            || (Path::new("/usr/bin/rustc").is_file() && Path::new("/usr/bin/cargo").is_file() && core.is_dir())
    }
}

/// Everything, in the order in which it builds on one another.
pub(super) const NEEDS: &[Need] = &[
    tool("cc", "links Rust programs", &["gcc", "libc6-dev"]),
    tool("c++", "links bpf-linker with LLVM, and builds libFuzzer", &["g++"]),
    need(
        "rustc for BPF",
        "compiles the eBPF programs; a nightly with rust-src does as well",
        Found::has_debian_rustc,
        Remedy::Apt(&["rustc-web", "cargo-web", "libstd-rust-web-dev-bpf"]),
    ),
    need("toolchain tapwire-bpf", "lets aya-build find that rustc", |found| found.compiler, Remedy::Link),
    need(
        "LLVM 22",
        "bpf-linker is built against it",
        |found| found.has_linker() || has_llvm(),
        Remedy::Apt(&["llvm-22-dev", "libpolly-22-dev", "libzstd-dev", "zlib1g-dev"]),
    ),
    need("bpf-linker", "links the eBPF programs", Found::has_linker, Remedy::Linker),
    need("cargo-deny", "judges the dependencies", |_| has_tool(DENY), Remedy::Cargo(DENY)),
    need("cargo-cyclonedx", "lists the dependencies", |_| has_tool(CYCLONEDX), Remedy::Cargo(CYCLONEDX)),
    need("bpffs", "keeps the programs loaded when tapwire has ended", |_| has_bpffs(), Remedy::MountBpffs),
    need(
        "apt lists",
        "kernels of guests, and NetworkManager, are downloaded with apt",
        |_| apt::has_lists(),
        Remedy::AptLists,
    ),
    tool("qemu-system-x86_64", "runs the VMs", &["qemu-system-x86"]),
    need("iPXE for QEMU's NICs", "lets VMs boot from the network", |_| has_boot_roms(), Remedy::Apt(&["ipxe-qemu"])),
    need(
        "static busybox",
        "is all that the VMs of demo and tests run",
        |_| has_static_busybox(),
        Remedy::Apt(&["busybox-static"]),
    ),
    tool("xz", "unpacks modules of newer kernels", &["xz-utils"]),
    tool("zstd", "unpacks modules of newer kernels", &["zstd"]),
    tool("strip", "makes programs small enough for an initramfs", &["binutils"]),
    tool("ip", "makes the namespaces of the lab", &["iproute2"]),
    tool("iperf3", "sends traffic", &["iperf3"]),
    tool("nft", "is NAT of a path to compare with", &["nftables"]),
    tool("passt", "is a path to compare with", &["passt"]),
    tool("ethtool", "switches offloads in tests", &["ethtool"]),
    tool("nft", "sets up a node's packet filter in tests", &["nftables"]),
    tool("tcpdump", "lets tests see what is on the wire", &["tcpdump"]),
    tool("strace", "lets tests stop tapwire half way", &["strace"]),
    tool("dhclient", "a DHCP client to test against", &["isc-dhcp-client"]),
    tool("udhcpc", "a DHCP client to test against", &["udhcpc"]),
    tool("dhcpcd", "a DHCP client to test against", &["dhcpcd-base"]),
    tool("perfdhcp", "a DHCP client under load to test with", &["kea-admin"]),
    need(
        "systemd-networkd",
        "a DHCP client to test against",
        |_| Path::new("/lib/systemd/systemd-networkd").is_file(),
        Remedy::Apt(&["systemd"]),
    ),
    need(
        "klibc's ipconfig",
        "a DHCP client to test against",
        |_| Path::new("/usr/lib/klibc/bin/ipconfig").is_file(),
        Remedy::Apt(&["klibc-utils"]),
    ),
    tool("dbus-daemon", "is the bus of those clients that are services", &["dbus-daemon"]),
    // Itself it is only unpacked: installed, it would begin to manage the machine's NICs.
    need(
        "NetworkManager's needs",
        "libraries of a DHCP client to test against",
        |_| NETWORK_MANAGER_LIBRARIES.iter().all(|name| library(name)),
        Remedy::Apt(&["libndp0", "libcurl3-gnutls", "libglib2.0-0"]),
    ),
    tool("dnsmasq", "a DHCP server to test and compare with", &["dnsmasq-base"]),
    tool("arpspoof", "attacks of the guest to test against: ARP spoof, MAC flood", &["dsniff"]),
    tool("arping", "attacks of the guest to test against: gratuitous ARP", &["arping"]),
    tool("hping3", "attacks of the guest to test against: forged IPv4", &["hping3"]),
    tool("nmap", "attacks of the guest to test against: IGMP and MLD queries", &["nmap"]),
    tool("yersinia", "attacks of the guest to test against: DHCP starvation, spanning tree, tags", &["yersinia"]),
    tool("atk6-fake_router26", "attacks of the guest to test against: IPv6", &["thc-ipv6"]),
    tool("na6", "attacks of the guest to test against: IPv6", &["ipv6toolkit"]),
];

const fn need(name: &'static str, why: &'static str, probe: fn(&Found) -> bool, remedy: Remedy) -> Need {
    Need { name, why, probe: Probe::Ask(probe), remedy }
}

const fn tool(name: &'static str, why: &'static str, packages: &'static [&'static str]) -> Need {
    Need { name, why, probe: Probe::Program, remedy: Remedy::Apt(packages) }
}

/// Whether a program is on the path, or where only root's path leads.
pub(super) fn program(name: &str) -> bool {
    find_program(name).is_some()
}

/// Whether a tool `NAME@VERSION` of cargo is there, in this version.
fn has_tool(tool: &str) -> bool {
    let Some((name, version)) = tool.split_once('@') else { return false };
    let Some(verb) = name.strip_prefix("cargo-") else { return false };
    let Some(path) = toolchain::which(name) else { return false };
    let says = |words: &[&str]| Command::new(&path).args(words).output().ok().filter(|output| output.status.success());
    // Some want the verb that cargo would give them first.
    let output = says(&[verb, "--version"]).or_else(|| says(&["--version"]));
    output.is_some_and(|output| String::from_utf8_lossy(&output.stdout).split_whitespace().any(|word| word == version))
}

/// Whether the dynamic loader will find a library where Debian has it.
fn library(name: &str) -> bool {
    Path::new(&format!("/usr/lib/{}-linux-gnu", std::env::consts::ARCH)).join(name).exists()
}

fn find_program(name: &str) -> Option<PathBuf> {
    let sbin = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(|folder| Path::new(folder).join(name));
    toolchain::which(name).or_else(|| sbin.into_iter().find(|file| file.is_file()))
}

fn has_llvm() -> bool {
    let llvm = Path::new(LLVM);
    let parts = ["bin/llvm-config", "include/llvm-c/Core.h", "lib/libPolly.a"].map(|part| llvm.join(part));
    let headers = ["/usr/include/zstd.h", "/usr/include/zlib.h"].map(PathBuf::from);
    parts.iter().chain(&headers).all(|file| file.is_file())
}

/// The VMs have no libraries, so a busybox that asks for a dynamic loader is none for us.
fn has_static_busybox() -> bool {
    /// The name of the loader follows the program headers, at the very beginning.
    const HEAD: u64 = 4096;
    let Some(mut file) = find_program("busybox").and_then(|path| fs::File::open(path).ok()) else {
        return false;
    };
    let mut head = Vec::new();
    let read = Read::by_ref(&mut file).take(HEAD).read_to_end(&mut head);
    read.is_ok() && !head.windows(4).any(|bytes| bytes == b"/ld-")
}

/// QEMU itself knows where it looks for ROMs; without QEMU it is QEMU that is missing, and its package brings them.
fn has_boot_roms() -> bool {
    let Ok(output) = Command::new("qemu-system-x86_64").args(["-L", "help"]).output() else {
        return true;
    };
    let folders = String::from_utf8_lossy(&output.stdout).into_owned();
    ["efi-virtio.rom", "efi-e1000.rom"]
        .iter()
        .all(|rom| folders.lines().any(|folder| Path::new(folder).join(rom).is_file()))
}

fn has_bpffs() -> bool {
    // The fifth word is where it is mounted; what follows the dash begins with the type.
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    mounts.lines().any(|line| line.split(' ').nth(4) == Some(BPFFS) && line.contains(" - bpf "))
}
