//! Rules, MACs and `EtherType`s as they are written: on the command line, in the journal, in the policy file.

use std::{fmt, str::FromStr};

use binding_common::{MacAddr, guard::Rule};
use serde::{Deserialize, Serialize};

/// The rule of a name.
pub(super) fn rule(name: &str) -> Option<Rule> {
    Rule::ALL.iter().copied().find(|rule| rule.name() == name)
}

/// All names, each with a prefix.
pub(super) fn all(prefix: &str) -> String {
    let names: Vec<_> = Rule::ALL.iter().map(|rule| format!("{prefix}{}", rule.name())).collect();
    names.join(" ")
}

/// A rule by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "&'static str")]
pub struct RuleName(pub Rule);

impl From<RuleName> for &'static str {
    fn from(name: RuleName) -> Self {
        name.0.name()
    }
}

impl TryFrom<String> for RuleName {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        rule(&name).map(Self).ok_or_else(|| format!("there is no rule {name:?}; the rules are {}", all("")))
    }
}

/// A MAC that a guest may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mac(#[serde(with = "crate::mac")] pub MacAddr);

impl FromStr for Mac {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(mac @ MacAddr(_)) if mac.is_group() => Err("a source is no group address".to_owned()),
            Ok(MacAddr::ZERO) => Err("no source is a MAC of zeros".to_owned()),
            Ok(mac) => Ok(Self(mac)),
            Err(error) => Err(error.to_string()),
        }
    }
}

/// An `EtherType`, written as `0x88b5`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EtherType(pub u16);

impl fmt::Display for EtherType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#06x}", self.0)
    }
}

impl From<EtherType> for String {
    fn from(kind: EtherType) -> Self {
        kind.to_string()
    }
}

impl TryFrom<String> for EtherType {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl FromStr for EtherType {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text.strip_prefix("0x").filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()));
        match digits.map(|digits| u16::from_str_radix(digits, 16)) {
            Some(Ok(kind @ 0x0600..)) => Ok(Self(kind)),
            Some(Ok(_)) => Err("below 0x0600 it is a length, not a type".to_owned()),
            _ => Err("not an EtherType of the form 0x88b5".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_has_the_name_of_its_drops() {
        for rule in Rule::ALL {
            assert_eq!(RuleName::try_from(rule.name().to_owned()), Ok(RuleName(*rule)));
            assert_eq!(rule.name(), rule.reason().name());
        }
        assert!(RuleName::try_from("too-big".to_owned()).is_err());
    }

    #[test]
    fn ether_types_are_written_in_hexadecimal() {
        assert_eq!("0x88b5".parse(), Ok(EtherType(0x88b5)));
        assert_eq!(EtherType(0x0600).to_string(), "0x0600");
        for text in ["", "0x", "88b5", "0x5ff", "0x+8b5", "0x10000", "35000"] {
            assert!(text.parse::<EtherType>().is_err(), "{text}");
        }
    }

    #[test]
    fn no_frame_comes_from_a_group_or_from_nobody() {
        assert!("00:00:5e:00:01:01".parse::<Mac>().is_ok());
        for text in ["01:00:5e:00:00:01", "ff:ff:ff:ff:ff:ff", "00:00:00:00:00:00", "x"] {
            assert!(text.parse::<Mac>().is_err(), "{text}");
        }
    }
}
