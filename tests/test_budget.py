"""What the stages take of a machine, and that Ray gives it to them."""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from msgspec.structs import replace

import clusters.session
import ops.here
from clusters.budget import BYTES_PER_PIXEL, Budget, budget_for, budget_for_nodes
from clusters.machine import Machine, nvidia_gpus, this_machine
from ops.archive.layout import ArchiveError
from ops.codecs.base import Runtime
from ops.codecs.names import codec_from
from ops.here import IDLE_GPU, has_cuda, usable_device
from pipelines.idle_gpus import refuse_idle_gpus
from pipelines.streaming import Stages, _Actor, stream
from tests.runs import Run, current, photographs, put_files, request

MACHINES = [
    Machine(cpus=cpus, gpus=gpus, memory_bytes=gib << 30)
    for cpus in (1, 2, 3, 4, 8, 16, 64)
    for gpus in (0, 1, 4)
    for gib in (2, 8, 24, 512)
]


@pytest.mark.parametrize(
    "machine", MACHINES, ids=lambda machine: f"{machine.cpus}cpu-{machine.gpus}gpu-{machine.memory_bytes >> 30}GiB"
)
def test_a_budget_fits_its_machine_and_cannot_lock_it_up(machine: Machine) -> None:
    budget = budget_for(machine)
    assert budget.num_actors >= 1
    assert budget.threads >= 1
    assert budget.num_actors * budget.actor_cpus + budget.fetch_cpus <= machine.cpus, "fetches could never start"
    assert budget.fetch_cpus != budget.actor_cpus, "Ray would fuse the two stages"
    assert budget.num_actors * budget.actor_gpus == machine.gpus
    assert budget.store_bytes + budget.num_actors * budget.actor_memory <= machine.memory_bytes
    assert budget.store_bytes + budget.num_actors * budget.pixel_budget * BYTES_PER_PIXEL <= machine.memory_bytes
    assert budget.pixel_budget > 0


CLUSTERS = [
    [Machine(cpus=cpus, gpus=gpus, memory_bytes=gib << 30) for cpus, gpus, gib in nodes]
    for nodes in (
        [(4, 0, 16)] * 2, [(4, 0, 16)] * 4, [(2, 0, 8)] * 8, [(2, 0, 8)] * 3, [(1, 0, 4)] * 3, [(8, 0, 32), (2, 0, 8)],
        [(0, 0, 4), (16, 0, 64)], [(0, 0, 4), (8, 1, 64), (8, 1, 64), (16, 0, 64)], [(96, 8, 512), (4, 1, 16)],
    )
]  # fmt: skip


