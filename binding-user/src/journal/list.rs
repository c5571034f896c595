//! All records of a state folder.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::Deserialize;

use super::{Journal, LIMIT, Store, check_version, parse};
use crate::{
    error::{Context as _, Error, Result},
    input::{self, Links},
    netns::NetnsId,
};

impl Store {
    /// All records, by name, copies in the place of lost files. Those that cannot be read come as errors beside the
    /// others.
    pub fn list(&self) -> Result<(Vec<Journal>, Vec<Error>)> {
        self.list_where(|_| true)
    }

    /// The same of one namespace. Of the other records no more is read than whose they are: what an attach takes must not
    /// grow with the bindings of the node.
    pub fn list_of(&self, netns: &NetnsId) -> Result<(Vec<Journal>, Vec<Error>)> {
        self.list_where(|other| other.same(netns))
    }

    fn list_where(&self, wanted: impl Fn(&NetnsId) -> bool) -> Result<(Vec<Journal>, Vec<Error>)> {
        let (mut journals, mut errors) = self.list_files(&wanted)?;
        for name in self.without_file()? {
            match self.load_copy(&name) {
                Ok(journal) => journals.extend(journal.filter(|journal| wanted(&journal.netns))),
                Err(error) => errors.push(error),
            }
        }
        journals.sort_by(|one, two| one.name.cmp(&two.name));
        Ok((journals, errors))
    }

    fn list_files(&self, wanted: &impl Fn(&NetnsId) -> bool) -> Result<(Vec<Journal>, Vec<Error>)> {
        let mut paths = self.files()?;
        paths.sort();
        let (mut journals, mut errors) = (Vec::new(), Vec::new());
        for path in paths {
            match input::read(&path, LIMIT, Links::Refused)
                .context(|| format!("read the journal {}", path.display()))
                .and_then(|text| parse_if(&path, &text, wanted))
            {
                Ok(journal) => journals.extend(journal),
                Err(error) => errors.push(error),
            }
        }
        Ok((journals, errors))
    }

    /// The files of all records.
    fn files(&self) -> Result<Vec<PathBuf>> {
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error).context(|| format!("read {}", self.folder.display())),
        };
        let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
        Ok(paths)
    }

    /// The names of all bindings, whether their records can be read or not.
    pub fn names(&self) -> Result<Vec<String>> {
        let files = self.files()?;
        let mut names: Vec<_> = files.iter().filter_map(|path| path.file_stem()?.to_str().map(str::to_owned)).collect();
        names.extend(self.without_file()?);
        names.sort();
        Ok(names)
    }
}

/// Reads a record if its namespace is wanted.
fn parse_if(path: &Path, text: &[u8], wanted: &impl Fn(&NetnsId) -> bool) -> Result<Option<Journal>> {
    #[derive(Deserialize)]
    struct Whose {
        netns: NetnsId,
    }
    check_version(path, text)?;
    match serde_json::from_slice(text) {
        Ok(Whose { netns }) if !wanted(&netns) => Ok(None),
        // One that does not say whose it is may be of that namespace: the error is told of.
        _ => parse(path, text).map(Some),
    }
}
