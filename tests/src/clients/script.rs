//! Clients that call a script for each change of their lease, with all they know of it in its environment.
//!
//! Each runs its own, unchanged script. A wrapper around it only notes the event and the variables.

use std::{collections::BTreeMap, fs, os::unix::fs::PermissionsExt as _, path::Path};

use anyhow::{Context as _, Result};

use super::{jail::Jail, lease::Event};

/// Runs the client's own script and then notes the event. The file appears whole, under its own name, by the rename.
const WRAPPER: &str = "#!/bin/sh
'@SCRIPT@' \"$@\"
status=$?
new=$(mktemp '@FOLDER@/new.XXXXXX')
{ echo \"lab_argument=$1\"; env; } >\"$new\"
number=$(ls '@FOLDER@/events' | wc -l)
mv \"$new\" \"@FOLDER@/events/$(printf %05d \"$number\")\"
exit $status
";

/// The script that a client is to call in place of its own one.
pub(super) fn wrapper(jail: &Jail, script: &str) -> Result<String> {
    let path = path(jail);
    fs::create_dir_all(jail.path("events"))?;
    let text = WRAPPER.replace("@SCRIPT@", script).replace("@FOLDER@", &jail.path("").display().to_string());
    fs::write(&path, text)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    Ok(path)
}

/// Where the wrapper is.
pub(super) fn path(jail: &Jail) -> String {
    jail.path("script").display().to_string()
}

/// The calls of the script, in order.
pub(super) fn events(jail: &Jail) -> Result<Vec<Event>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(jail.path("events"))? {
        files.push(entry?.path());
    }
    files.sort();
    files.iter().map(|file| event(file)).collect()
}

/// udhcpc names the event in its script's argument, the others in `reason`.
fn event(file: &Path) -> Result<Event> {
    let text = fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    let told: BTreeMap<_, _> = pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    let reason = told.get("reason").or_else(|| told.get("lab_argument")).cloned().unwrap_or_default();
    let is_lease = matches!(reason.as_str(), "bound" | "renew" | "BOUND" | "RENEW" | "REBIND" | "REBOOT");
    Ok(Event { reason, is_lease, told })
}
