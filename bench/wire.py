"""What stands in for S3 when 50 million images are simulated: the answers on the wire, below the real S3Store.

The bucket `source` holds as many photographs as are wanted, listed and never stored. The bucket `archive` keeps its
objects in a folder, but for parts and attempts: those are listed as if every chunk's stood there.
"""

import errno
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fsspec.asyn import get_loop

from bench.synthetic import md5_etag, photo_key
from ops.stores import open_store

PAGE = 1000
# 00000-00000000-0123456789abcdef
ID_BYTES = 31


class Wire:
    """Answers S3's calls as s3fs would, and counts them by method and what they are about."""

    def __init__(self, root: Path, num_images: int, image_bytes: int, *, part_bytes: int = 0, share: float = 0) -> None:
        """List `num_images` at the source; list parts and attempts of the first `share` of the ids in `root/ids`."""
        self.loop = get_loop()
        self.calls: Counter[str] = Counter()
        self._root, self._num_images, self._image_bytes, self._part_bytes = root, num_images, image_bytes, part_bytes
        self._ids = root / "ids"
        self._num_parts = int(self._ids.stat().st_size // ID_BYTES * share) if share else 0

    def install(self) -> "Wire":
        """Put this under the store of s3:// in this process, in place of s3fs."""
        vars(open_store("s3://source"))["_fs"] = self
        return self

    def call_s3(self, method: str, *, Bucket: str, Key: str = "", **arguments: Any) -> dict[str, Any]:  # noqa: N803
        """Answer one call."""
        prefix = arguments.get("Prefix", Key)
        about = Bucket if Bucket == "source" else f"{prefix}/".split("/")[1]
        self.calls[f"{method} {about}".strip()] += 1
        return getattr(self, f"_{method}")(Bucket, Key, **arguments)

    def _put_object(self, _bucket: str, key: str, Body: bytes, IfNoneMatch: str = "") -> dict[str, Any]:  # noqa: N803
        path = self._root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        if IfNoneMatch and path.exists():
            raise FileExistsError(errno.EEXIST, f"{key} is there")
        path.write_bytes(Body)
        return {}

    def _get_object(self, _bucket: str, key: str, Range: str = "") -> dict[str, Any]:  # noqa: N803
        content = (self._root / key).read_bytes()
        size = len(content)
        first, _, last = Range.removeprefix("bytes=").partition("-")
        if Range:
            content = content[int(first) : int(last) + 1 if last else None] if first else content[-int(last) :]
        return {"Body": _Body(content), "ContentRange": f"bytes 0-0/{size}", "ContentLength": len(content)}

    def _head_object(self, _bucket: str, key: str) -> dict[str, Any]:
        return {"ContentLength": (self._root / key).stat().st_size}

    def _delete_objects(self, _bucket: str, _key: str, Delete: dict[str, Any]) -> dict[str, Any]:  # noqa: N803
        self.calls["objects deleted"] += len(Delete["Objects"])
        return {}

    def _list_objects_v2(
        self,
        bucket: str,
        _key: str,
        Prefix: str,  # noqa: N803
        ContinuationToken: str = "0",  # noqa: N803
    ) -> dict[str, Any]:
        start = int(ContinuationToken)
        if bucket == "source":
            return _page(start, self._num_images, self._photographs(start, min(start + PAGE, self._num_images)))
        kind = Prefix.rstrip("/").rsplit("/", 1)[-1]
        if kind in ("parts", "attempts"):
            return _page(start, self._num_parts, self._marks(Prefix, kind, start))
        found = [
            {"Key": str(path.relative_to(self._root)), "Size": path.stat().st_size}
            for path in sorted((self._root / Prefix).rglob("*"))
            if path.is_file()
        ]
        return {"Contents": found, "IsTruncated": False}

    def _photographs(self, start: int, end: int) -> Iterator[dict[str, Any]]:
        for number in range(start, end):
            # From 0.6 to 1.4 of the mean, in an order that repeats after 1,024.
            size = self._image_bytes * (614 + number * 619 % 1024 * 819 // 1024) // 1024
            yield {"Key": photo_key(number), "Size": size, "ETag": f'"{md5_etag(number)}"'}

    def _marks(self, prefix: str, kind: str, start: int) -> Iterator[dict[str, Any]]:
        with self._ids.open("rb") as file:
            file.seek(start * ID_BYTES)
            ids = file.read(min(PAGE, self._num_parts - start) * ID_BYTES).decode()
        for at in range(0, len(ids), ID_BYTES):
            name = ids[at : at + ID_BYTES]
            if kind == "parts":
                yield {"Key": f"{prefix}{name}.parquet", "Size": self._part_bytes}
            else:
                yield {"Key": f"{prefix}{name}/0", "Size": 0}


class _Body:
    """The body of an answer."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    async def read(self) -> bytes:
        return self._content


def _page(start: int, total: int, found: Iterator[dict[str, Any]]) -> dict[str, Any]:
    return {
        "Contents": list(found),
        "IsTruncated": start + PAGE < total,
        "NextContinuationToken": str(start + PAGE),
    }
