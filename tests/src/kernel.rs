//! Debian's cloud kernel for the lab's virtual machines: downloaded and unpacked into a cache folder, never installed.

use std::{
    collections::HashMap,
    fs::{self, File},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail, ensure};
use nix::fcntl::{Flock, FlockArg};

use crate::cmd;

/// The package that depends on the current kernel of the machine's own suite.
const META_PACKAGE: &str = "linux-image-cloud-amd64";

/// A kernel to boot, with its modules.
#[derive(Clone, Debug)]
pub struct Kernel {
    /// The bootable image.
    pub image: PathBuf,
    /// The folder with `kernel/…` and `modules.dep`.
    pub modules: PathBuf,
    /// Release, as `uname -r` has it.
    pub release: String,
}

/// Where downloads and unpacked files stay between runs.
pub fn cache_folder() -> Result<PathBuf> {
    let folder = match std::env::var_os("TAPWIRE_LAB_CACHE") {
        Some(folder) => PathBuf::from(folder),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/lab"),
    };
    fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    folder.canonicalize().context("finding the cache folder")
}

impl Kernel {
    /// Debian's cloud kernel, downloaded when it is not in the cache yet.
    pub fn debian_cloud() -> Result<Self> {
        let cache = cache_folder()?;
        // Tests of other processes may want the same kernel at the same time.
        let lock = File::create(cache.join("lock")).context("making the cache's lock")?;
        let _lock =
            Flock::lock(lock, FlockArg::LockExclusive).map_err(|(_, error)| error).context("locking the cache")?;
        let folder = cache.join("kernel");
        if let Ok(kernel) = Self::unpacked(&folder) {
            return Ok(kernel);
        }
        let package = image_package()?;
        let new = cache.join("kernel.new");
        // Left by a run that was killed.
        let _ = fs::remove_dir_all(&new);
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&new)?;
        download_and_unpack(&package, &new)?;
        fs::rename(&new, &folder).context("keeping the unpacked kernel")?;
        Self::unpacked(&folder)
    }

    /// A kernel package that was unpacked into `folder`, with `modules.dep` made.
    pub fn unpacked(folder: &Path) -> Result<Self> {
        let modules = only_entry(&folder.join("lib/modules"))?;
        ensure!(modules.join("modules.dep").exists(), "no modules.dep in {}", modules.display());
        let release = modules.file_name().context("no release")?.to_string_lossy().into_owned();
        let image = folder.join(format!("boot/vmlinuz-{release}"));
        ensure!(image.exists(), "no {}", image.display());
        Ok(Self { image, modules, release })
    }

    /// The files of these modules and of all they need, in the order to load them. Those that are built in are left out.
    pub fn module_files(&self, names: &[&str]) -> Result<Vec<PathBuf>> {
        let text = fs::read_to_string(self.modules.join("modules.dep")).context("reading modules.dep")?;
        let needs: HashMap<&str, Vec<&str>> = text
            .lines()
            .filter_map(|line| line.split_once(':'))
            .map(|(file, needs)| (file, needs.split_whitespace().collect()))
            .collect();
        let built_in = fs::read_to_string(self.modules.join("modules.builtin")).unwrap_or_default();
        let mut order = Vec::new();
        for name in names {
            match needs.keys().find(|file| is_module(file, name)) {
                Some(file) => visit(file, &needs, &mut order),
                None if built_in.lines().any(|file| is_module(file, name)) => {}
                None => bail!("kernel {} has no module {name}", self.release),
            }
        }
        Ok(order.into_iter().map(|file| self.modules.join(file)).collect())
    }
}

fn visit<'a>(file: &'a str, needs: &HashMap<&'a str, Vec<&'a str>>, order: &mut Vec<&'a str>) {
    if order.contains(&file) {
        return;
    }
    for need in needs.get(file).into_iter().flatten() {
        visit(need, needs, order);
    }
    order.push(file);
}

/// Whether a path is that of a module, compressed or not.
fn is_module(path: &str, name: &str) -> bool {
    let file = path.rsplit('/').next().unwrap_or(path);
    file.split('.').next() == Some(name)
}

fn image_package() -> Result<String> {
    let text = cmd::run(&["apt-cache", "depends", META_PACKAGE])?;
    let mut needed = text.lines().filter_map(|line| line.trim().strip_prefix("Depends: "));
    let package = needed.find(|name| name.starts_with("linux-image-"));
    Ok(package.with_context(|| format!("{META_PACKAGE} depends on no kernel: {text}"))?.to_owned())
}

fn download_and_unpack(package: &str, folder: &Path) -> Result<()> {
    let mut command = cmd::command(&["apt-get", "download", "-q", package])?;
    let output = command.current_dir(folder).output().context("running apt-get")?;
    cmd::text(&command, &output)?;
    let file = only_entry(folder)?.display().to_string();
    cmd::run(&["dpkg", "-x", &file, &folder.display().to_string()])?;
    fs::remove_file(&file)?;
    let modules = only_entry(&folder.join("lib/modules"))?;
    let release = modules.file_name().context("no release")?.to_string_lossy().into_owned();
    // The package makes modules.dep when it is installed, which it never is.
    cmd::run(&["busybox", "depmod", "-b", &folder.display().to_string(), &release])?;
    Ok(())
}

fn only_entry(folder: &Path) -> Result<PathBuf> {
    let mut entries = fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))?;
    let entry = entries.next().with_context(|| format!("{} is empty", folder.display()))??;
    ensure!(entries.next().is_none(), "{} holds more than one thing", folder.display());
    Ok(entry.path())
}

#[cfg(test)]
mod tests {
    use super::{HashMap, is_module, visit};

    #[test]
    fn needs_come_first() {
        let needs = HashMap::from([("net", vec!["ring", "failover"]), ("ring", vec!["core"]), ("failover", vec![])]);
        let mut order = Vec::new();
        visit("net", &needs, &mut order);
        assert_eq!(order, ["core", "ring", "failover", "net"]);
    }

    #[test]
    fn module_names() {
        assert!(is_module("kernel/drivers/net/virtio_net.ko.xz", "virtio_net"));
        assert!(!is_module("kernel/drivers/net/virtio_net.ko", "virtio"));
    }
}
