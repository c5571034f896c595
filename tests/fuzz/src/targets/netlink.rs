//! Messages of the kernel, or of a journal that somebody edited: no bytes make a reader panic, and what is made ready to be
//! sent back is whole, and stays as it is when it is made ready once more.

use binding_user::{
    facts::{Address, Neighbour, Route},
    netlink::raw::RawMessage,
    routes::{self, Of},
    rules::Rule,
    snapshot::normal,
};

/// The first two octets are the type of the message, the rest is it.
pub(super) fn run(bytes: &[u8]) {
    let Some(([k0, k1], payload)) = bytes.split_first_chunk::<2>() else { return };
    all_readings(&RawMessage { kind: u16::from_be_bytes([*k0, *k1]), payload: payload.to_vec() });
}

/// Reads a message in every way that there is.
pub(super) fn all_readings(message: &RawMessage) {
    let _ = (Address::parse(message), Neighbour::parse(message));
    let rules: Vec<_> = Rule::parse(message).into_iter().collect();
    for rule in &rules {
        let _ = (rule.share("eth0", &["10.244.1.5".parse().unwrap()]), rule.is_ordinary());
    }
    if let Some(route) = Route::parse(message) {
        assert!(route.dst.prefix_len() <= route.dst.max_prefix_len());
    }
    let of = Of { nic: "eth0", ifindex: 2, addresses: &["10.244.1.5".parse().unwrap()] };
    let chosen = routes::choose(std::slice::from_ref(message), &rules, of);
    assert!(chosen.warnings.iter().all(|warning| !warning.contains(char::is_control)), "{:?}", chosen.warnings);
    for (ready, name) in
        [(normal::address_to_send as fn(&RawMessage) -> RawMessage, "address"), (normal::neighbour, "neighbour")]
    {
        let once = ready(message);
        assert_eq!(ready(&once), once, "{name}");
    }
    // The lifetime of a route becomes another attribute, and a comparison is of two messages that were made ready in the
    // same way: neither need be stable.
    let _ = normal::route_to_send(message);
    let _ = (normal::address_to_compare(message), normal::route_to_compare(message));
    let _ = (normal::has_gateway(message), normal::nexthop_object(message), normal::names_a_link(message));
    let text = serde_json::to_string(message).unwrap();
    assert_eq!(&serde_json::from_str::<RawMessage>(&text).unwrap(), message);
}
