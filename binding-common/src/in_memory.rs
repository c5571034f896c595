//! Values that the verifier of the kernel shall not follow.
//!
//! It follows each value that a register or the stack holds through every branch, and two ways to one instruction are
//! one to it only if all of them agree. A loop that carries a sum, a position and a flag so becomes thousands of loops.
//! What lies in a map it does not follow: there it may be anything, at any time. So what a loop carries lies in a map,
//! and must be read from there each time, where the compiler would keep it in a register.

/// A value that is read from memory and written to memory each time.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InMemory<T>(T);

impl<T: Copy> InMemory<T> {
    /// With this value.
    pub const fn new(value: T) -> Self {
        Self(value)
    }

    /// Reads it.
    #[inline(always)]
    pub fn get(&self) -> T {
        // SAFETY: a reference is valid and aligned.
        unsafe { core::ptr::read_volatile(&raw const self.0) }
    }

    /// Writes it.
    #[inline(always)]
    pub fn set(&mut self, value: T) {
        // SAFETY: a reference is valid and aligned.
        unsafe { core::ptr::write_volatile(&raw mut self.0, value) }
    }
}
