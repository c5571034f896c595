//! The rows: what each CNI leaves in a pod. Addresses are examples, everything else is the CNI's.
//!
//! `{address}` in a route is the pod's own address.

use super::{Expected, Layout, NODE};
use crate::pod::{HOST_MAC, Joint, POD_MAC};

/// What the virtual gateway of AWS, Azure and Calico is called by all three.
const VIRTUAL: &str = "169.254.1.1";
/// MAC of the host side of Calico's veths.
const CALICO_MAC: &str = "ee:ee:ee:ee:ee:ee";
/// MAC of the host side of Azure's veths.
const AZURE_MAC: &str = "aa:aa:aa:aa:aa:aa";

/// The reference bridge plugin with host-local addresses and `isDefaultGateway`.
pub const BRIDGE: Layout = Layout {
    name: "bridge",
    source: "containernetworking/plugins, plugins/main/bridge",
    joint: Joint::Bridge,
    mtu: 1500,
    mac: POD_MAC,
    address: "10.22.0.5/16 brd 10.22.255.255",
    beside: "10.22.0.6/16 brd 10.22.255.255",
    without_connected: false,
    routes: &["default via 10.22.0.1"],
    neighbours: &[],
    node_addresses: &["10.22.0.1/16"],
    node_loopback: None,
    node_mac: HOST_MAC,
    proxy_arp: false,
    expected: Expected {
        address: "10.22.0.5/16",
        gateway: "10.22.0.1",
        behind_gateway: None,
        mtu: 1500,
        routes: &["0.0.0.0/0 via 10.22.0.1"],
        guest: &["10.22.0.0/16 dev eth0 proto kernel scope link src 10.22.0.5", "default via 10.22.0.1 dev eth0"],
        guest_by_router: &[
            "10.22.0.0/16 dev eth0 proto kernel scope link src 10.22.0.5",
            "default via 10.22.0.1 dev eth0",
        ],
    },
};

/// The bridge plugin again, told by flannel, which adds the cluster's network.
pub const FLANNEL: Layout = Layout {
    name: "flannel",
    source: "flannel-io/cni-plugin, flannel_linux.go, getDelegateIPAM",
    mtu: 1450,
    address: "10.244.1.5/24 brd 10.244.1.255",
    beside: "10.244.1.6/24 brd 10.244.1.255",
    routes: &["default via 10.244.1.1", "10.244.0.0/16 via 10.244.1.1"],
    node_addresses: &["10.244.1.1/24"],
    expected: Expected {
        address: "10.244.1.5/24",
        gateway: "10.244.1.1",
        mtu: 1450,
        routes: &["10.244.0.0/16 via 10.244.1.1", "0.0.0.0/0 via 10.244.1.1"],
        guest: &[
            "10.244.0.0/16 via 10.244.1.1 dev eth0",
            "10.244.1.0/24 dev eth0 proto kernel scope link src 10.244.1.5",
            "default via 10.244.1.1 dev eth0",
        ],
        guest_by_router: &[
            "10.244.1.0/24 dev eth0 proto kernel scope link src 10.244.1.5",
            "default via 10.244.1.1 dev eth0",
        ],
        ..BRIDGE.expected
    },
    ..BRIDGE
};

