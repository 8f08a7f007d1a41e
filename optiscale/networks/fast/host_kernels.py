"""Loops over the rows of a batch, compiled by Numba for a processor: one pass where torch takes ten small operations.

All arrays lie in one piece, rows first. Sums over many rows are in double precision. A comparison with NaN is written
so that the NaN goes on: a run that diverges must be seen.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numba
import numpy as np

# sums may be reordered, which lets them use all lanes; NaN and infinity keep their meaning
_kernel: Callable[..., Any] = numba.njit(
    cache=True, nogil=True, error_model="numpy", fastmath={"reassoc", "contract", "arcp", "nsz"}
)
Array = np.ndarray[Any, Any]


@_kernel
def batch_norm_relu(
    x: Array,
    weight: Array,
    n: float,
    gain: Array,
    bias: Array,
    eps: float,
    momentum: float,
    running_mean: Array,
    running_var: Array,
    out: Array,
    mean: Array,
    inverse: Array,
) -> None:
    """Normalise the columns of x (n, W), then ReLU; keep mean and 1 / deviation, move the running statistics."""
    rows, width = x.shape
    total = np.zeros(width)
    for i in range(rows):
        for j in range(width):
            total[j] += weight[i] * x[i, j]
    for j in range(width):
        mean[j] = total[j] / n
        total[j] = 0.0
    for i in range(rows):
        for j in range(width):
            centred = x[i, j] - mean[j]
            total[j] += weight[i] * (centred * centred)
    for j in range(width):
        var = total[j] / n
        inverse[j] = 1.0 / math.sqrt(var + eps)
        running_mean[j] += momentum * (mean[j] - running_mean[j])
        running_var[j] += momentum * (var * (n / (n - 1.0)) - running_var[j])
    for i in range(rows):
        for j in range(width):
            value = (x[i, j] - mean[j]) * (inverse[j] * gain[j]) + bias[j]
            out[i, j] = x.dtype.type(0.0) if value < 0 else value


@_kernel
def batch_norm_relu_backward(
    grad: Array,
    x: Array,
    out: Array,
    weight: Array,
    n: float,
    gain: Array,
    mean: Array,
    inverse: Array,
    d_x: Array,
    d_gain: Array,
    d_bias: Array,
) -> None:
    """Gradients of `batch_norm_relu` for x, gain and bias."""
    rows, width = x.shape
    of_gain, of_bias = np.zeros(width), np.zeros(width)
    for i in range(rows):
        for j in range(width):
            passed = x.dtype.type(0.0) if out[i, j] <= 0 else grad[i, j]
            of_bias[j] += passed
            of_gain[j] += passed * ((x[i, j] - mean[j]) * inverse[j])
    for j in range(width):
        d_gain[j] = of_gain[j]
        d_bias[j] = of_bias[j]
    for i in range(rows):
        share = x.dtype.type(weight[i] / n)
        for j in range(width):
            passed = x.dtype.type(0.0) if out[i, j] <= 0 else grad[i, j]
            normed = (x[i, j] - mean[j]) * inverse[j]
            d_x[i, j] = gain[j] * inverse[j] * (passed - share * (d_bias[j] + normed * d_gain[j]))


@_kernel
def crystal_norm(
    x: Array, ptr: Array, weight: Array, gain: Array, bias: Array, eps: float, out: Array, stats: Array
) -> None:
    """Normalise x (n, W) over each crystal; keep its mean, 1 / deviation and 1 / number of values in `stats` (B, 3)."""
    width = x.shape[1]
    for b in range(len(ptr) - 1):
        total, count = 0.0, 0.0
        for i in range(ptr[b], ptr[b + 1]):
            row = 0.0
            for j in range(width):
                row += x[i, j]
            total += weight[i] * row
            count += weight[i]
        of_one = 1.0 / (max(count, 1.0) * width)
        mean = x.dtype.type(total * of_one)
        spread = 0.0
        for i in range(ptr[b], ptr[b + 1]):
            row = 0.0
            for j in range(width):
                centred = x[i, j] - mean
                row += centred * centred
            spread += weight[i] * row
        inverse = x.dtype.type(1.0 / math.sqrt(spread * of_one + eps))
        for i in range(ptr[b], ptr[b + 1]):
            for j in range(width):
                out[i, j] = (x[i, j] - mean) * inverse * gain[j] + bias[j]
        stats[b, 0], stats[b, 1], stats[b, 2] = mean, inverse, of_one
    out[ptr[-1] :] = 0.0  # padding


@_kernel
def crystal_norm_backward(
    grad: Array,
    x: Array,
    ptr: Array,
    weight: Array,
    gain: Array,
    stats: Array,
    d_x: Array,
    d_gain: Array,
    d_bias: Array,
) -> None:
    """Gradients of `crystal_norm` for x, gain and bias."""
    width = x.shape[1]
    of_gain, of_bias = np.zeros(width), np.zeros(width)
    for b in range(len(ptr) - 1):
        mean, inverse, of_one = stats[b, 0], stats[b, 1], stats[b, 2]
        of_mean, of_spread = 0.0, 0.0
        for i in range(ptr[b], ptr[b + 1]):
            for j in range(width):
                normed = (x[i, j] - mean) * inverse
                of_bias[j] += grad[i, j]
                of_gain[j] += grad[i, j] * normed
                at_x = grad[i, j] * gain[j]
                of_mean += at_x
                of_spread += at_x * normed
        at_mean, at_spread = x.dtype.type(of_mean), x.dtype.type(of_spread)
        for i in range(ptr[b], ptr[b + 1]):
            share = x.dtype.type(weight[i] * of_one)
            for j in range(width):
                normed = (x[i, j] - mean) * inverse
                d_x[i, j] = inverse * (grad[i, j] * gain[j] - share * (at_mean + normed * at_spread))
    d_x[ptr[-1] :] = 0.0
    for j in range(width):
        d_gain[j] = of_gain[j]
        d_bias[j] = of_bias[j]


@_kernel
def attend(
    query: Array,
    key: Array,
    value: Array,
    edge: Array,
    source: Array,
    ptr: Array,
    weight: Array,
    scale: float,
    p: Array,
    out: Array,
) -> None:
    """Attention of every row over the links into it; keep the shares p (L, heads) of the links."""
    width, heads = query.shape[1], p.shape[1]
    channels = width // heads
    p[ptr[-1] :] = 0.0
    for t in range(len(ptr) - 1):
        out[t] = 0.0
        for h in range(heads):
            first, last = h * channels, (h + 1) * channels
            top = -np.inf
            for k in range(ptr[t], ptr[t + 1]):
                if weight[k] == 0:  # padding must not set the scale
                    continue
                score = query.dtype.type(0.0)
                for c in range(first, last):
                    score += query[t, c] * (key[source[k], c] + edge[k, c])
                p[k, h] = score * scale
                top = max(top, p[k, h])
            total = 0.0
            for k in range(ptr[t], ptr[t + 1]):
                p[k, h] = weight[k] * math.exp(p[k, h] - top) if weight[k] != 0 else 0.0
                total += p[k, h]
            for k in range(ptr[t], ptr[t + 1]):
                p[k, h] /= total if total != 0 else 1.0
                share = p[k, h]
                for c in range(first, last):
                    out[t, c] += share * (value[source[k], c] + edge[k, c])


@_kernel
def attend_backward(
    grad: Array,
    query: Array,
    key: Array,
    value: Array,
    edge: Array,
    source: Array,
    ptr: Array,
    scale: float,
    p: Array,
    d_query: Array,
    d_key: Array,
    d_value: Array,
    d_edge: Array,
) -> None:
    """Gradients of `attend`; those of query, key and value are added to what is there."""
    width, heads = query.shape[1], p.shape[1]
    channels = width // heads
    d_edge[ptr[-1] :] = 0.0
    d_p = np.empty(len(source))
    for t in range(len(ptr) - 1):
        begin, end = ptr[t], ptr[t + 1]
        for h in range(heads):
            first, last = h * channels, (h + 1) * channels
            mean = 0.0
            for k in range(begin, end):
                at_link = grad.dtype.type(0.0)
                for c in range(first, last):
                    at_link += grad[t, c] * (value[source[k], c] + edge[k, c])
                d_p[k] = at_link
                mean += p[k, h] * at_link
            for k in range(begin, end):
                s, share = source[k], p[k, h]
                d_score = grad.dtype.type(share * (d_p[k] - mean) * scale)
                for c in range(first, last):
                    to_key, to_value = d_score * query[t, c], share * grad[t, c]
                    d_query[t, c] += d_score * (key[s, c] + edge[k, c])
                    d_key[s, c] += to_key
                    d_value[s, c] += to_value
                    d_edge[k, c] = to_key + to_value


@_kernel
def gather_ends(at_source: Array, at_target: Array, at_link: Array, source: Array, target: Array, out: Array) -> None:
    """Add to every link what its ends have."""
    links, width = out.shape
    for k in range(links):
        s, t = source[k], target[k]
        for c in range(width):
            out[k, c] = at_link[k, c] + (at_source[s, c] + at_target[t, c])


@_kernel
def sum_at_ends(grad: Array, source: Array, target: Array, to_source: Array, to_target: Array) -> None:
    """Add what links have to what both of their ends have."""
    links, width = grad.shape
    for k in range(links):
        s, t = source[k], target[k]
        for c in range(width):
            to_source[s, c] += grad[k, c]
            to_target[t, c] += grad[k, c]


@_kernel
def gated_skip(out: Array, skip: Array, weight: Array, beta: Array, mixed: Array) -> None:
    """Mix two (n, W): beta skip + (1 - beta) out with beta = sigmoid(weight . (out, skip, out - skip))."""
    rows, width = out.shape
    for i in range(rows):
        z = out.dtype.type(0.0)
        for c in range(width):
            difference = weight[0, 2 * width + c]
            z += out[i, c] * (weight[0, c] + difference) + skip[i, c] * (weight[0, width + c] - difference)
        share = out.dtype.type(1.0 / (1.0 + math.exp(-z)))
        beta[i] = share
        for c in range(width):
            mixed[i, c] = out[i, c] + share * (skip[i, c] - out[i, c])


@_kernel
def gated_skip_backward(
    grad: Array,
    out: Array,
    skip: Array,
    weight: Array,
    beta: Array,
    d_out: Array,
    d_skip: Array,
    d_weight: Array,
) -> None:
    """Gradients of `gated_skip`."""
    rows, width = out.shape
    of_weight = np.zeros(2 * width)
    for i in range(rows):
        share = beta[i]
        d_beta = out.dtype.type(0.0)
        for c in range(width):
            d_beta += grad[i, c] * (skip[i, c] - out[i, c])
        d_z = d_beta * share * (1 - share)
        for c in range(width):
            difference = weight[0, 2 * width + c]
            d_out[i, c] = (1 - share) * grad[i, c] + d_z * (weight[0, c] + difference)
            d_skip[i, c] = share * grad[i, c] + d_z * (weight[0, width + c] - difference)
            of_weight[c] += d_z * out[i, c]
            of_weight[width + c] += d_z * skip[i, c]
    for c in range(width):
        d_weight[0, c] = of_weight[c]
        d_weight[0, width + c] = of_weight[width + c]
        d_weight[0, 2 * width + c] = of_weight[c] - of_weight[width + c]


@_kernel
def pool(gate: Array, x: Array, ptr: Array, weight: Array, p: Array, out: Array) -> None:
    """Mean over each crystal with softmax(gate) for each channel; keep the shares p (n, W)."""
    width = x.shape[1]
    p[ptr[-1] :] = 0.0
    out[:] = 0.0
    for b in range(len(ptr) - 1):
        begin, end = ptr[b], ptr[b + 1]
        for c in range(width):
            top = -np.inf
            for i in range(begin, end):
                if weight[i] != 0:
                    top = max(top, gate[i, c])
            total = 0.0
            for i in range(begin, end):
                p[i, c] = weight[i] * math.exp(gate[i, c] - top) if weight[i] != 0 else 0.0
                total += p[i, c]
            for i in range(begin, end):
                p[i, c] /= total if total != 0 else 1.0
                out[b, c] += p[i, c] * x[i, c]


@_kernel
def pool_backward(grad: Array, x: Array, ptr: Array, p: Array, out: Array, d_gate: Array, d_x: Array) -> None:
    """Gradients of `pool`."""
    width = x.shape[1]
    d_gate[ptr[-1] :] = 0.0
    d_x[ptr[-1] :] = 0.0
    for b in range(len(ptr) - 1):
        for i in range(ptr[b], ptr[b + 1]):
            for c in range(width):
                d_x[i, c] = p[i, c] * grad[b, c]
                d_gate[i, c] = d_x[i, c] * (x[i, c] - out[b, c])
