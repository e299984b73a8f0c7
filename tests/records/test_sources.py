"""Copies of the user's code: each record's own, whatever was launched later."""

import hashlib

from harness import records
from harness.records import sources


def hashed(files):
    return {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}


def read(place):
    return {path.relative_to(place).as_posix(): path.read_bytes() for path in place.rglob("*") if path.is_file()}


def test_every_state_of_the_code_has_a_copy_of_its_own(tmp_path):
    folder = records.Folder(tmp_path, "study")
    states = [{"study.py": b"1", "in/a.py": b"2"}, {"study.py": b"1", "in/a.py": b"changed"}, {"study.py": b"1"}]
    for files in states:
        folder.write_plan(records.Plan("study", "Why?", {}, (), origin="study.py", sources=hashed(files)), files)
    assert [read(sources.kept(folder.path, hashed(files))) for files in states] == states


def test_a_copy_that_an_earlier_harness_made_is_found(tmp_path):
    files = {"study.py": b"1", "in/a.py": b"2"}
    for name, content in files.items():
        records.write_atomic(tmp_path / "sources" / name, content)
    sources.keep(tmp_path, {"study.py": b"changed"})
    place = sources.kept(tmp_path, hashed(files))
    assert {name: (place / name).read_bytes() for name in files} == files
