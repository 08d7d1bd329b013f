"""The collector as a program: its address, its keys, and the process or processes that serve it."""

from __future__ import annotations

import ipaddress
import socket
import sys
from collections.abc import Mapping, Sequence

from gtm_dagster.collector.address import announced
from gtm_dagster.collector.keys import DEV_KEY, KeyStore, WriteKey, write_keys
from gtm_dagster.collector.server_process import ServeError, Services, Site, serve_process
from gtm_dagster.collector.worker_pool import serve_workers
from gtm_dagster.eventlog import open_log
from gtm_dagster.privacy.pseudonyms import load_or_create_key
from gtm_dagster.settings import Settings
from gtm_dagster.taxonomy import load_plan

__all__ = ["ServeError", "Services", "serve"]


def serve(settings: Settings, host: str, port: int, services: Services = Services()) -> None:  # noqa: B008 - frozen
    """Take events at `host`:`port` until SIGTERM or SIGINT; then finish the requests in flight and return.

    `port` 0 takes a free one; the address is written to stderr. Raises ServeError, also when another address than
    loopback is asked for and there is no write key but `dev`. With `settings.collector.workers` above 1 the services are
    pickled.
    """
    address = _resolve(host, port)
    loopback = ipaddress.ip_address(address).is_loopback
    listed = KeyStore(settings.keys_dir, allow_dev=loopback).list()
    if not loopback and not write_keys(listed):
        raise ServeError(
            f"{host} can be reached from other machines and there is no write key but `dev`; "
            "add one with `gtm keys add NAME`, or listen on 127.0.0.1"
        )
    for line in _idle_ids(settings.collector.client_ids, listed):
        sys.stderr.write(f"collector: {line}\n")
    site = Site(address, _free(address, port), _in_url(address), loopback)
    load_or_create_key(settings.keys_dir, settings.privacy.pseudonym_key)
    load_plan(settings.plan_file)
    with open_log(settings):
        pass  # made and migrated once, before anybody listens
    with announced(settings.state_dir, f"http://{_in_url(_reachable(address))}:{site.port}"):
        workers = settings.collector.workers
        by = f", by {workers} processes" if workers > 1 else ""
        sys.stderr.write(f"collector: listening on http://{site.host}:{site.port} for {_open_to(listed)}{by}\n")
        sys.stderr.flush()
        if workers > 1:
            serve_workers(settings, site, services)
        else:
            serve_process(settings, site, services)


def _idle_ids(client_ids: Mapping[str, str], listed: Sequence[WriteKey]) -> list[str]:
    """The ids that open nothing now, and why."""
    clients = {key.name for key in listed if key.role == "client"} | {DEV_KEY}
    return [
        f"collector.client_ids: {client_id!r} opens nothing, for {name!r} is no client key; `gtm keys add {name} --role client`"
        for client_id, name in client_ids.items()
        if name not in clients
    ]


def _open_to(listed: Sequence[WriteKey]) -> str:
    """Which keys are open, as the start says it."""
    if not write_keys(listed):
        return f"the key {DEV_KEY}, on this machine and until another write key exists"
    return f"the keys {', '.join(f'{key.name} ({key.role})' for key in listed)}; {DEV_KEY} opens nothing"


def _in_url(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def _reachable(address: str) -> str:
    """An address by which this machine reaches what listens on `address`."""
    ip = ipaddress.ip_address(address)
    if not ip.is_unspecified:
        return address
    return "127.0.0.1" if ip.version == 4 else "::1"


def _resolve(host: str, port: int) -> str:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise ServeError(f"{host}: not an address of this machine ({error}); give an IP address or localhost") from None
    found.sort(key=lambda entry: entry[0] != socket.AF_INET)
    return str(found[0][4][0])


def _free(address: str, port: int) -> int:
    """`port`, or a free one for 0. The server shares a port without complaint, so a port in use is found here."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError as error:
            raise ServeError(
                f"{address}:{port}: cannot listen there ({error.strerror}); stop what uses it, or choose another port"
            ) from None
        return int(probe.getsockname()[1])
