//! The programs of a configuration, loaded, and run on frames.

use aya::{
    TestRunOptions,
    maps::{Array, PerCpuArray, PerCpuValues},
    programs::TestRun as _,
};
use binding_common::{Counters, MacAddr};
use binding_user::datapath::Programs;

use super::{
    case::{Case, Step},
    config::{Config, TAP},
};
use crate::model::Verdict;

/// Offsets in `struct __sk_buff` (include/uapi/linux/bpf.h) of the fields that a test run takes.
const INGRESS_IFINDEX: usize = 36;
const GSO_SEGS: usize = 164;
const GSO_SIZE: usize = 176;
/// Octets of `struct __sk_buff`.
const CONTEXT: usize = 192;
/// Octets of the longest frame that a program may leave.
const ROOM: usize = 8192;

/// `TC_ACT_…` of `linux/pkt_cls.h`, as a test run gives them back.
const UNSPEC: u32 = u32::MAX;
const SHOT: u32 = 2;
const REDIRECT: u32 = 7;

/// Loaded programs, and what they are compared with.
pub struct Loaded {
    config: Config,
    programs: Programs,
    cpus: usize,
    out: Vec<u8>,
}

impl Loaded {
    /// Loads the programs of a configuration.
    pub fn new(config: Config) -> Result<Self, String> {
        let replies = config.binding().map(|binding| &binding.replies);
        let programs = Programs::load(config.constants(), replies, None).map_err(|error| error.to_string())?;
        let cpus = aya::util::nr_cpus().map_err(|(what, error)| format!("{what}: {error}"))?;
        Ok(Self { config, programs, cpus, out: vec![0; ROOM] })
    }

    /// The configuration's name.
    pub fn name(&self) -> &'static str {
        self.config.name
    }

    /// Runs a case, and says how the kernel and the model differ; `Ok` has how many frames the kernel took.
    pub fn run(&mut self, case: &Case) -> Result<usize, String> {
        self.forget();
        let mut model = self.config.model();
        let mut taken = 0;
        for (place, step) in case.steps.iter().enumerate() {
            // The kernel runs no program on a frame that ends before the header which its EtherType promises.
            let Some(seen) = self.step(step)? else { continue };
            let judged = model.run(step.program, step.beside, &step.frame);
            taken += 1;
            if seen != judged {
                return Err(format!("frame {place}: the kernel says {}, the model {}", told(&seen), told(&judged)));
            }
        }
        let counted = self.counters();
        if counted != model.counters {
            return Err(format!("the kernel counted {}, the model {}", counts(&counted), counts(&model.counters)));
        }
        let learned = self.learned();
        if learned != model.learned {
            return Err(format!("the kernel learnt {learned}, the model {}", model.learned));
        }
        Ok(taken)
    }

    /// Gives a frame to a program. `None` is a frame that the kernel did not take.
    fn step(&mut self, Step { program, beside, frame }: &Step) -> Result<Option<Verdict>, String> {
        let mut context = [0; CONTEXT];
        let mut set = |at: usize, value: u32| context[at..at + 4].copy_from_slice(&value.to_ne_bytes());
        if beside.gso_size != 0 {
            set(GSO_SEGS, 2);
            set(GSO_SIZE, beside.gso_size.into());
        }
        if beside.from_tap {
            set(INGRESS_IFINDEX, TAP);
        }
        let options = TestRunOptions {
            data_in: Some(frame),
            data_out: Some(&mut self.out),
            ctx_in: Some(&context),
            ..TestRunOptions::default()
        };
        let program = self.programs.program(program.name()).map_err(|error| error.to_string())?;
        let Ok(result) = program.test_run(options) else { return Ok(None) };
        let len = usize::try_from(result.data_size_out).unwrap_or(0);
        match result.return_value {
            REDIRECT => Ok(Some(Verdict::Redirect(self.out[..len].to_vec()))),
            UNSPEC => Ok(Some(Verdict::Pass)),
            SHOT => Ok(Some(Verdict::Shot)),
            other => Err(format!("the kernel gave the verdict {other}")),
        }
    }

    /// Sets all that the programs remember to what it was when they were loaded.
    fn forget(&mut self) {
        let zero = PerCpuValues::try_from(vec![Counters::ZERO; self.cpus]).unwrap();
        self.counters_map().set(0, zero, 0).unwrap();
        self.learned_map().set(0, 0, 0).unwrap();
    }

    fn counters_map(&mut self) -> PerCpuArray<&mut aya::maps::MapData, Counters> {
        self.programs.ebpf().map_mut("COUNTERS").unwrap().try_into().unwrap()
    }

    fn learned_map(&mut self) -> Array<&mut aya::maps::MapData, u64> {
        self.programs.ebpf().map_mut("LEARNED").unwrap().try_into().unwrap()
    }

    fn counters(&mut self) -> Counters {
        let mut sum = Counters::ZERO;
        for counters in self.counters_map().get(&0, 0).unwrap().iter() {
            sum.add(counters);
        }
        sum
    }

    fn learned(&mut self) -> MacAddr {
        MacAddr::from_number(self.learned_map().get(&0, 0).unwrap())
    }
}

fn told(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Redirect(octets) => format!("redirect of {} octets {octets:02x?}", octets.len()),
        other => format!("{other:?}"),
    }
}

/// What is not zero.
fn counts(counters: &Counters) -> String {
    let named = |names: Vec<&'static str>, counts: &[u64]| -> Vec<String> {
        let pairs = names.into_iter().zip(counts);
        pairs.filter(|(_, count)| **count != 0).map(|(name, count)| format!("{name} {count}")).collect()
    };
    let dropped = named(binding_common::Reason::ALL.iter().map(|reason| reason.name()).collect(), &counters.dropped);
    let dhcp = named(binding_common::DhcpMessage::ALL.iter().map(|message| message.name()).collect(), &counters.dhcp);
    format!(
        "to-network {:?}, to-guest {:?}, ARP replies {}, {dhcp:?}, dropped {dropped:?}",
        counters.to_network, counters.to_guest, counters.arp_replies
    )
}
