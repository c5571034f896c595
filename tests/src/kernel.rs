//! Debian's cloud kernel for the lab's virtual machines: downloaded and unpacked into a cache folder, never installed.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail, ensure};

use crate::{
    cmd,
    debs::{self, only_entry},
};

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

impl Kernel {
    /// Debian's cloud kernel, downloaded when it is not in the cache yet.
    pub fn debian_cloud() -> Result<Self> {
        debs::cached("kernel", Self::unpacked, |folder| {
            debs::download_and_unpack(&image_package()?, folder)?;
            make_modules_dep(folder)
        })
    }

    /// A kernel package that was unpacked into `folder`, with `modules.dep` made.
    pub fn unpacked(folder: &Path) -> Result<Self> {
        let modules = modules_folder(folder)?;
        ensure!(modules.join("modules.dep").exists(), "no modules.dep in {}", modules.display());
        let release = modules.file_name().context("no release")?.to_string_lossy().into_owned();
        let places = [folder.join(format!("boot/vmlinuz-{release}")), modules.join("vmlinuz")];
        let image = places.into_iter().find(|place| place.exists());
        Ok(Self { image: image.with_context(|| format!("no vmlinuz in {}", folder.display()))?, modules, release })
    }

    /// The files of these modules and of all they need, in the order to load them. Those that are built in are left out.
    pub fn module_files(&self, names: &[&str]) -> Result<Vec<PathBuf>> {
        let text = fs::read_to_string(self.modules.join("modules.dep")).context("reading modules.dep")?;
        let needs: HashMap<&str, Vec<&str>> = text
            .lines()
            .filter_map(|line| line.split_once(':'))
            .map(|(file, needs)| (file, needs.split_whitespace().collect()))
            .collect();
        // Since 6.17 Debian's packages have no such list: what is no module is taken for built in.
        let built_in = fs::read_to_string(self.modules.join("modules.builtin")).ok();
        let mut order = Vec::new();
        for name in names {
            match needs.keys().find(|file| is_module(file, name)) {
                Some(file) => visit(file, &needs, &mut order),
                None if built_in.iter().all(|list| list.lines().any(|file| is_module(file, name))) => {}
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

/// Newer packages are laid out for a system whose /lib is a link to /usr/lib.
fn modules_folder(folder: &Path) -> Result<PathBuf> {
    let places = [folder.join("lib/modules"), folder.join("usr/lib/modules")];
    only_entry(places.iter().find(|place| place.exists()).unwrap_or(&places[0]))
}

/// The package makes modules.dep when it is installed, which it never is.
pub fn make_modules_dep(folder: &Path) -> Result<()> {
    let modules = modules_folder(folder)?;
    let release = modules.file_name().context("no release")?.to_string_lossy().into_owned();
    let base = modules.ancestors().nth(3).context("modules lie in lib/modules")?;
    cmd::run(&["busybox", "depmod", "-b", &base.display().to_string(), &release]).map(drop)
}

/// A module as `insmod` takes it; newer packages have them compressed.
pub fn read_module(file: &Path) -> Result<Vec<u8>> {
    let program = match file.extension().and_then(|end| end.to_str()) {
        Some("xz") => "xz",
        Some("zst") => "zstd",
        _ => return fs::read(file).with_context(|| format!("reading {}", file.display())),
    };
    let mut command = cmd::command(&[program, "-dc", &file.display().to_string()])?;
    let output = command.output().with_context(|| format!("running {program}"))?;
    ensure!(output.status.success(), "{program} cannot unpack {}", file.display());
    Ok(output.stdout)
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
