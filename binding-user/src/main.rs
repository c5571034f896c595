//! tapwire, the binary.
fn main() {}
