//! Which compiler builds the eBPF programs: one answer for `build.rs`, which uses it, and for `cargo xtask setup`, which
//! installs what it lacks. Both include this file, so that they never differ.
//!
//! Only looks; never downloads or installs.

use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// The name under which `cargo xtask setup` links the distribution's rustc into rustup.
pub(crate) const LINKED: &str = "tapwire-bpf";
/// The environment variable that names a toolchain, and so ends the search.
pub(crate) const CHOICE: &str = "TAPWIRE_BPF_TOOLCHAIN";

const NIGHTLY: &str = "nightly";
/// bpf-linker 0.10 reads bitcode of this LLVM and older ones, while nightlies move on.
const LLVM_OF_LINKER_0_10: u32 = 22;

/// How the eBPF crate is compiled.
pub(crate) struct Compiler {
    /// The name for `rustup run`.
    pub(crate) toolchain: String,
    /// Whether cargo must build `core` from source, which only a nightly can; otherwise `core` is there ready-built.
    pub(crate) builds_core: bool,
}

/// The toolchain that was asked for, else a nightly that can build `core`, else the one that set-up linked.
/// `target` is the BPF target, `linker` the bpf-linker that will be used. The error says what is missing.
pub(crate) fn choose(target: &str, linker: &Path) -> Result<Compiler, String> {
    if let Some(toolchain) = env::var(CHOICE).ok().filter(|name| !name.is_empty()) {
        let builds_core = !has_core(&toolchain, target);
        if builds_core && !has_source(&toolchain) {
            return Err(format!("{CHOICE}={toolchain} has neither rust-src nor core for {target}"));
        }
        return Ok(Compiler { toolchain, builds_core });
    }
    if has_source(NIGHTLY) && linker_reads(linker, NIGHTLY) {
        return Ok(Compiler { toolchain: NIGHTLY.into(), builds_core: true });
    }
    if has_core(LINKED, target) {
        return Ok(Compiler { toolchain: LINKED.into(), builds_core: false });
    }
    Err(format!("neither a nightly with rust-src that bpf-linker can read nor the toolchain {LINKED} is installed"))
}

/// The version of a bpf-linker, as `0.10.3`.
pub(crate) fn linker_version(linker: &Path) -> Option<String> {
    let text = output(Command::new(linker).arg("--version"))?;
    text.split_whitespace().nth(1).map(str::to_owned)
}

/// Finds a program as a shell would.
pub(crate) fn which(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// Where the toolchain is installed; nothing if it is not.
pub(crate) fn sysroot(toolchain: &str) -> Option<PathBuf> {
    let path = output(rustc(toolchain).args(["--print", "sysroot"]))?;
    Some(PathBuf::from(path.trim()))
}

fn has_source(toolchain: &str) -> bool {
    sysroot(toolchain).is_some_and(|sysroot| sysroot.join("lib/rustlib/src/rust/library/core").is_dir())
}

fn has_core(toolchain: &str, target: &str) -> bool {
    sysroot(toolchain).is_some_and(|sysroot| sysroot.join("lib/rustlib").join(target).join("lib").is_dir())
}

/// A linker other than the pinned 0.10 was chosen by somebody for their nightly, so it is not second-guessed.
fn linker_reads(linker: &Path, toolchain: &str) -> bool {
    let pinned = linker_version(linker).is_none_or(|version| version.starts_with("0.10."));
    !pinned || llvm(toolchain).is_some_and(|major| major <= LLVM_OF_LINKER_0_10)
}

fn llvm(toolchain: &str) -> Option<u32> {
    let text = output(rustc(toolchain).arg("-vV"))?;
    let version = text.lines().find_map(|line| line.strip_prefix("LLVM version: "))?;
    version.split('.').next()?.parse().ok()
}

/// Without rustup there is one toolchain only, the one on the path, and `aya-build` takes it whatever name it is given.
fn rustc(toolchain: &str) -> Command {
    match which("rustup") {
        Some(rustup) => {
            let mut command = Command::new(rustup);
            command.args(["run", toolchain, "rustc"]);
            command
        }
        None => Command::new("rustc"),
    }
}

fn output(command: &mut Command) -> Option<String> {
    let output = command.stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8(output.stdout).ok()).flatten()
}
