"""Execnet runs this on a host, where chaoskit may not be importable: it starts a pytest with a pipe each way.

The source of this file is sent and not imported. It ends when the channel or the pytest does.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import threading
from typing import Any

CACHE = "chaoskit/code"
"""Where code is kept, below the user's cache directory."""


def unpacked(channel: Any, digest: str) -> str:
    """The directory with the code of this digest; the code is requested if it is missing."""
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    place = os.path.join(cache, CACHE, digest)
    wanted = not os.path.isdir(place)
    channel.send(wanted)
    if not wanted:
        return place
    data = channel.receive()
    if hashlib.sha256(data).hexdigest() != digest:
        raise ValueError(f"the code that came is not that of the digest {digest}")
    os.makedirs(os.path.dirname(place), exist_ok=True)
    draft = tempfile.mkdtemp(dir=os.path.dirname(place))
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        if hasattr(tarfile, "data_filter"):
            archive.extractall(draft, filter="data")
        else:
            # CPython before 3.11.4 has no filters. The digest proves that the archive is the right one.
            archive.extractall(draft)
    try:
        # Atomic, even if the same code is sent twice at once.
        os.rename(draft, place)
    except OSError:
        shutil.rmtree(draft)
    return place


def relay(channel: Any, words: list[str], settings: dict[str, str], digest: str, directory: str) -> None:
    """Start ``words`` with this Python, and pass data on between it and ``channel``.

    They run in ``directory`` of the code with ``digest``; without a digest, where this process runs.
    """
    process = subprocess.Popen(
        [sys.executable, *words],
        cwd=os.path.join(unpacked(channel, digest), directory) if digest else None,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, **settings},
        start_new_session=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    feed, output = process.stdin, process.stdout.fileno()

    def onwards() -> None:
        # At the end of its input the pytest exits, and removes what its cases have left.
        with contextlib.suppress(OSError), feed:
            for data in channel:
                feed.write(data)
                feed.flush()

    threading.Thread(target=onwards, daemon=True).start()
    while data := os.read(output, 1 << 16):
        channel.send(data)
    process.wait()


if __name__ == "__channelexec__":
    relay(channel, *channel.receive())  # type: ignore[name-defined]  # noqa: F821
