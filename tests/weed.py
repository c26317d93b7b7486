"""A real S3 server on loopback for tests and benchmarks: SeaweedFS, one process, stopped by its own handle."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import s3fs
from msgspec import Struct

READY_SECONDS = 60.0
BUCKET = "tests"


class Weed(Struct, frozen=True, kw_only=True):
    """A running server: what clients must have in their environment, its bucket, and where it publishes its counts."""

    environment: dict[str, str]
    metrics_url: str
    bucket: str = BUCKET

    def url(self, *names: str) -> str:
        """Return the URL of something in the bucket."""
        return "/".join([f"s3://{self.bucket}", *names])


@contextmanager
def weed(folder: Path) -> Iterator[Weed]:
    """Run a server on free ports of 127.0.0.1 with its files below a folder, until the block ends."""
    master, volume, filer, s3, admin, metrics = _free_ports(6)
    environment = {
        "AWS_ACCESS_KEY_ID": "regrow",
        "AWS_SECRET_ACCESS_KEY": "regrow-secret-key",
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{s3}",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    for name in ("data", "log"):
        (folder / name).mkdir(parents=True)
    command = [
        *(_program(), f"-logdir={folder}/log", "mini", f"-dir={folder}/data", f"-bucket={BUCKET}"),
        *("-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-master.port={master}", f"-volume.port={volume}"),
        *(f"-filer.port={filer}", f"-s3.port={s3}", f"-admin.port={admin}", "-admin.ui=false", "-webdav=false"),
        *("-s3.port.iceberg=0", "-s3.port.lance=0", "-master.telemetry=false", f"-metricsPort={metrics}"),
    ]
    with (folder / "out.txt").open("ab") as output:
        server = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, env={**os.environ, **environment}, cwd=folder
        )
    try:
        _wait_for_a_put(server, environment, folder)
        yield Weed(environment=environment, metrics_url=f"http://127.0.0.1:{metrics}/metrics")
    finally:
        server.terminate()
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def _program() -> str:
    return str(Path(sys.executable).with_name("weed"))


def _wait_for_a_put(server: subprocess.Popen[bytes], environment: dict[str, str], folder: Path) -> None:
    store: Any = s3fs.S3FileSystem(
        key=environment["AWS_ACCESS_KEY_ID"],
        secret=environment["AWS_SECRET_ACCESS_KEY"],
        endpoint_url=environment["AWS_ENDPOINT_URL"],
        skip_instance_cache=True,
    )
    end = time.monotonic() + READY_SECONDS
    while True:
        try:
            store.pipe_file(f"{BUCKET}/ready", b"1")
        except Exception:  # noqa: BLE001  not up yet: any library's error of connections
            if server.poll() is not None or time.monotonic() > end:
                said = (folder / "out.txt").read_text(errors="replace")[-2000:]
                raise RuntimeError(f"weed (exit {server.poll()}) took no put in {READY_SECONDS:g} s: {said}") from None
            time.sleep(0.1)
        else:
            store.rm_file(f"{BUCKET}/ready")
            return


def _free_ports(count: int) -> list[int]:
    """Return ports p with p and p + 10000 both free: every service of weed takes the second for gRPC."""
    found: list[int] = []
    for port in range(20_000 + os.getpid() * 7 % 5000, 40_000):
        if len(found) == count:
            break
        if _free(port) and _free(port + 10_000):
            found.append(port)
    return found


def _free(port: int) -> bool:
    try:
        with closing(socket.create_server(("127.0.0.1", port))):
            return True
    except OSError:
        return False
