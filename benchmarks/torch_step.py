"""The same networks and training step as `step_worker`, in plain PyTorch.

Needs a Python with torch, for segformer_b5 also transformers, and nothing else. Input and output
are those of `step_worker`:

  echo 5 | TORCH_PYTHON benchmarks/torch_step.py efficientnet_lite0 176 240 4 [channels_last]
  echo 5 | TORCH_PYTHON benchmarks/torch_step.py resnet101 512 1024 1 cuda [bfloat16]

The networks have the same layers as the Keras ones; the number of trainable parameters in the first
line checks it. On a GPU matrix products may use TensorFloat-32, and the peak in the last line is
that of the GPU's memory.
"""

from __future__ import annotations

import resource
import sys
import time

import torch
from torch import nn
from torch.nn import functional

NUM_CLASSES = 19
# Kernel, blocks, input and output channels, expansion, stride of EfficientNet-Lite0's stages.
_STAGES = (
    (3, 1, 32, 16, 1, 1),
    (3, 2, 16, 24, 6, 2),
    (5, 2, 24, 40, 6, 2),
    (3, 3, 40, 80, 6, 2),
    (5, 3, 80, 112, 6, 1),
    (5, 4, 112, 192, 6, 2),
    (3, 1, 192, 320, 6, 1),
)


def make_conv(inputs, outputs, kernel=1, stride=1, groups=1, dilation=1, bias=False):
    """Creates a convolution padded to keep the size at stride 1."""
    return nn.Conv2d(
        inputs,
        outputs,
        kernel,
        stride,
        padding=dilation * (kernel // 2),
        dilation=dilation,
        groups=groups,
        bias=bias,
    )


class InvertedResidual(nn.Module):
    """A block of EfficientNet-Lite: expand, filter each channel, project."""

    def __init__(self, inputs, outputs, kernel, expansion, stride):
        super().__init__()
        width = inputs * expansion
        layers = []
        if expansion > 1:
            layers += [make_conv(inputs, width), nn.BatchNorm2d(width, 1e-3), nn.ReLU6()]
        layers += [
            make_conv(width, width, kernel, stride, groups=width),
            nn.BatchNorm2d(width, 1e-3),
            nn.ReLU6(),
            make_conv(width, outputs),
            nn.BatchNorm2d(outputs, 1e-3),
        ]
        self.layers = nn.Sequential(*layers)
        self.adds = stride == 1 and inputs == outputs

    def forward(self, x):
        """Applies the block."""
        return x + self.layers(x) if self.adds else self.layers(x)


class Lite0Segmenter(nn.Module):
    """EfficientNet-Lite0 with three levels fused at stride 8 and linear class scores."""

    def __init__(self, dim=128):
        super().__init__()
        self.stem = nn.Sequential(make_conv(3, 32, 3, 2), nn.BatchNorm2d(32, 1e-3), nn.ReLU6())
        self.stages = nn.ModuleList()
        for kernel, blocks, inputs, outputs, expansion, stride in _STAGES:
            self.stages.append(
                nn.Sequential(
                    *(
                        InvertedResidual(
                            outputs if index else inputs,
                            outputs,
                            kernel,
                            expansion,
                            1 if index else stride,
                        )
                        for index in range(blocks)
                    )
                )
            )
        self.top = nn.Sequential(make_conv(320, 1280), nn.BatchNorm2d(1280, 1e-3), nn.ReLU6())
        self.laterals = nn.ModuleList(make_conv(n, dim) for n in (40, 112, 1280))
        self.refine = nn.Sequential(
            nn.BatchNorm2d(dim, 1e-3),
            nn.ReLU(),
            make_conv(dim, dim, 3, groups=dim),
            make_conv(dim, dim),
            nn.BatchNorm2d(dim, 1e-3),
            nn.ReLU(),
            make_conv(dim, NUM_CLASSES, bias=True),
        )
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1))

    def forward(self, x):
        """Computes logits at stride 8."""
        x = self.stem((x / 255 - self.mean) / self.std)
        levels = []
        for index, stage in enumerate(self.stages):
            x = stage(x)
            if index in (2, 4):
                levels.append(x)
        levels.append(self.top(x))
        maps = [lateral(level) for lateral, level in zip(self.laterals, levels)]
        size = maps[0].shape[2:]
        fused = maps[0] + sum(
            functional.interpolate(m, size, mode="bilinear", align_corners=False) for m in maps[1:]
        )
        return self.refine(fused)


