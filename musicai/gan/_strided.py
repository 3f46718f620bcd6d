"""WaveGAN's layers for a GPU: the same functions as torch's, in forms that its fast kernels know. Chapter 4.

A convolution of stride 4 over C channels is one of stride 1 over 4 C channels, each block of 4 time steps read as one
step; a transposed one is its adjoint. With channels last, reading in blocks costs nothing, and cuDNN runs on tensor
cores. All derivatives are the three partial derivatives of one trilinear form, ``sum(g * conv(x, w))``, so that the
second ones are as fast as the first; torch's own second derivative of a convolution takes far longer.
"""

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.nn.functional import pad


class Conv1d(nn.Conv1d):
    """`torch.nn.Conv1d`, for stride 4 and an input whose length is a multiple of it."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T) -> (B, O, T / 4), channels last in memory."""
        blocks = x.mT.reshape(len(x), -1, self.stride[0] * x.shape[1])  # (B, T / 4, 4 C)
        y = _Form.apply(2, *_cast(blocks, _blocks(self)), None)
        return (y + self.bias.to(y.dtype)).mT


class ConvTranspose1d(nn.ConvTranspose1d):
    """`torch.nn.ConvTranspose1d`, for stride 4 and an output whose length is 4 times that of the input."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T) -> (B, O, 4 T), channels last in memory."""
        x, w = _cast(x.mT, _blocks(self))
        y = _Form.apply(0, None, w, x).reshape(len(x), -1, self.out_channels)  # (B, T, 4 O), (B, 4 T, O)
        return (y + self.bias.to(y.dtype)).mT


def leaky_relu(x: Tensor, slope: float = 0.2) -> Tensor:
    """As torch's, but its second derivative is known to be zero, and nothing is computed with those zeros."""
    return _Leaky.apply(x, x.detach(), slope)


def _blocks(layer: nn.Conv1d | nn.ConvTranspose1d) -> Tensor:
    """The weights (O, C, K) with zeros around them, in blocks: (O, J, 4 C)."""
    stride, left = layer.stride[0], -layer.padding[0] % layer.stride[0]
    right = -(left + layer.kernel_size[0]) % stride
    return pad(layer.weight, (left, right)).unflatten(2, (-1, stride)).permute(0, 2, 3, 1).flatten(2)


def _cast(*tensors: Tensor) -> tuple[Tensor, ...]:
    kind = tensors[0].device.type
    half = torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)
    dtype = torch.get_autocast_dtype(kind) if half else tensors[1].dtype
    return tuple(t.to(dtype).contiguous() for t in tensors)


def _image(x: Tensor) -> Tensor:
    """(B, T, C) as a picture of height 1 with the channels last in memory: (B, C, 1, T)."""
    return x.mT[:, :, None]


def _rows(image: Tensor) -> Tensor:
    return image[:, :, 0].mT.contiguous()


def _x(w: Tensor, g: Tensor) -> Tensor:
    return _rows(torch.conv_transpose2d(_image(g), _image(w), padding=(0, 3)))


def _w(x: Tensor, g: Tensor) -> Tensor:
    like = g.new_empty(g.shape[2], 7, x.shape[2])  # only its shape is read
    how = ([1, 1], [0, 3], [1, 1], False, [0, 0], 1, [False, True, False])
    return _rows(torch.ops.aten.convolution_backward(_image(g), _image(x), _image(like), None, *how)[1])


def _g(x: Tensor, w: Tensor) -> Tensor:
    return _rows(torch.conv2d(_image(x), _image(w), padding=(0, 3)))


class _Form(Function):
    """The derivative of ``sum(g * conv(x, w))`` in one of x (B, T, C), w (O, J, C), g (B, T, O), given the others."""

    @staticmethod
    def forward(ctx, which: int, *parts: Tensor | None) -> Tensor:
        ctx.which = which
        ctx.save_for_backward(*parts)
        return (_x, _w, _g)[which](*(part for part in parts if part is not None))

    @staticmethod
    def backward(ctx, slope: Tensor) -> tuple[Tensor | None, ...]:
        parts, known = list(ctx.saved_tensors), [i for i in range(3) if i != ctx.which]
        parts[ctx.which] = slope.contiguous()
        others = [(*parts[:i], None, *parts[i + 1 :]) for i in range(3)]
        # The slope in x, which a penalty takes first, does not need the one in w; needs_input_grad does not know that.
        nodes = zip(known, (node for node, _ in ctx.next_functions), strict=True)
        wanted = {i for i, node in nodes if node is not None and torch._C._will_engine_execute_node(node)}
        return None, *(_Form.apply(i, *others[i]) if i in wanted else None for i in range(3))


class _Leaky(Function):
    """g where x > 0, slope g elsewhere: linear in g, and x, which only chooses, has no derivative."""

    @staticmethod
    def forward(ctx, g: Tensor, x: Tensor, slope: float) -> Tensor:
        ctx.slope = slope
        ctx.save_for_backward(x)
        return torch.ops.aten.leaky_relu_backward(g, x, slope, False)

    @staticmethod
    def backward(ctx, g: Tensor) -> tuple[Tensor, None, None]:
        return _Leaky.apply(g, *ctx.saved_tensors, ctx.slope), None, None
