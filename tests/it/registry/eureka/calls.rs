//! Every call, by both bases.

use super::*;

#[tokio::test]
async fn an_instance_is_registered_renewed_shown_and_cancelled_by_both_bases() {
    for base in ["/eureka", "/eureka/v2"] {
        let server = Server::new().await;
        let ask = |method: &'static str, path: &str| {
            let target = format!("{base}/{path}");
            let server = &server;
            async move { server.ask(method, &target, JSON, "").await }
        };
        let body = instance("SHOP", "h:shop:80").to_string();

        let registered = server.ask("POST", &format!("{base}/apps/SHOP"), SAYS_JSON, &body).await;
        let renewed = ask("PUT", "apps/SHOP/h:shop:80?status=UP&lastDirtyTimestamp=1000").await;
        let shown = ask("GET", "apps/SHOP/h:shop:80").await;
        let cancelled = ask("DELETE", "apps/SHOP/h:shop:80").await;
        let again = ask("DELETE", "apps/SHOP/h:shop:80").await;
        let unknown = ask("PUT", "apps/SHOP/h:shop:80").await;

        assert_eq!((registered.status, registered.body.as_str()), (204, ""));
        assert_eq!((renewed.status, renewed.body.as_str()), (200, ""));
        assert_eq!(shown.json()["instance"]["instanceId"], "h:shop:80");
        assert_eq!((cancelled.status, again.status, unknown.status), (200, 404, 404));
    }
}

#[tokio::test]
async fn every_read_finds_the_instance() {
    let server = Server::new().await;
    server.put_in_plain("SHOP", "h:shop:80").await;
    server.put_in_plain("OTHER", "o").await;

    for (path, ids) in [
        ("apps", vec!["o", "h:shop:80"]),
        ("apps/", vec!["o", "h:shop:80"]),
        ("apps?regions=eu,us", vec!["o", "h:shop:80"]),
        ("apps/delta", vec!["h:shop:80", "o"]),
        ("apps/delta?regions=eu", vec!["h:shop:80", "o"]),
        ("vips/shop", vec!["h:shop:80"]),
        ("vips/SHOP/", vec!["h:shop:80"]),
        ("vips/nobody", vec![]),
        ("svips/shop", vec![]),
    ] {
        assert_eq!(server.ids(path).await, ids, "{path}");
    }
    let app = server.reads("apps/shop").await;
    assert_eq!(app["application"]["name"], "SHOP");
    assert_eq!(app["application"]["instance"][0]["instanceId"], "h:shop:80");
    for path in ["apps/shop/h%3Ashop%3A80", "instances/h:shop:80", "v2/instances/h%3ashop:80"] {
        assert_eq!(server.reads(path).await["instance"]["app"], "SHOP", "{path}");
    }
}

#[tokio::test]
async fn what_is_not_there_is_404_and_what_is_no_call_says_so() {
    let server = Server::new().await;
    server.put_in_plain("SHOP", "h").await;

    for (method, path, status) in [
        ("GET", "apps/NONE", 404),
        ("GET", "apps/SHOP/none", 404),
        ("GET", "apps/NONE/h", 404),
        ("GET", "instances/none", 404),
        ("PUT", "apps/SHOP/none", 404),
        ("DELETE", "apps/NONE/h", 404),
        ("PUT", "apps/SHOP/none/status?value=UP", 404),
        ("DELETE", "apps/SHOP/none/status", 404),
        ("PUT", "apps/SHOP/none/metadata?a=b", 404),
        ("GET", "", 404),
        ("GET", "status", 404),
        ("POST", "apps", 405),
        ("DELETE", "apps/SHOP", 405),
        ("GET", "peerreplication/batch/", 405),
        ("PUT", "apps/SHOP/h/status", 400),
        ("PUT", "apps/SHOP/h/status?value=FINE", 400),
        ("DELETE", "apps/SHOP/h/status?value=FINE", 400),
        ("PUT", "apps/SHOP/h?lastDirtyTimestamp=now", 400),
        ("GET", "apps/%zz", 400),
        ("GET", "apps/%ff", 400),
        ("PUT", "apps/SHOP/h?a=%", 400),
    ] {
        assert_eq!(server.does(method, path).await, status, "{method} {path}");
    }
}

