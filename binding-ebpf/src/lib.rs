//! Exists so that user space can depend on this crate and cargo rebuilds it.
#![no_std]
