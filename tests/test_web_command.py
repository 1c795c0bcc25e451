"""`python -m tests.web`: it gives a command the paths, passes signals on, and ends as the command does."""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def command(*arguments: str, **options: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.web", *arguments], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
    )


def test_the_command_gets_the_paths_and_gives_its_exit_code(tmp_path):
    script = "import json, sys, pathlib; print(len(json.loads(pathlib.Path(sys.argv[2]).read_text())), sys.argv[1:]); sys.exit(5)"
    run = command("--small", "--out", str(tmp_path), "--", sys.executable, "-c", script, "{pairs}", "--map={host_map}", "--")
    out, err = run.communicate(timeout=30)
    assert run.returncode == 1, "the second argument is no path"
    assert f"--map={tmp_path / 'host_map.json'}" in err
    run = command("--small", "--out", str(tmp_path), "--", sys.executable, "-c", script, "{pairs}", "{host_map}", "--", "--x")
    out, err = run.communicate(timeout=30)
    assert (run.returncode, err) == (5, "")
    assert str([str(tmp_path / "pairs.csv"), str(tmp_path / "host_map.json"), "--", "--x"]) in out


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_goes_to_the_command_and_its_end_is_waited_for(tmp_path, number):
    script = (
        f"import signal, sys, time; signal.signal({int(number)}, lambda *_: (time.sleep(0.3), sys.exit(7)))\n"
        "print('up', flush=True); time.sleep(60)"
    )
    run = command("--small", "--out", str(tmp_path), "--", sys.executable, "-c", script)
    while "up" not in run.stdout.readline():
        assert run.poll() is None
    os.kill(run.pid, number)
    assert run.wait(timeout=10) == 7
    run.communicate()


def test_a_command_that_a_signal_ends_and_one_that_is_not_there(tmp_path):
    run = command("--small", "--out", str(tmp_path), "--", sys.executable, "-c", "import os; os.kill(os.getpid(), 9)")
    run.communicate(timeout=30)
    assert run.returncode == 128 + 9
    run = command("--small", "--out", str(tmp_path), "--", "no-such-command")
    assert "cannot run no-such-command: No such file" in run.communicate(timeout=30)[1]
    assert run.returncode == 2


def test_without_a_command_it_serves_until_interrupted(tmp_path):
    run = command("--small", "--out", str(tmp_path))
    assert str(tmp_path / "pairs.csv") in run.stdout.readline()
    ip, port = json.loads((tmp_path / "host_map.json").read_text())["clips.pigment.test"].split(":")
    socket.create_connection((ip, int(port))).close()
    run.send_signal(signal.SIGINT)
    assert run.wait(timeout=10) == 0
    assert run.communicate()[1] == ""


def test_a_wrong_sample_is_one_clear_line(tmp_path):
    run = command("--sample", str(tmp_path), "--table")
    assert f"--sample {tmp_path}: there is no metadata.csv in it" in run.communicate(timeout=30)[1]
    assert run.returncode == 2
