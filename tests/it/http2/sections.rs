//! What h2spec 2.6 asks of a server, section by section as it numbers them (those of RFC 7540), and
//! a little more.

use dyelane::http::ErrorCode::{self, *};
use dyelane::http::frame::{flag, kind};

use super::wire::{
    Fields, GET, POST, block, data, go_away, head, ping, pong, priority, raw, reset, settings,
    window,
};

/// What a case lets the server do.
#[derive(Debug)]
pub(super) enum Allowed {
    /// It begins an answer on the stream.
    Answer(u32),
    /// The first DATA is of that many bytes.
    Data(usize),
    /// It sends the connection away for one of these reasons, and closes it.
    Gone(&'static [ErrorCode]),
    /// It resets the stream for one of these reasons, or sends the connection away for one.
    Broken(u32, &'static [ErrorCode]),
    /// It resets the stream, and only that.
    Reset(u32, ErrorCode),
    /// It goes on as if nothing had been said.
    Alive,
    /// It goes on, or closes in peace.
    AliveOrClosed,
    /// It acknowledges the settings.
    Acked,
}
use Allowed::{Acked, Alive, AliveOrClosed, Answer, Broken, Data, Gone, Reset};

/// One thing done to the server.
#[derive(Debug, Clone)]
pub(super) enum Step {
    Say(Vec<u8>),
    /// Wait until the server ended its half of the stream.
    Ended(u32),
    /// Wait until the server has taken up what was said.
    Settled,
    /// Wait for DATA.
    SomeData,
}
use Step::{Ended, Settled, SomeData};

impl From<Vec<u8>> for Step {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Say(bytes)
    }
}

pub(super) struct Case {
    pub(super) section: &'static str,
    pub(super) what: &'static str,
    pub(super) steps: Vec<Step>,
    pub(super) allowed: Allowed,
}

macro_rules! cases {
    ($($section:literal $what:literal [$($step:expr),* $(,)?] => $allowed:expr;)*) => {
        vec![$(Case {
            section: $section,
            what: $what,
            steps: vec![$(Step::from($step)),*],
            allowed: $allowed,
        }),*]
    };
}

const GET_HEAD: &[(&str, &str)] =
    &[(":method", "HEAD"), (":scheme", "http"), (":path", "/"), (":authority", "app.test")];

const HEADER_TABLE_SIZE: u16 = 1;
const ENABLE_PUSH: u16 = 2;
const MAX_CONCURRENT_STREAMS: u16 = 3;
const INITIAL_WINDOW_SIZE: u16 = 4;
const MAX_FRAME_SIZE: u16 = 5;
const MAX_HEADER_LIST_SIZE: u16 = 6;

/// A GET whose block goes on with these bytes.
fn get_and(more: &[u8]) -> Vec<u8> {
    let whole = [&block(GET), more].concat();
    raw(kind::HEADERS, flag::END_HEADERS | flag::END_STREAM, 1, &whole)
}

/// A GET with these fields too.
fn get_with(more: Fields<'_>) -> Vec<u8> {
    head(1, &[GET, more].concat(), true)
}

pub(super) fn get() -> Vec<u8> {
    head(1, GET, true)
}

fn post() -> Vec<u8> {
    head(1, POST, false)
}

/// HEADERS whose block is not complete.
fn begun(fields: Fields<'_>, end: bool) -> Vec<u8> {
    let end = if end { flag::END_STREAM } else { 0 };
    raw(kind::HEADERS, end, 1, &block(fields))
}

fn more(stream: u32, end: bool) -> Vec<u8> {
    let end = if end { flag::END_HEADERS } else { 0 };
    raw(kind::CONTINUATION, end, stream, &block(&[("x-dummy", "more")]))
}

fn part(stream: u32, end: bool, bytes: &[u8]) -> Vec<u8> {
    raw(kind::CONTINUATION, if end { flag::END_HEADERS } else { 0 }, stream, bytes)
}

/// A frame with a priority or padding around a GET.
fn dressed(flags: u8, before: &[u8], after: &[u8]) -> Vec<u8> {
    let whole = [before, &block(GET), after].concat();
    raw(kind::HEADERS, flag::END_HEADERS | flag::END_STREAM | flags, 1, &whole)
}

fn large_head() -> Vec<u8> {
    let value = "v".repeat(4000);
    let more = ["x-1", "x-2", "x-3", "x-4", "x-5"].map(|name| (name, &*value));
    get_with(&more)
}

fn without(name: &str) -> Vec<u8> {
    let rest: Vec<_> = GET.iter().copied().filter(|(it, _)| *it != name).collect();
    head(1, &rest, true)
}

fn many_streams(count: u32) -> Vec<u8> {
    (0..count).flat_map(|at| head(2 * at + 1, POST, false)).collect()
}

fn zeros(kind: u8, flags: u8, stream: u32, length: usize) -> Vec<u8> {
    raw(kind, flags, stream, &vec![0; length])
}

const TRAILER: Fields<'static> = &[("x-test", "ok")];

fn generic() -> Vec<Case> {
    cases! {
        "generic/1" "the client's preface is taken" [ping([0; 8])] => Alive;
        "generic/2" "PRIORITY on an idle stream" [priority(1, 0)] => Alive;
        "generic/2" "WINDOW_UPDATE on a half-closed stream"
            [settings(&[(INITIAL_WINDOW_SIZE, 0)]), get(), window(1, 1)] => Data(1);
        "generic/2" "PRIORITY on a half-closed stream"
            [settings(&[(INITIAL_WINDOW_SIZE, 0)]), get(), priority(1, 0), window(1, 1)] => Data(1);
        "generic/2" "RST_STREAM on a half-closed stream" [get(), reset(1, Cancel)] => Alive;
        "generic/2" "PRIORITY on a closed stream" [get(), Ended(1), priority(1, 0)] => Alive;
        "generic/3.1" "DATA" [post(), data(1, b"test", true)] => Answer(1);
        "generic/3.1" "several DATA" [post(), data(1, b"test", false), data(1, b"test", true)]
            => Answer(1);
        "generic/3.1" "DATA with padding"
            [post(), raw(kind::DATA, flag::END_STREAM | flag::PADDED, 1, b"\x05test\0\0\0\0\0")]
            => Answer(1);
        "generic/3.2" "HEADERS" [get()] => Answer(1);
        "generic/3.2" "HEADERS with padding" [dressed(flag::PADDED, &[8], &[0; 8])] => Answer(1);
        "generic/3.2" "HEADERS with priority"
            [dressed(flag::PRIORITY, &[0, 0, 0, 0, 255], &[])] => Answer(1);
        "generic/3.3" "PRIORITY of weight 1" [zeros(kind::PRIORITY, 0, 1, 5), get()] => Answer(1);
        "generic/3.3" "PRIORITY of weight 256" [priority(1, 0), get()] => Answer(1);
        "generic/3.3" "PRIORITY with a dependency" [priority(3, 1), get()] => Answer(1);
        "generic/3.3" "PRIORITY that is exclusive" [priority(1, 1 << 31), get()] => Answer(1);
        "generic/3.3" "PRIORITY of an idle stream, then a lower one" [priority(3, 0), get()]
            => Answer(1);
        "generic/3.4" "RST_STREAM" [post(), reset(1, Cancel)] => Alive;
        "generic/3.5" "SETTINGS" [settings(&[
            (HEADER_TABLE_SIZE, 4096), (ENABLE_PUSH, 1), (MAX_CONCURRENT_STREAMS, 100),
            (INITIAL_WINDOW_SIZE, 65_535), (MAX_FRAME_SIZE, 16_384), (MAX_HEADER_LIST_SIZE, 100),
        ])] => Acked;
        "generic/3.7" "PING" [ping(*b"h2spec\0\0")] => Alive;
        "generic/3.8" "GOAWAY" [go_away(0, 0)] => AliveOrClosed;
        "generic/3.9" "WINDOW_UPDATE of the connection" [window(0, 1)] => Alive;
        "generic/3.9" "WINDOW_UPDATE of a stream" [get(), window(1, 1)] => Answer(1);
        "generic/3.10" "CONTINUATION"
            [raw(kind::HEADERS, flag::END_STREAM, 1, &block(GET)[..5]), part(1, true, &block(GET)[5..])]
            => Answer(1);
        "generic/3.10" "several CONTINUATION" [
            raw(kind::HEADERS, flag::END_STREAM, 1, &block(GET)[..5]),
            part(1, false, &block(GET)[5..10]),
            part(1, true, &block(GET)[10..]),
        ] => Answer(1);
        "generic/4" "GET" [get()] => Answer(1);
        "generic/4" "HEAD" [head(1, GET_HEAD, true)] => Answer(1);
        "generic/4" "POST" [post(), data(1, b"test", true)] => Answer(1);
        "generic/4" "POST with trailers" [post(), data(1, b"test", false), head(1, TRAILER, true)]
            => Answer(1);
        "generic/5" "an indexed field"
            [get_and(b"\x40\x06x-test\x06h2spec\xbe")] => Answer(1);
        "generic/5" "a literal to be indexed, Huffman-coded"
            [get_and(b"\x40\x87\xb5\x05\xb1\x61\xcc\x5a\x93\x84\x9c\x48\xac\xa4")] => Answer(1);
        "generic/5" "a literal to be indexed"
            [get_and(b"\x40\x0auser-agent\x06h2spec")] => Answer(1);
        "generic/5" "a literal to be indexed, new name" [get_and(b"\x40\x06x-test\x06h2spec")]
            => Answer(1);
        "generic/5" "a literal to be indexed, new name, Huffman-coded"
            [get_and(b"\x40\x85\xf2\xb2\x4a\x84\xff\x84\x9c\x48\xac\xa4")] => Answer(1);
        "generic/5" "a literal" [get_and(b"\x00\x0auser-agent\x06h2spec")] => Answer(1);
        "generic/5" "a literal, Huffman-coded"
            [get_and(b"\x00\x87\xb5\x05\xb1\x61\xcc\x5a\x93\x84\x9c\x48\xac\xa4")] => Answer(1);
        "generic/5" "a literal, new name" [get_and(b"\x00\x06x-test\x06h2spec")] => Answer(1);
        "generic/5" "a literal, new name, Huffman-coded"
            [get_and(b"\x00\x85\xf2\xb2\x4a\x84\xff\x84\x9c\x48\xac\xa4")] => Answer(1);
        "generic/5" "a sensitive literal" [get_and(b"\x10\x0auser-agent\x06h2spec")] => Answer(1);
        "generic/5" "a sensitive literal, Huffman-coded"
            [get_and(b"\x10\x87\xb5\x05\xb1\x61\xcc\x5a\x93\x84\x9c\x48\xac\xa4")] => Answer(1);
        "generic/5" "a sensitive literal, new name" [get_and(b"\x10\x06x-test\x06h2spec")]
            => Answer(1);
        "generic/5" "a sensitive literal, new name, Huffman-coded"
            [get_and(b"\x10\x85\xf2\xb2\x4a\x84\xff\x84\x9c\x48\xac\xa4")] => Answer(1);
        "generic/5" "a change of the table size"
            [raw(kind::HEADERS, flag::END_HEADERS | flag::END_STREAM, 1,
                &[b"\x3f\x61", &*block(GET)].concat())] => Answer(1);
        "generic/5" "two changes of the table size"
            [raw(kind::HEADERS, flag::END_HEADERS | flag::END_STREAM, 1,
                &[b"\x3f\x61\x3f\xe1\x1f", &*block(GET)].concat())] => Answer(1);
    }
}

fn frames_and_streams() -> Vec<Case> {
    cases! {
        "4.1" "an unknown frame" [zeros(0x16, 0, 0, 8)] => Alive;
        "4.1" "an undefined flag" [raw(kind::PING, 0x16, 0, &[9; 8])] => Alive;
        "4.1" "the reserved bit" [raw(kind::PING, 0x16, 1 << 31, &[9; 8])] => Alive;
        "4.2" "DATA of 2^14 bytes" [post(), data(1, &[b'x'; 16_384], true)] => Answer(1);
        "4.2" "DATA of 2^14 + 1 bytes" [post(), data(1, &[b'x'; 16_385], true)]
            => Broken(1, &[FrameSizeError]);
        "4.2" "HEADERS of more than 2^14 bytes" [large_head()] => Gone(&[FrameSizeError]);
        "4.3" "a block that is none" [b"\x00\x00\x01\x01\x05\x00\x00\x00\x01\x40".to_vec()]
            => Gone(&[CompressionError]);
        "4.3" "PRIORITY inside a block" [begun(GET, false), priority(1, 0), more(1, true)]
            => Gone(&[ProtocolError]);
        "4.3" "another stream's HEADERS inside a block"
            [begun(GET, false), head(3, GET, true), more(1, true)] => Gone(&[ProtocolError]);
        "5.1" "idle: DATA" [data(1, b"test", true)] => Gone(&[ProtocolError, StreamClosed]);
        "5.1" "idle: RST_STREAM" [reset(1, Cancel)] => Gone(&[ProtocolError]);
        "5.1" "idle: WINDOW_UPDATE" [window(1, 100)] => Gone(&[ProtocolError]);
        "5.1" "idle: CONTINUATION" [part(1, true, &block(GET))] => Gone(&[ProtocolError]);
        "5.1" "half-closed: DATA" [get(), data(1, b"test", true)] => Broken(1, &[StreamClosed]);
        "5.1" "half-closed: HEADERS" [get(), get()] => Broken(1, &[StreamClosed]);
        "5.1" "half-closed: CONTINUATION" [get(), part(1, true, &block(GET))]
            => Gone(&[StreamClosed, ProtocolError]);
        "5.1" "closed by RST_STREAM: DATA" [post(), reset(1, Cancel), data(1, b"test", true)]
            => Broken(1, &[StreamClosed]);
        "5.1" "closed by RST_STREAM: HEADERS" [post(), reset(1, Cancel), get()]
            => Broken(1, &[StreamClosed]);
        "5.1" "closed by RST_STREAM: CONTINUATION" [post(), reset(1, Cancel), more(1, true)]
            => Gone(&[StreamClosed, ProtocolError]);
        "5.1" "closed: DATA" [get(), Ended(1), data(1, b"test", true)]
            => Broken(1, &[StreamClosed]);
        "5.1" "closed: HEADERS" [get(), Ended(1), get()] => Gone(&[StreamClosed]);
        "5.1" "closed: CONTINUATION" [get(), Ended(1), more(1, true)]
            => Gone(&[StreamClosed, ProtocolError]);
        "5.1" "closed: WINDOW_UPDATE and RST_STREAM"
            [get(), Ended(1), window(1, 10), reset(1, Cancel)] => Alive;
        "5.1.1" "an even stream" [head(2, GET, true)] => Gone(&[ProtocolError]);
        "5.1.1" "a stream below the last" [head(5, GET, true), Ended(5), head(3, GET, true)]
            => Gone(&[ProtocolError, StreamClosed]);
        "5.1.2" "more streams than allowed" [many_streams(101)] => Reset(201, RefusedStream);
        "5.3.1" "HEADERS that depend on themselves"
            [dressed(flag::PRIORITY, &[0, 0, 0, 1, 255], &[])] => Broken(1, &[ProtocolError]);
        "5.3.1" "PRIORITY that depends on itself" [priority(1, 1)] => Broken(1, &[ProtocolError]);
        "5.4.1" "a connection error closes" [zeros(kind::PING, 0, 3, 8)] => Gone(&[ProtocolError]);
        "5.5" "an unknown frame of an extension" [zeros(0x16, 0, 0, 8)] => Alive;
        "5.5" "an unknown frame on a stream" [post(), zeros(0x16, 0, 1, 8), data(1, b"", true)]
            => Answer(1);
        "5.5" "an unknown frame inside a block" [begun(GET, true), zeros(0x16, 0, 0, 8)]
            => Gone(&[ProtocolError]);
    }
}

fn frame_definitions() -> Vec<Case> {
    cases! {
        "6.1" "DATA on stream 0" [data(0, b"test", true)] => Gone(&[ProtocolError]);
        "6.1" "DATA on a half-closed stream" [get(), data(1, b"test", true)]
            => Broken(1, &[StreamClosed]);
        "6.1" "DATA with too much padding"
            [head(1, &[POST, &[("content-length", "4")]].concat(), false),
             raw(kind::DATA, flag::PADDED | flag::END_STREAM, 1, b"\x06Test")]
            => Gone(&[ProtocolError]);
        "6.2" "HEADERS without their end, then PRIORITY"
            [begun(GET, false), priority(1, 0), more(1, true)] => Gone(&[ProtocolError]);
        "6.2" "HEADERS without their end, then another stream's"
            [begun(GET, false), head(3, GET, true), more(1, true)] => Gone(&[ProtocolError]);
        "6.2" "HEADERS on stream 0" [head(0, GET, true)] => Gone(&[ProtocolError]);
        "6.2" "HEADERS with too much padding"
            [dressed(flag::PADDED, &[u8::try_from(block(GET).len() + 2).unwrap()], &[])]
            => Broken(1, &[ProtocolError]);
        "6.3" "PRIORITY on stream 0" [priority(0, 0)] => Gone(&[ProtocolError]);
        "6.3" "PRIORITY of four bytes" [post(), raw(kind::PRIORITY, 0, 1, &[128, 0, 0, 1])]
            => Broken(1, &[FrameSizeError]);
        "6.4" "RST_STREAM on stream 0" [reset(0, Cancel)] => Gone(&[ProtocolError]);
        "6.4" "RST_STREAM on an idle stream" [reset(1, Cancel)] => Gone(&[ProtocolError]);
        "6.4" "RST_STREAM of three bytes" [post(), zeros(kind::RST_STREAM, 0, 1, 3)]
            => Gone(&[FrameSizeError]);
        "6.5" "SETTINGS both answer and question" [zeros(kind::SETTINGS, flag::ACK, 0, 1)]
            => Gone(&[FrameSizeError]);
        "6.5" "SETTINGS on a stream" [raw(kind::SETTINGS, 0, 1, &[0, 3, 0, 0, 0, 100])]
            => Gone(&[ProtocolError]);
        "6.5" "SETTINGS of three bytes" [raw(kind::SETTINGS, 0, 0, &[0, 3, 0])]
            => Gone(&[FrameSizeError]);
        "6.5.2" "ENABLE_PUSH of 2" [settings(&[(ENABLE_PUSH, 2)])] => Gone(&[ProtocolError]);
        "6.5.2" "INITIAL_WINDOW_SIZE of 2^31" [settings(&[(INITIAL_WINDOW_SIZE, 1 << 31)])]
            => Gone(&[FlowControlError]);
        "6.5.2" "MAX_FRAME_SIZE below 2^14" [settings(&[(MAX_FRAME_SIZE, 16_383)])]
            => Gone(&[ProtocolError]);
        "6.5.2" "MAX_FRAME_SIZE of 2^24" [settings(&[(MAX_FRAME_SIZE, 1 << 24)])]
            => Gone(&[ProtocolError]);
        "6.5.2" "an unknown setting" [settings(&[(0xff, 1)])] => Alive;
        "6.5.3" "INITIAL_WINDOW_SIZE twice: the last counts"
            [settings(&[(INITIAL_WINDOW_SIZE, 100), (INITIAL_WINDOW_SIZE, 1)]), Settled, get()]
            => Data(1);
        "6.5.3" "SETTINGS are acknowledged" [settings(&[(ENABLE_PUSH, 0)])] => Acked;
        "6.7" "PING" [ping(*b"h2spec\0\0")] => Alive;
        "6.7" "the answer to no PING" [pong(*b"invalid\0")] => Alive;
        "6.7" "PING on a stream" [zeros(kind::PING, 0, 1, 8)] => Gone(&[ProtocolError]);
        "6.7" "PING of six bytes" [zeros(kind::PING, 0, 0, 6)] => Gone(&[FrameSizeError]);
        "6.8" "GOAWAY on a stream" [zeros(kind::GOAWAY, 0, 1, 8)] => Gone(&[ProtocolError]);
        "6.8" "GOAWAY of four bytes" [zeros(kind::GOAWAY, 0, 0, 4)] => Gone(&[FrameSizeError]);
        "6.9" "WINDOW_UPDATE of 0" [window(0, 0)] => Gone(&[ProtocolError]);
        "6.9" "WINDOW_UPDATE of 0 on a stream" [post(), window(1, 0)] => Reset(1, ProtocolError);
        "6.9" "WINDOW_UPDATE of three bytes" [raw(kind::WINDOW_UPDATE, 0, 0, &[0, 0, 1])]
            => Gone(&[FrameSizeError]);
        "6.9.1" "a window of 1" [settings(&[(INITIAL_WINDOW_SIZE, 1)]), Settled, get()] => Data(1);
        "6.9.1" "more than 2^31 - 1 for the connection"
            [window(0, (1 << 31) - 1), window(0, (1 << 31) - 1)] => Gone(&[FlowControlError]);
        "6.9.1" "more than 2^31 - 1 for a stream"
            [post(), window(1, (1 << 31) - 1), window(1, (1 << 31) - 1)]
            => Reset(1, FlowControlError);
        "6.9.2" "a window that opens later" [
            settings(&[(INITIAL_WINDOW_SIZE, 0)]), Settled, get(),
            settings(&[(INITIAL_WINDOW_SIZE, 1)]),
        ] => Data(1);
        "6.9.2" "a window below nothing" [
            settings(&[(INITIAL_WINDOW_SIZE, 3)]), Settled, get(), SomeData,
            settings(&[(INITIAL_WINDOW_SIZE, 2)]), Settled, window(1, 2),
        ] => Data(1);
        "6.9.2" "SETTINGS beyond the largest window"
            [settings(&[(INITIAL_WINDOW_SIZE, u32::MAX)])] => Gone(&[FlowControlError]);
        "6.9.2" "SETTINGS that take a stream beyond the largest window"
            [post(), window(1, 1 << 30), settings(&[(INITIAL_WINDOW_SIZE, (1 << 31) - 1)])]
            => Gone(&[FlowControlError]);
        "6.10" "several CONTINUATION" [begun(GET, true), more(1, false), more(1, true)]
            => Answer(1);
        "6.10" "CONTINUATION, then DATA"
            [begun(POST, false), more(1, false), data(1, b"test", true)] => Gone(&[ProtocolError]);
        "6.10" "CONTINUATION on stream 0" [begun(GET, true), more(0, true)]
            => Gone(&[ProtocolError]);
        "6.10" "CONTINUATION after a whole block" [get(), more(1, true)] => Gone(&[ProtocolError]);
        "6.10" "CONTINUATION after the last" [begun(GET, true), more(1, true), more(1, true)]
            => Gone(&[ProtocolError]);
        "6.10" "CONTINUATION after DATA"
            [begun(POST, false), data(1, b"test", true), more(1, false), more(0, true)]
            => Gone(&[ProtocolError]);
        "7" "GOAWAY of an unknown code" [go_away(0, 0xff)] => AliveOrClosed;
        "7" "RST_STREAM of an unknown code"
            [post(), raw(kind::RST_STREAM, 0, 1, &[0, 0, 0, 0xff])] => Alive;
    }
}

fn messages() -> Vec<Case> {
    cases! {
        "8.1" "a second HEADERS that does not end the stream"
            [post(), data(1, b"test", false), head(1, TRAILER, false)] => Reset(1, ProtocolError);
        "8.1.2" "an upper-case name" [get_with(&[("X-TEST", "ok")])] => Reset(1, ProtocolError);
        "8.1.2" "a value with a line break" [get_with(&[("x-test", "a\r\nb")])]
            => Reset(1, ProtocolError);
        "8.1.2" "a name of no length" [get_with(&[("", "ok")])] => Reset(1, ProtocolError);
        "8.1.2.1" "an unknown pseudo-header" [get_with(&[(":test", "ok")])]
            => Reset(1, ProtocolError);
        "8.1.2.1" "a pseudo-header of answers" [get_with(&[(":status", "200")])]
            => Reset(1, ProtocolError);
        "8.1.2.1" "a pseudo-header in trailers"
            [post(), data(1, b"test", false), head(1, &[(":method", "POST")], true)]
            => Reset(1, ProtocolError);
        "8.1.2.1" "a pseudo-header after a field"
            [head(1, &[&[("x-test", "ok")], GET].concat(), true)] => Reset(1, ProtocolError);
        "8.1.2.2" "connection" [get_with(&[("connection", "keep-alive")])]
            => Reset(1, ProtocolError);
        "8.1.2.2" "te beyond trailers"
            [get_with(&[("trailers", "test"), ("te", "trailers, deflate")])]
            => Reset(1, ProtocolError);
        "8.1.2.3" "an empty :path"
            [head(1, &[(":method", "GET"), (":scheme", "http"), (":path", ""),
                (":authority", "app.test")], true)] => Reset(1, ProtocolError);
        "8.1.2.3" "no :method" [without(":method")] => Reset(1, ProtocolError);
        "8.1.2.3" "no :scheme" [without(":scheme")] => Reset(1, ProtocolError);
        "8.1.2.3" "no :path" [without(":path")] => Reset(1, ProtocolError);
        "8.1.2.3" ":method twice" [get_with(&[(":method", "GET")])] => Reset(1, ProtocolError);
        "8.1.2.3" ":scheme twice" [get_with(&[(":scheme", "http")])] => Reset(1, ProtocolError);
        "8.1.2.3" ":path twice" [get_with(&[(":path", "/")])] => Reset(1, ProtocolError);
        "8.1.2.6" "a body longer than its content-length"
            [head(1, &[POST, &[("content-length", "1")]].concat(), false), data(1, b"test", true)]
            => Reset(1, ProtocolError);
        "8.1.2.6" "several DATA longer than their content-length"
            [head(1, &[POST, &[("content-length", "1")]].concat(), false),
             data(1, b"test", false), data(1, b"test", true)] => Broken(1, &[ProtocolError]);
        "8.1.2.6" "a body shorter than its content-length"
            [head(1, &[POST, &[("content-length", "5")]].concat(), false), data(1, b"test", true)]
            => Reset(1, ProtocolError);
        "8.1.2.6" "no body at all, and a content-length"
            [head(1, &[POST, &[("content-length", "5")]].concat(), true)]
            => Reset(1, ProtocolError);
        "8.2" "PUSH_PROMISE"
            [raw(kind::PUSH_PROMISE, flag::END_HEADERS, 1, &[&[0, 0, 0, 3], &*block(GET)].concat())]
            => Gone(&[ProtocolError]);
    }
}

fn hpack() -> Vec<Case> {
    cases! {
        "hpack/2.3.3" "an index in no table" [get_and(b"\xc6")] => Gone(&[CompressionError]);
        "hpack/2.3.3" "a name's index in no table" [get_and(b"\x7f\x07\x00")]
            => Gone(&[CompressionError]);
        "hpack/4.2" "a change of the table size at the end" [get_and(b"\x21")]
            => Gone(&[CompressionError]);
        "hpack/5.2" "padding of more than 7 bits"
            [get_and(b"\x00\x85\xf2\xb2\x4a\x84\xff\x84\x49\x50\x9f\xff")]
            => Gone(&[CompressionError]);
        "hpack/5.2" "padding of zeros" [get_and(b"\x00\x85\xf2\xb2\x4a\x84\xff\x83\x49\x50\x90")]
            => Gone(&[CompressionError]);
        "hpack/5.2" "the end of string"
            [get_and(b"\x00\x85\xf2\xb2\x4a\x84\xff\x87\x49\x51\xff\xff\xff\xfa\x7f")]
            => Gone(&[CompressionError]);
        "hpack/6.1" "index 0" [get_and(b"\x80")] => Gone(&[CompressionError]);
        "hpack/6.3" "a table larger than allowed"
            [raw(kind::HEADERS, flag::END_HEADERS | flag::END_STREAM, 1,
                &[b"\x3f\xe2\x1f", &*block(GET)].concat())] => Gone(&[CompressionError]);
    }
}

pub(super) fn all() -> Vec<Case> {
    [generic(), frames_and_streams(), frame_definitions(), messages(), hpack()]
        .into_iter()
        .flatten()
        .collect()
}
