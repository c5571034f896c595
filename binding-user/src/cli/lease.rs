//! What the guest is told, on the command line.

use std::{net::Ipv4Addr, ops::RangeInclusive, path::PathBuf, str::FromStr as _};

use clap::{Args, Subcommand};
use ipnet::Ipv4Net;

use super::Existing;
use crate::{
    Error,
    change::LeaseChange,
    guest_mac::GuestMac,
    lease::{LeaseOptions, LeaseRoute, PrivateOption, Setting, file, options::NONE, values},
    netns::NetnsSpec,
    resolv::Resolv,
};

/// What the guest is told otherwise than discovered. The word "none" in place of a value takes an option away.
#[derive(Debug, Args)]
pub struct LeaseArgs {
    /// MTU of the guest, and of a tap that attach makes; without it attach takes the pod NIC's.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(mtus()))]
    pub mtu: Option<u32>,
    /// DNS servers, in place of the ones of resolv.conf, or "none".
    #[arg(long, value_name = "IP", value_delimiter = ',', value_parser = or_none(values::server))]
    pub dns: Vec<Setting<Ipv4Addr>>,
    /// Search domains, in place of the ones of resolv.conf, or "none".
    #[arg(long, value_name = "DOMAIN", value_delimiter = ',', value_parser = or_none(values::domain))]
    pub search: Vec<Setting<String>>,
    /// Host name of the guest, or "none".
    #[arg(long, value_name = "NAME", value_parser = or_none(values::host_name))]
    pub hostname: Option<Setting<String>>,
    /// The pod's resolv.conf; without it attach finds it by the namespace.
    #[arg(long, value_name = "PATH")]
    pub resolv_conf: Option<PathBuf>,
    /// Lease time in seconds, or "infinite"; without it attach takes 86400.
    #[arg(long, value_name = "SECONDS", value_parser = values::seconds)]
    pub lease_time: Option<u32>,
    /// NTP servers, or "none".
    #[arg(long, value_name = "IP", value_delimiter = ',', value_parser = or_none(values::server))]
    pub ntp_servers: Vec<Setting<Ipv4Addr>>,
    /// TFTP server that the guest boots from (option 66; an address is also the "next server"), or "none".
    #[arg(long, value_name = "NAME|IP", value_parser = or_none(values::boot_server))]
    pub tftp_server_name: Option<Setting<String>>,
    /// File that the guest boots (option 67), or "none".
    #[arg(long, value_name = "NAME", value_parser = or_none(values::boot_file))]
    pub boot_file_name: Option<Setting<String>>,
    /// TFTP servers of IP phones and the like (option 150), or "none".
    #[arg(long, value_name = "IP", value_delimiter = ',', value_parser = or_none(values::server))]
    pub tftp_servers: Vec<Setting<Ipv4Addr>>,
    /// An option of this site, 224 to 254, with its value as text, or "none".
    #[arg(long, value_name = "CODE=VALUE", value_parser = or_none(private_option))]
    pub private_option: Vec<Setting<PrivateOption>>,
    /// TOML file with these options; a flag goes before the same key of it.
    #[arg(long, value_name = "PATH")]
    pub lease_file: Option<PathBuf>,
}

impl LeaseArgs {
    /// The same, for the library: flags over the file.
    pub fn options(&self) -> crate::Result<LeaseOptions> {
        let flags = LeaseOptions {
            dns: list("dns", &self.dns, values::servers)?,
            search: list("search", &self.search, values::domains)?,
            hostname: self.hostname.clone().unwrap_or_default(),
            seconds: self.lease_time,
            mtu: self.mtu,
            ntp_servers: list("ntp-servers", &self.ntp_servers, values::servers)?,
            tftp_server_name: self.tftp_server_name.clone().unwrap_or_default(),
            boot_file_name: self.boot_file_name.clone().unwrap_or_default(),
            tftp_servers: list("tftp-servers", &self.tftp_servers, values::servers)?,
            private_options: list("private-option", &self.private_option, values::private_options)?,
        };
        match &self.lease_file {
            None => Ok(flags),
            Some(path) => Ok(flags.merged_over(&file::read(path)?)),
        }
    }
}

