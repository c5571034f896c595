//! Netlink messages as bytes.
//!
//! Everything that is *read* goes through here, for two reasons. A message of which a typed parser does not know one
//! attribute is dropped on the way by the crates below, and a route or a filter that is there would look absent. And the
//! journal must give back every attribute of an address or a route, also those that no crate knows yet.

use std::fmt;

use futures_util::StreamExt as _;
use netlink_packet_core::{
    ErrorMessage, NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkDeserializable, NetlinkHeader,
    NetlinkMessage, NetlinkPayload, NetlinkSerializable,
};
use nix::errno::Errno;
use rtnetlink::{proto::ConnectionHandle, sys::SocketAddr};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// How often a dump that changed while it was read (`NLM_F_DUMP_INTR`) is asked for again.
const DUMP_TRIES: usize = 10;

/// Attributes start at multiples of this (`NLA_ALIGNTO`).
const ALIGN: usize = 4;
/// Length and type of an attribute (`struct nlattr`).
const ATTRIBUTE_HEADER: usize = 4;
/// Takes the flags out of an attribute's type (`NLA_TYPE_MASK`).
pub(crate) const TYPE_MASK: u16 = 0x3fff;

/// One netlink message behind its `nlmsghdr`: a fixed header that depends on the type, and attributes. Numbers are in the
/// host's byte order, but for addresses. In JSON it is `TYPE:HEX`, with the type in decimal.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RawMessage {
    /// `RTM_…`, as in linux/rtnetlink.h.
    pub kind: u16,
    /// Fixed header and attributes.
    pub payload: Vec<u8>,
}

/// Why the kernel, or the connection to it, refused a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NlError {
    /// The kernel's answer.
    Kernel(Errno),
    /// The socket is gone, or the answer makes no sense.
    Broken(&'static str),
}

impl fmt::Display for NlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kernel(errno) => write!(f, "{} ({errno:?})", errno.desc()),
            Self::Broken(why) => f.write_str(why),
        }
    }
}

impl From<rtnetlink::Error> for NlError {
    fn from(error: rtnetlink::Error) -> Self {
        match error {
            rtnetlink::Error::NetlinkError(message) => Self::from(&message),
            _ => Self::Broken("the netlink connection is closed"),
        }
    }
}

impl From<&ErrorMessage> for NlError {
    fn from(message: &ErrorMessage) -> Self {
        Self::Kernel(Errno::from_raw(message.raw_code().saturating_abs()))
    }
}

impl RawMessage {
    /// A message of type `kind` with the fixed header only.
    pub fn new(kind: u16, header: &[u8]) -> Self {
        Self { kind, payload: header.to_vec() }
    }

    /// The same message with one more attribute.
    #[must_use]
    pub fn with(mut self, kind: u16, value: &[u8]) -> Self {
        push_attribute(&mut self.payload, kind, value);
        self
    }

    /// The first `N` bytes, or zeros where the message is shorter.
    pub fn header<const N: usize>(&self) -> [u8; N] {
        self.payload.first_chunk().copied().unwrap_or([0; N])
    }

    /// The attributes behind a fixed header of `header` bytes.
    pub fn attributes(&self, header: usize) -> Attributes<'_> {
        Attributes::new(self.payload.get(header..).unwrap_or_default())
    }

    /// The value of the first attribute of type `kind`.
    pub fn attribute(&self, header: usize, kind: u16) -> Option<&[u8]> {
        self.attributes(header).find_map(|(found, value)| (found == kind).then_some(value))
    }
}

/// Appends an attribute with its padding.
pub fn push_attribute(to: &mut Vec<u8>, kind: u16, value: &[u8]) {
    // An attribute's length is 16 bits wide; nothing that we send comes near.
    let length = u16::try_from(ATTRIBUTE_HEADER + value.len()).unwrap_or(u16::MAX);
    to.extend_from_slice(&length.to_ne_bytes());
    to.extend_from_slice(&kind.to_ne_bytes());
    to.extend_from_slice(value);
    to.resize(to.len().next_multiple_of(ALIGN), 0);
}

/// Walks attributes: type without its flags, and value. It ends at the first that is malformed.
#[derive(Clone, Debug)]
pub struct Attributes<'a> {
    rest: &'a [u8],
}

impl<'a> Attributes<'a> {
    /// The attributes in `bytes`, e.g. the value of a nested attribute.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// The next attribute with the flags of its type (`NLA_F_NESTED`), for whoever writes it back.
    pub fn next_flagged(&mut self) -> Option<(u16, &'a [u8])> {
        let [l0, l1, k0, k1] = *self.rest.first_chunk::<ATTRIBUTE_HEADER>()?;
        let length = usize::from(u16::from_ne_bytes([l0, l1]));
        let value = self.rest.get(ATTRIBUTE_HEADER..length)?;
        self.rest = self.rest.get(length.next_multiple_of(ALIGN)..).unwrap_or_default();
        Some((u16::from_ne_bytes([k0, k1]), value))
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        self.next_flagged().map(|(kind, value)| (kind & TYPE_MASK, value))
    }
}

/// The value of an attribute as a number in the host's byte order.
pub fn u32_of(value: &[u8]) -> Option<u32> {
    value.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes))
}

/// The value of an attribute as a number in the host's byte order.
pub fn i32_of(value: &[u8]) -> Option<i32> {
    value.first_chunk().map(|bytes| i32::from_ne_bytes(*bytes))
}

/// The value of an attribute as text, up to its zero byte.
pub fn text_of(value: &[u8]) -> String {
    let end = value.iter().position(|byte| *byte == 0).unwrap_or(value.len());
    String::from_utf8_lossy(value.get(..end).unwrap_or_default()).into_owned()
}

