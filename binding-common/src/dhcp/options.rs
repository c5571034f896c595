//! The options of a reply that are a matter of choice: which of them a client gets, and in which order.
//!
//! Those that no lease does without are part of the template. The others follow it, the most wanted first: what the
//! client asks for, in the order of its parameter request list (RFC 2132, 9.8: "in order of preference"), then what else
//! there is, in ours. An unasked option is still sent: half of all clients take an MTU or a search list that they
//! forgot to ask for. What finds no room is left out; a smaller one after it may still fit.
//!
//! The client identifier comes last and unaltered (RFC 6842), and its room is set aside before any choice.

use super::{Request, Template, option, request::MAX_PARAMETERS};
use crate::{checksum, counters::Reason, in_memory::InMemory};

/// How many options there can be: 16 that tapwire knows and the 31 private ones, with room.
pub const MAX_OPTIONS: usize = 64;
/// Octets of the longest one, all parts of an option that is split (RFC 3396) together.
pub const MAX_OPTION: usize = 1024;
/// Octets of all together.
pub const MAX_OCTETS: usize = 4096;

/// Octets of an IPv4 datagram that every client takes (RFC 2131, 2), and gets when it asks for less.
pub const MIN_DATAGRAM: u16 = 576;
/// Octets of Ethernet's header, which no size of a datagram counts.
const ETHERNET: u32 = 14;
/// Octets of the shortest reply: a BOOTP message has 300 (RFC 1542, 2.1).
pub const MIN_FRAME: usize = 42 + 300;

/// When an option is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum When {
    /// Where there is room.
    Always,
    /// To a client that asks for it.
    Requested,
    /// To a client that asks for it and not for option 121, whose twin it is.
    RequestedInPlaceOf121,
}

/// One option: where its octets are, code and length included, and what they add to a checksum.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// Offset in [`Options::octets`].
    pub at: u16,
    /// How many octets.
    pub len: u16,
    /// Folded sum of the octets as 16-bit words, the first one being the high half of a word.
    pub sum: u16,
    /// A [`When`].
    pub when: u8,
    /// The option's code.
    pub code: u8,
}

/// All options of a binding, laid out by user space.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Options {
    /// How many entries there are.
    pub count: u32,
    /// Octets of the largest datagram that may be sent, whatever the client takes.
    pub limit: u32,
    /// The options, the most important first.
    pub entries: [Entry; MAX_OPTIONS],
    /// By code: the place in `entries` plus one; 0 is none.
    pub places: [u8; 256],
    /// What the entries point to.
    pub octets: [u8; MAX_OCTETS],
}

/// Where the options of a reply are written to.
pub trait Output {
    /// Writes the first `len` of some octets, which are as many at least, at an offset of the frame. None is nothing to do.
    fn put<const N: usize>(&mut self, at: usize, octets: &[u8; N], len: usize) -> Result<(), Reason>;
}

/// How far the writing of a reply is. In the kernel it lies in a map; [`InMemory`] says why.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// The entries that had their turn, as bits.
    taken: InMemory<u64>,
    /// Octets of the frame so far.
    at: InMemory<usize>,
    /// Octets that it may have, END left out.
    end: InMemory<usize>,
    /// Sum of the 16-bit words of the template and of what was written.
    sum: InMemory<u32>,
    /// The client asks for option 121.
    has_121: InMemory<u32>,
    /// Options that found no room.
    trimmed: InMemory<u32>,
    reserved: u32,
    /// The turn that is next: [`LOOK`], [`REQUESTED`] or [`REST`] and what follows them.
    turn: InMemory<usize>,
}

/// Turns that look for option 121 among the parameters, one for each of them.
const LOOK: usize = 0;
/// Turns that write what the client asks for, in its order.
const REQUESTED: usize = LOOK + MAX_PARAMETERS;
/// Turns that write the rest, in our order.
const REST: usize = REQUESTED + MAX_PARAMETERS;
/// One that writes the client identifier and the end.
const END: usize = REST + MAX_OPTIONS;

/// How many turns there are. A list that is shorter than it may be skips those that are left.
pub const MAX_TURNS: usize = END + 1;

impl Progress {
    /// Octets of the whole frame.
    #[inline(always)]
    pub fn frame_len(&self) -> usize {
        self.at.get()
    }

    /// Sum of the 16-bit words of everything from the UDP header on, without the lengths.
    #[inline(always)]
    pub fn sum(&self) -> u32 {
        self.sum.get()
    }

    /// An option found no room.
    #[inline(always)]
    pub fn trimmed(&self) -> bool {
        self.trimmed.get() != 0
    }

    #[inline(always)]
    fn write<const N: usize>(
        &mut self,
        octets: &[u8; N],
        len: usize,
        sum: u16,
        output: &mut impl Output,
    ) -> Result<(), Reason> {
        let at = self.at.get();
        output.put(at, octets, len)?;
        // Octets that begin in the middle of a word count with their halves exchanged (RFC 1071, 2 (B)).
        let sum = if at & 1 == 0 { sum } else { sum.swap_bytes() };
        self.sum.set(self.sum.get() + u32::from(sum));
        self.at.set(at + len);
        Ok(())
    }
}

impl Options {
    /// No options.
    pub const EMPTY: Self = Self {
        count: 0,
        limit: MIN_DATAGRAM as u32,
        entries: [Entry { at: 0, len: 0, sum: 0, when: 0, code: 0 }; MAX_OPTIONS],
        places: [0; 256],
        octets: [0; MAX_OCTETS],
    };

