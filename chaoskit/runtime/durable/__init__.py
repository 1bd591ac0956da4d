"""What writes: files, snapshots, the store and all that stands on it.

Every part names the crash it survives by a level of ``chaoskit.runtime.durable.levels``; without a word
it is loss of power.
"""
