"""A real driver is killed with all that it started, as when a machine loses its power; `tests.kills` does many more."""

from pathlib import Path

import pytest

import ops.archive.plan as plans
from tests import kills
from tests.runs import current

# While parts come, and between the packs and the seal.
MOMENTS = [kills.Moment("parts", 2, 0.0), kills.Moment("packs", 1, 0.0)]


@pytest.mark.ray
@pytest.mark.usefixtures("ray_here")
def test_a_driver_that_is_killed_at_any_moment_leaves_an_archive_that_the_next_one_finishes_alike(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plans, "CHUNK_IMAGES", kills.CHUNK_IMAGES)  # which `drive` sets for good
    place = kills._place(str(tmp_path), 20)
    kills.drive(place.source, place.archive("whole"))
    expected = current(place.archive("whole"))
    assert sorted(status for status, _ in expected.values()).count("ok") == 20
    for moment in MOMENTS:
        archive = place.archive(moment.kind)
        kills._run(place.source, archive, moment)
        assert any(kills._counts(archive).values()), "it was killed before there was anything"
        kills.drive(place.source, archive)
        assert kills._verdict(archive, expected) == "same"
