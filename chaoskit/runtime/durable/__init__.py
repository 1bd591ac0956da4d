"""Everything that writes: files, snapshots, the store, and the parts built on them.

Every part names the crash it survives by a level of ``chaoskit.runtime.durable.levels``. Unless the caller
says otherwise, that is a power loss.
"""