@pytest.mark.parametrize("nodes", CLUSTERS, ids=lambda nodes: "+".join(f"{one.cpus}cpu{one.gpus}gpu" for one in nodes))
def test_every_actor_of_a_cluster_has_a_node_that_holds_it_and_fetches_have_room(nodes: list[Machine]) -> None:
    budget = budget_for_nodes(nodes)
    hosts = [node for node in nodes if node.gpus] if budget.actor_gpus else [node for node in nodes if node.cpus]
    room = sum(
        node.gpus if budget.actor_gpus else int(node.cpus // budget.actor_cpus) if budget.actor_cpus else 1
        for node in hosts
    )
    assert 1 <= budget.num_actors <= room, "an actor would never be placed"
    left = sum(node.cpus for node in nodes) - budget.num_actors * budget.actor_cpus
    assert left >= budget.fetch_cpus, "fetches could never start"
    assert budget.fetch_cpus != budget.actor_cpus, "Ray would fuse the two stages"
    smallest = min(node.memory_bytes for node in hosts)
    assert budget.actor_memory <= smallest
    assert budget.pixel_budget * BYTES_PER_PIXEL <= smallest


def test_a_cluster_without_processors_is_refused() -> None:
    with pytest.raises(ValueError, match="none of 1 nodes has a processor to give: add nodes"):
        budget_for_nodes([Machine(cpus=0, memory_bytes=1 << 30)])


def test_this_machine_is_no_larger_than_it_is() -> None:
    machine = this_machine()
    assert 1 <= machine.cpus <= (os.cpu_count() or 1)
    assert 1 << 28 < machine.memory_bytes <= os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


@pytest.mark.parametrize(
    ("visible", "number"),
    [
        (None, 2), ("", 0), ("-1", 0), ("NoDevFiles", 0), ("0", 1), ("1", 1), ("0,1", 2), ("1, 0", 2), ("2", 0),
        ("0,7,1", 1), ("0,-1,1", 1), ("GPU-8932f937", 1), ("MIG-a,MIG-b,MIG-c", 3),
    ],
)  # fmt: skip
def test_gpus_are_those_with_a_device_file_that_the_environment_leaves(
    tmp_path: Path, visible: str | None, number: int
) -> None:
    environment = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
    assert nvidia_gpus(tmp_path, environment) == 0, "a machine without GPUs has none, whatever is visible"
    for name in ("nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm", "nvidia-caps"):
        (tmp_path / name).touch()
    assert nvidia_gpus(tmp_path, environment) == number


class Placed:
    """An actor that says on which device it was put."""

    def __init__(self, _task: str, runtime: Runtime) -> None:
        self._device = runtime.device

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        return {**row, "device": self._device}


def test_a_worker_takes_a_gpu_only_where_its_torch_can_use_one_and_warns_once(caplog: pytest.LogCaptureFixture) -> None:
    ops.here._warn_of_idle_gpu.cache_clear()
    wanted = "cuda" if has_cuda() else "cpu"
    for _ in range(2):
        actor = _Actor(Stages(lambda row, _task: row, Placed, "task"), Runtime(device="cuda"))
        assert actor(pa.table({"number": [1]})).to_pylist() == [{"number": 1, "device": wanted}]
    assert [record.getMessage() for record in caplog.records] == ([] if has_cuda() else [IDLE_GPU])
    assert usable_device("cpu") == "cpu"


@pytest.mark.skipif(has_cuda(), reason="torch can use the GPU of this machine")
def test_full_networks_are_refused_beside_a_gpu_that_torch_cannot_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    full = codec_from("tadm-x16")
    small, bicubic = codec_from({"name": "tadm", "scale": 16, "size": "small"}), codec_from("bicubic-x16")
    with pytest.raises(ArchiveError, match="tadm-x16 would take days on the processor, and torch here cannot use the"):
        refuse_idle_gpus([bicubic, full], None, 1)
    refuse_idle_gpus([small, bicubic], None, 1)
    refuse_idle_gpus([full], None, 0)  # no GPU, or none left by CUDA_VISIBLE_DEVICES: it was meant
    refuse_idle_gpus([full], "10.0.0.1:6379", 1)
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    refuse_idle_gpus([full], None, 1)


def rows_through(budget: Budget, num_rows: int = 6, **options: Any) -> list[dict[str, Any]]:
    """Send rows through two stages that say in which processes they ran."""

    def fetch(row: dict[str, Any], task: str) -> dict[str, Any]:
        return {"number": row["number"], "fetched_by": os.getpid(), "task": task}

    class Actor:
        def __init__(self, _task: str, runtime: Runtime) -> None:
            self._runtime = runtime

        def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
            return {**row, "made_by": os.getpid(), "threads": self._runtime.threads}

    work = pa.table({"number": range(num_rows)})
    stages = Stages(options.get("fetch", fetch), Actor, "task")
    return list(stream(work, stages, budget, options.get("no_progress_seconds", 60.0)))


@pytest.mark.ray
@pytest.mark.usefixtures("ray_here")
@pytest.mark.parametrize("cpus", [1, 2, 4])
def test_fetch_and_actor_are_two_stages_on_every_machine(cpus: int) -> None:
    budget = budget_for(Machine(cpus=cpus, memory_bytes=8 << 30))
    rows = rows_through(budget)
    assert sorted(row["number"] for row in rows) == list(range(6))
    assert {row["fetched_by"] for row in rows}.isdisjoint({row["made_by"] for row in rows})
    assert len({row["made_by"] for row in rows}) == budget.num_actors
    assert {(row["task"], row["threads"]) for row in rows} == {("task", budget.threads)}


@pytest.mark.ray
@pytest.mark.usefixtures("ray_here")
def test_a_row_arrives_before_the_next_one_is_finished(tmp_path: Path) -> None:
    class Actor:
        def __init__(self, _task: str, _runtime: Runtime) -> None:
            pass

        def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
            end = time.monotonic() + 20
            while row["number"] and not (tmp_path / "0").exists():
                if time.monotonic() > end:
                    raise TimeoutError("the first row has not arrived")
                time.sleep(0.05)
            return row

    budget = budget_for(Machine(cpus=2, memory_bytes=8 << 30))
    arrived = []
    for row in stream(pa.table({"number": range(2)}), Stages(lambda row, _task: row, Actor, "task"), budget, 60.0):
        (tmp_path / str(row["number"])).touch()
        arrived.append(row["number"])
    assert arrived == [0, 1]


@pytest.mark.ray
@pytest.mark.usefixtures("ray_here")
def test_what_a_stage_raises_reaches_the_driver_and_the_context_is_put_back() -> None:
    from ray.data import DataContext  # noqa: PLC0415

    def fetch(row: dict[str, Any], task: str) -> dict[str, Any]:
        raise ValueError(f"row {row['number']} is no good")

    before = DataContext.get_current()
    with pytest.raises(Exception, match="is no good"):
        rows_through(budget_for(Machine(cpus=2, memory_bytes=8 << 30)), fetch=fetch)
    assert DataContext.get_current() is before


@pytest.mark.ray
@pytest.mark.usefixtures("ray_here")
def test_an_actor_for_which_there_is_no_room_is_reported_not_waited_for_for_ever() -> None:
    budget = replace(budget_for(Machine(cpus=2, memory_bytes=8 << 30)), actor_memory=1 << 50)
    with pytest.raises(ArchiveError, match=r"nothing was finished in 5 s; an actor needs .* MiB: `ray status`"):
        rows_through(budget, no_progress_seconds=5.0)


@pytest.mark.ray
@pytest.mark.usefixtures("ray_here")
def test_budgets_change_no_thumbnail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = put_files(str(tmp_path / "photos"), photographs(8))
    for name, changes in (
        ("one", {"threads": 1, "pixel_budget": 1}),
        ("two", {"threads": 2}),
        ("four", {"threads": 4}),
    ):
        changed = lambda nodes, changes=changes: replace(budget_for_nodes(nodes), **changes)  # noqa: E731
        monkeypatch.setattr(clusters.session, "budget_for_nodes", changed)
        Run(request(source, tmp_path / name))
    assert current(tmp_path / "one") == current(tmp_path / "two") == current(tmp_path / "four")


@pytest.mark.ray
def test_a_session_of_our_own_books_the_machine_not_what_happens_to_be_free() -> None:
    # With what is free as its limit, Ray would wait for ever to place an actor on a machine that is busy.
    code = (
        "from clusters.budget import budget_for; from clusters.machine import this_machine\n"
        "from clusters.session import ray_session\n"
        "import os\n"
        "budget = budget_for(this_machine())\n"
        "with ray_session():\n"
        "    import ray\n"
        "    booked = ray.cluster_resources()\n"
        "    assert booked['memory'] == this_machine().memory_bytes - budget.store_bytes, booked\n"
        "    assert booked['CPU'] == this_machine().cpus, booked\n"
        "    print(os.environ['RAY_AUTH_MODE'], os.environ['RAY_USAGE_STATS_ENABLED'])\n"
        # What Ray publishes goes to the log: stdout is for the answer.
        "    import logging, queue\n"
        "    from logging.handlers import QueueHandler\n"
        "    told = queue.Queue()\n"
        "    log = logging.getLogger('clusters.session')\n"
        "    log.setLevel(logging.INFO)\n"
        "    log.addHandler(QueueHandler(told))\n"
        "    from ray._private.utils import publish_error_to_driver\n"
        "    publish_error_to_driver('test', 'an actor ended', ray._private.worker.global_worker.gcs_client)\n"
        "    assert told.get(timeout=30).getMessage() == 'Ray: an actor ended'\n"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    said = subprocess.run(
        [sys.executable, "-c", code], cwd=Path(__file__).parents[1], env=environment, capture_output=True, text=True,
        check=False, timeout=120,
    )  # fmt: skip
    assert said.returncode == 0, said.stderr[-3000:]
    assert said.stdout.split() == ["token", "0"]
    assert said.stderr == ""


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("127.0.0.1:1", "the Ray cluster at 127.0.0.1:1 cannot be joined: Connection refused; is it running"),
        ("ray://127.0.0.1:1", "the Ray cluster at ray://127.0.0.1:1 cannot be joined"),
        ("foo", "'foo' is no address of a Ray cluster: write host:port or ray://host:port"),
    ],
)
def test_a_cluster_that_does_not_answer_is_told_in_one_line(address: str, said: str) -> None:
    with pytest.raises(ConnectionError, match=said):
        clusters.session.check_answers(address)


def test_the_cluster_that_ray_names_to_its_jobs_is_joined() -> None:
    code = "from clusters.session import ray_session\nwith ray_session(): pass"
    said = subprocess.run(
        [sys.executable, "-c", code], cwd=Path(__file__).parents[1], env={**os.environ, "RAY_ADDRESS": "127.0.0.1:1"},
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert "ConnectionError: the Ray cluster at 127.0.0.1:1 cannot be joined" in said.stderr
