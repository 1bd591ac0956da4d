"""Hides secrets on command lines behind options whose names do not give them away, such as ``mysql -pX``."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

__all__ = ["hide_in_arguments", "hide_in_text"]

# Where the secret is: in the word after the option, in the option's own word, or in either.
_NEXT, _SAME, _EITHER = "next", "same", "either"
_MYSQL = ("mysql", "mysqldump", "mysqladmin", "mysqlimport", "mariadb", "mariadb-dump")
_LDAP = ("ldapsearch", "ldapmodify", "ldapadd", "ldapwhoami", "ldapdelete", "ldappasswd")
_LOGS_IN = ("docker", "podman", "nerdctl", "helm", "oras", "az", "cf")
"""For these programs the options count only after ``login``: elsewhere -p is a port."""
# Programs; their options; the character up to which the value is kept, if any; where the secret is.
_OPTIONS: tuple[tuple[tuple[str, ...], tuple[str, ...], str, str], ...] = (
    (_MYSQL, ("-p",), "", _SAME),
    (("sshpass",), ("-p",), "", _EITHER),
    (("7z", "7za", "rar", "unrar"), ("-p",), "", _SAME),
    (_LOGS_IN, ("-p",), "", _NEXT),
    (("twine", "psexec"), ("-p",), "", _NEXT),
    (("curl",), ("-u", "--user", "-U", "--proxy-user"), ":", _EITHER),
    (("http", "https", "xh"), ("-a", "--auth"), ":", _EITHER),
    (("lftp",), ("-u", "--user"), ",", _EITHER),
    (("redis-cli", "valkey-cli"), ("-a",), "", _NEXT),
    (("zip", "unzip"), ("-P",), "", _EITHER),
    (_LDAP, ("-w",), "", _EITHER),
    (("smbclient", "rpcclient", "net"), ("-U", "--user"), "%", _EITHER),
    (("snmpget", "snmpwalk", "snmpset"), ("-c", "-A", "-X"), "", _EITHER),
    (("openssl",), ("-passin", "-passout", "-pass", "-k", "-K"), "", _NEXT),
    (("keytool", "jarsigner"), ("-storepass", "-keypass", "-srcstorepass", "-deststorepass"), "", _NEXT),
    (("ssh-keygen",), ("-N", "-P"), "", _NEXT),
    (("mongo", "mongosh", "mongodump", "mongorestore"), ("-p",), "", _NEXT),
    (("sqlcmd", "bcp"), ("-P",), "", _EITHER),
)
_BY_PROGRAM: dict[str, list[tuple[tuple[str, ...], str, str]]] = {}
for _programs, _options, _kept_to, _where in _OPTIONS:
    for _program in _programs:
        _BY_PROGRAM.setdefault(_program, []).append((_options, _kept_to, _where))
# Options without a value, which may share a word with the one that takes the secret: curl -su.
_SWITCHES = re.compile(r"-(?=.)[sSfkLiIgGvjJnNOqR0-46#]*")

_WORD = re.compile(r"'[^']{0,2000}'?|\"[^\"]{0,2000}\"?|[^\s|;&<>]{1,2000}")
_END = re.compile(r"[|;&\n]")
_NAMES = re.compile(rf"(?<![\w.-])(?:{'|'.join(map(re.escape, _BY_PROGRAM))})(?=\s+\S)")


def hide_in_text(text: str, mark: str) -> str:
    """``text`` with the secrets of known command lines replaced by ``mark``."""
    parts, done = [], 0
    for program in _NAMES.finditer(text):
        if program.start() < done:
            continue
        stop = _END.search(text, program.end())
        # Words further on hardly belong to this command, and searching all of them would take time.
        end = min(stop.start() if stop else len(text), program.end() + 4000)
        words = list(_WORD.finditer(text, program.end(), end))
        for word, shown in zip(words, _hidden(program[0], [w[0] for w in words], mark), strict=True):
            if shown != word[0]:
                parts += [text[done : word.start()], shown]
                done = word.end()
    return "".join([*parts, text[done:]])


def hide_in_arguments(arguments: list[str], mark: str) -> list[str]:
    """The words of a command, with its secrets replaced by ``mark``."""
    shown = list(arguments)
    # Not only the first word: sudo, env, docker exec and ssh run another program.
    for place, word in enumerate(arguments):
        program = re.split(r"[/\\]", word)[-1].removesuffix(".exe")
        if program in _BY_PROGRAM:
            shown[place + 1 :] = _hidden(program, shown[place + 1 :], mark)
    return shown


def _hidden(program: str, words: Sequence[str], mark: str) -> Iterator[str]:
    if program in _LOGS_IN and "login" not in words:
        yield from words
        return
    keep: str | None = None
    for word in words:
        if keep is not None:
            yield _without(word, keep, mark)
            keep = None
            continue
        shown = word
        for options, separator, where in _BY_PROGRAM[program]:
            option = _option(program, word, options)
            if option is None:
                continue
            rest = word[len(option) :]
            if not rest and where != _SAME:
                keep = separator
            elif rest and where != _NEXT:
                # Only a long option has an equals sign.
                sign = "=" if option.startswith("--") else ""
                shown = option + sign + _without(rest.removeprefix(sign), separator, mark)
        yield shown


def _option(program: str, word: str, options: tuple[str, ...]) -> str | None:
    """The start of ``word`` if it is one of ``options``, perhaps with other switches before its letter."""
    switches = _SWITCHES.match(word) if program == "curl" else None
    for option in options:
        if word == option or word.startswith(option + "=" if option.startswith("--") else option):
            return option
        if switches is not None and len(option) == 2 and word.startswith(option[1], switches.end()):
            return word[: switches.end() + 1]
    return None


def _without(value: str, keep: str, mark: str) -> str:
    """A value without its secret: of user:password the user is kept, and so are the quotes."""
    if not keep:
        return mark
    user, found, _ = value.partition(keep)
    quote = value[0] if value[:1] in ("'", '"') and value[-1] == value[0] and len(value) > 1 else ""
    return f"{user}{found}{mark}{quote}" if found else value
