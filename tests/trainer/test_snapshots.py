"""Snapshot folders are complete or absent, have one identity, and show every damage."""

import json
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from trainer.data.snapshots import SEAL, SnapshotError, snapshot_read, snapshot_write
from trainer.records import MANIFEST, TABLES, Digest, Manifest

Rows = dict[str, list[dict[str, Any]]]


def rows() -> Rows:
    """A small snapshot with something in every table."""
    completions = [
        {"completion": 10 + n, "prompt": 1, "model": "base", "text": f"Answer {n} ☃", "finish_reason": "stop"}
        for n in range(3)
    ]
    edges = [
        {"i": 0, "j": 1, "outcome": ">", "strength": 3, "weight": 1},
        {"i": 1, "j": 2, "outcome": "=", "strength": None, "weight": 0.5},
    ]
    comparison = {"comparison": "c1", "task": 4, "prompt": 1, "annotator": "a", "group": "training", "protocol": 2}
    comparison |= {"completions": [10, 11, 12], "edges": edges, "ranking": [[0], [1, 2]], "weight": 1.0}
    comparison |= {"rationale": "B is rude ☃", "shown": [12, 10, 11]}
    rating = {"comparison": "c1", "prompt": 1, "completion": 10, "annotator": "a", "likert": None, "likert_points": 7}
    prompt = {"prompt": 1, "messages": [{"role": "user", "content": "Hi"}], "split": "train", "source": "web"}
    return {
        "prompts": [prompt | {"language": "en", "tags": ["short", "first"]}],
        "completions": completions,
        "comparisons": [comparison],
        "ratings": [rating | {"answers": '{"harmful":"no"}', "protocol": 2}],
        "demonstrations": [{"demonstration": 7, "prompt": 1, "annotator": "a", "group": "training", "text": "Hello"}],
    }


def write(folder: Path, tables: Mapping[str, Any] | None = None, **changes: Any) -> Manifest:
    """Write the small snapshot, changed where a test wants it."""
    given: dict[str, Any] = {
        "options": {"ties": "keep", "batches": (1, 2)},
        "as_of": "2026-01-01T00:00:00+00:00",
        "counts": {"tasks": 1},
        "protocols": {"2": {"name": "Pairs"}},
        "annotators": {"a": {"kind": "person"}},
    }
    return snapshot_write(folder, tables=rows() if tables is None else tables, **(given | changes))


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    manifest = write(tmp_path / "s")
    snapshot = snapshot_read(tmp_path / "s")
    assert snapshot.manifest == manifest
    assert snapshot.prompts == {1: rows()["prompts"][0]}
    assert list(snapshot.completions.values()) == rows()["completions"]
    assert snapshot.comparisons == rows()["comparisons"]
    assert snapshot.ratings == rows()["ratings"]
    assert snapshot.demonstrations == rows()["demonstrations"]


def test_the_counts_of_rows_stand_beside_those_given(tmp_path: Path) -> None:
    counts = write(tmp_path / "s")["counts"]
    assert counts == {"prompts": 1, "completions": 3, "comparisons": 1, "ratings": 1, "demonstrations": 1, "tasks": 1}


def test_the_digest_is_that_of_the_contract(tmp_path: Path) -> None:
    digest = Digest({"ties": "keep", "batches": [1, 2]})
    tables = rows()
    tables["comparisons"][0]["edges"][0]["weight"] = 1.0
    for table in TABLES:
        digest.add(table, tables[table])
    assert write(tmp_path / "s")["digest"] == digest.hexdigest()


def test_the_same_content_at_another_time_has_the_same_digest(tmp_path: Path) -> None:
    first = write(tmp_path / "one")
    assert write(tmp_path / "two", as_of="2027-01-01T00:00:00+00:00")["digest"] == first["digest"]
    assert write(tmp_path / "three", options={"ties": "drop"})["digest"] != first["digest"]


