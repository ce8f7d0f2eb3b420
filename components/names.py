"""The names a user may write in params.yaml, kept free of heavy imports so that `lode --help` and
the settings check stay fast. A test holds them equal to what the registries really offer."""

TASKS: tuple[str, ...] = (
    "mnist1d-cnn",
    "digits-mlp",
    "fashion-mnist-small",
    "fashion-mnist-cnn",
    "fashion-mnist-resnet18",
    "cifar100-resnet18",
    "cifar100-resnet18-authors",
    "imagenet-resnet34",
    "text-minigpt",
    "tinystories-minigpt",
)
PAPER_SCHEDULERS: tuple[str, ...] = ("constant", "cosine", "onecycle", "exp-decay")
PARAMETRIC_SCHEDULERS: tuple[str, ...] = (*PAPER_SCHEDULERS, "linear", "warmup-stable-decay")
LEARNED_SCHEDULERS: tuple[str, ...] = ("rl-controller", "gns")  # by `lode learn`
WITHOUT_PEAK_LR: tuple[str, ...] = ("pbt",)  # draws its learning rates itself
BASELINES: tuple[str, ...] = (
    *PARAMETRIC_SCHEDULERS,
    "hypergradient",
    "schedule-free",
    *LEARNED_SCHEDULERS,
    *WITHOUT_PEAK_LR,
)
SCHEDULERS: tuple[str, ...] = (*BASELINES, "lode")
