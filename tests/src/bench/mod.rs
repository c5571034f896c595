//! The benchmark: tapwire beside every other way to join a VM to a pod, measured in one run on one machine.
//!
//! It stands in the lab and not in the product: what is compared must not be able to look at who measures. All paths
//! are made at once and measured in turn, round after round, so that what disturbs the machine disturbs all of them; a
//! comparison holds only within such a run. Nothing here asserts a time.
//!
//! | file | does |
//! |---|---|
//! | `control/` | what there is beside frames: attach, detach, leases, memory |
//! | `flow/` | what programs in a guest see: TCP, UDP, request-response, connections |
//! | `path/` | makes each way, as its own project makes it |
//! | `frame.rs` | the frames that are sent |
//! | `lane.rs` | the loops that send and read them, and take the time |
//! | `hop.rs` | what a frame costs each way |
//! | `peercni.rs` | the same to the guest where the CNI delivers by `bpf_redirect_peer` |
//! | `session.rs` | one run of all that |
//! | `report/` | table, document and plots of the samples |
//! | `sample.rs` | one measurement, and the machine that it was made on |
//! | `stats.rs` | medians, spreads, tables |
//! | `tuning/` | experiments: what else might help |
//! | `vm.rs` | real virtual machines |

pub mod control;
pub mod flow;
pub mod frame;
pub mod hop;
pub mod lane;
pub mod path;
pub mod peercni;
pub mod report;
pub mod sample;
pub mod session;
pub mod stats;
pub mod tuning;
pub mod vm;

pub use session::{Measure, Options, Session, run};

/// Everything that is measured, in order.
pub const MEASURES: &[Measure] =
    &[hop::MEASURE, peercni::MEASURE, flow::MEASURE, control::MEASURE, vm::MEASURE, tuning::MEASURE];
