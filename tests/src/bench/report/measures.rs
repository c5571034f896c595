//! What the measures mean, for the reader of a report: their titles, what is good, and how two paths are compared.

/// How a path is set against the floor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Against {
    /// Less is better, and what is above the floor is the path's own.
    Above,
    /// More is better, and the part of the floor's that is left is what the path leaves.
    Part,
    /// An experiment, set against what is usual.
    Default,
    /// The floor has no such thing: there is nothing to compare with it.
    Nothing,
}

/// A measure, as a report presents it.
#[derive(Clone, Copy, Debug)]
pub struct Measure {
    /// The name that samples bear.
    pub name: &'static str,
    /// Heading.
    pub title: &'static str,
    /// What was done, in a sentence or two.
    pub about: &'static str,
    /// How paths are compared.
    pub against: Against,
}

/// Hop cost, in nanoseconds per frame.
pub const HOP: &str = "hop";
/// The same behind a CNI that delivers by `bpf_redirect_peer`.
pub const PEER_CNI: &str = "peer-cni";
/// TCP in one connection.
pub const TCP_1: &str = "tcp-1";
/// TCP in eight connections.
pub const TCP_8: &str = "tcp-8";
/// UDP in 64-octet frames.
pub const UDP_64: &str = "udp-64";
/// UDP with 1,400 octets of data.
pub const UDP_1400: &str = "udp-1400";
/// Request-response time, median of a round.
pub const P50: &str = "latency-p50";
/// Request-response time, 99 % of a round.
pub const P99: &str = "latency-p99";
/// Request-response time, 99.9 % of a round.
pub const P999: &str = "latency-p99.9";
/// The median with CPUs that are kept awake.
pub const AWAKE_P50: &str = "latency-awake-p50";
/// The same, 99 %.
pub const AWAKE_P99: &str = "latency-awake-p99";
/// TCP connections opened and closed.
pub const CONNECTS: &str = "connects";
/// CPU time of the whole machine for a gigabyte by TCP in one connection.
pub const CPU: &str = "cpu-per-gb";
/// iperf3 between a VM and the far end.
pub const VM_POD: &str = "vm-pod";
/// iperf3 between two VMs.
pub const VM_VM: &str = "vm-vm";
/// Wall time of `tapwire attach`.
pub const ATTACH: &str = "attach";
/// Wall time of `tapwire detach`.
pub const DETACH: &str = "detach";
/// Time in the kernel to verify and load the programs of one binding.
pub const LOAD: &str = "load";
/// Time in the kernel to attach the TCX links of one binding.
pub const LINK: &str = "link";
/// Wall time of `tapwire attach` on a node with many bindings; the path says which ones.
pub const NTH: &str = "attach-nth";
/// From DISCOVER to OFFER.
pub const OFFER: &str = "dhcp-offer";
/// From REQUEST to ACK.
pub const ACK: &str = "dhcp-ack";
/// Memory of the processes that a binding needs.
pub const MEMORY: &str = "memory";

/// Hop cost of an experiment.
pub const TUNING_HOP: &str = "tuning-hop";
/// TCP of an experiment.
pub const TUNING_TCP: &str = "tuning-tcp";
/// Small datagrams of an experiment.
pub const TUNING_UDP: &str = "tuning-udp";
/// Request-response of an experiment.
pub const TUNING_LATENCY: &str = "tuning-latency";

const fn measure(name: &'static str, title: &'static str, against: Against, about: &'static str) -> Measure {
    Measure { name, title, about, against }
}

