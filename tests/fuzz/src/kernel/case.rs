//! A case: a configuration and the frames that its programs are given, in a row; and how it is kept in a file.

use std::fmt;

use crate::model::{Beside, Program};

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The program that is given the frame.
    pub program: Program,
    /// What the kernel knows beside it. Whether the frame is for this host follows from its destination.
    pub beside: Beside,
    /// The frame.
    pub frame: Vec<u8>,
}

/// A configuration, by its place, and frames.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// The place of the configuration.
    pub config: u8,
    /// The frames.
    pub steps: Vec<Step>,
}

impl Case {
    /// As it is kept: the configuration; then of each frame the program, flags, GSO size and length, and its octets.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![self.config];
        for Step { program, beside, frame } in &self.steps {
            let place = Program::ALL.iter().position(|other| other == program).unwrap_or(0);
            bytes.extend([u8::try_from(place).unwrap_or(0), u8::from(beside.from_tap)]);
            bytes.extend(beside.gso_size.to_be_bytes());
            bytes.extend(u16::try_from(frame.len()).unwrap_or(u16::MAX).to_be_bytes());
            bytes.extend(frame);
        }
        bytes
    }

    /// Reads what was kept; `None` where it is no case.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (config, mut rest) = bytes.split_first()?;
        let mut steps = Vec::new();
        while let Some((head, behind)) = rest.split_first_chunk::<6>() {
            let [program, flags, g0, g1, l0, l1] = *head;
            let (frame, next) = behind.split_at_checked(u16::from_be_bytes([l0, l1]).into())?;
            let program = *Program::ALL.get(usize::from(program))?;
            let beside = Beside {
                gso_size: u16::from_be_bytes([g0, g1]),
                from_tap: flags & 1 != 0,
                for_this_host: is_for_this_host(frame),
            };
            steps.push(Step { program, beside, frame: frame.to_vec() });
            rest = next;
        }
        (rest.is_empty() && !steps.is_empty()).then_some(Self { config: *config, steps })
    }
}

/// A test run takes the frame for one that came in by lo, whose MAC is all zeros (`eth_type_trans`).
pub fn is_for_this_host(frame: &[u8]) -> bool {
    frame.starts_with(&[0; 6])
}

impl fmt::Display for Case {
    /// Each frame as an array of Rust.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Step { program, beside, frame } in &self.steps {
            let octets: Vec<_> = frame.iter().map(|octet| format!("{octet:#04x}")).collect();
            writeln!(f, "{}, {beside:?}, [{}]", program.name(), octets.join(", "))?;
        }
        Ok(())
    }
}
