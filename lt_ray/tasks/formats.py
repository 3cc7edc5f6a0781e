"""Tables in files: Parquet, CSV, TSV and JSON, plain or compressed, as columns of values."""

from __future__ import annotations

import bz2
import contextlib
import csv
import gzip
import io
import json
import lzma
import re
import sys
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import IO, Any, cast

from lt_ray.errors import DataError
from lt_ray.tasks.tables import Layout, listed

Columns = Mapping[str, Sequence[object]]

SAFE = "write the table as JSON lines or Parquet, where quotes mean nothing"
"""The way out of everything that quotes can do"""
ROWS = 1024
"""Rows of a Parquet file that are read at once: of encoded pictures some 100 MB [count]"""


@dataclass(frozen=True)
class Content:
    """What a file holds: all its columns by name, with values at least for those asked for."""

    columns: Columns
    classes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Column → the class names that the file itself has for it, in label order"""


def format_of(path: Path) -> str | None:
    """Return the suffix in `FORMATS` of a file's name, None where it has none; `.csv.gz` is a `.csv`."""
    name = path.name.lower()
    for suffix in OPENERS:
        name = name.removesuffix(suffix)
    suffix = Path(name).suffix
    return suffix if suffix in FORMATS else None


def read(path: Path, layout: Layout) -> Content:
    """Return the columns of a file that has a format, one value a row.

    Raises `DataError` for a file that is not what its name says, a table with a stray quote, and a column of `layout`
    that is there twice.
    """
    import pyarrow

    form = format_of(path)
    assert form is not None
    opener = OPENERS.get(path.suffix.lower(), Path.open)
    try:
        with cast(IO[bytes], opener(path, "rb")) as file:
            return FORMATS[form](str(path), file, layout)
    except (OSError, EOFError, ValueError, lzma.LZMAError, pyarrow.ArrowException) as error:
        kind = "".join(path.suffixes[-2:] if path.suffix.lower() in OPENERS else path.suffixes[-1:]).removeprefix(".")
        raise DataError(f"{path}: the file must be readable as {kind}, but it is not ({line_of(error)}).") from None


def line_of(error: BaseException) -> str:
    """Return the first line of an error's message."""
    return str(error).strip().split("\n")[0].rstrip(".") or type(error).__name__


def columnar(file: IO[bytes], form: str) -> tuple[Any, Callable[[Sequence[str]], Iterable[Any]]]:
    """Return the schema of a `.parquet` or `.arrow` file, and what gives the record batches of some of its columns."""
    from pyarrow import ArrowInvalid, ipc, parquet

    if form == ".parquet":
        table = parquet.ParquetFile(file)
        return table.schema_arrow, lambda names: table.iter_batches(ROWS, columns=list(names))
    try:
        batches = reader = ipc.open_stream(file)  # what Hugging Face's library writes
    except ArrowInvalid:
        file.seek(0)
        reader = ipc.open_file(file)
        batches = map(reader.get_batch, range(reader.num_record_batches))
    return reader.schema, lambda names: (batch.select(list(names)) for batch in batches)


def _columnar(source: str, file: IO[bytes], layout: Layout, form: str) -> Content:
    import pyarrow

    schema, batches = columnar(file, form)
    _check_once(source, schema.names, layout)
    wanted = [name for name in schema.names if name in layout.columns]
    # The others are only named in messages; a column of pictures is not worth reading for that.
    columns: dict[str, Sequence[object]] = dict.fromkeys(schema.names, ())
    table = pyarrow.Table.from_batches(batches(wanted), pyarrow.schema([schema.field(name) for name in wanted]))
    return Content(columns | table.to_pydict(), class_labels(schema.metadata))


def class_labels(metadata: Mapping[bytes, bytes] | None) -> dict[str, tuple[str, ...]]:
    """Return column → class names, as Hugging Face's library writes them into a file; nothing where it did not."""
    try:
        features = json.loads((metadata or {})[b"huggingface"])["info"]["features"]
        named = {name: feature["names"] for name, feature in features.items() if "names" in feature}
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}
    return {
        name: tuple(names)
        for name, names in named.items()
        if isinstance(names, list) and all(isinstance(each, str) for each in names)
    }


def _separated(source: str, file: IO[bytes], layout: Layout, delimiter: str) -> Content:
    """Return a table in which a field that begins with a quote ends at a quote before a delimiter or a line's end.

    A quote inside a field that does not begin with one is text. Where a field in quotes runs over lines that would each
    be a whole row by themselves, nobody can tell what was meant, and it is refused.
    """
    with io.TextIOWrapper(file, encoding="utf-8-sig", newline="") as text, _any_length():
        rows = _rows(source, text, delimiter)
        _, header, _ = next(rows, (0, [], ()))
        if not header:
            raise ValueError("it is empty")
        _check_once(source, header, layout)
        places = {name: place for place, name in enumerate(header) if name in layout.columns}
        columns: dict[str, list[str]] = {name: [] for name in places}
        several: list[tuple[int, int, tuple[str, ...]]] = []
        for number, (line, row, lines) in enumerate(rows, 1):
            if len(row) != len(header):
                raise DataError(
                    f"{source}: every row must have the header's {len(header)} columns, but row {number} (line {line}) "
                    f"has {len(row)}; put a text that holds a {_NAMES[delimiter]} in double quotes, or {SAFE}."
                )
            if len(lines) > 1:
                several.append((number, line, lines))
            for name, place in places.items():
                columns[name].append(row[place])
    label = layout.of(header).label
    if label in places:
        known = set(columns[label])
        for number, line, lines in several:
            _check_one_row(
                source, number, line, [part.split(delimiter) for part in lines], places[label], known, header
            )
    return Content({name: columns.get(name, ()) for name in header})


