"""The gate's side of an OpenFeature provider: started, listened to, asked with a targeting key, shut down."""

from __future__ import annotations

import logging
import threading
from typing import Any

from openfeature.evaluation_context import EvaluationContext
from openfeature.event import ProviderEvent
from openfeature.exception import ErrorCode
from openfeature.flag_evaluation import FlagResolutionDetails, FlagType
from openfeature.hook import HookContext

from gtm_dagster.gate.freshness import Freshness

logger = logging.getLogger("gtm_dagster.rollout")


class Resolver:
    """Asks `provider`, which is started in the background unless OpenFeature already started it.

    A provider that was registered by `openfeature.api.set_provider` stays the API's: it is neither initialised nor
    shut down here, and the API goes on getting its events. Anything else with `resolve_boolean_details` will do.
    """

    def __init__(self, provider: Any, freshness: Freshness) -> None:
        self._provider = provider
        self._freshness = freshness
        self._registered = getattr(provider, "_on_emit", None)
        self._started = threading.Event()
        self.has_threads = hasattr(provider, "initialize")
        if hasattr(provider, "attach"):
            provider.attach(self._on_event)
        if self._registered is None and self.has_threads:
            threading.Thread(target=self._start, name="gtm-gate-provider", daemon=True).start()
        else:
            freshness.healthy()
            self._started.set()

    def wait(self, seconds: float) -> bool:
        """Whether the provider has started, or failed to, within `seconds`."""
        return self._started.wait(seconds)

    def resolve(self, flag: str, key: str) -> FlagResolutionDetails[Any]:
        """What the provider says with the default False; its own `before` hooks add to the context, as OpenFeature does."""
        context = EvaluationContext(targeting_key=key)
        for hook in self._hooks():
            added = hook.before(HookContext(flag, FlagType.BOOLEAN, False, context), {})
            context = context if added is None else context.merge(added)
        return self._provider.resolve_boolean_details(flag, False, context)

    def close(self) -> None:
        """Stop listening; shut the provider down when it was started here."""
        if hasattr(self._provider, "detach"):
            self._provider.detach()
        if self._registered is not None:
            self._provider.attach(self._registered)
        elif hasattr(self._provider, "shutdown"):
            self._provider.shutdown()

    def _hooks(self) -> list[Any]:
        return self._provider.get_provider_hooks() if hasattr(self._provider, "get_provider_hooks") else []

    def _start(self) -> None:
        try:
            self._provider.initialize(EvaluationContext())
        except BaseException as error:  # noqa: BLE001 - the old flow is served until the provider says it is ready
            logger.warning("flag provider did not start: %s", error.__cause__ or error)
        else:
            self._freshness.healthy()
        finally:
            self._started.set()

    def _on_event(self, provider: Any, event: ProviderEvent, details: Any) -> None:
        if event in (ProviderEvent.PROVIDER_READY, ProviderEvent.PROVIDER_CONFIGURATION_CHANGED):
            self._freshness.healthy()
        elif getattr(details, "error_code", None) is ErrorCode.PROVIDER_FATAL:
            self._freshness.lost()
        else:
            self._freshness.unhealthy()
        if self._registered is not None:
            self._registered(provider, event, details)
