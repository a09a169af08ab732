"""What the stages need from outside: repositories, sources, settings. Built once for a command and handed along."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from buildkit.card import Card
from buildkit.done import Done
from buildkit.events import Emit
from buildkit.machine.parallel import Stop
from buildkit.oci.reference import Reference
from buildkit.pin import Inventory, Source
from buildkit.registries.auth import find
from buildkit.registries.client import Repository
from buildkit.registries.connection import Connection
from buildkit.registries.credentials import Credentials
from buildkit.registries.identity import check_login, credentials_of
from buildkit.registries.login import verify
from buildkit.registries.pace import Pace
from buildkit.registries.profile import Profile
from buildkit.registries.profiles import profile_of
from buildkit.settings import Registry, Settings
from buildkit.sources import open_source
from buildkit.spec import HuggingFaceRef, SourceRef


@dataclass(frozen=True)
class World:
    """The doors to registries and sources. ``sleep`` takes seconds; ``stop`` ends everything that goes on; in ``done`` is
    noted what an interruption cannot take back.

    ``lists``: a folder's large files that were never read here are only listed, and read when they are sent.
    """

    settings: Settings
    emit: Emit
    stop: Stop = field(default_factory=Stop)
    sleep: Callable[[float], None] | None = None
    lists: bool = False
    done: Done = field(default_factory=Done)
    _connections: dict[Reference, Connection] = field(default_factory=dict, repr=False)

    def base(self, reference: Reference) -> Repository:
        """The repository that a base image is fetched from: its mirror's, where there is one."""
        return self.repository(self.settings.located(reference))

    def repository(self, reference: Reference) -> Repository:
        """A repository of a registry; its connection is kept for the next one who asks."""
        bare = Reference(reference.host, reference.repository)
        if bare not in self._connections:
            profile, sleep = self.profile(bare.host), self.sleep or self.stop.wait
            names = self.settings.names_of(bare)
            connection = Connection(
                bare.host,
                plain_http=self.settings.plain_http,
                credentials=lambda: credentials_of(
                    bare, profile, connection.origin, names, namespace=self.settings.namespace_of(bare.host)
                ),
                sleep=sleep,
                profile=profile,
                pace=Pace.shared(bare.host, profile.per_second, sleep),
            )
            self._connections[bare] = connection
        return Repository(self._connections[bare], bare)

    def profile(self, host: str) -> Profile:
        """What is known of the registry at a host; raises InvalidInput where the settings call it what nobody knows."""
        return profile_of(host, self.settings.type_of(host))

    def credentials(self, registry: Registry) -> Credentials | None:
        """The login that is kept for a registry of the settings; None where there is none."""
        names = self.settings.names_of(Reference(registry.host, registry.prefix or "x"))
        return find(registry.host, registry.prefix, names=names)

    def takes_login(self, host: str, credentials: Credentials | None) -> bool:
        """Has a registry judge credentials: False where it asks for none. Raises RegistryFailed where it does not take them."""
        connection = Connection(
            host,
            plain_http=self.settings.plain_http,
            credentials=lambda: credentials,
            sleep=self.sleep or self.stop.wait,
            profile=self.profile(host),
        )
        return verify(connection)

    def check_login(self, reference: Reference) -> None:
        """Raises InvalidInput where the login was made to another name of the registry that is about to be written."""
        origin = self.repository(reference).connection.origin
        check_login(reference, self.profile(reference.host), origin, self.settings.names_of(reference))

    def abandon(self, seconds: float) -> None:
        """Stops everything that goes on, and gives up the uploads that are open, in ``seconds`` at most."""
        self.stop.ask()
        for connection in self._connections.values():
            connection.abandon(seconds)

    def card(self, reference: SourceRef, inventory: Inventory) -> Card | None:
        """A model's card, of the commit that is pinned; None where the model is not on a hub. Raises SourceFailed."""
        if not isinstance(reference, HuggingFaceRef):
            return None
        from buildkit.sources.huggingface import HuggingFace

        pinned = reference.model_copy(update={"hf": inventory.name, "revision": inventory.commit})
        return HuggingFace(pinned, self.settings.endpoint, wait=self.sleep or self.stop.wait, emit=self.emit).card()

    def source(
        self, reference: SourceRef, folder: Path, *, keep: bool = False, pinned: Inventory | None = None
    ) -> Source:
        """A model's source; ``keep`` fills the hub library's own cache, so that a later push need not download again.

        ``pinned`` is what is locked: the files of that commit are opened, whatever the revision means by now.
        """
        return open_source(
            reference,
            folder,
            self.settings,
            self.emit,
            keep=keep,
            listing=self.lists,
            pinned=pinned,
            wait=self.sleep or self.stop.wait,
        )
