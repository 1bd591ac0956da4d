"""Text and tables from outside: every error has its place, and what is right is read as it is."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaoskit.core.errors import UsageError
from chaoskit.runtime import MalformedData, read_rows, read_text
from chaoskit.runtime.guarding.inputs import rows


@pytest.fixture
def file(tmp_path):
    """A function that writes bytes to a file and returns its path."""

    def write(data):
        path = tmp_path / "table.csv"
        path.write_bytes(data)
        return path

    return write


def values(path, **options):
    return [row.values for row in read_rows(path, **options)]


def test_a_table_is_read(file):
    """By position, by name and as a dictionary, with the line that each row begins in."""
    found = list(read_rows(file(b'id,name\r\n1,"a, ""b"""\r\n\r\n2,"two\nlines"\r\n3,c')))
    assert [row.values for row in found] == [("1", 'a, "b"'), ("2", "two\nlines"), ("3", "c")]
    assert [row.line for row in found] == [2, 4, 6]
    assert found[0]["name"] == 'a, "b"'
    assert found[2].as_dict() == {"id": "3", "name": "c"}


@pytest.mark.parametrize(
    ("data", "line", "column", "text"),
    [
        (b"", 1, 1, "the file is empty"),
        (b"a,,c\n", 1, 3, "has no name"),
        (b"a,b,a\n", 1, 5, "there twice"),
        (b"a,b\n1,2,3\n", 2, 5, "3 values for 2 columns"),
        (b"a,b\n1,2\n3\n", 3, 1, "1 values for 2 columns"),
        (b'a,b\n1,"x\ny",3\n', 3, 4, "3 values for 2 columns"),
        (b'a,b\n1,x"y\n', 2, 4, "a quote in a field"),
        (b'a,b\n1,"x"y\n', 2, 6, "'y' after a closing quote"),
        (b'a,b\n1,"x\n\n\n', 2, 3, "never closed"),
        (b"a,b\n1,\0\n", 2, 3, "NUL"),
        (b"a,b\r\n1,\xe9\n", 2, 3, "the bytes e9 are not utf-8"),
        (b"a,b\r1,\xc3", 2, 3, "the bytes c3 are not utf-8"),
        (b"a,b\n" + b"1," + b"x" * 101 + b"\n", 2, 3, "a field of 101 characters"),
        (b"a,b\n" + b'1,"' + b"x\n" * 60 + b'"\n', 2, 3, "a field of more than 100 characters"),
        (b"\xff\xfea\0,\0", 1, 1, "byte order mark of utf-16"),
        (b"a" * 80_000, 1, 1, "a line of more than"),
        (b"a,b\n" + b"1," + b"x" * 101 + b",3,4\n", 2, 105, "4 values for 2 columns"),
        (b'a,b\n1,"2",3,4,5\n', 2, 7, "5 values for 2 columns"),
        (b"a,b\n" + b'"\n",' * 50_000, None, 3, "a record of more than"),
        (b"," * 2_000, 1, 1, "has no name"),
        ("\ufeff\ufeffa,b\n1,2\n".encode(), 1, 1, "marked twice"),
        ("\ufeffa,b\n1,2\n\ufeffa,b\n3,4\n".encode(), 3, 1, "files were joined here"),
    ],
)
def test_what_is_wrong_is_located(file, data, line, column, text):
    """File, line and column are in the error and in its message."""
    path = file(data)
    with pytest.raises(MalformedData, match=text) as caught:
        list(read_rows(path, max_field=100))
    error = caught.value
    # None: where it is noticed depends on how much of it is too much.
    assert (error.file, error.line, error.column) == (str(path), line or error.line, column)
    assert f"line {error.line}, column {column}" in str(error)


def test_a_line_without_an_end_is_searched_once(file, monkeypatch):
    """Each piece is looked through by itself, and not again with each one that follows it."""
    looked = 0

    class Counted(str):
        def __radd__(self, other):
            return Counted(str(other) + str(self))

        def removesuffix(self, suffix, /):
            nonlocal looked
            looked += len(self)
            return str(self).removesuffix(suffix)

    found = rows.pieces
    monkeypatch.setattr(rows, "pieces", lambda *arguments: map(Counted, found(*arguments)))
    assert [len(row["a"]) for row in read_rows(file(b"a\n" + b"x" * (1 << 20) + b"\n"))] == [1 << 20]
    assert 1 << 20 < looked < 2 << 20


@pytest.mark.parametrize(
    ("data", "encoding"),
    [
        ("a,b\n1,2\n".encode("utf-16-le"), "utf-16"),
        (b"a,b\n1,2\n", "punycode"),
    ],
)
def test_an_encoding_that_names_no_place_is_located_too(file, data, encoding):
    """Codecs raise errors with and without a place; both come out as one. From 3.14 on, these name one."""
    with pytest.raises(MalformedData, match=f"(it is|are) not {encoding}") as caught:
        read_text(file(data), encoding=encoding)
    assert caught.value.line == 1
    assert caught.value.column in (1, 2)


