"""What tests share: the environment before Ray is imported, one Ray session, one S3 server."""

import copy
import gc
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from clusters.session import ENVIRONMENT, MALLOC
from ops.stores import routing
from tests.weed import Weed, weed

# Ray reads these when it is imported. No token: the session listens to this machine alone and dies with the tests.
os.environ.update({**ENVIRONMENT, "RAY_AUTH_MODE": "disabled"})

STORE_BYTES = 250 << 20


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Weed]:
    with weed(tmp_path_factory.mktemp("weed")) as server:
        yield server


@pytest.fixture
def s3(s3_server: Weed, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """A prefix of an own for one test, with credentials and endpoint in the environment."""
    for name, value in s3_server.environment.items():
        monkeypatch.setenv(name, value)
    routing._store.cache_clear()
    return s3_server.url(str(abs(hash(request.node.nodeid))))


@pytest.fixture(scope="session")
def ray_session(s3_server: Weed) -> Iterator[None]:
    """One local Ray for all tests; pipelines join it. Its workers know the S3 server from its start."""
    import ray  # noqa: PLC0415  only tests that need it wait for it

    ray.init(
        num_cpus=4,  # logical: two real ones are enough for tests, and no actor waits for a fetch
        include_dashboard=False,
        object_store_memory=STORE_BYTES,
        _memory=64 << 30,  # booked, never used: budgets are made for the whole machine
        log_to_driver=False,
        logging_level=logging.ERROR,
        runtime_env={"env_vars": {**MALLOC, **s3_server.environment, "PYTHONPATH": str(Path(__file__).parent.parent)}},
    )
    yield
    ray.shutdown()


@pytest.fixture
def ray_here(ray_session: None) -> Iterator[None]:
    """The session, with Ray Data's context as it was, and what a failed dataset held let go, after each test."""
    from ray.data import DataContext  # noqa: PLC0415

    with warnings.catch_warnings():  # of its own deprecated fields, which a copy reads
        warnings.simplefilter("ignore", DeprecationWarning)
        before = copy.deepcopy(DataContext.get_current())
    yield
    DataContext._set_current(before)
    # Actors of a failed dataset live on in the traceback that pytest or Python keeps.
    for name in ("last_exc", "last_type", "last_value", "last_traceback"):
        if hasattr(sys, name):
            delattr(sys, name)
    gc.collect()


@pytest.fixture(scope="module")
def one_thread():
    """torch computes with one thread: other numbers of them have other last bits."""
    import torch  # noqa: PLC0415  tests without it do not wait for it

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