class Bottleneck(nn.Module):
    """A block of ResNet with the stride in the first convolution and biases."""

    def __init__(self, inputs, width, stride, dilation, projects):
        super().__init__()
        self.layers = nn.Sequential(
            make_conv(inputs, width, 1, stride, bias=True),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            make_conv(width, width, 3, dilation=dilation, bias=True),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            make_conv(width, 4 * width, bias=True),
            nn.BatchNorm2d(4 * width),
        )
        self.shortcut = nn.Identity()
        if projects:
            self.shortcut = nn.Sequential(
                make_conv(inputs, 4 * width, 1, stride, bias=True), nn.BatchNorm2d(4 * width)
            )

    def forward(self, x):
        """Applies the block."""
        return torch.relu(self.shortcut(x) + self.layers(x))


class ResNetDeepLab(nn.Module):
    """ResNet-101 at stride 8 with DeepLab-v2's head."""

    def __init__(self):
        super().__init__()
        layers = [
            make_conv(3, 64, 7, 2, bias=True),
            nn.BatchNorm2d(64),
            nn.ReLU(),
            nn.MaxPool2d(3, 2, 1),
        ]
        inputs = 64
        for width, blocks, stride, dilation in (
            (64, 3, 1, 1),
            (128, 4, 2, 1),
            (256, 23, 1, 2),
            (512, 3, 1, 4),
        ):
            for index in range(blocks):
                layers.append(
                    Bottleneck(inputs, width, 1 if index else stride, dilation, index == 0)
                )
                inputs = 4 * width
        self.layers = nn.Sequential(*layers)
        self.branches = nn.ModuleList(
            make_conv(inputs, NUM_CLASSES, 3, dilation=rate, bias=True) for rate in (6, 12, 18, 24)
        )
        mean = torch.tensor([103.939, 116.779, 123.68]).view(1, 3, 1, 1)
        self.register_buffer("mean", mean)

    def forward(self, x):
        """Computes logits at stride 8."""
        x = self.layers(x.flip(1) - self.mean)
        return sum(branch(x) for branch in self.branches)


class SegFormer(nn.Module):
    """SegFormer with MiT-B5 of the library transformers."""

    def __init__(self):
        super().__init__()
        import transformers

        config = transformers.SegformerConfig(
            num_labels=NUM_CLASSES,
            depths=[3, 6, 40, 3],
            hidden_sizes=[64, 128, 320, 512],
            decoder_hidden_size=768,
        )
        self.model = transformers.SegformerForSemanticSegmentation(config)
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1))

    def forward(self, x):
        """Computes logits at stride 4."""
        return self.model((x / 255 - self.mean) / self.std).logits


NETWORKS = {
    "efficientnet_lite0": Lite0Segmenter,
    "resnet101": ResNetDeepLab,
    "segformer_b5": SegFormer,
}


def make_batch(height, width, images):
    """Creates noise with labels in blocks, source images first; half of the target is ignored."""
    generator = torch.Generator().manual_seed(0)
    halves = []
    for ignored in (0.1, 0.5):
        blocks = torch.randint(
            0, NUM_CLASSES, (images, -(-height // 16), -(-width // 16)), generator=generator
        )
        blocks[torch.rand(blocks.shape, generator=generator) < ignored] = 255
        label = blocks.repeat_interleave(16, 1).repeat_interleave(16, 2)
        halves.append(label[:, :height, :width].contiguous())
    image = 255 * torch.rand((2 * images, 3, height, width), generator=generator)
    return image, torch.cat(halves)


def main():
    """Builds the network and runs steps until the end of input."""
    network, height, width, images = sys.argv[1], *map(int, sys.argv[2:5])
    options = sys.argv[5:]
    device = "cuda" if "cuda" in options else "cpu"
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    torch.backends.cudnn.benchmark = True
    model = NETWORKS[network]().to(device)
    image, label = (part.to(device) for part in make_batch(height, width, images))
    if "channels_last" in options:
        model = model.to(memory_format=torch.channels_last)
        image = image.contiguous(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(model.parameters(), 1e-4)
    model.train()

    def run(count):
        began = time.perf_counter()
        for _ in range(count):
            with torch.autocast(device, torch.bfloat16, enabled="bfloat16" in options):
                logits = model(image)
            logits = functional.interpolate(
                logits.float(), (height, width), mode="bilinear", align_corners=False
            )
            loss = functional.cross_entropy(logits[:images], label[:images], ignore_index=255)
            loss = loss + functional.cross_entropy(
                logits[images:], label[images:], ignore_index=255
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        loss.item()
        return (time.perf_counter() - began) / count

    run(2)
    if device == "cuda":  # The choice of algorithms takes far more memory than the steps.
        torch.cuda.reset_peak_memory_stats()
    print(sum(p.numel() for p in model.parameters() if p.requires_grad), flush=True)
    for line in sys.stdin:
        print(run(int(line)), flush=True)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(torch.cuda.max_memory_allocated() if device == "cuda" else peak, flush=True)


if __name__ == "__main__":
    main()
