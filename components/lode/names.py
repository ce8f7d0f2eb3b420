"""The files of a LODE and of its judge; without torch, for whoever only looks for them."""

WEIGHTS, CONFIG = "lode.safetensors", "config.json"
JUDGE_WEIGHTS, JUDGE_CONFIG = "judge.safetensors", "judge.json"
