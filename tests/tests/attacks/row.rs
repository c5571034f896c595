//! What a row of the table is.

/// From where to where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    ToNetwork,
    ToGuest,
}

impl Way {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::ToNetwork => "to-network",
            Self::ToGuest => "to-guest",
        }
    }
}

/// How it is done.
pub(crate) enum Attack {
    /// A program of the guest that ends by itself.
    Tool(&'static str),
    /// One that goes on, and is ended when it had its effect.
    Endless(&'static str),
    /// One that goes on and wants to be asked by a frame of the network.
    Server(&'static str, fn() -> Vec<u8>),
    /// Frames that no program makes.
    Frames(fn() -> Vec<Vec<u8>>),
    /// The same, larger than the network's MTU.
    Jumbo(fn() -> Vec<Vec<u8>>),
}

/// How many hostile frames there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Count {
    Exactly(u64),
    /// As many as the program finds time for.
    Some,
}

/// What a plain bridge does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnBridge {
    Passes,
    /// Nothing arrives there either, and why.
    Keeps(&'static str),
}

/// An attack, and what must become of it.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    /// The program, or `frames`.
    pub(crate) tool: &'static str,
    pub(crate) way: Way,
    pub(crate) attack: Attack,
    pub(crate) count: Count,
    /// Tells a frame of the attack, or one without which the others do no harm, from those of an honest guest.
    pub(crate) hostile: fn(&[u8]) -> bool,
    /// For what tapwire drops it.
    pub(crate) reason: &'static str,
    pub(crate) bridge: OnBridge,
}

impl Row {
    /// A program that sends a number of frames and ends.
    pub(crate) fn tool(
        name: &'static str,
        line: &'static str,
        count: Count,
        reason: &'static str,
        hostile: fn(&[u8]) -> bool,
    ) -> Self {
        let bridge = OnBridge::Passes;
        Self {
            name,
            tool: line.split(' ').next().unwrap_or(line),
            way: Way::ToNetwork,
            attack: Attack::Tool(line),
            count,
            hostile,
            reason,
            bridge,
        }
    }

    /// A program that goes on until it is ended.
    pub(crate) fn endless(
        name: &'static str,
        line: &'static str,
        reason: &'static str,
        hostile: fn(&[u8]) -> bool,
    ) -> Self {
        Self { attack: Attack::Endless(line), ..Self::tool(name, line, Count::Some, reason, hostile) }
    }

    /// A program that answers.
    pub(crate) fn server(
        name: &'static str,
        line: &'static str,
        asked: fn() -> Vec<u8>,
        reason: &'static str,
        hostile: fn(&[u8]) -> bool,
    ) -> Self {
        Self { attack: Attack::Server(line, asked), ..Self::tool(name, line, Count::Some, reason, hostile) }
    }

    /// Frames, of which `count` are hostile.
    pub(crate) fn frames(
        name: &'static str,
        count: u64,
        frames: fn() -> Vec<Vec<u8>>,
        reason: &'static str,
        hostile: fn(&[u8]) -> bool,
    ) -> Self {
        let (attack, count, bridge) = (Attack::Frames(frames), Count::Exactly(count), OnBridge::Passes);
        Self { name, tool: "frames", way: Way::ToNetwork, attack, count, hostile, reason, bridge }
    }

    /// One of which a bridge lets nothing through.
    pub(crate) fn kept(self, why: &'static str) -> Self {
        Self { bridge: OnBridge::Keeps(why), ..self }
    }

    /// The same against the guest.
    pub(crate) fn reversed(self) -> Self {
        Self { way: Way::ToGuest, ..self }
    }
}
