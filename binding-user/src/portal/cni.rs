//! Whether a CNI is at work on this node whose policy is in eBPF programs on the host sides.
//!
//! Such a CNI may come to a host side later than we, at the tail of the list, and nobody of ours may be there to see it:
//! so where one is, the portal stays away. Each leaves fixed names on the bpffs, or says who it is in the configuration
//! that the container runtime reads; the look does not grow with the pods of the node.

use std::{fs, path::Path};

use serde_json::Value;

use crate::{
    datapath::Bpffs,
    input::{self, Links},
};

/// What each of them pins, beside the folder of our own pins. None is of a single pod.
const PINS: [(&str, &[&str]); 3] = [
    ("Cilium", &["cilium", "tc/globals/cilium_ipcache", "tc/globals/cilium_lxc"]),
    (
        "Calico's eBPF data path",
        &[
            "tc/globals/cali_v4_routes",
            "tc/globals/cali_v4_arp2",
            "tc/globals/cali_v4_nat_fe",
            "tc/globals/cali_v4_nat_fe2",
            "tc/globals/cali_v4_nat_fe3",
        ],
    ),
    (
        "the network policy agent of AWS",
        &["globals/aws/maps/global_aws_conntrack_map", "globals/aws/maps/aws_conntrack_map"],
    ),
];
/// Types of plugins that are theirs, in the configuration.
const PLUGINS: [(&str, &str); 1] = [("Cilium", "cilium-cni")];
/// Files of the configuration that are read; a node has one or two.
const FILES: usize = 32;
/// Octets of one that are read.
const LIMIT: u64 = 256 * 1024;

/// The name of such a CNI, if there is one. `configuration` is the folder that the container runtime reads.
pub(crate) fn find(bpffs: &Bpffs, configuration: &Path) -> Option<&'static str> {
    let pinned = |name: &&str| bpffs.path().parent().is_some_and(|root| root.join(name).exists());
    let by_pins = PINS.iter().find(|(_, pins)| pins.iter().any(&pinned));
    by_pins.map(|(name, _)| *name).or_else(|| by_configuration(configuration))
}

fn by_configuration(folder: &Path) -> Option<&'static str> {
    let files = fs::read_dir(folder).ok()?.flatten().map(|entry| entry.path());
    let is_configuration = |path: &std::path::PathBuf| {
        path.extension().is_some_and(|extension| ["conf", "conflist", "json"].iter().any(|known| extension == *known))
    };
    // One that cannot be read says nothing; the host side is looked at in any case.
    let read = |path: std::path::PathBuf| {
        let text = input::read(&path, LIMIT, Links::Followed).ok()?;
        by_types(&serde_json::from_slice(&text).ok()?)
    };
    files.filter(is_configuration).take(FILES).find_map(read)
}

/// A configuration is one plugin, or a list of them.
fn by_types(configuration: &Value) -> Option<&'static str> {
    let plugins = configuration["plugins"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut types = [configuration].into_iter().chain(plugins).filter_map(|plugin| plugin["type"].as_str());
    types.find_map(|kind| PLUGINS.iter().find(|(_, plugin)| *plugin == kind)).map(|(name, _)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_known_by_its_pins() {
        let root = tempfile::tempdir().unwrap();
        let bpffs = Bpffs::at(root.path().join("tapwire"));
        let none = root.path().join("net.d");
        assert_eq!(find(&bpffs, &none), None);
        for (name, pins) in PINS {
            for pin in pins {
                fs::create_dir_all(root.path().join(pin)).unwrap();
                assert_eq!(find(&bpffs, &none), Some(name), "{pin}");
                fs::remove_dir(root.path().join(pin)).unwrap();
            }
        }
    }

    #[test]
    fn it_is_known_by_its_configuration_and_others_are_not_taken_for_it() {
        let root = tempfile::tempdir().unwrap();
        let bpffs = Bpffs::at(root.path().join("pins/tapwire"));
        let file = root.path().join("05-cni.conflist");
        for (text, found) in [
            (r#"{"name":"x","plugins":[{"type":"flannel"},{"type":"portmap"}]}"#, None),
            (r#"{"name":"cilium","plugins":[{"type":"cilium-cni"},{"type":"portmap"}]}"#, Some("Cilium")),
            (r#"{"name":"cilium","type":"cilium-cni"}"#, Some("Cilium")),
            ("no JSON", None),
        ] {
            fs::write(&file, text).unwrap();
            assert_eq!(find(&bpffs, root.path()), found, "{text}");
        }
        fs::write(root.path().join("05-cni.bak"), r#"{"type":"cilium-cni"}"#).unwrap();
        assert_eq!(find(&bpffs, root.path()), None);
    }
}
