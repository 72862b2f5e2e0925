//! What a Eureka server says, read leniently, and an instance of it in the words of the catalog.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use serde::de::value::MapAccessDeserializer;
use serde::{Deserialize, Deserializer};

use crate::config::EurekaSource;
use crate::discovery::loose::{self, Object, Several, Shape, Text, Texts};
use crate::discovery::usable::{Unusable, first, lane, reachable, shown, weight};
use crate::model::{self, Origin, ServiceName, Status};

/// `GET apps/` and `GET apps/delta`.
#[derive(Debug, Default, Deserialize)]
pub(in crate::discovery) struct Answer {
    pub(in crate::discovery) applications: Object<Applications>,
}

/// Applications, and what their instances sum up to.
#[derive(Debug, Deserialize)]
pub(in crate::discovery) struct Applications {
    /// The instances there are of each status: `DOWN_1_UP_12_`. None: it does not say.
    #[serde(default, rename = "apps__hashcode")]
    pub(in crate::discovery) hash: Option<Text>,
    #[serde(default)]
    pub(in crate::discovery) application: Several<Application>,
}

/// One application.
#[derive(Debug, Deserialize)]
pub(in crate::discovery) struct Application {
    #[serde(default)]
    pub(in crate::discovery) name: Text,
    #[serde(default)]
    pub(in crate::discovery) instance: Several<Instance>,
}

/// One instance.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::discovery) struct Instance {
    #[serde(default, rename = "instanceId")]
    own_id: Text,
    #[serde(default)]
    host_name: Text,
    #[serde(default)]
    app: Text,
    #[serde(default)]
    ip_addr: Text,
    #[serde(default)]
    status: Text,
    #[serde(default)]
    port: Port,
    #[serde(default)]
    secure_port: Port,
    #[serde(default)]
    vip_address: Text,
    #[serde(default)]
    metadata: Texts,
    #[serde(default)]
    data_center_info: Object<DataCenter>,
    #[serde(default)]
    pub(in crate::discovery) action_type: Text,
}

#[derive(Debug, Deserialize)]
struct DataCenter {
    #[serde(default)]
    metadata: Texts,
}

/// A port: `{"$": 80, "@enabled": "true"}`, or a number.
#[derive(Debug, Default)]
struct Port {
    number: Option<u16>,
    is_enabled: bool,
}

#[derive(Deserialize)]
struct PortObject {
    #[serde(default, rename = "$")]
    number: Text,
    #[serde(default, rename = "@enabled")]
    enabled: Text,
}

impl<'de> Shape<'de> for Port {
    fn scalar(text: &str) -> Self {
        Self { number: text.parse().ok(), is_enabled: true }
    }

    fn object<A: serde::de::MapAccess<'de>>(all: A) -> Result<Self, A::Error> {
        let it = PortObject::deserialize(MapAccessDeserializer::new(all))?;
        let is_enabled = !it.enabled.0.eq_ignore_ascii_case("false");
        Ok(Self { number: it.number.0.parse().ok(), is_enabled })
    }
}

impl<'de> Deserialize<'de> for Port {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        loose::any(from)
    }
}

/// Metadata keys that name things.
#[derive(Debug, Clone, Default)]
pub(in crate::discovery) struct Keys {
    lane: Vec<Arc<str>>,
    cluster: Vec<Arc<str>>,
    zone: Vec<Arc<str>>,
    weight: Vec<Arc<str>>,
}

impl Keys {
    /// The keys that a file names.
    pub(in crate::discovery) fn of(source: &EurekaSource) -> Self {
        Self {
            lane: source.lane_keys.clone(),
            cluster: source.cluster_keys.clone(),
            zone: source.zone_keys.clone(),
            weight: source.weight_keys.clone(),
        }
    }

    fn has(&self, key: &Arc<str>) -> bool {
        [&self.lane, &self.cluster, &self.zone, &self.weight].iter().any(|it| it.contains(key))
    }
}

impl Instance {
    /// Returns what tells it from others of its application.
    pub(in crate::discovery) fn id(&self) -> &Arc<str> {
        let data_center = self.data_center_info.0.as_ref();
        let amazon = data_center.and_then(|it| it.metadata.0.get("instance-id"));
        let given = [Some(&self.own_id), amazon].into_iter().flatten();
        let given = given.map(|it| &it.0).find(|it| !it.is_empty());
        given.unwrap_or(&self.host_name.0)
    }

