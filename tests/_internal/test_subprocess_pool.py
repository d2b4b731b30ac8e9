"""A job may crash, hang or raise an error, and all other jobs still give their results."""

from __future__ import annotations

import collections
import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import psutil
import pytest

from tests._internal.jobs import (
    Report,
    act,
    add,
    allocate,
    die_at_first,
    fail_with,
    unpicklable,
    whoami,
)
from toomuchtv._internal.subprocess_pool import Failure, run_isolated
from toomuchtv.errors import MediaError


def run(words: list[str], **settings: float) -> dict[str, str | Failure]:
    return dict(
        run_isolated(
            act, words, num_workers=2, silence_seconds=settings.get("silence_seconds", 30.0)
        )
    )


def test_every_argument_gets_one_result() -> None:
    results = list(run_isolated(partial(add, 5), range(20), num_workers=2, silence_seconds=30))
    assert sorted(results) == [(i, i + 5) for i in range(20)]


def test_no_arguments_no_results() -> None:
    assert list(run_isolated(whoami, [], num_workers=2, silence_seconds=30)) == []


def test_workers_are_kept_and_are_not_this_process() -> None:
    pids = {pid for _, pid in run_isolated(whoami, range(8), num_workers=1, silence_seconds=30)}
    assert len(pids) == 1
    assert os.getpid() not in pids


def test_a_crash_loses_one_job_only() -> None:
    results = run(["a", "crash", "b", "leave", "c"])
    failed = {word: result for word, result in results.items() if isinstance(result, Failure)}
    assert results == {"a": "A", "b": "B", "c": "C", **failed}
    assert failed.keys() == {"crash", "leave"}
    assert "signal 11" in failed["crash"].reason
    assert "exit code 3" in failed["leave"].reason
    assert not any(failure.is_of_input for failure in failed.values())


@pytest.mark.parametrize("signal_number", [signal.SIGKILL, signal.SIGSEGV])
def test_a_job_whose_worker_was_killed_is_run_once_more(tmp_path: Path, signal_number: int) -> None:
    markers = [tmp_path / name for name in "abc"]
    function = partial(die_at_first, signal_number)
    results = run_isolated(function, markers, num_workers=2, silence_seconds=30)
    assert sorted(results) == [(marker, "done") for marker in markers]


def test_workers_have_a_memory_limit_that_loses_one_job_only() -> None:
    megabytes = [1, 900, 2]
    jobs = run_isolated(
        allocate, megabytes, num_workers=1, silence_seconds=30, memory_bytes=400 << 20
    )
    results = dict(jobs)
    failure = results.pop(900)
    assert results == {1: 1 << 20, 2: 2 << 20}
    assert isinstance(failure, Failure)
    assert not failure.is_of_input


def test_only_content_that_was_read_is_held_against_the_input() -> None:
    of_machine = [
        OSError(errno.EIO, "Input/output error"),
        PermissionError(errno.EACCES, "Permission denied"),
        OSError(errno.ESTALE, "Stale file handle"),
        OSError(errno.EMFILE, "Too many open files"),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
        MemoryError(),
    ]
    of_input = [
        MediaError("the header is cut"),
        ValueError("no such codec"),
        OSError(errno.EINVAL, "Invalid argument"),
    ]
    found: dict[bool, list[Exception]] = {False: [], True: []}
    errors: list[Exception] = [*of_machine, *of_input]
    for error, failure in run_isolated(fail_with, errors, num_workers=1, silence_seconds=30):
        assert isinstance(failure, Failure)
        found[failure.is_of_input].append(error)
    assert found == {False: of_machine, True: of_input}


def test_arguments_may_be_added_while_results_are_handled() -> None:
    waiting = collections.deque([1])
    results = []
    jobs = run_isolated(partial(add, 1), Queue(waiting), num_workers=2, silence_seconds=30)
    for argument, result in jobs:
        results.append((argument, result))
        if argument < 4:
            waiting.append(argument + 1)
    assert results == [(1, 2), (2, 3), (3, 4), (4, 5)]


class Queue:
    """An iterator that is empty for now and may have more later."""

    def __init__(self, waiting: collections.deque[int]) -> None:
        self.waiting = waiting

    def __iter__(self) -> Queue:
        return self

    def __next__(self) -> int:
        if not self.waiting:
            raise StopIteration
        return self.waiting.popleft()


