"""Several workers as plain loops, one vector at a time, written from the papers: the reference.

Each function below is one method: a loop over steps, and inside it one over the workers of one
replicate. Nothing of :mod:`efsgd.methods` is called, only compressors and the fields of a method.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from plain_world import Momenta, Server, State, World, draws, due, fragments, length

from efsgd.arrays import Array
from efsgd.compressors import Compressor, Identity, Sign
from efsgd.engine.runs import Run

TERNARY = Sign(zero=0)  # what a vote's outcome travels as


def sgd(world: World, method: Any) -> None:
    """x <- x - lr mean g_i."""
    x, momentum = world.x0, Momenta(method)
    world.note(x)
    for t, lr in world.steps():
        sent = {}
        for i in world.present(t):
            g = momentum(i, x, world.gradient(i, x), t)
            sent[i] = world.send_whole(i, lr * g)
        x = world.server.move(t, x, world.of_arrived(t, sent), lr)
        world.note(x)


def compressed_sgd(world: World, method: Any) -> None:
    """x <- x - lr mean C(g_i); also signSGD and Signum."""
    x, momentum = world.x0, Momenta(method)
    world.note(x)
    for t, lr in world.steps():
        sent = {}
        for i in world.present(t):
            sent[i] = momentum(i, x, world.gradient(i, x), t)
        sent = {i: lr * message for i, message in world.send_all(t, sent).items()}
        x = world.server.move(t, x, world.of_arrived(t, sent), lr)
        world.note(x)


def vote(world: World, method: Any) -> None:
    """x <- x - lr sign(sum sign(g_i)), a vote a worker; a tie gives 0 and travels down as such."""
    x, momentum = world.x0, Momenta(method)
    world.note(x)
    for t, lr in world.steps():
        votes = np.zeros(world.d)
        for i in world.present(t):
            ballot = world.send(t, i, momentum(i, x, world.gradient(i, x), t))
            if world.arrived(t, i):
                votes = votes + ballot
        x = x - lr * np.sign(votes)
        world.down_bytes += length(TERNARY, votes)
        world.note(x)


def ef14(world: World, method: Any) -> None:
    """p_i = lr g_i + decay e_i, x <- x - mean C(p_i), e_i <- p_i - C(p_i)."""
    x, e, momentum = world.x0, world.zeros(), Momenta(method)
    fully_corrective = type(method).__name__ == "FullyCorrectiveEF"
    world.note(x, e)
    for t, lr in world.steps():
        p = {}
        for i in world.present(t):
            p[i] = lr * momentum(i, x, world.gradient(i, x), t) + method.decay * e[i]
        sent = world.send_all(t, p)
        for i in sent:
            e[i] = p[i] - sent[i] if world.arrived(t, i) else p[i]
        x = world.server.move(t, x, world.of_arrived(t, sent), lr)
        all_of_e = world.of_all(e) / world.share
        world.note(x, e, answer=x - all_of_e if fully_corrective else x)


def post_momentum(world: World, method: Any) -> None:
    """EF14 whose server averages what it applies: m <- mu m + mean C(p_i), x <- x - m."""
    x, e, m, mu = world.x0, world.zeros(), np.zeros(world.d), method.momentum
    world.note(x, e)
    for t, lr in world.steps():
        p = {}
        for i in world.present(t):
            p[i] = lr * (world.gradient(i, x) + method.weight_decay * x) + e[i]
        sent = world.send_all(t, p)
        for i in sent:
            e[i] = p[i] - sent[i] if world.arrived(t, i) else p[i]
        mean = world.of_arrived(t, sent)
        m = mu * m + mean
        x = x - (mean + mu * m if method.nesterov else m)
        world.down_bytes += world.mean_bytes(t, len(x))
        world.note(x, e)


def gradient_ef(world: World, method: Any) -> None:
    """EF14 with e in units of g: x <- x - lr mean C(g_i + e_i).

    With ``rescaled``, e counts lr_(t-1)/lr_t of itself, whether its worker takes part or not.
    """
    x, e, momentum, last_lr = world.x0, world.zeros(), Momenta(method), 0.0
    world.note(x, e)
    for t, lr in world.steps():
        if method.rescaled and t > 0:
            e = [last_lr / lr * e_i for e_i in e]
        p = {}
        for i in world.present(t):
            p[i] = momentum(i, x, world.gradient(i, x), t) + e[i]
        messages = world.send_all(t, p)
        for i in messages:
            e[i] = p[i] - messages[i] if world.arrived(t, i) else p[i]
        sent = {i: lr * message for i, message in messages.items()}
        x, last_lr = world.server.move(t, x, world.of_arrived(t, sent), lr), lr
        world.note(x, e)


def ef21(world: World, method: Any) -> None:
    """h_i <- h_i + C(g_i - h_i), x <- x - lr mean h_i over all workers; e_i = g_i - h_i.

    EF21-SGDM: of v_i <- mu v_i + (1 - mu) g_i, which starts as g_i in the first step of all.
    """
    x, e, h, momentum = world.x0, world.zeros(), world.zeros(), Momenta(method)
    v: dict[int, Array] = {}
    world.note(x, e, h=h)
    for t, lr in world.steps():
        for i in world.present(t):
            g = world.gradient(i, x)
            if type(method).__name__ == "EF21SGDM":
                g, mu = g + method.weight_decay * x, method.momentum
                v[i] = g if t == 0 else mu * v.get(i, 0.0) + (1 - mu) * g
                g = v[i]
            else:
                g = momentum(i, x, g, t)
            change = world.send(t, i, g - h[i])
            if world.arrived(t, i):
                h[i] = h[i] + change
            e[i] = g - h[i]
        x = world.server.move(t, x, lr * world.of_all(h), lr)
        world.note(x, e, h=h)


def ef21_plus(world: World, method: Any) -> None:
    """h_i <- C(g_i) or h_i + C(g_i - h_i), whichever is closer to g_i."""
    x, e, h, momentum = world.x0, world.zeros(), world.zeros(), Momenta(method)
    c = method.compressor
    world.note(x, e, h=h)
    for t, lr in world.steps():
        for i in world.present(t):
            g = momentum(i, x, world.gradient(i, x), t)
            afresh, changed = c.apply(g), h[i] + c.apply(g - h[i])
            if np.linalg.norm(g - afresh) < np.linalg.norm(g - changed):
                world.send(t, i, g)
                better = afresh
            else:
                world.send(t, i, g - h[i])
                better = changed
            if world.arrived(t, i):
                h[i] = better
            e[i] = g - h[i]
        x = world.server.move(t, x, lr * world.of_all(h), lr)
        world.note(x, e, h=h)


def econtrol(world: World, method: Any) -> None:
    """h_i <- h_i + C(eta e_i/lr + g_i - h_i), x <- x - lr mean h_i, e_i <- e_i + lr (g_i - h_i)."""
    x, e, h, momentum = world.x0, world.zeros(), world.zeros(), Momenta(method)
    world.note(x, e, h=h)
    for t, lr in world.steps():
        for i in world.present(t):
            g = momentum(i, x, world.gradient(i, x), t)
            change = world.send(t, i, method.eta * e[i] / lr + g - h[i])
            if world.arrived(t, i):
                h[i] = h[i] + change
            e[i] = e[i] + lr * (g - h[i])
        x = world.server.move(t, x, lr * world.of_all(h), lr)
        world.note(x, e, h=h)


def diana(world: World, method: Any) -> None:
    """x <- x - lr (mean h_i + mean C(g_i - h_i)), h_i <- h_i + alpha C(g_i - h_i)."""
    x, h, momentum = world.x0, world.zeros(), Momenta(method)
    alpha = method.alpha or 1 / (1 + _omega(method.compressor, world.d))
    world.note(x, h=h)
    for t, lr in world.steps():
        of_all, sent = world.of_all(h), {}
        for i in world.present(t):
            g = momentum(i, x, world.gradient(i, x), t)
            sent[i] = world.send(t, i, g - h[i])
            if world.arrived(t, i):
                h[i] = h[i] + alpha * sent[i]
        x = world.server.move(t, x, lr * (of_all + world.of_arrived(t, sent)), lr)
        world.note(x, h=h)


def marina(world: World, method: Any) -> None:
    """h_i <- g_i where the one coin says so, else h_i + C(g_i - last g_i); x <- x - lr mean h_i."""
    x, h, momentum = world.x0, world.zeros(), Momenta(method)
    last: dict[int, Array] = {}
    world.note(x, h=h)
    for t, lr in world.steps():
        whole = t == 0 or world.drawn.coins[t, 0][world.r] < method.probability
        for i in world.workers:
            g = momentum(i, x, world.gradient(i, x), t)
            h[i] = world.send_whole(i, g) if whole else h[i] + world.send(t, i, g - last[i])
            last[i] = g
        x = world.server.move(t, x, lr * world.of_all(h), lr)
        world.note(x, h=h)


def dasha(world: World, method: Any) -> None:
    """h_i <- h_i + C(g_i - last g_i - a (h_i - last g_i)), x <- x - lr mean h_i."""
    x, h, last, momentum = world.x0, world.zeros(), world.zeros(), Momenta(method)
    a = method.a or 1 / (1 + 2 * _omega(method.compressor, world.d))
    world.note(x, h=h)
    for t, lr in world.steps():
        for i in world.present(t):
            g = momentum(i, x, world.gradient(i, x), t)
            change = world.send(t, i, g - last[i] - a * (h[i] - last[i]))
            if world.arrived(t, i):
                h[i], last[i] = h[i] + change, g
        x = world.server.move(t, x, lr * world.of_all(h), lr)
        world.note(x, h=h)


def local_steps(world: World, method: Any) -> None:
    """H steps of each worker alone; then a step of the server along the mean of x - x_i."""
    x, models = world.x0.copy(), [world.x0.copy() for _ in world.workers]
    inner, parts = Momenta(method.inner), fragments(world.run)
    servers = [Server(world, method.outer) for _ in parts]
    exchanges = [Differences(world, method.exchange, f) for f in range(len(parts))]
    note(world, x, exchanges, models)
    for t, lr in world.steps():
        for i in world.present(t):
            g = world.gradient(i, models[i])
            models[i] = models[i] - lr * inner(i, models[i], g, t)
        for f, entries in enumerate(parts):
            if not due(world.run, t, f):
                continue
            part = slice(entries.start, entries.stop)
            differences = {i: x[part] - models[i][part] for i in world.present(t)}
            mean = exchanges[f].mean(t, differences)
            x[part] = servers[f].step(t, x[part], mean, method.outer_lr, f)
            for model in models:
                model[part] = x[part]
        note(world, x, exchanges, models, answer=world.of_all(models))


class Differences:
    """What workers send of their differences: a method's step of size 1, on them as gradients."""

    def __init__(self, world: World, method: Any, f: int) -> None:
        self.world, self.method, self.f = world, method, f
        self.d = len(fragments(world.run)[f])
        self.e, self.h, self.last = ([np.zeros(self.d) for _ in world.workers] for _ in range(3))
        self.momentum, self.rounds = Momenta(method), 0
        self.name = type(method).__name__

    def mean(self, t: int, given: dict[int, Array]) -> Array:
        """How far the server is to move."""
        p = {i: self.momentum(i, np.zeros(self.d), v, self.rounds) for i, v in given.items()}
        self.rounds += 1
        if self.name in ("SGD", "CompressedSGD"):
            return self.world.of_arrived(t, self.world.send_all(t, p, self.f), self.f)
        if self.name == "EFSGD":
            return self._ef14(t, p)
        if self.name == "MARINA":
            return self._marina(t, p)
        if self.name == "DIANA":
            return self._diana(t, p)
        assert self.name in ("EF21", "EControl")
        eta = getattr(self.method, "eta", 0.0)
        for i, v in p.items():
            change = self.world.send(t, i, eta * self.e[i] + v - self.h[i], self.f)
            if self.world.arrived(t, i, self.f):
                self.h[i] = self.h[i] + change
            before = self.e[i] if self.name == "EControl" else 0.0
            self.e[i] = before + v - self.h[i]
        return self.world.of_all(self.h)

    def _ef14(self, t: int, p: dict[int, Array]) -> Array:
        p = {i: v + self.method.decay * self.e[i] for i, v in p.items()}
        sent = self.world.send_all(t, p, self.f)
        for i in p:
            self.e[i] = p[i] - sent[i] if self.world.arrived(t, i, self.f) else p[i]
        return self.world.of_arrived(t, sent, self.f)

    def _marina(self, t: int, p: dict[int, Array]) -> Array:
        coin = self.world.drawn.coins[t, self.f][self.world.r]
        whole = self.rounds == 1 or coin < self.method.probability
        for i, v in p.items():
            if whole:
                self.h[i] = self.world.send_whole(i, v)
            else:
                self.h[i] = self.h[i] + self.world.send(t, i, v - self.last[i], self.f)
            self.last[i] = v
        return self.world.of_all(self.h)

    def _diana(self, t: int, p: dict[int, Array]) -> Array:
        alpha = self.method.alpha or 1 / (1 + _omega(self.method.compressor, self.d))
        before, sent = self.world.of_all(self.h), {}
        for i, v in p.items():
            sent[i] = self.world.send(t, i, v - self.h[i], self.f)
            if self.world.arrived(t, i, self.f):
                self.h[i] = self.h[i] + alpha * sent[i]
        return before + self.world.of_arrived(t, sent, self.f)


