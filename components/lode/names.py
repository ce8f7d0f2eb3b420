"""The files of a LODE, its judge and its plan; without torch, for whoever only looks for them."""

WEIGHTS, CONFIG = "lode.safetensors", "config.json"
JUDGE_WEIGHTS, JUDGE_CONFIG = "judge.safetensors", "judge.json"
PLAN = "plan.json"  # what the LODE says of a whole run, for whoever has no LODE
