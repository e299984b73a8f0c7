"""Invents what done runs keep beside their records: test predictions, images and weights."""

import numpy as np
import synthetic

from harness.records import Folder, RunRecord


def predictions(invented: RunRecord, examples: int = 500) -> dict[str, np.ndarray]:
    """Invents predictions about as accurate as the record says, most errors in favour of the next class."""
    classes = len(invented.dataset.class_names)
    label = np.arange(examples) % classes
    rng = np.random.default_rng([invented.seed, len(invented.cell), 1])
    wrong = rng.random(examples) > (invented.best.test_accuracy if invented.best else 0.5)
    offset = np.where(rng.random(examples) < 0.7, 1, rng.integers(1, classes, examples))
    predicted = np.where(wrong, (label + offset) % classes, label)
    kind = np.uint8 if classes <= 256 else np.uint16
    return {"predicted": predicted.astype(kind), "label": label.astype(kind),
            "probability": np.where(wrong, rng.uniform(0.3, 0.9, examples),
                                    rng.uniform(0.5, 1, examples)).astype(np.float16)}


def exhibits(invented: RunRecord, known: dict[str, np.ndarray], kernel: tuple[int, ...] | None = None
             ) -> dict[str, np.ndarray]:
    """Invents the exhibits of a run with these predictions; its first layer is dense unless `kernel` says otherwise."""
    shape = invented.dataset.image_shape
    wrong = np.flatnonzero(known["predicted"] != known["label"])
    index = np.concatenate([np.arange(25), wrong[wrong >= 25][:50]]).astype(np.int32)
    rng = np.random.default_rng([invented.seed, 2])
    row, column = np.mgrid[:shape[0], :shape[1]]
    image = np.stack([(row * (place % 7 + 1) + column * (place % 5) * 3) % 256 for place in index])
    image = np.repeat(image[..., None], shape[2], axis=3)
    kernel = kernel or (int(np.prod(shape)), 41)
    initial = rng.normal(0, 0.05, kernel)
    return {"index": index, "image": image.astype(np.uint8), "initial": initial.astype(np.float16),
            "trained": (1.4 * initial + 0.02).astype(np.float16), "layer": np.array("dense_2"),
            "units": np.int32(256 if len(kernel) == 2 else kernel[-1])}


def write(folder: Folder, *invented: RunRecord, kernel: tuple[int, ...] | None = None) -> None:
    """Adds the files to done runs already written; exhibits to each cell's first."""
    seen = set()
    for one in invented:
        if one.status != "done":
            continue
        path, known = folder.run(synthetic.run_id(one)), predictions(one)
        np.savez_compressed(path / "predictions.npz", allow_pickle=False, **known)
        if one.cell not in seen:
            np.savez_compressed(path / "exhibits.npz", allow_pickle=False, **exhibits(one, known, kernel))
        seen.add(one.cell)
