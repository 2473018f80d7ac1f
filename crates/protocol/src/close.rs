//! Why the server closes a connection.

/// A WebSocket close code with its reason text, as listed in the specification (§1.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Close {
    /// The server stops.
    ServerShutdown,
    /// The upgrade came while the server was stopping.
    ServerShuttingDown,
    /// A frame broke RFC 6455.
    ProtocolError,
    /// A binary message.
    BinaryNotSupported,
    /// Text that is not UTF-8.
    InvalidUtf8,
    /// A message above `maxPayloadBytes`.
    TooLarge,
    /// A fault of the server; this connection's state is lost.
    InternalError,
    /// Nothing was heard from the client in time.
    HeartbeatTimeout,
    /// The user's sessions were revoked.
    SessionRevoked,
    /// The address has too many connections.
    TooManyConnections,
    /// Nobody has logged in, in time.
    LoginTimeout,
    /// The client does not read what it asked for.
    SlowConsumer,
}

impl Close {
    /// Every reason. Its place here is its [`index`](Self::index).
    pub const ALL: &[Self] = &[
        Self::ServerShutdown,
        Self::ServerShuttingDown,
        Self::ProtocolError,
        Self::BinaryNotSupported,
        Self::InvalidUtf8,
        Self::TooLarge,
        Self::InternalError,
        Self::HeartbeatTimeout,
        Self::SessionRevoked,
        Self::TooManyConnections,
        Self::LoginTimeout,
        Self::SlowConsumer,
    ];

    /// Its place among [`ALL`](Self::ALL): for tables by reason.
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The code on the wire.
    pub const fn code(self) -> u16 {
        match self {
            Self::ServerShutdown => 1000,
            Self::ServerShuttingDown => 1001,
            Self::ProtocolError => 1002,
            Self::BinaryNotSupported => 1003,
            Self::InvalidUtf8 => 1007,
            Self::TooLarge => 1009,
            Self::InternalError => 1011,
            Self::HeartbeatTimeout => 4001,
            Self::SessionRevoked => 4002,
            Self::TooManyConnections => 4003,
            Self::LoginTimeout => 4005,
            Self::SlowConsumer => 4006,
        }
    }

    /// The reason on the wire; also a metric label.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::ServerShutdown => "server_shutdown",
            Self::ServerShuttingDown => "server_shutting_down",
            Self::ProtocolError | Self::InvalidUtf8 | Self::TooLarge => "",
            Self::BinaryNotSupported => "binary_not_supported",
            Self::InternalError => "internal_error",
            Self::HeartbeatTimeout => "heartbeat_timeout",
            Self::SessionRevoked => "session_revoked",
            Self::TooManyConnections => "too_many_connections",
            Self::LoginTimeout => "login_timeout",
            Self::SlowConsumer => "slow_consumer",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_stand_in_their_places_with_codes_of_their_own() {
        for (place, reason) in Close::ALL.iter().enumerate() {
            assert_eq!(reason.index(), place);
            assert!(Close::ALL[..place].iter().all(|other| other.code() != reason.code()), "{reason:?}");
        }
    }
}
