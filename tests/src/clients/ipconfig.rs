//! klibc's client, as an initramfs has it for a root on the network. It takes its lease and ends: whoever comes after it
//! renews, or nobody does.

use std::collections::BTreeMap;

use anyhow::Result;

use super::{
    ClientOptions, Jail, LeaseSeen, Needs, Program,
    lease::{Event, all, assignments, first},
};

pub(super) struct Ipconfig;

/// What it leaves for the scripts of the initramfs.
const RESULT: &str = "/run/net-eth0.conf";
/// In its output, before the server.
const DONE: &str = "complete (dhcp from ";

impl Program for Ipconfig {
    fn needs(&self) -> Needs {
        Needs { folders: &["/run"], ..Needs::default() }
    }

    fn command(&self, _jail: &Jail, nic: &str, options: &ClientOptions) -> Result<Vec<String>> {
        let words = ["/usr/lib/klibc/bin/ipconfig", "-t", "20", "-c", "dhcp"].map(str::to_owned).to_vec();
        Ok([words, options.arguments.clone(), vec!["-d".to_owned(), nic.to_owned()]].concat())
    }

    fn events(&self, jail: &Jail) -> Result<Vec<Event>> {
        let log = jail.log()?;
        // It prints this when the file is written.
        let (Some((_, rest)), Some(text)) = (log.split_once(DONE), jail.read(RESULT)) else {
            return Ok(Vec::new());
        };
        let mut told = assignments(&text);
        let server = rest.split(')').next().unwrap_or_default();
        told.insert("SERVER".to_owned(), server.to_owned());
        Ok(vec![Event { reason: "complete".to_owned(), is_lease: true, told }])
    }

    fn lease(&self, told: &BTreeMap<String, String>) -> LeaseSeen {
        let routes = routes(told);
        let default = routes.iter().find(|(subnet, _)| subnet == "0.0.0.0/0");
        let router = default.and_then(|(_, gateway)| gateway.parse().ok());
        let classless = routes.iter().map(|(subnet, gateway)| format!("{subnet} {gateway}")).collect::<Vec<_>>();
        LeaseSeen {
            address: first(told, "IPV4ADDR"),
            // With option 121 it forgets option 3, as it should.
            router: router.or_else(|| first(told, "IPV4GATEWAY")),
            // It has no resolv.conf to write.
            dns: first(told, "IPV4DNS0").into_iter().collect(),
            domain: first(told, "DNSDOMAIN"),
            search: all(told, "DOMAINSEARCH").iter().map(|name| name.trim_end_matches('.').to_owned()).collect(),
            server_id: first(told, "SERVER"),
            lease_seconds: first(told, "DHCPLEASETIME"),
            hostname: first(told, "HOSTNAME"),
            classless: (!classless.is_empty()).then(|| classless.join(" ")),
            ..LeaseSeen::default()
        }
    }
}

/// The routes that it was told, each with its gateway.
fn routes(told: &BTreeMap<String, String>) -> Vec<(String, String)> {
    let word = |number: usize, what: &str| told.get(&format!("IPV4ROUTE{number}{what}")).cloned();
    (0..).map_while(|number| Some((word(number, "SUBNET")?, word(number, "GATEWAY")?))).collect()
}
