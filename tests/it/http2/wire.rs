//! A peer that speaks HTTP/2 frame by frame, says what it likes, and tells what it hears.

use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use dyelane::http::ErrorCode;
use dyelane::http::frame::{self, FrameHeader, Payload, Settings, flag, kind, write};
use dyelane::http::hpack::Decoder;
use std::ops::ControlFlow;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long a test waits for what must come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// Anything a peer can speak over.
pub(crate) trait Io: AsyncRead + AsyncWrite + Unpin {}
impl<T: AsyncRead + AsyncWrite + Unpin> Io for T {}

/// Fields of a head, in order.
pub(crate) type Fields<'a> = &'a [(&'a str, &'a str)];

/// A plain request's head.
pub(crate) const GET: Fields<'static> =
    &[(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "app.test")];
/// A plain request's head, with a body to come.
pub(crate) const POST: Fields<'static> =
    &[(":method", "POST"), (":scheme", "http"), (":path", "/"), (":authority", "app.test")];
/// A plain answer's head.
pub(crate) const OK: Fields<'static> = &[(":status", "200")];

/// What was heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Heard {
    Head {
        stream: u32,
        fields: Vec<(String, String)>,
        end: bool,
    },
    Data {
        stream: u32,
        bytes: Bytes,
        end: bool,
    },
    Reset {
        stream: u32,
        code: ErrorCode,
    },
    Settings(Settings),
    SettingsAck,
    Ping([u8; 8]),
    Pong([u8; 8]),
    GoAway {
        last: u32,
        code: ErrorCode,
    },
    Window {
        stream: u32,
        more: u32,
    },
    /// The socket was closed.
    Closed,
}

impl Heard {
    /// The stream it is about; 0 is the connection.
    pub(crate) fn stream(&self) -> u32 {
        match self {
            Self::Head { stream, .. }
            | Self::Data { stream, .. }
            | Self::Reset { stream, .. }
            | Self::Window { stream, .. } => *stream,
            _ => 0,
        }
    }

    /// Whether it is the last of its stream.
    pub(crate) fn ends(&self) -> bool {
        matches!(
            self,
            Self::Head { end: true, .. } | Self::Data { end: true, .. } | Self::Reset { .. }
        )
    }

    /// The `:status` of an answer's head.
    pub(crate) fn status(&self) -> Option<&str> {
        self.field(":status")
    }

    /// The value of a head's field.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let Self::Head { fields, .. } = self else { return None };
        fields.iter().find(|(it, _)| it == name).map(|(_, value)| &**value)
    }
}

/// One end of a connection.
pub(crate) struct Wire {
    io: Box<dyn Io>,
    input: BytesMut,
    decoder: Decoder,
    pings: u64,
    /// What the peer said in its first SETTINGS.
    pub(crate) settings: Settings,
}

impl Wire {
    /// A wire on which nothing was said yet.
    pub(crate) fn new(io: impl Io + 'static) -> Self {
        let (input, decoder) = (BytesMut::new(), Decoder::new(4096));
        Self { io: Box::new(io), input, decoder, pings: 0, settings: Settings::default() }
    }

    /// Connects and speaks first, as a client does, with these settings.
    pub(crate) async fn call(address: std::net::SocketAddr, settings: &Settings) -> Self {
        let io = TcpStream::connect(address).await.unwrap();
        io.set_nodelay(true).unwrap();
        let mut wire = Self::new(io);
        wire.greet(settings).await;
        wire
    }

    /// Speaks first, and waits until each side has acknowledged what the other said.
    pub(crate) async fn greet(&mut self, settings: &Settings) {
        let mut first = frame::PREFACE.to_vec();
        write::settings(&mut first, settings);
        self.send(&first).await;
        self.settle().await;
    }

    /// Answers a client that speaks first.
    pub(crate) async fn welcome(&mut self, settings: &Settings) {
        while self.input.len() < frame::PREFACE.len() {
            let read = timeout(PATIENCE, self.io.read_buf(&mut self.input)).await;
            assert!(read.unwrap().unwrap() > 0, "closed before its preface");
        }
        assert_eq!(self.input.split_to(frame::PREFACE.len()), &frame::PREFACE[..]);
        let mut first = Vec::new();
        write::settings(&mut first, settings);
        self.send(&first).await;
        self.settle().await;
    }

