"""Command lines whose options carry a secret under a name that says nothing, such as ``mysql -pX``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

__all__ = ["hide_in_arguments", "hide_in_text"]

# Programs; the option after which the secret follows; what of it is kept: nothing, or up to this character.
# ``attached`` options have the secret in the same word, the others in the next or after an equals sign.
_MYSQL = ("mysql", "mysqldump", "mysqladmin", "mysqlimport", "mariadb", "mariadb-dump")
_OPTIONS: tuple[tuple[tuple[str, ...], tuple[str, ...], str, bool], ...] = (
    (_MYSQL, ("-p",), "", True),
    (("sshpass",), ("-p",), "", False),
    (("sshpass", "7z", "7za", "rar", "unrar"), ("-p",), "", True),
    (("docker", "podman", "helm", "oras", "az", "heroku", "cf"), ("-p",), "", False),
    (("curl",), ("-u", "--user", "-U", "--proxy-user"), ":", False),
    (("redis-cli", "valkey-cli"), ("-a",), "", False),
    (("zip", "unzip"), ("-P",), "", False),
    (("ldapsearch", "ldapmodify", "ldapadd", "ldapwhoami"), ("-w",), "", False),
    (("smbclient", "rpcclient", "net"), ("-U",), "%", False),
    (("snmpget", "snmpwalk", "snmpset"), ("-c", "-A", "-X"), "", False),
    (("openssl",), ("-passin", "-passout", "-pass", "-k", "-K"), "", False),
    (("mongo", "mongosh", "mongodump", "mongorestore"), ("-p",), "", False),
    (("sqlcmd", "bcp"), ("-P",), "", False),
)
_BY_PROGRAM: dict[str, list[tuple[tuple[str, ...], str, bool]]] = {}
for _programs, _options, _kept_to, _attached in _OPTIONS:
    for _program in _programs:
        _BY_PROGRAM.setdefault(_program, []).append((_options, _kept_to, _attached))

_WORD = re.compile(r"'[^']{0,2000}'?|\"[^\"]{0,2000}\"?|[^\s|;&<>]{1,2000}")
_END = re.compile(r"[|;&\n]")
_NAMES = re.compile(rf"(?<![\w.-])(?:{'|'.join(map(re.escape, _BY_PROGRAM))})(?=\s+\S)")


def hide_in_text(text: str, mark: str) -> str:
    """``text`` with the secrets of known command lines in it replaced by ``mark``."""
    parts, done = [], 0
    for program in _NAMES.finditer(text):
        if program.start() < done:
            continue
        stop = _END.search(text, program.end())
        # What follows further on is hardly of this command, and looking at all of it would cost time.
        end = min(stop.start() if stop else len(text), program.end() + 4000)
        words = list(_WORD.finditer(text, program.end(), end))
        for word, shown in zip(words, _hidden(program[0], [w[0] for w in words], mark), strict=True):
            if shown != word[0]:
                parts += [text[done : word.start()], shown]
                done = word.end()
    return "".join([*parts, text[done:]])


def hide_in_arguments(arguments: list[str], mark: str) -> list[str]:
    """The words of a command, with the secrets among them replaced by ``mark``."""
    program = re.split(r"[/\\]", arguments[0])[-1].removesuffix(".exe") if arguments else ""
    return [arguments[0], *_hidden(program, arguments[1:], mark)] if program in _BY_PROGRAM else arguments


def _hidden(program: str, words: Iterable[str], mark: str) -> Iterator[str]:
    keep: str | None = None
    for word in words:
        if keep is not None:
            # Of user:password the user is kept.
            user, found, _ = word.partition(keep) if keep else ("", "", "")
            yield f"{user}{found}{mark}" if found or not keep else word
            keep = None
            continue
        shown = word
        for options, separator, attached in _BY_PROGRAM[program]:
            if word in options and not attached:
                keep = separator
            elif attached and word.startswith(options) and word not in options:
                shown = options[0] + mark
        yield shown
