//! Builds the eBPF programs, so that `cargo build` alone yields a `tapwire` that carries them.
//!
//! The object is left as `OUT_DIR/tapwire-ebpf`. There are two ways to a compiler for BPF, and this file only detects
//! which one the machine has: a nightly with `rust-src`, as aya expects; or a stable rustc of a distribution that ships
//! a ready-built `core` for BPF, linked into rustup by `cargo xtask setup`.

use std::{env, fs, path::PathBuf, process::ExitCode};

use anyhow::{Context as _, Result, anyhow};
use aya_build::Toolchain;

#[path = "build/toolchain.rs"]
mod toolchain;

const OBJECT: &str = "tapwire-ebpf";

/// Features of the programs, which those of this crate are handed on to.
const OTHERS: [&str; 2] = ["other-build", "other-layout"];

fn main() -> ExitCode {
    // An error returned from main would be printed in its Debug form, over many lines.
    match build() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: eBPF programs: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn build() -> Result<()> {
    println!("cargo:rerun-if-env-changed={}", toolchain::CHOICE);
    let root = PathBuf::from(variable("CARGO_MANIFEST_DIR")?).join("..");
    for input in ["binding-user/build.rs", "binding-user/build", "binding-common", "Cargo.toml", "Cargo.lock"] {
        println!("cargo:rerun-if-changed={}", root.join(input).display());
    }

    let skip = env::var_os("AYA_BUILD_SKIP").is_some_and(|v| v == "1" || v.eq_ignore_ascii_case("true"));
    let toolchain = if skip { String::new() } else { prepare()? };

    let ebpf = root.join("binding-ebpf");
    let features: Vec<_> = OTHERS.into_iter().filter(|name| is_enabled(name)).collect();
    let package = aya_build::Package {
        name: "binding-ebpf",
        root_dir: ebpf.to_str().context("the path of the sources is not UTF-8")?,
        features: &features,
        ..aya_build::Package::default()
    };
    aya_build::build_ebpf([package], Toolchain::Custom(&toolchain))?;
    if skip {
        placeholder()?;
    }
    name_build()
}

/// Whether this crate is built with a feature.
fn is_enabled(feature: &str) -> bool {
    env::var_os(format!("CARGO_FEATURE_{}", feature.to_uppercase().replace('-', "_"))).is_some()
}

/// Gives the object a name that is its own, by which a binding's record says what is loaded: FNV-1a of 64 bits.
fn name_build() -> Result<()> {
    let object = PathBuf::from(variable("OUT_DIR")?).join(OBJECT);
    let octets = fs::read(&object).with_context(|| format!("read {}", object.display()))?;
    let hash = octets
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, octet| (hash ^ u64::from(*octet)).wrapping_mul(0x0100_0000_01b3));
    println!("cargo:rustc-env=TAPWIRE_PROGRAMS={hash:016x}");
    Ok(())
}

/// Chooses the compiler and sets up this process's environment for `aya-build`. Returns the toolchain's name.
fn prepare() -> Result<String> {
    let linker = toolchain::which("bpf-linker").ok_or_else(|| missing("bpf-linker is not installed"))?;
    println!("cargo:rerun-if-changed={}", linker.display());

    // The programs run on the machine that tapwire is built for, so they take its byte order.
    let target =
        if variable("CARGO_CFG_TARGET_ENDIAN")? == "big" { "bpfeb-unknown-none" } else { "bpfel-unknown-none" };
    let compiler = toolchain::choose(target, &linker).map_err(|what| missing(&what))?;
    // Another version of the compiler under the same name must rebuild the programs as well.
    if let Some(sysroot) = toolchain::sysroot(&compiler.toolchain) {
        println!("cargo:rerun-if-changed={}", sysroot.join("bin/rustc").display());
    }

    // aya-build hands each line of the nested cargo on as a warning of ours: leave only true warnings and errors.
    set_variable("CARGO_TERM_QUIET", "true");
    if !compiler.builds_core {
        // It names the one crate that uses unstable features: with `1`, or the name of our package, aya-build would
        // add `-Z build-std`, for which there is no source here.
        set_variable("RUSTC_BOOTSTRAP", "aya_ebpf");
    }
    Ok(compiler.toolchain)
}

/// Sets a variable for the nested cargo, and for it alone: cargo takes nothing from a build script's environment, so
/// the crates of the host are compiled without it.
fn set_variable(name: &str, value: &str) {
    // SAFETY: this process is a build script with a single thread; nothing reads the environment meanwhile.
    unsafe { env::set_var(name, value) };
}

fn missing(what: &str) -> anyhow::Error {
    anyhow!("{what}; run: cargo xtask setup")
}

/// With the build skipped, leaves an earlier object, or an empty file so that the crate can at least be checked.
fn placeholder() -> Result<()> {
    let object = PathBuf::from(variable("OUT_DIR")?).join(OBJECT);
    if !object.exists() {
        println!("cargo:warning=no eBPF object: this tapwire can be checked, but it cannot attach");
        fs::write(&object, []).with_context(|| format!("write {}", object.display()))?;
    }
    Ok(())
}

fn variable(name: &str) -> Result<String> {
    env::var(name).with_context(|| format!("{name} is not set"))
}
