import csv
import hashlib
import json
import os
import shutil

import commands
import numpy as np
import own_colours
import own_pictures
import pytest
import safetensors.numpy
from PIL import Image
from place import ROOT

import harness
from harness import records
from harness.data import DataError, resize
from harness.records import kept, sources
from harness.records.kept import KeptError
from harness.serving import locate, pictures
from harness.serving.network import BATCH

RUN, OWN = "network=shipped,seed=0", "network=own,seed=0"


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A folder with colours.py, an ablation, and its results in my_results/."""
    place = tmp_path_factory.mktemp("colours")
    (place / "colours.py").write_text(own_colours.SOURCE)
    done = commands.here().run("harness.run", "--ablation=colours.py", where=place)
    assert done.returncode == 0, done.stderr
    return place


@pytest.fixture(scope="module")
def network(study):
    return harness.load(study / "my_results" / "colours" / "runs" / RUN)


@pytest.fixture(scope="module")
def tested():
    return own_colours.tested()


def predict(study, *flags):
    return commands.here().run("harness.predict", *flags, where=study, COLUMNS="80")


def copied(study, tmp_path, run=RUN, **changes):
    """Copies a run's two files and changes what is stated of them."""
    source, copy = study / "my_results" / "colours" / "runs" / run, tmp_path / "taken"
    copy.mkdir()
    for name in (kept.WEIGHTS, kept.CONFIG):
        shutil.copy(source / name, copy)
    about = json.loads((copy / kept.CONFIG).read_text())
    (copy / kept.CONFIG).write_text(json.dumps(about | changes))
    return copy


def test_a_loaded_network_predicts_what_the_run_predicted_picture_for_picture(study, network, tested):
    folder, (images, labels) = records.Folder(study / "my_results", "colours"), tested
    own = harness.load(folder.run(OWN), trust_code=True)
    for run, loaded in ((RUN, network), (OWN, own)):
        probabilities, stored = loaded(images), folder.predictions(run)
        assert (probabilities.argmax(1) == stored["predicted"]).all()
        np.testing.assert_allclose(probabilities.max(1), stored["probability"], rtol=2e-3)
        assert (probabilities.argmax(1) == labels).mean() == folder.record(run).best.test_accuracy > 0.4
        np.testing.assert_allclose(probabilities.sum(1), 1, rtol=1e-5)


def test_the_running_statistics_of_batch_norm_are_kept(study):
    arrays = safetensors.numpy.load_file(study / "my_results" / "colours" / "runs" / OWN / kept.WEIGHTS)
    assert set(arrays) == {f"{layer}.{name}" for layer in ("first", "last") for name in ("kernel", "bias")} | {
        f"norm.{name}" for name in ("scale", "bias", "mean", "var")}
    assert np.abs(arrays["norm.mean"]).max() > 0


def test_paths_pictures_and_arrays_alone_and_together_give_the_same(network, tested, tmp_path):
    images = tested[0][:5]
    paths = [tmp_path / f"{number}.png" for number in range(5)]
    for path, image in zip(paths, images, strict=True):
        Image.fromarray(image).save(path)
    expected = network(images)
    assert expected.shape == (5, 3)
    for given in (paths, list(map(str, paths)), [Image.open(path) for path in paths], list(images)):
        np.testing.assert_array_equal(network(given), expected)
    np.testing.assert_allclose(network(paths[2]), expected[2:3], rtol=1e-5)
    np.testing.assert_allclose(network(images[2]), expected[2:3], rtol=1e-5)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "I;16"])
@pytest.mark.parametrize("size", [(1, 1), (300, 40)])
def test_pictures_of_any_size_and_mode_are_read(network, mode, size):
    assert network(Image.new(mode, size)).shape == (1, 3)


