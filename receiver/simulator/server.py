"""One simulator: all products over one organisation, in process as an ASGI app or served on a thread."""

from __future__ import annotations

import socket
import threading
import time
from typing import TYPE_CHECKING, Self

import uvicorn

from receiver.simulator.app import Front, Product
from receiver.simulator.books import KIN, Books
from receiver.simulator.cliq import Cliq
from receiver.simulator.commerce import Commerce
from receiver.simulator.console import Console
from receiver.simulator.crm import Crm
from receiver.simulator.crm_kin import CRM_KIN, CrmKin
from receiver.simulator.deliver import Sender
from receiver.simulator.desk import Desk
from receiver.simulator.faults import Faults
from receiver.simulator.journal import Journal
from receiver.simulator.limits import Limits
from receiver.simulator.mail import Mail
from receiver.simulator.mail_api import MailApi
from receiver.simulator.oauth import Accounts
from receiver.simulator.oauth_consent import Consent
from receiver.simulator.oauth_scopes import parse
from receiver.simulator.oauth_token import Tokens
from receiver.simulator.payments import Payments
from receiver.simulator.projects import Projects
from receiver.simulator.projects_api import ProjectsApi
from receiver.simulator.salesiq import SalesIq
from receiver.simulator.scene import Scene
from receiver.simulator.seed import plant
from receiver.simulator.sign import Sign
from receiver.simulator.sign_api import SignApi
from receiver.simulator.workdrive import WorkDriveApi
from receiver.simulator.world import World

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from receiver.simulator.outgoing import Outgoing
    from receiver.simulator.wire import Json

SCOPES = (
    "ZohoCRM.modules.ALL,ZohoCRM.settings.ALL,ZohoCRM.users.READ,ZohoCRM.org.READ,"
    "ZohoCRM.notifications.ALL,ZohoCRM.bulk.ALL,ZohoCRM.coql.READ,ZohoSearch.securesearch.READ,"
    "ZohoFiles.files.ALL,ZohoCRM.composite_requests.CUSTOM,ZohoCRM.mass_update.Leads.UPDATE,"
    "ZohoBooks.fullaccess.all,Desk.tickets.ALL,Desk.contacts.ALL,Desk.basic.ALL,"
    "Desk.settings.ALL,Desk.search.READ,Desk.webhooks.ALL,Desk.events.ALL"
)
REDIRECT_URI = "http://127.0.0.1:8000/oauth/callback"