def _check_one_row(
    source: str,
    number: int,
    line: int,
    lines: Sequence[Sequence[str]],
    label: int,
    known: Collection[str],
    header: Sequence[str],
) -> None:
    """Refuse a row of several lines that would all be rows, with labels, if there were no quotes."""
    whole = [parts for parts in lines if any(part.strip() for part in parts)]
    if any(len(parts) != len(header) for parts in whole):
        return
    # The last line ends with the row's own label, which says nothing.
    labels = [parts[label].strip().strip('"') for parts in whole[:-1]]
    numbers = all(map(_NUMBER.fullmatch, known))
    times = Counter(labels)
    # A class may be swallowed whole: its label then comes again within the quotes.
    labelled = [name for name in labels if name in known or times[name] > 1 or (numbers and _NUMBER.fullmatch(name))]
    if labels and 3 * len(labelled) >= 2 * len(labels):
        raise DataError(
            f"{source}: a text in quotes must not hold lines that are rows themselves, but a quote opens in row "
            f"{number} (line {line}) and swallows {len(whole) - 1:,} more lines of {len(header)} columns with "
            f"labels; remove it if it is a stray one, double it and quote the whole text if it is text, or {SAFE}."
        )


def _rows(source: str, text: io.TextIOWrapper, delimiter: str) -> Iterator[tuple[int, list[str], tuple[str, ...]]]:
    """Yield each row: its first line, counted from 1, its fields, and its lines where it has several."""
    lines: list[str] = []

    def kept() -> Iterator[str]:
        for line in text:
            lines.append(line)
            yield line

    reader = csv.reader(kept(), delimiter=delimiter, strict=True)
    number = 0
    while True:
        first = reader.line_num + 1
        lines.clear()
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            where = f"row {number} (line {first})" if number else "the header"
            what = f"in line {reader.line_num} one stands in the middle of a field"
            if "unexpected end" in str(error):
                what = "the file ends first"
            raise DataError(
                f"{source}: a field that begins with a quote must end with one, before a {_NAMES[delimiter]} or the "
                f"end of a line, but the one that opens in {where} does not ({what}); remove a stray quote, or put the "
                f"whole text in quotes with each quote in it doubled, or {SAFE}."
            ) from None
        if row:
            yield first, row, tuple(line.rstrip("\r\n") for line in lines) if len(lines) > 1 else ()
            number += 1


@contextlib.contextmanager
def _any_length() -> Iterator[None]:
    """Let fields be of any length while in the block: the module's limit of 128 kB is for the whole process."""
    before = csv.field_size_limit(sys.maxsize)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _json(source: str, file: IO[bytes], layout: Layout) -> Content:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(pairs) != len(row := dict(pairs)):
            _check_once(source, [name for name, _ in pairs], layout)
        return row

    content = file.read().decode("utf-8-sig")
    if content.lstrip().startswith("["):
        rows = json.loads(content, object_pairs_hook=once)
    else:
        rows = [_json_line(i, line, once) for i, line in enumerate(content.split("\n"), 1) if line.strip()]
    for i, row in enumerate(rows, 1):
        if not isinstance(row, dict):
            raise ValueError(f"row {i} must be an object, but is {type(row).__name__}")
    if not rows:
        raise ValueError("it holds no row")
    if len(rows) == 1 and rows[0] and all(isinstance(value, dict | list) for value in rows[0].values()):
        raise ValueError(
            "it must hold one object a row, but holds one table by columns: write it with pandas' "
            '`to_json(…, orient="records", lines=True)`'
        )
    names = dict.fromkeys(name for row in rows for name in row)
    return Content({name: [row.get(name) for row in rows] for name in names})


def _json_line(number: int, line: str, once: Callable[[list[tuple[str, Any]]], dict[str, Any]]) -> object:
    try:
        return json.loads(line, object_pairs_hook=once)
    except ValueError as error:
        raise ValueError(f"line {number}: {error}") from None


def _check_once(source: str, names: Sequence[str], layout: Layout) -> None:
    for name in layout.columns:
        if (count := names.count(name)) > 1:
            raise DataError(
                f"{source}: a column must be there once, but `{name}` is there {count} times among {listed(names)}; "
                "rename or remove all but one."
            )


_NAMES = {",": "comma", "\t": "tab"}
_NUMBER = re.compile(r"\s*-?\d+\s*")

OPENERS: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
"""Suffix of a compressed file → what opens it"""
FORMATS: dict[str, Callable[[str, IO[bytes], Layout], Content]] = {
    ".parquet": partial(_columnar, form=".parquet"),
    ".arrow": partial(_columnar, form=".arrow"),
    ".csv": partial(_separated, delimiter=","),
    ".tsv": partial(_separated, delimiter="\t"),
    ".jsonl": _json,
    ".ndjson": _json,
    ".json": _json,
}
"""Suffix → reader of a file"""
