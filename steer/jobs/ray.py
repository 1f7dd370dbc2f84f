"""A job on Ray: an actor with a model of its own for each core or GPU, a unit at a time.

Rows come back as units are finished, and go where a job in one process writes them. An actor that
dies costs the unit that it was at: it is started again, and the unit with it.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from typing import Any

from dictionaries.extras import need
from steer.errors import SteerError
from steer.jobs.job import Job
from steer.jobs.run import Finished, Todo
from steer.jobs.worker import Source, Worker, check_same
from steer.model import Model

LOCAL = "local"
_SECONDS = 10
DEATHS = 3
"""Of actors at one unit, before it is given up."""


@dataclass(frozen=True)
class Ray:
    """An executor. Raises `MissingExtraError` without the extra `ray`.

    address: of a cluster, as `ray.init` takes it (`auto`: the one that this machine is in); None or
        `local` starts one here, which ends with the job.
    actors: how many; by default one a GPU where the model is on one, else one for as many cores as
        torch has threads here, so that all compute the same bits.
    """

    address: str | None = None
    actors: int | None = None

    def __post_init__(self) -> None:
        need("ray")
        if self.actors is not None and self.actors < 1:
            raise SteerError(f"actors={self.actors} is not allowed: 1 or more")

    def __call__(self, job: Job[Any], model: Model | None, todo: Todo) -> Iterator[Finished]:
        """Run the units that are to be run, in the order in which they come.

        Raises `SteerError` for no cluster at the address, a model that was not loaded by name,
        workers with other versions or other weights, and a unit that actors die of.
        """
        source = Source.of(model)
        with _connected(self.address) as ray:
            begin, count = _beginner(ray, self.actors, source, job)
            actors = [begin() for _ in range(count)]
            try:
                _check_versions(ray, actors)
                yield from _Dealer(ray, actors, begin, job, todo).finished()
            finally:
                for actor in actors:
                    ray.kill(actor)


@contextmanager
def _connected(address: str | None) -> Iterator[Any]:
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    import ray

    ours = not ray.is_initialized()
    if ours:
        where = None if address in (None, LOCAL) else address
        options: dict[str, Any] = {"include_dashboard": False} if where is None else {}
        try:
            _reach(where)
            ray.init(where or LOCAL, log_to_driver=False, logging_level="ERROR", **options)
        except Exception as error:  # what Ray raises where its node does not start in time
            first = str(error).strip().splitlines()[0].rstrip(".")
            raise SteerError(
                f"no Ray cluster can be used at {where or 'this machine'}: {first}; start one with "
                "ray start --head, give its address, or local for one that is started here"
            ) from error
    try:
        yield ray
    finally:
        if ours:
            ray.shutdown()


def _reach(address: str | None) -> None:
    """Raise `OSError` where nothing listens at host:port: Ray itself tries for minutes."""
    host, colon, port = (address or "").removeprefix("ray://").rpartition(":")
    if colon and port.isdecimal():
        connection = HTTPConnection(host, int(port), timeout=_SECONDS)
        try:
            connection.connect()
        finally:
            connection.close()


def _beginner(
    ray: Any, count: int | None, source: Source, job: Job
) -> tuple[Callable[[], Any], int]:
    """What starts an actor, and how many are wanted."""
    there = ray.cluster_resources()
    kind, threads = ("GPU", 1) if source.on_gpu else ("CPU", source.threads)
    most = int(there.get(kind, 0)) // threads
    wanted = most if count is None else count
    if wanted < 1 or wanted > most:
        raise SteerError(
            f"the cluster has room for {most} actors with {threads} {kind} each, not for "
            f"{max(wanted, 1)}: give fewer actors, or torch fewer threads (OMP_NUM_THREADS)"
        )
    options = {"num_cpus": threads} if kind == "CPU" else {"num_gpus": 1}
    remote = ray.remote(max_restarts=0, max_task_retries=0, **options)(Worker)
    shared = ray.put(job)
    return lambda: remote.remote(source, shared), wanted


def _check_versions(ray: Any, actors: list[Any]) -> None:
    for theirs in ray.get([actor.installed.remote() for actor in actors]):
        check_same(theirs)


@dataclass
class _Dealer:
    """Hands units to actors, and to new ones what those had that died.

    firsts: the first unit of each part that nobody has begun; more: other units of those begun.
    """

    ray: Any
    actors: list[Any]
    begin: Callable[[], Any]
    job: Job[Any]
    todo: Todo
    firsts: deque[tuple[int, int]] = field(default_factory=deque)
    more: dict[int, deque[int]] = field(default_factory=dict)
    deaths: dict[tuple[int, int], int] = field(default_factory=dict)

    def finished(self) -> Iterator[Finished]:
        for part in range(self.job.parts):
            first = self.todo.first_of(part, self.job.most_units)
            if first is not None:
                self.firsts.append((part, first))
        at: dict[Any, tuple[int, tuple[int, int]]] = {}
        last: dict[int, int] = {}
        begun: set[int] = set()
        while True:
            idle = set(range(len(self.actors))) - {number for number, _ in at.values()}
            for number in sorted(idle):
                if (unit := self._next(last.get(number))) is not None:
                    at[self.actors[number].run.remote(*unit)] = number, unit
                    last[number] = unit[0]
            if not at:
                return
            (ready,), _ = self.ray.wait(list(at), num_returns=1)
            number, unit = at.pop(ready)
            answer = self._answer(ready, unit)
            if answer is None:
                self.actors[number] = self.begin()
                self.firsts.appendleft(unit)
                continue
            part, this = unit
            units, rows = answer
            if part not in begun:
                begun.add(part)
                others = (other for other in range(units) if other != this)
                self.more[part] = deque(other for other in others if self.todo.has(part, other))
            if rows is not None:
                yield Finished(part, this, units, rows)

    def _next(self, last: int | None) -> tuple[int, int] | None:
        """One of the part that the actor has open, else one of a new part, else any."""
        if last is not None and self.more.get(last):
            return last, self.more[last].popleft()
        if self.firsts:
            return self.firsts.popleft()
        for part, units in self.more.items():
            if units:
                return part, units.popleft()
        return None

    def _answer(self, ready: Any, unit: tuple[int, int]) -> tuple[int, Any] | None:
        """How many units its part has, and its rows (None if there is no such unit); None where
        the actor died."""
        errors = self.ray.exceptions
        try:
            answer: tuple[int, Any] = self.ray.get(ready)
            return answer
        except errors.RayActorError as error:
            self.deaths[unit] = self.deaths.get(unit, 0) + 1
            if self.deaths[unit] == DEATHS:
                raise SteerError(
                    f"{DEATHS} actors died at {self.job.part} {unit[0] + 1}, unit {unit[1] + 1}: "
                    "is there memory for a model each? Give fewer actors; all that is finished is "
                    "kept in the file"
                ) from error
            return None
        except errors.RayTaskError as error:
            raise error.cause if isinstance(error.cause, SteerError) else error from error
