"""What a history holds: every key of it with a sentence, for users, and for what chooses them.

Letters are those of the paper (arXiv 1901.09847): x_t iterate, e_t memory (what has not been sent
yet), g_t gradient, p_t corrected gradient, C compressor; R replicates in dimension d.
"""

from __future__ import annotations

OF_STEPS = ("achieved_delta", "phi_g", "phi_p")

METRICS = {
    "step": "The recorded steps t, (T,), from 0 to the last; row i of a metric belongs to step[i].",
    "x_final": "The solution that the method offers at the end, (R, d): x_t of nearly all methods.",
    "loss": "f(x_t), at what the method would offer as its solution, as distance and span_distance "
    "are: x_t of all methods but FullyCorrectiveEF.",
    "distance": "|x_t - x*|, where the problem knows its optimum.",
    "memory_norm": "|e_t|, for methods with feedback, in the units that the method names; with "
    "several workers the mean of their |e_i|.",
    "span_distance": "dist(x_t, x_0 + span{g_0, ..., g_(t-1)}) (arXiv 1901.09847, section 5), by "
    "QR. Costly: recorded only where metrics names it.",
    "virtual_residual": "|(x_t - e_t) - (x_0 - sum lr g)| relative to the largest |x_s| and |e_s| "
    "recorded up to t: 0 but for rounding, with feedback and without projection (x MINUS e; "
    "method.virtual where a method has another one).",
    "bytes": "len(encode(...)) of all messages before step t.",
    "bytes_up": "With several workers: the bytes of all their messages before step t.",
    "bytes_worker": "With several workers: the same of the one that sent most.",
    "bytes_down": "With several workers: the bytes that each received from the server before t: "
    "messages of a server that compresses, else the mean, as one message where those of the "
    "workers add (PowerSGD, shared), whole where not.",
    "memory_largest": "With several workers: the largest of their |e_i|.",
    "memory_spread": "With several workers: the root mean square of |e_i - mean e|.",
    "consensus": "With local steps: the root mean square distance of the models from their mean, "
    "where all workers count alike.",
    "achieved_delta": "1 - |C(p_t) - p_t|^2/|p_t|^2 of the step taken from x_t; NaN in the last "
    "row, from which no step is taken. With several workers the mean over them, as phi_g and phi_p "
    "are.",
    "phi_g": "The density |g|_1^2/(d |g|_2^2) of g_t, of the step taken from x_t; NaN in the last "
    "row, from which no step is taken.",
    "phi_p": "The density of p_t, of the step taken from x_t; NaN in the last row, from which no "
    "step is taken.",
}
