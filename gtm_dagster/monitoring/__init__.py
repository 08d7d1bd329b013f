"""What a long-lived process tells Prometheus about itself, and the page it tells it on.

Here belongs what every such process has: its version, memory and time, the room on its disks, the HTTP page. Not here:
figures of events, guards and refreshes, which the collector and the stream worker export.
"""

from gtm_dagster.monitoring.process_registry import CONTENT_TYPE, installed_version, metrics_text, process_registry

__all__ = ["CONTENT_TYPE", "installed_version", "metrics_text", "process_registry"]
