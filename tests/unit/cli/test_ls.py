"""`mckpt ls`."""

import subprocess
import sys

import pytest

from model_checkpoint import BestModelSelector, CheckpointManager


def rows(text):
    """The lines of a table, as step -> line."""
    return {int(line.split()[0]): line for line in text.splitlines() if line.endswith(("committed", "verified"))}


def test_lists_newest_first_with_reasons(mckpt, root):
    """Each checkpoint stands in a line with its metric, its size and why retention keeps it."""
    done = mckpt("-C", root, "ls", "digits")
    assert done.code == 0
    lines = rows(done.out)
    assert list(lines) == [50, 40, 30, 20, 10, 0]
    assert "latest, last(2)" in lines[50]
    assert "1.0000" in lines[10]
    assert "best, best(1)" in lines[10]
    assert "newest verified, @v1" in lines[20]
    assert "nan" in lines[30]
    assert "(goes at the next prune)" in lines[30]
    assert all("1.5 MB" in line for line in lines.values())
    assert [step for step, line in lines.items() if line.endswith("verified")] == [20]
    assert done.out.splitlines()[0] == "digits · val_loss, less is better · keep last(2) | best(1)"
    assert done.out.splitlines()[-1] == "6 checkpoints · 9.0 MB · the next prune frees 3.0 MB"


def test_output_without_terminal_is_aligned_and_plain(mckpt, root):
    """In a pipe, columns line up, nothing is cut or wrapped, and there are no escape sequences."""
    lines = mckpt("-C", root, "ls", "digits").out.splitlines()[1:-1]
    column = lines[0].index("KEPT BECAUSE")
    assert all(line[column - 2 : column] == "  " and line[column] != " " for line in lines)
    assert {line.rindex("  ") + 2 for line in lines} == {lines[0].index("STATE")}
    assert "\x1b" not in "".join(lines)


def test_several_experiments_are_grouped(mckpt, root):
    """Without a name every experiment is listed under its own heading."""
    done = mckpt("-C", root, "ls")
    headings = [line for line in done.out.splitlines() if "· keep" in line]
    assert headings == ["digits · val_loss, less is better · keep last(2) | best(1)", "other · keep all()"]


def test_limit_keeps_the_newest_and_says_so(mckpt, root):
    """--limit shows the newest ones and how many there are in all; --all lifts it."""
    done = mckpt("-C", root, "ls", "digits", "-n", "2")
    assert list(rows(done.out)) == [50, 40]
    assert "the newest 2 of 6 checkpoints" in done.out
    assert len(rows(mckpt("-C", root, "ls", "digits", "-n", "2", "--all").out)) == 6


def test_json_has_the_documented_keys(mckpt, root):
    """JSON says all that the catalog knows, with bytes as numbers and NaN as text."""
    listed = mckpt("ls", "--json", "-C", root).json
    assert [entry["name"] for entry in listed["experiments"]] == ["digits", "other"]
    digits = listed["experiments"][0]
    assert (digits["monitor"], digits["mode"], digits["keep"], digits["count"]) == (
        "val_loss",
        "min",
        "last(2) | best(1)",
        6,
    )
    newest, nan = digits["checkpoints"][0], digits["checkpoints"][2]
    assert newest["kept_because"] == ["latest", "last(2)"]
    assert nan["metrics"]["val_loss"] == "nan"
    assert newest["ref"] == f"digits:50-{newest['id'][:8]}"
    assert digits["bytes"] == sum(entry["bytes"] for entry in digits["checkpoints"])
    assert set(newest) == {
        *("ref", "id", "experiment", "step", "seq", "created_at", "path", "bytes", "digest", "content", "metrics"),
        *("state", "backend", "parent", "pinned", "aliases", "tags", "verified_at", "kept_because"),
    }


