//! Debian's backports for one call of apt, on a machine whose own suites leave them out.
//!
//! A package that was once installed from backports may forbid what the machine's suites have of its neighbours. apt then
//! looks at a view of our own: the machine's sources and one more suite, of the same mirror, with lists in cargo's target
//! folder. The machine's sources and lists stay as they are.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use super::apt::{INSTALL, apt_get};
use crate::step;

/// Where the machine's sources are: a file, and a folder of files.
const SOURCES: [&str; 2] = ["/etc/apt/sources.list", "/etc/apt/sources.list.d"];

/// The machine's sources with backports.
pub(super) struct View {
    folder: PathBuf,
    suite: String,
}

impl View {
    /// Lays the view out and fetches its lists.
    pub(super) fn make() -> Result<Self> {
        let codename = own_codename()?;
        let mirror = own_mirror(&codename)?;
        let view = Self { folder: step::target().join("setup/apt"), suite: format!("{codename}-backports") };
        view.lay(&mirror)?;
        step::quiet(view.apt_get().arg("update"))?;
        Ok(view)
    }

    /// The suite that the view adds.
    pub(super) fn suite(&self) -> &str {
        &self.suite
    }

    /// Installs packages with what they need, from backports where those have it.
    pub(super) fn install(&self, packages: &[&str]) -> Result<()> {
        // Backports are no package's default, so the suite must be asked for.
        step::quiet(self.apt_get().args(INSTALL).args(["-t", &self.suite]).args(packages))
    }

    fn apt_get(&self) -> Command {
        let mut command = apt_get();
        command.args(["-o", "Dir::Etc::sourcelist=/dev/null"]);
        for (option, folder) in [("Dir::Etc::sourceparts", self.sources()), ("Dir::State::lists", self.lists())] {
            command.arg("-o").arg(format!("{option}={}", folder.display()));
        }
        command
    }

    fn sources(&self) -> PathBuf {
        self.folder.join("sources.list.d")
    }

    fn lists(&self) -> PathBuf {
        self.folder.join("lists")
    }

    /// Links the machine's sources and adds the suite beside them.
    fn lay(&self, mirror: &str) -> Result<()> {
        let sources = self.sources();
        // What the machine had at the last time may be gone.
        let _ = fs::remove_dir_all(&sources);
        for folder in [&sources, &self.lists().join("partial")] {
            fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
        }
        for file in source_files() {
            let (Some(name), Some(_)) = (file.file_name(), Style::of(&file)) else { continue };
            symlink(&file, sources.join(name)).with_context(|| format!("link {}", file.display()))?;
        }
        write_source(&sources, mirror, &self.suite)
    }
}

/// Writes a source of one suite into a folder of sources: of the machine's own mirror of Debian, with its keys.
pub(crate) fn write_source_of(suite: &str, folder: &Path) -> Result<()> {
    write_source(folder, &own_mirror(&own_codename()?)?, suite)
}

fn write_source(folder: &Path, mirror: &str, suite: &str) -> Result<()> {
    for file in source_files() {
        let Some(style) = Style::of(&file) else { continue };
        let text = fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
        if let Some(text) = style.of_suite(&text, mirror, suite) {
            let path = folder.join(style.file_name());
            return fs::write(&path, text).with_context(|| format!("write {}", path.display()));
        }
    }
    bail!("no source of apt names the mirror that apt uses")
}

fn own_codename() -> Result<String> {
    let release = fs::read_to_string("/etc/os-release").context("read /etc/os-release")?;
    Ok(codename(&release).context("/etc/os-release has no VERSION_CODENAME")?.to_owned())
}

fn own_mirror(codename: &str) -> Result<String> {
    mirror(&targets()?, codename)
        .with_context(|| format!("no source of apt is Debian's own suite {codename}, so its mirror is unknown"))
}

/// The machine's files of sources, as far as there are any.
fn source_files() -> Vec<PathBuf> {
    let [file, folder] = SOURCES.map(PathBuf::from);
    let mut files: Vec<PathBuf> =
        fs::read_dir(folder).into_iter().flatten().flatten().map(|file| file.path()).collect();
    files.push(file);
    files.retain(|file| file.is_file());
    files.sort();
    files
}

