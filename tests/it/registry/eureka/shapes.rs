//! Answers to the byte: what clients were seen to need is in them.

use super::*;

const INSTANCE_JSON: &str = r#"{"instanceId":"h:a:80","hostName":"host-1","app":"A","ipAddr":"10.0.0.1","status":"UP","overriddenStatus":"UNKNOWN","port":{"$":80,"@enabled":"true"},"securePort":{"$":7002,"@enabled":"false"},"countryId":1,"dataCenterInfo":{"@class":"com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo","name":"MyOwn"},"leaseInfo":{"renewalIntervalInSecs":30,"durationInSecs":90,"registrationTimestamp":TIME,"lastRenewalTimestamp":TIME,"evictionTimestamp":0,"serviceUpTimestamp":TIME},"metadata":{"1st":"<&>","a b":"x","my_key":"red"},"homePageUrl":"http://h/?a&b","isCoordinatingDiscoveryServer":"false","vipAddress":"a","lastUpdatedTimestamp":"TIME","lastDirtyTimestamp":"1000","actionType":"ADDED"}"#;

const INSTANCE_XML: &str = r#"<instance><instanceId>h:a:80</instanceId><hostName>host-1</hostName><app>A</app><ipAddr>10.0.0.1</ipAddr><status>UP</status><overriddenstatus>UNKNOWN</overriddenstatus><port enabled="true">80</port><securePort enabled="false">7002</securePort><countryId>1</countryId><dataCenterInfo class="com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo"><name>MyOwn</name></dataCenterInfo><leaseInfo><renewalIntervalInSecs>30</renewalIntervalInSecs><durationInSecs>90</durationInSecs><registrationTimestamp>TIME</registrationTimestamp><lastRenewalTimestamp>TIME</lastRenewalTimestamp><evictionTimestamp>0</evictionTimestamp><serviceUpTimestamp>TIME</serviceUpTimestamp></leaseInfo><metadata><_.0031st>&lt;&amp;&gt;</_.0031st><a_.0020b>x</a_.0020b><my_key>red</my_key></metadata><homePageUrl>http://h/?a&amp;b</homePageUrl><isCoordinatingDiscoveryServer>false</isCoordinatingDiscoveryServer><vipAddress>a</vipAddress><lastUpdatedTimestamp>TIME</lastUpdatedTimestamp><lastDirtyTimestamp>1000</lastDirtyTimestamp><actionType>ADDED</actionType></instance>"#;

async fn server() -> Server {
    let server = Server::new().await;
    let mut one = instance("A", "h:a:80");
    one["instance"]["metadata"] = json!({ "my_key": "red", "a b": "x", "1st": "<&>" });
    one["instance"]["homePageUrl"] = "http://h/?a&b".into();
    assert_eq!(server.put_in(&one).await.status, 204);
    server
}

#[tokio::test]
async fn json_is_what_clients_read() {
    let server = server().await;
    let read = async |path: &str| {
        let told = server.ask("GET", &format!("/eureka/{path}"), JSON, "").await;
        assert_eq!(told.field("content-type"), Some("application/json"));
        assert_eq!(told.field("vary"), Some("accept, accept-encoding"));
        without_times(&told.body)
    };

    let list = |version: &str| {
        let head = format!(r#"{{"versions__delta":"{version}","apps__hashcode":"UP_1_""#);
        let apps = format!(r#"[{{"name":"A","instance":[{INSTANCE_JSON}]}}]"#);
        format!(r#"{{"applications":{head},"application":{apps}}}}}"#)
    };
    assert_eq!(read("apps/").await, list("1"));
    assert_eq!(read("apps/delta").await, list("TIME"));
    assert_eq!(read("vips/a").await, list("1"));
    let app = format!(r#"{{"application":{{"name":"A","instance":[{INSTANCE_JSON}]}}}}"#);
    assert_eq!(read("apps/A").await, app);
    let one = format!(r#"{{"instance":{INSTANCE_JSON}}}"#);
    assert_eq!(read("apps/A/h:a:80").await, one);
    assert_eq!(read("instances/h:a:80").await, one);
}

#[tokio::test]
async fn xml_is_what_clients_read() {
    let server = server().await;
    let read = async |path: &str| without_times(&server.reads_xml(path).await);

    let list = |version: &str| {
        let head = format!("<versions__delta>{version}</versions__delta>");
        let hash = "<apps__hashcode>UP_1_</apps__hashcode>";
        let apps = format!("<application><name>A</name>{INSTANCE_XML}</application>");
        format!("<applications>{head}{hash}{apps}</applications>")
    };
    assert_eq!(read("apps/").await, list("1"));
    assert_eq!(read("apps/delta").await, list("TIME"));
    assert_eq!(read("vips/a").await, list("1"));
    let app = format!("<application><name>A</name>{INSTANCE_XML}</application>");
    assert_eq!(read("apps/A").await, app);
    assert_eq!(read("apps/A/h:a:80").await, INSTANCE_XML);
    assert_eq!(read("instances/h:a:80").await, INSTANCE_XML);
}

#[tokio::test]
async fn an_empty_registry_is_a_list_all_the_same() {
    let server = Server::new().await;

    for path in ["apps", "apps/delta", "vips/none"] {
        let list = server.reads(path).await;
        assert_eq!(list["applications"]["application"], json!([]), "{path}");
        assert_eq!(list["applications"]["apps__hashcode"], "");
        let xml = server.reads_xml(path).await;
        assert!(xml.starts_with("<applications><versions__delta>"), "{xml}");
        assert!(xml.ends_with("<apps__hashcode></apps__hashcode></applications>"), "{xml}");
    }
}

#[tokio::test]
async fn empty_metadata_is_written_as_java_does() {
    let server = Server::new().await;
    server.put_in_plain("A", "h").await;

    let shown = server.shown("A", "h").await;
    let xml = server.reads_xml("apps/A/h").await;

    assert_eq!(shown["metadata"], json!({ "@class": "java.util.Collections$EmptyMap" }));
    assert!(xml.contains("<metadata class=\"java.util.Collections$EmptyMap\"/>"), "{xml}");
}

#[tokio::test]
async fn who_does_not_ask_for_json_is_given_xml() {
    let server = server().await;

    for (accept, kind) in [
        ("", "application/xml"),
        ("accept: */*\r\n", "application/xml"),
        ("accept: application/xml\r\n", "application/xml"),
        ("accept: text/html\r\n", "application/xml"),
        ("accept: application/json\r\n", "application/json"),
        ("accept: Application/JSON;q=0.9, */*;q=0.1\r\n", "application/json"),
        ("accept: text/plain\r\naccept: application/*+json\r\n", "application/json"),
    ] {
        let told = server.ask("GET", "/eureka/apps", accept, "").await;
        assert_eq!(told.field("content-type"), Some(kind), "{accept}");
    }
}
