"""The two inner loops of the LODE with hand-written gradients.

On matrices of 100 × 20 the cost is not arithmetic but the number of operations, and autograd's
bookkeeping doubles it. Both functions save their activations, walk back once for the states'
gradients and take every weight's gradient as a single product over all steps. They return what
`solver.rk4_nodes` and `reference_scan` return; the tests hold them together in float64.
"""

from __future__ import annotations

from typing import Any

import torch

_tanh_backward = torch.ops.aten.tanh_backward


class _RK4MLP(torch.autograd.Function):
    """With p = W1 z + b1 in the place of z, a stage needs two products instead of three:

        q = tanh(W2 tanh(p) + b2),    dp/dt = M q + c,    M = W1 W3,    c = W1 b3,

    and z and f(z) at the nodes follow from all q at once.
    """

    @staticmethod
    def forward(ctx: Any, n: int, h: float, z0: torch.Tensor, *weights: torch.Tensor) -> Any:
        w1, b1, w2, b2, w3, b3 = weights
        batch, evaluations = len(z0), 4 * n + 1
        first = z0.new_empty(evaluations, batch, len(b1))
        second = z0.new_empty(evaluations, batch, len(b2))
        sums = z0.new_empty(n, batch, len(b2))  # of a step's q, in the proportions of RK4
        a, q, s = first.unbind(), second.unbind(), sums.unbind()
        flat = second[: 4 * n].view(n, 4, -1).unbind()
        rk4 = z0.new_tensor([[1 / 6, 1 / 3, 1 / 3, 1 / 6]])
        mt, w2t = (w1 @ w3).t(), w2.t()
        half, whole, drift = h / 2 * mt, h * mt, h * (w1 @ b3)
        half_drift = drift / 2

        def field(e: int, p: torch.Tensor) -> torch.Tensor:
            torch.tanh(p, out=a[e])
            return torch.addmm(b2, a[e], w2t, out=q[e]).tanh_()

        p = torch.addmm(b1, z0, w1.t())
        for i in range(n):
            e = 4 * i
            middle, end = p + half_drift, p + drift
            field(e + 1, torch.addmm(middle, field(e, p), half))
            field(e + 2, torch.addmm(middle, q[e + 1], half))
            field(e + 3, torch.addmm(end, q[e + 2], whole))
            torch.mm(rk4, flat[i], out=s[i].view(1, -1))
            p = torch.addmm(end, s[i], whole)
        field(4 * n, p)
        slopes = torch.nn.functional.linear(second[::4], w3, b3)
        moves = torch.nn.functional.linear(sums, h * w3, h * b3)
        ctx.n, ctx.h = n, h
        ctx.save_for_backward(z0, w1, w2, w3, b3, first, second, sums)
        return torch.cat((z0[None], moves)).cumsum(0), slopes

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, g_nodes: torch.Tensor, g_slopes: torch.Tensor) -> Any:
        z0, w1, w2, w3, b3, first, second, sums = ctx.saved_tensors
        n, h = ctx.n, ctx.h
        # What is still to come of a node's gradient reaches every step before it alike.
        later = g_nodes.flip(0).cumsum(0).flip(0)
        to_moves, to_z0 = h * later[1:], later[0]
        at_slopes, at_sums = g_slopes @ w3, to_moves @ (w3 / 6)
        d_first, d_second = torch.empty_like(first), torch.empty_like(second)
        ends = torch.empty_like(first[:n])  # gradients of p at the steps' ends
        a, q, d1, d2, g = (t.unbind() for t in (first, second, d_first, d_second, ends))
        m = w1 @ w3
        half, whole, sixth = h / 2 * m, h * m, h / 6 * m

        def pull(e: int, at_q: torch.Tensor) -> torch.Tensor:
            """Gradient of evaluation e's p, given that of its q."""
            _tanh_backward.grad_input(at_q, q[e], grad_input=d2[e])
            torch.mm(d2[e], w2, out=d1[e])
            return _tanh_backward.grad_input(d1[e], a[e], grad_input=d1[e])

        four, each = d_first[: 4 * n].view(n, 4, -1).unbind(), z0.new_ones(1, 4)
        gp = pull(4 * n, at_slopes[n])
        for i in range(n - 1, -1, -1):
            e = 4 * i
            g[i].copy_(gp)
            at_s = torch.addmm(at_sums[i], gp, sixth)
            p4 = pull(e + 3, at_s)
            p3 = pull(e + 2, torch.addmm(at_s, p4, whole, beta=2))
            p2 = pull(e + 1, torch.addmm(at_s, p3, half, beta=2))
            pull(e, torch.addmm(at_s + at_slopes[i], p2, half))
            gp = torch.addmm(gp.view(1, -1), each, four[i]).view_as(gp)
        stages, values = d_first[: 4 * n].unflatten(0, (n, 4)), second[: 4 * n].unflatten(0, (n, 4))
        late = torch.cat((ends, stages[:, 3], stages[:, 2] / 2, stages[:, 1] / 2))
        d_m, d_c = _weights((h * late, torch.cat((sums, *values[:, :3].flip(1).unbind(1)))))
        d_w3, d_b3 = _weights((torch.cat((to_moves, g_slopes)), torch.cat((sums, second[::4]))))
        d_w1, d_b1 = _weights((gp, z0))
        return (
            None,
            None,
            to_z0 + gp @ w1,
            d_w1 + d_m @ w3.t() + d_c.outer(b3),
            d_b1,
            *_weights((d_second, first)),
            d_w3 + w1.t() @ d_m,
            d_b3 + w1.t() @ d_c,
        )


