//! The values of lease options as operators write them, by flag or in a lease file, and as a pod's files have them.
//!
//! Scripts of DHCP clients and firmware take them into their hands, so each must be what it claims to be. An error is
//! only the reason; who called knows where the value stands.

use std::{fmt::Display, net::Ipv4Addr, net::Ipv6Addr, ops::RangeInclusive};

use ipnet::Ipv4Net;

use super::{INFINITE_SECONDS, PrivateOption};

/// MTUs that a lease can have: IPv4 wants 68 octets (RFC 791), and option 26 has two octets.
pub const MTU: RangeInclusive<u32> = 68..=65535;
/// Codes of private use (RFC 3942).
const PRIVATE: RangeInclusive<u8> = 224..=254;
/// Addresses that one length octet counts.
const MAX_ADDRESSES: usize = 63;
/// Clients take no shorter lease seriously, and 0 for the end of it.
const LEAST_SECONDS: u32 = 30;

/// A server that a guest can ask: its own loopback is not ours to name.
pub fn server(text: &str) -> Result<Ipv4Addr, String> {
    let address: Ipv4Addr = text.parse().map_err(|_| "not an IPv4 address".to_owned())?;
    if is_a_hosts(address) { Ok(address) } else { Err("not the address of a host that the guest can reach".to_owned()) }
}

/// The guest's own address, with its prefix.
pub fn address(text: &str) -> Result<Ipv4Net, String> {
    let net: Ipv4Net = text.parse().map_err(|_| "not an IPv4 address with its prefix, as 10.1.1.5/24".to_owned())?;
    let address = net.addr();
    let is_in_net = net.prefix_len() > 30 || (address != net.network() && address != net.broadcast());
    if is_a_hosts(address) && is_in_net && net.prefix_len() > 0 {
        return Ok(net);
    }
    Err("not an address that a host can have".to_owned())
}

/// Whether another machine can have this address.
fn is_a_hosts(address: Ipv4Addr) -> bool {
    !address.is_unspecified() && !address.is_loopback() && !address.is_broadcast() && !address.is_multicast()
}

/// Servers, each of them once.
pub fn servers(list: Vec<Ipv4Addr>) -> Result<Vec<Ipv4Addr>, String> {
    if list.len() > MAX_ADDRESSES {
        return Err(format!("more than {MAX_ADDRESSES} addresses"));
    }
    unique(list, |address| *address)
}

/// A search domain, in lower case and without the dot of the root. These are the ones that KubeVirt takes.
pub fn domain(text: &str) -> Result<String, String> {
    let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    let (parents, top) = name.rsplit_once('.').map_or((None, name.as_str()), |(parents, top)| (Some(parents), top));
    let is_top = top.starts_with(|c: char| c.is_ascii_lowercase()) && !top.contains('_') && is_label(top);
    if name.len() <= 253 && is_top && parents.is_none_or(|parents| parents.split('.').all(is_label)) {
        return Ok(name);
    }
    Err("not a domain: labels of letters, digits and inner dashes, the last of which begins with a letter".to_owned())
}

/// Search domains, each of them once.
pub fn domains(list: Vec<String>) -> Result<Vec<String>, String> {
    unique(list, String::clone)
}

fn is_label(label: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let is_end = |c: char| c.is_ascii_alphanumeric();
    (1..=63).contains(&label.len())
        && label.chars().all(fits)
        && label.starts_with(|c: char| is_end(c) || c == '_')
        && (label.ends_with(is_end) || label == "_")
}

/// A host name. Unlike a domain it keeps its case, and may be a number.
pub fn host_name(text: &str) -> Result<String, String> {
    if text.len() <= 253 && text.split('.').all(is_label) {
        return Ok(text.to_owned());
    }
    Err("not a name of letters, digits, inner dashes and dots".to_owned())
}

/// The name of a file to boot.
pub fn boot_file(text: &str) -> Result<String, String> {
    counted(text)?;
    if text.chars().any(char::is_control) {
        return Err("it has control characters".to_owned());
    }
    Ok(text.to_owned())
}

/// The TFTP server: an IPv4 address, or a name that the guest must look up.
pub fn boot_server(text: &str) -> Result<String, String> {
    if text.parse::<Ipv4Addr>().is_ok() {
        server(text)?;
    } else if text.parse::<Ipv6Addr>().is_ok() {
        return Err("an IPv6 address, which DHCPv4 cannot tell".to_owned());
    }
    boot_file(text)
}

/// A private option of a code and a value, which is sent as it is.
pub fn private_option(code: &str, value: &str) -> Result<PrivateOption, String> {
    let option = code.parse().ok().filter(|code| PRIVATE.contains(code));
    let option = option.ok_or_else(|| format!("{code:?} is not a private code: those are 224 to 254"))?;
    counted(value)?;
    Ok(PrivateOption { option, value: value.to_owned() })
}

/// Private options, each code once.
pub fn private_options(list: Vec<PrivateOption>) -> Result<Vec<PrivateOption>, String> {
    unique(list, |private| private.option)
}

/// A lease time.
pub fn seconds(text: &str) -> Result<u32, String> {
    if text == "infinite" {
        return Ok(INFINITE_SECONDS);
    }
    match text.parse() {
        Ok(seconds) if seconds >= LEAST_SECONDS => Ok(seconds),
        Ok(_) => Err(format!("a lease lasts at least {LEAST_SECONDS} seconds")),
        Err(_) => Err("not a number of seconds, nor \"infinite\"".to_owned()),
    }
}

