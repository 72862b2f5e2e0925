//! Whose word on an instance's status counts, and whose version of its content.

use super::*;

async fn status(server: &Server) -> (String, String) {
    let shown = server.shown("SHOP", "h").await;
    (text(&shown["status"]), text(&shown["overriddenStatus"]))
}

fn both(status: &str, overridden: &str) -> (String, String) {
    (status.to_owned(), overridden.to_owned())
}

fn says(said: &str, dirty: u64) -> Value {
    let mut one = instance("SHOP", "h");
    one["instance"]["status"] = said.into();
    one["instance"]["lastDirtyTimestamp"] = dirty.into();
    one
}

#[tokio::test]
async fn a_status_that_was_put_over_an_instances_own_outlives_its_registering_again() {
    let server = Server::new().await;
    server.put_in(&says("UP", 1000)).await;

    assert_eq!(server.does("PUT", "apps/SHOP/h/status?value=OUT_OF_SERVICE").await, 200);
    assert_eq!(status(&server).await, both("OUT_OF_SERVICE", "OUT_OF_SERVICE"));
    assert_eq!(server.does("PUT", "apps/SHOP/h?status=UP").await, 200);
    server.put_in(&says("UP", 2000)).await;
    assert_eq!(status(&server).await, both("OUT_OF_SERVICE", "OUT_OF_SERVICE"));
    // Of these an instance knows best; what was put over it is kept.
    server.put_in(&says("DOWN", 3000)).await;
    assert_eq!(status(&server).await, both("DOWN", "OUT_OF_SERVICE"));
    server.put_in(&says("UP", 4000)).await;
    assert_eq!(status(&server).await, both("OUT_OF_SERVICE", "OUT_OF_SERVICE"));
    assert_eq!(server.does("DELETE", "apps/SHOP/h/status?value=UP").await, 200);
    assert_eq!(status(&server).await, both("UP", "UNKNOWN"));
}

#[tokio::test]
async fn an_operator_may_put_an_instance_into_traffic_that_has_not_said_so() {
    let server = Server::new().await;
    server.put_in(&says("STARTING", 1000)).await;

    assert_eq!(
        server.does("PUT", "apps/SHOP/h/status?value=up&lastDirtyTimestamp=5000").await,
        200
    );

    assert_eq!(status(&server).await, both("UP", "UP"));
    assert_eq!(server.shown("SHOP", "h").await["lastDirtyTimestamp"], "5000");
}

#[tokio::test]
async fn once_a_status_is_taken_back_without_another_the_instance_is_asked_to_register() {
    let server = Server::new().await;
    server.put_in(&says("UP", 1000)).await;
    server.does("PUT", "apps/SHOP/h/status?value=DOWN").await;

    assert_eq!(server.does("DELETE", "apps/SHOP/h/status").await, 200);
    assert_eq!(status(&server).await, both("UNKNOWN", "UNKNOWN"));
    assert_eq!(server.does("PUT", "apps/SHOP/h").await, 404);
    server.put_in(&says("UP", 1000)).await;
    assert_eq!(status(&server).await, both("UP", "UNKNOWN"));
    assert_eq!(server.does("PUT", "apps/SHOP/h").await, 200);
    // There is none to take back any more.
    assert_eq!(server.does("DELETE", "apps/SHOP/h/status").await, 200);
    assert_eq!(status(&server).await, both("UP", "UNKNOWN"));
}

#[tokio::test]
async fn what_an_instance_says_of_itself_is_believed() {
    let server = Server::new().await;

    for said in ["UP", "OUT_OF_SERVICE", "UP", "DOWN", "STARTING", "UP"] {
        server.put_in(&says(said, 1000)).await;

        assert_eq!(status(&server).await, both(said, "UNKNOWN"));
    }
}

#[tokio::test]
async fn an_older_content_does_not_replace_a_newer_one() {
    let server = Server::new().await;
    let at = |dirty: u64, port: u16| {
        let mut one = says("UP", dirty);
        one["instance"]["port"] = port.into();
        one
    };
    server.put_in(&at(2000, 1)).await;

    for (dirty, port, seen) in [(1999, 2, 1), (2000, 3, 3), (2001, 4, 4), (0, 5, 5)] {
        assert_eq!(server.put_in(&at(dirty, port)).await.status, 204);

        assert_eq!(server.shown("SHOP", "h").await["port"]["$"], seen, "{dirty}");
    }
}

#[tokio::test]
async fn a_heartbeat_tells_by_its_version_who_is_behind() {
    let server = Server::new().await;
    server.put_in(&says("UP", 2000)).await;
    let peer = "x-netflix-discovery-replication: true\r\n";

    for (dirty, from_client, from_peer) in
        [("1999", 200, 409), ("2000", 200, 200), ("2001", 404, 404), ("", 200, 200)]
    {
        let path = format!("/eureka/apps/SHOP/h?status=UP&lastDirtyTimestamp={dirty}");
        let client = server.ask("PUT", &path, JSON, "").await;
        let passed = server.ask("PUT", &path, &format!("{JSON}{peer}"), "").await;

        assert_eq!((client.status, passed.status), (from_client, from_peer), "{dirty}");
        if from_peer == 409 {
            assert_eq!(passed.json()["instance"]["lastDirtyTimestamp"], "2000");
        }
    }
}

#[tokio::test]
async fn an_instance_that_registers_all_the_time_changes_nothing() {
    let server = Server::new().await;
    server.put_in(&says("UP", 2000)).await;
    let version = async || {
        let list = server.reads("apps/delta").await;
        text(&list["applications"]["versions__delta"])
    };
    let before = version().await;
    let heard = server.shown("SHOP", "h").await["leaseInfo"]["lastRenewalTimestamp"].as_u64();

    server.put_in(&says("UP", 2000)).await;

    assert_eq!(version().await, before);
    let now = server.shown("SHOP", "h").await["leaseInfo"]["lastRenewalTimestamp"].as_u64();
    assert!(now > heard, "{now:?} {heard:?}");
    server.put_in(&says("UP", 2001)).await;
    assert_ne!(version().await, before);
}