    async fn settle(&mut self) {
        let (mut theirs, mut acked) = (false, false);
        while !theirs || !acked {
            match self.hear().await {
                Heard::Settings(settings) => {
                    self.settings = settings;
                    theirs = true;
                    self.send(&settings_ack()).await;
                }
                Heard::SettingsAck => acked = true,
                Heard::Window { stream: 0, .. } => {}
                other => panic!("instead of settings: {other:?}"),
            }
        }
    }

    /// Says this. A peer that closed meanwhile is found out by what is heard.
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        let _ = self.io.write_all(bytes).await;
        let _ = self.io.flush().await;
    }

    /// Hears the next frame; what does not come in time fails the test.
    pub(crate) async fn hear(&mut self) -> Heard {
        let heard = timeout(PATIENCE, self.hear_at_last()).await;
        heard.expect("a frame in time")
    }

    /// Hears the next frame, however long it takes.
    pub(crate) async fn hear_at_last(&mut self) -> Heard {
        let (mut head, mut end_of_head) = (Vec::new(), false);
        loop {
            let Some((header, payload)) = self.frame().await else { return Heard::Closed };
            let stream = header.stream;
            return match header.payload(&payload).expect("a frame within the rules") {
                Payload::Data { data, end_stream } => {
                    Heard::Data { stream, bytes: Bytes::copy_from_slice(data), end: end_stream }
                }
                Payload::Headers(part) => {
                    head.extend_from_slice(part.block);
                    end_of_head = part.end_stream;
                    if !part.end_headers {
                        continue;
                    }
                    self.head(stream, &head, end_of_head)
                }
                Payload::Continuation { block, end_headers } => {
                    head.extend_from_slice(block);
                    if !end_headers {
                        continue;
                    }
                    self.head(stream, &head, end_of_head)
                }
                Payload::ResetStream { code } => {
                    Heard::Reset { stream, code: ErrorCode::from_wire(code) }
                }
                Payload::Settings(settings) => Heard::Settings(settings),
                Payload::SettingsAck => Heard::SettingsAck,
                Payload::Ping { ack: true, opaque } => Heard::Pong(opaque),
                Payload::Ping { ack: false, opaque } => Heard::Ping(opaque),
                Payload::GoAway { last_stream, code, .. } => {
                    Heard::GoAway { last: last_stream, code: ErrorCode::from_wire(code) }
                }
                Payload::WindowUpdate { increment } => Heard::Window { stream, more: increment },
                other => panic!("nobody sends {other:?} here"),
            };
        }
    }

    fn head(&mut self, stream: u32, block: &[u8], end: bool) -> Heard {
        let mut fields = Vec::new();
        let read = self.decoder.decode(block, |field| {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            fields.push((text(field.name), text(field.value)));
            ControlFlow::Continue(())
        });
        read.expect("a block that decodes");
        Heard::Head { stream, fields, end }
    }

    async fn frame(&mut self) -> Option<(FrameHeader, Bytes)> {
        loop {
            if let Some(header) = FrameHeader::parse(&self.input)
                && self.input.len() >= header.frame_bytes()
            {
                self.input.advance(frame::HEADER_BYTES);
                return Some((header, self.input.split_to(header.length as usize).freeze()));
            }
            // A reset socket is as closed as any.
            if !matches!(self.io.read_buf(&mut self.input).await, Ok(1..)) {
                return None;
            }
        }
    }

    /// Hears frames up to the first that is what is wanted, and returns all of them.
    pub(crate) async fn until(&mut self, wanted: impl Fn(&Heard) -> bool) -> Vec<Heard> {
        let mut all = Vec::new();
        loop {
            let heard = self.hear().await;
            let done = wanted(&heard) || heard == Heard::Closed;
            all.push(heard);
            if done {
                return all;
            }
        }
    }

    /// Hears frames up to the first that is what is wanted, however long that takes.
    pub(crate) async fn until_late(&mut self, wanted: impl Fn(&Heard) -> bool) -> Vec<Heard> {
        let mut all = Vec::new();
        loop {
            all.push(self.hear_at_last().await);
            if all.last().is_some_and(|it| wanted(it) || *it == Heard::Closed) {
                return all;
            }
        }
    }

    /// Hears everything that the peer says in answer to all that was said to it.
    pub(crate) async fn settled(&mut self) -> Vec<Heard> {
        self.pings += 1;
        let opaque = self.pings.to_be_bytes();
        let mut ping = Vec::new();
        write::ping(&mut ping, false, opaque);
        self.send(&ping).await;
        self.until(|heard| *heard == Heard::Pong(opaque)).await
    }

    /// Hears until a stream has ended, and returns what was said on it.
    pub(crate) async fn rest_of(&mut self, stream: u32) -> Vec<Heard> {
        let mut all = self.until(|heard| heard.stream() == stream && heard.ends()).await;
        all.retain(|heard| heard.stream() == stream || *heard == Heard::Closed);
        all
    }

    /// Hears until the peer closes, and returns the code of its last GOAWAY.
    pub(crate) async fn last_word(&mut self) -> Option<ErrorCode> {
        let all = self.until(|heard| *heard == Heard::Closed).await;
        all.iter().rev().find_map(|heard| match heard {
            Heard::GoAway { code, .. } => Some(*code),
            _ => None,
        })
    }
}

