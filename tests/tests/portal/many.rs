//! Many portals on one node.

use lab::{Namespace, Offloads, RawPort, TapPort, Tapwire, portal};

use crate::wire::{EXPERIMENT, SOON, addressed};

/// Bindings, all in one pod's namespace: what is tried is the node's.
const COUNT: usize = 200;

#[test]
fn two_hundred_portals_lead_each_to_its_own_guest_and_all_go() {
    lab::require_root!();
    let (node, pod) = (Namespace::new("many-node").unwrap(), Namespace::new("many-pod").unwrap());
    let tapwire = Tapwire::new().unwrap();
    batch(&pod, |number| format!("link add nic{number} up type veth peer name host{number} netns {}", node.name()));
    batch(&node, |number| format!("link set host{number} up"));
    for number in 0..COUNT {
        let (nic, tap, name) = (format!("nic{number}"), format!("tap{number}"), format!("n{number}"));
        let line = ["attach", "--netns", pod.name(), "--node-netns", node.name(), "--nic", &nic, "--tap", &tap];
        tapwire.run(&[&line[..], &["--name", &name, "--guard", "off"]].concat()).unwrap();
    }
    assert_eq!(portal::all(&node).unwrap().len(), COUNT);
    let some = [0, 1, COUNT / 2, COUNT - 1];
    let taps = some.map(|number| TapPort::ready(&pod, &format!("tap{number}"), Offloads::None).unwrap());
    portal::wait_until_ready(&node, some.len()).unwrap();
    for number in some {
        let mark = u8::try_from(number).unwrap();
        let frame = addressed([0xff; 6], [2, 0, 0, 0, 0, 9], mark);
        RawPort::open(&node, &format!("host{number}")).unwrap().send(&frame).unwrap();
    }
    for (number, tap) in some.into_iter().zip(&taps) {
        let (_, frame) = tap.expect("its frame", SOON, |frame| frame.get(12..14) == Some(&EXPERIMENT)).unwrap();
        assert_eq!(usize::from(frame[20]), number, "it got another's");
    }
    drop(taps);
    for number in 0..COUNT {
        tapwire.run(&["detach", &format!("n{number}")]).unwrap();
    }
    assert_eq!(portal::all(&node).unwrap(), []);
}

/// A command of `ip` for each number, in one call.
fn batch(namespace: &Namespace, command: impl Fn(usize) -> String) {
    let file = tempfile::NamedTempFile::new().unwrap();
    let commands: Vec<String> = (0..COUNT).map(command).collect();
    std::fs::write(file.path(), commands.join("\n") + "\n").unwrap();
    namespace.ip(&["-batch", &file.path().display().to_string()]).unwrap();
}