@pytest.mark.parametrize("array", [np.zeros((8, 6, 3)), np.zeros((8, 6, 5), np.uint8), np.zeros(8, np.uint8)])
def test_an_array_that_is_no_picture_is_refused(network, array):
    with pytest.raises(DataError, match="an array must be uint8"):
        network(array)


def test_the_test_split_gives_the_accuracy_of_the_record(study):
    record = records.Folder(study / "my_results", "colours").record(RUN)
    done = predict(study, f"--run=my_results/colours/runs/{RUN}", "--split=test", "--trust_code")
    assert done.returncode == 0, done.stderr
    accuracy, right = record.best.test_accuracy, round(97 * record.best.test_accuracy)
    assert done.stdout == (f"accuracy {accuracy:.4f} ({right} of 97 pictures); the record says {accuracy:.4f}, of the "
                           "best weights\n")


def test_a_folder_with_classes_a_bad_file_and_hostile_names(study, tested, tmp_path):
    """Every file has its row in the terminal, in CSV, in JSON and on the page, and none breaks one of them."""
    pictures, (images, labels) = tmp_path / "pictures", tested
    own_colours.write_pictures(pictures, images, labels)
    (pictures / "red" / "notes.txt").write_text("no picture")
    (pictures / "red" / "text.png").write_text("no picture")
    hostile = "[red]<script>alert(1)<\n,\"=1+1.png"
    (pictures / "other").mkdir()
    Image.fromarray(images[0]).save(tmp_path / "plain.png")
    shutil.copy(tmp_path / "plain.png", pictures / "other" / hostile)
    done = predict(study, "--run=my_results/colours", str(pictures), "--topk=2", f"--csv={tmp_path / 'a.csv'}",
                   f"--json={tmp_path / 'a.json'}", f"--html={tmp_path / 'a.html'}", "--trust_code")
    assert done.returncode == 1
    assert done.stderr == (f"error: {pictures}/red/text.png: is no picture of a known format\n"
                           "error: 1 of 99 files could not be read\n")
    chosen, *lines = done.stdout.splitlines()
    assert "the first run of the cell with the highest validation accuracy" in chosen
    assert f"{pictures}: left out are files of other kinds: 1 .txt" in lines
    assert len([line for line in lines if line.startswith(f"{pictures}/") and ".png" in line]) == 99
    assert any(line.startswith(f"{pictures}/other/{hostile.replace(chr(10), ' ')}  ") for line in lines)
    run_id = chosen.partition(":")[0]
    accuracy = records.Folder(study / "my_results", "colours").record(run_id).best.test_accuracy
    right = round(97 * accuracy)
    assert lines[-1] == f"accuracy {accuracy:.4f} ({right} of 97 pictures); the class of 1 more is not known"
    with open(tmp_path / "a.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["filename", "label_1", "prob_1", "label_2", "prob_2", "true_label"]
    by_name = {row["filename"].removeprefix(f"{pictures}/"): row for row in rows}
    assert len(rows) == len(by_name) == 99
    assert by_name["red/text.png"]["label_1"] == ""
    assert by_name[f"other/{hostile}"]["true_label"] == ""
    assert 1 >= float(rows[0]["prob_1"]) >= float(rows[0]["prob_2"]) >= 0
    stated = json.loads((tmp_path / "a.json").read_text())
    assert [one["filename"] for one in stated] == [row["filename"] for row in rows]
    assert [len(one["predictions"]) for one in stated] == [0 if "error" in one else 2 for one in stated]
    page = (tmp_path / "a.html").read_text()
    assert page.count('<img class="seen') == 98
    assert "&lt;script&gt;alert(1)" in page
    assert "<script>alert" not in page


def test_a_file_that_is_not_there_is_told_and_the_others_are_predicted(study, tmp_path):
    Image.new("RGB", (9, 9), (200, 0, 0)).save(tmp_path / "a.png")
    files = str(tmp_path / "none.png"), str(tmp_path / "a.png")
    done = predict(study, "--run=my_results/colours", *files, "--trust_code")
    assert done.returncode == 1
    assert f"error: {tmp_path}/none.png: No such file or directory\n" in done.stderr
    *_, bad, good = done.stdout.splitlines()
    assert bad == f"{tmp_path}/none.png"
    assert good.split()[:2] == [f"{tmp_path}/a.png", "red"]


def test_names_that_are_no_utf_8_are_told_with_escapes(study, tmp_path):
    """As those that an archive of another system leaves; of a picture, of one that is none, and of their folder."""
    folder = os.fsencode(tmp_path) + b"/caf\xe9"
    os.mkdir(folder)  # noqa: PTH102 - paths in bytes
    for name, content in ((b"bad.png", b"no picture"), (b"notes.txt", b"")):
        with open(folder + b"/\xe9" + name, "wb") as file:
            file.write(content)
    shutil.copy(ROOT / "results" / "kmnist_mlp" / "curves_accuracy.png", folder + b"/good.png")
    done = predict(study, "--run=my_results/colours", os.fsdecode(folder), f"--json={os.fsdecode(folder)}/a.json",
                   f"--html={tmp_path / 'a.html'}", "--trust_code")
    assert done.returncode == 1
    assert done.stderr.splitlines()[0] == f"error: {tmp_path}/caf\\xe9/\\xe9bad.png: is no picture of a known format"
    assert f"{tmp_path}/caf\\xe9: left out are files of other kinds: 1 .txt" in done.stdout.splitlines()
    assert f"written: {tmp_path}/caf\\xe9/a.json" in done.stdout.splitlines()
    with open(folder + b"/a.json") as file:
        stated = json.load(file)
    assert {one["filename"]: one.get("error") for one in stated} == {
        f"{tmp_path}/caf\\xe9/good.png": None,
        f"{tmp_path}/caf\\xe9/\\xe9bad.png": f"{tmp_path}/caf\\xe9/\\xe9bad.png: is no picture of a known format"}
    assert "xe9bad.png: is no picture" in (tmp_path / "a.html").read_text()


def test_a_picture_whose_name_begins_with_a_tilde_is_itself(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/mine")
    (tmp_path / "~a.png").touch()
    asked, _ = pictures.asked(["~a.png", "~nobody.png", "~/b.png"], ["red"])
    assert [str(one.file) for one in asked] == ["~a.png", "~nobody.png", "/home/mine/b.png"]


def test_a_picture_that_cannot_be_looked_at_stops_no_other(tmp_path, monkeypatch):
    """As in a folder that may not be searched; a name that no file can have is refused alike, whoever asks."""
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (9, 9)).save("a.png")
    bad = "b" * 300 + ".png"
    asked, _ = pictures.asked(["a.png", bad], ["red"])
    assert [str(one.file) for one in asked] == ["a.png", bad]
    with pytest.raises(DataError, match="File name too long"):
        resize.read(asked[1].file, resize.Rule((9, 9), 3, "crop"))


def test_the_best_cell_is_one_that_the_ablation_has_and_damaged_records_are_left_out(study, tmp_path):
    folder = records.Folder(tmp_path / "my_results", "colours")
    shutil.copytree(study / "my_results" / "colours", folder.path)
    (folder.run("network=shipped,seed=1") / "record.json").write_text("{")
    (folder.run("network=own,seed=1") / "record.json").write_text("{")
    best, told = locate.find(str(folder.path))
    assert "on average over 1 run" in told
    other = {RUN: OWN, OWN: RUN}[best.name]
    plan = json.loads((folder.path / "plan.json").read_text())
    plan["factors"] = {"network": [other.partition(",")[0].partition("=")[2]]}
    (folder.path / "plan.json").write_text(json.dumps(plan))
    assert locate.find(str(folder.path))[0].name == other
    for run_id in (RUN, OWN):
        (folder.run(run_id) / "record.json").write_text("{")
    with pytest.raises(records.RecordError, match=r"record\.json cannot be read"):
        locate.find(str(folder.path))


def test_code_of_the_user_is_executed_only_if_asked_to(study, tmp_path):
    digest = hashlib.sha256(own_colours.SOURCE.encode()).hexdigest()
    copy = copied(study, tmp_path, OWN)
    with pytest.raises(KeptError, match=rf"NetworkConfig, which colours.py \(sha256 {digest}\) defines; give"):
        harness.load(copy)
    assert harness.load(copy, ablation=str(study / "colours.py")).class_names == own_colours.CLASSES
    (tmp_path / "colours.py").write_text(f"raise SystemExit('executed')\n{own_colours.SOURCE}")
    with pytest.raises(KeptError, match=f"needs colours.py as it was .*{digest}"):
        harness.load(copy, ablation=str(tmp_path / "colours.py"))


def test_a_record_without_weights_says_how_to_have_them(study, tmp_path):
    folder = tmp_path / "my_results" / "colours"
    shutil.copytree(study / "my_results" / "colours", folder)
    (folder / "runs" / RUN / kept.WEIGHTS).unlink()
    command = (r"train it again: python -m harness\.run --ablation=colours\.py --seeds=0 --only=network=shipped,seed=0 "
               r"'--layout=.+' --results_dir=again$")
    with pytest.raises(KeptError, match=command):
        harness.load(folder / "runs" / RUN)
    shutil.copytree(folder / "runs" / RUN, tmp_path / "of another name")
    with pytest.raises(KeptError, match=f"of another name has a record and no {kept.WEIGHTS}: .*{command}"):
        harness.load(tmp_path / "of another name")


def test_a_network_is_loaded_with_its_own_code_after_later_launches_with_another(study, tmp_path):
    """Also where the copy lies in sources/ itself, as launches once left it."""
    folder = records.Folder(tmp_path / "my_results", "colours")
    shutil.copytree(study / "my_results" / "colours", folder.path)
    changed = f"raise SystemExit('executed')\n{own_colours.SOURCE}".encode()
    folder.write_plan(folder.plan(), {"colours.py": changed})
    assert harness.load(folder.run(OWN), trust_code=True).class_names == own_colours.CLASSES
    copy = sources.kept(folder.path, folder.record(OWN).sources)
    copy.rename(folder.path / "once")
    shutil.rmtree(folder.path / "sources")
    (folder.path / "once").rename(folder.path / "sources")
    assert harness.load(folder.run(OWN), trust_code=True).class_names == own_colours.CLASSES


def test_code_of_the_user_is_executed_once(study, tmp_path):
    done = commands.here().run("harness.predict", f"--run=my_results/colours/runs/{OWN}", "--split=validation",
                               "--trust_code", where=study, COUNT_EXECUTIONS=str(tmp_path / "count"))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "count").read_text() == "executed\n"


