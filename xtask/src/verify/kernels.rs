//! Which kernels, and how they come here: from Debian's suites, by the mirror and the keys that the machine's own apt
//! uses, with lists and caches of our own. Nothing is installed, and the machine's sources stay as they are.

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use lab::{
    cmd, debs,
    kernel::{Kernel, make_modules_dep},
};

use crate::{
    setup::{apt::apt_get, backports::write_source_of},
    step,
};

/// The package that depends on a suite's current kernel.
const META_PACKAGE: &str = "linux-image-cloud-amd64";
/// How old the newest kernel in the cache may be before it is looked for again.
const WEEK: Duration = Duration::from_hours(7 * 24);

/// A kernel of the matrix.
pub(super) struct Wanted {
    /// What it is called on the command line; for most the beginning of its release.
    pub(super) name: &'static str,
    /// The suite of Debian that has it.
    pub(super) suite: &'static str,
    /// It is whatever the suite has, and so goes on.
    moves: bool,
}

/// The matrix, without the kernel that runs.
pub(super) const KERNELS: [Wanted; 4] = [
    Wanted { name: "5.10", suite: "bullseye", moves: false },
    Wanted { name: "6.1", suite: "bookworm", moves: false },
    Wanted { name: "6.12", suite: "bookworm-backports", moves: false },
    Wanted { name: "newest", suite: "sid", moves: true },
];

impl Wanted {
    /// The kernel, downloaded when it is not in the cache yet.
    pub(super) fn get(&self) -> Result<Kernel> {
        let name = format!("kernel-{}", self.name);
        let read = |folder: &Path| {
            ensure!(!self.moves || !is_old(folder), "it may not be the newest any more");
            self.check(Kernel::unpacked(folder)?)
        };
        debs::cached(&name, read, |folder| self.fill(folder))
            .with_context(|| format!("get the kernel {} of Debian's {}", self.name, self.suite))
    }

    /// Suites go on to other kernels, and then another one must be named here.
    fn check(&self, kernel: Kernel) -> Result<Kernel> {
        let is_it = self.moves || kernel.release.starts_with(&format!("{}.", self.name));
        ensure!(is_it, "the suite has {} now: another suite has to stand for {}", kernel.release, self.name);
        Ok(kernel)
    }

    fn fill(&self, folder: &Path) -> Result<()> {
        let apt = Apt::of(self.suite)?;
        let packages = apt.packages()?;
        let download = folder.join("download");
        fs::create_dir(&download).context("make a folder for downloads")?;
        step::quiet(apt.command("apt-get").current_dir(&download).arg("download").args(&packages))?;
        for file in fs::read_dir(&download)? {
            let path = file?.path();
            if path.extension() == Some(OsStr::new("deb")) {
                cmd::run(&["dpkg".as_ref(), "-x".as_ref(), path.as_os_str(), folder.as_os_str()])?;
            }
        }
        fs::remove_dir_all(&download).context("remove the downloaded packages")?;
        make_modules_dep(folder)
    }
}

fn is_old(folder: &Path) -> bool {
    let changed = fs::metadata(folder).and_then(|data| data.modified());
    // One from the future is as good as new.
    changed.is_ok_and(|changed| changed.elapsed().unwrap_or_default() > WEEK)
}

/// apt with one suite, and nothing of the machine's but its configuration.
struct Apt {
    folder: PathBuf,
}

impl Apt {
    /// Lays out its folders and fetches the lists.
    fn of(suite: &str) -> Result<Self> {
        let apt = Self { folder: debs::cache_folder()?.join("apt").join(suite) };
        // What the machine's sources were at the last time may be gone.
        let _ = fs::remove_dir_all(apt.folder.join("sources"));
        for name in ["sources", "lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(apt.folder.join(name)).context("make folders for apt")?;
        }
        // Of packages that are installed, it is to know none.
        fs::write(apt.folder.join("status"), "").context("make a status file for apt")?;
        write_source_of(suite, &apt.folder.join("sources"))?;
        let update = ["-o", "APT::Update::Error-Mode=any", "update"];
        step::quiet(apt.command("apt-get").args(update)).with_context(|| format!("fetch the lists of {suite}"))?;
        Ok(apt)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = if program == "apt-get" { apt_get() } else { Command::new(program) };
        command.args(["-o", "Dir::Etc::sourcelist=/dev/null", "-o", "Acquire::Languages=none"]);
        // A suite that is not changed any more is not signed anew either.
        command.args(["-o", "Acquire::Check-Valid-Until=false"]);
        let places = [
            ("Dir::Etc::sourceparts", "sources"),
            ("Dir::State::lists", "lists"),
            ("Dir::State::status", "status"),
            ("Dir::Cache", "cache"),
        ];
        for (option, name) in places {
            command.arg("-o").arg(format!("{option}={}", self.folder.join(name).display()));
        }
        command
    }

    /// The image, and what newer ones have in packages of their own.
    fn packages(&self) -> Result<Vec<String>> {
        let named = |package: &str, starts: &[&str]| -> Result<Vec<String>> {
            let mut command = self.command("apt-cache");
            let output = command.args(["depends", package]).output().context("run apt-cache")?;
            Ok(dependencies(&String::from_utf8_lossy(&output.stdout), starts))
        };
        let image = named(META_PACKAGE, &["linux-image-"])?.pop();
        let image = image.with_context(|| format!("its {META_PACKAGE} depends on no kernel"))?;
        let parts = named(&image, &["linux-binary-", "linux-modules-"])?;
        Ok(if parts.is_empty() { vec![image] } else { parts })
    }
}

/// Packages that begin so among what `apt-cache depends` lists.
fn dependencies(text: &str, starts: &[&str]) -> Vec<String> {
    let all = text.lines().filter_map(|line| line.trim().strip_prefix("Depends: "));
    all.filter(|name| starts.iter().any(|start| name.starts_with(start))).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::dependencies;

    #[test]
    fn the_image_is_found_among_what_the_metapackage_depends_on() {
        let text = "linux-image-cloud-amd64\n  Depends: linux-base-cloud-amd64\n  Depends: linux-image-7.2.13-cloud\n";
        assert_eq!(dependencies(text, &["linux-image-"]), ["linux-image-7.2.13-cloud"]);
        assert!(dependencies("", &["linux-image-"]).is_empty());
    }
}
