"""The job of Flink as a part of `gtm trigger run`: a process in PyFlink's environment, which ends with this one."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from gtm_dagster.triggers.sharded.shard_topics import ShardTopics

_PACKAGE = Path(__file__).parents[2]
_END_SECONDS = 10.0


class FlinkError(Exception):
    """Flink is not there, or the job ended; the message names the place and the way out."""


def flink_python(topics: ShardTopics, home: Path) -> Path:
    """The interpreter of PyFlink in `home`. Raises FlinkError when a job cannot be run with it over `topics`."""
    if topics.settings.client:
        raise FlinkError(
            "kafka.client is set: those are settings of librdkafka, which a job of Flink does not have; leave out --engine flink"
        )
    if not (home / "installed").exists():
        raise FlinkError(
            f"{home}: PyFlink is not there; make install-flink puts it into .cache/flink of a checkout, --flink DIR names another place"
        )
    return home.absolute() / "venv/bin/python"


class FlinkWorker:
    """A Part. `home`: what scripts/install-flink makes; `state_dir`: where checkpoints and the job's output are kept.

    Raises FlinkError, also of `round` when the job has ended; another one goes on from the newest checkpoint.
    """

    def __init__(self, topics: ShardTopics, shards: int, home: Path, state_dir: Path) -> None:
        python = flink_python(topics, home)
        folder = state_dir / "flink" / topics.prefix
        folder.mkdir(parents=True, exist_ok=True)
        self._output = folder / "job.log"
        command = [
            str(python), "-m", "gtm_dagster.triggers.sharded.flink_job", "--servers", topics.servers, "--prefix", topics.prefix,
            "--shards", str(shards), "--checkpoints", str(folder / "checkpoints"), "--jars", str(python.parents[2] / "jars"), "--while-stdin",
        ]  # fmt: skip
        environment = {
            **os.environ,
            "PATH": f"{python.parent}{os.pathsep}{os.environ.get('PATH', '')}",
            "PYTHONPATH": str(_package_alone(folder / "python")),
            "FLINK_LOG_DIR": str(folder),
        }
        with self._output.open("wb") as output:
            self._process = subprocess.Popen(  # noqa: S603 - the interpreter of the installation, with names of our own
                command, env=environment, cwd=folder, stdin=subprocess.PIPE, stdout=output, stderr=output
            )

    def round(self) -> None:
        """Wait a moment for the job to end, which it should not."""
        try:
            code = self._process.wait(0.5)
        except subprocess.TimeoutExpired:
            return
        last = self._output.read_text(errors="replace").strip().splitlines()[-1:]
        raise FlinkError(f"the job of Flink ended with {code}: {''.join(last)[:300]} (all of it: {self._output})")

    def close(self) -> None:
        """End the job; what is behind its last checkpoint is done again by the next one."""
        self._process.kill()
        self._process.wait(_END_SECONDS)


def _package_alone(folder: Path) -> Path:
    """`folder`, with gtm_dagster in it and none of the packages beside it, of which PyFlink has other versions."""
    folder.mkdir(exist_ok=True)
    link = folder / _PACKAGE.name
    link.unlink(missing_ok=True)
    link.symlink_to(_PACKAGE)
    return folder
