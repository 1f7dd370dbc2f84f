"""Shards of a job, each made by a process of its own, as the one file that one process makes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dictionaries.extras import need
from dictionaries.files.place import writable_file, writable_folder
from steer.disk.ledger import KINDS, Contents, difference, read_ledger
from steer.disk.parquet import SUFFIX, is_parquet, write_parquet
from steer.errors import SteerError

SHARD = "shard"
"""In the header of a shard's file: which of how many it is."""
_UNFINISHED = "is not finished: give its command again, and it goes on from there"


@dataclass(frozen=True)
class Shard:
    """The units of a job that fall to one of `count` processes: number 1 to count."""

    number: int = 1
    count: int = 1

    @classmethod
    def parse(cls, text: str) -> Shard:
        """From `2/3`. Raises `SteerError` for anything else."""
        number, slash, count = text.partition("/")
        if not (slash and number.isdecimal() and count.isdecimal()):
            raise SteerError(f"shard {text!r} is none: give number/count, such as 2/3")
        if not 1 <= int(number) <= int(count):
            raise SteerError(f"shard {text} does not exist: of {count} there are 1 to {count}")
        return cls(int(number), int(count))

    def has(self, part: int, unit: int) -> bool:
        """Whether it falls to this one: units are dealt out in turn, each part from another on."""
        return (part + unit) % self.count == self.number - 1

    def header(self, header: dict[str, Any]) -> dict[str, Any]:
        """The header of this shard's file; the job's own if it is all there is."""
        return header if self.count == 1 else {**header, SHARD: str(self)}

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"


def merge(files: Sequence[Path], out: Path) -> Contents:
    """Join finished shards, given in any order, into what one process would have written.

    out: where it ends in `.parquet`, the same rows as columns, of a whole file too.
    Raises `SteerError` for a shard of another run, one that is there twice, is missing or is not
    finished, and for an `out` that is there; `MissingExtraError` for columns without pyarrow.
    """
    if out.exists():
        raise SteerError(f"{out} is there already; give another file")
    as_columns = is_parquet(out)
    if as_columns:
        need("pyarrow")
    writable_folder(out.parent)
    writable_file(out)
    read = [(file, _read(file)) for file in files]
    alone = as_columns and len(read) == 1 and SHARD not in read[0][1].header
    whole = _finished(*read[0]) if alone else _joined(read)
    if as_columns:
        write_parquet(whole, out)
    else:
        whole.write(out)
    return whole


def _joined(read: Sequence[tuple[Path, Contents]]) -> Contents:
    shards = _of_one_run(read)
    stages = {stage for _, there in shards.values() for stage in there.ends}
    for file, there in shards.values():
        if not stages or stages - there.ends.keys():
            raise SteerError(f"shard {there.header[SHARD]}, {file}, {_UNFINISHED}")
    contents = [there for _, there in shards.values()]
    return Contents(
        header={name: value for name, value in contents[0].header.items() if name != SHARD},
        units={key: rows for there in contents for key, rows in there.units.items()},
        ends={stage: sum(there.ends[stage] for there in contents) for stage in contents[0].ends},
    )


def _finished(file: Path, there: Contents) -> Contents:
    if not there.ends or {key[0] for key in there.units} - there.ends.keys():
        raise SteerError(f"{file} {_UNFINISHED}")
    return there


def _read(file: Path) -> Contents:
    if not file.is_file():
        raise SteerError(f"there is no file {file}")
    return read_ledger(file)


def _of_one_run(read: Sequence[tuple[Path, Contents]]) -> dict[int, tuple[Path, Contents]]:
    """By number; all of them, once each."""
    if not read:
        raise SteerError("no shards were given; name their files")
    for file, there in read:
        if not there.units and not there.ends and not there.kind:
            raise SteerError(f"{file} is no file of a job's rows; name shards' files")
        if SHARD not in there.header:
            raise SteerError(
                f"{file} is no shard: it was written without --shard, and is whole; alone it can "
                f"be made columns, with a name in {SUFFIX}"
            )
    first, like = read[0]
    count = Shard.parse(like.header[SHARD]).count
    by_number: dict[int, tuple[Path, Contents]] = {}
    for file, there in read:
        shard = Shard.parse(there.header[SHARD])
        if there.kind != like.kind:
            held, asked = (KINDS.get(one.kind, "a job") for one in (there, like))
            raise SteerError(f"{file} is a shard of {held}, and {first} of {asked}")
        if differing := difference(there.header, {**like.header, SHARD: str(shard)}):
            raise SteerError(f"{file} is of another run than {first}: differs in {differing}")
        if shard.count != count:
            raise SteerError(f"{file} is shard {shard}, and {first} is one of {count}")
        if shard.number in by_number:
            raise SteerError(f"shard {shard} is there twice: {by_number[shard.number][0]}, {file}")
        by_number[shard.number] = file, there
    missing = [number for number in range(1, count + 1) if number not in by_number]
    if missing:
        named = ", ".join(f"{number}/{count}" for number in missing)
        raise SteerError(f"shard {named} is missing: name its file, or make it with --shard")
    return by_number