def test_silent_jobs_are_killed_and_reporting_ones_are_not() -> None:
    assert run(["hang", "slow but alive", "a"], silence_seconds=1.0) == {
        "hang": Failure("no sign of life for 1 s"),
        "slow but alive": "SLOW BUT ALIVE",
        "a": "A",
    }


def test_a_caller_that_pauses_does_not_make_workers_late() -> None:
    results = {}
    for word, result in run_isolated(act, "abc", num_workers=2, silence_seconds=1.0):
        time.sleep(1.3)
        results[word] = result
    assert results == {letter: letter.upper() for letter in "abc"}


def test_errors_become_failures() -> None:
    results = run(["media", "os", "memory", "bug", "a"])
    assert results.pop("a") == "A"
    failures = {word: result for word, result in results.items() if isinstance(result, Failure)}
    assert failures.keys() == {"media", "os", "memory", "bug"}
    assert failures["media"] == Failure("the header is cut", is_of_input=True)
    assert failures["os"] == Failure("[Errno 2] No such file or directory: 'film.mkv'")
    assert "a mistake of ours" in failures["bug"].reason


@pytest.mark.parametrize(
    ("function", "message"),
    [(unpicklable, "local object")],
)
def test_results_that_do_not_pickle_are_raised(
    function: Callable[[int, Report], object], message: str
) -> None:
    with pytest.raises(Exception, match=message) as caught:
        list(run_isolated(function, [1], num_workers=1, silence_seconds=30))
    assert "in a worker process" in caught.value.__notes__[0]


def test_reports_arrive_in_order_with_their_argument() -> None:
    reported: list[tuple[str, float]] = []
    jobs = run_isolated(
        act,
        ["slow but alive"],
        num_workers=1,
        silence_seconds=30,
        on_report=lambda word, amount: reported.append((word, amount)),
    )
    assert list(jobs) == [("slow but alive", "SLOW BUT ALIVE")]
    assert reported == [("slow but alive", step) for step in range(8)]


def test_closing_early_leaves_no_process() -> None:
    before = set(psutil.Process().children())
    jobs = run_isolated(act, ["a", "hang", "hang"], num_workers=2, silence_seconds=30)
    assert next(jobs) == ("a", "A")
    assert set(psutil.Process().children()) - before
    jobs.close()
    assert set(psutil.Process().children()) - before == set()


def test_print_in_a_worker_stays_off_stdout(capfd: pytest.CaptureFixture[str]) -> None:
    run(["print"])
    assert capfd.readouterr().out == ""


def test_workers_end_when_the_parent_is_killed(tmp_path: Path) -> None:
    here = Path(__file__)
    script = (
        f"import sys; from pathlib import Path; sys.path.insert(0, {str(here.parents[2])!r})\n"
        "from tests._internal.jobs import sleep_and_leave_pid\n"
        "from toomuchtv._internal.subprocess_pool import run_isolated\n"
        # At the top level, with no __main__ guard: the workers must not run it again.
        "list(run_isolated(sleep_and_leave_pid, [Path(sys.argv[1])], "
        "num_workers=1, silence_seconds=600))\n"
    )
    (tmp_path / "script.py").write_text(script)
    with subprocess.Popen([sys.executable, str(tmp_path / "script.py"), str(tmp_path)]) as parent:
        wait_until((tmp_path / "pid").is_file, 60)
        wait_until(lambda: bool((tmp_path / "pid").read_text()), 5)
        worker = psutil.Process(int((tmp_path / "pid").read_text()))
        parent.kill()
    # Orphans may stay as zombies where nobody reaps them, in containers without init.
    wait_until(
        lambda: not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE,
        10,
    )


def wait_until(true: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("num_workers", "silence_seconds", "message"),
    [
        (0, 1.0, "num_workers must be at least 1, got 0"),
        (1, 0.0, "silence_seconds must be positive, got 0"),
    ],
)
def test_wrong_settings_are_refused(num_workers: int, silence_seconds: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        run_isolated(whoami, [1], num_workers=num_workers, silence_seconds=silence_seconds)


def test_functions_of_main_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whoami, "__module__", "__main__")
    with pytest.raises(ValueError, match="importable module"):
        run_isolated(whoami, [1], num_workers=1, silence_seconds=1)
