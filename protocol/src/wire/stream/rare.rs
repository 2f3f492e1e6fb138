//! Frames a stream sees once, or hardly ever: their numbers and names, and the way through the generated structs.

use crate::error::Error;
use crate::wire::sink::encode_header;

/// Kinds that are decoded by the generated structs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Rare {
    /// To the backend: its first frame.
    Hello = 12,
    /// To the gateway: its first frame.
    Ready = 13,
    /// To the gateway: into a room.
    Join = 18,
    /// To the gateway: out of a room.
    Leave = 19,
    /// To the gateway: end a session.
    EndSession = 20,
    /// To the backend: all links that were there before the stream have been announced.
    Announced = 27,
    /// To the backend: what became of a `Join` or `Leave`.
    RoomResult = 28,
    /// To the backend: may this link join?
    RoomAsk = 29,
    /// To the gateway: the answer.
    RoomAnswer = 30,
    /// To the backend: who joined and left.
    RoomEvents = 31,
    /// To the backend: how many are in.
    RoomCount = 32,
}

impl Rare {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Hello,
        Self::Ready,
        Self::Join,
        Self::Leave,
        Self::EndSession,
        Self::Announced,
        Self::RoomResult,
        Self::RoomAsk,
        Self::RoomAnswer,
        Self::RoomEvents,
        Self::RoomCount,
    ];

    /// Whether it travels from the gateway to the backend.
    #[must_use]
    pub const fn is_to_backend(self) -> bool {
        match self {
            Self::Hello
            | Self::Announced
            | Self::RoomResult
            | Self::RoomAsk
            | Self::RoomEvents
            | Self::RoomCount => true,
            Self::Ready | Self::Join | Self::Leave | Self::EndSession | Self::RoomAnswer => false,
        }
    }

    pub(super) fn from_kind(kind: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|rare| *rare as u32 == kind)
    }

    /// The name used in errors and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hello => "hello",
            Self::Ready => "ready",
            Self::Join => "join",
            Self::Leave => "leave",
            Self::EndSession => "end_session",
            Self::Announced => "announced",
            Self::RoomResult => "room_result",
            Self::RoomAsk => "room_ask",
            Self::RoomAnswer => "room_answer",
            Self::RoomEvents => "room_events",
            Self::RoomCount => "room_count",
        }
    }

    /// Appends length and body of a frame of this kind. The message must be the kind's own.
    pub fn encode(self, message: &impl prost::Message, out: &mut Vec<u8>) {
        encode_header(self as u32, message.encoded_len(), out);
        message.encode_raw(out);
    }

    /// Decodes the bytes of [`StreamFrame::Rare`](super::StreamFrame::Rare) into the kind's generated struct.
    ///
    /// # Errors
    /// [`Error::FrameEncoding`] when they are not one.
    pub fn decode<M: prost::Message + Default>(inner: &[u8]) -> Result<M, Error> {
        M::decode(inner).map_err(|_| Error::FrameEncoding)
    }
}