#[tokio::test]
async fn ids_and_names_may_be_anything() {
    let server = Server::new().await;

    for (app, id, path) in [
        ("a/b", "h/x:1", "a%2Fb/h%2Fx%3A1"),
        ("größe", "ümlaut", "GR%C3%B6SSE/%C3%BCmlaut"),
        ("a b", "<&\"'>", "A%20b/%3C%26%22'%3E"),
        ("delta", "?#%", "delta/%3F%23%25"),
        ("a.b-c_d", "0", "A.B-C_D/0"),
    ] {
        let place = path.split_once('/').unwrap().0;
        let body = instance(app, id).to_string();

        let registered =
            server.ask("POST", &format!("/eureka/apps/{place}"), SAYS_JSON, &body).await;

        assert_eq!((registered.status, registered.body.as_str()), (204, ""), "{app}");
        assert_eq!(server.does("PUT", &format!("apps/{path}")).await, 200, "{path}");
        let shown = server.reads(&format!("apps/{path}")).await;
        assert_eq!(shown["instance"]["instanceId"], id);
        let xml = server.reads_xml(&format!("apps/{path}")).await;
        assert!(xml.starts_with("<instance><instanceId>"), "{xml}");
        assert_eq!(server.does("DELETE", &format!("apps/{path}")).await, 200, "{path}");
    }
}

#[tokio::test]
async fn a_virtual_address_may_be_a_list_and_a_secure_one_another() {
    let server = Server::new().await;
    let mut one = instance("SHOP", "h");
    one["instance"]["vipAddress"] = "shop, cart,Basket".into();
    one["instance"]["secureVipAddress"] = "secret".into();
    server.put_in(&one).await;
    server.put_in_plain("CART", "c").await;

    let plain = server.reads("vips/cart").await;

    assert_eq!(instances(&plain).count(), 2);
    assert_eq!(plain["applications"]["apps__hashcode"], "UP_2_");
    assert_eq!(server.ids("vips/basket").await, ["h"]);
    assert_eq!(server.ids("svips/SECRET").await, ["h"]);
    assert_eq!(server.ids("vips/secret").await, [""; 0]);
    assert_eq!(server.does("DELETE", "apps/SHOP/h").await, 200);
    assert_eq!(server.ids("vips/basket").await, [""; 0]);
}

#[tokio::test]
async fn metadata_is_merged_and_bounded() {
    let server = Server::new().await;
    let mut one = instance("SHOP", "h");
    one["instance"]["metadata"] = json!({ "color": "red", "keep": "1" });
    server.put_in(&one).await;
    let value = "x".repeat(40 << 10);

    let merged = server.does("PUT", "apps/SHOP/h/metadata?color=blue&a+b=%26").await;
    let shown = server.shown("SHOP", "h").await;
    let large = server.does("PUT", &format!("apps/SHOP/h/metadata?large={value}")).await;
    let too_large = server.does("PUT", &format!("apps/SHOP/h/metadata?larger={value}")).await;

    assert_eq!((merged, large, too_large), (200, 200, 400));
    assert_eq!(shown["metadata"], json!({ "color": "blue", "keep": "1", "a b": "&" }));
    let shown = server.shown("SHOP", "h").await;
    assert_eq!(shown["metadata"].as_object().unwrap().len(), 4);
}

#[tokio::test]
async fn a_full_registry_says_so_and_renews_who_is_there() {
    let mut settings = Settings::default();
    settings.store.capacity = 2;
    let server = Server::with(settings).await;
    server.put_in_plain("SHOP", "h").await;

    let refused = server.put_in(&instance("SHOP", "i")).await;

    assert_eq!((refused.status, refused.field("retry-after")), (503, Some("1")));
    assert_eq!(server.does("PUT", "apps/SHOP/h").await, 200);
}

#[tokio::test]
async fn nobody_registers_as_the_registry_itself() {
    let server = Server::new().await;

    let refused = server.put_in(&instance("INFRA.DISCOVERY", "h")).await;

    assert_eq!(refused.status, 400);
    assert_eq!(server.ids("apps").await, [""; 0]);
    assert_eq!(server.does("GET", "apps/INFRA.DISCOVERY").await, 404);
}
