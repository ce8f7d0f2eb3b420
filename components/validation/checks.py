"""Runs the suites with Great Expectations and turns its results into plain values."""

from __future__ import annotations

import html
import math
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from components.validation.suite import STOP
from components.validation.tables import KEYS

if TYPE_CHECKING:
    from great_expectations.data_context import EphemeralDataContext
    from great_expectations.expectations import Expectation

# What an expectation's row in validation.json leaves out: ids and defaults say nothing.
_KWARGS = ("column", "column_A", "column_B", "column_list", "min_value", "max_value", "type_")


@dataclass(frozen=True)
class Outcome:
    """How one expectation came out.

    Attributes:
        table, expectation: what was checked, by which (its snake-case name).
        consequence: `stop` or `quarantine`, should it fail.
        problem, remedy: in words.
        rows: of the offending rows their keys (`tables.KEYS`) and `value`.
        observed: for expectations over a whole column; of a set, what is missing.
    """

    table: str
    expectation: str
    success: bool
    consequence: str
    problem: str
    remedy: str
    kwargs: dict[str, Any]
    rows: list[dict[str, Any]] = field(default_factory=list)
    observed: Any = None

    @property
    def stops(self) -> bool:
        return not self.success and self.consequence == STOP


class Checker:
    """An ephemeral Great Expectations context that remembers its results for the Data Docs.

    It escapes nothing that it writes into its pages, and takes `$` for a variable. So every text
    of a table is escaped before it gets to see it, and what it says of it is unescaped.
    """

    def __init__(self) -> None:
        os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
        import great_expectations as gx

        self._gx = gx
        self.context: EphemeralDataContext = gx.get_context(mode="ephemeral")
        self.context.enable_analytics(False)
        self.context.variables.progress_bars = {"globally": False}  # type: ignore[assignment]
        self._source = self.context.data_sources.add_pandas("histories")

    def check(
        self, table: str, frame: pd.DataFrame, expectations: list[Expectation]
    ) -> list[Outcome]:
        """Check one table; `table` names it in the Data Docs too."""
        asset = self._source.add_dataframe_asset(table)
        suite = self.context.suites.add(self._gx.ExpectationSuite(table, expectations=expectations))
        definition = self.context.validation_definitions.add(
            self._gx.ValidationDefinition(
                name=table, data=asset.add_batch_definition_whole_dataframe(table), suite=suite
            )
        )
        result = definition.run(
            batch_parameters={"dataframe": _escaped(frame)},
            result_format={
                "result_format": "COMPLETE",
                "unexpected_index_column_names": KEYS[table],
            },
        )
        # In the order of the suite, which Great Expectations does not keep.
        order = {each.id: place for place, each in enumerate(suite.expectations)}
        results: list[Any] = list(result.results)
        results.sort(key=lambda each: order[each.expectation_config.id])
        return [_outcome(table, each) for each in results]

    def write_docs(self, folder: Path) -> None:
        """Great Expectations' own pages; `components.validation.docs` makes them work offline."""
        site: Any = {
            "class_name": "SiteBuilder",
            "show_how_to_buttons": False,
            "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
            "store_backend": {
                "class_name": "TupleFilesystemStoreBackend",
                "base_directory": str(folder.absolute()),
            },
        }
        self.context.add_data_docs_site("report", site)
        self.context.build_data_docs(site_names=["report"])


def _escaped(frame: pd.DataFrame) -> pd.DataFrame:
    """For pages: the same table, whose texts are neither tags nor variables."""
    texts = frame.select_dtypes(include=["object", "string"]).columns
    return frame.assign(**{name: frame[name].map(_escape) for name in texts})


def _escape(value: Any) -> Any:
    return html.escape(value).replace("$", "&#36;") if isinstance(value, str) else value


def _unescaped(value: Any) -> Any:
    """What `_escaped` was given, of anything that JSON can hold."""
    if isinstance(value, dict):
        return {key: _unescaped(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_unescaped(each) for each in value]
    return html.unescape(value) if isinstance(value, str) else value


def _outcome(table: str, result: Any) -> Outcome:
    config = result.expectation_config
    exception = _exception(result.exception_info)
    if exception:
        # Not a verdict on the data but on the expectation: a fault of ours, never passed over.
        raise RuntimeError(f"{config.type} on {table} {config.kwargs} failed: {exception}")
    rows = [
        plain({key: row[key] for key in KEYS[table]} | {"value": _value(row, config.kwargs)})
        for row in result.result.get("unexpected_index_list") or []
    ]
    return Outcome(
        table=table,
        expectation=config.type,
        success=bool(result.success),
        consequence=config.meta["consequence"],
        problem=config.meta["problem"],
        remedy=config.meta["remedy"],
        kwargs=plain({key: config.kwargs[key] for key in _KWARGS if key in config.kwargs}),
        rows=_unescaped(rows),
        observed=_unescaped(plain(_observed(result.result))),
    )


def _exception(info: dict[str, Any]) -> str:
    """Great Expectations reports one exception flatly, several by metric."""
    nested = [info, *(value for value in info.values() if isinstance(value, dict))]
    return next((str(i["exception_message"]) for i in nested if i.get("raised_exception")), "")


def _observed(result: dict[str, Any]) -> Any:
    return result.get("partial_missing_list") or result.get("observed_value")


def _value(row: dict[str, Any], kwargs: dict[str, Any]) -> Any:
    return row.get(kwargs.get("column", ""))


def plain(value: Any) -> Any:
    """As JSON can hold it: numpy scalars unpacked, non-finite numbers as text."""
    if isinstance(value, dict):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
