//! Set-up, build, demo and tests of tapwire.
fn main() {}