    /// Returns its status in capitals; UP if it says none, as servers have it.
    pub(in crate::discovery) fn status(&self) -> String {
        let status = self.status.0.to_ascii_uppercase();
        if status.is_empty() { "UP".to_owned() } else { status }
    }

    /// Returns the service it is of: what its `vipAddress` says first, in lower case and without a
    /// port, or else its application, `app` unless it says another.
    fn service(&self, app: &str) -> Result<ServiceName, Unusable> {
        let vips = self.vip_address.0.split(',').map(str::trim);
        let vips = vips.map(|it| it.split_once(':').map_or(it, |(name, _)| name));
        let mut vips = vips.filter_map(|it| ServiceName::new(&it.to_lowercase()).ok());
        if let Some(vip) = vips.next() {
            return Ok(vip);
        }
        let own = if app.is_empty() { &*self.app.0 } else { app };
        ServiceName::new(&own.to_lowercase()).map_err(|why| Unusable::Service(shown(own), why))
    }

    /// Returns where it takes requests. A port that speaks TLS counts only if no other is open.
    fn address(&self) -> Result<SocketAddr, Unusable> {
        let open = |it: &Port| it.number.filter(|port| it.is_enabled && *port > 0);
        let port = open(&self.port).or_else(|| open(&self.secure_port));
        let port = port.ok_or(Unusable::NoAddress)?;
        let ips = [&self.ip_addr.0, &self.host_name.0];
        let ip = ips.iter().find_map(|it| it.trim().parse::<IpAddr>().ok());
        let ip = ip.ok_or_else(|| match ips.iter().find(|it| !it.is_empty()) {
            Some(host) => Unusable::Address(shown(&format!("{host}:{port}"))),
            None => Unusable::NoAddress,
        })?;
        reachable(SocketAddr::new(ip, port))
    }

    /// Puts it into the catalog's words; `app` is the application it is listed under.
    ///
    /// # Errors
    /// Nobody could send a request there.
    pub(in crate::discovery) fn instance(
        &self,
        app: &str,
        keys: &Keys,
    ) -> Result<model::Instance, Unusable> {
        let metadata = &self.metadata.0;
        let text = |text: &str| Some(Arc::from(text)).filter(|it: &Arc<str>| !it.is_empty());
        let said = |keys: &[Arc<str>]| first(metadata, keys).and_then(text);
        let data_center = self.data_center_info.0.as_ref().map(|it| &it.metadata.0);
        let zone = said(&keys.zone)
            .or_else(|| data_center.and_then(|it| first(it, &keys.zone)).and_then(text));
        let given = first(metadata, &keys.weight);
        let is_up = self.status() == "UP" && given.is_none_or(|it| it.trim() != "0");
        let rest = metadata.iter().filter(|(key, _)| !key.starts_with('@') && !keys.has(key));
        let rest = rest.filter(|(key, _)| &***key != "version");
        let service = self.service(app)?;
        Ok(model::Instance {
            lane: lane(first(metadata, &keys.lane))?,
            weight: given.and_then(weight).unwrap_or(model::Instance::DEFAULT_WEIGHT),
            zone,
            cluster: said(&keys.cluster),
            version: first(metadata, &["version"]).and_then(text),
            status: if is_up { Status::Up } else { Status::Down },
            origin: Origin::Eureka,
            hostname: text(self.id()),
            metadata: rest.map(|(key, it)| (key.to_string(), it.0.to_string())).collect(),
            ..model::Instance::new(service, self.address()?)
        })
    }
}

