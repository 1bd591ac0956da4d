"""A small command line on SQLite that lacks one transaction, a store that lacks syncs, and a twin of each."""

from __future__ import annotations

NOTES = '''
"""Notes: one row each, and how many there are in a second table."""
import sqlite3, sys

def connect(path):
    connection = sqlite3.connect(path, timeout=0, isolation_level=None)
    connection.execute("pragma synchronous=extra")
    return connection

def create(path):
    connection = connect(path)
    connection.execute("create table notes (text)")
    connection.execute("create table total (number)")
    connection.execute("insert into total values (0)")
    connection.close()

def insert(connection, text):
    connection.execute("insert into notes values (?)", (text,))

def count(connection):
    connection.execute("update total set number = number + 1")

def add(path, text, whole):
    connection = connect(path)
    if whole:
        connection.execute("begin immediate")
    insert(connection, text)
    count(connection)
    if whole:
        connection.execute("commit")
    connection.close()

def show(path):
    connection = connect(path)
    texts = [text for (text,) in connection.execute("select text from notes")]
    ((number,),) = connection.execute("select number from total")
    connection.close()
    return texts, number

if __name__ == "__main__":
    add(sys.argv[1], sys.argv[2], sys.argv[3] == "whole")
'''

STORE = '''
"""A file for each key, and an index of all keys. Each of four syncs may be left out."""
import json, os

def sync(path, wanted):
    if wanted:
        fd = os.open(path, os.O_RDONLY)
        os.fsync(fd)
        os.close(fd)

def put_value(path, key, value, syncs):
    with open(path / f"{key}.tmp", "w") as file:
        file.write(value)
    sync(path / f"{key}.tmp", "value" in syncs)
    os.replace(path / f"{key}.tmp", path / f"{key}.value")
    sync(path, "name" in syncs)

def put_index(path, keys, syncs):
    with open(path / "index.new", "w") as file:
        json.dump(keys, file)
    sync(path / "index.new", "index" in syncs)
    os.replace(path / "index.new", path / "index.json")
    sync(path, "directory" in syncs)

def fill(path, values, syncs, promise=lambda key: None):
    for number, (key, value) in enumerate(values.items()):
        put_value(path, key, value, syncs)
        put_index(path, list(values)[: number + 1], syncs)
        promise(key)

def differing(path, promised, values):
    """The keys that were acknowledged and are not there as they were put."""
    try:
        keys = json.loads((path / "index.json").read_text())
        found = {key: (path / f"{key}.value").read_text() for key in keys}
    except (OSError, ValueError):
        found = {}
    return [key for key in promised if found.get(key) != values[key]]
'''
