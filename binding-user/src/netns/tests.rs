//! Namespaces, with root.

use std::{fs, path::Path};

use super::*;
use crate::lab::{Lab, wait_for};

#[test]
fn a_thread_enters_and_the_caller_stays() {
    let Some(lab) = Lab::new() else { return };
    let before = Netns::current().unwrap();
    let pod = lab.pod.open();
    let inside = pod.run(|| Ok(Netns::current()?.id())).unwrap();
    assert_eq!(inside, pod.id());
    assert!(inside.cookie.is_some(), "this kernel has cookies");
    assert!(before.same(&Netns::current().unwrap()));
    assert!(!before.same(&pod) && !pod.same(&lab.node.open()));
}

#[test]
fn a_panic_inside_is_an_error_outside() {
    let Some(lab) = Lab::new() else { return };
    let error = lab.pod.open().run(|| -> Result<()> { panic!("on purpose") }).unwrap_err();
    assert!(error.to_string().contains("panicked"), "{error}");
}

#[test]
fn what_is_no_namespace_is_refused() {
    let Some(lab) = Lab::new() else { return };
    let error = Netns::open(&NetnsSpec::Path("/dev/null".into())).unwrap_err();
    assert!(error.to_string().contains("not a network namespace"), "{error}");
    let error = Netns::open(&NetnsSpec::Path("/proc/self/ns/mnt".into())).unwrap_err();
    assert!(error.to_string().contains("not a network namespace"), "{error}");
    let error = Netns::open(&NetnsSpec::Named(format!("{}-not", lab.pod.name))).unwrap_err();
    assert!(error.hint().is_some(), "{error}");
    let error = Netns::open(&NetnsSpec::Pid(u32::MAX)).unwrap_err();
    assert!(error.to_string().contains("no such process"), "{error}");
}

#[test]
fn a_namespace_is_found_again_by_any_path() {
    let Some(lab) = Lab::new() else { return };
    let pod = lab.pod.open();
    let id = pod.id();
    for hint in [Some(pod.path()), Some(Path::new("/nonexistent")), None] {
        assert!(Netns::find(&id, hint).unwrap().is_some_and(|found| found.same(&pod)), "{hint:?}");
    }
    // Only a process holds it.
    let mut process =
        std::process::Command::new("ip").args(["netns", "exec", &lab.pod.name, "sleep", "60"]).spawn().unwrap();
    let path = NetnsSpec::Pid(process.id()).path();
    wait_for(|| fs::metadata(&path).is_ok_and(|meta| meta.ino() == id.ino));
    drop(pod);
    drop(lab);
    let found = Netns::find(&id, None).unwrap();
    let found_path = found.map(|found| found.path().to_owned());
    process.kill().unwrap();
    process.wait().unwrap();
    assert_eq!(found_path, Some(path));
    wait_for(|| Netns::find(&id, None).unwrap().is_none());
}

#[test]
fn another_namespace_with_the_same_inode_is_another() {
    let Some(lab) = Lab::new() else { return };
    let id = lab.pod.open().id();
    let reused = NetnsId { cookie: id.cookie.map(|cookie| cookie + 1), ..id };
    assert!(Netns::find(&reused, None).unwrap().is_none());
    let old_kernel = NetnsId { cookie: None, ..id };
    assert!(Netns::find(&old_kernel, None).unwrap().is_some());
}

#[test]
fn a_namespace_of_ours_is_not_the_machines() {
    let Some(lab) = Lab::new() else { return };
    assert_eq!(lab.pod.open().is_machines_own(), MachinesOwn::No);
    assert_ne!(Netns::current().unwrap().is_machines_own(), MachinesOwn::No);
}
