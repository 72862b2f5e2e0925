"""The proxies that are measured: where each comes from, how it is configured, how it is started.

All do the same work with one worker: HTTP/2 without TLS in, HTTP/2 without TLS out, access log
off, no buffering of bodies. The configurations are as small as is fair. Those of `dyelane`,
`dyelane-in` and `envoy-full` send the tenant `alice` to one backend and all others to another.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

BASELINE_PORT = 18080
LANE_PORT = 18081
# Instances of the memory measurement that are never asked: nothing listens there.
STRANGERS = [(f"10.0.{number // 256}.{number % 256}", 8080) for number in range(20_000)]


@dataclass(frozen=True)
class Peer:
    """A proxy: `configure(directory, port, endpoints)` writes its files and gives the arguments."""

    name: str
    title: str
    binary: str
    port: int
    configure: Callable[[Path, int, int], list]
    routes_tenants: bool = False


def envoy_cluster(name: str, port: int, endpoints: int, features: dict) -> dict:
    """A cluster of one backend, or of it and strangers."""
    addresses = [("127.0.0.1", port), *STRANGERS[: max(0, endpoints - 1)]]
    hosts = [
        {"endpoint": {"address": {"socket_address": {"address": host, "port_value": number}}}}
        for host, number in addresses
    ]
    http2 = {
        "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": {"http2_protocol_options": {}},
    }
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": hosts}]},
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": http2
        },
        **features,
    }


def envoy_bootstrap(port: int, manager: dict, router: dict, routes: list, clusters: list) -> dict:
    """A bootstrap with one listener and the router as its only filter."""
    connection_manager = {
        "@type": "type.googleapis.com/envoy.extensions.filters.network."
        "http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "outbound",
        "codec_type": "HTTP2",
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]},
        "http_filters": [
            {
                "name": "envoy.filters.http.router",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router",
                    **router,
                },
            }
        ],
        **manager,
    }
    listener = {
        "name": "outbound",
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
        "filter_chains": [
            {
                "filters": [
                    {
                        "name": "envoy.filters.network.http_connection_manager",
                        "typed_config": connection_manager,
                    }
                ]
            }
        ],
    }
    return {"static_resources": {"listeners": [listener], "clusters": clusters}}


def envoy_arguments(directory: Path, bootstrap: dict) -> list:
    """Writes the bootstrap; one worker, no hot-restart files shared with another Envoy."""
    file = directory / "envoy.json"
    file.write_text(json.dumps(bootstrap, indent=1))
    return ["-c", file, "--concurrency", 1, "--disable-hot-restart", "--log-level", "warning"]


def envoy(directory: Path, port: int, endpoints: int) -> list:
    """Few features: one route to one cluster, no statistics, no headers of its own."""
    routes = [{"match": {"prefix": "/"}, "route": {"cluster": "baseline", "timeout": "0s"}}]
    clusters = [envoy_cluster("baseline", BASELINE_PORT, endpoints, {})]
    manager = {"generate_request_id": False, "server_header_transformation": "PASS_THROUGH"}
    router = {"suppress_envoy_headers": True, "dynamic_stats": False}
    bootstrap = envoy_bootstrap(port, manager, router, routes, clusters)
    bootstrap["stats_config"] = {"stats_matcher": {"reject_all": True}}
    return envoy_arguments(directory, bootstrap)


def envoy_full(directory: Path, port: int, endpoints: int) -> list:
    """What a mesh usually turns on: routing on the tenant, retries, outlier detection, ids."""
    action = {
        "timeout": "30s",
        "retry_policy": {
            "retry_on": "connect-failure,refused-stream,unavailable,reset-before-request",
            "num_retries": 2,
        },
        "max_stream_duration": {"grpc_timeout_header_max": "30s"},
    }
    tenant = {"name": "baggage", "string_match": {"contains": "tenant=alice"}}
    routes = [
        {
            "match": {"prefix": "/", "headers": [tenant]},
            "route": {"cluster": "alice", **action},
        },
        {"match": {"prefix": "/"}, "route": {"cluster": "baseline", **action}},
    ]
    features = {
        "lb_policy": "LEAST_REQUEST",
        "outlier_detection": {"consecutive_5xx": 5, "max_ejection_percent": 50},
        "circuit_breakers": {
            "thresholds": [{"max_requests": 100000, "max_pending_requests": 1024}]
        },
    }
    clusters = [
        envoy_cluster("alice", LANE_PORT, 1, features),
        envoy_cluster("baseline", BASELINE_PORT, endpoints, features),
    ]
    manager = {"use_remote_address": True, "preserve_external_request_id": True}
    return envoy_arguments(directory, envoy_bootstrap(port, manager, {}, routes, clusters))


def haproxy_file(directory: Path, port: int, endpoints: int, tuning: str) -> list:
    """One thread, one front end, one back end whose connections all clients share."""
    servers = [f"    server s0 127.0.0.1:{BASELINE_PORT} proto h2"]
    for number, (host, stranger) in enumerate(STRANGERS[: max(0, endpoints - 1)], 1):
        servers.append(f"    server s{number} {host}:{stranger} proto h2")
    file = directory / "haproxy.cfg"
    file.write_text(
        f"""global
    nbthread 1
    maxconn 4000
{tuning}
defaults
    mode http
    timeout connect 1s
    timeout client 15m
    timeout server 15m
    timeout http-keep-alive 15m