def test_another_row_has_another_digest(tmp_path: Path) -> None:
    changed = rows()
    changed["completions"][0]["text"] = "Another answer"
    assert write(tmp_path / "one")["digest"] != write(tmp_path / "two", changed)["digest"]


def test_number_keys_in_options_do_not_break_the_digest(tmp_path: Path) -> None:
    write(tmp_path / "s", options={"weights": {10: 1.0, 9: 2.0}})
    assert snapshot_read(tmp_path / "s").manifest["options"] == {"weights": {"10": 1.0, "9": 2.0}}


def test_many_rows_in_several_portions(tmp_path: Path) -> None:
    tables = rows()
    row = tables["demonstrations"][0]
    tables["demonstrations"] = [row | {"demonstration": n} for n in range(4500)]
    write(tmp_path / "s", tables)
    assert [row["demonstration"] for row in snapshot_read(tmp_path / "s").demonstrations] == list(range(4500))


@pytest.mark.parametrize("name", [MANIFEST, SEAL, *(f"{table}.parquet" for table in TABLES)])
def test_a_changed_byte_anywhere_is_refused(tmp_path: Path, name: str) -> None:
    write(tmp_path / "s")
    path = tmp_path / "s" / name
    content = path.read_bytes()
    for place in {0, len(content) // 3, len(content) // 2, len(content) - 1}:
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        with pytest.raises(SnapshotError, match=MANIFEST if name == SEAL else name):
            snapshot_read(tmp_path / "s")
    path.write_bytes(content)
    snapshot_read(tmp_path / "s")


@pytest.mark.parametrize("name", [MANIFEST, SEAL, "comparisons.parquet"])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    write(tmp_path / "s")
    (tmp_path / "s" / name).unlink()
    with pytest.raises(SnapshotError, match=f"{name} is missing"):
        snapshot_read(tmp_path / "s")


def reseal(folder: Path, **changes: Any) -> None:
    """Change a manifest the way somebody would who wants it to pass."""
    manifest = json.loads((folder / MANIFEST).read_text()) | changes
    content = json.dumps(manifest).encode()
    (folder / MANIFEST).write_bytes(content)
    (folder / SEAL).write_text(f"{sha256(content).hexdigest()}  {MANIFEST}\n")


def test_another_schema_version_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "s")
    reseal(tmp_path / "s", schema_version=99)
    with pytest.raises(SnapshotError, match="schema version 99"):
        snapshot_read(tmp_path / "s")


FIRST_VERSION_DIGEST = "9759fe078dd4c6a42aa9082c20ea2c83a66406ad0bc613111f872738e5069444"
"""Of the small snapshot, as the program wrote it when version 1 was the newest."""


def make_first_version(folder: Path) -> None:
    """Make a folder what it would have been when version 1 was the newest."""
    files = json.loads((folder / MANIFEST).read_text())["files"]
    for table, columns in (("comparisons", ["rationale", "shown"]), ("ratings", ["protocol"])):
        path = folder / f"{table}.parquet"
        pq.write_table(pq.read_table(path).drop_columns(columns), path)
        files[path.name] |= {"sha256": sha256(path.read_bytes()).hexdigest(), "size": path.stat().st_size}
    reseal(folder, schema_version=1, digest=FIRST_VERSION_DIGEST, files=files)


def test_snapshots_of_the_first_version_are_read_and_verified(tmp_path: Path) -> None:
    write(tmp_path / "s")
    make_first_version(tmp_path / "s")
    snapshot = snapshot_read(tmp_path / "s")
    assert snapshot.comparisons == [rows()["comparisons"][0] | {"rationale": "", "shown": []}]
    assert snapshot.ratings == [rows()["ratings"][0] | {"protocol": 0}]
    assert snapshot.prompts == {1: rows()["prompts"][0]}
    assert snapshot.manifest["schema_version"] == 1


