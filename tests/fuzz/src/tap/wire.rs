//! A binding between real devices, and what is held to be true of it.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use lab::{
    BINDING, Offloads, Pod, RawPort, Tapwire,
    tap::{FRAME_MAX, HEADER, TapFile},
    wait_for,
};
use serde_json::Value;

use super::{KernelLog, Shot, Volley};
use crate::frames;

/// Longest wait for what is there at once.
const SOON: Duration = Duration::from_secs(5);
/// MTU of the link.
const MTU: usize = 1500;
/// Frames after which the other side is looked at, so that its socket has room for all of them.
const LOOK: usize = 64;

/// How a binding is laid out.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    /// What it is, in a word.
    pub name: &'static str,
    options: &'static [&'static str],
    queues: usize,
    /// The pod NIC cuts frames itself, so that the other side sees none that is to be cut.
    cuts: bool,
}

impl Layout {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self { name: "peer", options: &["--to-network", "peer"], queues: 1, cuts: false },
        Self { name: "redirect", options: &["--to-network", "redirect"], queues: 1, cuts: true },
        Self { name: "queues", options: &["--to-network", "redirect", "--queues", "2"], queues: 2, cuts: true },
        // The frames are of the MAC that the pod had, so a guard would let none of them through.
        Self {
            name: "fix-up",
            options: &[
                "--to-network",
                "redirect",
                "--hook",
                "clsact",
                "--guest-mac",
                "02:00:00:00:00:aa",
                "--guard",
                "off",
            ],
            queues: 1,
            cuts: true,
        },
    ];
}

/// What was done with a wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Frames that the tap took.
    pub taken: u64,
    /// Frames that it refused.
    pub refused: u64,
    /// Frames that the other side saw.
    pub seen: u64,
}

/// A tap and the host side, joined by tapwire.
pub struct Wire {
    queues: Vec<TapFile>,
    host: RawPort,
    log: KernelLog,
    layout: Layout,
    guest: [u8; 6],
    // After the ports: a tap that is held cannot be taken away cleanly.
    tapwire: Tapwire,
    _pod: Pod,
    /// What was done with it.
    pub count: Count,
}

impl Wire {
    /// Lays out a pod and attaches.
    pub fn new(layout: Layout) -> Result<Self> {
        let log = KernelLog::from_now()?;
        let pod = Pod::new("fuzz")?;
        let tapwire = Tapwire::new()?;
        tapwire.attach(&pod, BINDING, layout.options)?;
        if layout.cuts {
            pod.namespace.exec(&[
                "ethtool",
                "-K",
                &pod.nic,
                "tso",
                "off",
                "gso",
                "off",
                "tx-udp-segmentation",
                "off",
            ])?;
        }
        let host = RawPort::open(&pod.node, &pod.host_side)?;
        let open = || TapFile::open(&pod.namespace, "tap0", Offloads::Virtio);
        let queues = (0..layout.queues).map(|_| open()).collect::<Result<Vec<_>>>()?;
        let wire = Self {
            queues,
            host,
            log,
            layout,
            guest: guest_mac(layout.options)?,
            tapwire,
            _pod: pod,
            count: Count::default(),
        };
        wire.lease_is_given().context("before anything was sent")?;
        Ok(wire)
    }

    /// Sends a volley and checks all that is held to be true.
    pub fn try_volley(&mut self, volley: &Volley) -> Result<()> {
        let before = self.accounted()?;
        let mut taken = 0;
        for (place, shot) in volley.0.iter().enumerate() {
            let queue = place % self.queues.len();
            if self.queues[queue].write(&shot.to_bytes()) {
                taken += u64::from(!is_lost_before_us(&shot.frame));
                self.count.taken += 1;
            } else {
                self.count.refused += 1;
            }
            if place % LOOK == LOOK - 1 {
                self.look()?;
            }
        }
        self.look()?;
        let after = self.accounted()?;
        let (least, most) = (after.0 - before.0, after.1 - before.1);
        ensure!(
            (least..=most).contains(&taken),
            "the tap took {taken} frames, and the counters know of {least} to {most}"
        );
        self.lease_is_given()?;
        let complaints = self.log.complaints()?;
        ensure!(complaints.is_empty(), "the kernel complains: {}", complaints.join(" | "));
        Ok(())
    }

