//! Reads what libtest prints and sums it up.

use std::fmt;

/// What a test prints, followed by the reason, when it finds at run time that it cannot be run here.
const SKIPPED: &str = "skipped: ";

/// The sum over all suites.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Tally {
    passed: u32,
    skipped: u32,
    failures: Vec<String>,
    reasons: Vec<String>,
}

impl Tally {
    /// Counts a failure that is not a test's.
    pub(crate) fn step_failed(&mut self, what: &str) {
        self.failures.push(what.to_owned());
    }

    /// Counts something other than a test that could not be done here.
    pub(super) fn step_skipped(&mut self, what: &str) {
        self.skipped += 1;
        self.reasons.push(what.to_owned());
    }

    pub(crate) fn failed(&self) -> bool {
        !self.failures.is_empty()
    }

    pub(crate) fn count_failed(&self) -> usize {
        self.failures.len()
    }
}

impl fmt::Display for Tally {
    /// What was skipped and what failed, and the closing line, whose form others rely on.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for reason in &self.reasons {
            writeln!(f, "skipped: {reason}")?;
        }
        for failure in &self.failures {
            writeln!(f, "failed: {failure}")?;
        }
        write!(f, "{} passed, {} failed, {} skipped", self.passed, self.failures.len(), self.skipped)
    }
}

/// Follows the output of one `cargo test`, line by line.
pub(crate) struct Reader<'a> {
    tally: &'a mut Tally,
    /// What stands before the names of suites.
    prefix: String,
    /// The test binary that is running.
    suite: String,
    part: Part,
    /// Tests of this suite that said they were skipped; libtest has them as passed.
    skipped: u32,
    failures: usize,
}

/// What libtest is printing.
#[derive(PartialEq)]
enum Part {
    /// One line for each test.
    Tests,
    /// What the passed tests had printed.
    Successes,
    /// What the failed tests had printed, and their names.
    Failures,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(tally: &'a mut Tally) -> Self {
        Self::of(tally, "")
    }

    /// A reader for suites that run in several places: `prefix` tells where.
    pub(crate) fn of(tally: &'a mut Tally, prefix: &str) -> Self {
        let failures = tally.failures.len();
        Self { tally, prefix: prefix.to_owned(), suite: String::new(), part: Part::Tests, skipped: 0, failures }
    }

    /// Takes a line in, and says whether it is worth showing: what passed tests print is not.
    pub(crate) fn see(&mut self, line: &str) -> bool {
        if let Some(suite) = suite(line) {
            self.suite = format!("{}{suite}", self.prefix);
        } else if line.starts_with("running ") {
            self.begin();
        } else if line == "successes:" {
            self.part = Part::Successes;
        } else if line == "failures:" {
            self.part = Part::Failures;
        } else if let Some(result) = line.strip_prefix("test result: ") {
            self.end(result);
        } else if let Some((_, reason)) = line.split_once(SKIPPED)
            && self.part != Part::Failures
        {
            self.skipped += 1;
            self.tally.reasons.push(format!("{}: {}", self.suite, reason.trim()));
        } else if let Some(name) = failed(line) {
            self.tally.failures.push(format!("{}: {name}", self.suite));
        }
        self.part != Part::Successes
    }

    fn begin(&mut self) {
        self.part = Part::Tests;
        self.skipped = 0;
        self.failures = self.tally.failures.len();
    }

    /// Takes in `ok. 12 passed; 0 failed; 1 ignored; …`.
    fn end(&mut self, result: &str) {
        let passed = count(result, " passed");
        let skipped = self.skipped.min(passed);
        self.tally.passed += passed - skipped;
        self.tally.skipped += skipped + count(result, " ignored");
        // A name can be torn from its verdict by what another process writes in between; the count is always whole.
        let named = self.tally.failures.len() - self.failures;
        for _ in named..usize::try_from(count(result, " failed")).unwrap_or(usize::MAX) {
            self.tally.failures.push(format!("{}: a test, see above", self.suite));
        }
        self.begin();
    }
}

/// The suite of `Running unittests src/lib.rs (target/debug/deps/lab-0a1b2c)` or `Doc-tests lab`.
fn suite(line: &str) -> Option<String> {
    let line = line.trim_start();
    if let Some(package) = line.strip_prefix("Doc-tests ") {
        return Some(format!("{package} (documentation)"));
    }
    let path = line.strip_prefix("Running ")?.split_once(" (")?.1.strip_suffix(')')?;
    let file = path.rsplit('/').next()?;
    Some(file.rsplit_once('-')?.0.to_owned())
}

/// The test of `test NAME ... FAILED`.
fn failed(line: &str) -> Option<&str> {
    let (name, verdict) = line.strip_prefix("test ")?.split_once(" ... ")?;
    verdict.starts_with("FAILED").then_some(name)
}

/// The number before `unit`, as in `12 passed`.
fn count(result: &str, unit: &str) -> u32 {
    let before = result.split_once(unit).map_or("", |(before, _)| before);
    before.rsplit(' ').next().and_then(|number| number.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::{Reader, Tally};

    fn read(output: &str) -> Tally {
        let mut tally = Tally::default();
        let mut reader = Reader::new(&mut tally);
        for line in output.lines() {
            reader.see(line);
        }
        tally
    }

    #[test]
    fn sums_the_suites() {
        let tally = read(
            "     Running unittests src/lib.rs (target/debug/deps/binding_common-0123)\n\nrunning 3 tests\n\
             test a ... ok\ntest b ... ignored\ntest c ... ok\n\n\
             test result: ok. 2 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s\n\n\
             Doc-tests binding_common\n\nrunning 1 test\ntest x ... ok\n\n\
             test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s\n",
        );
        assert_eq!(tally.to_string(), "3 passed, 0 failed, 1 skipped");
    }

    #[test]
    fn names_the_failed_tests() {
        let tally = read(
            "     Running tests/attach.rs (/t/debug/deps/attach-0123)\n\nrunning 2 tests\n\
             test a::b ... FAILED\ntest c ... ok\n\nfailures:\n\n---- a::b stdout ----\nskipped: not really\n\n\
             failures:\n    a::b\n\n\
             test result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s\n",
        );
        assert_eq!(tally.to_string(), "failed: attach: a::b\n1 passed, 1 failed, 0 skipped");
    }

    #[test]
    fn counts_a_failure_without_a_name() {
        let tally = read(
            "running 1 test\ntest a ... noise of a child\nFAILED\n\n\
             test result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s\n",
        );
        assert_eq!(tally.failures.len(), 1);
    }

    #[test]
    fn counts_what_a_test_skips_as_skipped() {
        let tally = read(
            "     Running tests/vm.rs (/t/debug/deps/vm-0123)\nrunning 2 tests\n\
             test a ... skipped: needs root: vm\nok\ntest b ... ok\n\nsuccesses:\n\n---- b stdout ----\n\
             skipped: no KVM\n\n\nsuccesses:\n    a\n    b\n\n\
             test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s\n",
        );
        let expected = "skipped: vm: needs root: vm\nskipped: vm: no KVM\n0 passed, 0 failed, 2 skipped";
        assert_eq!(tally.to_string(), expected);
    }
}