def rk4_mlp(
    z0: torch.Tensor, weights: tuple[torch.Tensor, ...], n: int, h: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """`solver.rk4_nodes` for f(z) = W3 tanh(W2 tanh(W1 z + b1) + b2) + b3.

    Args:
        z0: (B, D). weights: (W1, b1, W2, b2, W3, b3). n, h: number and length of the steps.

    Returns:
        z and f(z) at the nodes, both (n + 1, B, D).
    """
    return _RK4MLP.apply(n, h, z0, *weights)


class _Scan(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, drive: torch.Tensor, dt: torch.Tensor | None, *weights: torch.Tensor
    ) -> torch.Tensor:
        whh, bhh, v1, c1, v2, c2 = weights
        length, batch, width = drive.shape[0], drive.shape[1], drive.shape[2] // 3
        flows = 0 if dt is None else len(dt)
        new = drive.new_empty
        # The state before each observation and before each Euler step: where it goes next.
        before, start = new(length + 1, batch, width), new(flows + 1, batch, width)
        new_state, hidden = new(length, batch, width), new(flows, batch, v1.shape[0])
        recurrent, gates = new(length, batch, 3 * width), new(length, batch, 2 * width)
        wt, v1t, v2t = whh.t(), v1.t(), v2.t()
        # Taking views costs as much as these small operations do: all at once, before the loop.
        drive_rz, drive_n = (t.unbind() for t in drive.split(2 * width, 2))
        rec, rz, n, b = (t.unbind() for t in (recurrent, gates, new_state, before))
        rec_rz, rec_n = (t.unbind() for t in recurrent.split(2 * width, 2))
        r, z = (t.unbind() for t in gates.split(width, 2))
        s, a = start.unbind(), hidden.unbind()
        after = s if flows else b
        h = after[0].zero_()
        for j in range(max(length, flows)):
            if dt is not None:
                torch.addmm(c1, h, v1t, out=a[j]).tanh_()
                flown = b[j] if j < length else s[j + 1]
                h = torch.addcmul(h, dt[j], torch.addmm(c2, a[j], v2t), out=flown)
            if j < length:
                torch.addmm(bhh, h, wt, out=rec[j])
                torch.add(drive_rz[j], rec_rz[j], out=rz[j]).sigmoid_()
                torch.addcmul(drive_n[j], r[j], rec_n[j], out=n[j]).tanh_()
                h = torch.lerp(n[j], h, z[j], out=after[j + 1])
        ctx.save_for_backward(
            whh, v1, v2, dt, before[:length], recurrent, gates, new_state, start[:flows], hidden
        )
        return h.clone()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, g: torch.Tensor) -> Any:
        whh, v1, v2, dt, before, recurrent, gates, new_state, start, hidden = ctx.saved_tensors
        length, flows, width = len(before), len(start), g.shape[1]
        # Every gradient of a step is the state's gradient times what the forward pass has left:
        # those factors for all steps at once, so that the walk back is a few operations a step.
        r, z = gates.split(width, 2)
        at_n = (1 - z) * (1 - new_state.square())
        at_r = at_n * recurrent[..., 2 * width :] * r * (1 - r)
        at_z = (before - new_state) * z * (1 - z)
        to_rec = torch.stack((at_r, at_z, at_n * r), 2)
        d_rec, after = torch.empty_like(recurrent), torch.empty_like(before)
        d_rec3 = d_rec.unflatten(2, (3, width))
        factors, outs, outs3, zs, gs = (t.unbind() for t in (to_rec, d_rec, d_rec3, z, after))
        d_hidden, d_next = torch.empty_like(hidden), torch.empty_like(start)
        to_hidden = hidden if dt is None else dt * (1 - hidden.square())
        bends, inner, nexts = (t.unbind() for t in (to_hidden, d_hidden, d_next))
        for j in range(max(length, flows) - 1, -1, -1):
            if j < length:
                gs[j].copy_(g)
                torch.mul(g[:, None], factors[j], out=outs3[j])
                g = torch.addmm(g * zs[j], outs[j], whh)
            if flows:
                nexts[j].copy_(g)
                torch.mm(g, v2, out=inner[j]).mul_(bends[j])
                g = torch.addmm(g, inner[j], v1)
        d_drive = torch.cat((d_rec[..., : 2 * width], after * at_n), 2)
        flow = _weights((d_hidden, start), (dt * d_next, hidden)) if flows else (None,) * 4
        return (d_drive, None, *_weights((d_rec, before)), *flow)


