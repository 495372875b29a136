import json
import resource
import subprocess
import sys

import pytest

import limner as package
from limner.cli import app
from limner.errors import DataError

VERBS = ("quickstart", "import", "caption", "search", "capfilt", "train", "report")
VERBS += ("models", "inspect", "convert", "verify")
HEAVY = ("torch", "numpy", "lance", "pyarrow", "pydantic", "rich", "matplotlib", "PIL")


def test_help_imports_nothing_heavy():
    code = (
        "import sys; from limner.cli import app\n"
        "try: app(['--help'], prog_name='limner')\n"
        f"except SystemExit: pass\nprint([n for n in {HEAVY} if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert all(verb in done.stdout for verb in VERBS)
    assert done.stdout.splitlines()[-1] == "[]"


def test_help_takes_less_than_0_3_s_of_cpu():
    times = []
    for _ in range(3):  # the least of three: other work on the machine only adds
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-m", "limner", "--help"], capture_output=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(times) < 0.3


def test_version(limner):
    assert limner("--version").stdout == f"limner {package.__version__}\n"


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_says_what_it_does_in_one_line(limner, verb):
    result = limner(verb, "--help")
    assert result.exit_code == 0
    listed = limner("--help").stdout.partition("Commands:")[2]
    (line,) = [line for line in listed.splitlines() if line.startswith(f"  {verb}  ")]
    assert line.endswith(".")
    assert not line.endswith("...")


def test_an_error_is_told_without_a_traceback_and_ends_with_2(limner, tmp_path):
    result = limner("report", tmp_path)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith("error: no records at")
    assert "Traceback" not in result.stderr


def test_debug_shows_the_traceback(limner, tmp_path, monkeypatch):
    with pytest.raises(DataError):
        limner("--debug", "report", tmp_path)
    monkeypatch.setenv("LIMNER_DEBUG", "1")
    with pytest.raises(DataError):
        limner("report", tmp_path)


def test_ctrl_c_says_what_is_safe_and_ends_with_130(limner, monkeypatch, tmp_path):
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("limner.report.page.write_page", interrupted)
    result = limner("report", tmp_path)
    assert result.exit_code == 130
    assert "stopped: nothing is left half-written" in result.stderr


def test_after_ctrl_c_the_process_ends_beside_threads_that_still_run(tmp_path):
    code = (
        "import sys, threading, time, limner.report.page as page\n"
        "def stopped(*_):\n"
        "    threading.Thread(target=time.sleep, args=(60,)).start()\n"
        "    raise KeyboardInterrupt\n"
        "page.write_page = stopped\n"
        f"sys.argv = ['limner', 'report', {str(tmp_path)!r}]\n"
        "from limner.cli import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=50
    )
    assert done.returncode == 130
    assert "stopped: nothing is left half-written" in done.stderr


def test_a_bug_keeps_its_traceback(limner, monkeypatch, tmp_path):
    monkeypatch.setattr("limner.report.page.write_page", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        limner("report", tmp_path)


def test_a_file_in_the_place_of_a_folder_is_an_error_of_the_user(limner, tmp_path):
    file = tmp_path / "notes.txt"
    file.write_text("mine")
    result = limner("train", "limner_tiny", "--out", file)
    assert (result.exit_code, result.stdout) == (2, "")
    assert f"error: {file}: " in result.stderr
    assert "try:" in result.stderr
    assert file.read_text() == "mine"


def test_wrong_options_end_with_2(limner):
    result = limner("caption", "x.png", "--method", "magic")
    assert result.exit_code == 2
    assert "magic" in result.stderr


def test_python_dash_m_is_limner():
    done = subprocess.run(
        [sys.executable, "-m", "limner", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("limner ")
    assert (
        app.info.epilog
        in subprocess.run(
            [sys.executable, "-m", "limner", "--help"], capture_output=True, text=True, check=True
        ).stdout
    )


def test_json_of_report_is_json(limner, tmp_path):
    (tmp_path / "records.jsonl").write_text('{"kind": "end", "time": 0, "step": 1}\n')
    result = limner("report", tmp_path, "--json")
    assert json.loads(result.stdout) == {"page": str(tmp_path / "report.html")}
