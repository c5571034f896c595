//! Which MAC the guest has, if not the pod NIC's.

use std::{fmt, str::FromStr};

use binding_common::MacAddr;
use serde::{Deserialize, Serialize};

/// `--guest-mac`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum GuestMac {
    /// The one that the pod NIC had: no frame to the network is edited.
    #[default]
    Nic,
    /// The source of the first frame that the guest sends.
    Learn,
    /// This one.
    Fixed(MacAddr),
}

impl GuestMac {
    /// The guest's MAC as far as it is known before the guest has sent anything; `nic` is the pod NIC's.
    pub fn expected(self, nic: MacAddr) -> MacAddr {
        match self {
            Self::Nic | Self::Learn => nic,
            Self::Fixed(mac) => mac,
        }
    }
}

impl fmt::Display for GuestMac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nic => f.write_str("nic"),
            Self::Learn => f.write_str("learn"),
            Self::Fixed(mac) => mac.fmt(f),
        }
    }
}

impl FromStr for GuestMac {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "nic" => Ok(Self::Nic),
            "learn" => Ok(Self::Learn),
            _ => match text.parse() {
                Ok(mac @ MacAddr(_)) if mac.is_group() => Err("a guest has no group address as its MAC".to_owned()),
                Ok(MacAddr::ZERO) => Err("a guest has no MAC of zeros".to_owned()),
                Ok(mac) => Ok(Self::Fixed(mac)),
                Err(_) => Err("not \"nic\", \"learn\" or a MAC of the form 02:00:00:00:00:01".to_owned()),
            },
        }
    }
}

impl TryFrom<String> for GuestMac {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<GuestMac> for String {
    fn from(mac: GuestMac) -> Self {
        mac.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_a_word_or_the_mac_of_a_device() {
        for text in ["nic", "learn", "02:00:00:00:00:09"] {
            assert_eq!(text.parse::<GuestMac>().unwrap().to_string(), text);
        }
        for text in ["", "auto", "01:00:5e:00:00:01", "ff:ff:ff:ff:ff:ff", "00:00:00:00:00:00", "02-00-00-00-00-09"] {
            assert!(text.parse::<GuestMac>().is_err(), "{text}");
        }
    }
}