/// All of them, in the order of the report.
pub const ALL: [Measure; 27] = [
    measure(
        HOP,
        "Hop cost",
        Against::Above,
        "One thread sends frames as fast as it can, and they are dropped or read \
        where they arrive. To-network: written into the tap, dropped at the far end's ingress. To-guest: sent at the far \
        end, read from the tap. What is above the floor is the binding's own cost.",
    ),
    measure(
        PEER_CNI,
        "To-guest behind a CNI that delivers by peer",
        Against::Above,
        "A program at the node's uplink \
        sends each frame on by `bpf_redirect_peer` to the pod NIC, as Cilium and Calico do; it is read from the tap.",
    ),
    measure(
        TCP_1,
        "TCP, one connection",
        Against::Part,
        "iperf3 from the guest behind the pump to the far end. With \
        segments of 64 KiB the copying in the pump and the sockets dominates, so bulk TCP tells the paths apart only weakly.",
    ),
    measure(TCP_8, "TCP, eight connections", Against::Part, "As before, with eight connections at once."),
    measure(
        UDP_64,
        "UDP, frames of 64 octets",
        Against::Part,
        "iperf3 sends datagrams of 22 octets as fast as one \
        thread can; counted are those that arrived. The sender, the pump and the receiver share the CPUs, so this is the rate of \
        the whole chain.",
    ),
    measure(UDP_1400, "UDP, datagrams of 1,400 octets", Against::Part, "As before, with datagrams of 1,400 octets."),
    measure(
        P50,
        "Request-response, p50",
        Against::Above,
        "64 octets over UDP to an echo at the far end and back, one at a \
        time, through the pump both ways. Each sample is this percentile of one round.",
    ),
    measure(P99, "Request-response, p99", Against::Above, "The same rounds."),
    measure(P999, "Request-response, p99.9", Against::Above, "The same rounds."),
    measure(
        AWAKE_P50,
        "Request-response with CPUs awake, p50",
        Against::Above,
        "The same with a thread on each CPU that \
        spins and gives way to everybody, so that no CPU idles. In a virtual machine the wake-up of an idle CPU, four of them \
        to each request, takes many times what any path does; this is what is left without it.",
    ),
    measure(AWAKE_P99, "Request-response with CPUs awake, p99", Against::Above, "The same rounds."),
    measure(
        CONNECTS,
        "TCP connections per second",
        Against::Part,
        "One after the other from the guest: opened, accepted, \
        closed with a reset. The CPUs are kept awake, as above.",
    ),
    measure(
        CPU,
        "CPU time per gigabyte",
        Against::Above,
        "Busy time of all CPUs (`/proc/stat`: everything but idle and \
        iowait) during TCP in one connection, per 10⁹ octets received. iperf3 at both ends, the pump and the kernel are in it, \
        and whatever else the machine did meanwhile.",
    ),
    measure(
        VM_POD,
        "Real VMs: VM and pod network",
        Against::Part,
        "iperf3 in a guest of QEMU, its other end at the far \
        end, one TCP connection. To-network: the VM sends.",
    ),
    measure(
        VM_VM,
        "Real VMs: VM to VM",
        Against::Part,
        "Two guests of QEMU, each behind a node of its own, one TCP \
        connection. The nodes are joined by a veth and do NAT, the same on every path.",
    ),
    measure(
        ATTACH,
        "Attach",
        Against::Nothing,
        "Wall time of the whole command `tapwire attach`, process start included, \
        with the tap present.",
    ),
    measure(DETACH, "Detach", Against::Nothing, "Wall time of the whole command `tapwire detach`."),
    measure(
        LOAD,
        "Loading the programs",
        Against::Nothing,
        "Time in the kernel to verify and compile all programs of one \
        binding (`BPF_PROG_LOAD` within an attach, by strace). They are loaded side by side, so the attach waits for less \
        than this sum.",
    ),
    measure(
        LINK,
        "Attaching the TCX links",
        Against::Nothing,
        "Time in the kernel to attach both links of one binding \
        (`BPF_LINK_CREATE`, by strace). Each waits for a grace period of RCU (`tcx_entry_sync` in include/net/tcx.h); a \
        filter of clsact does not.",
    ),
    measure(
        NTH,
        "Attach on a node with many bindings",
        Against::Nothing,
        "Wall time of `tapwire attach`, each in a pod of \
        its own behind one node namespace, where all bindings before it stay.",
    ),
    measure(
        OFFER,
        "DHCP: DISCOVER to OFFER",
        Against::Nothing,
        "From the write of the frame into the tap until the reply \
        has been read from it.",
    ),
    measure(ACK, "DHCP: REQUEST to ACK", Against::Nothing, "As before."),
    measure(
        MEMORY,
        "Memory in user space per VM",
        Against::Nothing,
        "Proportional set size (`smaps_rollup`) of the \
        processes that must live for the binding to work.",
    ),
    measure(
        TUNING_HOP,
        "Experiments: hop cost",
        Against::Default,
        "tapwire with one thing turned on, in turn with \
        tapwire as it is (`default`). Ring: `txqueuelen` of the tap, which is 1000 by default. Frames of 64 octets. With two \
        queues only to-network is measured; what steering does is to be seen beside two queues without it.",
    ),
    measure(TUNING_TCP, "Experiments: TCP, one connection", Against::Default, "Through the pump."),
    measure(TUNING_UDP, "Experiments: UDP, frames of 64 octets", Against::Default, "Through the pump."),
    measure(TUNING_LATENCY, "Experiments: request-response, p50", Against::Default, "Through the pump."),
];

/// The presentation of a measure; one that is not known has its name for a title.
pub fn known(name: &str) -> Option<&'static Measure> {
    ALL.iter().find(|measure| measure.name == name)
}