    /// The smallest part of a volley that fails, and how it does.
    pub fn shrink(&mut self, volley: Volley, why: String) -> (Volley, String) {
        let (mut volley, mut why) = (volley, why);
        let mut part = volley.0.len() / 2;
        while part > 0 {
            let mut at = 0;
            while at < volley.0.len() && volley.0.len() > 1 {
                let mut smaller = volley.clone();
                smaller.0.drain(at..(at + part).min(volley.0.len()));
                match self.try_volley(&smaller) {
                    Err(error) if !smaller.0.is_empty() => (volley, why) = (smaller, format!("{error:#}")),
                    _ => at += part,
                }
            }
            part /= 2;
        }
        (volley, why)
    }

    /// Looks at what came to the other side, and takes away what came to the guest.
    fn look(&mut self) -> Result<()> {
        while let Some(seen) = self.host.receive(Duration::ZERO)? {
            if seen.outgoing {
                continue;
            }
            self.count.seen += 1;
            // One tag may lie in the frame, and the outermost one beside it.
            let most = 14 + MTU + 4;
            ensure!(
                !self.layout.cuts || seen.untagged <= most,
                "a frame of {} octets passed a link that carries {most}: {:02x?}",
                seen.untagged,
                &seen.data[..64]
            );
        }
        let mut buffer = vec![0; FRAME_MAX];
        for queue in &self.queues {
            while queue.read(&mut buffer)?.is_some() {}
        }
        Ok(())
    }

    /// How many frames of the guest the counters know of: sent on, dropped or answered; and with those that were taken note
    /// of, which is counted when they are read, also where they are dropped then.
    fn accounted(&self) -> Result<(u64, u64)> {
        let shown = self.tapwire.show(BINDING)?;
        let counters = &shown["counters"];
        let number = |value: &Value| value.as_u64().unwrap_or(0);
        let dropped: u64 = counters["dropped"].as_object().into_iter().flat_map(|all| all.values()).map(number).sum();
        let dhcp = &counters["dhcp"];
        let of = |messages: &[&str]| -> u64 { messages.iter().map(|message| number(&dhcp[*message])).sum() };
        let (sent, arp) = (number(&counters["to_network"]["frames"]), number(&counters["arp"]["replies"]));
        let least = sent + arp + dropped + of(&["offer", "ack", "nak"]);
        Ok((least, least + of(&["release", "decline"])))
    }

    /// The guest asks for its lease, and is offered it.
    fn lease_is_given(&self) -> Result<()> {
        let mut message = frames::dhcp_message([0; 4], [0x80, 0], &[&[53, 1, 1]]);
        message[28..34].copy_from_slice(&self.guest);
        let packet = frames::ipv4_packet(17, [0; 4], [255; 4], &[], &frames::udp(68, 67, &message));
        let discover = Shot::honest(frames::ethernet([0xff; 6], self.guest, 0x0800, &packet)).to_bytes();
        let mut buffer = vec![0; FRAME_MAX];
        // A tap that was just opened has no carrier for a moment, and loses what goes out of it.
        wait_for("an OFFER", SOON, || {
            ensure!(self.queues[0].write(&discover), "the tap does not take a DISCOVER");
            for queue in &self.queues {
                while let Some(len) = queue.read(&mut buffer)? {
                    let frame = &buffer[HEADER..len];
                    if frame.len() > 284 && frame[36..38] == [0, 68] && frame[282..285] == [53, 1, 2] {
                        return Ok(Some(()));
                    }
                }
            }
            Ok(None)
        })
    }
}

/// What the kernel drops between the tap and us: a frame that ends within its tag (`skb_vlan_untag`).
fn is_lost_before_us(frame: &[u8]) -> bool {
    let tagged = frame.get(12..14).is_some_and(|kind| kind == [0x81, 0] || kind == [0x88, 0xa8]);
    tagged && frame.len() < 14 + 6
}

/// The guest's MAC that the options name, or that of the pod NIC.
fn guest_mac(options: &[&str]) -> Result<[u8; 6]> {
    let named = options.iter().position(|option| *option == "--guest-mac").and_then(|at| options.get(at + 1));
    let text = named.copied().unwrap_or(lab::pod::POD_MAC);
    match text.parse::<binding_common::MacAddr>() {
        Ok(mac) => Ok(mac.0),
        Err(error) => bail!("{text}: {error}"),
    }
}