class Simulator:
    """A Zoho of our own: `crm`, `books` and `desk` whole, of others what the clients call, and the webhooks (`outgoing`); tokens are with `accounts`."""

    def __init__(
        self,
        *,
        limits: Limits | None = None,
        clock: Callable[[], float] = time.time,
        base: str = "http://simulator",
        seed: int = 1,
        duplicates: float = 0.0,
        planted: bool = True,
        redirect_uris: Sequence[str] = (REDIRECT_URI,),
    ) -> None:
        self.limits = limits or Limits()
        self.world = World(clock, seed=seed)
        self.world.base = base
        self.journal = Journal(self.world.lock)
        self.faults = Faults(self.world.lock)
        self.accounts = Accounts(self.world, self.limits)
        self.tokens = Tokens(self.accounts)
        self.consent = Consent(self.accounts, self.tokens)
        self.sender = Sender(self.world, self.limits, self.journal, duplicates=duplicates)
        self.crm = Crm(self.world, self.limits, self.accounts, self.sender)
        self.books = Books(self.world, self.limits, self.accounts, self.sender)
        self.finance = {
            name: Books(self.world, self.limits, self.accounts, self.sender, name)
            for name in KIN
            if name != "books"
        }
        self.desk = Desk(self.world, self.limits, self.accounts, self.sender)
        self.sign, self.mail = Sign(self.world, self.sender), Mail(self.world, self.sender)
        self.payments, self.commerce = Payments(self.world, self.sender), Commerce(self.world, self.sender)
        self.projects, self.cliq = Projects(self.world, self.sender), Cliq(self.world, self.sender)
        self.salesiq = SalesIq(self.world, self.sender)
        self.sign_api = SignApi(self.world, self.accounts, self.sign)
        self.mail_api = MailApi(self.world, self.accounts)
        self.projects_api = ProjectsApi(self.world, self.accounts)
        self.workdrive = WorkDriveApi(self.world, self.accounts)
        self.crm_kin = {
            name: CrmKin(name, self.world, self.limits, self.accounts, self.sender) for name in CRM_KIN
        }
        self.thin: dict[str, Product] = {
            "sign": self.sign_api,
            "mail": self.mail_api,
            "projects": self.projects_api,
            "workdrive": self.workdrive,
            **self.crm_kin,
        }
        self.outgoing: dict[str, Outgoing] = {
            each.name: each
            for each in (
                *(self.sign, self.mail, self.payments, self.commerce),
                *(self.projects, self.cliq, self.salesiq),
            )
        }
        if planted:
            plant(self)
        self.scene = Scene(self)
        self.console = Console(self)
        self.app = Front(self).app()
        self.client = self.accounts.add_client("server", "Zohook", list(redirect_uris))
        self.self_client = self.accounts.add_client("self", "Self Client", [])
        self.scopes = SCOPES
        self.refresh_token = self.accounts.grant(self.client, self.world.admin, parse(SCOPES)).refresh_token
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None

    @property
    def base(self) -> str:
        return self.world.base

    @property
    def client_id(self) -> str:
        return self.client.id

    @property
    def client_secret(self) -> str:
        return self.client.secret

    @property
    def redirect_uri(self) -> str:
        return self.client.redirect_uris[0] if self.client.redirect_uris else ""

    @property
    def org_ids(self) -> dict[str, str]:
        return {"crm": self.world.zgid, "books": self.world.books_org, "desk": self.world.desk_org}

    def self_client_code(self, scopes: str = SCOPES, minutes: float = 3) -> str:
        """A code of the self client, as the API console's "Generate code" gives."""
        return self.accounts.self_client_code(self.self_client, scopes, minutes)

    def access_token(self, scopes: str = SCOPES) -> str:
        """A token outside every count and limit, for tests that are not about tokens."""
        with self.world.lock:
            return self.accounts.mint(
                self.accounts.online(self.client, self.world.admin, parse(scopes))
            ).token

    def introduction(self) -> Json:
        """What a program must know to talk to this simulator."""
        return {
            "accounts": self.base,
            "api": self.base,
            "desk": self.base,
            "client_id": self.client_id,
            "client_secret": self.client_secret,
            "redirect_uri": self.redirect_uri,
            "refresh_token": self.refresh_token,
            "self_client": {"client_id": self.self_client.id, "client_secret": self.self_client.secret},
            "org_ids": self.org_ids,
            "scopes": self.scopes,
        }

    def start(self, host: str = "127.0.0.1", port: int = 0) -> str:
        """Serves on a thread and returns the base URL; raises OSError for a port that is taken."""
        listener = socket.socket()
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((host, port))
        except OSError:
            listener.close()
            raise
        self.world.base = f"http://{host}:{listener.getsockname()[1]}"
        config = uvicorn.Config(
            self.app,
            lifespan="off",
            ws="none",
            log_config=None,
            log_level="critical",
            access_log=False,
            timeout_graceful_shutdown=2,
        )
        server = self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=server.run, args=([listener],), name="simulator", daemon=True)
        self._thread.start()
        until = time.monotonic() + 10
        while not server.started and time.monotonic() < until:
            time.sleep(0.005)
        self._listener = listener
        return self.base

    def stop(self) -> None:
        """Ends scene, deliveries and server; may be called twice."""
        self.scene.stop()
        self.sender.stop()
        server, self._server = self._server, None
        if server is not None and self._thread is not None:
            server.should_exit = True
            self._thread.join(10)
            self._listener.close()

    def drain(self, timeout: float = 10.0) -> bool:
        """Waits until every delivery has its answer; False when that took too long."""
        return self.sender.drain(timeout)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