def test_a_digest_of_the_first_version_does_not_pass_for_one_of_the_second(tmp_path: Path) -> None:
    write(tmp_path / "s")
    reseal(tmp_path / "s", digest=FIRST_VERSION_DIGEST)
    with pytest.raises(SnapshotError, match="another digest"):
        snapshot_read(tmp_path / "s")


def test_a_folder_without_the_columns_of_its_version_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "s")
    make_first_version(tmp_path / "s")
    reseal(tmp_path / "s", schema_version=2)
    with pytest.raises(SnapshotError, match=r"comparisons\.parquet has other columns"):
        snapshot_read(tmp_path / "s")


def test_rows_without_what_a_later_version_added_have_it_empty(tmp_path: Path) -> None:
    tables = rows()
    for name in ("rationale", "shown"):
        del tables["comparisons"][0][name]
    manifest = write(tmp_path / "s", tables)
    assert manifest["schema_version"] == 2
    assert snapshot_read(tmp_path / "s").comparisons == [tables["comparisons"][0] | {"rationale": "", "shown": []}]


def test_a_digest_of_other_rows_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "s")
    reseal(tmp_path / "s", options={"ties": "other"})
    with pytest.raises(SnapshotError, match="another digest"):
        snapshot_read(tmp_path / "s")


def broken(table: str, **changes: Any) -> Rows:
    """The small snapshot with its first row of one table changed."""
    tables = rows()
    tables[table][0] |= changes
    return tables


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        (broken("prompts", split="other"), "Row 1 of prompts: its split is 'other'"),
        (broken("prompts", prompt=None), "prompt is missing"),
        (broken("prompts", messages=[{"role": "user"}]), "one of its messages"),
        (broken("completions", prompt=2), "Row 1 of completions: it points at prompt 2"),
        (broken("completions", completion=11), "must rise"),
        (broken("completions", extra=1), "its columns are not those of the table: extra"),
        (broken("completions", text=5), "Rows 1 to 3 of completions"),
        (broken("comparisons", completions=[10, 11, 99]), "completion 99 is none of prompt 1"),
        (broken("comparisons", completions=[10, 11], shown=[]), "Row 1 of comparisons: an edge stands between 1 and 2"),
        (broken("comparisons", weight=float("nan")), "Rows 1 to 1 of comparisons"),
        (broken("comparisons", rationale=None), "rationale is missing"),
        (broken("comparisons", shown=[12, 99]), "Row 1 of comparisons: what was shown is not some"),
        (broken("comparisons", shown=[12, 12]), "Row 1 of comparisons: what was shown is not some"),
        (broken("ratings", completion=99), "completion 99"),
        (broken("demonstrations", text=None), "text is missing"),
        ({"prompt": []}, "no table prompt"),
    ],
)
def test_rows_that_do_not_fit_are_refused_and_leave_nothing(tmp_path: Path, tables: Rows, message: str) -> None:
    with pytest.raises(SnapshotError, match=message):
        write(tmp_path / "s", tables)
    assert list(tmp_path.iterdir()) == []


def test_options_that_are_no_json_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SnapshotError, match="options"):
        write(tmp_path / "s", options={"rate": float("nan")})
    assert list(tmp_path.iterdir()) == []


def test_a_snapshot_is_never_written_over(tmp_path: Path) -> None:
    digest = write(tmp_path / "s")["digest"]
    with pytest.raises(SnapshotError, match="there already"):
        write(tmp_path / "s", options={})
    assert snapshot_read(tmp_path / "s").manifest["digest"] == digest


def test_a_source_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def failing() -> Any:
        yield rows()["prompts"][0]
        raise RuntimeError("the database went away")

    with pytest.raises(RuntimeError):
        write(tmp_path / "s", {"prompts": failing()})
    assert list(tmp_path.iterdir()) == []


def test_an_empty_snapshot_can_be_read(tmp_path: Path) -> None:
    write(tmp_path / "s", {})
    assert snapshot_read(tmp_path / "s").comparisons == []
