//! Builds the eBPF programs, so that `cargo build` alone yields a `tapwire` that carries them.
//!
//! The object is left as `OUT_DIR/tapwire-ebpf`. There are two ways to a compiler for BPF, and this file only detects
//! which one the machine has: a nightly with `rust-src`, as aya expects; or a stable rustc of a distribution that ships
//! a ready-built `core` for BPF, linked into rustup by `cargo xtask setup`.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, anyhow};
use aya_build::Toolchain;

/// The name under which `cargo xtask setup` links the distribution's rustc into rustup.
const LINKED: &str = "tapwire-bpf";
const CHOICE: &str = "TAPWIRE_BPF_TOOLCHAIN";
const OBJECT: &str = "tapwire-ebpf";

/// How the eBPF crate is compiled.
struct Compiler {
    /// The name for `rustup run`.
    toolchain: String,
    /// Whether cargo must build `core` from source, which only a nightly can; otherwise `core` is there ready-built.
    builds_core: bool,
}

#[expect(
    clippy::exit,
    reason = "an error returned from main prints its Debug form over many lines"
)]
fn main() {
    if let Err(error) = build() {
        eprintln!("error: eBPF programs: {error:#}");
        std::process::exit(1);
    }
}

fn build() -> Result<()> {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed={CHOICE}");
    let root = manifest_dir()?.join("..");
    for input in ["binding-common", "Cargo.toml", "Cargo.lock"] {
        println!("cargo:rerun-if-changed={}", root.join(input).display());
    }

    let skip =
        env::var_os("AYA_BUILD_SKIP").is_some_and(|v| v == "1" || v.eq_ignore_ascii_case("true"));
    let toolchain = if skip { String::new() } else { prepare()? };

    let ebpf = root.join("binding-ebpf");
    let package = aya_build::Package {
        name: "binding-ebpf",
        root_dir: ebpf
            .to_str()
            .context("the path of the sources is not UTF-8")?,
        ..aya_build::Package::default()
    };
    aya_build::build_ebpf([package], Toolchain::Custom(&toolchain))?;
    if skip { placeholder() } else { Ok(()) }
}

/// Chooses the compiler and sets up this process's environment for `aya-build`. Returns the toolchain's name.
fn prepare() -> Result<String> {
    let linker = which("bpf-linker").ok_or_else(|| missing("bpf-linker is not installed"))?;
    println!("cargo:rerun-if-changed={}", linker.display());

    // SAFETY: this process is a build script with a single thread; nothing else reads the environment.
    // aya-build hands each line of the nested cargo on as a warning of ours: leave only true warnings and errors.
    unsafe { env::set_var("CARGO_TERM_QUIET", "true") };

    let compiler = choose()?;
    // Another version of the compiler under the same name must rebuild the programs as well.
    if let Some(rustc) = sysroot(&compiler.toolchain).map(|sysroot| sysroot.join("bin/rustc")) {
        println!("cargo:rerun-if-changed={}", rustc.display());
    }
    if !compiler.builds_core {
        // SAFETY: this process is a build script with a single thread; nothing else reads the environment.
        // The variable reaches the nested cargo alone. cargo never passes a build script's environment to rustc, so
        // the crates of the host stay without it. It names the one crate that uses unstable features: with `1`, or
        // the name of our package, aya-build would add `-Z build-std`, for which there is no source here.
        unsafe { env::set_var("RUSTC_BOOTSTRAP", "aya_ebpf") };
    }
    Ok(compiler.toolchain)
}

/// The toolchain that was asked for, else a nightly that can build `core`, else the one that set-up linked.
fn choose() -> Result<Compiler> {
    if let Ok(toolchain) = env::var(CHOICE) {
        let builds_core = !has_core(&toolchain);
        if builds_core && !has_source(&toolchain) {
            return Err(anyhow!(
                "{CHOICE}={toolchain} has neither rust-src nor core for {}; unset it or name another toolchain",
                target()
            ));
        }
        return Ok(Compiler {
            toolchain,
            builds_core,
        });
    }
    let nightly = Compiler {
        toolchain: "nightly".into(),
        builds_core: true,
    };
    let linked = Compiler {
        toolchain: LINKED.into(),
        builds_core: false,
    };
    if has_source(&nightly.toolchain) {
        Ok(nightly)
    } else if has_core(&linked.toolchain) {
        Ok(linked)
    } else {
        Err(missing(
            "neither a nightly with rust-src nor the toolchain tapwire-bpf is installed",
        ))
    }
}

fn missing(what: &str) -> anyhow::Error {
    anyhow!("{what}; run: cargo xtask setup")
}

fn has_source(toolchain: &str) -> bool {
    sysroot(toolchain)
        .is_some_and(|sysroot| sysroot.join("lib/rustlib/src/rust/library/core").is_dir())
}

fn has_core(toolchain: &str) -> bool {
    sysroot(toolchain).is_some_and(|sysroot| {
        sysroot
            .join("lib/rustlib")
            .join(target())
            .join("lib")
            .is_dir()
    })
}

/// The target of the programs has the byte order of the machine that will load them.
fn target() -> &'static str {
    match env::var("CARGO_CFG_TARGET_ENDIAN").as_deref() {
        Ok("big") => "bpfeb-unknown-none",
        _ => "bpfel-unknown-none",
    }
}

/// Where the toolchain is installed; nothing if it is not. Never downloads one.
///
/// Without rustup there is one toolchain only, the one on the path, and `aya-build` takes it whatever name it is given.
fn sysroot(toolchain: &str) -> Option<PathBuf> {
    let mut command = match which("rustup") {
        Some(rustup) => {
            let mut command = Command::new(rustup);
            command.args(["run", toolchain, "rustc"]);
            command
        }
        None => Command::new("rustc"),
    };
    let output = command
        .args(["--print", "sysroot"])
        .env_remove("RUSTC")
        .stderr(Stdio::null())
        .output()
        .ok()?;
    let path = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| PathBuf::from(path.trim()))
}

/// With the build skipped, leaves an earlier object, or an empty file so that the crate can at least be checked.
fn placeholder() -> Result<()> {
    let object = PathBuf::from(env::var_os("OUT_DIR").context("OUT_DIR is not set")?).join(OBJECT);
    if !object.exists() {
        println!("cargo:warning=no eBPF object: this tapwire can be checked, but it cannot attach");
        fs::write(&object, []).with_context(|| format!("write {}", object.display()))?;
    }
    Ok(())
}

fn manifest_dir() -> Result<PathBuf> {
    Ok(env::var_os("CARGO_MANIFEST_DIR")
        .context("CARGO_MANIFEST_DIR is not set")?
        .into())
}

fn which(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path)
        .map(|folder| folder.join(program))
        .find(|file| Path::is_file(file))
}
