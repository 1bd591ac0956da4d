"""What is asked of S3, request by request, and what its answers are taken for."""

from __future__ import annotations

import base64
import datetime
import hashlib
import io
from typing import Any

import pytest

from chaoskit.runtime.durable.transactions.objects import store
from chaoskit.runtime.durable.transactions.objects.store import NotAsExpected, S3Objects, refused

WHEN = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


class Refused(Exception):
    """An error as botocore has it."""

    def __init__(self, status: int) -> None:
        self.response = {"ResponseMetadata": {"HTTPStatusCode": status}}


class Client:
    """Answers each request from ``answers``, by its name, or raises what stands there."""

    def __init__(self, **answers: Any) -> None:
        self.answers = answers
        self.asked: list[tuple[str, dict[str, Any]]] = []

    def __getattr__(self, name: str) -> Any:
        def ask(**given: Any) -> Any:
            self.asked.append((name, given))
            answer = self.answers[name]
            if isinstance(answer, list):
                answer = answer.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer

        return ask

    def last(self, name: str) -> dict[str, Any]:
        return [given for asked, given in self.asked if asked == name][-1]


@pytest.mark.parametrize(
    ("status", "certain"),
    [(400, True), (403, True), (412, True), (408, False), (500, False), (503, False), (None, False)],
)
def test_only_an_answer_that_refuses_is_a_refusal(status: int | None, certain: bool) -> None:
    """After a time-out on the server's side, or an error of it, the request may have taken effect."""
    assert refused(ConnectionError() if status is None else Refused(status)) is certain


def test_a_body_that_ends_early_is_an_error() -> None:
    """A connection that breaks looks like the end of the object."""
    body = io.BytesIO(b"abc")
    client = Client(get_object={"Body": body, "ContentLength": 5, "ETag": "e"})
    with pytest.raises(OSError, match="s3://b/p/k: 3 bytes came; expected 5"):
        S3Objects(client, "b", "p").open("k")
    assert body.closed


def test_the_store_is_told_what_it_must_receive() -> None:
    """So that it refuses what was damaged on its way."""
    client = Client(put_object={"ETag": "e"})
    S3Objects(client, "b", "p").put("k", io.BytesIO(b"abc"), if_match="old")
    digest = base64.b64encode(hashlib.sha256(b"abc").digest()).decode()
    assert client.last("put_object") == {
        "Bucket": "b",
        "Key": "p/k",
        "Body": b"abc",
        "ChecksumSHA256": digest,
        "IfMatch": "old",
    }


@pytest.mark.parametrize("status", [404, 409, 412])
def test_a_condition_that_does_not_hold_is_told_from_errors(status: int) -> None:
    """With a condition these mean that it does not hold; without one they are errors."""
    client = Client(put_object=Refused(status), delete_object=Refused(status))
    objects = S3Objects(client, "b", "")
    with pytest.raises(NotAsExpected):
        objects.put("k", io.BytesIO(b""), if_absent=True)
    assert client.last("put_object")["IfNoneMatch"] == "*"
    with pytest.raises(NotAsExpected):
        objects.delete("k", if_match="e")
    assert client.last("delete_object")["IfMatch"] == "e"
    with pytest.raises(Refused):
        objects.put("k", io.BytesIO(b""))
    with pytest.raises(Refused):
        objects.delete("k")


def test_a_large_object_is_sent_in_parts_under_the_same_condition(monkeypatch: pytest.MonkeyPatch) -> None:
    """No byte is lost between two parts."""
    monkeypatch.setattr(store, "PART", 4)
    client = Client(
        create_multipart_upload={"UploadId": "u"},
        upload_part={"ETag": "part"},
        complete_multipart_upload={"ETag": "e"},
    )
    assert S3Objects(client, "b", "").put("k", io.BytesIO(b"0123456789"), if_absent=True) == "e"
    bodies = [given["Body"] for name, given in client.asked if name == "upload_part"]
    assert bodies == [b"0123", b"4567", b"89"]
    assert client.last("complete_multipart_upload")["IfNoneMatch"] == "*"


@pytest.mark.parametrize("failing", ["upload_part", "complete_multipart_upload"])
def test_parts_that_nothing_will_complete_are_given_up(monkeypatch: pytest.MonkeyPatch, failing: str) -> None:
    """They cost money, and no listing shows them; that giving up fails as well hides nothing."""
    monkeypatch.setattr(store, "PART", 4)
    answers: dict[str, Any] = {
        "create_multipart_upload": {"UploadId": "u"},
        "upload_part": {"ETag": "part"},
        "complete_multipart_upload": {"ETag": "e"},
    }
    for given_up in ({}, Refused(403)):
        client = Client(**{**answers, failing: Refused(503), "abort_multipart_upload": given_up})
        with pytest.raises(Refused) as told:
            S3Objects(client, "b", "").put("k", io.BytesIO(b"0123456789"))
        assert told.value.response["ResponseMetadata"]["HTTPStatusCode"] == 503
        assert client.last("abort_multipart_upload")["UploadId"] == "u"


def test_a_list_goes_on_where_its_page_ends() -> None:
    """S3 answers with at most 1,000 objects."""

    def page(key: str, **more: Any) -> dict[str, Any]:
        return {"Contents": [{"Key": key, "Size": 1, "ETag": "e", "LastModified": WHEN}], **more}

    pages = [page("p/a", IsTruncated=True, NextContinuationToken="t"), page("p/b")]
    client = Client(list_objects_v2=pages)
    assert [one.key for one in S3Objects(client, "b", "p").list("")] == ["a", "b"]
    assert client.last("list_objects_v2")["ContinuationToken"] == "t"


def test_uploads_that_go_on_are_not_given_up() -> None:
    """Only those that began before the moment that was named."""
    begun = [WHEN, WHEN + datetime.timedelta(seconds=1)]
    uploads = [{"Key": f"p/{n}", "UploadId": f"u{n}", "Initiated": at} for n, at in enumerate(begun)]
    client = Client(list_multipart_uploads={"Uploads": uploads}, abort_multipart_upload={})
    assert S3Objects(client, "b", "p").abort_uploads("", WHEN.timestamp()) == 1
    assert client.last("abort_multipart_upload")["UploadId"] == "u0"
