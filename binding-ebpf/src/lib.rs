//! Nothing: it gives the crate a library target, so that other crates can depend on it and cargo rebuilds them.
#![no_std]
