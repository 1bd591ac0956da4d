"""Damage to files of known formats: at their borders, in their checksums, by hostile members.

Each module knows one format. :mod:`.formats` finds out which format a file has and enumerates its damages;
labels name the format's own structures, never offsets, so that they mean the same in the next run, when the
file may have another content.
"""
