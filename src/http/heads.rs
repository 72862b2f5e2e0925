//! Heads that came in: of requests, of answers, of trailers (RFC 9113 section 8.1).

use std::rc::Rc;

use tokio::io::{AsyncRead, AsyncWrite};

use crate::http::connection::{Closing, Connection, Fatal, MAX_FRAME, Role};
use crate::http::exchange::{CallError, CallEvent, Incoming, Reply, Version};
use crate::http::frame::{self, ErrorCode, write};
use crate::http::message::{Checked, HeadError, HeadReader};
use crate::http::pipe::Pipe;
use crate::http::stream::{Asks, Receiving, Sending, Side, Stream};
use crate::model::ResponseHead;

/// CONTINUATION frames of one head.
const CONTINUATIONS: u32 = 32;

/// A head whose frames are not all there.
#[derive(Default)]
pub(super) struct Unfinished {
    pub(super) stream: u32,
    pub(super) end_stream: bool,
    /// The head's frame has this fault; it is decoded all the same.
    pub(super) fault: Option<ErrorCode>,
    pub(super) block: Vec<u8>,
    pub(super) frames: u32,
}

impl<S, H> Connection<S, H>
where
    S: AsyncRead + AsyncWrite + Unpin,
    H: FnMut(Incoming),
{
    pub(super) fn continuation(&mut self, more: &[u8], end_headers: bool) -> Result<(), Fatal> {
        let Some(unfinished) = &mut self.unfinished else {
            return Err(Fatal(ErrorCode::ProtocolError, "CONTINUATION of nothing"));
        };
        unfinished.frames += 1;
        let size = unfinished.block.len() + more.len();
        // A compressed head can be no larger than the list it stands for, by much.
        if size > self.options.head.list + MAX_FRAME as usize || unfinished.frames > CONTINUATIONS {
            return Err(Fatal(ErrorCode::EnhanceYourCalm, "a head without end"));
        }
        unfinished.block.extend_from_slice(more);
        if end_headers && let Some(whole) = self.unfinished.take() {
            return self.head(&whole, &whole.block);
        }
        Ok(())
    }

    /// Reads a whole head, and gives it to whom it concerns.
    pub(super) fn head(&mut self, start: &Unfinished, block: &[u8]) -> Result<(), Fatal> {
        let Unfinished { stream: id, end_stream, .. } = *start;
        let mut reader = HeadReader::new(self.options.head);
        // Decoded whatever becomes of it: the table is the connection's.
        self.decoder
            .decode(block, |field| reader.field(field))
            .map_err(|_| Fatal(ErrorCode::CompressionError, "a head that does not decode"))?;
        if matches!(self.role, Role::Client(_)) {
            self.check_begun(id)?;
            return match start.fault {
                Some(code) => self.reset_for_fault(id, code),
                None => self.answer_head(id, reader, end_stream),
            };
        }
        if id % 2 == 0 {
            return Err(Fatal(ErrorCode::ProtocolError, "a stream the peer may not begin"));
        }
        if let Some(code) = start.fault {
            self.last_peer_stream = self.last_peer_stream.max(id);
            return self.reset_for_fault(id, code);
        }
        if id > self.last_peer_stream {
            return self.request_head(id, reader, end_stream);
        }
        match self.streams.get(&id).map(|stream| stream.receiving) {
            Some(Receiving::Body) => self.trailers(id, reader, end_stream),
            Some(_) => self.reset_for_fault(id, ErrorCode::StreamClosed),
            None if self.abandoned.contains(id) => self.idle_talk(),
            None => Err(Fatal(ErrorCode::StreamClosed, "HEADERS on a closed stream")),
        }
    }

    fn request_head(&mut self, id: u32, reader: HeadReader, end_stream: bool) -> Result<(), Fatal> {
        self.last_peer_stream = id;
        let draining = self.closing == Closing::Draining;
        if draining || self.streams.len() >= self.options.streams as usize {
            self.abandoned.push(id);
            write::reset_stream(&mut self.output, id, ErrorCode::RefusedStream);
            // No fault of a caller that did not know of the drain, or of the limit.
            let knew = !draining && self.settings_acked;
            return if knew { self.count_fault() } else { self.idle_talk() };
        }
        self.last_taken = id;
        let is_grpc = reader.is_grpc();
        let request = match reader.request() {
            Ok(request) => request,
            Err(HeadError::Malformed(_)) => {
                return self.reset_for_fault(id, ErrorCode::ProtocolError);
            }
            Err(HeadError::TooLarge) => return self.refuse_large(id, end_stream, is_grpc),
        };
        let asks = Asks::of(&request.head);
        let owed = request.content_length.filter(|_| asks != Asks::Tunnel);
        if end_stream && owed.is_some_and(|length| length > 0) {
            return self.reset_for_fault(id, ErrorCode::ProtocolError);
        }
        let reply = Reply::new();
        reply.sent_by(&self.ready, id);
        let inbound = Pipe::new();
        let side = Side::Server { reply: reply.clone(), asks };
        self.begin(id, side, Sending::Head, inbound.clone(), owed);
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.receiving = Receiving::Body;
            if end_stream {
                stream.received_all(None);
            }
        }
        let incoming = Incoming {
            head: request.head,
            nominated: Vec::new(),
            body: inbound,
            reply,
            version: Version::Http2,
        };
        if let Role::Server { handler, .. } = &mut self.role {
            handler(incoming);
        }
        Ok(())
    }

    /// Answers a head beyond the limits: 431 (RFC 6585 section 5), or `RESOURCE_EXHAUSTED` if it
    /// was seen to be gRPC's. The stream is over.
    fn refuse_large(&mut self, id: u32, end_stream: bool, grpc: bool) -> Result<(), Fatal> {
        let mut head = ResponseHead::new(if grpc { 200 } else { 431 });
        head.fields.push(b"x-dyelane-reason", b"malformed");
        if grpc {
            head.fields.push(b"content-type", b"application/grpc");
            head.fields.push(b"grpc-status", b"8");
            head.fields.push(b"grpc-message", b"header list too large");
        }
        self.write_response(id, &head, true);
        self.abandoned.push(id);
        if !end_stream {
            write::reset_stream(&mut self.output, id, ErrorCode::NoError);
        }
        self.count_fault()
    }

    /// Enters a stream.
    pub(super) fn begin(
        &mut self,
        id: u32,
        side: Side,
        sending: Sending,
        inbound: Rc<Pipe>,
        owed: Option<u64>,
    ) {
        let ours = self.options.stream_window;
        // Until it acknowledged our settings, the peer may count on the protocol's own window.
        let granted = if self.settings_acked { ours } else { ours.max(frame::DEFAULT_WINDOW) };
        inbound.written_by(&self.ready, id, self.options.worth(), self.credit.clone());
        let stream = Stream {
            side,
            receiving: Receiving::Head,
            sending,
            inbound,
            receive_window: i64::from(granted),
            send_window: i64::from(self.peer.initial_window),
            owed,
            starved: false,
            moved: true,
            stalled_since: None,
        };
        self.streams.insert(id, stream);
        self.chatter = 0;
    }

    fn trailers(&mut self, id: u32, reader: HeadReader, end_stream: bool) -> Result<(), Fatal> {
        let trailers = reader.trailers();
        let Some(stream) = self.streams.get_mut(&id) else { return Ok(()) };
        match trailers {
            Ok(trailers) if end_stream && stream.kept_its_length() => {
                let trailers = Some(trailers).filter(|it| !it.is_empty());
                stream.moved = true;
                stream.received_all(trailers);
                self.close_if_over(id);
                Ok(())
            }
            _ => self.reset_for_fault(id, ErrorCode::ProtocolError),
        }
    }

    /// A head on a stream that we began: interim, final, or trailers.
    fn answer_head(&mut self, id: u32, reader: HeadReader, end_stream: bool) -> Result<(), Fatal> {
        let Some(stream) = self.streams.get_mut(&id) else {
            if end_stream {
                self.pace.peer_ended(id, false);
            }
            return self.idle_talk();
        };
        match stream.receiving {
            Receiving::Body => return self.trailers(id, reader, end_stream),
            Receiving::Done => return self.reset_for_fault(id, ErrorCode::StreamClosed),
            Receiving::Head => {}
        }
        let Side::Client { call, asks, .. } = &stream.side else { return Ok(()) };
        let (call, asks) = (call.clone(), *asks);
        let Checked { mut head, content_length } = match reader.response() {
            Ok(answer) => answer,
            Err(error) => {
                let why = match error {
                    HeadError::Malformed(why) => why,
                    HeadError::TooLarge => "header list too large",
                };
                self.reset_stream(id, ErrorCode::ProtocolError, CallError::Malformed(why));
                return Ok(());
            }
        };
        if head.status < 200 {
            if end_stream {
                return self.reset_for_fault(id, ErrorCode::ProtocolError);
            }
            call.event(CallEvent::Interim(head));
            return self.idle_talk();
        }
        stream.owed = match (asks, head.status) {
            // RFC 8441 section 4: agreed; between our connections that is what HTTP/1.1 says of it.
            (Asks::Tunnel, 200..=299) => {
                head.status = 101;
                head.fields.remove(b"content-length");
                None
            }
            // RFC 9110 section 6.4.1: these have no body, whatever their length says.
            (Asks::HeadOnly, _) | (_, 204 | 304) => Some(0),
            _ => content_length,
        };
        if end_stream && !stream.kept_its_length() {
            return self.reset_for_fault(id, ErrorCode::ProtocolError);
        }
        stream.receiving = Receiving::Body;
        stream.moved = true;
        if end_stream {
            stream.received_all(None);
        }
        call.event(CallEvent::Head(head));
        self.chatter = 0;
        if end_stream {
            self.close_if_over(id);
        }
        Ok(())
    }
}
