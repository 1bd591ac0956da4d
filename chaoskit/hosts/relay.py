"""What execnet runs on a host, where chaoskit may not be importable: a pytest, and a pipe to it each way.

Nothing is imported from here: the source of this file is sent. It ends when the channel or the pytest does.
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
    """The directory with the code of this digest; it is asked for if it is not here yet."""
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
            # Before CPython 3.11.4. By its digest the archive is the one that was meant.
            archive.extractall(draft)
    try:
        # Whole or not there, also if the same is sent twice at once.
        os.rename(draft, place)
    except OSError:
        shutil.rmtree(draft)
    return place


def relay(channel: Any, words: list[str], settings: dict[str, str], digest: str, directory: str) -> None:
    """Start ``words`` with this Python, and pass everything on between it and ``channel``.

    They run in ``directory`` of the code with ``digest``, or where this process is if there is none.
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
        # At the end of its input the pytest goes by itself, and removes what its cases have left.
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