/// What apt knows of its package lists: who made each, of which suite, and from where.
fn targets() -> Result<String> {
    let mut command = apt_get();
    command.args(["indextargets", "--format", "$(ORIGIN)|$(CODENAME)|$(REPO_URI)", "Created-By: Packages"]);
    let output = command.output().context("run apt-get indextargets")?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The mirror of Debian's suite `codename`. Others name their suites after Debian's, so it must be Debian's own.
fn mirror(targets: &str, codename: &str) -> Option<String> {
    let uri = |line: &str| Some(line.strip_prefix("Debian|")?.strip_prefix(codename)?.strip_prefix('|')?.to_owned());
    targets.lines().find_map(uri)
}

fn codename(os_release: &str) -> Option<&str> {
    let value = os_release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="))?.trim_matches('"');
    (!value.is_empty()).then_some(value)
}

/// The two ways to write sources. apt tells them apart by the end of the file's name, and passes over others.
#[derive(Clone, Copy)]
enum Style {
    /// `deb [OPTIONS] URI SUITE COMPONENT…`
    Lines,
    /// Stanzas of deb822.
    Stanzas,
}

impl Style {
    fn of(file: &Path) -> Option<Self> {
        match file.extension()?.to_str()? {
            "list" => Some(Self::Lines),
            "sources" => Some(Self::Stanzas),
            _ => None,
        }
    }

    /// A name that the machine will hardly have.
    fn file_name(self) -> &'static str {
        match self {
            Self::Lines => "tapwire-backports.list",
            Self::Stanzas => "tapwire-backports.sources",
        }
    }

    /// The first source of binary packages from `mirror`, with everything that it says of keys and trust, for `suite` only.
    fn of_suite(self, text: &str, mirror: &str, suite: &str) -> Option<String> {
        match self {
            Self::Lines => text.lines().find_map(|line| line_of_suite(line, mirror, suite)),
            Self::Stanzas => stanzas(text).find_map(|stanza| stanza_of_suite(&stanza, mirror, suite)),
        }
    }
}

fn line_of_suite(line: &str, mirror: &str, suite: &str) -> Option<String> {
    let line = line.split('#').next()?.trim();
    let rest = line.strip_prefix("deb").filter(|rest| rest.starts_with([' ', '\t', '[']))?.trim_start();
    let (options, rest) = match rest.strip_prefix('[') {
        Some(rest) => rest.split_once(']').map(|(options, rest)| (format!("[{options}] "), rest))?,
        None => (String::new(), rest),
    };
    let mut words = rest.split_whitespace();
    let uri = words.next().filter(|uri| is_same(uri, mirror))?;
    let components: Vec<&str> = words.skip(1).collect();
    Some(format!("deb {options}{uri} {suite} {}\n", components.join(" ")))
}

/// The stanzas of a file, each as its lines; comments left out, since they may stand within a field.
fn stanzas(text: &str) -> impl Iterator<Item = Vec<&str>> {
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    let stanzas: Vec<Vec<&str>> = lines.split(|line| line.trim().is_empty()).map(<[&str]>::to_vec).collect();
    stanzas.into_iter()
}

fn stanza_of_suite(stanza: &[&str], mirror: &str, suite: &str) -> Option<String> {
    let uri = words(stanza, "URIs").into_iter().find(|uri| is_same(uri, mirror))?;
    if !words(stanza, "Types").contains(&"deb") || words(stanza, "Enabled").first().is_some_and(|word| *word == "no") {
        return None;
    }
    let mut text = format!("Types: deb\nURIs: {uri}\nSuites: {suite}\n");
    let mut kept = true;
    for line in stanza {
        // A line that is indented goes on with the field above it.
        if !line.starts_with([' ', '\t']) {
            kept = !["Types", "URIs", "Suites"].iter().any(|name| field(line, name).is_some());
        }
        if kept {
            text.push_str(line);
            text.push('\n');
        }
    }
    Some(text)
}

