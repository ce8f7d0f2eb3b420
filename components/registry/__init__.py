"""The MLflow registry: a sweep's runs, and the LODE under `lode-<task>@champion`."""
