from prefect import flow


@flow(name="nightly-retraining")
def nightly_retraining() -> None: ...