fn mtus() -> RangeInclusive<i64> {
    i64::from(*values::MTU.start())..=i64::from(*values::MTU.end())
}

/// The verbs of a lease.
#[derive(Debug, Subcommand)]
pub enum LeaseCommand {
    /// Change the lease of a binding, in one step; what is not named stays as it is.
    Set(Box<LeaseSet>),
}

/// What can be changed of a lease.
#[derive(Debug, Args)]
pub struct LeaseSet {
    /// Which binding.
    #[command(flatten)]
    pub binding: Existing,
    /// The guest's address with its prefix.
    #[arg(long, value_name = "IP/PREFIX", value_parser = values::address)]
    pub address: Option<Ipv4Net>,
    /// The guest's routes, in place of all it has: "DESTINATION via GATEWAY", DESTINATION for one on the link, or "none".
    #[arg(long, value_name = "ROUTE", value_delimiter = ',', value_parser = or_none(LeaseRoute::from_str))]
    pub route: Vec<Setting<LeaseRoute>>,
    /// The guest's MAC: the pod NIC's, the one that it shows next, or this one.
    #[arg(long, value_name = "nic|learn|MAC")]
    pub guest_mac: Option<GuestMac>,
    /// What the guest is told.
    #[command(flatten)]
    pub lease: LeaseArgs,
}

impl LeaseSet {
    /// The same, for the library, and what of resolv.conf is of no use.
    pub fn change(&self) -> crate::Result<(LeaseChange, Vec<String>)> {
        let (mut options, mut warnings) = (self.lease.options()?, Vec::new());
        if let Some(path) = &self.lease.resolv_conf {
            let (resolv, useless) = Resolv::find(&NetnsSpec::Current, Some(path))?;
            let (dns, search) = (Setting::list(resolv.nameservers), Setting::list(resolv.search));
            options = options.merged_over(&LeaseOptions { dns, search, ..LeaseOptions::default() });
            warnings = useless;
        }
        let routes = list("route", &self.route, Ok)?;
        Ok((LeaseChange { options, address: self.address, routes, guest_mac: self.guest_mac }, warnings))
    }
}

/// A parser that also takes the word that takes an option away.
fn or_none<T: 'static>(
    parse: fn(&str) -> Result<T, String>,
) -> impl Fn(&str) -> Result<Setting<T>, String> + Clone + Send + Sync {
    move |text| if text == NONE { Ok(Setting::Cleared) } else { parse(text).map(Setting::Given) }
}

fn private_option(text: &str) -> Result<PrivateOption, String> {
    let (code, value) = text.split_once('=').ok_or_else(|| "not CODE=VALUE".to_owned())?;
    values::private_option(code, value)
}

/// The values of a flag that makes a list, as one.
fn list<T: Clone>(
    flag: &str,
    given: &[Setting<T>],
    check: fn(Vec<T>) -> Result<Vec<T>, String>,
) -> crate::Result<Setting<Vec<T>>> {
    let wrong = |why: String| Error::new(format!("use --{flag}"), why);
    let mut items = Vec::new();
    for setting in given {
        match setting {
            Setting::Given(item) => items.push(item.clone()),
            _ if given.len() > 1 => {
                let why = format!("\"{NONE}\" stands beside other values");
                return Err(
                    wrong(why).with_hint(format!("--{flag} {NONE} takes the option away; leave it or them out"))
                );
            }
            _ => return Ok(Setting::Cleared),
        }
    }
    if items.is_empty() {
        return Ok(Setting::AsIs);
    }
    let hint = "give each value once, and no more than an option holds";
    check(items).map(Setting::Given).map_err(|why| wrong(why).with_hint(hint))
}
