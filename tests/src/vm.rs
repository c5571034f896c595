//! Real virtual machines: QEMU with Debian's kernel on a tap of the pod, which we can tell what to run.
//!
//! The kernel's messages go to the first serial port and into a file; commands and their output have the second to
//! themselves. KVM and vhost-net are used where they work, which for KVM is tried: a /dev/kvm that boots nothing exists.

use std::{
    fs,
    io::{Read as _, Write as _},
    os::fd::AsFd as _,
    path::{Path, PathBuf},
    process::Stdio,
    sync::OnceLock,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tempfile::TempDir;

use crate::{
    cmd::{self, Running},
    initramfs,
    kernel::Kernel,
    netns::Namespace,
    wait::wait_for,
};

/// The emulator.
pub(crate) const QEMU: &str = "qemu-system-x86_64";
/// Longest boot: TCG takes 4 to 8 s on an idle machine.
const BOOT: Duration = Duration::from_secs(90);

/// A NIC that hands on nothing unfinished, in neither direction, like an e1000. Debian's cloud kernel has no driver for that one.
pub const WITHOUT_OFFLOADS: &str = "virtio-net-pci,csum=off,gso=off,host_tso4=off,host_tso6=off,host_ecn=off,host_ufo=off,\
                                    guest_csum=off,guest_tso4=off,guest_tso6=off,guest_ecn=off,guest_ufo=off";

/// What to boot.
#[derive(Clone, Debug)]
pub struct VmConfig {
    /// The tap, which must be there already.
    pub tap: String,
    /// MAC of the guest's NIC.
    pub mac: String,
    /// Memory in MiB.
    pub memory: u32,
    /// Queue pairs; more than 1 wants a tap made for several queues, and gives the guest as many CPUs.
    pub queues: u32,
    /// QEMU's NIC model with its properties: `virtio-net-pci`, or [`WITHOUT_OFFLOADS`].
    pub model: String,
    /// A second NIC, with one queue: its tap and its MAC.
    pub second: Option<(String, String)>,
}

impl VmConfig {
    /// A small guest with one queue.
    pub fn new(tap: &str, mac: &str) -> Self {
        Self {
            tap: tap.to_owned(),
            mac: mac.to_owned(),
            memory: 256,
            queues: 1,
            model: "virtio-net-pci".to_owned(),
            second: None,
        }
    }
}

/// What a command in the guest gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Exit status.
    pub status: i32,
    /// Output and errors, mixed.
    pub output: String,
}

/// A running guest; QEMU is killed when this is dropped.
#[derive(Debug)]
pub struct Vm {
    qemu: Running,
    folder: TempDir,
    accelerator: &'static str,
    number: u32,
    unread: Vec<u8>,
}

impl Vm {
    /// Boots a guest on a tap of `namespace`, and waits until it takes commands.
    pub fn boot(namespace: &Namespace, config: &VmConfig) -> Result<Self> {
        let kernel = Kernel::debian_cloud()?;
        let folder = tempfile::Builder::new().prefix("twt-vm-").tempdir().context("making the guest's folder")?;
        let initrd = folder.path().join("initrd");
        fs::write(&initrd, initramfs::build(&kernel)?).context("writing the initramfs")?;
        let accelerator = accelerator(&kernel)?;
        let log = folder.path().join("qemu.log");
        let mut command = cmd::command(&arguments(&kernel, &initrd, folder.path(), accelerator, config))?;
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(fs::File::create(log)?);
        let qemu = namespace.spawn(&mut command)?;
        let mut vm = Self { qemu, folder, accelerator, number: 0, unread: Vec::new() };
        vm.line("the guest to boot", Instant::now() + BOOT, |line| line == "ready")?;
        Ok(vm)
    }

    /// `kvm` or `tcg`.
    pub fn accelerator(&self) -> &'static str {
        self.accelerator
    }

    /// QEMU's process id.
    pub fn pid(&self) -> i32 {
        self.qemu.pid()
    }

    /// Runs a command and gives its output; any other status than 0 is an error.
    pub fn run(&mut self, command: &str, deadline: Duration) -> Result<String> {
        let Answer { status, output } = self.ask(command, deadline)?;
        ensure!(status == 0, "`{command}` in the guest failed ({status}): {}", output.trim_end());
        Ok(output)
    }

    /// Runs a command, one line of shell, and gives status and output.
    pub fn ask(&mut self, command: &str, deadline: Duration) -> Result<Answer> {
        ensure!(!command.contains('\n'), "a command for the guest is one line");
        self.number += 1;
        let end = Instant::now() + deadline;
        let input = self.qemu.child().stdin.as_mut().context("QEMU has no standard input")?;
        writeln!(input, "{} {command}", self.number).context("sending a command to the guest")?;
        let head = format!("={} ", self.number);
        let line = self.line(&format!("the guest's answer to `{command}`"), end, |line| line.starts_with(&head))?;
        let mut words = line.split_whitespace().skip(1);
        let mut number = || -> Result<i32> { Ok(words.next().context("half an answer")?.parse()?) };
        let (status, size) = (number()?, usize::try_from(number()?)?);
        while self.unread.len() < size {
            self.more(&format!("the output of `{command}`"), end)?;
        }
        let output = self.unread.drain(..size).collect::<Vec<_>>();
        Ok(Answer { status, output: String::from_utf8_lossy(&output).into_owned() })
    }

    /// The kernel's messages so far.
    pub fn console(&self) -> String {
        fs::read(self.folder.path().join("console"))
            .map(|text| String::from_utf8_lossy(&text).into_owned())
            .unwrap_or_default()
    }

    /// The next line that `wanted` accepts; others, answers to commands that were given up, are passed over.
    fn line(&mut self, what: &str, end: Instant, wanted: impl Fn(&str) -> bool) -> Result<String> {
        loop {
            while let Some(at) = self.unread.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.unread.drain(..=at).collect();
                let line = String::from_utf8_lossy(&line).trim_end().to_owned();
                if wanted(&line) {
                    return Ok(line);
                }
            }
            self.more(what, end)?;
        }
    }

    /// Reads what the guest sends next.
    fn more(&mut self, what: &str, end: Instant) -> Result<()> {
        let output = self.qemu.child().stdout.as_mut().context("QEMU has no standard output")?;
        let left = end.saturating_duration_since(Instant::now());
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        let mut ready = [PollFd::new(output.as_fd(), PollFlags::POLLIN)];
        let mut buffer = [0; 4096];
        let size = if poll(&mut ready, timeout)? > 0 { output.read(&mut buffer)? } else { 0 };
        if size == 0 {
            bail!("waited in vain for {what}; {}", self.last_words());
        }
        self.unread.extend_from_slice(&buffer[..size]);
        Ok(())
    }

    fn last_words(&self) -> String {
        let errors = fs::read_to_string(self.folder.path().join("qemu.log")).unwrap_or_default();
        let console = self.console();
        let lines: Vec<_> = console.lines().collect();
        let tail = lines[lines.len().saturating_sub(15)..].join("\n");
        format!("QEMU said: {}; the guest's console ends with:\n{tail}", errors.trim_end())
    }
}

