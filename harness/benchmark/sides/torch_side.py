"""PyTorch in its best simple form: fused Adam, all data one tensor indexed by a permutation, threads and layout chosen.

On a GPU also the whole step as one CUDA graph, if that is faster than one operation after another. Left out:
`torch.compile`, which needs a C++ compiler at run time.
"""

import math
import os
import time
from typing import Any

import torch
from torch import nn

from harness.benchmark.sides import serve, task

ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid, "elu": nn.ELU, "gelu": nn.GELU}


class Side:
    """One network; a grid is its epoch again and again."""

    graph: Any = None

    def __init__(self, job: dict[str, Any]):
        torch.manual_seed(0)
        # As XLA and TensorFlow do; otherwise moments that fade out slow Adam down.
        torch.set_flush_denormal(True)
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = job["precision"] == "tf32"
        torch.backends.cudnn.benchmark = True
        self.job = job
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.shape = tuple(job["image_shape"])
        self.layers = task.layers(job["config"], job["num_classes"])
        self.convolves = self.layers[0].kind == "conv"
        self.examples = task.images(job["examples"], self.shape, job["num_classes"])

    def start(self) -> dict[str, Any]:
        return {"versions": {"torch": torch.__version__}, "platform": "gpu" if self.device == "cuda" else "cpu"}

    def calibrate(self) -> dict[str, Any]:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        counts = sorted({cores, *(2**power for power in range(cores.bit_length()))} - {0})

        def seconds(settings: dict[str, Any]) -> float:
            self.prepare(settings)
            return min(self._epoch(), self._epoch())

        best: dict[str, Any] = {"threads": cores, "data": "uint8", "channels_last": self.convolves, "graph": False}
        if self.device == "cuda":
            best = serve.fastest([best | {"graph": graph} for graph in (True, False)], seconds)
            counts = []  # one thread launches
        best = serve.fastest([best | {"threads": count} for count in counts if count <= cores] or [best], seconds)
        best = serve.fastest([best | {"data": data} for data in ("uint8", "float32")], seconds)
        if self.convolves:
            best = serve.fastest([best | {"channels_last": is_last} for is_last in (True, False)], seconds)
        return best

    def prepare(self, settings: dict[str, Any]) -> dict[str, Any]:
        self.settings = settings
        torch.set_num_threads(settings["threads"])
        started = time.perf_counter()
        images, labels = self.examples
        self.images, self.labels = self._on_device(images), torch.from_numpy(labels).long().to(self.device)
        self._build()
        self._epoch()
        first_s = time.perf_counter() - started
        return {"compile_s": max(0.0, first_s - self._epoch()), "work": self.job["runs"] * len(self.labels)}

    def time(self) -> float:
        return sum(self._epoch() for _ in range(self.job["runs"]))

    def device_bytes(self) -> int | None:
        return torch.cuda.max_memory_allocated() if self.device == "cuda" else None

    def learn(self) -> dict[str, float]:
        self._build()
        for _ in range(self.job["config"]["epochs"]):
            self._epoch()
        images, labels = task.images(self.job["held_out"], self.shape, self.job["num_classes"], held_out=True)
        self.model.eval()
        with torch.no_grad():
            logits = torch.cat([self._forward(part) for part in self._on_device(images).split(500)])
        return task.score(logits.float().cpu().numpy(), labels)

    def _epoch(self) -> float:
        started = time.perf_counter()
        self.model.train()
        order = torch.randperm(len(self.labels), device=self.device)
        for chosen in order.split(self.job["config"]["batch_size"]):
            if self.graph is not None and len(chosen) == len(self.chosen):
                self.chosen.copy_(chosen)
                self.graph.replay()
            else:
                self._step(chosen)
        if self.device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - started

    def _step(self, chosen: torch.Tensor) -> None:
        loss = nn.functional.cross_entropy(self._forward(self.images[chosen]), self.labels[chosen])
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()

    def _capture(self) -> None:
        """Records a step of a full batch as a graph, on a stream of its own, after some steps as they are."""
        self.model.train()
        self.chosen = torch.arange(self.job["config"]["batch_size"], device=self.device) % len(self.labels)
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):
                self._step(self.chosen)
        torch.cuda.current_stream().wait_stream(stream)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self._step(self.chosen)

    def _forward(self, images: torch.Tensor) -> torch.Tensor:
        if images.dtype == torch.uint8:
            images = images.float().div_(255)
        if self.settings["channels_last"]:
            images = images.permute(0, 3, 1, 2)  # a view: the values lie channels last
        with torch.autocast(self.device, torch.bfloat16, enabled=self.job["precision"] == "bfloat16"):
            return self.model(images)

    def _on_device(self, images: Any) -> torch.Tensor:
        tensor = torch.from_numpy(images).to(self.device)
        if not self.settings["channels_last"]:
            tensor = tensor.permute(0, 3, 1, 2).contiguous()
        return tensor.float().div_(255) if self.settings["data"] == "float32" else tensor

    def _build(self) -> None:
        layout = torch.channels_last if self.settings["channels_last"] else torch.contiguous_format
        self.model = _network(self.layers, self.shape).to(self.device, memory_format=layout)
        rate = self.job["config"]["optimizer"]["learning_rate"]
        self.optimizer = torch.optim.Adam(self.model.parameters(), rate, betas=(0.9, 0.999), eps=1e-7, fused=True,
                                          capturable=self.settings["graph"])
        self.graph = None
        if self.settings["graph"]:
            self._capture()


def _network(layers: list[task.Layer], shape: tuple[int, ...]) -> nn.Sequential:
    height, width, channels = shape
    modules: list[nn.Module] = []
    is_flat = False
    for layer in layers:
        match layer.kind:
            case "conv":
                modules.append(nn.Conv2d(channels, layer.units, layer.size, padding=layer.padding))
                lost = layer.size - 1 if layer.padding == "valid" else 0
                height, width, channels = height - lost, width - lost, layer.units
            case "max_pool":
                modules.append(nn.MaxPool2d(layer.size))
                height, width = height // layer.size, width // layer.size
            case "dropout":
                modules.append(nn.Dropout(layer.rate))
            case "batch_norm":
                norm = nn.BatchNorm1d if is_flat else nn.BatchNorm2d
                modules.append(norm(channels, eps=1e-3, momentum=0.01))  # torch's momentum is one minus Keras's
            case "flatten":
                modules.append(nn.Flatten())
                channels, is_flat = math.prod((height, width, channels)), True
            case "dense":
                modules.append(nn.Linear(channels, layer.units))
                channels = layer.units
        if layer.kind in ("conv", "dense"):
            nn.init.xavier_uniform_(modules[-1].weight)
            nn.init.zeros_(modules[-1].bias)
            if layer.activation:
                modules.append(ACTIVATIONS[layer.activation]())
    return nn.Sequential(*modules)
