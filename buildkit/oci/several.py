"""Several stores that get the same blobs: each blob is read once, and a store that fails does not stop the others."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TypeVar

from buildkit.errors import RegistryFailed
from buildkit.machine.parallel import Stopped
from buildkit.oci.image import Blob, Outcome, Placed, Store
from buildkit.oci.tee import Tee

Result = TypeVar("Result")
_ORDER: tuple[Outcome, ...] = ("sent", "mounted", "hashed", "exists")
"""What is told of a blob that fared differently: where its bytes moved at all, they moved."""


class Several:
    """Takes blobs for stores by name. ``failed`` are the stores that get no more, each with what went wrong."""

    def __init__(self, stores: Mapping[str, Store]) -> None:
        self._stores = dict(stores)
        self._lock = threading.Lock()
        self._settled: set[str] = set()
        self.failed: dict[str, RegistryFailed] = {}

    @property
    def alive(self) -> dict[str, Store]:
        """The stores that have not failed and still want something."""
        with self._lock:
            done = {*self.failed, *self._settled}
            return {name: store for name, store in self._stores.items() if name not in done}

    def settle(self, name: str) -> None:
        """Says that a store has everything."""
        with self._lock:
            self._settled.add(name)

    def attempt(self, name: str, work: Callable[[], Result]) -> Result | None:
        """Does something for a store and notes it when the store fails; raises where then none is left that did not."""
        try:
            return work()
        except RegistryFailed as failure:
            self._fail(name, failure)
            return None

    def put(self, blob: Blob, moved: Callable[[int], None]) -> Placed:
        """Makes the blob be in every store that is alive. Raises what the source raises, and RegistryFailed for the last."""
        alive = self.alive
        if len(alive) == 1:
            ((name, store),) = alive.items()
            placed = self.attempt(name, lambda: store.put(blob, moved))
            found = [placed] if placed else []
        else:
            found = _Round(blob, alive, moved).run(self._fail) if alive else []
        if found:
            return min(found, key=lambda one: _ORDER.index(one.outcome))
        if blob.digest is None:
            raise together(self.failed)
        return Placed(blob.digest, "exists")

    def _fail(self, name: str, failure: RegistryFailed) -> None:
        with self._lock:
            self.failed.setdefault(name, failure)
            gone = len(self.failed) == len(self._stores)
        if gone:
            raise together(self.failed)


def together(failed: Mapping[str, RegistryFailed]) -> RegistryFailed:
    """One failure for all stores."""
    failures = list(failed.values())
    if len({str(failure) for failure in failures}) == 1:
        return failures[0]
    problems = [problem for failure in failures for problem in failure.problems]
    said = "; ".join(f"{name}: {failure.what}" for name, failure in failed.items())
    return RegistryFailed(said, problems, next((failure.hint for failure in failures if failure.hint), ""))


class _Round:
    """One blob on its way into several stores at once."""

    def __init__(self, blob: Blob, stores: Mapping[str, Store], moved: Callable[[int], None]) -> None:
        self._blob = blob
        self._stores = list(stores.items())
        self._moved = moved
        self._lock = threading.Lock()
        self._far = [0] * len(self._stores)
        self._tee = Tee(blob.open, len(self._stores))
        self._results: list[Placed | BaseException | None] = [None] * len(self._stores)

    def run(self, fail: Callable[[str, RegistryFailed], None]) -> list[Placed]:
        threads = [threading.Thread(target=self._put, args=(party,), daemon=True) for party in range(len(self._stores))]
        for thread in threads:
            thread.start()
        self._tee.run()
        for thread in threads:
            thread.join()
        failures = [result for result in self._results if isinstance(result, BaseException)]
        for failure in failures:
            if not isinstance(failure, RegistryFailed | Stopped):
                raise failure
        if any(isinstance(failure, Stopped) for failure in failures):
            raise Stopped
        for (name, _), result in zip(self._stores, self._results, strict=True):
            if isinstance(result, RegistryFailed):
                fail(name, result)
        return [result for result in self._results if isinstance(result, Placed)]

    def _put(self, party: int) -> None:
        blob = replace(self._blob, open=lambda: self._tee.open(party))
        try:
            self._results[party] = self._stores[party][1].put(blob, lambda amount: self._progress(party, amount))
        except BaseException as failure:
            self._results[party] = failure
        finally:
            self._tee.leave(party)

    def _progress(self, party: int, amount: int) -> None:
        """Tells how far the foremost store is: one bar for all of them."""
        with self._lock:
            before = max(self._far)
            self._far[party] += amount
            further = max(self._far) - before
        self._moved(further)