/// Sends a request and collects the answers. Without `NLM_F_ACK` among `flags` exactly one answer is awaited.
pub(super) async fn request(
    connection: &ConnectionHandle<RawMessage>,
    message: RawMessage,
    flags: u16,
) -> Result<Vec<RawMessage>, NlError> {
    let (answers, _) = exchange(connection, message, NLM_F_REQUEST | flags).await?;
    Ok(answers)
}

/// Sends a request that changes something and awaits the kernel's word on it.
pub(super) async fn change(
    connection: &ConnectionHandle<RawMessage>,
    message: RawMessage,
    flags: u16,
) -> Result<(), NlError> {
    exchange(connection, message, NLM_F_REQUEST | NLM_F_ACK | flags).await.map(drop)
}

/// Asks for everything of a sort. What changed under the reader's hands is read again.
pub(super) async fn dump(
    connection: &ConnectionHandle<RawMessage>,
    message: RawMessage,
) -> Result<Vec<RawMessage>, NlError> {
    for _ in 0..DUMP_TRIES {
        let (answers, interrupted) = exchange(connection, message.clone(), NLM_F_REQUEST | NLM_F_DUMP).await?;
        if !interrupted {
            return Ok(answers);
        }
    }
    Err(NlError::Broken("what is read changes all the time"))
}

async fn exchange(
    connection: &ConnectionHandle<RawMessage>,
    message: RawMessage,
    flags: u16,
) -> Result<(Vec<RawMessage>, bool), NlError> {
    let mut header = NetlinkHeader::default();
    header.flags = flags;
    let mut request = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(message));
    request.finalize();
    let mut stream = connection
        .request(request, SocketAddr::new(0, 0))
        .map_err(|_| NlError::Broken("the netlink connection is closed"))?;
    let mut answers = Vec::new();
    let mut interrupted = false;
    let mut ended = false;
    while let Some(answer) = stream.next().await {
        interrupted |= answer.header.flags & NLM_F_DUMP_INTR != 0;
        match answer.payload {
            NetlinkPayload::InnerMessage(inner) => {
                // The only answer to a request that is neither a dump nor acknowledged.
                ended |= flags & (NLM_F_DUMP | NLM_F_ACK) == 0;
                answers.push(inner);
            }
            NetlinkPayload::Error(error) if error.code.is_some() => return Err(NlError::from(&error)),
            NetlinkPayload::Done(done) if done.code != 0 => {
                return Err(NlError::Kernel(Errno::from_raw(done.code.saturating_abs())));
            }
            NetlinkPayload::Error(_) | NetlinkPayload::Done(_) => ended = true,
            _ => return Err(NlError::Broken("the kernel's answers overran the socket's buffer")),
        }
    }
    // The connection tells of the end of an answer too; a stream that just stops is a socket that broke.
    if ended { Ok((answers, interrupted)) } else { Err(NlError::Broken("the netlink connection broke")) }
}

impl NetlinkSerializable for RawMessage {
    fn message_type(&self) -> u16 {
        self.kind
    }

    fn buffer_len(&self) -> usize {
        self.payload.len()
    }

    fn serialize(&self, buffer: &mut [u8]) {
        buffer.copy_from_slice(&self.payload);
    }
}

impl NetlinkDeserializable for RawMessage {
    type Error = std::convert::Infallible;

    fn deserialize(header: &NetlinkHeader, payload: &[u8]) -> Result<Self, Self::Error> {
        Ok(Self { kind: header.message_type, payload: payload.to_vec() })
    }
}

impl Serialize for RawMessage {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use fmt::Write as _;
        let mut text = format!("{}:", self.kind);
        for byte in &self.payload {
            // Writing to a String cannot fail.
            let _ = write!(text, "{byte:02x}");
        }
        serializer.serialize_str(&text)
    }
}

impl<'de> Deserialize<'de> for RawMessage {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse(&text).ok_or_else(|| D::Error::custom("not a netlink message of the form TYPE:HEX"))
    }
}

fn parse(text: &str) -> Option<RawMessage> {
    let (kind, hex) = text.split_once(':')?;
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pairs = hex.as_bytes().chunks_exact(2);
    if !pairs.remainder().is_empty() {
        return None;
    }
    let payload = pairs.map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?)).collect::<Option<_>>()?;
    Some(RawMessage { kind: kind.parse().ok()?, payload })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn attributes_are_padded_and_found() {
        let message = RawMessage::new(20, &[1; 8]).with(3, b"eth0\0").with(4, &[9]).with(0x8005, &7_u32.to_ne_bytes());
        assert_eq!(message.payload.len(), 8 + 12 + 8 + 8);
        assert_eq!(message.header::<8>(), [1; 8]);
        assert_eq!(message.attribute(8, 3).map(text_of).as_deref(), Some("eth0"));
        assert_eq!(message.attribute(8, 5).and_then(u32_of), Some(7), "the flags of the type are not part of it");
        assert_eq!(message.attribute(8, 6), None);
    }

    #[test]
    fn what_is_no_message_is_refused() {
        for text in ["", "20", "20:0", "20:0g", "x:00", "70000:00", "20:+1"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_message_survives_json(kind: u16, payload: Vec<u8>) {
            let message = RawMessage { kind, payload };
            let text = serde_json::to_string(&message).unwrap();
            prop_assert_eq!(serde_json::from_str::<RawMessage>(&text).unwrap(), message);
        }

        #[test]
        fn no_bytes_make_the_walk_panic_or_loop(bytes: Vec<u8>) {
            prop_assert!(Attributes::new(&bytes).count() <= bytes.len() / ATTRIBUTE_HEADER);
        }
    }
}
