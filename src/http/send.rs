//! Frames that go out: heads, bodies as far as windows allow, resets, windows given back.

use std::rc::Rc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use crate::http::client::LAST_STREAM;
use crate::http::connection::{Closing, Connection, MAX_FRAME, OUTPUT_HIGH, Role};
use crate::http::exchange::{CallError, CallEvent, Gone, Incoming, Step};
use crate::http::frame::{ErrorCode, write};
use crate::http::hpack::Block;
use crate::http::pace::Due;
use crate::http::pipe::{End, Piece, Pipe};
use crate::http::stream::{Asks, Receiving, Sending, Side, Stream, signed};
use crate::model::Fields;
use crate::model::RequestHead;
use crate::model::ResponseHead;

/// The part of the time a stream may be stalled that it may be so at the cost of others.
const STARVING: u32 = 30;

/// What came of looking for something to send on a stream.
enum Pumped {
    /// A frame was written; there may be more.
    Some,
    /// Nothing can be sent now; someone will tell when.
    Nothing,
}

impl<S, H> Connection<S, H>
where
    S: AsyncRead + AsyncWrite + Unpin,
    H: FnMut(Incoming),
{
    /// Turns what is ready into frames, one stream after the other, until the output is full.
    pub(super) fn produce(&mut self) {
        if !self.is_open() {
            return;
        }
        self.follow_wishes();
        // A stream with more to send goes to the end of the queue: each has its turn.
        while self.output.len() < OUTPUT_HIGH {
            let Some(id) = self.ready.pop() else { break };
            self.serve(id);
        }
        if self.pace.len() > 0 {
            self.send_resets();
        }
        if let Some(bytes) = self.credit.take() {
            self.receive_window += signed(bytes);
            write::window_update(&mut self.output, 0, u32::try_from(bytes).unwrap_or(0));
        }
    }

    /// Does what the holder of the connection's handle asked for.
    fn follow_wishes(&mut self) {
        match &self.role {
            Role::Server { shared, .. } => {
                let undrained = matches!(self.closing, Closing::No | Closing::Parting);
                if shared.draining.get() && undrained {
                    // RFC 9113 section 6.8: first the highest number there is, so that nothing the
                    // caller sends meanwhile is lost; a PING tells when it knows.
                    write::go_away(&mut self.output, LAST_STREAM, ErrorCode::NoError, "");
                    write::ping(&mut self.output, false, *b"dyelane!");
                    self.closing = Closing::Announced { since: Instant::now() };
                }
            }
            Role::Client(shared) => {
                if shared.is_retired() && self.closing == Closing::No {
                    self.closing = Closing::Draining;
                }
                self.open_calls();
            }
        }
    }

    /// Says which stream is the last, and takes no more.
    pub(super) fn announce_last(&mut self) {
        write::go_away(&mut self.output, self.last_taken, ErrorCode::NoError, "");
        self.closing = Closing::Draining;
    }

    /// Sends the requests that wait for a stream.
    fn open_calls(&mut self) {
        let Role::Client(shared) = &self.role else { return };
        let shared = shared.clone();
        while self.output.len() < OUTPUT_HIGH
            && let Some(opening) = shared.next(self.open(), self.next_stream)
        {
            if opening.head.protocol.is_some() && !shared.takes_extended_connect() {
                opening.call.event(CallEvent::Failed(CallError::NoTunnels));
                continue;
            }
            let id = self.next_stream;
            self.next_stream += 2;
            let bodiless = opening.body.is_at_end();
            self.write_request(id, &opening.head, bodiless);
            opening.call.carried_by(&self.ready, id);
            let sending = if bodiless {
                Sending::Done
            } else {
                opening.body.read_by(&self.ready, id);
                Sending::Body(opening.body)
            };
            let side = Side::Client {
                asks: Asks::of(&opening.head),
                written_at: self.position(),
                call: opening.call.clone(),
            };
            let inbound = opening.call.body.clone();
            self.begin(id, side, sending, inbound, None);
            if !bodiless {
                self.ready.push(id);
            }
        }
    }

    /// Returns how many streams are open in the eyes of the peer.
    fn open(&self) -> usize {
        self.streams.len() + self.pace.len()
    }

    /// Sends the next thing of one stream.
    fn serve(&mut self, id: u32) {
        let Some(stream) = self.streams.get(&id) else { return };
        match &stream.side {
            Side::Client { call, .. } => {
                if let Some(code) = call.cancelled() {
                    return self.reset_stream(id, code, CallError::Reset(code));
                }
                if stream.inbound.is_closed() && stream.receiving != Receiving::Done {
                    let code = ErrorCode::Cancel;
                    return self.reset_stream(id, code, CallError::Reset(code));
                }
            }
            Side::Server { reply, .. } => {
                if let Some(step) = reply.next() {
                    let reply = reply.clone();
                    self.step(id, step);
                    while let Some(step) = reply.next() {
                        self.step(id, step);
                    }
                }
            }
        }
        self.open_window(id);
        match self.pump(id) {
            Pumped::Some => self.ready.push(id),
            Pumped::Nothing => self.close_if_over(id),
        }
    }

    fn step(&mut self, id: u32, step: Step) {
        let Some(stream) = self.streams.get(&id) else { return };
        match step {
            Step::Reset(code) => self.reset_stream(id, code, CallError::Reset(code)),
            // Only before the answer, of which there is one.
            _ if !matches!(stream.sending, Sending::Head) => {}
            Step::Interim(head) => self.write_response(id, &head, false),
            Step::Answer(head, body) => self.answer(id, head, body),
        }
    }

    fn answer(&mut self, id: u32, mut head: ResponseHead, body: Rc<Pipe>) {
        let Some(Stream { side: Side::Server { asks, .. }, .. }) = self.streams.get(&id) else {
            return;
        };
        match (asks, head.status) {
            // RFC 8441 section 5: what HTTP/1.1 answers by 101 is a tunnel that is open.
            (Asks::Tunnel, 101) => {
                head.status = 200;
                head.fields.remove(b"sec-websocket-accept");
                head.fields.remove(b"content-length");
            }
            // An answer, but not in the other protocol; by this number it would look agreed.
            (Asks::Tunnel, 200..=299) => head.status = 502,
            (_, 101) => {
                body.close();
                let code = ErrorCode::InternalError;
                return self.reset_stream(id, code, CallError::Reset(code));
            }
            _ => {}
        }
        // What an answer of our own has to say does not go out with these.
        let unwanted = *asks == Asks::HeadOnly || matches!(head.status, 204 | 304);
        let bodiless = body.is_at_end() || (unwanted && body.buffered() > 0);
        if bodiless {
            body.close();
        }
        self.write_response(id, &head, bodiless);
        let Some(stream) = self.streams.get_mut(&id) else { return };
        stream.moved = true;
        stream.sending = if bodiless {
            Sending::Done
        } else {
            body.read_by(&self.ready, id);
            Sending::Body(body)
        };
    }

    /// Gives the peer back the window of what was taken from the stream's pipe.
    fn open_window(&mut self, id: u32) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        if stream.receiving == Receiving::Done {
            return;
        }
        let more = stream.inbound.take_freed(self.options.worth());
        if more > 0 {
            stream.receive_window += signed(more);
            write::window_update(&mut self.output, id, u32::try_from(more).unwrap_or(0));
        }
    }

    /// Sends one frame of a stream's body, if there is something and the windows allow it.
    fn pump(&mut self, id: u32) -> Pumped {
        let Some(stream) = self.streams.get_mut(&id) else { return Pumped::Nothing };
        let Sending::Body(body) = &stream.sending else { return Pumped::Nothing };
        let body = body.clone();
        let window = stream.send_window.min(self.send_window);
        let most = MAX_FRAME.min(self.peer.max_frame) as usize;
        let room = usize::try_from(window).unwrap_or(0).min(most);
        if room == 0 && body.buffered() > 0 {
            if self.send_window <= 0 && stream.send_window > 0 && !stream.starved {
                stream.starved = true;
                self.starved.push_back(id);
            }
            return Pumped::Nothing;
        }
        match body.take(room.max(1)) {
            Piece::Wait => return Pumped::Nothing,
            Piece::Data(bytes) => {
                stream.moved = true;
                stream.send_window -= signed(bytes.len());
                self.send_window -= signed(bytes.len());
                let last = body.is_at_end();
                if last {
                    stream.sending = Sending::Done;
                }
                self.write_data(id, &bytes, last);
                if last {
                    self.close_if_over(id);
                    return Pumped::Nothing;
                }
                return Pumped::Some;
            }
            Piece::End(End::Complete(None)) => {
                stream.sending = Sending::Done;
                self.write_data(id, b"", true);
            }
            Piece::End(End::Complete(Some(trailers))) => {
                stream.sending = Sending::Done;
                self.write_head(id, true, &trailers, |_| {});
            }
            Piece::End(End::Broken(code)) => {
                self.reset_stream(id, code, CallError::Reset(code));
                return Pumped::Nothing;
            }
        }
        self.close_if_over(id);
        Pumped::Nothing
    }

    /// The connection's window opened: those who wait for it go on, in order.
    pub(super) fn feed_starved(&mut self) {
        if self.send_window <= 0 {
            return;
        }
        for id in std::mem::take(&mut self.starved) {
            if let Some(stream) = self.streams.get_mut(&id) {
                stream.starved = false;
                self.ready.push(id);
            }
        }
    }

    /// Ends a stream before its time, and tells the peer and everyone concerned.
    pub(super) fn reset_stream(&mut self, id: u32, code: ErrorCode, error: CallError) {
        let stream = self.remove(id);
        match self.role {
            Role::Server { .. } => {
                write::reset_stream(&mut self.output, id, code);
                self.abandoned.push(id);
            }
            Role::Client(_) => {
                let sent_all = stream.as_ref().is_none_or(|it| matches!(it.sending, Sending::Done));
                self.pace.push(Due { stream: id, code, sent_all });
            }
        }
        if let Some(mut stream) = stream {
            if let Side::Server { reply, .. } = &stream.side {
                reply.finish(Gone::Broken);
            }
            stream.break_off(error, code);
        }
    }

    /// Resets what streams of ours may be reset now.
    fn send_resets(&mut self) {
        let now = Instant::now();
        while let Some(Due { stream, code, .. }) = self.pace.next(now) {
            write::reset_stream(&mut self.output, stream, code);
        }
    }

    /// Takes a stream out.
    pub(super) fn remove(&mut self, id: u32) -> Option<Stream> {
        let stream = self.streams.remove(&id)?;
        if stream.starved {
            self.starved.retain(|it| *it != id);
        }
        Some(stream)
    }

    /// Removes a stream on which both sides said everything.
    ///
    /// An answer may be complete while its request is not: then the rest of the request is asked
    /// not to come, once nobody wants it (RFC 9113 section 8.1).
    pub(super) fn close_if_over(&mut self, id: u32) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        if let (Side::Server { reply, .. }, Sending::Done) = (&stream.side, &stream.sending) {
            if stream.receiving != Receiving::Done {
                if !stream.inbound.is_closed() {
                    return;
                }
                write::reset_stream(&mut self.output, id, ErrorCode::NoError);
                self.abandoned.push(id);
                stream.inbound.end(End::Broken(ErrorCode::Cancel));
            }
            reply.finish(Gone::Answered);
        } else if !stream.is_over() {
            return;
        }
        stream.inbound.writer_left();
        self.remove(id);
        self.faults = self.faults.saturating_sub(1);
        self.pace.peace();
        self.chatter = 0;
    }

    /// Resets the streams whose bytes wait for a peer that takes none.
    pub(super) fn reset_stalled(&mut self, now: Instant) {
        let limit = self.options.stall;
        let mut stalled = Vec::new();
        for (id, stream) in &mut self.streams {
            let waits = matches!(&stream.sending, Sending::Body(body) if body.buffered() > 0);
            if std::mem::take(&mut stream.moved) || !waits {
                stream.stalled_since = None;
            } else if now.duration_since(*stream.stalled_since.get_or_insert(now)) >= limit {
                stalled.push(*id);
            }
        }
        stalled.extend(self.hog(now).filter(|id| !stalled.contains(id)));
        for id in stalled {
            let code = ErrorCode::Cancel;
            self.reset_stream(id, code, CallError::Reset(code));
        }
    }

    /// Returns the stream that is to go so that others can go on, if some have waited for the
    /// connection's window for a while: of those whose own window is used up and stays so, the one
    /// for which that is longest.
    ///
    /// A server that gives a stream as much window as the connection lets nobody else's body in once
    /// its application leaves one unread.
    fn hog(&self, now: Instant) -> Option<u32> {
        let limit = self.options.stall / STARVING;
        let waited = |stream: &Stream| {
            stream.stalled_since.is_some_and(|since| now.duration_since(since) >= limit)
        };
        let starving = |id: &u32| self.streams.get(id).is_some_and(waited);
        if !self.starved.iter().any(starving) {
            return None;
        }
        let hogs = self.streams.iter().filter(|(_, it)| it.send_window <= 0 && waited(it));
        hogs.min_by_key(|(id, it)| (it.stalled_since, **id)).map(|(id, _)| *id)
    }

    /// Tells the pool how much the connection carries, so that it can choose among several.
    pub(super) fn note_load(&self) {
        if let Role::Client(shared) = &self.role {
            shared.note_load(self.open(), self.is_blocked());
        }
    }

    fn write_data(&mut self, id: u32, bytes: &[u8], end_stream: bool) {
        let length = u32::try_from(bytes.len()).unwrap_or(0);
        write::data_header(&mut self.output, id, length, end_stream);
        self.output.extend_from_slice(bytes);
        self.chatter = 0;
    }

    fn write_head(
        &mut self,
        id: u32,
        end_stream: bool,
        fields: &Fields,
        pseudo: impl FnOnce(&mut Block<'_>),
    ) {
        let Self { output, encoder, peer, .. } = self;
        write::headers(output, id, end_stream, peer.max_frame, |out| {
            let mut block = encoder.block(out);
            pseudo(&mut block);
            for (name, value, sensitive) in fields.iter_marked() {
                block.field(name, value, sensitive);
            }
        });
    }

    pub(super) fn write_response(&mut self, id: u32, head: &ResponseHead, end_stream: bool) {
        self.write_head(id, end_stream, &head.fields, |block| block.status(head.status));
    }

    fn write_request(&mut self, id: u32, head: &RequestHead, end_stream: bool) {
        // RFC 8441 section 5: what came as an upgrade of HTTP/1.1 goes on as an extended CONNECT,
        // which has no use for the key.
        let key = b"sec-websocket-key".as_slice();
        let upgrade = head.protocol.is_some() && head.method != http::Method::CONNECT;
        let keyless = (upgrade && head.fields.contains(key)).then(|| {
            let mut fields = head.fields.clone();
            fields.remove(key);
            fields
        });
        let fields = keyless.as_ref().unwrap_or(&head.fields);
        self.write_head(id, end_stream, fields, |block| {
            let method = if upgrade { &http::Method::CONNECT } else { &head.method };
            block.method(method.as_str().as_bytes());
            // RFC 9113 section 8.5: a plain CONNECT has neither.
            if *method != http::Method::CONNECT || head.protocol.is_some() {
                block.scheme(head.scheme.as_str().as_bytes());
                block.path(head.path.as_bytes());
            }
            if !head.authority.is_empty() {
                block.authority(head.authority.as_bytes());
            }
            if let Some(protocol) = &head.protocol {
                block.field(b":protocol", protocol.as_bytes(), false);
            }
        });
    }
}
