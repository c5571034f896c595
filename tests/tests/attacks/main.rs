//! The attack table: what a hostile guest, or a hostile network, tries; what a plain bridge lets through of it, and that
//! tapwire lets through nothing, for a reason that it names and counts. `docs/attacks.md` has the table.
//!
//! Beside it, what an honest guest sends and must not lose, and what the operator can allow.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod allow;
mod field;
mod honest;
mod packet;
mod row;
mod rows;
mod seen;
mod table;
