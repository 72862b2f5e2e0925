//! Small servers that say who they are.

use bytes::Bytes;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// Serves each connection of `listener` in a task of its own, until the test's runtime ends.
fn serve<F: Future<Output = ()> + Send + 'static>(
    listener: TcpListener,
    connection: impl Fn(TcpStream) -> F + Send + 'static,
) {
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(connection(stream));
        }
    });
}

/// Answers every request of HTTP/1.1 with `name`.
pub(crate) fn http1(listener: TcpListener, name: &'static str) {
    serve(listener, async move |stream| {
        let (reader, mut writer) = stream.into_split();
        let mut lines = BufReader::new(reader).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            if line.is_empty() {
                let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", name.len());
                writer.write_all((head + name).as_bytes()).await.unwrap();
            }
        }
    });
}

/// Answers every request of HTTP/2 with `name`.
pub(crate) fn http2(listener: TcpListener, name: &'static str) {
    serve(listener, async move |stream| {
        let Ok(mut connection) = h2::server::handshake(stream).await else { return };
        while let Some(Ok((_, mut respond))) = connection.accept().await {
            let mut body = respond.send_response(http::Response::new(()), false).unwrap();
            body.send_data(Bytes::from_static(name.as_bytes()), true).unwrap();
        }
    });
}

/// Says `greeting`, sends back what it is sent, and says `farewell` when that ends.
pub(crate) fn echo(listener: TcpListener, greeting: &'static str, farewell: &'static str) {
    serve(listener, async move |mut stream| {
        stream.write_all(greeting.as_bytes()).await.unwrap();
        let (mut reader, mut writer) = stream.split();
        tokio::io::copy(&mut reader, &mut writer).await.unwrap();
        writer.write_all(farewell.as_bytes()).await.unwrap();
    });
}