/// The gateway has a MAC that follows from its address, as the pods have; routes may have an MTU of their own.
pub const OVN_KUBERNETES: Layout = Layout {
    name: "ovnk",
    source: "ovn-kubernetes, pkg/allocator/pod/pod_annotation.go and pkg/cni/helper_linux.go (RoutableMTU)",
    mtu: 1400,
    address: "10.244.1.5/24 brd 10.244.1.255",
    routes: &[
        "default via 10.244.1.1 mtu 1300",
        "10.244.0.0/16 via 10.244.1.1",
        "10.96.0.0/16 via 10.244.1.1",
        "169.254.169.5 via 10.244.1.1",
        "100.64.0.0/16 via 10.244.1.1 mtu 1300",
    ],
    expected: Expected {
        mtu: 1300,
        routes: &[
            "10.96.0.0/16 via 10.244.1.1",
            "10.244.0.0/16 via 10.244.1.1",
            "100.64.0.0/16 via 10.244.1.1",
            "169.254.169.5/32 via 10.244.1.1",
            "0.0.0.0/0 via 10.244.1.1",
        ],
        guest: &[
            "10.244.0.0/16 via 10.244.1.1 dev eth0",
            "10.244.1.0/24 dev eth0 proto kernel scope link src 10.244.1.5",
            "10.96.0.0/16 via 10.244.1.1 dev eth0",
            "100.64.0.0/16 via 10.244.1.1 dev eth0",
            "169.254.169.5 via 10.244.1.1 dev eth0",
            "default via 10.244.1.1 dev eth0",
        ],
        ..FLANNEL.expected
    },
    ..FLANNEL
};

/// One subnet for all nodes, behind a switch.
pub const KUBE_OVN: Layout = Layout {
    name: "kubeovn",
    source: "kubeovn/kube-ovn, pkg/daemon/ovs_linux.go",
    mtu: 1400,
    mac: "00:00:00:53:6f:09",
    address: "10.16.0.9/16 brd 10.16.255.255",
    beside: "10.16.0.10/16 brd 10.16.255.255",
    routes: &["default via 10.16.0.1"],
    node_addresses: &["10.16.0.1/16"],
    expected: Expected {
        address: "10.16.0.9/16",
        gateway: "10.16.0.1",
        mtu: 1400,
        routes: &["0.0.0.0/0 via 10.16.0.1"],
        guest: &["10.16.0.0/16 dev eth0 proto kernel scope link src 10.16.0.9", "default via 10.16.0.1 dev eth0"],
        guest_by_router: &[
            "10.16.0.0/16 dev eth0 proto kernel scope link src 10.16.0.9",
            "default via 10.16.0.1 dev eth0",
        ],
        ..BRIDGE.expected
    },
    ..BRIDGE
};

/// Its spoof guard wants the pod NIC's MAC and address of what the guest sends.
pub const ANTREA: Layout = Layout {
    name: "antrea",
    source: "antrea-io/antrea, pkg/agent/cniserver/server.go, updateResultIfaceConfig",
    mtu: 1450,
    address: "10.10.0.26/24 brd 10.10.0.255",
    beside: "10.10.0.27/24 brd 10.10.0.255",
    routes: &["default via 10.10.0.1"],
    node_addresses: &["10.10.0.1/24"],
    expected: Expected {
        address: "10.10.0.26/24",
        gateway: "10.10.0.1",
        mtu: 1450,
        routes: &["0.0.0.0/0 via 10.10.0.1"],
        guest: &["10.10.0.0/24 dev eth0 proto kernel scope link src 10.10.0.26", "default via 10.10.0.1 dev eth0"],
        guest_by_router: &[
            "10.10.0.0/24 dev eth0 proto kernel scope link src 10.10.0.26",
            "default via 10.10.0.1 dev eth0",
        ],
        ..BRIDGE.expected
    },
    ..BRIDGE
};

/// A subnet of the node's own network, in which nobody but the parent's MACs is let in.
pub const MACVLAN: Layout = Layout {
    name: "macvlan",
    source: "containernetworking/plugins, plugins/main/macvlan, with addresses",
    joint: Joint::Macvlan,
    address: "192.168.20.30/24 brd 192.168.20.255",
    beside: "192.168.20.31/24 brd 192.168.20.255",
    routes: &["default via 192.168.20.1"],
    node_addresses: &["192.168.20.1/24"],
    expected: Expected {
        address: "192.168.20.30/24",
        gateway: "192.168.20.1",
        routes: &["0.0.0.0/0 via 192.168.20.1"],
        guest: &[
            "192.168.20.0/24 dev eth0 proto kernel scope link src 192.168.20.30",
            "default via 192.168.20.1 dev eth0",
        ],
        guest_by_router: &[
            "192.168.20.0/24 dev eth0 proto kernel scope link src 192.168.20.30",
            "default via 192.168.20.1 dev eth0",
        ],
        ..BRIDGE.expected
    },
    ..BRIDGE
};

