"""Vision transformers over patches of a clip's frames or of its log-mel spectrogram.

The architecture is that of Dosovitskiy et al., "An Image Is Worth 16x16 Words", ICLR 2021, with
norms before attention and MLP, over space-time patches as in VideoMAE (Tong et al., NeurIPS 2022)
and over patches of a spectrogram as in AST (Gong et al., Interspeech 2021).
"""

from __future__ import annotations

import math
from typing import Literal, Self

import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn

from toomuchtv._internal.random_numbers import UInt64Array, uniforms
from toomuchtv.models.resnet import run_block

VitSize = Literal["micro", "tiny", "small", "base"]

#: Width, number of blocks and number of attention heads of each size. Those from "tiny" to "base"
#: are of Touvron et al., "Training Data-Efficient Image Transformers", ICML 2021, table 1.
VIT_SIZES: dict[VitSize, tuple[int, int, int]] = {
    "micro": (64, 4, 2),
    "tiny": (192, 12, 3),
    "small": (384, 12, 6),
    "base": (768, 12, 12),
}

# Positions are counted along each axis in units of a sixteenth of the whole extent.
_EXTENT = 16.0
_SLOWEST_WAVE = 10_000.0


class VitConfig(BaseModel):
    """What both transformers have in common.

    Attributes:
        size: Width, depth and number of heads; see `VIT_SIZES`.
        patch_dropout: Share of the patches that a training step leaves out, drawn anew for every
            clip (Li et al., "Scaling Language-Image Pre-training via Masking", CVPR 2023).
        positions: "sine" computes the position of a patch from sines and cosines along each axis,
            for any size of the input. "table" has one vector for each patch of `position_grid`,
            which is interpolated to other sizes; published weights have such a table.
        position_grid: Number of patches along each axis of the table; empty without a table.
        prefix_tokens: Number of learned tokens that are put before the patches. The features are
            their mean. Without them, the features are the mean over the patches.
        init: Folder of published weights from which `pretrain` starts a new run; empty for random
            weights. The model itself is built with random weights.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    size: VitSize = "small"
    patch_dropout: float = Field(default=0.0, ge=0.0, lt=1.0)
    positions: Literal["sine", "table"] = "sine"
    position_grid: tuple[int, ...] = ()
    prefix_tokens: Literal[0, 2] = 0
    init: str = ""

    @property
    def label(self) -> str:
        """Name and size, for people."""
        return f"vit-{self.size}"

    @model_validator(mode="after")
    def _check_table(self) -> Self:
        if (self.positions == "table") != bool(self.position_grid):
            raise ValueError(
                "position_grid states the shape of a table of positions: set it with "
                f"positions='table' and only then, got {self.positions!r} and {self.position_grid}"
            )
        if not all(1 <= patches <= 4096 for patches in self.position_grid):
            raise ValueError(
                f"position_grid must be of 1 to 4096 patches, got {self.position_grid}"
            )
        return self


class VideoVitConfig(VitConfig):
    """Architecture of the video transformer.

    Attributes:
        name: Vision transformer.
        patch_frames: Number of frames that a patch spans. Clips must have a multiple of it.
        patch_pixels: Height and width of a patch. Frames must have a multiple of it.
    """

    name: Literal["vit"] = "vit"
    patch_frames: Literal[1, 2, 4] = 2
    patch_pixels: Literal[8, 14, 16, 32] = 16


class AudioVitConfig(VitConfig):
    """Architecture of the audio transformer.

    Attributes:
        name: Vision transformer.
        patch_bands: Height of a patch in mel bands.
        patch_frames: Width of a patch in spectrogram frames.
        stride_bands: Distance of two patches in mel bands; less than `patch_bands` for overlap.
        stride_frames: Distance of two patches in frames. What is left over at the end of the
            spectrogram, fewer frames than a patch has, is not seen.
    """

    name: Literal["vit"] = "vit"
    patch_bands: int = Field(default=16, ge=1, le=128)
    patch_frames: int = Field(default=16, ge=1, le=128)
    stride_bands: int = Field(default=16, ge=1, le=128)
    stride_frames: int = Field(default=16, ge=1, le=128)


class Attention(nn.Module):
    """Multi-head self-attention (Vaswani et al., "Attention Is All You Need", NeurIPS 2017)."""

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.out = nn.Linear(dim, dim)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map tokens `[N, L, D]` to `[N, L, D]`."""
        clips, length, dim = tokens.shape
        query, key, value = (
            self.qkv(tokens).reshape(clips, length, 3, self.num_heads, -1).permute(2, 0, 3, 1, 4)
        )
        mixed = F.scaled_dot_product_attention(query, key, value)
        out: Tensor = self.out(mixed.transpose(1, 2).reshape(clips, length, dim))
        return out