def scan(
    drive: torch.Tensor, dt: torch.Tensor | None, weights: tuple[torch.Tensor, ...]
) -> torch.Tensor:
    """ODE-RNN over a window (Rubanova et al. 2019), `reference_scan` but faster.

    Args:
        drive: (L, B, 3H), the GRU's input gates `x W_ih + b_ih`, in the order of the scan.
        dt: (L + S, B, 1), time that passes before each of the L observations, then in S Euler
            steps after the last; None: no ODE, a plain GRU.
        weights: W_hh, b_hh of a `torch.nn.GRUCell`, then V1, c1, V2, c2 of the ODE
            dh/dt = V2 tanh(V1 h + c1) + c2.

    Returns:
        (B, H), the hidden state after the last step, from 0 before the first.
    """
    return _Scan.apply(drive, dt, *weights)


def reference_scan(
    drive: torch.Tensor, dt: torch.Tensor | None, weights: tuple[torch.Tensor, ...]
) -> torch.Tensor:
    """What `scan` computes, written to be read."""
    whh, bhh, v1, c1, v2, c2 = weights
    h = drive.new_zeros(drive.shape[1], whh.shape[1])
    for j in range(len(drive) if dt is None else len(dt)):
        if dt is not None:
            h = h + dt[j] * (torch.tanh(h @ v1.t() + c1) @ v2.t() + c2)
        if j < len(drive):
            input_r, input_z, input_n = drive[j].chunk(3, 1)
            state_r, state_z, state_n = (h @ whh.t() + bhh).chunk(3, 1)
            r, z = torch.sigmoid(input_r + state_r), torch.sigmoid(input_z + state_z)
            n = torch.tanh(input_n + r * state_n)
            h = (1 - z) * n + z * h
    return h


def _weights(*pairs: tuple[torch.Tensor, torch.Tensor]) -> tuple[torch.Tensor, ...]:
    """(dW, db) of each linear map from its output gradients and its inputs over all steps."""
    found: list[torch.Tensor] = []
    for gradient, inputs in pairs:
        flat = gradient.reshape(-1, gradient.shape[-1])
        found += [flat.t() @ inputs.reshape(-1, inputs.shape[-1]), flat.sum(0)]
    return tuple(found)
