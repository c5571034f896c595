//! The program under test, with state of its own: journals in a temporary folder, pins in a folder on the bpffs.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;
use tempfile::TempDir;

use crate::pod::Pod;

static COUNTER: AtomicU32 = AtomicU32::new(0);

/// The bpffs that set-up mounts.
const BPFFS: &str = "/sys/fs/bpf";

/// `tapwire` and the folders that it is told to use. Dropping it detaches every binding that is left.
#[derive(Debug)]
pub struct Tapwire {
    binary: PathBuf,
    state: Arc<TempDir>,
    pins: PathBuf,
    owns_state: bool,
}

impl Tapwire {
    /// The binary of `TAPWIRE_BIN`, or the one that was built beside this test.
    pub fn new() -> Result<Self> {
        Self::with_binary(&Self::find()?)
    }

    fn find() -> Result<PathBuf> {
        env::var_os("TAPWIRE_BIN").map_or_else(built_beside, |path| Ok(PathBuf::from(path)))
    }

    /// A binary at a path.
    pub fn with_binary(binary: &Path) -> Result<Self> {
        ensure!(binary.is_file(), "{} is missing: run `cargo xtask build`", binary.display());
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let pins = Path::new(BPFFS).join(format!("twt-{}-{number}", std::process::id()));
        let state = Arc::new(TempDir::with_prefix("twt-")?);
        Ok(Self { binary: binary.to_owned(), state, pins, owns_state: true })
    }

    /// Another build of tapwire, with the same state. It lies beside the one under test, and `build` is what its name
    /// ends with: `other-build` has other programs, `other-layout` lays out its pinned maps otherwise, too.
    pub fn other(&self, build: &str) -> Result<Self> {
        let binary = Self::find()?.with_file_name(format!("tapwire-{build}"));
        ensure!(binary.is_file(), "{} is missing: `cargo xtask test` builds it", binary.display());
        Ok(Self { binary, state: Arc::clone(&self.state), pins: self.pins.clone(), owns_state: false })
    }

    /// [`new`](Self::new), with a copy of the binary that nobody else runs: [`processes`](Self::processes) wants one.
    pub fn private() -> Result<Self> {
        let mut tapwire = Self::new()?;
        let copy = tapwire.state.path().join("tapwire-of-this-test");
        if fs::hard_link(&tapwire.binary, &copy).is_err() {
            fs::copy(&tapwire.binary, &copy).with_context(|| format!("copy {}", tapwire.binary.display()))?;
        }
        tapwire.binary = copy;
        Ok(tapwire)
    }

