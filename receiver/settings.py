"""The one settings class: zohook.toml, then the environment over it; nothing else reads the environment."""

from __future__ import annotations

import difflib
import os
import tomllib
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from dotenv import dotenv_values
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Field,
    HttpUrl,
    IPvAnyNetwork,
    PrivateAttr,
    ValidationError,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from receiver.datacentres import DataCentre, DataCentres
from receiver.errors import SettingsError
from receiver.settings_tables import ConnectionSettings, Name, Octets, Seconds, SourceSettings, Table

FILE = "zohook.toml"
SHORTEST_SECRET = 12
"""Books takes tokens of 12 to 50 characters, so a longer floor would shut a whole product out."""


class ChannelSettings(Table):
    """`[channels.NAME]`: a CRM notification subscription that Zohook makes and renews."""

    events: tuple[str, ...]
    source: str = "crm"
    connection: str = ""
    values: bool = True
    related: bool = False
    life: Seconds = 6 * 86_400 + 23 * 3600


def _network(value: object) -> object:
    if isinstance(value, bool):  # Python takes it for the address 0.0.0.1
        raise ValueError(f"{value!r} is no network")  # noqa: TRY004 - pydantic's errors are ValueErrors
    return value


Network = Annotated[IPvAnyNetwork, BeforeValidator(_network)]


class RedisSettings(Table):
    """`[redis]`: where the ledger is. Without a url the embedded server of the project's folder is used."""

    url: str = ""
    deadline: Seconds = 1.0
    """How long the door waits for Redis before the delivery goes to the spool."""


class WebSettings(Table):
    """`[web]`: the door and the dashboard."""

    host: str = "127.0.0.1"
    port: int = Field(default=8080, ge=0, le=65_535)
    workers: int = Field(default=1, ge=1, le=64)
    """How many web processes serve that port: about one per core that is free for them."""
    password: str = ""
    """Opens the dashboard as operator; give it as ZOHOOK_WEB__PASSWORD. Without one the dashboard is closed."""
    viewer_password: str = ""
    header_limit: Octets = 16 * 2**10
    header_time: Seconds = Field(default=5.0, gt=0)
    """How long a client may take to send its headers, from connecting or from their first byte."""
    body_time: Seconds = Field(default=10.0, gt=0)
    idle: Seconds = Field(default=15.0, gt=0)
    """How long a connection may rest between requests; that of a trusted proxy at least 75 s, as proxies expect."""
    connections: int = Field(default=100, ge=1)
    """Per client address and web process: beyond it the one of that address that has waited longest is closed."""
    bodies: Octets = Field(default=64 * 2**20, ge=2**16)
    """Bytes of bodies that are not whole yet, in one web process and of all addresses; beyond it the largest of them is refused."""
    trusted_proxies: tuple[Network, ...] = ()
    """Addresses or networks whose X-Forwarded-For is believed; nobody else's is."""
    unauthenticated_rate: float = Field(default=50, gt=0)
    """Unauthenticated requests a second, per client address and per source, once the burst is used up; then 429."""
    unauthenticated_burst: int = Field(default=200, ge=1)
    rejects_per_minute: int = Field(default=10, ge=0)


class SpoolSettings(Table):
    """`[spool]`: where deliveries wait while Redis is away; one file for all web processes of a host."""

    path: Path = Path(".zohook/spool/spool.sqlite3")
    """Within the project's folder, unless it is absolute. It must be on a disk of this host, never on a network share."""
    size: Octets = 10**9
    """Beyond so many bytes the door answers 503."""
    tick: Seconds = Field(default=0.5, gt=0)
    """How often it is looked at whether Redis is back."""


class WorkerSettings(Table):
    """`[worker]`: threads, leases and ticks."""

    threads: int = Field(default=8, ge=1, le=256)
    processes: int = Field(default=1, ge=1, le=64)
    """How many worker processes `zohook worker` and `zohook up` run: about one per core that is free for them."""
    lease: Seconds = 45.0
    """How long a run may go unheard of before another worker takes it up; renewed every third of it."""
    tick: Seconds = 1.0
    again: Seconds = 30.0
    """After how long a slip that nobody took is looked at again."""
    deaths: int = Field(default=3, ge=1)
    slips: int = Field(default=1_000, ge=1)
    """How many slips of one source wait in a queue at most; what comes beyond waits in the ledger, so that a flood starves nobody."""
    share: float = Field(default=0.5, gt=0, le=1)
    """What part of a process's threads one handler may take, where there are several; `@on(share=...)` says another."""


