"""What the Python that runs this is, as one line of JSON. Runs on any Python 3: others are asked, too."""

import json
import platform
import sys
import sysconfig

missing = []
for name in ("ctypes", "ssl", "sqlite3", "zlib", "bz2", "lzma"):
    try:
        __import__(name)
    except ImportError:
        missing.append(name)
try:
    import ensurepip
except ImportError:
    ensurepip = None
print(
    json.dumps(
        {
            "executable": sys.executable,
            "version": list(sys.version_info[:3]),
            "final": sys.version_info.releaselevel == "final",
            "cpython": platform.python_implementation() == "CPython",
            "gil": not sysconfig.get_config_var("Py_GIL_DISABLED"),
            "base": sys.base_prefix,
            "in_venv": sys.prefix != sys.base_prefix,
            "missing": missing,
            "pip": ensurepip is not None,
        }
    )
)