def note(
    world: World, x: Array, exchanges: list[Differences], models: list[Array], **more: Any
) -> None:
    """Keep the state, with memories of all entries of x."""
    e, h = (
        [np.concatenate([getattr(part, name)[i] for part in exchanges]) for i in world.workers]
        for name in ("e", "h")
    )
    name = exchanges[0].name
    memories = e if name in ("EFSGD", "EF21", "EControl") else None
    estimates = h if name not in ("SGD", "CompressedSGD", "EFSGD") else []
    world.note(x, memories, models=models, h=estimates, **more)


def _omega(c: Compressor, d: int) -> float:
    return 0.0 if isinstance(c, Identity) else c.omega(d)


PLAIN: dict[str, Callable[[World, Any], None]] = {
    "SGD": sgd,
    "CompressedSGD": compressed_sgd,
    "SignSGD": compressed_sgd,
    "Signum": compressed_sgd,
    "MajorityVote": vote,
    "EFSGD": ef14,
    "FullyCorrectiveEF": ef14,
    "PostMomentumEF": post_momentum,
    "GradientEF": gradient_ef,
    "EF21": ef21,
    "EF21SGDM": ef21,
    "EF21Plus": ef21_plus,
    "EControl": econtrol,
    "DIANA": diana,
    "MARINA": marina,
    "DASHA": dasha,
    "LocalSteps": local_steps,
}


def plain(run: Run) -> list[list[State]]:
    """The states of each replicate, from that before the first step on."""
    drawn = draws(run)
    worlds = [World(run, drawn, r) for r in range(run.replicates)]
    for world in worlds:
        PLAIN[type(run.method).__name__](world, run.method)
    return [world.states for world in worlds]
