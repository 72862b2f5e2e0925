//! Why a frame is refused.

use std::fmt;

/// An error code of HTTP/2 (RFC 9113 section 7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum ErrorCode {
    /// No error: a graceful end.
    NoError = 0x0,
    /// The peer broke the protocol in a way no other code names.
    ProtocolError = 0x1,
    /// We are at fault.
    InternalError = 0x2,
    /// The peer sent more than a window allows.
    FlowControlError = 0x3,
    /// The peer did not acknowledge SETTINGS in time.
    SettingsTimeout = 0x4,
    /// A frame came for a half-closed stream.
    StreamClosed = 0x5,
    /// A frame has a length it cannot have.
    FrameSizeError = 0x6,
    /// The stream was refused before anything was done with it.
    RefusedStream = 0x7,
    /// The stream is no longer needed.
    Cancel = 0x8,
    /// The header compression is out of step.
    CompressionError = 0x9,
    /// The connection of a CONNECT request broke.
    ConnectError = 0xa,
    /// The peer makes too much work.
    EnhanceYourCalm = 0xb,
    /// The transport is not secure enough.
    InadequateSecurity = 0xc,
    /// HTTP/1.1 is required.
    Http11Required = 0xd,
}

impl ErrorCode {
    /// Returns the code of that number. One that is not known is as good as an internal error
    /// (section 7).
    pub fn from_wire(number: u32) -> Self {
        match number {
            0x0 => Self::NoError,
            0x1 => Self::ProtocolError,
            0x3 => Self::FlowControlError,
            0x4 => Self::SettingsTimeout,
            0x5 => Self::StreamClosed,
            0x6 => Self::FrameSizeError,
            0x7 => Self::RefusedStream,
            0x8 => Self::Cancel,
            0x9 => Self::CompressionError,
            0xa => Self::ConnectError,
            0xb => Self::EnhanceYourCalm,
            0xc => Self::InadequateSecurity,
            0xd => Self::Http11Required,
            _ => Self::InternalError,
        }
    }

    /// Returns the number of the code.
    pub fn to_wire(self) -> u32 {
        self as u32
    }

    /// Returns the name of the code as the RFC has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::NoError => "NO_ERROR",
            Self::ProtocolError => "PROTOCOL_ERROR",
            Self::InternalError => "INTERNAL_ERROR",
            Self::FlowControlError => "FLOW_CONTROL_ERROR",
            Self::SettingsTimeout => "SETTINGS_TIMEOUT",
            Self::StreamClosed => "STREAM_CLOSED",
            Self::FrameSizeError => "FRAME_SIZE_ERROR",
            Self::RefusedStream => "REFUSED_STREAM",
            Self::Cancel => "CANCEL",
            Self::CompressionError => "COMPRESSION_ERROR",
            Self::ConnectError => "CONNECT_ERROR",
            Self::EnhanceYourCalm => "ENHANCE_YOUR_CALM",
            Self::InadequateSecurity => "INADEQUATE_SECURITY",
            Self::Http11Required => "HTTP_1_1_REQUIRED",
        }
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What an error ends (section 5.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// The stream of the frame, by `RST_STREAM`.
    Stream,
    /// The connection, by GOAWAY.
    Connection,
}

/// Why a frame is refused, and what that ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {code}")]
pub struct FrameError {
    /// What the peer is told.
    pub code: ErrorCode,
    /// What ends.
    pub scope: Scope,
    /// What is wrong, for the operator.
    pub what: &'static str,
}

impl FrameError {
    /// An error of the connection with this code.
    pub const fn connection(code: ErrorCode, what: &'static str) -> Self {
        Self { code, scope: Scope::Connection, what }
    }

    /// An error of the frame's stream with this code.
    pub const fn stream(code: ErrorCode, what: &'static str) -> Self {
        Self { code, scope: Scope::Stream, what }
    }

    /// The connection's `PROTOCOL_ERROR`.
    pub const fn protocol(what: &'static str) -> Self {
        Self::connection(ErrorCode::ProtocolError, what)
    }

    /// The connection's `FRAME_SIZE_ERROR`.
    pub const fn size(what: &'static str) -> Self {
        Self::connection(ErrorCode::FrameSizeError, what)
    }
}
