//! Numbers both ends give each other as reasons. SPEC.md, sections "Close codes" and "Refusals".

/// Declares an enum of wire codes with its names in one table.
macro_rules! codes {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $number:literal, $text:literal;)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum $name { $($(#[$doc])* $variant = $number,)+ }

        impl $name {
            /// All of them, in the order of their numbers.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The number on the wire.
            #[must_use]
            pub const fn number(self) -> u32 {
                self as u32
            }

            /// The code with this number, if it is known.
            #[must_use]
            pub const fn from_number(number: u32) -> Option<Self> {
                match number {
                    $($number => Some(Self::$variant),)+
                    _ => None,
                }
            }

            /// The name used in documents, metrics and messages.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)+
                }
            }
        }
    };
}

codes! {
    /// Why a link or a stream is closed.
    CloseCode {
        /// The peer has finished.
        Normal = 1, "normal";
        /// The gateway stops; connect again after the given time.
        GoingAway = 2, "going_away";
        /// The client follows a `Move`.
        Moving = 3, "moving";
        /// A frame or record broke the rules of its encoding.
        Malformed = 4, "malformed";
        /// A frame or record is longer than allowed.
        TooLarge = 5, "too_large";
        /// A frame that is not allowed in this state or direction.
        Unexpected = 6, "unexpected";
        /// The token was refused.
        AuthFailed = 7, "auth_failed";
        /// No successful authentication in time.
        AuthTimeout = 8, "auth_timeout";
        /// The gateway cannot serve this now (authentication service away, overload).
        TryLater = 9, "try_later";
        /// Nothing was heard for twice the heartbeat interval.
        HeartbeatTimeout = 10, "heartbeat_timeout";
        /// Another link of the same user and device took over. Do not reconnect.
        Replaced = 11, "replaced";
        /// A service ended the link.
        Kicked = 12, "kicked";
        /// The address or user is banned.
        Banned = 13, "banned";
        /// The client reads too slowly.
        SlowReader = 14, "slow_reader";
        /// A rate limit was exceeded for too long.
        RateExceeded = 15, "rate_exceeded";
        /// A push stayed unacknowledged.
        AckTimeout = 16, "ack_timeout";
        /// The link reached its greatest age; connect again and resume.
        LinkAge = 17, "link_age";
        /// The gateway failed.
        Internal = 18, "internal";
        /// The session was ended by a service.
        SessionEnded = 19, "session_ended";
        /// The token's time is over.
        TokenExpired = 20, "token_expired";
        /// The policy for devices does not let this one in.
        DeviceRefused = 21, "device_refused";
        /// Too many unknown frames and other oddities.
        Glitches = 22, "glitches";
        /// The node is being emptied; connect again, to another one.
        Draining = 23, "draining";
    }
}

impl CloseCode {
    /// Whether only the link is over, and its session waits for the next one (SPEC.md, section "Close"). Of [`CloseCode::Normal`]
    /// that holds for neither end, and of a code that is not known neither.
    #[must_use]
    pub const fn keeps_session(self) -> bool {
        match self {
            Self::Moving
            | Self::Malformed
            | Self::TooLarge
            | Self::Unexpected
            | Self::HeartbeatTimeout
            | Self::SlowReader
            | Self::RateExceeded
            | Self::AckTimeout
            | Self::LinkAge
            | Self::Internal
            | Self::Glitches
            | Self::Draining => true,
            Self::Normal
            | Self::GoingAway
            | Self::AuthFailed
            | Self::AuthTimeout
            | Self::TryLater
            | Self::Replaced
            | Self::Kicked
            | Self::Banned
            | Self::SessionEnded
            | Self::TokenExpired
            | Self::DeviceRefused => false,
        }
    }
}

codes! {
    /// What a device is. SPEC.md, section "Classes of devices".
    DeviceClass {
        /// It has not been said.
        Unknown = 0, "unknown";
        /// A phone.
        Phone = 1, "phone";
        /// A tablet.
        Tablet = 2, "tablet";
        /// A program on a desktop computer.
        Desktop = 3, "desktop";
        /// A page in a browser.
        Web = 4, "web";
        /// Anything else.
        Other = 5, "other";
    }
}

impl DeviceClass {
    /// The class with this number; one that is not known is [`DeviceClass::Other`].
    #[must_use]
    pub const fn of(number: u32) -> Self {
        match Self::from_number(number) {
            Some(class) => class,
            None => Self::Other,
        }
    }

    /// This class, or that one where this one is not known: what is proved before what is only said.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        match self {
            Self::Unknown => other,
            known => known,
        }
    }
}

codes! {
    /// Why a request was refused. Nothing has happened; the same request may be sent again.
    Refusal {
        /// The backend or its queue is full.
        Busy = 1, "busy";
        /// No such route.
        NoRoute = 2, "no_route";
        /// No backend of this route is reachable.
        NoBackend = 3, "no_backend";
        /// The link's authentication failed.
        Auth = 4, "auth";
        /// The payload is longer than the route takes.
        TooLarge = 5, "too_large";
        /// More requests or bytes in flight than the link was granted.
        InFlight = 6, "in_flight";
        /// An earlier request of the same key must be sent again first.
        Behind = 7, "behind";
        /// A rate limit.
        Rate = 8, "rate";
        /// This link may not do that.
        NotAllowed = 9, "not_allowed";
        /// More rooms or members than allowed.
        RoomLimit = 10, "room_limit";
        /// The gateway or the backend is going away.
        Draining = 11, "draining";
        /// A field of the request is out of its bounds.
        Malformed = 12, "malformed";
    }
}

codes! {
    /// Why nobody knows what became of a request.
    Cause {
        /// It was answered before, and the answer is no longer kept: something has happened.
        AnsweredBefore = 1, "answered_before";
    }
}

codes! {
    /// Why a push was not delivered.
    Undelivered {
        /// No such link.
        NoLink = 1, "no_link";
        /// The user has no link here, nor a session that waits for one.
        NoUser = 2, "no_user";
        /// The link's queue is full, or its session is owed all that it may be.
        QueueFull = 3, "queue_full";
        /// The session ended before the push was acknowledged.
        LinkClosed = 4, "link_closed";
        /// The link was drained.
        Drained = 5, "drained";
        /// The way to the link's worker is full, or no slot is free for the reports of a push.
        Busy = 6, "busy";
        /// The push is longer than the link takes.
        TooLarge = 7, "too_large";
        /// Its time to live was over.
        Expired = 8, "expired";
        /// It was sent as often as allowed, and not acknowledged.
        GaveUp = 9, "gave_up";
        /// The session waited for a new link for as long as it may.
        WindowOver = 10, "window_over";
        /// Parts of its package are missing.
        Gap = 11, "gap";
        /// A newer push of its key took its place.
        Coalesced = 12, "coalesced";
        /// The gateway does not serve such a target.
        Unsupported = 13, "unsupported";
        /// It names no target or several, or a field is out of its bounds.
        Malformed = 14, "malformed";
    }
}