def test_rows_are_printed_before_the_next_pictures_are_classified(study, tmp_path):
    for number in range(BATCH + 1):
        Image.new("RGB", (6, 8), (200, 0, 0)).save(tmp_path / f"{number:02}.png")
    done = commands.here().run("harness.predict", f"--run=my_results/colours/runs/{OWN}", str(tmp_path), "--trust_code",
                               where=study, TELL_TRACES="yes")
    told = [line.split("  ")[0] for line in done.stdout.splitlines()]
    rows = [str(path) for path in sorted(tmp_path.iterdir())]
    assert told[-BATCH - 3:] == [f"traced for {BATCH}", *rows[:BATCH], "traced for 1", rows[BATCH]]


def test_a_command_that_fails_leaves_its_files_as_they_were(study, tmp_path):
    (tmp_path / "a.csv").write_text("before\n")
    failed = predict(study, f"--run=my_results/colours/runs/{RUN}", str(tmp_path), f"--csv={tmp_path / 'a.csv'}",
                     f"--html={tmp_path / 'a.html'}")
    assert failed.stderr == f"error: {tmp_path} has no pictures\n"
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"a.csv": "before\n"}


def test_a_folder_of_pictures_is_looked_at_once(tmp_path, monkeypatch):
    own_pictures.paint_set(tmp_path, {"test/red": 2, "train/red": 1, "train/blue/inner": 1})
    looked = []
    scandir = os.scandir
    monkeypatch.setattr("harness.data.layout.os.scandir", lambda path: looked.append(str(path)) or scandir(path))
    asked, _ = pictures.asked([str(tmp_path)], ["red", "blue"])
    assert [one.truth for one in asked] == ["red", "red", "blue", "red"]
    assert sorted(looked) == sorted(map(str, (tmp_path, *(path for path in tmp_path.rglob("*") if path.is_dir()))))