class RetentionSettings(Table):
    """`[retention]`: how long finished work is kept."""

    days: float = 30
    size: Octets = 4 * 10**9


class SimulatorSettings(Table):
    """`[simulator]`: where `dc = "simulator"` is."""

    url: str = ""
    others: dict[str, str] = {}  # noqa: RUF012 - pydantic copies it
    """Further simulators, by the data centre that each plays (`eu = "http://127.0.0.1:8101"`): `dc = "simulator-eu"`."""


class HandlerSettings(Table):
    """`[handlers]`: which packages of handlers are loaded, and which handlers of them."""

    packages: tuple[str, ...] = ("handlers",)
    only: tuple[str, ...] = ()
    off: tuple[str, ...] = ()
    shadow: tuple[str, ...] = ()
    """Handlers whose writes to Zoho are recorded and not sent, as with `mode = "shadow"` all are."""


class Settings(BaseSettings):
    """Everything that can be set, in one place."""

    model_config = SettingsConfigDict(
        env_prefix="ZOHOOK_",
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        nested_model_default_partial_update=True,
    )

    public_url: Annotated[str, AfterValidator(lambda url: str(HttpUrl(url)).rstrip("/"))] = (
        "http://127.0.0.1:8080"
    )
    mode: Literal["live", "shadow"] = "live"
    folder: Path = Path()
    """The project's folder: zohook.toml, handlers/ and the embedded Redis's data are in it."""
    key: str = ""
    """Encrypts tokens at rest: a Fernet key, or several with commas, the first of which encrypts. ZOHOOK_KEY."""
    redis: RedisSettings = RedisSettings()
    web: WebSettings = WebSettings()
    spool: SpoolSettings = SpoolSettings()
    worker: WorkerSettings = WorkerSettings()
    connections: dict[Name, ConnectionSettings] = {}
    sources: dict[Name, SourceSettings] = {}
    channels: dict[Name, ChannelSettings] = {}
    retention: RetentionSettings = RetentionSettings()
    simulator: SimulatorSettings = SimulatorSettings()
    handlers: HandlerSettings = HandlerSettings()
    values: dict[str, Any] = {}
    """Settings of the user's own, read by handlers and `@resource` functions as `settings.values`."""

    _secrets: dict[str, tuple[str, ...]] = PrivateAttr(default_factory=dict)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - the names are the library's
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment wins over the file, which comes as the init values."""
        return env_settings, init_settings

    @classmethod
    def load(cls, folder: Path | str | None = None, **given: Any) -> Settings:
        """The settings of a project's folder (default: ZOHOOK_FOLDER, else here). Raises SettingsError with the cure."""
        place = Path(folder or os.environ.get("ZOHOOK_FOLDER") or ".").resolve()
        file = place / FILE
        _read_dotenv(place / ".env")
        try:
            table = tomllib.loads(file.read_text()) if file.exists() else {}
        except tomllib.TOMLDecodeError as error:
            raise SettingsError(f"{file}: not readable as TOML: {error}") from error
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"{file}: cannot be read: {error}") from error
        try:
            settings = cls(**{**table, **given, "folder": place})
        except ValidationError as error:
            raise SettingsError(_explain(file, error)) from None
        settings._secrets.update(_secrets_of(os.environ))
        settings._agree(file)
        return settings

    def secrets(self, name: str, dc: str = "") -> tuple[str, ...]:
        """The secrets of a source or connection, newest first: ZOHOOK_SECRET_<NAME>, several with commas for rotation.

        Zoho gives a client another secret in each data centre, unless told otherwise: ZOHOOK_SECRET_<NAME>__<DC> is that one's.
        """
        of_dc = self._secrets.get(f"{name}__{dc}".lower(), ()) if dc else ()
        return of_dc or self._secrets.get(name.lower(), ())

    def all_secrets(self) -> tuple[str, ...]:
        """Every secret value known, for the masking of logs."""
        values = [value for values in self._secrets.values() for value in values]
        return (*values, *self.key.split(","), self.web.password, self.web.viewer_password)

    def data_centre(self, connection: str) -> DataCentre:
        """The data centre of a connection."""
        return self.data_centres.find(self.connections[connection].dc)

    @cached_property
    def data_centres(self) -> DataCentres:
        """The data centres that there are, with the simulators that are set."""
        first = {"": self.simulator.url} if self.simulator.url else {}
        return DataCentres({**first, **self.simulator.others})

    def connection_of(self, source: str) -> str:
        """The connection that a source's events are handled with: its own, or the only one there is."""
        named = self.sources[source].connection if source in self.sources else ""
        return named or (next(iter(self.connections)) if len(self.connections) == 1 else "")

    def _agree(self, file: Path) -> None:
        both = set(self.sources) & set(self.connections)
        if both:
            raise SettingsError(
                f"{file}: {min(both)!r} names both a source and a connection; they share one namespace, rename one"
            )
        for name, source in self.sources.items():
            if source.connection and source.connection not in self.connections:
                raise SettingsError(
                    f"{file}: sources.{name}.connection: there is no connection {source.connection!r}"
                    + did_you_mean(source.connection, self.connections)
                )
            if source.body_limit > self.web.bodies:
                raise SettingsError(
                    f"{file}: sources.{name}.body_limit is over web.bodies, so that a body of that size would never "
                    "be taken; set [web] bodies to several times as much"
                )
        for name, channel in self.channels.items():
            if channel.source not in self.sources:
                raise SettingsError(
                    f"{file}: channels.{name}.source: there is no source {channel.source!r}; "
                    f'add   {channel.source} = "crm_channel"   to [sources]'
                )
        for name in self.connections:
            try:
                self.data_centre(name)
            except SettingsError as error:
                raise SettingsError(f"{file}: connections.{name}.dc: {error}") from None
        for name, values in self._secrets.items():
            short = [value for value in values if len(value) < SHORTEST_SECRET]
            if short and name.partition("__")[0] in {**self.sources, **self.connections}:
                raise SettingsError(
                    f"ZOHOOK_SECRET_{name.upper()} holds a secret of {len(short[0])} characters; "
                    f"make it {SHORTEST_SECRET} or more, in Zoho and here"
                )


