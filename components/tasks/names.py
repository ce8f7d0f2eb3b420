"""The tasks a user may name in params.yaml, free of heavy imports so that `lode --help` stays fast.

A test holds them equal to the catalog's.
"""

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