def test_nothing_but_the_two_files_is_needed(study, network, tested, tmp_path):
    elsewhere = harness.load(copied(study, tmp_path))
    np.testing.assert_array_equal(elsewhere(tested[0][:4]), network(tested[0][:4]))


def test_files_that_do_not_belong_together_are_refused(study, tmp_path):
    copy = copied(study, tmp_path, class_names=["red", "green"])
    with pytest.raises(KeptError, match=r"layers.2.bias is \[3\] in the file and \[2\] in the network"):
        harness.load(copy)
    safetensors.numpy.save_file({"layers.1.bias": np.zeros(8, np.float32)}, copy / kept.WEIGHTS)
    with pytest.raises(KeptError, match=r"layers.1.kernel is absent in the file and \[144, 8\] in the network"):
        harness.load(copy)
    (copy / kept.WEIGHTS).write_bytes(b"no weights")
    with pytest.raises(KeptError, match="cannot be read"):
        harness.load(copy)
    stated = json.loads((copy / kept.CONFIG).read_text())
    (copy / kept.CONFIG).write_text(json.dumps(stated | {"config_hash": "0"}))
    with pytest.raises(KeptError, match="config_hash is not its configuration's"):
        harness.load(copy)
    (copy / kept.CONFIG).write_text('{"format": 99}')
    with pytest.raises(KeptError, match="does not state format 1"):
        harness.load(copy)


