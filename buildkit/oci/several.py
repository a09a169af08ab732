"""Several stores that get the same blobs: each blob is read once, and a store that fails does not stop the others.

Of a registry's repositories one gets a blob, and the next mounts it from there. A registry that sends an upload session where
a mount was asked for gets its blobs in all of its repositories at once from then on, from the one reading.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TypeVar

from buildkit.errors import RegistryFailed
from buildkit.machine.parallel import Stopped
from buildkit.oci.gzipped import Gzipping
from buildkit.oci.image import Blob, Outcome, Placed, Store
from buildkit.oci.reference import Reference
from buildkit.oci.tee import Tee

Result = TypeVar("Result")
_ORDER: tuple[Outcome, ...] = ("sent", "mounted", "hashed", "exists")
"""What is told of a blob that fared differently: where its bytes moved at all, they moved."""


class Several:
    """Takes blobs for stores by name. ``failed`` are the stores that get no more, each with what went wrong.

    ``homes`` are the repositories that stores are, of registries that mount blobs.
    """

    def __init__(self, stores: Mapping[str, Store], homes: Mapping[str, Reference] | None = None) -> None:
        self._stores = dict(stores)
        self._homes = dict(homes or {})
        self._lock = threading.Lock()
        self._settled: set[str] = set()
        self._mounting = {home.host for home in self._homes.values()}
        self._placed: dict[str, list[tuple[Outcome, int]]] = {name: [] for name in self._stores}
        self.failed: dict[str, RegistryFailed] = {}

    @property
    def alive(self) -> dict[str, Store]:
        """The stores that have not failed and still want something."""
        with self._lock:
            done = {*self.failed, *self._settled}
            return {name: store for name, store in self._stores.items() if name not in done}

    @property
    def told(self) -> dict[str, RegistryFailed]:
        """The failures, each of which says whose it is."""
        return {name: named(name, failure) for name, failure in self.failed.items()}

    @property
    def placed(self) -> dict[str, list[tuple[Outcome, int]]]:
        """What became of every blob in the stores that are alive, with its size in bytes."""
        return {name: self._placed[name] for name in self.alive}

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
        found: dict[str, Placed] = {}
        waiting = self.alive
        while waiting:
            turn = self._first_of_each_registry(waiting)
            blobs = {name: self._beside(name, blob, found) for name in turn}
            # One bar for all of them: it is full when the first have the blob.
            placed = self._put_at_once(blobs, turn, (lambda amount: moved(0)) if found else moved)
            self._note_refused_mounts(placed, found)
            for name, one in placed.items():
                self._placed[name].append((one.outcome, blob.size))
            found |= placed
            waiting = {name: store for name, store in self.alive.items() if name in waiting and name not in turn}
        if found:
            return min(found.values(), key=lambda one: _ORDER.index(one.outcome))
        if blob.digest is None:
            raise together(self.failed)
        return Placed(blob.digest, "exists")

    def _first_of_each_registry(self, stores: Mapping[str, Store]) -> dict[str, Store]:
        """The stores that need not wait for another of their registry to have what they can mount."""
        first: dict[str, str] = {}
        for name in stores:
            first.setdefault(self._registry(name) or name, name)
        return {name: stores[name] for name in first.values()}

    def _registry(self, name: str) -> str | None:
        """The registry within which a store mounts."""
        home = self._homes.get(name)
        with self._lock:
            return home.host if home and home.host in self._mounting else None

    def _beside(self, name: str, blob: Blob, found: Mapping[str, Placed]) -> Blob:
        """The blob for a store, with the repositories of its registry that have it by now in front of those that may."""
        nearest = [other for other in found if self._registry(other) and self._registry(other) == self._registry(name)]
        if not nearest:
            return blob
        digest, store, neighbour = found[nearest[0]].digest, self._stores[name], self._stores[nearest[0]]
        if isinstance(store, Gzipping) and isinstance(neighbour, Gzipping):
            store.know(digest, neighbour.gzipped)
        before = (blob.origin,) if blob.origin else ()
        siblings = (*(self._homes[other] for other in nearest), *before, *blob.siblings)
        return replace(blob, digest=digest, origin=None, siblings=siblings)

    def _put_at_once(
        self, blobs: Mapping[str, Blob], stores: Mapping[str, Store], moved: Callable[[int], None]
    ) -> dict[str, Placed]:
        if len(stores) > 1:
            return _Round(blobs, stores, moved).run(self._fail)
        ((name, store),) = stores.items()
        placed = self.attempt(name, lambda: store.put(blobs[name], moved))
        return {name: placed} if placed else {}

    def _note_refused_mounts(self, placed: Mapping[str, Placed], before: Mapping[str, Placed]) -> None:
        """Sending one after the other would read the source for each."""
        had = {self._registry(name) for name in before}
        refused = {self._registry(name) for name, one in placed.items() if one.outcome == "sent"} & had
        with self._lock:
            self._mounting -= {registry for registry in refused if registry}

    def _fail(self, name: str, failure: RegistryFailed) -> None:
        with self._lock:
            self.failed.setdefault(name, failure)
            gone = len(self.failed) == len(self._stores)
        if gone:
            raise together(self.failed)


def named(name: str, failure: RegistryFailed) -> RegistryFailed:
    """A store's failure with its name: a registry's own words name the registry, which may have taken another's blobs."""
    if name in failure.what:
        return failure
    return type(failure)(f"{name}: {failure.what}", failure.problems, failure.hint)


def together(failed: Mapping[str, RegistryFailed]) -> RegistryFailed:
    """One failure for all stores."""
    failures = list(failed.values())
    if len({str(failure) for failure in failures}) == 1:
        return failures[0]
    problems = [problem for failure in failures for problem in failure.problems]
    said = "; ".join(named(name, failure).what for name, failure in failed.items())
    return RegistryFailed(said, problems, next((failure.hint for failure in failures if failure.hint), ""))


class _Round:
    """One blob on its way into several stores at once."""

    def __init__(self, blobs: Mapping[str, Blob], stores: Mapping[str, Store], moved: Callable[[int], None]) -> None:
        self._blobs = blobs
        self._stores = list(stores.items())
        self._moved = moved
        self._lock = threading.Lock()
        self._far = [0] * len(self._stores)
        self._tee = Tee(next(iter(blobs.values())).open, len(self._stores))
        self._results: list[Placed | BaseException | None] = [None] * len(self._stores)

    def run(self, fail: Callable[[str, RegistryFailed], None]) -> dict[str, Placed]:
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
        results = zip(self._stores, self._results, strict=True)
        return {name: result for (name, _), result in results if isinstance(result, Placed)}

    def _put(self, party: int) -> None:
        name, store = self._stores[party]
        blob = replace(self._blobs[name], open=lambda: self._tee.open(party))
        try:
            self._results[party] = store.put(blob, lambda amount: self._progress(party, amount))
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
