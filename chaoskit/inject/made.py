"""HTTP answers that the harness makes."""

from __future__ import annotations

import json
from http import HTTPStatus

from chaoskit.faults.traffic import Answered, AwsError
from chaoskit.inject.http import Head

_FRAMING = (b"content-length", b"transfer-encoding", b"trailer")


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Status"


def page(status: int, *, close: bool) -> bytes:
    """The answer of a proxy or gateway: a page, since it does not know what was asked for."""
    phrase = _phrase(status)
    body = f"<html><body><h1>{status} {phrase}</h1></body></html>\n".encode()
    fields = [(b"content-type", b"text/html"), (b"content-length", str(len(body)).encode())]
    if status in (429, 503):
        fields.append((b"retry-after", b"1"))
    if status == 401:
        fields.append((b"www-authenticate", b'Bearer error="invalid_token"'))
    if close:
        fields.append((b"connection", b"close"))
    return Head(f"HTTP/1.1 {status} {phrase}".encode(), fields).raw() + body


def answer(shape: Answered | AwsError, *, close: bool) -> bytes:
    """The answer given in place of the server's."""
    if isinstance(shape, Answered):
        return page(shape.status, close=close)
    kind, body = _envelope(shape)
    fields = [
        (b"content-type", kind),
        (b"content-length", str(len(body)).encode()),
        (b"x-amzn-requestid", _REQUEST),
        (b"x-amzn-errortype", shape.code.encode()),
    ]
    if close:
        fields.append((b"connection", b"close"))
    return Head(f"HTTP/1.1 {shape.status} {_phrase(shape.status)}".encode(), fields).raw() + body


_REQUEST = b"4442587FB7D0A2F9"


def _envelope(error: AwsError) -> tuple[bytes, bytes]:
    """Content type and body, as the protocol of the service has them (AWS: "Smithy", protocol tests)."""
    code, request = error.code, _REQUEST.decode()
    said = f"<Code>{code}</Code><Message>injected by chaoskit</Message>"
    match error.protocol:
        case "rest-xml":
            return b"application/xml", f"<Error>{said}<RequestId>{request}</RequestId></Error>".encode()
        case "ec2":
            inner = f"<Errors><Error>{said}</Error></Errors><RequestID>{request}</RequestID>"
            return b"text/xml", f"<Response>{inner}</Response>".encode()
        case "query":
            inner = f"<Error><Type>Sender</Type>{said}</Error><RequestId>{request}</RequestId>"
            return b"text/xml", f"<ErrorResponse>{inner}</ErrorResponse>".encode()
    body = {"__type": code, "message": "injected by chaoskit"}
    return b"application/x-amz-json-1.0", json.dumps(body).encode()


def spoilt(head: Head, body: bytes, how: str) -> bytes:
    """An answer with a malformed part, or without its length."""
    kept = head.without(*_FRAMING)
    if how == "no-length":
        kept = kept.without(b"connection", b"keep-alive")
        kept.fields.append((b"connection", b"close"))
        return kept.raw() + body
    if how == "cut":
        body = body[: len(body) // 2]
    else:
        body = b"<html><body>Please log in to use this network.</body></html>\n"
        kept = kept.without(b"content-type", b"content-encoding", b"etag")
        kept.fields.append((b"content-type", b"text/html"))
    kept.fields.append((b"content-length", str(len(body)).encode()))
    return kept.raw() + body