/// A prefix whose other addresses are reached by the gateway.
pub const PTP: Layout = Layout {
    name: "ptp",
    source: "containernetworking/plugins, plugins/main/ptp/ptp.go",
    joint: Joint::Veth,
    address: "10.1.2.5/24 brd 10.1.2.255",
    beside: "10.1.2.6/24 brd 10.1.2.255",
    without_connected: true,
    routes: &[
        "10.1.2.1 dev eth0 scope link src {address}",
        "10.1.2.0/24 via 10.1.2.1 dev eth0 src {address}",
        "default via 10.1.2.1",
    ],
    node_addresses: &["10.1.2.1/32"],
    expected: Expected {
        address: "10.1.2.5/32",
        gateway: "10.1.2.1",
        routes: &["10.1.2.1/32 on the link", "10.1.2.0/24 via 10.1.2.1", "0.0.0.0/0 via 10.1.2.1"],
        guest: &["10.1.2.0/24 via 10.1.2.1 dev eth0", "10.1.2.1 dev eth0 scope link", "default via 10.1.2.1 dev eth0"],
        guest_by_router: &["default via 10.1.2.1 dev eth0 onlink"],
        ..BRIDGE.expected
    },
    ..BRIDGE
};

/// The ptp plugin, told by kind.
pub const KINDNET: Layout = Layout {
    name: "kindnet",
    source: "kubernetes-sigs/kind, images/kindnetd/cmd/kindnetd/cni.go",
    address: "10.244.0.7/24 brd 10.244.0.255",
    beside: "10.244.0.8/24 brd 10.244.0.255",
    routes: &[
        "10.244.0.1 dev eth0 scope link src {address}",
        "10.244.0.0/24 via 10.244.0.1 dev eth0 src {address}",
        "default via 10.244.0.1",
    ],
    node_addresses: &["10.244.0.1/32"],
    expected: Expected {
        address: "10.244.0.7/32",
        gateway: "10.244.0.1",
        routes: &["10.244.0.1/32 on the link", "10.244.0.0/24 via 10.244.0.1", "0.0.0.0/0 via 10.244.0.1"],
        guest: &[
            "10.244.0.0/24 via 10.244.0.1 dev eth0",
            "10.244.0.1 dev eth0 scope link",
            "default via 10.244.0.1 dev eth0",
        ],
        guest_by_router: &["default via 10.244.0.1 dev eth0 onlink"],
        ..BRIDGE.expected
    },
    ..PTP
};

/// Alike, with the MTU of Google's network. With its second data plane a pod looks as with Cilium.
pub const GKE: Layout = Layout {
    name: "gke",
    source: "confidential-containers/cloud-api-adaptor, which met it: GKE removes the kernel route as ptp does",
    mtu: 1460,
    address: "10.8.3.5/24 brd 10.8.3.255",
    beside: "10.8.3.6/24 brd 10.8.3.255",
    routes: &[
        "10.8.3.1 dev eth0 scope link src {address}",
        "10.8.3.0/24 via 10.8.3.1 dev eth0 src {address}",
        "default via 10.8.3.1",
    ],
    node_addresses: &["10.8.3.1/32"],
    expected: Expected {
        address: "10.8.3.5/32",
        gateway: "10.8.3.1",
        mtu: 1460,
        routes: &["10.8.3.1/32 on the link", "10.8.3.0/24 via 10.8.3.1", "0.0.0.0/0 via 10.8.3.1"],
        guest: &["10.8.3.0/24 via 10.8.3.1 dev eth0", "10.8.3.1 dev eth0 scope link", "default via 10.8.3.1 dev eth0"],
        guest_by_router: &["default via 10.8.3.1 dev eth0 onlink"],
        ..BRIDGE.expected
    },
    ..PTP
};

