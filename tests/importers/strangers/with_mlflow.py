"""A stranger's sweep, logged to MLflow. It knows nothing of this project.

python with_mlflow.py http://127.0.0.1:5000 "résnet süß" 100
"""

import math
import random
import sys

import mlflow
from mlflow.entities import Metric, Param

UPDATES = 500
RATES = {
    "cosine": lambda f: (1 + math.cos(math.pi * f)) / 2,
    "step": lambda f: 0.1 ** int(3 * f),
    "linear": lambda f: 1 - f,
    "const": lambda f: 1.0,
}

uri, experiment, runs = sys.argv[1], sys.argv[2], int(sys.argv[3])
client = mlflow.MlflowClient(uri)
experiment_id = client.create_experiment(experiment)
configs = [
    (schedule, peak, seed)
    for seed in range(math.ceil(runs / 20))
    for schedule in RATES
    for peak in (0.001, 0.01, 0.05, 0.1, 0.5)
][:runs]
for schedule, peak, seed in configs:
    rng = random.Random(f"{schedule} {peak} {seed}")
    run = client.create_run(experiment_id, run_name=f"{schedule} {peak} #{seed}").info.run_id
    metrics, loss, done = [], 2.3, 0.0
    for i in range(UPDATES):
        rate = peak * min(1, (i + 1) / 25) * RATES[schedule](i / UPDATES)
        done += rate / UPDATES
        loss = 0.3 + 2 * math.exp(-120 * done) + 3 * rate + 0.02 * rng.random()
        if schedule == "const" and peak == 0.5 and i > 200:
            loss = float("nan")
        if i % 10 == 0:
            metrics.append(Metric("loss", loss, 1_700_000_000_000 + 10 * i, i))
            metrics.append(Metric("lr", rate, 1_700_000_000_000 + 10 * i, i))
        if i % 25 == 24:
            accuracy = 0.1 if math.isnan(loss) else 1 - loss / 3
            metrics.append(Metric("val_acc", accuracy, 1_700_000_000_001 + 10 * i, i))
    params = {"schedule": schedule, "lr": peak, "seed": seed, "model": "résnet"}
    params = [Param(key, str(value)) for key, value in params.items()]
    client.log_batch(run, metrics=metrics, params=params)
    client.set_terminated(run)