    /// Octets of the longest frame that this client is sent.
    #[inline(always)]
    pub fn longest_frame(&self, request: &Request) -> u32 {
        let asked = u32::from(if request.max_size > MIN_DATAGRAM { request.max_size } else { MIN_DATAGRAM });
        ETHERNET + if asked < self.limit { asked } else { self.limit }
    }

    /// Adds an option, code and length included; less important ones are added later. `false` when there is no room.
    pub fn add(&mut self, code: u8, when: When, octets: &[u8]) -> bool {
        let place = self.count as usize;
        let at = self.entries.iter().map(|entry| entry.at + entry.len).max().unwrap_or_default();
        // A reader takes a window of the longest option from wherever one begins.
        let fits = place < MAX_OPTIONS && octets.len() <= MAX_OPTION && usize::from(at) + MAX_OPTION <= MAX_OCTETS;
        let (Ok(len), true) = (u16::try_from(octets.len()), fits) else { return false };
        let sum = checksum::fold(checksum::add_slice(0, octets));
        self.entries[place] = Entry { at, len, sum, when: when as u8, code };
        self.octets[usize::from(at)..usize::from(at + len)].copy_from_slice(octets);
        self.count += 1;
        self.places[usize::from(code)] = u8::try_from(self.count).unwrap_or_default();
        true
    }

    /// Begins to write what follows the template; [`Self::next_turn`] goes on. Without options, there are only the client
    /// identifier and END.
    ///
    /// The frame is [`Self::longest_frame`] long and holds the template; behind that, up to [`MIN_FRAME`], are zeros.
    #[inline(always)]
    pub fn begin(&self, template: &Template, request: &Request, with_options: bool, progress: &mut Progress) {
        progress.taken.set(0);
        let start = template.len as usize;
        progress.at.set(start);
        progress.sum.set(template.udp_sum);
        progress.has_121.set(0);
        let echo = usize::from(request.client_id_len);
        let end = self.longest_frame(request) as usize - 1;
        let has_echo = start + echo <= end;
        progress.end.set(if has_echo { end - echo } else { end });
        progress.trimmed.set(u32::from(!has_echo));
        progress.turn.set(if with_options { LOOK } else { END });
    }

    /// Writes the next option, if it is its time. `true`: that was the last turn, and there are at most [`MAX_TURNS`].
    #[inline(always)]
    pub fn next_turn(
        &self,
        request: &Request,
        progress: &mut Progress,
        output: &mut impl Output,
    ) -> Result<bool, Reason> {
        let turn = progress.turn.get();
        progress.turn.set(turn + 1);
        if turn < REQUESTED {
            match request.parameter(turn - LOOK) {
                None => progress.turn.set(REQUESTED),
                Some(option::CLASSLESS_ROUTES) => progress.has_121.set(1),
                Some(_) => {}
            }
            return Ok(false);
        }
        let (place, requested) = if turn < REST {
            let Some(code) = request.parameter(turn - REQUESTED) else {
                progress.turn.set(REST);
                return Ok(false);
            };
            // One more than the place of the entry; zero wraps around, to where there is none.
            (usize::from(self.places[usize::from(code)].wrapping_sub(1)), true)
        } else {
            let place = turn.wrapping_sub(REST);
            if place >= self.count as usize {
                self.end(request, progress, output)?;
                return Ok(true);
            }
            (place, false)
        };
        self.take(place, requested, progress, output)?;
        Ok(false)
    }

    /// Writes the client identifier and END.
    #[inline(always)]
    fn end(&self, request: &Request, progress: &mut Progress, output: &mut impl Output) -> Result<(), Reason> {
        let echo = usize::from(request.client_id_len);
        // END needs an octet, too.
        if progress.at.get() + echo < self.longest_frame(request) as usize {
            // The buffer is zero behind the option, so the sum of all of it is the option's.
            let sum = checksum::fold(checksum::add(0, &request.client_id));
            progress.write(&request.client_id, echo, sum, output)?;
        }
        progress.write(&[option::END], 1, u16::from_be_bytes([option::END, 0]), output)?;
        let len = progress.at.get();
        progress.at.set(if len < MIN_FRAME { MIN_FRAME } else { len });
        Ok(())
    }

    /// Writes an entry, if it is its time and there is room.
    #[inline(always)]
    fn take(
        &self,
        place: usize,
        requested: bool,
        progress: &mut Progress,
        output: &mut impl Output,
    ) -> Result<(), Reason> {
        let Some(entry) = self.entries.get(place) else { return Ok(()) };
        let bit = 1 << (place as u64 & 63);
        let taken = progress.taken.get();
        let has_121 = progress.has_121.get() != 0;
        let wanted =
            entry.when == When::Always as u8 || (requested && (entry.when == When::Requested as u8 || !has_121));
        if taken & bit != 0 || !wanted {
            return Ok(());
        }
        progress.taken.set(taken | bit);
        if progress.at.get() + usize::from(entry.len) > progress.end.get() {
            progress.trimmed.set(1);
            return Ok(());
        }
        // As long as the longest option: the verifier does not relate an offset to a length.
        match self.octets.get(usize::from(entry.at)..).and_then(|rest| rest.first_chunk::<MAX_OPTION>()) {
            Some(window) => progress.write(window, usize::from(entry.len), entry.sum, output),
            None => Ok(()),
        }
    }
}

#[cfg(feature = "user")]
// SAFETY: `repr(C)`; two words, entries of eight octets and two arrays of octets leave no padding, and any bits are valid.
unsafe impl aya::Pod for Options {}

const _: () = assert!(size_of::<Options>() == 8 + MAX_OPTIONS * 8 + 256 + MAX_OCTETS);
