//! The lease file: the options of a lease in TOML, for what is too much for a command line or the same for many VMs.
//!
//! Its keys are those of KubeVirt's `dhcpOptions`, and the others in the same manner. It is read once, at the time of
//! the command, with the operator's rights; the journal keeps the values and not the path. Whoever wrote it is told the
//! line and the key of what is wrong, so the document is walked by hand: serde would not know them.

use std::path::Path;

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{LeaseOptions, PrivateOption, Setting, options::NONE, values};
use crate::{
    error::{Context as _, Error, Result},
    input::{self, Links},
};

/// Octets that a file may have: far more than all options together.
const LIMIT: u64 = 64 * 1024;

/// Each key with an example of its value.
const KEYS: [(&str, &str); 10] = [
    ("bootFileName", "\"boot.ipxe\""),
    ("dns", "[\"10.96.0.10\"]"),
    ("hostname", "\"vm1\""),
    ("leaseTime", "3600"),
    ("mtu", "1400"),
    ("ntpServers", "[\"10.96.0.11\"]"),
    ("privateOptions", "[{ option = 240, value = \"text\" }]"),
    ("search", "[\"svc.cluster.local\"]"),
    ("tftpServerName", "\"10.96.0.12\""),
    ("tftpServers", "[\"10.96.0.12\"]"),
];

type Value<'a> = Spanned<DeValue<'a>>;

/// What is wrong with a value, and where it begins.
struct Wrong {
    at: usize,
    why: String,
}

impl Wrong {
    fn new(value: &Value<'_>, why: impl Into<String>) -> Self {
        Self { at: value.span().start, why: why.into() }
    }

    /// The value is not of the kind that is wanted.
    fn kind(value: &Value<'_>, wanted: &str) -> Self {
        Self::new(value, format!("{wanted} is wanted, and this is a TOML {}", value.get_ref().type_str()))
    }
}

/// Reads a lease file.
pub fn read(path: &Path) -> Result<LeaseOptions> {
    let what = || format!("read the lease file {}", path.display());
    let content = input::read(path, LIMIT, Links::Followed).context(what);
    let content = content.map_err(|error| error.with_hint("name a TOML file with the options of one lease"))?;
    let text = String::from_utf8(content).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        in_line(path, error.as_bytes(), at, "it is not UTF-8").with_hint("save the file as UTF-8")
    })?;
    parse(path, &text)
}

/// Reads the text of a lease file; `path` is for the errors.
pub fn parse(path: &Path, text: &str) -> Result<LeaseOptions> {
    let document = DeTable::parse(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        in_line(path, text.as_bytes(), at, error.message()).with_hint("write it as TOML: key = value, a line each")
    })?;
    let mut entries: Vec<_> = document.get_ref().iter().collect();
    // The table is sorted by name; the first line that is wrong is the one to tell.
    entries.sort_by_key(|(key, _)| key.span().start);
    let mut options = LeaseOptions::default();
    for (key, value) in entries {
        let name = key.get_ref().as_ref();
        let Some((_, example)) = KEYS.iter().find(|(known, _)| *known == name) else {
            let known = KEYS.map(|(known, _)| known).join(", ");
            return Err(in_line(path, text.as_bytes(), key.span().start, format!("there is no key {name:?}"))
                .with_hint(format!("the keys are {known}")));
        };
        set(&mut options, name, value).map_err(|wrong| {
            in_line(path, text.as_bytes(), wrong.at, format!("{name}: {}", wrong.why))
                .with_hint(format!("for example: {name} = {example}"))
        })?;
    }
    Ok(options)
}

fn in_line(path: &Path, text: &[u8], at: usize, why: impl std::fmt::Display) -> Error {
    let line = text.iter().take(at).filter(|octet| **octet == b'\n').count() + 1;
    Error::new(format!("read the lease file {}, line {line}", path.display()), why)
}

fn set(options: &mut LeaseOptions, key: &str, value: &Value<'_>) -> Result<(), Wrong> {
    match key {
        "bootFileName" => options.boot_file_name = one(value, values::boot_file)?,
        "dns" => options.dns = list(value, |item| text(item, values::server), values::servers)?,
        "hostname" => options.hostname = one(value, values::host_name)?,
        "leaseTime" => options.seconds = Some(seconds(value)?),
        "mtu" => options.mtu = Some(mtu(value)?),
        "ntpServers" => options.ntp_servers = list(value, |item| text(item, values::server), values::servers)?,
        "privateOptions" => options.private_options = list(value, private_option, values::private_options)?,
        "search" => options.search = list(value, |item| text(item, values::domain), values::domains)?,
        "tftpServerName" => options.tftp_server_name = one(value, values::boot_server)?,
        "tftpServers" => options.tftp_servers = list(value, |item| text(item, values::server), values::servers)?,
        _ => {}
    }
    Ok(())
}

