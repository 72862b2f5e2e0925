//! A caller of HTTP/2 that sends whatever it is told, well-formed or not.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::within;

const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;

/// How a request ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// There was an answer, whatever it says.
    Answered,
    /// The stream or the connection was ended.
    Reset,
}

/// A caller whose fields are nobody's business.
pub(crate) struct Raw {
    stream: TcpStream,
    next: u32,
}

impl Raw {
    pub(crate) async fn to(address: SocketAddr) -> Self {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let mut start = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        start.extend(frame(SETTINGS, 0, 0, &[]));
        within(stream.write_all(&start)).await.unwrap();
        Self { stream, next: 1 }
    }

    /// Sends a request of these fields and this body, and returns how it ended.
    pub(crate) async fn request(&mut self, fields: &[(&[u8], &[u8])], body: Option<&[u8]>) -> End {
        let id = self.next;
        self.next += 2;
        let mut block = Vec::new();
        for (name, value) in fields {
            // A literal without indexing, nothing compressed (RFC 7541 section 6.2.2).
            block.push(0);
            for text in [name, value] {
                block.push(u8::try_from(text.len()).ok().filter(|it| *it < 127).unwrap());
                block.extend_from_slice(text);
            }
        }
        let mut bytes = frame(HEADERS, if body.is_some() { 4 } else { 5 }, id, &block);
        if let Some(body) = body {
            bytes.extend(frame(0, 1, id, body));
        }
        within(self.stream.write_all(&bytes)).await.unwrap();
        within(self.end(id)).await
    }

    async fn end(&mut self, id: u32) -> End {
        loop {
            let mut head = [0; 9];
            if self.stream.read_exact(&mut head).await.is_err() {
                return End::Reset;
            }
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let mut payload = vec![0; length as usize];
            self.stream.read_exact(&mut payload).await.unwrap();
            let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
            match head[3] {
                HEADERS if stream == id => return End::Answered,
                RST_STREAM if stream == id => return End::Reset,
                GOAWAY => return End::Reset,
                _ => {}
            }
        }
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend(stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}