@pytest.mark.parametrize(("flags", "line"), [
    (["--run=my_results/none", "a.png"], "--run=my_results/none: there is no such folder"),
    (["--run=.", "a.png"], "is neither the folder of a run nor of an ablation"),
    (["--run=my_results/colours"], "name the pictures or folders to classify, or give --split=test"),
    (["a.png"], "--run=FOLDER is needed"),
    (["--run=my_results/none", "a.png", "--csv=my_results"], "my_results: is a directory; give a file"),
    (["--run=my_results/none", "a.png", "--csv=/dev/null"], "/dev/null: is no plain file; give another name"),
    (["--run=my_results/none", "a.png", "--json=colours.py/a.json"], "colours.py"),
    (["--run=my_results/none", "a.png", "--csv=colours.py"], "--csv=colours.py names a file of another kind, which"),
    (["--run=my_results/none", "a.png", "--csv=a.out", "--html=my_results/../a.out"],
     "--csv and --html both name my_results/../a.out: give each a file of its own"),
    ([f"--run=my_results/colours/runs/{RUN}", "--split=test"],
     "its data is Colours, which colours.py (sha256 "),
    (["--run=my_results/colours/runs/network=shipped,seed=1", "a.png"],
     "of its cell's runs network=shipped,seed=0 has: --run="),
    ([f"--run={ROOT}/results/kmnist_mlp", "a.png"], "train it again: python -m harness.run --ablation=kmnist_mlp"),
])
def test_a_mistake_is_one_line_and_fails(study, flags, line):
    failed = predict(study, *flags)
    assert failed.returncode == 1
    [told] = failed.stderr.splitlines()
    assert line in told