def test_unknown_experiment_names_those_that_exist(mckpt, root):
    """A misspelt experiment ends with 3 and the nearest name, and prints nothing else."""
    done = mckpt("-C", root, "ls", "digts")
    assert (done.code, done.out) == (3, "")
    assert done.err == "mckpt: there is no experiment 'digts'; there is digits\n"


def test_missing_store_is_not_created(mckpt, tmp_path):
    """Listing a store that does not exist ends with 3 and a hint, and creates nothing."""
    done = mckpt("-C", tmp_path / "nowhere", "ls")
    assert done.code == 3
    assert done.err.count("\n") == 1
    assert "-C DIR or MCKPT_ROOT" in done.err
    assert not (tmp_path / "nowhere").exists()


def test_missing_catalog_names_the_remedy(mckpt, root):
    """Without a catalog the manifests are still there: the message says how to get it back."""
    (root / "catalog.db").unlink()
    done = mckpt("-C", root, "ls")
    assert done.code == 1
    assert "mckpt reindex" in done.err


def test_damaged_catalog_names_the_remedy(mckpt, root):
    """A catalog of garbage is reported as damaged in one line."""
    (root / "catalog.db").write_bytes(b"garbage" * 1000)
    done = mckpt("-C", root, "ls")
    assert done.code == 1
    assert done.err.count("\n") == 1
    assert "mckpt reindex" in done.err
    assert (root / "catalog.db").read_bytes().startswith(b"garbage")


def test_a_policy_of_a_users_own_class_gives_no_reasons(mckpt, root):
    """Where the stored policy cannot be read here, checkpoints are listed without reasons."""
    text = (root / "digits/experiment.json").read_text()
    (root / "digits/experiment.json").write_text(text.replace("last(2) | best(1)", "Mine(everything)"))
    assert mckpt("-C", root, "reindex").code == 0
    done = mckpt("-C", root, "ls", "digits")
    assert done.code == 0
    assert len(rows(done.out)) == 6
    assert "prune" not in done.out
    assert mckpt("-C", root, "ls", "digits", "--json").json["experiments"][0]["checkpoints"][0]["kept_because"] is None


def test_needs_neither_numpy_nor_a_database_toolkit(root):
    """Listing imports nothing that takes long to import."""
    script = (
        "import sys; from model_checkpoint.cli import main; code = main(sys.argv[1:]);"
        "heavy = {'numpy', 'sqlalchemy', 'alembic', 'torch', 'rich', 'model_checkpoint._native'} & set(sys.modules);"
        "print(sorted(heavy), file=sys.stderr); sys.exit(code)"
    )
    for words in (["ls"], ["best", "digits"], ["ls", "--json"]):
        command = [sys.executable, "-c", script, "-C", str(root), *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "[]\n")


@pytest.mark.parametrize("words", [["ls"], ["ls", "--json"]])
def test_a_closed_pipe_is_no_traceback(root, words):
    """`mckpt ls | head -1` ends quietly."""
    command = [sys.executable, "-m", "model_checkpoint.cli", "-C", str(root), *words]
    reader = subprocess.Popen(["true"], stdin=subprocess.PIPE)
    reader.wait()
    done = subprocess.run(command, stdout=reader.stdin, stderr=subprocess.PIPE, text=True, check=False)
    reader.stdin.close()
    assert (done.returncode, done.stderr) == (1, "")


def test_a_criterion_stands_where_the_metric_does(mckpt, root):
    """By what the best is chosen, if that is more than one metric; the metric that it looks at first is shown."""
    selector = BestModelSelector.by("val_loss", where=["accuracy > 0.1"])
    CheckpointManager(root, experiment="digits", monitor=selector, progress=False).close()
    heading, titles, *_ = mckpt("-C", root, "ls", "digits").out.splitlines()
    assert heading == f"digits · {selector} · keep last(2) | best(1)"
    assert "val_loss" in titles
    assert mckpt("-C", root, "ls", "digits", "--json").json["experiments"][0]["criterion"] == str(selector)
