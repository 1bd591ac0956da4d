"""HTTP requests made with ``requests``, for hand-picked faults.

Faults strike between a session and its transport: the network, or the stubs of ``responses``. So a stub says
what the server answers, and a rule what happens to the answer on its way.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from chaoskit.core.operation import NetworkDetail
from chaoskit.inject.base import PeerRequest
from chaoskit.inject.inprocess.call import PythonCall
from chaoskit.inject.inprocess.run import WatchedRun


def replaced(run: WatchedRun) -> Callable[[], object]:
    """Let ``run`` see requests of ``requests``, if it is loaded; return a function that undoes it."""
    peers = {peer.name for peer in run.plan.peers}
    adapters = sys.modules.get("requests.adapters")
    if adapters is None:
        return lambda: None
    adapter, original = adapters.HTTPAdapter, adapters.HTTPAdapter.send

    def send(self: Any, request: Any, *args: Any, **words: Any) -> Any:
        if run.passes():
            return original(self, request, *args, **words)
        call = _call(request)

        def do() -> Any:
            # Its name look-up and its connection are operations, too.
            with run.without():
                run.requesting.now = True
                try:
                    answer = original(self, request, *args, **words)
                finally:
                    run.requesting.now = False
            detail = call.detail()
            if isinstance(detail, NetworkDetail) and detail.peer in peers:
                run.requests.append(PeerRequest(detail.peer, detail.method, detail.path, _body(request)))
            return answer

        return run.make(replace(call, do=do))

    adapter.send = send
    return lambda: setattr(adapter, "send", original)


def _call(request: Any) -> PythonCall:
    parts = urlsplit(request.url)
    host, path = parts.hostname or "", parts.path or "/"
    detail = NetworkDetail(peer=host, sent=len(_body(request)), method=request.method, path=path)
    return PythonCall(
        *("http", f"{host},{request.method},{path}", "send", bool, lambda: detail),
        names=(request,),
        result=lambda answer: int(getattr(answer, "status_code", 0)),
        after=_answered_detail,
    )


def _body(request: Any) -> bytes:
    body = request.body.encode() if isinstance(request.body, str) else request.body
    return body if isinstance(body, bytes) else b""


def _answered_detail(answer: Any, detail: Any) -> Any:
    """How much came, according to the answer itself, whose header has been parsed already."""
    head = len(f"HTTP/1.1 {answer.status_code} {answer.reason}\r\n\r\n") + sum(
        len(f"{name}: {value}\r\n") for name, value in answer.headers.items()
    )
    length = str(answer.headers.get("Content-Length", ""))
    body = int(length) if length.isdigit() and detail.method != "HEAD" else 0
    kind = str(answer.headers.get("Content-Type", "")).partition(";")[0].strip()
    return replace(detail, received=head + body, head=head, status=answer.status_code, kind=kind)