/// What one length octet counts, and something at all.
fn counted(text: &str) -> Result<(), String> {
    match text.len() {
        0 => Err("it is empty".to_owned()),
        1..=255 => Ok(()),
        octets => Err(format!("it has {octets} octets, and an option holds 255")),
    }
}

fn unique<T, K: PartialEq + Display>(list: Vec<T>, key: impl Fn(&T) -> K) -> Result<Vec<T>, String> {
    for (place, item) in list.iter().enumerate() {
        if list[..place].iter().any(|earlier| key(earlier) == key(item)) {
            return Err(format!("{} stands there twice", key(item)));
        }
    }
    Ok(list)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guests_address_is_one_of_its_network_and_of_a_host() {
        for text in ["10.1.1.5/24", "10.1.1.5/32", "10.1.1.4/31"] {
            assert_eq!(address(text).unwrap().to_string(), text);
        }
        for text in
            ["10.1.1.5", "10.1.1.0/24", "10.1.1.255/24", "0.0.0.0/32", "127.0.0.1/8", "224.0.0.1/24", "10.1.1.5/0"]
        {
            assert!(address(text).is_err(), "{text}");
        }
    }

    #[test]
    fn search_domains_are_those_that_kubevirt_takes() {
        let label = "a".repeat(63);
        let long = [&label[..], &label, &label, &label[..61]].join(".");
        for (text, expected) in [
            ("example.com", "example.com"),
            ("local", "local"),
            ("default.svc.cluster.local.", "default.svc.cluster.local"),
            ("_ldap._tcp.Example.COM", "_ldap._tcp.example.com"),
            ("4.in-addr.arpa", "4.in-addr.arpa"),
            (&format!("{label}.com"), &format!("{label}.com")),
            (&long, &long),
            (&format!("{long}."), &long),
        ] {
            assert_eq!(domain(text).as_deref(), Ok(expected), "{text}");
        }
        let over = format!("{label}a.com");
        let longer = format!("{long}a");
        for text in [
            "",
            ".",
            "-foo.com",
            "foo-.com",
            "foo.com-",
            "foo.-com",
            "foo\n.com",
            "foo,com",
            "foo..com",
            ".foo",
            "foo..",
            "foo.c_m",
            "foo.1",
            "foo bar.com",
            "föö.com",
            &over,
            &longer,
        ] {
            assert!(domain(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_host_name_is_a_name() {
        for text in ["vm", "VM-1", "1", "a.b", &"x".repeat(63)] {
            assert_eq!(host_name(text).as_deref(), Ok(text));
        }
        for text in ["", "-rf", "a-", "a b;reboot", "a.", "ü", "a\n", &"x".repeat(64)] {
            assert!(host_name(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn servers_are_ipv4_hosts_and_stand_there_once() {
        assert_eq!(server("10.0.0.1"), Ok(Ipv4Addr::new(10, 0, 0, 1)));
        for text in ["", "10.0.0", "010.0.0.1", "fd00::1", "0.0.0.0", "127.0.0.1", "255.255.255.255", "224.0.0.1"] {
            assert!(server(text).is_err(), "{text}");
        }
        let some = |count: u8| (0..count).map(|n| Ipv4Addr::new(10, 0, 0, n)).collect::<Vec<_>>();
        assert_eq!(servers(some(63)), Ok(some(63)));
        assert!(servers(some(64)).is_err());
        assert!(servers([some(1), some(1)].concat()).unwrap_err().contains("10.0.0.0 stands there twice"));
        assert!(domains(vec!["a".to_owned(), "b".to_owned(), "a".to_owned()]).is_err());
    }

    #[test]
    fn names_to_boot_from_have_1_to_255_octets_and_no_control_characters() {
        for text in ["x", "pxelinux.0", "a b,c=d", &"x".repeat(255)] {
            assert_eq!(boot_file(text).as_deref(), Ok(text));
        }
        for text in ["", "a\nb", "a\0", "\u{7f}", "\u{85}", &"x".repeat(256)] {
            assert!(boot_file(text).is_err(), "{text:?}");
            assert!(boot_server(text).is_err(), "{text:?}");
        }
        for (text, fits) in [("tftp.example", true), ("10.0.0.1", true), ("127.0.0.1", false), ("fd00::1", false)] {
            assert_eq!(boot_server(text).is_ok(), fits, "{text}");
        }
    }

    #[test]
    fn private_options_have_codes_from_224_to_254_once_each() {
        for code in ["224", "254"] {
            assert!(private_option(code, "v").is_ok());
        }
        for code in ["", "223", "255", "0", "480", "-240", "x", "66"] {
            assert!(private_option(code, "v").is_err(), "{code}");
        }
        assert!(private_option("240", "").is_err());
        assert!(private_option("240", &"x".repeat(255)).is_ok());
        assert!(private_option("240", &"x".repeat(256)).is_err());
        let of = |code| PrivateOption { option: code, value: "v".to_owned() };
        assert!(private_options(vec![of(240), of(241)]).is_ok());
        assert!(private_options(vec![of(240), of(241), of(240)]).unwrap_err().contains("240"));
    }

    #[test]
    fn a_lease_time_is_a_number_of_seconds_or_infinite() {
        assert_eq!(seconds("infinite"), Ok(u32::MAX));
        assert_eq!(seconds("3600"), Ok(3600));
        for text in ["0", "29", "1h", "-1", "4294967296"] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }
}
