"""The code locations of a workspace as servers of their own, which the web UI and the daemon share, each at a socket file.

`dagster dev` does the same within itself; here each is a process that can be started again alone.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from dagster._core.errors import DagsterUserCodeUnreachableError
from dagster._core.remote_origin import GrpcServerCodeLocationOrigin, ManagedGrpcPythonEnvCodeLocationOrigin
from dagster._core.workspace.load_target import WorkspaceFileTarget

READY_SECONDS = 180.0


@dataclass(frozen=True)
class CodeServer:
    """A server to start: `python ARGUMENTS`."""

    name: str
    arguments: tuple[str, ...]


def code_servers(workspace: Path, folder: Path) -> tuple[list[CodeServer], Path]:
    """The servers of `workspace`, with their sockets in `folder`, and the workspace file there that leads to them."""
    servers, entries = [], []
    for number, origin in enumerate(WorkspaceFileTarget([str(workspace)]).create_origins()):
        if isinstance(origin, ManagedGrpcPythonEnvCodeLocationOrigin):
            socket = str(folder / f"{number}.sock")
            servers.append(CodeServer(origin.location_name, _arguments(origin, socket)))
            entries.append({"grpc_server": {"socket": socket, "location_name": origin.location_name}})
        elif isinstance(origin, GrpcServerCodeLocationOrigin):
            at: dict[str, Any] = {"host": origin.host, "port": origin.port, "socket": origin.socket}
            given = {key: value for key, value in at.items() if value is not None}
            entries.append({"grpc_server": {**given, "location_name": origin.location_name}})
    served = folder / "workspace.yaml"
    served.write_text(yaml.safe_dump({"load_from": entries}))
    return servers, served


def _arguments(origin: ManagedGrpcPythonEnvCodeLocationOrigin, socket: str) -> tuple[str, ...]:
    target = origin.loadable_target_origin
    return (
        "-m", "dagster", "code-server", "start", "--socket", socket, "--location-name", origin.location_name,
        "--use-python-environment-entry-point", "--log-level", "warning", *target.get_cli_args(),
    )  # fmt: skip


def wait_for_code(workspace: Path, seconds: float = READY_SECONDS) -> bool:
    """Wait until every server of the workspace answers; False when one does not in time.

    A UI or daemon that began before it would load the location again only after a while.
    """
    deadline = time.monotonic() + seconds
    for origin in WorkspaceFileTarget([str(workspace)]).create_origins():
        if not isinstance(origin, GrpcServerCodeLocationOrigin):
            continue
        while not _answers(origin):
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.1)
    return True


def _answers(origin: GrpcServerCodeLocationOrigin) -> bool:
    try:
        origin.create_client().ping("")
    except DagsterUserCodeUnreachableError:
        return False
    return True