/// A string, as its parser takes it.
fn text<T>(value: &Value<'_>, parse: impl Fn(&str) -> Result<T, String>) -> Result<T, Wrong> {
    let text = value.get_ref().as_str().ok_or_else(|| Wrong::kind(value, "a string"))?;
    parse(text).map_err(|why| Wrong::new(value, format!("{text:?}: {why}")))
}

/// A string, or the word that takes the option away.
fn one<T>(value: &Value<'_>, parse: impl Fn(&str) -> Result<T, String>) -> Result<Setting<T>, Wrong> {
    if value.get_ref().as_str() == Some(NONE) {
        return Ok(Setting::Cleared);
    }
    text(value, parse).map(Setting::Given)
}

/// A list, of which each item and the whole is checked; an empty one takes the option away, as the word does.
fn list<T>(
    value: &Value<'_>,
    item: impl Fn(&Value<'_>) -> Result<T, Wrong>,
    check: impl Fn(Vec<T>) -> Result<Vec<T>, String>,
) -> Result<Setting<Vec<T>>, Wrong> {
    if value.get_ref().as_str() == Some(NONE) {
        return Ok(Setting::Cleared);
    }
    let items = value.get_ref().as_array().ok_or_else(|| Wrong::kind(value, "a list"))?;
    if items.is_empty() {
        return Ok(Setting::Cleared);
    }
    let items = items.iter().map(item).collect::<Result<_, _>>()?;
    check(items).map(Setting::Given).map_err(|why| Wrong::new(value, why))
}

/// The digits of an integer, in tens.
fn number(value: &Value<'_>, wanted: &str) -> Result<String, Wrong> {
    let integer = value.get_ref().as_integer().ok_or_else(|| Wrong::kind(value, wanted))?;
    let number = i64::from_str_radix(integer.as_str(), integer.radix());
    number.map(|number| number.to_string()).map_err(|_| Wrong::new(value, format!("{integer} is out of range")))
}

fn mtu(value: &Value<'_>) -> Result<u32, Wrong> {
    let number = number(value, "an integer")?;
    let mtu = number.parse().ok().filter(|mtu| values::MTU.contains(mtu));
    let (least, most) = (values::MTU.start(), values::MTU.end());
    mtu.ok_or_else(|| Wrong::new(value, format!("{number} is not an MTU: those are {least} to {most}")))
}

fn seconds(value: &Value<'_>) -> Result<u32, Wrong> {
    if value.get_ref().is_str() {
        return text(value, values::seconds);
    }
    let number = number(value, "a number of seconds, or \"infinite\",")?;
    values::seconds(&number).map_err(|why| Wrong::new(value, format!("{number}: {why}")))
}

fn private_option(value: &Value<'_>) -> Result<PrivateOption, Wrong> {
    let table = value.get_ref().as_table().ok_or_else(|| Wrong::kind(value, "a table of option and value"))?;
    if let Some((key, _)) = table.iter().find(|(key, _)| !matches!(key.get_ref().as_ref(), "option" | "value")) {
        let why = format!("there is no key {:?} in it, but option and value", key.get_ref());
        return Err(Wrong { at: key.span().start, why });
    }
    let part = |name: &str| table.get(name).ok_or_else(|| Wrong::new(value, format!("{name} is missing")));
    let code = number(part("option")?, "an integer")?;
    text(part("value")?, |text| values::private_option(&code, text))
}

#[cfg(test)]
mod tests {
    use std::{fs, net::Ipv4Addr};

    use super::*;

    fn parsed(text: &str) -> Result<LeaseOptions> {
        parse(Path::new("vm.toml"), text)
    }

    /// The text is refused in this line, in these words and with a hint.
    fn assert_refused(text: &str, line: usize, why: &str) {
        let error = parsed(text).err().unwrap_or_else(|| panic!("{text} was taken"));
        let said = error.to_string();
        assert!(said.starts_with(&format!("read the lease file vm.toml, line {line}: ")), "{text}: {said}");
        assert!(said.contains(why), "{text}: {said}");
        assert!(error.hint().is_some(), "{text}: {said}");
    }

    #[test]
    fn every_key_is_read_and_each_hint_shows_a_value_that_is_taken() {
        let text = KEYS.map(|(key, example)| format!("{key} = {example}")).join("\n");
        let address = |last| vec![Ipv4Addr::new(10, 96, 0, last)];
        let expected = LeaseOptions {
            dns: Setting::Given(address(10)),
            search: Setting::Given(vec!["svc.cluster.local".to_owned()]),
            hostname: Setting::Given("vm1".to_owned()),
            seconds: Some(3600),
            mtu: Some(1400),
            ntp_servers: Setting::Given(address(11)),
            tftp_server_name: Setting::Given("10.96.0.12".to_owned()),
            boot_file_name: Setting::Given("boot.ipxe".to_owned()),
            tftp_servers: Setting::Given(address(12)),
            private_options: Setting::Given(vec![PrivateOption { option: 240, value: "text".to_owned() }]),
        };
        assert_eq!(parsed(&text).unwrap(), expected);
    }

    #[test]
    fn the_example_of_the_documentation_has_every_key() {
        let text = include_str!("../../../docs/lease-file.md");
        let example = text.split_once("```toml\n").and_then(|(_, rest)| rest.split_once("```")).unwrap().0;
        let keys: Vec<_> = DeTable::parse(example).unwrap().into_inner().into_iter().map(|(key, _)| key).collect();
        assert_eq!(keys.iter().map(|key| key.get_ref().as_ref()).collect::<Vec<_>>(), KEYS.map(|(key, _)| key));
        assert!(parsed(example).is_ok());
    }

    #[test]
    fn an_empty_list_and_the_word_none_take_an_option_away() {
        let options = parsed("dns = []\nsearch = \"none\"\nhostname = \"none\"\nleaseTime = \"infinite\"\n").unwrap();
        let expected = LeaseOptions {
            dns: Setting::Cleared,
            search: Setting::Cleared,
            hostname: Setting::Cleared,
            seconds: Some(u32::MAX),
            ..LeaseOptions::default()
        };
        assert_eq!(options, expected);
        assert_eq!(parsed("").unwrap(), LeaseOptions::default());
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line_and_key() {
        for (text, line, why) in [
            ("mtu = 1400\nDns = []\n", 2, "there is no key \"Dns\""),
            ("\n[dhcpOptions]\nmtu = 1400\n", 2, "there is no key \"dhcpOptions\""),
            ("dns = \"10.0.0.1\"", 1, "dns: a list is wanted, and this is a TOML string"),
            ("dns = [\n \"10.0.0.1\",\n \"10.0.0\",\n]", 3, "dns: \"10.0.0\": not an IPv4 address"),
            ("ntpServers = [\"fd00::1\"]", 1, "ntpServers: \"fd00::1\": not an IPv4 address"),
            ("tftpServers = [\"10.0.0.1\", \"10.0.0.1\"]", 1, "tftpServers: 10.0.0.1 stands there twice"),
            ("search = [\"foo\\n.com\"]", 1, "search: \"foo\\n.com\": not a domain"),
            ("search = [1]", 1, "search: a string is wanted, and this is a TOML integer"),
            ("hostname = \"a b\"", 1, "hostname: \"a b\": not a name"),
            ("bootFileName = \"a\\u0000b\"", 1, "bootFileName: \"a\\0b\": it has control characters"),
            ("tftpServerName = \"\"", 1, "tftpServerName: \"\": it is empty"),
            ("mtu = \"1400\"", 1, "mtu: an integer is wanted"),
            ("mtu = 67", 1, "mtu: 67 is not an MTU"),
            ("mtu = 0x1_0000", 1, "mtu: 65536 is not an MTU"),
            ("leaseTime = 29", 1, "leaseTime: 29: a lease lasts at least 30 seconds"),
            ("leaseTime = -1", 1, "leaseTime: -1: not a number of seconds"),
            ("leaseTime = 99999999999999999999", 1, "leaseTime: 99999999999999999999 is out of range"),
            ("leaseTime = 1.5", 1, "leaseTime: a number of seconds, or \"infinite\", is wanted"),
            (
                "privateOptions = [{ option = 223, value = \"x\" }]",
                1,
                "privateOptions: \"x\": \"223\" is not a private",
            ),
            ("privateOptions = [{ option = 240 }]", 1, "privateOptions: value is missing"),
            (
                "[[privateOptions]]\noption = 240\nvalue = \"x\"\ncode = 1",
                4,
                "privateOptions: there is no key \"code\"",
            ),
            ("mtu = 1400\nmtu = 1400\n", 2, "duplicate key"),
            ("mtu 1400\n", 1, "expected `=`"),
            ("mtu = 1400\ndns = [\n", 2, "unclosed array"),
        ] {
            assert_refused(text, line, why);
        }
    }

    #[test]
    fn only_a_regular_file_of_text_that_is_not_huge_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let file = |content: &[u8]| {
            let path = folder.path().join("lease.toml");
            fs::write(&path, content).unwrap();
            read(&path)
        };
        let padded = |octets: usize| [&b"mtu = 1400\n#"[..], &vec![b'x'; octets - 12]].concat();
        assert_eq!(file(&padded(64 * 1024)).unwrap().mtu, Some(1400));
        assert!(file(&padded(64 * 1024 + 1)).unwrap_err().to_string().contains("more than 65536 octets"));
        assert!(file(b"mtu = 1400\n# \xff\n").unwrap_err().to_string().contains("line 2: it is not UTF-8"));
        assert!(read(folder.path()).unwrap_err().to_string().contains("not a regular file"));
        let pipe = folder.path().join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(read(&pipe).unwrap_err().to_string().contains("not a regular file"), "and nobody waits for a writer");
        assert!(read(&folder.path().join("none")).is_err());
    }
}
