//! The whole system of the lab's virtual machines: busybox, the three DHCP clients with Debian's scripts, iperf3, the
//! modules for a virtio NIC, and an init that obeys the second serial port.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use crate::{cmd, cpio::Archive, kernel::Kernel};

/// Runs as process 1 of the guest.
const INIT: &str = include_str!("init.sh");
/// What the guest's NIC needs.
const MODULES: [&str; 3] = ["virtio_pci", "virtio_net", "af_packet"];
/// Further modules that tests may load by hand; taken where the kernel has them.
const EXTRA_MODULES: [&str; 3] = ["e1000", "8021q", "bonding"];
/// Programs that busybox has no equal of, or that the clients' scripts want as Debian has them; each comes with the
/// libraries it needs. The shell is one, because busybox's prefers its own programs to those in the path.
const PROGRAMS: [&str; 10] = [
    "/usr/bin/dash",
    "/usr/sbin/dhclient",
    "/usr/sbin/dhcpcd",
    "/usr/bin/iperf3",
    "/usr/bin/ip",
    "/usr/sbin/tc",
    "/usr/sbin/ethtool",
    "/usr/bin/chown",
    "/usr/bin/chmod",
    "/usr/bin/run-parts",
];
/// Scripts and configuration of the clients, files or folders.
const FILES: [&str; 6] = [
    "/etc/udhcpc/default.script",
    "/sbin/dhclient-script",
    "/etc/dhcp",
    "/etc/dhcpcd.conf",
    "/usr/lib/dhcpcd/dhcpcd-run-hooks",
    "/usr/lib/dhcpcd/dhcpcd-hooks",
];
/// The guest's users: dhcpcd wants one to fall back to.
const PASSWD: &str = "root:x:0:0:root:/:/bin/sh\ndhcpcd:x:102:65534::/usr/lib/dhcpcd:/bin/false\n";

/// Makes the initramfs for a kernel.
pub fn build(kernel: &Kernel) -> Result<Vec<u8>> {
    let mut archive = Archive::new();
    for folder in
        ["dev", "proc", "sys", "run", "tmp", "usr/bin", "usr/sbin", "usr/lib", "var/lib/dhcp", "var/lib/dhcpcd"]
    {
        archive.folder(folder)?;
    }
    // As on Debian, or the interpreter's path and the scripts' would not be found.
    for name in ["bin", "sbin", "lib"] {
        archive.link(name, &format!("usr/{name}"))?;
    }
    archive.link("var/run", "/run")?;
    archive.link("usr/bin/sh", "dash")?;
    archive.file("init", 0o755, INIT.as_bytes())?;
    archive.file("etc/passwd", 0o644, PASSWD.as_bytes())?;
    archive.file("etc/group", 0o644, b"root:x:0:\nnogroup:x:65534:\n")?;
    archive.file("etc/resolv.conf", 0o644, b"")?;
    archive.file("etc/fstab", 0o644, b"")?;
    copy(&mut archive, Path::new("/usr/bin/busybox"))?;
    PROGRAMS.iter().try_for_each(|program| copy(&mut archive, Path::new(program)))?;
    copy_libraries(&mut archive, &PROGRAMS)?;
    link_applets(&mut archive, &PROGRAMS)?;
    for file in FILES {
        copy(&mut archive, Path::new(file))?;
    }
    add_modules(&mut archive, kernel)?;
    archive.finish()
}

/// Copies the libraries of programs, each once.
pub(crate) fn copy_libraries(archive: &mut Archive, programs: &[&str]) -> Result<()> {
    let mut libraries = Vec::new();
    for program in programs {
        libraries.extend(needed_libraries(program)?);
    }
    libraries.sort();
    libraries.dedup();
    libraries.iter().try_for_each(|library| copy(archive, library))
}

/// Makes busybox stand in for every program that is not there as Debian has it. Here, because 270 calls of `ln` in the
/// guest take three seconds of an emulated CPU.
pub(crate) fn link_applets(archive: &mut Archive, programs: &[&str]) -> Result<()> {
    for name in cmd::run(&["busybox", "--list"])?.lines() {
        let real = |program: &&str| program.rsplit('/').next() == Some(name);
        if !matches!(name, "busybox" | "sh") && !programs.iter().any(real) {
            archive.link(&format!("usr/bin/{name}"), "busybox")?;
        }
    }
    Ok(())
}

fn add_modules(archive: &mut Archive, kernel: &Kernel) -> Result<()> {
    let mut list = String::new();
    for file in kernel.module_files(&MODULES)? {
        let name = file.file_name().context("a module without a name")?.to_string_lossy().into_owned();
        archive.file(&format!("modules/{name}"), 0o644, &fs::read(&file)?)?;
        list.push_str(&name);
        list.push('\n');
    }
    archive.file("modules/list", 0o644, list.as_bytes())?;
    for module in EXTRA_MODULES {
        let Ok(files) = kernel.module_files(&[module]) else {
            continue;
        };
        for (number, file) in files.iter().enumerate() {
            let name = file.file_name().context("a module without a name")?.to_string_lossy().into_owned();
            archive.file(&format!("modules/extra/{module}/{number:02}-{name}"), 0o644, &fs::read(file)?)?;
        }
    }
    Ok(())
}

/// Copies a file or a folder to the same place; /bin, /sbin and /lib are links on both sides.
pub(crate) fn copy(archive: &mut Archive, path: &Path) -> Result<()> {
    let data = fs::metadata(path).with_context(|| format!("{} is missing on this machine", path.display()))?;
    if data.is_dir() {
        let mut entries = fs::read_dir(path)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
        entries.sort();
        return entries.iter().try_for_each(|entry| copy(archive, entry));
    }
    let bytes = fs::read(path).with_context(|| format!("reading {}", path.display()))?;
    archive.file(&merged(path), data.permissions().mode() & 0o777, &bytes)
}

/// The place of a file on a system whose /bin, /sbin and /lib are links into /usr.
fn merged(path: &Path) -> String {
    let text = path.display().to_string();
    let moved = ["/bin/", "/sbin/", "/lib/"].iter().any(|start| text.starts_with(start));
    if moved { format!("/usr{text}") } else { text }
}

/// The libraries of a program, as its loader finds them.
fn needed_libraries(program: &str) -> Result<Vec<PathBuf>> {
    let text = cmd::run(&["ldd", program])?;
    // `name => /path (address)`, or `/path (address)` for the interpreter.
    let words = text.lines().filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/')));
    Ok(words.map(PathBuf::from).collect())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::merged;

    #[test]
    fn old_places_are_under_usr() {
        assert_eq!(merged(Path::new("/sbin/dhclient-script")), "/usr/sbin/dhclient-script");
        assert_eq!(merged(Path::new("/lib64/ld.so")), "/lib64/ld.so");
    }
}
