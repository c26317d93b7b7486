"""A Ray session: started on this machine, or joined where a cluster stands."""

import gc
import logging
import os
import secrets
import socket
import sys
import tempfile
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from msgspec.structs import replace

from clusters.budget import Budget, budget_for, budget_for_nodes
from clusters.machine import Machine, this_machine
from clusters.stages import PLANNED, budget_for_planned
from clusters.versions import refuse_other_client

# Ray runs our code in threads that are not the main one, where glibc returns every large array's pages to the system
# and faults them in again for the next: a fifth of the time (measured, reference: Ray Data workers and malloc).
MALLOC = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": "268435456",
    "MALLOC_TRIM_THRESHOLD_": "1073741824",
}
CONNECT_SECONDS = 10.0
# How many minutes a run waits for machines that its cluster is to add, beyond what its work may take.
WAIT = "REGROW_WAIT_MINUTES"
# A GPU node has to be started and to pull an image of 10 GB, and a cloud may have none left for a while.
NODE_MINUTES = 60.0
_MOST_MINUTES = 30 * 24 * 60.0
ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
    "RAY_TQDM": "0",
    "RAY_BACKEND_LOG_LEVEL": "fatal",  # its log files keep to it as well; unset it to look into Ray itself
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}


@contextmanager
def ray_session(
    address: str | None = None, store_bytes: int | None = None, *, accelerated: bool = True
) -> Iterator[Budget]:
    """Have a Ray session for the block: the one that runs already, a cluster, or one of our own.

    The cluster is the one at `address`, or at RAY_ADDRESS, which Ray sets for jobs that run on it. Yields the budget of
    what it has; GPUs are left out of it where the work is not `accelerated`. `store_bytes` sets the object store of a
    session of our own. Raises ConnectionError where no cluster answers.
    """
    address = address or os.environ.get("RAY_ADDRESS") or "local"
    address = None if address == "local" else address
    prepare_environment(local=address is None)
    import ray  # noqa: PLC0415  the environment must stand before

    refuse_other_client(os.environ)
    if ray.is_initialized():
        yield _budget_of_joined(accelerated=accelerated)
        return
    if address:
        check_answers(address)
    logging.getLogger("ray.data").setLevel(logging.WARNING)
    machine = this_machine()
    store_bytes = store_bytes or budget_for(machine).store_bytes
    options = _options(machine, store_bytes, local=address is None)
    with _messages_to_the_log():
        try:
            with _quiet_unless_it_fails():
                # Without "local" Ray would join whatever cluster it finds running here.
                ray.init(address or "local", **options)
        except (ConnectionError, ValueError, RuntimeError) as error:
            what = f"the Ray cluster at {address} cannot be joined" if address else "Ray cannot be started here"
            raise ConnectionError(f"{what}: {str(error).splitlines()[0] if str(error) else error!r}") from error
        try:
            used = machine if accelerated else replace(machine, gpus=0)
            yield _budget_of_joined(accelerated=accelerated) if address else budget_for(used)
        except BaseException as error:
            # What an interrupt left half made in Ray's frames must go before Ray's end, which would start Ray anew.
            traceback.clear_frames(error.__traceback__)
            raise
        finally:
            # Actors of a failed dataset live until it is collected.
            gc.collect()
            ray.shutdown()


def waiting_seconds() -> float:
    """Return how much longer a run may go without anything being finished where nodes are still to be added.

    That is REGROW_WAIT_MINUTES, or an hour on a cluster that adds nodes by itself; nothing where all of them stand.
    Raises OSError for a text that is no number of minutes.
    """
    said = os.environ.get(WAIT, "").strip()
    try:
        minutes = float(said) if said else NODE_MINUTES if os.environ.get(PLANNED) else 0.0
    except ValueError:
        minutes = -1.0
    if not 0 <= minutes <= _MOST_MINUTES:
        raise OSError(f"{WAIT} is {said!r}: write minutes, from 0 to {_MOST_MINUTES:g}, such as 240")
    return 60 * minutes


@contextmanager
def _messages_to_the_log() -> Iterator[None]:
    """Send the errors that Ray publishes to the driver into the log, at INFO.

    Ray prints them on stdout, where a caller's JSON goes, whatever `log_to_driver` says: about calls that it repeats by
    itself, and about actors that an interrupted run has ended on purpose. What a run could not do is told by its rows.
    """
    from ray._private import worker  # noqa: PLC0415  there is no public way

    def log(data: Mapping[str, Any], **_: object) -> None:
        for line in data["lines"]:
            logging.getLogger(__name__).info("Ray: %s", line)

    printing = worker.print_to_stdstream
    worker.print_to_stdstream = log
    try:
        yield
    finally:
        worker.print_to_stdstream = printing


def check_answers(address: str) -> None:
    """Raise ConnectionError where nothing listens at an address; Ray itself would try for minutes before it says so."""
    host, separator, port = address.rpartition("://")[2].rpartition(":")
    if not separator or not port.isdigit():
        if address == "auto":
            return
        raise ConnectionError(f"{address!r} is no address of a Ray cluster: write host:port or ray://host:port")
    try:
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS).close()
    except OSError as error:
        raise ConnectionError(
            f"the Ray cluster at {address} cannot be joined: {error.strerror or error}; is it running, and the address "
            "in --address or RAY_ADDRESS right?"
        ) from error


def _options(machine: Machine, store_bytes: int, *, local: bool) -> dict[str, Any]:
    options: dict[str, Any] = {"runtime_env": {"env_vars": MALLOC}, "log_to_driver": False, "logging_level": "ERROR"}
    if local:
        options |= {
            "num_cpus": machine.cpus,
            # As counted for the budget: actors would wait for ever for one that Ray does not see.
            "num_gpus": machine.gpus,
            "include_dashboard": False,
            "object_store_memory": store_bytes,
            # Ray would take what happens to be free, and never place an actor whose share of the machine is more.
            "_memory": machine.memory_bytes - store_bytes,
        }
    return options


def _budget_of_joined(*, accelerated: bool) -> Budget:
    """Divide what the session that runs has, which may be less than this machine, or what it is planned to have."""
    planned = os.environ.get(PLANNED)
    if planned:
        return budget_for_planned(planned, accelerated=accelerated)
    import ray  # noqa: PLC0415  it runs already

    nodes = [machine_of(node["Resources"]) for node in ray.nodes() if node["Alive"]]
    return budget_for_nodes(nodes if accelerated else [replace(node, gpus=0) for node in nodes])


def machine_of(resources: Mapping[str, float]) -> Machine:
    """Return a node of a cluster, from Ray's account of what it has."""
    return Machine(
        cpus=int(resources.get("CPU", 0)), gpus=int(resources.get("GPU", 0)), memory_bytes=int(resources["memory"])
    )


@contextmanager
def _quiet_unless_it_fails() -> Iterator[None]:
    """Hold back what Ray's C++ side writes to stderr while it starts; show it only if starting fails."""
    sys.stderr.flush()
    with tempfile.TemporaryFile() as held:
        stderr = os.dup(2)
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            held.seek(0)
            os.write(stderr, held.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


def prepare_environment(*, local: bool) -> None:
    """Set what Ray reads from the environment, before it is imported; what is set already stays."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    if local and "RAY_AUTH_MODE" not in os.environ:
        # Ray listens on the network: without a secret anybody there could run code as this user.
        os.environ["RAY_AUTH_MODE"] = "token"
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
