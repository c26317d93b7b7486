"""Where the records and the lease of a job lie: where the job writes."""

from msgspec import Struct

from jobs.requests import AnyRequest
from ops.stores import absolute, child_of, is_there, join, open_store
from pipelines.requests import EvaluateRequest, ReconstructRequest, VerifyRequest


class Place(Struct, frozen=True, kw_only=True):
    """`url` is what the job writes; `records` is a folder or prefix, `lease` one object.

    Of an archive, which may be there already, `document` is its archive.json: before that nothing may lie in its place.
    """

    url: str
    records: str
    lease: str
    document: str = ""

    def record(self, run_id: str) -> str:
        """Return the URL of a run's record."""
        return join(self.records, f"{run_id}.json")

    def stands(self) -> bool:
        """Say whether an archive is there to lay records into; True for other places."""
        return not self.document or is_there(open_store(self.url), self.document)


def place_of(request: AnyRequest) -> Place:
    """Return where a request leaves records: its archive, its destination below `.regrow`, or its evaluation's folder.

    An evaluation inside an archive, and verifying one, have leases of their own, since archiving goes on beside them.
    """
    if isinstance(request, ReconstructRequest):
        url = absolute(request.destination)
        return Place(url=url, records=join(url, ".regrow", "runs"), lease=join(url, ".regrow", "lease.json"))
    if isinstance(request, VerifyRequest):
        return _of_archive(absolute(request.archive), "verify")
    if not isinstance(request, EvaluateRequest):
        return _of_archive(absolute(request.archive), "run")
    if request.destination is None and _is_archive(request.target):
        return _of_archive(absolute(request.target), "evaluation")
    # The name of an evaluation follows from weights and versions; its parent folder is known beforehand.
    url = absolute(request.destination or "evaluations")
    return Place(url=url, records=join(url, "runs"), lease=join(url, "runs.lease.json"))


def may_hold_records(request: AnyRequest) -> bool:
    """Say whether a refused request may leave a record: not where pictures would lie in their own archive."""
    return not isinstance(request, ReconstructRequest) or not child_of(
        absolute(request.destination), absolute(request.archive)
    )


def _of_archive(url: str, kind: str) -> Place:
    # Named like the driver's lease, which a new archive passes over when it looks whether its place is empty.
    return Place(
        url=url, records=join(url, "runs"), lease=join(url, f"lease.json.{kind}"), document=join(url, "archive.json")
    )


def _is_archive(url: str) -> bool:
    return is_there(open_store(absolute(url)), join(absolute(url), "archive.json"))
