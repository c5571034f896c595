//! The journal: what was edited, cut short or is another program's is refused in one line; what is read is written back
//! as it was, and can be told of.

use std::path::Path;

use binding_user::journal;

pub(super) fn run(bytes: &[u8]) {
    let journal = match journal::parse(Path::new("b.json"), bytes) {
        Ok(journal) => journal,
        Err(error) => return super::assert_one_line(&error),
    };
    let text = serde_json::to_vec_pretty(&journal).unwrap();
    let again = journal::parse(Path::new("b.json"), &text).unwrap();
    assert_eq!(serde_json::to_vec_pretty(&again).unwrap(), text, "a journal changes by being kept");
    let _ = journal.is_of_another_boot();
    if let Some(snapshot) = &journal.snapshot {
        for message in snapshot.addresses.iter().chain(&snapshot.routes).chain(&snapshot.neighbours) {
            super::netlink::all_readings(message);
        }
    }
}
