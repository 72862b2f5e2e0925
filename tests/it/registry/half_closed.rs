//! Clients that say at once that they have nothing more to ask.

use super::*;

impl Server {
    /// Asks, closes its half of the connection, and reads to the end.
    async fn ask_and_close(&self, method: &str, target: &str, body: &str) -> Told {
        let mut stream = self.send(method, target, "", body).await;
        stream.shutdown().await.unwrap();
        answer(stream).await
    }
}

#[tokio::test]
async fn who_closes_its_half_is_answered_all_the_same() {
    let server = Server::new().await;
    let pad = "x".repeat(900);
    for number in 0..2000 {
        server.put(&format!("h{number}"), &pad);
    }

    for _ in 0..3 {
        let told =
            server.ask_and_close("GET", "/discovery/fetch?env=prod&appid=a&status=1", "").await;

        let length: usize = told.field("content-length").unwrap().parse().unwrap();
        assert_eq!((told.status, told.body.len()), (200, length));
        assert_eq!(told.json()["data"]["instances"]["z"].as_array().unwrap().len(), 2000);
        // Another answer is to be made.
        server.put("h0", &format!("y{pad}"));
    }
}

#[tokio::test]
async fn who_closes_its_half_has_what_is_there_and_waits_for_nothing() {
    let server = Server::new().await;
    server.register("a", "h").await;
    let latest = server.latest("a").await;
    let poll =
        |latest| format!("/discovery/polls?env=prod&hostname=me&appid=a&latest_timestamp={latest}");

    let news = server.ask_and_close("GET", &poll(0), "").await;
    let mut held = server.send("GET", &poll(latest), "", "").await;
    server.watchers(1).await;
    held.shutdown().await.unwrap();
    server.watchers(0).await;
    let mut rest = Vec::new();
    within(held.read_to_end(&mut rest)).await.unwrap();

    assert_eq!(news.code(), 0);
    assert_eq!(rest, b"");
}

#[tokio::test]
async fn nobody_works_for_who_gives_up_in_a_queue() {
    let server = Server::new().await;
    let gate = &server.node().admission().everything;
    let places = [gate.enter().await.unwrap(), gate.enter().await.unwrap()];

    let mut queued = server.send("GET", "/discovery/fetch/all", "", "").await;
    queued.shutdown().await.unwrap();
    let mut told = Vec::new();
    within(queued.read_to_end(&mut told)).await.unwrap();

    // Who waits for his place until the end is told that there was none.
    assert_eq!(told, b"");
    drop(places);
    assert_eq!(server.get("/discovery/fetch/all").await.code(), 0);
}

#[tokio::test]
async fn nothing_stays_of_a_connection_that_ends_wherever_it_is() {
    let server = Server::new().await;
    let whole = "GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n";
    let cut_off = "POST /discovery/renew HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\nzone";

    for (said, status) in [("", ""), ("GET /hea", ""), (whole, "200"), (cut_off, "400")] {
        let mut stream = TcpStream::connect(server.registry.address()).await.unwrap();
        stream.write_all(said.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut told = String::new();
        within(stream.read_to_string(&mut told)).await.unwrap();

        assert_eq!(told.split(' ').nth(1).unwrap_or_default(), status, "{said:?}: {told:?}");
        until(|| server.node().metrics().connections.get() == 0).await;
    }
}