/// Routed, with a gateway that nobody has: the host side has no address and answers ARP for it as a proxy.
pub const CALICO: Layout = Layout {
    name: "calico",
    source: "projectcalico/calico, cni-plugin/pkg/dataplane/linux/dataplane_linux.go",
    joint: Joint::Veth,
    mtu: 1450,
    address: "192.168.1.10/32",
    beside: "192.168.1.11/32",
    routes: &["169.254.1.1 dev eth0 scope link", "default via 169.254.1.1 dev eth0"],
    node_addresses: &[],
    node_mac: CALICO_MAC,
    proxy_arp: true,
    expected: Expected {
        address: "192.168.1.10/32",
        gateway: VIRTUAL,
        behind_gateway: Some(NODE),
        mtu: 1450,
        routes: &["169.254.1.1/32 on the link", "0.0.0.0/0 via 169.254.1.1"],
        guest: &["169.254.1.1 dev eth0 scope link", "default via 169.254.1.1 dev eth0"],
        guest_by_router: &["default via 169.254.1.1 dev eth0 onlink"],
    },
    ..BRIDGE
};

/// Routed by way of the node's router address, which is on none of the pods' links. Its programs answer every ARP request
/// but that for the pod's own address, which is what the kernel's proxy ARP does.
pub const CILIUM: Layout = Layout {
    name: "cilium",
    source: "cilium/cilium, pkg/datapath/connector/ipam.go and bpf/bpf_lxc.c",
    mtu: 1500,
    address: "10.0.1.234/32",
    beside: "10.0.1.235/32",
    routes: &["10.0.1.12 dev eth0 scope link", "default via 10.0.1.12 dev eth0 mtu 1450"],
    node_loopback: Some("10.0.1.12/32"),
    node_mac: HOST_MAC,
    expected: Expected {
        address: "10.0.1.234/32",
        gateway: "10.0.1.12",
        behind_gateway: None,
        routes: &["10.0.1.12/32 on the link", "0.0.0.0/0 via 10.0.1.12"],
        guest: &["10.0.1.12 dev eth0 scope link", "default via 10.0.1.12 dev eth0"],
        guest_by_router: &["default via 10.0.1.12 dev eth0 onlink"],
        ..CALICO.expected
    },
    ..CALICO
};

/// Routed, with the virtual gateway as a permanent neighbour of the pod: nobody answers ARP for it.
pub const AWS: Layout = Layout {
    name: "aws",
    source: "aws/amazon-vpc-cni-k8s, cmd/routed-eni-cni-plugin/driver/driver.go and docs/cni-proposal.md",
    mtu: 9001,
    address: "20.0.49.215/32",
    beside: "20.0.49.216/32",
    neighbours: &["169.254.1.1 lladdr 0a:58:0a:f4:01:01 nud permanent"],
    node_mac: HOST_MAC,
    proxy_arp: false,
    expected: Expected { address: "20.0.49.215/32", mtu: 9001, ..CALICO.expected },
    ..CALICO
};

/// A prefix of a whole network without a route to it; the neighbour entry is one that the kernel verifies, so a proxy
/// answers for it.
pub const AZURE: Layout = Layout {
    name: "azure",
    source: "Azure/azure-container-networking, network/transparent_endpointclient_linux.go",
    mtu: 1500,
    address: "10.240.0.25/12 brd 10.255.255.255",
    beside: "10.240.0.26/12 brd 10.255.255.255",
    without_connected: true,
    neighbours: &["169.254.1.1 lladdr aa:aa:aa:aa:aa:aa nud probe"],
    node_mac: AZURE_MAC,
    expected: Expected { address: "10.240.0.25/32", mtu: 1500, ..CALICO.expected },
    ..CALICO
};