class Block(nn.Module):
    """A transformer block with a norm before attention and one before the MLP."""

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.attention = Attention(dim, num_heads)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))

    def forward(self, tokens: Tensor) -> Tensor:
        """Map tokens `[N, L, D]` to `[N, L, D]`."""
        tokens = tokens + self.attention(self.norm1(tokens))
        return tokens + torch.as_tensor(self.mlp(self.norm2(tokens)))


class VisionTransformer(nn.Module):
    """A transformer over a grid of patches, with random weights.

    A subclass cuts its input into patches.

    Args:
        config: The size, and how positions are known.
        patch_values: Number of values of one patch.

    Attributes:
        config: See above.
        num_features: Length D of the feature vector.
        activation_checkpointing: Whether to keep only the input of every block for the backward
            pass and to compute the rest again.
    """

    activation_checkpointing = False

    def __init__(self, config: VitConfig, patch_values: int) -> None:
        super().__init__()
        self.config = config
        dim, depth, num_heads = VIT_SIZES[config.size]
        self.num_features = dim
        self.patch_dropout = config.patch_dropout
        self._uses_table = config.positions == "table"
        self.embed_patches = nn.Linear(patch_values, dim)
        self.prefix = nn.Parameter(torch.zeros(config.prefix_tokens, dim))
        self.position_table = nn.Parameter(
            torch.zeros(dim, *config.position_grid) if self._uses_table else torch.zeros(0)
        )
        self.blocks = nn.ModuleList(Block(dim, num_heads) for _ in range(depth))
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.apply(_initialize)
        for parameter in (self.prefix, self.position_table):
            nn.init.trunc_normal_(parameter, std=0.02)

    def patches(self, x: Tensor) -> Tensor:
        """Cut the input into patches: `[N, *grid, patch_values]`."""
        raise NotImplementedError

    def forward(self, x: Tensor, kept: Tensor | None = None) -> Tensor:
        """Map the input to features `[N, num_features]`, float.

        Args:
            x: The input.
            kept: Indices of the patches to keep, int64 `[N, k]`; see `draw_patches`. None keeps
                all.
        """
        tokens, _ = self.tokens(x, kept)
        num_prefix = len(self.prefix)
        if num_prefix:
            return torch.as_tensor(self.norm(tokens[:, :num_prefix])).mean(dim=1)
        return torch.as_tensor(self.norm(tokens.mean(dim=1)))

    def feature_map(self, x: Tensor) -> Tensor:
        """Map the input to a map `[N, num_features, *grid]` with one normalized token a patch."""
        tokens, grid = self.tokens(x)
        mapped: Tensor = self.norm(tokens[:, len(self.prefix) :])
        return mapped.transpose(1, 2).reshape(len(x), -1, *grid)

    def tokens(self, x: Tensor, kept: Tensor | None = None) -> tuple[Tensor, tuple[int, ...]]:
        """Return the last tokens `[N, L, num_features]`, prefix first, and the grid of patches."""
        patches = self.patches(x)
        grid = tuple(patches.shape[1:-1])
        tokens: Tensor = self.embed_patches(patches.flatten(1, -2))
        tokens = tokens + self.positions(grid).to(tokens.dtype)
        if kept is not None:
            tokens = tokens.gather(1, kept.unsqueeze(2).expand(-1, -1, tokens.shape[2]))
        if len(self.prefix):
            prefix = self.prefix.to(tokens.dtype).expand(tokens.shape[0], -1, -1)
            tokens = torch.cat([prefix, tokens], dim=1)
        for block in self.blocks:
            tokens = run_block(block, tokens, checkpointing=self.activation_checkpointing)
        return tokens, grid

    def positions(self, grid: tuple[int, ...]) -> Tensor:
        """Return the position vectors of a grid of patches, float32 `[prod(grid), D]`."""
        table: Tensor = self.position_table
        if not self._uses_table:
            return sine_positions(grid, self.num_features, table.device)
        if len(grid) != table.dim() - 1:
            raise ValueError(f"the table of positions has {table.dim() - 1} axes, got {grid}")
        if tuple(table.shape[1:]) != grid:
            mode = "trilinear" if len(grid) == 3 else "bicubic"
            table = F.interpolate(table[None].float(), grid, mode=mode, align_corners=False)[0]
        return table.flatten(1).T

    def draw_patches(self, x: Tensor, seeds: UInt64Array) -> Tensor | None:
        """Draw the patches that a training step keeps, as a pure function of the clips' seeds.

        Args:
            x: The input of `forward`; only its shape counts, so it may be on the meta device.
            seeds: Seed of each clip `[N]`.

        Returns:
            Ascending indices int64 `[N, k]` on the CPU, or None if all are kept.
        """
        if not (self.patch_dropout and self.training):
            return None
        num_patches = math.prod(self.patches(x[:1]).shape[1:-1])
        num_kept = max(1, round(num_patches * (1.0 - self.patch_dropout)))
        scores = uniforms(
            seeds[:, None], torch.arange(num_patches).numpy()[None, :], _PATCH_DROPOUT_KEY
        )
        return torch.from_numpy(scores).argsort(dim=1)[:, :num_kept].sort(dim=1).values


