//! The journal: what was edited, cut short or is another program's is refused in one line; what is read is written back
//! as it was, and can be told of.

use std::path::PathBuf;

use binding_user::journal;

pub(super) fn run(bytes: &[u8]) {
    // A journal lies under its binding's name.
    let value = serde_json::from_slice::<serde_json::Value>(bytes).unwrap_or_default();
    let path = PathBuf::from(format!("{}.json", value["name"].as_str().unwrap_or("b").replace(char::is_control, "?")));
    let journal = match journal::parse(&path, bytes) {
        Ok(journal) => journal,
        Err(error) => return super::assert_one_line(&error),
    };
    let text = serde_json::to_vec_pretty(&journal).unwrap();
    let again = journal::parse(&path, &text).unwrap();
    assert_eq!(serde_json::to_vec_pretty(&again).unwrap(), text, "a journal changes by being kept");
    let _ = journal.is_of_another_boot();
    if let Some(snapshot) = &journal.snapshot {
        for message in snapshot.addresses.iter().chain(&snapshot.routes).chain(&snapshot.neighbours) {
            super::netlink::all_readings(message);
        }
    }
}
