"""Object stores as transactions see them, and S3 as one of them.

A client is what ``boto3.client("s3")`` returns. boto3 is not imported: its errors are recognized by the
response that they carry. The client may retry by itself, since every decision is read back afterwards and
recognized by its generation.
"""

from __future__ import annotations

import base64
import hashlib
import io
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any, Protocol

from chaoskit.runtime.durable.transactions.contents import PIECE

__all__ = ["NotAsExpected", "ObjectInfo", "ObjectStore", "S3Objects", "refused"]

PART = 64 << 20
"""Bytes in a part of a large upload: 10,000 parts make 640 GB (S3's limits: 5 MiB to 5 GiB, 10,000 parts)."""
IN_MEMORY = 8 << 20
"""The most bytes of a download that are kept in memory; a larger one goes to a temporary file."""


class NotAsExpected(Exception):
    """A request's condition does not hold: there is another object, or none (status 412, 409 or 404)."""


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """An object: key below the prefix, size in bytes, ETag, time of writing in seconds since the epoch."""

    key: str
    size: int
    etag: str
    modified: float = 0.0


class ObjectStore(Protocol):
    """Six requests. Keys are relative to a prefix that the store knows. Errors are the client's own."""

    def head(self, key: str) -> ObjectInfo | None:
        """The facts about an object; None if there is none."""

    def open(self, key: str) -> tuple[IO[bytes], str] | None:
        """The whole content of an object, seekable, and its ETag; None if there is none."""

    def put(
        self, key: str, content: IO[bytes], *, if_absent: bool = False, if_match: str | None = None
    ) -> str:
        """Write an object in one step; return its ETag.

        Raises:
            NotAsExpected: a condition was given, and does not hold. This request wrote nothing.
        """

    def delete(self, key: str, *, if_match: str | None = None) -> None:
        """Remove an object. A missing one is not an error. Raises as ``put``."""

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """The objects whose keys begin with ``prefix``, in order."""

    def abort_uploads(self, prefix: str, before: float) -> int:
        """Abort unfinished uploads, which ``list`` does not show, if they began before that time.

        Returns how many were aborted.
        """


class S3Objects:
    """A bucket of S3, or of a store with the same conditional writes, below ``prefix``."""

    def __init__(self, client: Any, bucket: str, prefix: str) -> None:
        self._client, self._bucket = client, bucket
        self._prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""

    def __str__(self) -> str:
        return f"s3://{self._bucket}/{self._prefix}"

    def head(self, key: str) -> ObjectInfo | None:
        try:
            found = self._client.head_object(**self._at(key))
        except Exception as error:
            if _status(error) == 404:
                return None
            raise
        return ObjectInfo(key, found["ContentLength"], found["ETag"], found["LastModified"].timestamp())

    def open(self, key: str) -> tuple[IO[bytes], str] | None:
        try:
            found = self._client.get_object(**self._at(key))
        except Exception as error:
            if _status(error) == 404:
                return None
            raise
        file = tempfile.SpooledTemporaryFile(IN_MEMORY)  # noqa: SIM115
        try:
            while piece := found["Body"].read(PIECE):
                file.write(piece)
            # A connection that breaks early may look like the end of the object.
            if file.tell() != found["ContentLength"]:
                raise OSError(f"{self}{key}: {file.tell()} bytes came; expected {found['ContentLength']}")
            file.seek(0)
        except BaseException:
            file.close()
            raise
        finally:
            found["Body"].close()
        return file, found["ETag"]  # type: ignore[return-value, unused-ignore]

    def put(
        self, key: str, content: IO[bytes], *, if_absent: bool = False, if_match: str | None = None
    ) -> str:
        condition = {"IfNoneMatch": "*"} if if_absent else {} if if_match is None else {"IfMatch": if_match}
        first = content.read(PART)
        second = content.read(1)
        try:
            if second:
                return self._put_parts(key, first, second, content, condition)
            # The store compares the digest with the bytes it received, and refuses them if they differ.
            digest = base64.b64encode(hashlib.sha256(first).digest()).decode()
            answer = self._client.put_object(**self._at(key), Body=first, ChecksumSHA256=digest, **condition)
        except Exception as error:
            if condition and _status(error) in (404, 409, 412):
                raise NotAsExpected(f"{self}{key} is not as expected: {error}") from error
            raise
        return str(answer["ETag"])

    def _put_parts(
        self, key: str, first: bytes, second: bytes, rest: IO[bytes], condition: dict[str, str]
    ) -> str:
        at = self._at(key)
        upload = self._client.create_multipart_upload(**at)["UploadId"]
        try:
            parts: list[dict[str, Any]] = []
            piece = first
            while piece:
                number = len(parts) + 1
                sent = self._client.upload_part(**at, UploadId=upload, PartNumber=number, Body=piece)
                parts.append({"ETag": sent["ETag"], "PartNumber": number})
                piece, second = second + rest.read(PART - len(second)), b""
            answer = self._client.complete_multipart_upload(
                **at, UploadId=upload, MultipartUpload={"Parts": parts}, **condition
            )
        except BaseException:
            # Parts cost money until the upload is aborted. If this fails too, a recovery aborts it.
            try:
                self._client.abort_multipart_upload(**at, UploadId=upload)
            except Exception as error:
                if _status(error) is None:
                    raise
            raise
        return str(answer["ETag"])

    def delete(self, key: str, *, if_match: str | None = None) -> None:
        condition = {} if if_match is None else {"IfMatch": if_match}
        try:
            self._client.delete_object(**self._at(key), **condition)
        except Exception as error:
            if condition and _status(error) in (404, 409, 412):
                raise NotAsExpected(f"{self}{key} is not as expected: {error}") from error
            raise

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        token: dict[str, str] = {}
        while True:
            page = self._client.list_objects_v2(Bucket=self._bucket, Prefix=self._prefix + prefix, **token)
            for one in page.get("Contents", ()):
                key = one["Key"].removeprefix(self._prefix)
                yield ObjectInfo(key, one["Size"], one["ETag"], one["LastModified"].timestamp())
            if not page.get("IsTruncated"):
                return
            token = {"ContinuationToken": page["NextContinuationToken"]}

    def abort_uploads(self, prefix: str, before: float) -> int:
        found = self._client.list_multipart_uploads(Bucket=self._bucket, Prefix=self._prefix + prefix)
        # One page is enough: the next recovery finds the rest.
        old = [one for one in found.get("Uploads", ()) if one["Initiated"].timestamp() <= before]
        for one in old:
            self._client.abort_multipart_upload(Bucket=self._bucket, Key=one["Key"], UploadId=one["UploadId"])
        return len(old)

    def _at(self, key: str) -> dict[str, str]:
        return {"Bucket": self._bucket, "Key": self._prefix + key}


def refused(error: BaseException) -> bool:
    """True if the store answered that it refuses; False if the request may have taken effect."""
    status = _status(error)
    # 408 is a time-out, after which the request may have taken effect.
    return status is not None and 400 <= status < 500 and status != 408


def read(found: tuple[IO[bytes], str]) -> bytes:
    """Read the content of an opened object, and close it."""
    with found[0] as file:
        return file.read()


def content(data: bytes) -> IO[bytes]:
    """Bytes as a binary file."""
    return io.BytesIO(data)


def _status(error: BaseException) -> int | None:
    """The HTTP status in an error of botocore; None if there was no answer."""
    response = getattr(error, "response", None)
    if not isinstance(response, dict):
        return None
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    return status if isinstance(status, int) else None