_PATCH_DROPOUT_KEY = 0x9A7C  # separates these random numbers from those of the augmentation


class VideoVit(VisionTransformer):
    """A vision transformer over space-time patches of a clip; see `VisionTransformer`."""

    def __init__(self, config: VideoVitConfig) -> None:
        self.patch_size = (config.patch_frames, config.patch_pixels, config.patch_pixels)
        super().__init__(config, 3 * math.prod(self.patch_size))

    def patches(self, x: Tensor) -> Tensor:
        """Cut normalized RGB `[N, 3, T, H, W]` into `[N, t, h, w, 3 * values]`.

        Raises:
            ValueError: The clip's size is not a multiple of the patch's.
        """
        if any(size % patch for size, patch in zip(x.shape[2:], self.patch_size, strict=True)):
            raise ValueError(
                "frames, height and width must be multiples of the patch's "
                f"{self.patch_size}, got {tuple(x.shape[2:])}: change clip.frames, transform.size "
                "or model.video.patch_pixels"
            )
        clips, channels = x.shape[:2]
        (t, frames), (h, rows), (w, columns) = (
            (size // patch, patch) for size, patch in zip(x.shape[2:], self.patch_size, strict=True)
        )
        cut = x.reshape(clips, channels, t, frames, h, rows, w, columns)
        return cut.permute(0, 2, 4, 6, 1, 3, 5, 7).flatten(4)


class AudioVit(VisionTransformer):
    """A vision transformer over patches of a log-mel spectrogram; see `VisionTransformer`."""

    def __init__(self, config: AudioVitConfig) -> None:
        self.patch_size = (config.patch_bands, config.patch_frames)
        self.stride = (config.stride_bands, config.stride_frames)
        super().__init__(config, math.prod(self.patch_size))

    def patches(self, x: Tensor) -> Tensor:
        """Cut log-mel `[N, 1, bands, frames]` into `[N, b, f, values]`.

        Raises:
            ValueError: The spectrogram is smaller than a patch.
        """
        if any(size < patch for size, patch in zip(x.shape[2:], self.patch_size, strict=True)):
            raise ValueError(
                f"a spectrogram must have at least the patch's {self.patch_size} bands and frames, "
                f"got {tuple(x.shape[2:])}: lengthen clip.audio_seconds or make the patch smaller"
            )
        (bands, frames), (step_bands, step_frames) = self.patch_size, self.stride
        cut = x.squeeze(1).unfold(1, bands, step_bands).unfold(2, frames, step_frames)
        return cut.flatten(3)


def sine_positions(grid: tuple[int, ...], dim: int, device: torch.device | None = None) -> Tensor:
    """Return sine-cosine positions, factorized over the axes of a grid, float32 `[L, dim]`.

    Every axis has its own part of the vector: a quarter is of time and the rest of space, or half
    each of bands and frames. A position is where the center of the patch lies as a share of the
    whole extent, so that inputs of other sizes and lengths are seen as the same view, sampled more
    finely or coarsely (Feichtenhofer et al., "Masked Autoencoders As Spatiotemporal Learners",
    NeurIPS 2022, use the same factors without this scaling).

    Args:
        grid: Number of patches along each axis; two or three axes.
        dim: Length of the vectors, a multiple of 16.
        device: Device that computes them; the CPU if omitted.
    """
    shares = (dim // 2, dim // 2) if len(grid) == 2 else (dim // 4, dim * 3 // 8, dim * 3 // 8)
    parts = []
    for axis, (size, share) in enumerate(zip(grid, shares, strict=True)):
        at = (torch.arange(size, dtype=torch.float64, device=device) + 0.5) * (_EXTENT / size)
        half = torch.arange(share // 2, dtype=torch.float64, device=device)
        waves = _SLOWEST_WAVE ** (-half / (share // 2))
        angles = at[:, None] * waves
        vectors = torch.cat([angles.sin(), angles.cos()], dim=1)
        shape = [1] * len(grid) + [share]
        shape[axis] = size
        parts.append(vectors.reshape(shape).expand(*grid, share))
    return torch.cat(parts, dim=-1).flatten(0, -2).float()


def _initialize(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)