/// The body that was heard, in one piece.
pub(crate) fn body(heard: &[Heard]) -> Vec<u8> {
    let mut body = Vec::new();
    for one in heard {
        if let Heard::Data { bytes, .. } = one {
            body.extend_from_slice(bytes);
        }
    }
    body
}

/// Any frame at all.
pub(crate) fn raw(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let length = u32::try_from(payload.len()).unwrap();
    FrameHeader { length, kind, flags, stream }.write(&mut out);
    out.extend_from_slice(payload);
    out
}

/// A header block without any table: each field as it is.
pub(crate) fn block(fields: Fields<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in fields {
        out.push(0);
        for text in [name, value] {
            if text.len() < 127 {
                out.push(u8::try_from(text.len()).unwrap());
            } else {
                out.push(127);
                let mut rest = text.len() - 127;
                while rest >= 128 {
                    out.push(u8::try_from(rest % 128).unwrap() | 128);
                    rest /= 128;
                }
                out.push(u8::try_from(rest).unwrap());
            }
            out.extend_from_slice(text.as_bytes());
        }
    }
    out
}

/// HEADERS with a whole head.
pub(crate) fn head(stream: u32, fields: Fields<'_>, end: bool) -> Vec<u8> {
    let end = if end { flag::END_STREAM } else { 0 };
    raw(kind::HEADERS, flag::END_HEADERS | end, stream, &block(fields))
}

/// DATA.
pub(crate) fn data(stream: u32, bytes: &[u8], end: bool) -> Vec<u8> {
    raw(kind::DATA, if end { flag::END_STREAM } else { 0 }, stream, bytes)
}

/// `RST_STREAM`.
pub(crate) fn reset(stream: u32, code: ErrorCode) -> Vec<u8> {
    raw(kind::RST_STREAM, 0, stream, &code.to_wire().to_be_bytes())
}

/// `WINDOW_UPDATE`.
pub(crate) fn window(stream: u32, more: u32) -> Vec<u8> {
    raw(kind::WINDOW_UPDATE, 0, stream, &more.to_be_bytes())
}

/// PRIORITY of the default weight.
pub(crate) fn priority(stream: u32, dependency: u32) -> Vec<u8> {
    let mut payload = dependency.to_be_bytes().to_vec();
    payload.push(255);
    raw(kind::PRIORITY, 0, stream, &payload)
}

/// PING.
pub(crate) fn ping(opaque: [u8; 8]) -> Vec<u8> {
    raw(kind::PING, 0, 0, &opaque)
}

/// The answer to PING.
pub(crate) fn pong(opaque: [u8; 8]) -> Vec<u8> {
    raw(kind::PING, flag::ACK, 0, &opaque)
}

/// GOAWAY.
pub(crate) fn go_away(last: u32, code: u32) -> Vec<u8> {
    raw(kind::GOAWAY, 0, 0, &[last.to_be_bytes(), code.to_be_bytes()].concat())
}

/// SETTINGS with any values.
pub(crate) fn settings(values: &[(u16, u32)]) -> Vec<u8> {
    let mut payload = Vec::new();
    for (setting, value) in values {
        payload.extend_from_slice(&setting.to_be_bytes());
        payload.extend_from_slice(&value.to_be_bytes());
    }
    raw(kind::SETTINGS, 0, 0, &payload)
}

/// The answer to SETTINGS.
pub(crate) fn settings_ack() -> Vec<u8> {
    raw(kind::SETTINGS, flag::ACK, 0, &[])
}