    /// Processes that run this binary.
    pub fn processes(&self) -> Result<Vec<u32>> {
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc")? {
            let entry = entry?;
            // Others have no executable, or are gone already.
            let Ok(program) = fs::read_link(entry.path().join("exe")) else { continue };
            if program == self.binary {
                found.extend(entry.file_name().to_string_lossy().parse::<u32>());
            }
        }
        Ok(found)
    }

    /// The binary.
    pub fn binary(&self) -> &Path {
        &self.binary
    }

    /// The folder of the journals.
    pub fn state(&self) -> &Path {
        self.state.path()
    }

    /// Where the node's policy is; there is none at first.
    pub fn policy(&self) -> PathBuf {
        self.state.path().join("policy.toml")
    }

    /// The folder of the pins.
    pub fn pins(&self) -> &Path {
        &self.pins
    }

    /// A command of tapwire, to be changed before it is run.
    pub fn command(&self, arguments: &[&str]) -> Command {
        self.under(&[], arguments)
    }

    /// The same, run by another program such as `strace`.
    pub fn under(&self, runner: &[&str], arguments: &[&str]) -> Command {
        let mut command = match runner.split_first() {
            None => Command::new(&self.binary),
            Some((program, rest)) => {
                let mut command = Command::new(program);
                command.args(rest).arg(&self.binary);
                command
            }
        };
        command.args(arguments).stdin(Stdio::null());
        command.env("TAPWIRE_STATE_DIR", self.state.path()).env("TAPWIRE_BPFFS", &self.pins);
        // Not the machine's own.
        command.env("TAPWIRE_POLICY", self.policy());
        command
    }

    /// Runs tapwire to its end.
    pub fn output(&self, arguments: &[&str]) -> Result<Output> {
        self.command(arguments).output().with_context(|| format!("run {}", self.binary.display()))
    }

    /// Runs tapwire, which must succeed, and gives what it printed.
    pub fn run(&self, arguments: &[&str]) -> Result<String> {
        let output = self.output(arguments)?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
        if !output.status.success() {
            bail!("tapwire {} failed ({}): {}", arguments.join(" "), output.status, text(&output.stderr));
        }
        Ok(text(&output.stdout))
    }

    /// Runs tapwire with `-o json`.
    pub fn json(&self, arguments: &[&str]) -> Result<Value> {
        let text = self.run(&[arguments, &["-o", "json"]].concat())?;
        serde_json::from_str(&text).with_context(|| format!("not JSON: {text}"))
    }

    /// Runs tapwire, which must fail with exit code 1, and gives what it said.
    pub fn refusal(&self, arguments: &[&str]) -> Result<Refusal> {
        let output = self.output(arguments)?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.code() == Some(1), "tapwire {} gave {}: {said}", arguments.join(" "), output.status);
        let mut lines = said.lines();
        let error = lines.next().and_then(|line| line.strip_prefix("error: ")).unwrap_or_default().to_owned();
        let hint = lines.next().and_then(|line| line.strip_prefix("hint: ")).map(str::to_owned);
        ensure!(!error.is_empty() && lines.next().is_none(), "not an error and a hint: {said}");
        Ok(Refusal { error, hint })
    }

    /// Attaches `tap0` of a pod under the name `name`, with more options.
    pub fn attach(&self, pod: &Pod, name: &str, more: &[&str]) -> Result<Value> {
        self.json(&[&attach_arguments(pod, name), more].concat())
    }

    /// What `show` tells of a binding.
    pub fn show(&self, name: &str) -> Result<Value> {
        self.json(&["show", name])
    }

    /// A counter of a binding, by its path in `counters`; one that is not told of is zero.
    pub fn counter(&self, name: &str, path: &[&str]) -> Result<u64> {
        let shown = self.show(name)?;
        let found = path.iter().try_fold(&shown["counters"], |value, key| value.get(key));
        Ok(found.and_then(Value::as_u64).unwrap_or(0))
    }
}

/// The command line that attaches `tap0` of a pod.
pub fn attach_arguments<'a>(pod: &'a Pod, name: &'a str) -> Vec<&'a str> {
    let (netns, node) = (pod.namespace.name(), pod.node.name());
    vec!["attach", "--netns", netns, "--node-netns", node, "--nic", &pod.nic, "--tap", "tap0", "--name", name]
}

/// What tapwire said when it refused.
#[derive(Debug)]
pub struct Refusal {
    /// The line after `error: `.
    pub error: String,
    /// The line after `hint: `.
    pub hint: Option<String>,
}

impl Drop for Tapwire {
    fn drop(&mut self) {
        if !self.owns_state {
            return;
        }
        let Ok(Value::Array(bindings)) = self.json(&["list"]) else { return };
        for name in bindings.iter().filter_map(|binding| binding["name"].as_str()) {
            // Whatever is wrong with it, the test has said so already.
            let _ = self.output(&["detach", name]);
        }
        let _ = fs::remove_dir(&self.pins);
    }
}

/// `target/PROFILE/tapwire`, seen from `target/PROFILE/deps/TEST`.
fn built_beside() -> Result<PathBuf> {
    let test = env::current_exe().context("find the path of this program")?;
    let folder = test.ancestors().nth(2).context("a test lies in target/PROFILE/deps")?;
    Ok(folder.join("tapwire"))
}
