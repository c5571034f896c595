//! A virtual machine that runs test binaries on a kernel of their own and ends: no NIC, no commands, only what they print.
//!
//! The tests make their pods, taps and guests in namespaces of that kernel, as they do on the machine's own. Three serial
//! ports carry what comes out: the kernel's messages, what libtest prints, and what tests report.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use tempfile::TempDir;

use crate::{
    cmd::{self, Running},
    cpio::Archive,
    initramfs::{copy, copy_libraries, link_applets},
    kernel::{Kernel, read_module},
    vm::{accelerator, base},
};

/// Runs as process 1.
const INIT: &str = include_str!("machine.sh");
/// What the tests make their pods of.
const MODULES: [&str; 9] =
    ["veth", "tun", "cls_bpf", "sch_ingress", "act_bpf", "af_packet", "macvlan", "bridge", "dummy"];
/// What the lab calls and busybox has no equal of.
const PROGRAMS: [&str; 8] = [
    "/usr/bin/dash",
    "/usr/bin/ip",
    "/usr/sbin/tc",
    "/usr/bin/strace",
    "/usr/bin/unshare",
    "/usr/bin/mount",
    "/usr/bin/mktemp",
    "/usr/bin/env",
];
/// Where the test binaries lie in the guest; beside them lies tapwire.
const TESTS: &str = "/tests";
/// In MiB. The programs of 7.2 took less than half of it.
const MEMORY: &str = "1024";

/// What ran, as the guest had it.
#[derive(Debug)]
pub struct Ran {
    /// The kernel's messages.
    pub console: String,
    /// What libtest printed.
    pub output: String,
    /// What tests wrote to the file that the variable [`REPORT`] names.
    pub report: String,
    /// Whether the guest came to its end by itself.
    pub ended: bool,
    /// From the start of QEMU to its end.
    pub time: Duration,
}

/// The last line of the output of a machine that ran all its tests.
pub const END: &str = "end of the tests";

/// The environment variable with the file that tests report to.
pub const REPORT: &str = "TAPWIRE_VERIFY_REPORT";

/// Boots a kernel with `tapwire` and test binaries, and runs these one after the other, each under its name.
pub fn run(kernel: &Kernel, tapwire: &Path, tests: &[(String, PathBuf)], deadline: Duration) -> Result<Ran> {
    let folder = tempfile::Builder::new().prefix("twt-machine-").tempdir().context("making the machine's folder")?;
    let initrd = folder.path().join("initrd");
    fs::write(&initrd, system(kernel, tapwire, tests, &folder)?).context("writing the initramfs")?;
    let file = |name: &str| folder.path().join(name);
    let mut words = base(kernel, &initrd, &file("console"), accelerator(kernel)?);
    for name in ["output", "report"] {
        words.extend(["-serial".to_owned(), format!("file:{}", file(name).display())]);
    }
    words.extend(["-m", MEMORY, "-smp", "1"].map(str::to_owned));
    let mut command = cmd::command(&words)?;
    let start = Instant::now();
    let mut qemu = Running::start(command.stdout(Stdio::null()).stderr(fs::File::create(file("qemu.log"))?))?;
    // Reaching the deadline is told by what is missing from the output.
    let ended = qemu.wait(deadline).is_ok();
    qemu.kill();
    let text = |name: &str| String::from_utf8_lossy(&fs::read(file(name)).unwrap_or_default()).into_owned();
    let console = format!("{}{}", text("qemu.log"), text("console"));
    Ok(Ran { console, output: text("output"), report: text("report"), ended, time: start.elapsed() })
}

fn system(kernel: &Kernel, tapwire: &Path, tests: &[(String, PathBuf)], scratch: &TempDir) -> Result<Vec<u8>> {
    let mut archive = Archive::new();
    for folder in ["dev", "proc", "sys", "run/netns", "tmp", "root", "usr/bin", "usr/sbin", "usr/lib", "etc/netns"] {
        archive.folder(folder)?;
    }
    for name in ["bin", "sbin", "lib"] {
        archive.link(name, &format!("usr/{name}"))?;
    }
    archive.link("usr/bin/sh", "dash")?;
    archive.file("init", 0o755, INIT.as_bytes())?;
    archive.file("etc/passwd", 0o644, b"root:x:0:0:root:/:/bin/sh\n")?;
    archive.file("etc/resolv.conf", 0o644, b"")?;
    copy(&mut archive, Path::new("/usr/bin/busybox"))?;
    copy(&mut archive, Path::new("/etc/udhcpc/default.script"))?;
    link_applets(&mut archive, &PROGRAMS)?;
    let ours: Vec<(&str, &Path)> = tests.iter().map(|(name, path)| (name.as_str(), path.as_path())).collect();
    let ours = [ours.as_slice(), &[("tapwire", tapwire)]].concat();
    for (name, path) in &ours {
        archive.file(&format!("{TESTS}/{name}"), 0o755, &stripped(path, scratch)?)?;
    }
    let names: Vec<&str> = tests.iter().map(|(name, _)| name.as_str()).collect();
    archive.file(&format!("{TESTS}/list"), 0o644, format!("{}\n", names.join("\n")).as_bytes())?;
    PROGRAMS.iter().try_for_each(|program| copy(&mut archive, Path::new(program)))?;
    let ours: Vec<String> = ours.iter().map(|(_, path)| path.display().to_string()).collect();
    let all: Vec<&str> = ours.iter().map(String::as_str).chain(PROGRAMS).collect();
    copy_libraries(&mut archive, &all)?;
    add_modules(&mut archive, kernel)?;
    archive.finish()
}

/// A program without what only debuggers read, which is most of it.
fn stripped(program: &Path, scratch: &TempDir) -> Result<Vec<u8>> {
    let to = scratch.path().join("stripped");
    cmd::run(&["strip", "-o", &to.display().to_string(), &program.display().to_string()])?;
    fs::read(&to).with_context(|| format!("reading {}", to.display()))
}

fn add_modules(archive: &mut Archive, kernel: &Kernel) -> Result<()> {
    let mut list = String::new();
    for file in kernel.module_files(&MODULES)? {
        let name = file.file_name().context("a module without a name")?.to_string_lossy().into_owned();
        let name = name.split('.').next().unwrap_or_default();
        archive.file(&format!("modules/{name}.ko"), 0o644, &read_module(&file)?)?;
        list.push_str(name);
        list.push('\n');
    }
    archive.file("modules/list", 0o644, list.as_bytes())
}
