//! Bindings to fuzz: leases that differ in what decides of an answer.

use std::sync::OnceLock;

use binding_common::{
    MacAddr,
    dhcp::{LINK_LOCAL_SERVER, Server},
};
use binding_user::{
    dhcp::Replies,
    lease::{INFINITE_SECONDS, Lease, LeaseRoute, PrivateOption},
};

/// The guest's MAC, which the network knows too unless a binding says otherwise.
pub const GUEST: MacAddr = MacAddr([0x0a, 0x58, 0x0a, 0xf4, 1, 5]);
/// Another MAC.
pub const OTHER_MAC: MacAddr = MacAddr([0x02, 0, 0, 0, 0, 0xaa]);
/// The address of the lease.
pub const LEASE: [u8; 4] = [10, 244, 1, 5];
/// The gateway, and in most bindings the server identifier.
pub const GATEWAY: [u8; 4] = [10, 244, 1, 1];
/// Its MAC.
pub const GATEWAY_MAC: MacAddr = MacAddr([0x0a, 0x58, 0x0a, 0xf4, 1, 1]);
/// An address that is nobody's.
pub const OTHER: [u8; 4] = [10, 9, 9, 9];

/// A lease, and what user space makes of it.
pub struct Binding {
    /// What it is, in a word.
    pub name: &'static str,
    /// The lease.
    pub lease: Lease,
    /// Its replies.
    pub replies: Replies,
    /// Its server.
    pub server: Server,
}

impl Binding {
    fn new(name: &'static str, lease: Lease) -> Self {
        let replies = Replies::new(&lease).unwrap();
        let server =
            Server { lease: lease.address.addr().octets(), identifier: lease.server_id.octets(), guest: lease.mac };
        Self { name, lease, replies, server }
    }
}

/// All of them, made once.
pub fn all() -> &'static [Binding] {
    static ALL: OnceLock<Vec<Binding>> = OnceLock::new();
    ALL.get_or_init(|| {
        vec![
            Binding::new("usual", usual()),
            Binding::new("bare", bare()),
            Binding::new("routed", routed()),
            Binding::new("full", full()),
            Binding::new("narrow", Lease { mtu: 400, ..usual() }),
        ]
    })
}

/// The binding that a byte chooses.
pub fn chosen(by: u8) -> &'static Binding {
    let all = all();
    &all[usize::from(by) % all.len()]
}

/// A pod of flannel.
pub fn usual() -> Lease {
    Lease {
        mac: GUEST,
        address: "10.244.1.5/24".parse().unwrap(),
        gateway: Some(GATEWAY.into()),
        routes: vec![route("0.0.0.0/0", Some(GATEWAY))],
        dns: vec!["10.96.0.10".parse().unwrap()],
        search: vec!["default.svc.cluster.local".to_owned(), "cluster.local".to_owned()],
        mtu: 1450,
        hostname: Some("vm".to_owned()),
        neighbours: Vec::new(),
        server_id: GATEWAY.into(),
        seconds: 3600,
        ntp_servers: vec!["10.96.0.11".parse().unwrap()],
        tftp_server_name: Some("10.244.1.1".to_owned()),
        boot_file_name: Some("boot.ipxe".to_owned()),
        tftp_servers: vec!["10.244.1.1".parse().unwrap()],
        private_options: vec![PrivateOption { option: 240, value: "x".repeat(251) }],
    }
}

/// Nothing that a lease can do without, and no end.
fn bare() -> Lease {
    Lease {
        gateway: None,
        routes: Vec::new(),
        dns: Vec::new(),
        search: Vec::new(),
        mtu: 1500,
        hostname: None,
        server_id: LINK_LOCAL_SERVER.into(),
        seconds: INFINITE_SECONDS,
        ntp_servers: Vec::new(),
        tftp_server_name: None,
        boot_file_name: None,
        tftp_servers: Vec::new(),
        private_options: Vec::new(),
        ..usual()
    }
}

/// A pod of Calico: a /32 and a gateway that is reached by a route of its own.
fn routed() -> Lease {
    let gateway = [169, 254, 1, 1];
    Lease {
        address: "10.244.1.5/32".parse().unwrap(),
        gateway: Some(gateway.into()),
        routes: vec![route("169.254.1.1/32", None), route("0.0.0.0/0", Some(gateway))],
        server_id: gateway.into(),
        ..usual()
    }
}

/// Every private option, and more of all than there is room for.
fn full() -> Lease {
    let private = (224..=254).map(|option| PrivateOption { option, value: "y".repeat(usize::from(option) - 200) });
    Lease {
        search: (0..20).map(|number| format!("n{number}.example")).collect(),
        private_options: private.collect(),
        boot_file_name: Some("f".repeat(200)),
        tftp_server_name: Some("boot.example".to_owned()),
        mtu: 1500,
        ..usual()
    }
}

fn route(dst: &str, via: Option<[u8; 4]>) -> LeaseRoute {
    LeaseRoute { dst: dst.parse().unwrap(), via: via.map(Into::into) }
}
