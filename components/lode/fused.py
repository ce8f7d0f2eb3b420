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
    @staticmethod
    def forward(ctx: Any, n: int, h: float, z0: torch.Tensor, *weights: torch.Tensor) -> Any:
        w1, b1, w2, b2, w3, b3 = weights
        batch, width = z0.shape
        evaluations = 4 * n + 1
        inputs, outputs = z0.new_empty(2, evaluations, batch, width).unbind()
        hidden1 = z0.new_empty(evaluations, batch, w1.shape[0])
        hidden2 = z0.new_empty(evaluations, batch, w2.shape[0])
        u, k, a1, a2 = (t.unbind() for t in (inputs, outputs, hidden1, hidden2))
        w1t, w2t, w3t = w1.t(), w2.t(), w3.t()

        def field(e: int) -> None:
            torch.addmm(b1, u[e], w1t, out=a1[e]).tanh_()
            torch.addmm(b2, a1[e], w2t, out=a2[e]).tanh_()
            torch.addmm(b3, a2[e], w3t, out=k[e])

        u[0].copy_(z0)
        for e in range(0, 4 * n, 4):
            field(e)
            torch.add(u[e], k[e], alpha=h / 2, out=u[e + 1])
            field(e + 1)
            torch.add(u[e], k[e + 1], alpha=h / 2, out=u[e + 2])
            field(e + 2)
            torch.add(u[e], k[e + 2], alpha=h, out=u[e + 3])
            field(e + 3)
            z = torch.add(u[e], k[e], alpha=h / 6, out=u[e + 4])
            z.add_(k[e + 1], alpha=h / 3).add_(k[e + 2], alpha=h / 3).add_(k[e + 3], alpha=h / 6)
        field(4 * n)
        ctx.n, ctx.h = n, h
        ctx.save_for_backward(w1, w2, w3, inputs, hidden1, hidden2)
        return inputs[::4].clone(), outputs[::4].clone()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, g_nodes: torch.Tensor, g_slopes: torch.Tensor) -> Any:
        w1, w2, w3, inputs, hidden1, hidden2 = ctx.saved_tensors
        n, h = ctx.n, ctx.h
        d_out, d1, d2 = (torch.empty_like(t) for t in (inputs, hidden1, hidden2))
        a1, a2, gk, g1, g2 = (t.unbind() for t in (hidden1, hidden2, d_out, d1, d2))

        def pull(e: int) -> torch.Tensor:
            """Gradient of evaluation e's input, given that of its output in gk[e]."""
            torch.mm(gk[e], w3, out=g2[e])
            _tanh_backward.grad_input(g2[e], a2[e], grad_input=g2[e])
            torch.mm(g2[e], w2, out=g1[e])
            _tanh_backward.grad_input(g1[e], a1[e], grad_input=g1[e])
            return torch.mm(g1[e], w1)

        gk[4 * n].copy_(g_slopes[n])
        g = g_nodes[n] + pull(4 * n)
        for i in range(n - 1, -1, -1):
            e = 4 * i
            torch.mul(g, h / 6, out=gk[e + 3])
            u3 = pull(e + 3)
            third = g * (h / 3)
            torch.add(third, u3, alpha=h, out=gk[e + 2])
            u2 = pull(e + 2)
            torch.add(third, u2, alpha=h / 2, out=gk[e + 1])
            u1 = pull(e + 1)
            torch.add(gk[e + 3], u1, alpha=h / 2, out=gk[e]).add_(g_slopes[i])
            g = g + g_nodes[i]
            g.add_(u3).add_(u2).add_(u1).add_(pull(e))
        return (None, None, g, *_weights((d1, inputs), (d2, hidden1), (d_out, hidden2)))


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
