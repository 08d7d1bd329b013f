"""A Ctrl-C of a terminal reaches every program of a run: this process alone takes it."""

import os
import signal
import subprocess
import sys

import pytest

from gtm_dagster.orchestration.interrupts import interrupts_for_this_process

_MASKED = "import signal; print(signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, []))"


def test_programs_of_a_run_do_not_see_a_ctrl_c_and_this_process_does() -> None:
    with interrupts_for_this_process():
        assert subprocess.check_output([sys.executable, "-c", _MASKED], text=True) == "True\n"
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
            for _ in range(1000):  # no wait of this thread ends by itself: the other one takes the signal
                signal.sigtimedwait([signal.SIGUSR1], 0.01)
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])
