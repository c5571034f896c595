//! A route that the guest is told of, and how operators write one.

use std::{net::Ipv4Addr, str::FromStr};

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use super::{host, values};

/// A route that the guest is told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseRoute {
    /// Destination.
    pub dst: Ipv4Net,
    /// Next hop; `None` is on the link itself.
    pub via: Option<Ipv4Addr>,
}

impl FromStr for LeaseRoute {
    type Err = String;

    /// As `ip route` has it: `10.0.0.0/8 via 10.1.1.1`, `default via 10.1.1.1`, `169.254.1.1/32`.
    fn from_str(text: &str) -> Result<Self, String> {
        let words: Vec<_> = text.split_whitespace().collect();
        let (dst, via) = match words.as_slice() {
            [dst] => (*dst, None),
            [dst, "via", via] => (*dst, Some(*via)),
            _ => {
                return Err("not \"DESTINATION via GATEWAY\", nor a DESTINATION that is on the link".to_owned());
            }
        };
        let dst = if dst == "default" { "0.0.0.0/0" } else { dst };
        let dst: Ipv4Net = match dst.parse() {
            Ok(net) => net,
            Err(_) => host(dst.parse().map_err(|_| format!("{dst:?} is not an IPv4 destination"))?),
        };
        if dst.trunc() != dst {
            return Err(format!("{dst} has bits behind its prefix; {} has not", dst.trunc()));
        }
        Ok(Self { dst, via: via.map(values::server).transpose()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_written_as_ip_route_has_it() {
        let route = |dst: &str, via: Option<&str>| LeaseRoute {
            dst: dst.parse().unwrap(),
            via: via.map(|via| via.parse().unwrap()),
        };
        for (text, expected) in [
            ("default via 10.1.1.1", route("0.0.0.0/0", Some("10.1.1.1"))),
            ("10.0.0.0/8  via 10.1.1.1", route("10.0.0.0/8", Some("10.1.1.1"))),
            ("169.254.1.1/32", route("169.254.1.1/32", None)),
            ("169.254.1.1", route("169.254.1.1/32", None)),
        ] {
            assert_eq!(text.parse(), Ok(expected), "{text}");
        }
        for text in [
            "",
            "default via",
            "10.0.0.1/8 via 10.1.1.1",
            "fd00::/8",
            "10.0.0.0/8 via fd00::1",
            "a via b",
            "10.0.0.0/8 dev eth0",
        ] {
            assert!(text.parse::<LeaseRoute>().is_err(), "{text}");
        }
    }
}