@pytest.mark.parametrize(
    ("header", "column", "text"),
    [
        (b"a,x\n", 3, "the column 'x'; expected 'b'"),
        (b"a\n", 1, "the column 'b' is missing"),
        (b"a,b,c\n", 5, "expected no more columns"),
    ],
)
def test_the_header_is_what_was_promised(file, header, column, text):
    """A wrong, a missing and an additional column are each told where they are."""
    with pytest.raises(MalformedData, match=text) as caught:
        list(read_rows(file(header), columns=["a", "b"]))
    assert (caught.value.line, caught.value.column) == (1, column)


def test_a_value_that_only_the_program_knows_to_be_wrong(file):
    """A row makes the error at the place of its value."""
    found = list(read_rows(file(b'id,size\n1,"a\nb",\n'.replace(b'"a\nb",', b"x"))))
    error = found[0].error("size", "expected a number")
    assert (error.line, error.column) == (2, 3)
    assert "size is 'x': expected a number" in str(error)
    with pytest.raises(UsageError, match="column is 'nope'"):
        found[0]["nope"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32", "latin-1"])
def test_encodings_and_their_marks(file, encoding):
    """A byte order mark is not part of the text; positions count characters."""
    path = file("name,größe\nä,1\nö\n".encode(encoding))
    read = "utf-8" if encoding == "utf-8-sig" else encoding
    with pytest.raises(MalformedData) as caught:
        list(read_rows(path, encoding=read))
    assert (caught.value.line, caught.value.column) == (3, 1)
    assert read_text(path, encoding=read).startswith("name,größe\n")


@pytest.mark.parametrize("width", [16, 32])
@pytest.mark.parametrize("order", ["le", "be"])
def test_a_mark_is_not_part_of_the_text_where_its_order_was_named(file, width, order):
    """And one of the other order is refused: the text would be nonsense."""
    encoding = f"utf-{width}-{order}"
    path = file("\ufeffa,b\n1,2\n".encode(encoding))
    assert [row.as_dict() for row in read_rows(path, encoding=encoding)] == [{"a": "1", "b": "2"}]
    assert read_text(path, encoding=encoding) == "a,b\n1,2\n"
    with pytest.raises(MalformedData, match=f"byte order mark of utf-{width}"):
        read_text(path, encoding=f"utf-{width}-{'be' if order == 'le' else 'le'}")


def test_pieces_may_end_anywhere(file):
    """A character, a line end or a quoted field that lies across two pieces is read as one."""
    for shift in range(4):
        first = b"a" * (65536 - 5 - shift) + b",b\r\n"
        data = first + b'1,"\xc3\xa9\r\n"\r\n2,x\r\n'
        assert values(file(data)) == [("1", "é\n"), ("2", "x")]


def test_a_text_may_be_too_long(file):
    """More characters than the limit are refused at the first that is too many."""
    with pytest.raises(MalformedData, match="more than 5 characters") as caught:
        read_text(file(b"ab\ncdef"), limit=5)
    assert (caught.value.line, caught.value.column) == (2, 3)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"delimiter": '"'}, "delimiter is"),
        ({"max_field": 0}, "max_field is 0"),
        ({"max_field": "many"}, "max_field is 'many'"),
        ({"delimiter": 5}, "delimiter is 5"),
        ({"columns": "a"}, "columns is 'a'"),
        ({"columns": 5}, "columns is 5"),
        ({"columns": ["a", None]}, "one of columns is None"),
        ({"encoding": "klingon"}, "encoding is 'klingon'"),
        ({"encoding": "hex"}, "encoding is 'hex'"),
        ({"encoding": None}, "encoding is None"),
    ],
)
def test_wrong_use_is_told(file, options, text):
    """Each argument that cannot be right is named with what was expected."""
    with pytest.raises(UsageError, match=text):
        list(read_rows(file(b"a\n"), **options))


FIELDS = st.text(st.characters(exclude_characters="\0\r\ufeff", exclude_categories=["Cs"]), max_size=8)


@given(st.lists(st.lists(FIELDS, min_size=2, max_size=2), max_size=6), st.sampled_from(["\n", "\r\n"]))
def test_what_csv_writes_is_read_back(tmp_path_factory, rows, end):
    """The standard library's writer and this reader agree on every table."""
    out = io.StringIO()
    csv.writer(out, lineterminator=end).writerows([["a", "b"], *rows])
    path = tmp_path_factory.mktemp("csv") / "t.csv"
    path.write_bytes(out.getvalue().encode())
    assert values(path) == [tuple(row) for row in rows]
