//! What is on the TCX hooks of a device.
//!
//! Like everything that names a device by its interface, these run on a thread that is in the device's namespace.

use aya::programs::{ProgramError, ProgramInfo, SchedClassifier, TcAttachType};

use super::hook::NEEDS;
use crate::error::{Error, Result, chain};

/// Whether this kernel has TCX, found out by asking a device and not by the version.
pub fn is_supported(device: &str) -> Result<bool> {
    query(device, TcAttachType::Ingress).map(|programs| programs.is_some())
}

/// Names of the programs on a device, of both directions. A kernel that does not know the question has none; any other
/// failure is one, for a program that cannot be seen must not count as absent.
pub fn programs_on(device: &str) -> Result<Vec<String>> {
    let mut all = names(device, TcAttachType::Ingress)?;
    all.extend(names(device, TcAttachType::Egress)?);
    Ok(all)
}

/// Names of the programs of one hook.
pub fn names(device: &str, direction: TcAttachType) -> Result<Vec<String>> {
    Ok(programs(device, direction)?.iter().map(|program| program.name_as_str().unwrap_or("?").to_owned()).collect())
}

/// The programs of one hook, in their order; none on a kernel that does not know the question.
pub(super) fn programs(device: &str, direction: TcAttachType) -> Result<Vec<ProgramInfo>> {
    query(device, direction).map(Option::unwrap_or_default)
}

/// The programs of one hook; `None` on a kernel before 6.6, which takes the question for nonsense.
fn query(device: &str, direction: TcAttachType) -> Result<Option<Vec<ProgramInfo>>> {
    match SchedClassifier::query_tcx(device, direction) {
        Ok((_, programs)) => Ok(Some(programs)),
        Err(ProgramError::SyscallError(error)) if error.io_error.raw_os_error() == Some(nix::libc::EINVAL) => Ok(None),
        Err(error) => Err(Error::new(format!("ask {device} for TCX"), chain(&error)).with_hint(NEEDS)),
    }
}
