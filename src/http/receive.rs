//! Frames that came in: what each does to its stream and to the connection (RFC 9113 section 6).

use bytes::Buf;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::http::connection::{CHATTER, Closing, Connection, Fatal, MAX_FRAME, Role};
use crate::http::exchange::{CallError, Gone, Incoming};
use crate::http::frame::{self, ErrorCode, FrameError, FrameHeader, Payload, Scope, write};
use crate::http::heads::Unfinished;
use crate::http::stream::{Receiving, Sending, Side, signed};

impl<S, H> Connection<S, H>
where
    S: AsyncRead + AsyncWrite + Unpin,
    H: FnMut(Incoming),
{
    /// Handles the next frame, if it is all there. `false`: it is not.
    pub(super) fn next_frame(&mut self) -> Result<bool, Fatal> {
        if let Role::Server { shared, .. } = &self.role
            && !shared.greeted.get()
        {
            match self.input.get(..frame::PREFACE.len()) {
                None if frame::PREFACE.starts_with(&self.input) => return Ok(false),
                Some(start) if start == &frame::PREFACE[..] => {}
                _ => return Err(Fatal(ErrorCode::ProtocolError, "no HTTP/2 preface")),
            }
            shared.greeted.set(true);
            self.input.advance(frame::PREFACE.len());
        }
        let Some(header) = FrameHeader::parse(&self.input) else { return Ok(false) };
        let length = header.length as usize;
        header.check(MAX_FRAME).map_err(|error| Fatal(error.code, error.what))?;
        if self.input.len() < frame::HEADER_BYTES + length {
            return Ok(false);
        }
        // The frame is moved out of the way of `self`; the buffer comes back empty or with the rest.
        let mut input = std::mem::take(&mut self.input);
        input.advance(frame::HEADER_BYTES);
        let payload = input.get(..length).unwrap_or_default();
        let outcome = self.frame(header, payload);
        input.advance(length);
        self.input = input;
        if self.unfinished.is_none() {
            self.finished += 1;
        }
        outcome.map(|()| true)
    }

    fn frame(&mut self, header: FrameHeader, bytes: &[u8]) -> Result<(), Fatal> {
        let stream = header.stream;
        if let Some(unfinished) = &self.unfinished
            && (header.kind != frame::kind::CONTINUATION || unfinished.stream != stream)
        {
            return Err(Fatal(ErrorCode::ProtocolError, "a head broken off by another frame"));
        }
        if !self.first_frame_seen {
            if header.kind != frame::kind::SETTINGS || header.flags & frame::flag::ACK != 0 {
                return Err(Fatal(ErrorCode::ProtocolError, "the first frame is not SETTINGS"));
            }
            self.first_frame_seen = true;
        }
        let payload = match header.payload(bytes) {
            Ok(payload) => payload,
            Err(FrameError { code, scope: Scope::Connection, what }) => {
                return Err(Fatal(code, what));
            }
            Err(FrameError { code, scope: Scope::Stream, .. }) => {
                self.check_begun(stream)?;
                return self.reset_for_fault(stream, code);
            }
        };
        match payload {
            Payload::Data { data, end_stream } => self.data(stream, data, bytes.len(), end_stream),
            Payload::Headers(head) => {
                let whole = head.end_headers.then_some(head.block);
                let fault = head.fault.map(|fault| fault.code);
                let unfinished =
                    Unfinished { stream, end_stream: head.end_stream, fault, ..Default::default() };
                if let Some(block) = whole {
                    return self.head(&unfinished, block);
                }
                self.unfinished = Some(Unfinished { block: head.block.to_vec(), ..unfinished });
                Ok(())
            }
            Payload::Continuation { block, end_headers } => self.continuation(block, end_headers),
            Payload::ResetStream { code } => self.reset(stream, ErrorCode::from_wire(code)),
            Payload::WindowUpdate { increment } => {
                self.idle_talk()?;
                self.window_update(stream, increment)
            }
            Payload::Settings(settings) => self.settings(settings),
            Payload::SettingsAck => {
                self.settings_acked = true;
                self.idle_talk()
            }
            Payload::Ping { ack: true, .. } => {
                if matches!(self.closing, Closing::Announced { .. }) {
                    self.announce_last();
                }
                self.idle_talk()
            }
            Payload::Ping { ack: false, opaque } => {
                write::ping(&mut self.output, true, opaque);
                self.idle_talk()
            }
            Payload::GoAway { last_stream, code, .. } => {
                self.goaway(last_stream, ErrorCode::from_wire(code))
            }
            Payload::PushPromise { .. } => Err(Fatal(ErrorCode::ProtocolError, "PUSH_PROMISE")),
            Payload::Priority | Payload::Unknown => self.idle_talk(),
        }
    }

    /// Counts a frame that moves nothing: a peer that sends only such is not kept. What moves
    /// something, in either direction, sets the count back.
    pub(super) fn idle_talk(&mut self) -> Result<(), Fatal> {
        self.chatter += 1;
        if self.chatter > CHATTER {
            return Err(Fatal(ErrorCode::EnhanceYourCalm, "too many frames to no end"));
        }
        Ok(())
    }

    /// Refuses frames on a stream that nobody began (RFC 9113 section 5.1, "idle").
    pub(super) fn check_begun(&self, stream: u32) -> Result<(), Fatal> {
        let begun = match self.role {
            Role::Server { .. } => stream % 2 == 1 && stream <= self.last_peer_stream,
            Role::Client(_) => stream % 2 == 1 && stream < self.next_stream,
        };
        if begun {
            Ok(())
        } else {
            Err(Fatal(ErrorCode::ProtocolError, "a frame on an idle stream"))
        }
    }

    /// Resets a stream for a fault of its peer's, and counts it.
    ///
    /// Only this stream suffers: others on the connection may be other people's.
    pub(super) fn reset_for_fault(&mut self, stream: u32, code: ErrorCode) -> Result<(), Fatal> {
        self.reset_stream(stream, code, CallError::Malformed("the stream broke the rules"));
        self.count_fault()
    }

    /// Counts a stream that ended before its time by the peer's doing, beside those that ended in
    /// peace; time forgives too. A peer that does little
    /// else is not kept: rapid resets, whoever is made to send them (CVE-2023-44487, CVE-2025-8671).
    pub(super) fn count_fault(&mut self) -> Result<(), Fatal> {
        if matches!(self.role, Role::Client(_)) {
            return Ok(());
        }
        self.faults += 1;
        if self.faults > self.options.resets {
            return Err(Fatal(ErrorCode::EnhanceYourCalm, "too many streams broken off"));
        }
        Ok(())
    }

    fn data(&mut self, id: u32, data: &[u8], whole: usize, end_stream: bool) -> Result<(), Fatal> {
        self.check_begun(id)?;
        // Padding counts (RFC 9113 section 6.9.1), and so does what comes for a stream now gone.
        self.receive_window -= signed(whole);
        if self.receive_window < 0 {
            return Err(Fatal(ErrorCode::FlowControlError, "more bytes than the window allowed"));
        }
        let stream = self.streams.get_mut(&id).filter(|it| it.receiving != Receiving::Done);
        let Some(stream) = stream else {
            self.credit.add(whole);
            return self.late_data(id, data.is_empty(), end_stream);
        };
        stream.receive_window -= signed(whole);
        let overdrawn = stream.receive_window < 0;
        let early = stream.receiving == Receiving::Head;
        let wrong_length =
            stream.owe_less(data.len()).is_err() || (end_stream && !stream.kept_its_length());
        if overdrawn || early || wrong_length {
            self.credit.add(whole);
            return self.reset_for_fault(
                id,
                if overdrawn { ErrorCode::FlowControlError } else { ErrorCode::ProtocolError },
            );
        }
        stream.moved = true;
        // Padding took room in the windows, and nobody will take it from the pipe.
        stream.inbound.pad(whole - data.len());
        stream.inbound.push_slice(data);
        if end_stream {
            stream.received_all(None);
            self.close_if_over(id);
        } else if data.is_empty() {
            return self.idle_talk();
        }
        self.chatter = 0;
        Ok(())
    }

    /// DATA for a stream that is over, or half of it.
    fn late_data(&mut self, id: u32, empty: bool, end_stream: bool) -> Result<(), Fatal> {
        if matches!(self.role, Role::Client(_)) || self.abandoned.contains(id) {
            if end_stream {
                self.pace.peer_ended(id, false);
            }
            // It was under way when the stream ended: as much as the window had allowed.
            return if empty { self.idle_talk() } else { Ok(()) };
        }
        self.reset_for_fault(id, ErrorCode::StreamClosed)
    }

    fn reset(&mut self, id: u32, code: ErrorCode) -> Result<(), Fatal> {
        self.check_begun(id)?;
        let Some(mut stream) = self.remove(id) else {
            self.pace.peer_ended(id, true);
            return self.idle_talk();
        };
        if stream.receiving == Receiving::Done {
            // All of its half was here: only ours was unwelcome.
            let cancelled =
                matches!(&stream.side, Side::Client { call, .. } if call.cancelled().is_some());
            if let Sending::Body(body) = &stream.sending
                && !cancelled
            {
                body.close();
            }
            if let Side::Server { reply, .. } = &stream.side {
                reply.finish(Gone::Left);
            }
        } else {
            let error = match code {
                ErrorCode::RefusedStream => CallError::Refused,
                code => CallError::Reset(code),
            };
            stream.break_off(error, code);
        }
        self.count_fault()
    }

    fn window_update(&mut self, id: u32, more: u32) -> Result<(), Fatal> {
        if id == 0 {
            self.send_window += i64::from(more);
            if self.send_window > i64::from(frame::LARGEST_WINDOW) {
                return Err(Fatal(
                    ErrorCode::FlowControlError,
                    "the connection's window overflows",
                ));
            }
            self.feed_starved();
            return Ok(());
        }
        self.check_begun(id)?;
        let Some(stream) = self.streams.get_mut(&id) else { return Ok(()) };
        let shut = stream.send_window <= 0;
        stream.send_window += i64::from(more);
        if stream.send_window > i64::from(frame::LARGEST_WINDOW) {
            return self.reset_for_fault(id, ErrorCode::FlowControlError);
        }
        if shut && stream.send_window > 0 {
            self.ready.push(id);
        }
        Ok(())
    }

    fn settings(&mut self, settings: frame::Settings) -> Result<(), Fatal> {
        if matches!(self.role, Role::Client(_)) && settings.enable_push == Some(true) {
            return Err(Fatal(ErrorCode::ProtocolError, "a server that wants pushes"));
        }
        if let Some(window) = settings.initial_window_size {
            let change = i64::from(window) - i64::from(self.peer.initial_window);
            self.peer.initial_window = window;
            for (id, stream) in &mut self.streams {
                let shut = stream.send_window <= 0;
                stream.send_window += change;
                if stream.send_window > i64::from(frame::LARGEST_WINDOW) {
                    return Err(Fatal(ErrorCode::FlowControlError, "a stream's window overflows"));
                }
                if shut && stream.send_window > 0 {
                    self.ready.push(*id);
                }
            }
        }
        if let Some(size) = settings.max_frame_size {
            self.peer.max_frame = size;
        }
        if let Some(size) = settings.header_table_size {
            if let Some(least) = settings.least_header_table_size {
                self.encoder.set_max_table_size(least);
            }
            self.encoder.set_max_table_size(size);
        }
        if let Role::Client(shared) = &self.role {
            shared.settings(settings.max_concurrent_streams, settings.enable_connect_protocol);
        }
        write::settings_ack(&mut self.output);
        self.idle_talk()
    }

    /// The peer takes no more streams of ours, or will begin no more of its own.
    fn goaway(&mut self, last: u32, code: ErrorCode) -> Result<(), Fatal> {
        if self.closing == Closing::No {
            self.closing = Closing::Parting;
        }
        let Role::Client(shared) = &self.role else { return self.idle_talk() };
        shared.retire();
        tracing::debug!(last, %code, "upstream sends us away");
        let left_out: Vec<u32> = self.streams.keys().copied().filter(|id| *id > last).collect();
        for id in left_out {
            if let Some(mut stream) = self.remove(id) {
                stream.break_off(CallError::LeftOut, ErrorCode::RefusedStream);
            }
        }
        self.idle_talk()
    }
}
