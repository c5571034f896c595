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
//! | `report/` | table, document and plots of the samples |
//! | `sample.rs` | one measurement, and the machine that it was made on |

pub mod control;
pub mod flow;
pub mod frame;
pub mod path;
pub mod report;
pub mod sample;
