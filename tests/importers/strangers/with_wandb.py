"""A stranger's sweep, logged to W&B without a network. It knows nothing of this project.

WANDB_DIR=somewhere python with_wandb.py 6
"""

import math
import sys

import wandb

UPDATES = 300
for number in range(int(sys.argv[1])):
    schedule, peak, seed = ("cosine", "const", "linear")[number % 3], 0.1, number // 3
    run = wandb.init(
        project="prøject ü",
        name=f"rün {number}",
        mode="offline",
        config={"optim": {"lr": peak, "schedule": schedule}, "seed": seed, "layers": [64, 64]},
    )
    done = 0.0
    for update in range(1, UPDATES + 1):
        share = update / UPDATES
        shape = {"cosine": (1 + math.cos(math.pi * share)) / 2, "const": 1.0, "linear": 1 - share}
        rate = peak * min(1.0, update / 20) * shape[schedule]
        done += rate / UPDATES
        loss = 0.3 + 2 * math.exp(-80 * done) + 3 * rate + 0.01 * math.sin(update + number)
        if update % 3 == 0:
            run.log({"train/loss": loss, "train/lr": rate, "trainer/global_step": update})
        if update % 30 == 0:  # by itself, as a validation loop does: W&B's own step goes on
            run.log({"val/acc": 1 - loss / 3})
    if number == 5:
        run.log({"train/loss": float("nan"), "trainer/global_step": UPDATES})
    run.finish()