frontend outbound
    bind 127.0.0.1:{port} proto h2
    default_backend baseline

backend baseline
    balance {"random(2)" if endpoints > 1 else "roundrobin"}
    http-reuse always
"""
        + "\n".join(servers)
        + "\n"
    )
    return ["-db", "-f", file]


def haproxy(directory: Path, port: int, endpoints: int) -> list:
    """As shipped: 16 KiB buffers."""
    return haproxy_file(directory, port, endpoints, "")


def haproxy_large(directory: Path, port: int, endpoints: int) -> list:
    """With 64 KiB buffers, so that a 16 KiB frame does not wrap around one."""
    return haproxy_file(directory, port, endpoints, "    tune.bufsize 65536")


def nghttpx(directory: Path, port: int, endpoints: int) -> list:
    """One worker in one process."""
    backends = [("127.0.0.1", BASELINE_PORT), *STRANGERS[: max(0, endpoints - 1)]]
    file = directory / "nghttpx.conf"
    lines = [f"frontend=127.0.0.1,{port};no-tls"]
    lines += [f"backend={host},{number};;proto=h2" for host, number in backends]
    file.write_text("\n".join(lines) + "\n")
    return ["--conf", file, "--workers=1", "--single-process", "--log-level=WARN"]


def dyelane_file(directory: Path, port: int, endpoints: int) -> list:
    """Tenant routing, metrics, correlation, retries, ejection: everything that is on by default."""
    instances = [("127.0.0.1", BASELINE_PORT), *STRANGERS[: max(0, endpoints - 1)]]
    entries = "".join(
        f"""
[[services."order.shop".instances]]
address = "{host}:{number}"
"""
        for host, number in instances
    )
    file = directory / "sidecar.toml"
    file.write_text(
        f"""[workload]
service = "cart.shop"
address = "127.0.0.1:{LANE_PORT}"
protocol = "h2"

[inbound]
listen = "127.0.0.1:{port + 1}"

[outbound]
listen = "127.0.0.1:{port + 2}"

[tenants.alice]
lane = "alice"

[services."order.shop"]
listen = "127.0.0.1:{port}"
protocol = "h2"

[[services."order.shop".instances]]
address = "127.0.0.1:{LANE_PORT}"
lane = "alice"
{entries}
[runtime]
workers = 1

[admin]
listen = "127.0.0.1:{port + 3}"
"""
    )
    return ["run", file]


def dyelane_in(directory: Path, port: int, endpoints: int) -> list:
    """The same file; it is the inbound listener that is asked."""
    return dyelane_file(directory, port - 1, endpoints)


PEERS = [
    Peer("dyelane", "Dyelane, outbound", "dyelane", 18100, dyelane_file, routes_tenants=True),
    Peer("dyelane-in", "Dyelane, inbound", "dyelane", 18111, dyelane_in),
    Peer("envoy", "Envoy 1.40, few features", "envoy", 18120, envoy),
    Peer("envoy-full", "Envoy 1.40, usual features", "envoy", 18130, envoy_full, True),
    Peer("haproxy", "HAProxy 2.8, as shipped", "haproxy", 18140, haproxy),
    Peer("haproxy-large", "HAProxy 2.8, 64 KiB buffers", "haproxy", 18150, haproxy_large),
    Peer("nghttpx", "nghttpx", "nghttpx", 18160, nghttpx),
]