def _read_dotenv(file: Path) -> None:
    """What `.env` says and the environment does not say already."""
    try:
        found = dotenv_values(file)
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{file}: cannot be read: {error}") from error
    for name, value in found.items():
        if value is not None and "\0" not in value:
            os.environ.setdefault(name, value)


def _secrets_of(environ: os._Environ[str]) -> dict[str, tuple[str, ...]]:
    found = {}
    for name, value in environ.items():
        if not name.startswith("ZOHOOK_SECRET_"):
            continue
        key = name.removeprefix("ZOHOOK_SECRET_").lower()
        text = value
        if key.endswith("_file"):
            key = key.removesuffix("_file")
            try:
                text = Path(value).read_text()
            except OSError as error:
                raise SettingsError(f"{name}: the file {value} cannot be read: {error}") from error
        found[key] = tuple(part.strip() for part in text.split(",") if part.strip())
    return found


def did_you_mean(word: str, known: Any) -> str:
    """A hint with the known word that is closest, or nothing."""
    close = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def _explain(file: Path, error: ValidationError) -> str:
    lines = []
    for problem in error.errors():
        key = ".".join(str(part) for part in problem["loc"])
        if problem["type"] == "extra_forbidden":
            known = _known_keys(problem["loc"])
            lines.append(f"{key}: there is no such setting{did_you_mean(str(problem['loc'][-1]), known)}")
            continue
        where = "the environment (ZOHOOK_...)" if _of_environment(problem["loc"]) else file
        lines.append(f"{key}: {problem['msg'].removeprefix('Value error, ')} (in {where})")
    return f"{file}: " + "\n".join(lines)


def _of_environment(loc: tuple[int | str, ...]) -> bool:
    """Whether a value came from the environment: the longest part of its key that a variable is named after tells."""
    names = [
        f"ZOHOOK_{'__'.join(str(part) for part in loc[:count])}".upper() for count in range(len(loc), 0, -1)
    ]
    return any(name in os.environ for name in names)


def _known_keys(loc: tuple[int | str, ...]) -> list[str]:
    model: Any = Settings
    for part in loc[:-1]:
        if isinstance(model, type) and issubclass(model, BaseModel):
            model = model.model_fields[str(part)].annotation if str(part) in model.model_fields else None
        elif model is not None:
            model = get_args(model)[-1] if get_args(model) else None
    tables = [
        each for each in (model, *get_args(model)) if isinstance(each, type) and issubclass(each, BaseModel)
    ]
    return [name for table in tables for name in table.model_fields]
