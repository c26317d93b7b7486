"""Work reaches Ray in blocks that the driver cuts: few of them, and a row goes on as soon as its stage has made it."""

from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from clusters.session import ray_session
from ops.archive import packs, plan
from pipelines import feeding, packing, sealing
from pipelines.archive import archive
from pipelines.feeding import FEW, MOST_ROWS, ROUNDS, blocks
from pipelines.streaming import Stages, stream
from tests.runs import check_invariants, photographs, put_files, request
from tests.slow_stages import Noting, fetch_slowly


def work(num_rows: int) -> pa.Table:
    return pa.table({"number": pa.array(range(num_rows), pa.int64())})


@settings(deadline=None)  # of a busy machine
@given(num_rows=st.integers(0, 30_000), tasks=st.integers(1, 1024))
def test_every_row_is_in_one_block_in_order_and_blocks_stay_few(num_rows: int, tasks: int) -> None:
    found = list(blocks(work(num_rows), tasks))
    assert [number for block in found for number in block["number"].to_pylist()] == list(range(num_rows))
    assert len(found) <= max(2 * ROUNDS * tasks, 2 * FEW, -(-num_rows // MOST_ROWS))
    assert all(1 <= block.num_rows <= MOST_ROWS for block in found)
    if num_rows < 2 * max(ROUNDS * tasks, FEW):
        assert len(found) == num_rows


@pytest.mark.ray
@pytest.mark.usefixtures("ray_here")
def test_each_row_of_a_block_comes_back_once_and_goes_on_before_its_neighbours_are_fetched(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(feeding, "ROUNDS", 1)
    monkeypatch.setattr(feeding, "FEW", 1)
    with ray_session() as found:
        budget = replace(found, num_fetches=2, num_actors=1)
        assert [block.num_rows for block in blocks(work(21), 2)] == [10, 10, 1]
        rows = {row["number"]: row for row in stream(work(21), Stages(fetch_slowly, Noting, 0.5), budget, 600)}
    assert sorted(rows) == list(range(21))
    # Five seconds' fetches of one task: together, as one block, its rows would go on when the last is there.
    assert rows[0]["got"] < rows[9]["fetched"]
    assert rows[10]["got"] < rows[19]["fetched"]


@pytest.mark.ray
@pytest.mark.usefixtures("ray_here")
def test_packs_that_are_ordered_of_ray_a_few_at_a_time_are_all_sealed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module, name, number in ((plan, "CHUNK_IMAGES", 2), (packs, "PACK_ROWS", 4), (sealing, "PACKS_HERE", 0)):
        monkeypatch.setattr(module, name, number)
    monkeypatch.setattr(packing, "ORDERS_AT_ONCE", 2)
    source = put_files(str(tmp_path / "photos"), photographs(20))
    seal = archive(request(source, tmp_path / "a"))
    assert seal is not None
    assert [pack.num_rows for pack in seal.packs] == [4, 4, 4, 4, 4]
    check_invariants(tmp_path / "a")
