//! The parts of fuzzing that need the kernel: `fuzz-machine kernel|tap SECONDS SEED`. `cargo xtask fuzz` starts it, as
//! root; `tap` takes the program under test from `TAPWIRE_BIN`.
//!
//! It prints what it did, and exits with 1 when it has found something, which it leaves in `tests/fuzz/found`.

use std::{
    env, fs,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use fuzz::{
    corpus, frames,
    kernel::{Hunt, Tally},
    rng::Rng,
    tap::{Count, Layout, Volley, Wire},
};

/// Frames between two looks at what is true of a wire: a look takes as long as thousands of them.
const VOLLEY: usize = 2048;

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// False is a finding.
fn run() -> Result<bool> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [part, seconds, seed] = arguments.as_slice() else { bail!("use: fuzz-machine kernel|tap SECONDS SEED") };
    ensure!(lab::is_root(), "this needs root: programs are loaded, and namespaces made");
    let time = Duration::from_secs(seconds.parse().context("seconds")?);
    let seed = seed.parse().context("seed")?;
    match part.as_str() {
        "kernel" => kernel(time, seed),
        "tap" => tap(time, seed),
        _ => bail!("there is no part {part}"),
    }
}

fn kernel(time: Duration, seed: u64) -> Result<bool> {
    let mut hunt = Hunt::new(seed).map_err(anyhow::Error::msg)?;
    let end = Instant::now() + time;
    let found = hunt.replay().map(drop).and_then(|()| hunt.try_seeds()).and_then(|()| hunt.run(end, u64::MAX));
    let Tally { executions, refused } = hunt.tally;
    println!("executions: {executions}");
    println!("frames that a test run does not take: {refused}");
    let Err(finding) = found else { return Ok(true) };
    println!("found in the configuration {:?}: {}\n{}", finding.config, finding.difference, finding.case);
    keep("kernel", &finding.case.to_bytes())
}

fn tap(time: Duration, seed: u64) -> Result<bool> {
    let mut rng = Rng::new(seed);
    let mut sum = Count::default();
    let seeds = frames::all();
    let mut found = None;
    for layout in Layout::ALL {
        let mut wire = Wire::new(layout)?;
        let end = Instant::now() + time / u32::try_from(Layout::ALL.len())?;
        while found.is_none() && Instant::now() < end {
            let volley = Volley::invent(&mut rng, &seeds, VOLLEY);
            if let Err(error) = wire.try_volley(&volley) {
                found = Some((layout, wire.shrink(volley, format!("{error:#}"))));
            }
        }
        sum.taken += wire.count.taken;
        sum.refused += wire.count.refused;
        sum.seen += wire.count.seen;
    }
    println!("executions: {}", sum.taken);
    println!("frames that the tap refused: {}, frames that came to the other side: {}", sum.refused, sum.seen);
    let Some((layout, (volley, why))) = found else { return Ok(true) };
    println!("found on the wire {:?}, with {} frames: {why}", layout.name, volley.0.len());
    for shot in volley.0.iter().take(3) {
        println!("{:?}, {:02x?}", shot.header, shot.frame);
    }
    keep("tap", &volley.to_bytes())
}

/// Keeps a case, under a name that follows from its octets. A finding is never a success.
fn keep(part: &str, bytes: &[u8]) -> Result<bool> {
    let folder = corpus::home().join("found").join(part);
    fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
    // FNV-1a.
    let hash = bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, octet| (hash ^ u64::from(*octet)).wrapping_mul(0x0100_0000_01b3));
    let path = folder.join(format!("{hash:016x}"));
    fs::write(&path, bytes).with_context(|| format!("write {}", path.display()))?;
    println!("kept as {}", path.display());
    Ok(false)
}
