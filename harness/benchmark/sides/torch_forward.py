"""MobileNetV2 in PyTorch, in inference: batch norm folded, threads, batch size and layout chosen.

Left out: `torch.compile`, which needs a C++ compiler at run time.
"""

import os
import time
from typing import Any

import numpy as np
import torch
from torch import nn

from harness.benchmark.sides import backbone, serve


class Side:
    """Eager, under `inference_mode`."""

    def __init__(self, job: dict[str, Any]):
        torch.set_flush_denormal(True)
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = job["precision"] == "tf32"
        self.job, self.given = job, backbone.Given(job)
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.dtype = torch.bfloat16 if job["precision"] == "bfloat16" else torch.float32

    def start(self) -> dict[str, Any]:
        return {"versions": {"torch": torch.__version__}, "platform": "gpu" if self.device == "cuda" else "cpu"}

    def calibrate(self) -> dict[str, Any]:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

        def seconds(settings: dict[str, Any]) -> float:
            self.prepare(settings)
            return min(self._seconds(self.given.images[:backbone.TRIAL]) for _ in range(3))

        best = {"threads": cores, "batch": 32, "channels_last": True}
        for name, values in (("batch", backbone.BATCHES), ("threads", sorted({1, -(-cores // 2), cores})),
                             ("channels_last", (True, False))):
            best = serve.fastest([best | {name: value} for value in values], seconds)
        return best

    def prepare(self, settings: dict[str, Any]) -> dict[str, Any]:
        self.settings = settings
        torch.set_num_threads(settings["threads"])
        started = time.perf_counter()
        layout = torch.channels_last if settings["channels_last"] else torch.contiguous_format
        self.model = _network(self.given).eval().to(self.device, self.dtype, memory_format=layout)
        some = self.given.images[:settings["batch"]]
        self._features(some)
        first_s = time.perf_counter() - started
        return {"compile_s": max(0.0, first_s - self._seconds(some)), "work": len(self.given.images)}

    def time(self) -> float:
        return self._seconds(self.given.images)

    def device_bytes(self) -> int | None:
        return torch.cuda.max_memory_allocated() if self.device == "cuda" else None

    def learn(self) -> dict[str, float]:
        return self.given.compare(self._features, self.settings["batch"])

    def _seconds(self, images: np.ndarray) -> float:
        started = time.perf_counter()
        self._features(images)
        return time.perf_counter() - started

    @torch.inference_mode()
    def _features(self, images: np.ndarray) -> np.ndarray:
        found = []
        for some in torch.from_numpy(images).split(self.settings["batch"]):
            x = some.to(self.device).permute(0, 3, 1, 2)  # a view: the values lie channels last
            if not self.settings["channels_last"]:
                x = x.contiguous()
            features = self.model(x.to(self.dtype).div_(127.5).sub_(1)).mean((2, 3), dtype=torch.float32)
            found.append(features.cpu().numpy())
        return np.concatenate(found)


class Residual(nn.Module):
    """Adds a part's input to its output."""

    def __init__(self, part: nn.Module):
        super().__init__()
        self.part = part

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.part(x).add_(x)


def _network(given: backbone.Given) -> nn.Sequential:
    side = given.shape[0]
    network = nn.Sequential()
    for part in given.parts:
        modules = nn.Sequential()
        for conv in part.convs:
            kernel, bias = map(torch.from_numpy, given.weights[conv.name].folded())
            before, after = backbone.padding(side, conv.stride) if conv.size == 3 else (0, 0)
            if before != after:  # a convolution pads both ends alike
                modules.append(nn.ZeroPad2d((before, after, before, after)))
            layer = nn.Conv2d(conv.channels, conv.filters, conv.size, conv.stride, before if before == after else 0,
                              groups=conv.channels if conv.depthwise else 1)
            layer.weight.data = kernel.permute(*((2, 3, 0, 1) if conv.depthwise else (3, 2, 0, 1))).contiguous()
            layer.bias.data = bias
            modules.append(layer)
            side = -(-side // conv.stride)
            if conv.relu6:
                modules.append(nn.ReLU6(inplace=True))
        network.append(Residual(modules) if part.residual else modules)
    return network
