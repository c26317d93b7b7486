"""Amazon S3 and its kin, through s3fs: credentials and endpoints come the usual ways (environment, ~/.aws)."""

import errno
import secrets
import time
from collections.abc import Iterable, Iterator
from functools import cached_property
from itertools import islice
from typing import Any

import fsspec
from fsspec.asyn import sync

from ops.stores.base import Changed, Stored, StoreError

# S3 takes up to 5 GiB in one put, and only a single put can be conditional everywhere.
SINGLE_PUT_BYTES = 5 * 2**30


class S3Store:
    """Objects of a bucket. Each method is one request, or one per 1,000 objects when listing or removing."""

    @cached_property
    def _fs(self) -> Any:
        # Listings must be fresh: two drivers may work on one archive.
        return fsspec.filesystem("s3", use_listings_cache=False)

    def _call(self, method: str, url: str, **arguments: Any) -> dict[str, Any]:
        """Call one method of the S3 API; s3fs retries what passes and translates errors to OSError."""
        bucket, key = _split(url)
        named = {"Key": key} if key else {}
        try:
            return self._fs.call_s3(method, Bucket=bucket, **named, **arguments)
        except FileNotFoundError as error:
            raise FileNotFoundError(errno.ENOENT, f"{url} is not there", url) from error
        except PermissionError as error:
            raise PermissionError(
                errno.EACCES, f"{url}: access refused ({error}); check the credentials", url
            ) from error

    def _get(self, url: str, byte_range: str, etag: str = "") -> tuple[bytes, dict[str, Any]]:
        arguments: dict[str, Any] = {"Range": byte_range} if byte_range else {}
        if etag:
            arguments["IfMatch"] = etag
        for pause in (0.2, 1.0, None):
            try:
                answer = self._call("get_object", url, **arguments)
            except OSError as error:
                if etag and _is_precondition(error):
                    raise Changed(errno.ESTALE, f"{url} has changed", url) from error
                raise
            try:
                content: Any = sync(self._fs.loop, answer["Body"].read)
            except Exception as error:
                # s3fs retries requests, not bodies: a connection cut in mid-body raises whatever aiohttp raises.
                if pause is None:
                    raise StoreError(
                        errno.EIO, f"{url}: the connection was cut three times ({error!r})", url
                    ) from error
                time.sleep(pause)
            else:
                return content, answer
        raise AssertionError(url)  # the last pause is None, which raises above

    def read(self, url: str, start: int = 0, end: int | None = None, *, etag: str = "") -> bytes:
        if end is not None and end <= start:
            return b""
        byte_range = "" if start == 0 and end is None else f"bytes={start}-{'' if end is None else end - 1}"
        try:
            return self._get(url, byte_range, etag)[0]
        except OSError as error:
            if _has(error, "InvalidRange", "416"):  # beyond the end, as a file would answer
                return b""
            raise

    def read_end(self, url: str, num_bytes: int) -> tuple[bytes, int]:
        content, answer = self._get(url, f"bytes=-{num_bytes}")
        return content, int(answer.get("ContentRange", f"/{len(content)}").rsplit("/", 1)[1])

    def put_new(self, url: str, content: bytes) -> bool:
        if len(content) > SINGLE_PUT_BYTES:
            raise StoreError(errno.EFBIG, f"{url}: {len(content)} bytes do not fit one put of S3 (5 GiB)", url)
        for pause in (0.1, 0.5, 2.0, None):
            try:
                self._call("put_object", url, Body=content, IfNoneMatch="*")
            except OSError as error:
                if _is_precondition(error):
                    return False
                # Two conditional puts met; one of them, or neither, has won: ask again.
                if pause is None or not _has(error, "ConditionalRequestConflict", "409"):
                    raise
                time.sleep(pause)
            else:
                return True
        raise AssertionError(url)  # the last pause is None, which raises above

    def refuses_second_put(self, url: str) -> bool:
        probe = f"{url}/attempts/probe-{secrets.token_hex(8)}"
        try:
            return self.put_new(probe, b"") and not self.put_new(probe, b"")
        except OSError as error:
            if _has(error, "NotImplemented", "501"):
                return False
            raise
        finally:
            self.remove([probe])

    def put(self, url: str, content: bytes) -> None:
        self._call("put_object", url, Body=content)

    def stat(self, url: str) -> Stored:
        answer = self._call("head_object", url)
        return Stored(url, int(answer["ContentLength"]), answer.get("ETag", "").strip('"'))

    def walk(self, url: str) -> Iterator[Stored]:
        bucket, prefix = _split(url)
        prefix = f"{prefix.rstrip('/')}/" if prefix else ""
        more: dict[str, str] = {}
        while True:
            page = self._call("list_objects_v2", f"s3://{bucket}", Prefix=prefix, **more)
            for found in page.get("Contents", []):
                if not found["Key"].endswith("/"):  # consoles make folders as empty objects
                    yield Stored(f"s3://{bucket}/{found['Key']}", found["Size"], found.get("ETag", "").strip('"'))
            if not page.get("IsTruncated"):
                return
            more = {"ContinuationToken": page["NextContinuationToken"]}

    def remove(self, urls: Iterable[str]) -> None:
        for batch in _batched(urls, 1000):
            bucket = _split(batch[0])[0]
            keys = [_split(url)[1] for url in batch]
            for pause in (0.2, 1.0, 5.0, None):
                objects = {"Objects": [{"Key": key} for key in keys], "Quiet": True}
                failed = self._call("delete_objects", f"s3://{bucket}", Delete=objects).get("Errors", [])
                if not failed:
                    break
                if pause is None:
                    why = failed[0].get("Message")
                    raise StoreError(errno.EIO, f"s3://{bucket}/{failed[0].get('Key')} was not removed: {why}")
                # A busy store refuses some of a thousand (SlowDown), and takes them a little later.
                keys = [one["Key"] for one in failed if "Key" in one]
                time.sleep(pause)

    def tidy(self, url: str) -> None:
        """Nothing to do: single puts leave nothing half written."""


def _split(url: str) -> tuple[str, str]:
    bucket, _, key = url.partition("://")[2].partition("/")
    return bucket, key


def _code(error: BaseException) -> str:
    """Return S3's own code of an error; s3fs keeps the original as the cause of what it raises."""
    cause: BaseException | None = error
    while cause is not None:
        response = getattr(cause, "response", None)
        if isinstance(response, dict):
            return str(response.get("Error", {}).get("Code", ""))
        cause = cause.__cause__
    return ""


def _has(error: BaseException, *codes: str) -> bool:
    return _code(error) in codes


def _is_precondition(error: BaseException) -> bool:
    return isinstance(error, FileExistsError) or _has(error, "PreconditionFailed", "412")


def _batched(urls: Iterable[str], size: int) -> Iterator[list[str]]:
    remaining = iter(urls)
    while batch := list(islice(remaining, size)):
        yield batch
