"""How files of known formats get damaged: at their borders, in their checksums, by hostile members.

Each module knows one format. :mod:`.formats` finds out which format a file has and enumerates its damages;
labels are made of the format's own structures and never of offsets, so that they mean the same in the next
run, in which the file may have another content.
"""