/// The command line of a machine without any device but the first serial port.
pub(crate) fn base(kernel: &Kernel, initrd: &Path, console: &Path, accelerator: &str) -> Vec<String> {
    let cpu = if accelerator == "kvm" { "host" } else { "max" };
    // The small machine types lack what Debian's cloud kernel wants; ACPI and PCI are cheap enough.
    let mut words = [QEMU, "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-machine", "q35"]
        .map(str::to_owned)
        .to_vec();
    words.extend(["-accel", accelerator, "-cpu", cpu].map(str::to_owned));
    words.extend(["-kernel".to_owned(), kernel.image.display().to_string()]);
    words.extend(["-initrd".to_owned(), initrd.display().to_string()]);
    let line = "console=ttyS0 quiet loglevel=4 panic=-1 mitigations=off random.trust_cpu=on net.ifnames=0 tsc=unstable";
    words.extend(["-append".to_owned(), line.to_owned()]);
    words.extend(["-serial".to_owned(), format!("file:{}", console.display())]);
    words
}

fn arguments(kernel: &Kernel, initrd: &Path, folder: &Path, accelerator: &str, config: &VmConfig) -> Vec<String> {
    let VmConfig { tap, mac, memory, queues, model, second } = config;
    let mut words = base(kernel, initrd, &folder.join("console"), accelerator);
    words.extend(["-chardev", "stdio,id=commands,signal=off", "-serial", "chardev:commands"].map(str::to_owned));
    words.extend(["-m".to_owned(), memory.to_string(), "-smp".to_owned(), queues.to_string()]);
    let vhost = if Path::new("/dev/vhost-net").exists() && model.starts_with("virtio") { "on" } else { "off" };
    let mut netdev = format!("tap,id=nic,ifname={tap},script=no,downscript=no,vhost={vhost}");
    let mut device = format!("{model},netdev=nic,mac={mac},romfile=");
    if *queues > 1 {
        netdev = format!("{netdev},queues={queues}");
        device = format!("{device},mq=on,vectors={}", 2 * queues + 2);
    }
    words.extend(["-netdev".to_owned(), netdev, "-device".to_owned(), device]);
    if let Some((tap, mac)) = second {
        let netdev = format!("tap,id=second,ifname={tap},script=no,downscript=no,vhost={vhost}");
        let device = format!("{model},netdev=second,mac={mac},romfile=");
        words.extend(["-netdev".to_owned(), netdev, "-device".to_owned(), device]);
    }
    words
}

/// The best accelerator that boots a guest; found out once per process.
pub(crate) fn accelerator(kernel: &Kernel) -> Result<&'static str> {
    static FOUND: OnceLock<&'static str> = OnceLock::new();
    if let Some(found) = FOUND.get() {
        return Ok(found);
    }
    let found = if Path::new("/dev/kvm").exists() && kvm_boots(kernel)? { "kvm" } else { "tcg" };
    Ok(FOUND.get_or_init(|| found))
}

/// Whether a kernel says anything within two seconds under KVM; where KVM works it takes a tenth of that.
fn kvm_boots(kernel: &Kernel) -> Result<bool> {
    let folder = tempfile::tempdir().context("making a folder for the KVM trial")?;
    let console: PathBuf = folder.path().join("console");
    // Any file does as initramfs: the trial ends long before it is looked at.
    let empty = folder.path().join("initrd");
    fs::write(&empty, "")?;
    let words: Vec<_> = base(kernel, &empty, &console, "kvm")
        .into_iter()
        .map(|word| word.replace("quiet loglevel=4", "earlyprintk=ttyS0"))
        .collect();
    let mut qemu = Running::start(cmd::command(&words)?.stdout(Stdio::null()).stderr(Stdio::null()))?;
    let spoke = wait_for("a kernel under KVM", Duration::from_secs(2), || {
        if qemu.ended()?.is_some() {
            return Ok(Some(false));
        }
        let text = fs::read(&console).unwrap_or_default();
        Ok(String::from_utf8_lossy(&text).contains("Linux version").then_some(true))
    });
    Ok(spoke.unwrap_or(false))
}