/// The words of a field, on whichever lines they are.
fn words<'a>(stanza: &[&'a str], name: &str) -> Vec<&'a str> {
    let mut words = Vec::new();
    let mut lines = stanza.iter().skip_while(|line| field(line, name).is_none());
    words.extend(lines.next().and_then(|line| field(line, name)).into_iter().flat_map(str::split_whitespace));
    words.extend(lines.take_while(|line| line.starts_with([' ', '\t'])).flat_map(|line| line.split_whitespace()));
    words
}

/// What stands behind the name of a field; the case of names does not matter.
fn field<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let (found, value) = line.split_once(':')?;
    found.trim_end().eq_ignore_ascii_case(name).then_some(value)
}

/// apt ends every address with a slash.
fn is_same(uri: &str, mirror: &str) -> bool {
    uri.trim_end_matches('/') == mirror.trim_end_matches('/')
}

#[cfg(test)]
mod tests {
    use super::{Style, codename, mirror};

    const MIRROR: &str = "http://mirror.test/debian/";

    #[test]
    fn the_mirror_is_the_one_of_debians_own_suite() {
        let targets = "Tools|bookworm|http://tools.test/\nDebian|bookworm-updates|http://updates.test/\n\
                       Debian|bookworm|http://mirror.test/debian/\n";
        assert_eq!(mirror(targets, "bookworm").as_deref(), Some(MIRROR));
        assert_eq!(mirror(targets, "trixie"), None);
    }

    #[test]
    fn the_codename_is_that_of_the_release() {
        assert_eq!(codename("ID=debian\nVERSION_CODENAME=bookworm\n"), Some("bookworm"));
        assert_eq!(codename("VERSION_CODENAME=\"noble\"\n"), Some("noble"));
        // Debian's unstable has none.
        assert_eq!(codename("ID=debian\n"), None);
    }

    #[test]
    fn a_stanza_keeps_its_key_and_changes_its_suite() {
        let text = "# of the installer\nTypes: deb\nURIs: http://security.test/debian\nSuites: s\nComponents: main\n\n\
                    Types: deb deb-src\n# moved\nuris:\n http://other.test/\n http://mirror.test/debian\n\
                    Suites: bookworm\n bookworm-updates\nComponents: main contrib\nSigned-By:\n KEY\n .\n =abc\n";
        let expected = "Types: deb\nURIs: http://mirror.test/debian\nSuites: x-backports\nComponents: main contrib\n\
                        Signed-By:\n KEY\n .\n =abc\n";
        assert_eq!(Style::Stanzas.of_suite(text, MIRROR, "x-backports").as_deref(), Some(expected));
    }

    #[test]
    fn a_stanza_of_sources_or_one_that_is_off_is_none() {
        for more in ["Types: deb-src\n", "Types: deb\nEnabled: no\n"] {
            let text = format!("{more}URIs: {MIRROR}\nSuites: bookworm\nComponents: main\n");
            assert_eq!(Style::Stanzas.of_suite(&text, MIRROR, "x"), None);
        }
    }

    #[test]
    fn a_line_keeps_its_options_and_changes_its_suite() {
        let text = "# deb http://mirror.test/debian bookworm main\ndeb-src http://mirror.test/debian bookworm main\n\
                    deb [ signed-by=/k.gpg arch=amd64 ]  http://mirror.test/debian/ bookworm main non-free # mine\n";
        let expected = "deb [ signed-by=/k.gpg arch=amd64 ] http://mirror.test/debian/ x-backports main non-free\n";
        assert_eq!(Style::Lines.of_suite(text, MIRROR, "x-backports").as_deref(), Some(expected));
        assert_eq!(Style::Lines.of_suite("deb http://other.test/ bookworm main", MIRROR, "x"), None);
        let plain = Style::Lines.of_suite("deb\thttp://mirror.test/debian bookworm main", MIRROR, "x");
        assert_eq!(plain.as_deref(), Some("deb http://mirror.test/debian x main\n"));
    }
}
