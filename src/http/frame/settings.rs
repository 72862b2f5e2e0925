//! SETTINGS, and the bounds of each (RFC 9113 section 6.5).

use super::{
    DEFAULT_MAX_FRAME_SIZE, ErrorCode, FrameError, LARGEST_MAX_FRAME_SIZE, LARGEST_WINDOW,
};

const HEADER_TABLE_SIZE: u16 = 0x1;
const ENABLE_PUSH: u16 = 0x2;
const MAX_CONCURRENT_STREAMS: u16 = 0x3;
const INITIAL_WINDOW_SIZE: u16 = 0x4;
const MAX_FRAME_SIZE: u16 = 0x5;
const MAX_HEADER_LIST_SIZE: u16 = 0x6;
const ENABLE_CONNECT_PROTOCOL: u16 = 0x8;

/// Length of one setting, in bytes.
const SETTING_BYTES: usize = 6;

/// What one SETTINGS frame says; `None` where it says nothing. Of repeats the last counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Settings {
    /// The largest table for header blocks that the sender reads, in bytes.
    pub header_table_size: Option<u32>,
    /// The smallest value in the frame for the same, of which the encoder must be told first (RFC
    /// 7541 section 4.2). Not written.
    pub least_header_table_size: Option<u32>,
    /// Whether the sender takes pushed streams. A server never says `true`, for its reader to check.
    pub enable_push: Option<bool>,
    /// How many streams the peer may have open.
    pub max_concurrent_streams: Option<u32>,
    /// The window of every stream at its start, in bytes; below 2^31.
    pub initial_window_size: Option<u32>,
    /// The longest payload the sender reads, in bytes; from 2^14 to 2^24 - 1.
    pub max_frame_size: Option<u32>,
    /// The largest header list the sender wants, in bytes and 32 for each field. Advice only.
    pub max_header_list_size: Option<u32>,
    /// Whether the sender takes CONNECT with `:protocol` (RFC 8441 section 3).
    pub enable_connect_protocol: Option<bool>,
}

impl Settings {
    /// Reads the payload of a SETTINGS frame that is no acknowledgement.
    pub fn parse(payload: &[u8]) -> Result<Self, FrameError> {
        let (chunks, rest) = payload.as_chunks::<SETTING_BYTES>();
        if !rest.is_empty() {
            return Err(FrameError::size("SETTINGS is not of whole settings"));
        }
        let mut settings = Self::default();
        for [i0, i1, v0, v1, v2, v3] in chunks {
            let value = u32::from_be_bytes([*v0, *v1, *v2, *v3]);
            settings.apply(u16::from_be_bytes([*i0, *i1]), value)?;
        }
        Ok(settings)
    }

    /// Takes up one setting, if it is within its bounds (section 6.5.2). One that is not known is
    /// ignored.
    fn apply(&mut self, setting: u16, value: u32) -> Result<(), FrameError> {
        match setting {
            HEADER_TABLE_SIZE => {
                let least = self.least_header_table_size.unwrap_or(value).min(value);
                self.least_header_table_size = Some(least);
                self.header_table_size = Some(value);
            }
            ENABLE_PUSH => {
                self.enable_push = Some(flag(value, "ENABLE_PUSH is neither 0 nor 1")?);
            }
            MAX_CONCURRENT_STREAMS => self.max_concurrent_streams = Some(value),
            INITIAL_WINDOW_SIZE => {
                if value > LARGEST_WINDOW {
                    let what = "INITIAL_WINDOW_SIZE is above 2^31 - 1";
                    return Err(FrameError::connection(ErrorCode::FlowControlError, what));
                }
                self.initial_window_size = Some(value);
            }
            MAX_FRAME_SIZE => {
                if !(DEFAULT_MAX_FRAME_SIZE..=LARGEST_MAX_FRAME_SIZE).contains(&value) {
                    return Err(FrameError::protocol("MAX_FRAME_SIZE is not 2^14 to 2^24 - 1"));
                }
                self.max_frame_size = Some(value);
            }
            MAX_HEADER_LIST_SIZE => self.max_header_list_size = Some(value),
            ENABLE_CONNECT_PROTOCOL => {
                let what = "ENABLE_CONNECT_PROTOCOL is neither 0 nor 1";
                self.enable_connect_protocol = Some(flag(value, what)?);
            }
            _ => {}
        }
        Ok(())
    }

    /// Returns the settings that are said, in the order of their numbers.
    pub(super) fn said(&self) -> impl Iterator<Item = (u16, u32)> {
        [
            (HEADER_TABLE_SIZE, self.header_table_size),
            (ENABLE_PUSH, self.enable_push.map(u32::from)),
            (MAX_CONCURRENT_STREAMS, self.max_concurrent_streams),
            (INITIAL_WINDOW_SIZE, self.initial_window_size),
            (MAX_FRAME_SIZE, self.max_frame_size),
            (MAX_HEADER_LIST_SIZE, self.max_header_list_size),
            (ENABLE_CONNECT_PROTOCOL, self.enable_connect_protocol.map(u32::from)),
        ]
        .into_iter()
        .filter_map(|(setting, value)| Some((setting, value?)))
    }
}

fn flag(value: u32, what: &'static str) -> Result<bool, FrameError> {
    match value {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(FrameError::protocol(what)),
    }
}
