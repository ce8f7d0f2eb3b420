"""The names a user may write in params.yaml, kept free of heavy imports so that `lode --help` and
the settings check stay fast. A test holds them equal to what the registries really offer."""

TASKS: tuple[str, ...] = (
    "mnist1d-cnn",
    "digits-mlp",
    "fashion-mnist-small",
    "fashion-mnist-cnn",
    "text-minigpt",
)
PARAMETRIC_SCHEDULERS: tuple[str, ...] = ("constant", "cosine", "onecycle", "exp-decay")
LEARNED_SCHEDULERS: tuple[str, ...] = ("rl-controller", "gns")  # by `lode learn`
SCHEDULERS: tuple[str, ...] = (*PARAMETRIC_SCHEDULERS, "lode", *LEARNED_SCHEDULERS, "pbt")
