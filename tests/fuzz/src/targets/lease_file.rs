//! The lease file: any text is refused in one line that names its own line, or makes options that a lease takes.

use std::path::Path;

use binding_user::{
    dhcp::Replies,
    lease::{LeaseOptions, file},
};

use crate::bindings;

pub(super) fn run(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let options = match file::parse(Path::new("vm.toml"), text) {
        Ok(options) => options,
        Err(error) => {
            super::assert_one_line(&error);
            let said = error.to_string();
            let line = said.strip_prefix("read the lease file vm.toml, line ").and_then(|rest| rest.split_once(':'));
            let line: usize = line.unwrap().0.parse().unwrap();
            assert!(line >= 1 && line <= text.matches('\n').count() + 1, "{said}");
            assert!(error.hint().is_some(), "{said}");
            return;
        }
    };
    let kept = serde_json::to_string(&options).unwrap();
    assert_eq!(serde_json::from_str::<LeaseOptions>(&kept).unwrap(), options, "the journal loses some of it");
    let mut lease = bindings::usual();
    options.apply(&mut lease);
    match Replies::new(&lease) {
        Ok(replies) => assert!(replies.warnings().iter().all(|warning| !warning.contains(char::is_control))),
        Err(error) => super::assert_one_line(&error),
    }
}
