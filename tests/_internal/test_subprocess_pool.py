"""A job may crash, hang or raise an error, and all other jobs still give their results."""

from __future__ import annotations

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

from toomuchtv._internal.subprocess_pool import Failure, run_isolated
from toomuchtv.errors import MediaError

Report = Callable[[float], None]


def act(word: str, report: Report) -> str:
    """Behave as `word` says; this runs in the worker."""
    if word == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if word == "leave":
        os._exit(3)
    if word == "hang":
        time.sleep(600)
    if word == "slow but alive":
        for step in range(8):
            time.sleep(0.2)
            report(step)
    if word == "media":
        raise MediaError("the header is cut")
    if word == "os":
        raise FileNotFoundError(2, "No such file or directory", "film.mkv")
    if word == "memory":
        raise MemoryError
    if word == "bug":
        raise ZeroDivisionError("a mistake of ours")
    if word == "print":
        print("noise on stdout")
    return word.upper()


def whoami(_: int, report: Report) -> int:
    return os.getpid()


def local_error(_: int, report: Report) -> None:
    class LocalError(Exception):
        pass

    raise LocalError("does not pickle")


def unpicklable(_: int, report: Report) -> object:
    return lambda: None


def add(amount: int, argument: int, report: Report) -> int:
    return argument + amount


def sleep_and_leave_pid(folder: Path, report: Report) -> None:
    (folder / "pid").write_text(str(os.getpid()))
    time.sleep(600)


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
    assert run(["a", "crash", "b", "leave", "c"]) == {
        "a": "A",
        "b": "B",
        "c": "C",
        "crash": Failure("the process reading it died (signal 11)"),
        "leave": Failure("the process reading it died (exit code 3)"),
    }


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


def test_expected_errors_become_failures() -> None:
    assert run(["media", "os", "memory"]) == {
        "media": Failure("the header is cut"),
        "os": Failure("[Errno 2] No such file or directory: 'film.mkv'"),
        "memory": Failure("MemoryError"),
    }


def test_a_bug_is_raised_in_the_caller_with_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError, match="a mistake of ours") as caught:
        run(["a", "bug"])
    assert "in act" in caught.value.__notes__[0]


@pytest.mark.parametrize(
    ("function", "message"),
    [(local_error, "LocalError: does not pickle"), (unpicklable, "local object")],
)
def test_errors_and_results_that_do_not_pickle_are_raised(
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
        "from tests._internal.test_subprocess_pool import sleep_and_leave_pid\n"
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
