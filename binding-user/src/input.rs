//! Files and texts from outside: read without waiting, and shown without doing anything to a terminal.
//!
//! A pipe keeps a reader waiting for ever, a device may have no end, and a text of another may hold escape sequences that
//! move the cursor, change colours or hide what follows.

use std::{
    borrow::Cow,
    fs::File,
    io::{self, Read as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use nix::libc;

/// Whether a symbolic link may stand in the file's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Links {
    /// The operator named the file, by whatever way.
    Followed,
    /// The file is our own, and was made as one.
    Refused,
}

/// Opens a regular file.
pub(crate) fn open(path: &Path, links: Links) -> io::Result<File> {
    let no_follow = if links == Links::Refused { libc::O_NOFOLLOW } else { 0 };
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY | no_follow;
    let file = match File::options().read(true).custom_flags(flags).open(path) {
        Err(error) if links == Links::Refused && error.raw_os_error() == Some(libc::ELOOP) => {
            return Err(io::Error::other("it is a symbolic link"));
        }
        opened => opened?,
    };
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("it is not a regular file")) }
}

/// Reads a regular file of at most `limit` octets.
pub(crate) fn read(path: &Path, limit: u64, links: Links) -> io::Result<Vec<u8>> {
    read_open(open(path, links)?, limit)
}

/// Reads a file that was opened, of at most `limit` octets.
pub(crate) fn read_open(file: File, limit: u64) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    file.take(limit + 1).read_to_end(&mut content)?;
    if content.len() as u64 > limit {
        return Err(io::Error::other(format!("it has more than {limit} octets")));
    }
    Ok(content)
}

/// The text on one line that a terminal only shows: control characters, and those that turn the direction of writing, are
/// escaped as in Rust.
pub fn printable(text: &str) -> Cow<'_, str> {
    if text.chars().any(acts) { Cow::Owned(text.chars().map(escaped).collect()) } else { Cow::Borrowed(text) }
}

/// The same for a text of several lines, which stay.
pub fn printable_lines(text: &str) -> Cow<'_, str> {
    let acts = |c| c != '\n' && acts(c);
    if !text.chars().any(acts) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.chars().map(|c| if acts(c) { escaped(c) } else { c.to_string() }).collect())
}

fn escaped(c: char) -> String {
    if acts(c) { c.escape_default().to_string() } else { c.to_string() }
}

/// Whether a character does something else than being seen.
fn acts(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_acts_on_a_terminal_is_escaped_and_all_else_is_as_it_was() {
        assert_eq!(printable("pod-1 ü 網"), "pod-1 ü 網");
        assert_eq!(printable("a\u{1b}[2Jb\nc\u{9b}d\u{202e}e\0"), "a\\u{1b}[2Jb\\nc\\u{9b}d\\u{202e}e\\u{0}");
        assert_eq!(printable_lines("a\tb\nc\r\n"), "a\\tb\nc\\r\n");
    }

    #[test]
    fn only_a_regular_file_that_is_not_too_long_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link, pipe) = (folder.path().join("file"), folder.path().join("link"), folder.path().join("pipe"));
        std::fs::write(&file, "1234").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert_eq!(read(&file, 4, Links::Refused).unwrap(), b"1234");
        assert_eq!(read(&link, 4, Links::Followed).unwrap(), b"1234");
        assert!(read(&file, 3, Links::Refused).unwrap_err().to_string().contains("more than 3 octets"));
        assert!(read(&link, 4, Links::Refused).unwrap_err().to_string().contains("symbolic link"));
        for other in [pipe.as_path(), folder.path(), Path::new("/dev/zero")] {
            assert!(read(other, 4, Links::Followed).unwrap_err().to_string().contains("not a regular file"));
        }
    }
}
