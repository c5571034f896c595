//! The object with the programs, and how a loader is made for it: neither may cost what `attach` has no use for.

use std::{borrow::Cow, path::Path, thread};

use aya::EbpfLoader;
use nix::{
    sched::{CloneFlags, unshare},
    unistd::chroot,
};

/// The object that `build.rs` built.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/tapwire-ebpf"));

/// Where a kernel shows its BTF.
const KERNEL_BTF: &str = "/sys/kernel/btf/vmlinux";

/// What the object's own BTF lies in, and names that no loader knows.
const SECTIONS: [(&[u8], &[u8]); 2] = [(b".BTF\0", b".btf\0"), (b".BTF.ext\0", b".btf.ext\0")];

/// Octets by which the parts of an ELF object are aligned.
const ALIGNMENT: usize = 8;

/// Whether the verifier follows the functions of the programs one by one, for which it needs the kernel's BTF; else it
/// follows them on every way, and takes twenty times as long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Functions {
    /// One by one.
    Apart,
    /// On every way that leads to them.
    Inline,
}

impl Functions {
    /// What this kernel can do.
    pub fn of_this_kernel() -> Self {
        if Path::new(KERNEL_BTF).exists() { Self::Apart } else { Self::Inline }
    }
}

/// The object, aligned. Without its BTF the kernel knows of no function that other objects could call.
pub(super) fn object(functions: Functions) -> Object {
    match functions {
        Functions::Apart => Object { octets: Cow::Borrowed(OBJECT), start: 0 },
        Functions::Inline => Object::without_btf(),
    }
}

/// See [`object`].
pub(super) struct Object {
    octets: Cow<'static, [u8]>,
    start: usize,
}

impl Object {
    fn without_btf() -> Self {
        let mut octets = vec![0; OBJECT.len() + ALIGNMENT];
        let start = octets.as_ptr().align_offset(ALIGNMENT).min(ALIGNMENT);
        octets[start..start + OBJECT.len()].copy_from_slice(OBJECT);
        for (name, other) in SECTIONS {
            while let Some(place) = octets.windows(name.len()).position(|octets| octets == name) {
                octets[place..place + name.len()].copy_from_slice(other);
            }
        }
        Self { octets: Cow::Owned(octets), start }
    }

    pub(super) fn octets(&self) -> &[u8] {
        &self.octets[self.start..self.start + OBJECT.len()]
    }
}

/// A loader that knows nothing of the kernel's BTF.
///
/// `EbpfLoader::new` reads and parses all of it, 5 MB, whether `EbpfLoader::btf` takes it away again or not: more work
/// than all the rest of `attach`, and nothing in the programs needs it. It reads a fixed path; so it is called on a
/// thread for which there is none, since only that thread has another root directory. Where that is not allowed, the
/// loader is the same and late.
pub(super) fn loader() -> EbpfLoader<'static> {
    let without_sysfs = || {
        let _ = unshare(CloneFlags::CLONE_FS).and_then(|()| chroot("/sys"));
        EbpfLoader::new()
    };
    let mut loader = thread::Builder::new()
        .name("loader".to_owned())
        .spawn(without_sysfs)
        .ok()
        .and_then(|thread| thread.join().ok())
        .unwrap_or_default();
    loader.btf(None);
    loader
}