/// Returns what instances of these statuses sum up to, as servers write it.
pub(in crate::discovery) fn sum<'a>(statuses: impl IntoIterator<Item = &'a str>) -> String {
    let mut counts = BTreeMap::<&str, usize>::new();
    for status in statuses {
        *counts.entry(status).or_default() += 1;
    }
    let mut sum = String::new();
    for (status, count) in counts {
        let _ = write!(sum, "{status}_{count}_");
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys() -> Keys {
        let all = |it: &[&str]| it.iter().map(|it| Arc::from(*it)).collect();
        Keys {
            lane: all(&["color", "lane"]),
            cluster: all(&["cluster"]),
            zone: all(&["zone", "availability-zone"]),
            weight: all(&["weight"]),
        }
    }

    fn read(json: &str) -> Result<model::Instance, Unusable> {
        let instance: Instance = serde_json::from_str(json).unwrap();
        instance.instance("USER", &keys())
    }

    const PLAIN: &str = r#""ipAddr":"10.0.0.1","port":{"$":80,"@enabled":"true"},"status":"UP""#;

    fn with(more: &str) -> Result<model::Instance, Unusable> {
        read(&format!("{{{PLAIN},{more}}}"))
    }

    #[test]
    fn a_service_is_called_what_its_vip_says() {
        for (json, name) in [
            (r#""vipAddress":"User.Shop""#, "user.shop"),
            (r#""vipAddress":"user.shop:8080,other""#, "user.shop"),
            (r#""vipAddress":"${vip},second""#, "second"),
            (r#""vipAddress":"""#, "user"),
            (r#""app":"OTHER""#, "user"),
        ] {
            assert_eq!(with(json).unwrap().service.as_str(), name, "{json}");
        }
    }

    #[test]
    fn metadata_says_lane_cluster_zone_and_weight() {
        let said = r#""metadata":{"@class":"x","color":"","lane":"alice","cluster":"c","weight":7,
            "version":2,"team":"a"},"instanceId":"i-1",
            "dataCenterInfo":{"metadata":{"availability-zone":"z1"}}"#;

        let it = with(said).unwrap();

        assert_eq!(it.lane.unwrap().as_str(), "alice");
        assert_eq!((it.cluster.as_deref(), it.zone.as_deref()), (Some("c"), Some("z1")));
        assert_eq!((it.weight, it.version.as_deref()), (7, Some("2")));
        assert_eq!((it.hostname.as_deref(), it.origin), (Some("i-1"), Origin::Eureka));
        assert_eq!(it.metadata, BTreeMap::from([("team".to_owned(), "a".to_owned())]));
    }

    #[test]
    fn only_up_is_up_and_no_weight_is_no_traffic() {
        for (json, is_up) in [
            (r#""status":"UP""#, true),
            (r#""status":"up""#, true),
            (r#""x":1"#, true),
            (r#""status":"OUT_OF_SERVICE""#, false),
            (r#""status":"STARTING""#, false),
            (r#""metadata":{"weight":"0"}"#, false),
        ] {
            let plain = PLAIN.replace(r#","status":"UP""#, "");

            let it = read(&format!("{{{plain},{json}}}")).unwrap();

            assert_eq!(it.status == Status::Up, is_up, "{json}");
        }
    }

    #[test]
    fn ports_are_written_in_many_ways() {
        for (json, expected) in [
            (r#""port":8080"#, Ok(8080)),
            (r#""port":"8080""#, Ok(8080)),
            (r#""port":{"$":"8080","@enabled":true}"#, Ok(8080)),
            (
                r#""port":{"$":8080,"@enabled":"false"},"securePort":{"$":8443,"@enabled":"true"}"#,
                Ok(8443),
            ),
            (
                r#""port":{"$":8080,"@enabled":"true"},"securePort":{"$":8443,"@enabled":"true"}"#,
                Ok(8080),
            ),
            (
                r#""port":{"$":8080,"@enabled":false},"securePort":{"$":443,"@enabled":"false"}"#,
                Err(Unusable::NoAddress),
            ),
            (r#""port":0"#, Err(Unusable::NoAddress)),
            (r#""port":null"#, Err(Unusable::NoAddress)),
        ] {
            let port =
                read(&format!(r#"{{"ipAddr":"10.0.0.1",{json}}}"#)).map(|it| it.address.port());

            assert_eq!(port, expected, "{json}");
        }
    }

    #[test]
    fn a_host_must_be_an_address() {
        let by_host = read(r#"{"hostName":"10.0.0.7","ipAddr":"","port":80}"#).unwrap();
        let named = read(r#"{"hostName":"user-1","port":80}"#);

        assert_eq!(by_host.address.to_string(), "10.0.0.7:80");
        assert_eq!(named, Err(Unusable::Address("user-1:80".into())));
    }

    #[test]
    fn a_sum_counts_statuses_in_order_of_their_names() {
        assert_eq!(sum(["UP", "DOWN", "UP"]), "DOWN_1_UP_2_");
        assert_eq!(sum([]), "");
    }
}
