//! MAC addresses in JSON, and new ones.
//!
//! [`MacAddr`] lives in a crate without `std` and without serde, because the eBPF programs share it. In the journal and
//! in every JSON that people read it is the text form, so the fields say `#[serde(with = "crate::mac")]`.

use std::{fs::File, io::Read as _};

use binding_common::MacAddr;
use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

use crate::{Context as _, Result};

/// Writes the address as `02:00:00:00:00:01`.
pub fn serialize<S: Serializer>(mac: &MacAddr, serializer: S) -> std::result::Result<S::Ok, S::Error> {
    serializer.collect_str(mac)
}

/// Reads `02:00:00:00:00:01`.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<MacAddr, D::Error> {
    String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
}

/// A random address, locally administered and individual: it cannot collide with a vendor's.
pub fn random() -> Result<MacAddr> {
    let mut octets = [0; 6];
    File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut octets))
        .context(|| "make a random MAC address")?;
    Ok(MacAddr(octets).into_local_individual())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
    struct Holder {
        #[serde(with = "crate::mac")]
        mac: MacAddr,
    }

    #[test]
    fn json_has_the_text_form() {
        let holder = Holder { mac: MacAddr([2, 0, 0, 0, 0, 0x1f]) };
        let text = serde_json::to_string(&holder).unwrap();
        assert_eq!(text, r#"{"mac":"02:00:00:00:00:1f"}"#);
        assert_eq!(serde_json::from_str::<Holder>(&text).unwrap(), holder);
        assert!(serde_json::from_str::<Holder>(r#"{"mac":"nonsense"}"#).is_err());
    }

    #[test]
    fn a_random_address_is_local_and_individual() {
        let mac = random().unwrap();
        assert_eq!(mac.0[0] & 0b11, 0b10);
    }
}
