"""Golden values of the paper's four: optax 0.2.8 in float64; of the others, by hand."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.schedulers.parametric import PARAMETRIC, Parametric, learning_rate

N, PEAK = 1000, 0.1
GOLDEN = {
    "constant": {0: 0.1, 500: 0.1, 999: 0.1, 1000: 0.1},
    "cosine": {
        0: 0.1,
        100: 0.09755282581,
        300: 0.07938926261,
        500: 0.05,
        900: 0.002447174185,
        999: 2.467399071e-07,
        1000: 0.0,
    },
    "onecycle": {
        0: 0.004,
        100: 0.028,
        150: 0.052,
        299: 0.09999736813,
        300: 0.1,
        301: 0.09999949645,
        500: 0.08117456539,
        900: 0.004951936799,
        998: 2.4141834e-06,
        999: 9.035483855e-07,
        1000: 4e-07,
    },
    "exp-decay": {
        0: 0.1,
        332: 0.1,
        333: 0.05,
        500: 0.05,
        665: 0.05,
        666: 0.025,
        900: 0.025,
        998: 0.025,
        999: 0.0125,
        1000: 0.0125,
    },
    "linear": {0: 0.1, 100: 0.09, 250: 0.075, 500: 0.05, 999: 1e-4, 1000: 0.0, 1001: 0.0},
    # a rise over 20 updates, a fall over the last 200: half of it at a quarter
    "warmup-stable-decay": {
        0: 0.005,
        9: 0.05,
        19: 0.1,
        20: 0.1,
        500: 0.1,
        800: 0.1,
        850: 0.05,
        872: 0.04,
        928: 0.02,
        999: 0.1 * (1 - math.sqrt(0.995)),
        1000: 0.0,
    },
    # a rise over 50 updates, the schedule's own 950 after it: 475 are their half, 316 a stair
    "warmup-cosine": {0: 0.002, 24: 0.05, 49: 0.1, 50: 0.1, 525: 0.05, 1000: 0.0},
    "warmup-linear": {0: 0.002, 49: 0.1, 50: 0.1, 525: 0.05, 999: 0.1 / 950, 1000: 0.0},
    "warmup-exp-decay": {0: 0.002, 49: 0.1, 50: 0.1, 365: 0.1, 366: 0.05, 682: 0.025, 997: 0.025},
}
GOLDEN_CIFAR = {  # N = 10,560, P = 0.05
    "cosine": {
        0: 0.05,
        1056: 0.048776413,
        3168: 0.039694631,
        5280: 0.025,
        9504: 0.0012235871,
        10559: 1.1063229e-09,
    },
    "onecycle": {
        0: 0.002,
        1056: 0.014,
        3168: 0.05,
        5280: 0.040587283,
        9504: 0.0024759684,
        10559: 2.0225779e-07,
    },
    "exp-decay": {0: 0.05, 1056: 0.05, 3168: 0.05, 5280: 0.025, 9504: 0.0125, 10559: 0.0125},
}


@pytest.mark.parametrize("name", PARAMETRIC)
def test_golden_values(name: str) -> None:
    for step, expected in GOLDEN[name].items():
        # as many digits as the table gives
        assert learning_rate(name, step, N, PEAK) == pytest.approx(expected, rel=1e-8, abs=1e-16)


@pytest.mark.parametrize("name", GOLDEN_CIFAR)
def test_golden_values_of_the_cifar_length(name: str) -> None:
    for step, expected in GOLDEN_CIFAR[name].items():
        assert learning_rate(name, step, 10_560, 0.05) == pytest.approx(expected, rel=1e-7)


@given(
    name=st.sampled_from(sorted(PARAMETRIC)),
    updates=st.integers(1, 5000),
    where=st.floats(0, 1),
    peak=st.floats(1e-6, 10),
)
def test_never_above_the_peak_always_positive_and_proportional_to_it(
    name: str, updates: int, where: float, peak: float
) -> None:
    step = min(int(where * updates), updates - 1)
    lr = learning_rate(name, step, updates, peak)
    assert 0 < lr <= peak * (1 + 1e-12)
    assert learning_rate(name, step, updates, 2 * peak) == pytest.approx(2 * lr)


def test_the_loops_scheduler_is_the_closed_form_whatever_it_observes() -> None:
    scheduler = Parametric("onecycle", peak_lr=PEAK, updates=N)
    scheduler.observe(1, math.nan, 0.0, 1.0)
    assert [scheduler.lr(t) for t in (0, 300, 999)] == [
        learning_rate("onecycle", t, N, PEAK) for t in (0, 300, 999)
    ]


def test_an_unknown_schedule_is_an_error() -> None:
    with pytest.raises(KeyError):
        learning_rate("step", 0, N, PEAK)
