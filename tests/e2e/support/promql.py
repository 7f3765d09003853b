"""What a PromQL query asks for, held against metrics that are there."""

import re
from collections.abc import Iterator, Mapping

import promql_parser as promql
from prometheus_client.parser import text_string_to_metric_families

Series = list[Mapping[str, str]]
OF_SCRAPES = {"job", "instance"}
"""What Prometheus adds to every series."""


class Metrics:
    """Samples by their names, each with its labels."""

    def __init__(self, text: str) -> None:
        self._series: dict[str, Series] = {"up": [{}]}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                self._series.setdefault(sample.name, []).append(sample.labels)

    def faults(self, query: str, legend: str = "") -> list[str]:
        """What `query`, or the legend of its series, names that is not there."""
        faults = []
        selectors = list(_selectors(promql.parse(query)))
        asked = [series for selector in selectors for series in self._series.get(selector.name, [])]
        labels = OF_SCRAPES.union(*asked)
        for selector in selectors:
            series = self._series.get(selector.name)
            faults += [f"no metric {selector.name}"] if series is None else _unmatched(selector, series)
        grouped = [label for node in _nodes(promql.parse(query)) for label in _grouping(node)]
        named = grouped + re.findall(r"{{\s*(\w+)\s*}}", legend)
        return faults + [f"no label {label}" for label in named if label not in labels]


def _unmatched(selector: promql.VectorSelector, series: Series) -> list[str]:
    faults = []
    for matcher in selector.matchers.matchers:
        if matcher.name in OF_SCRAPES:
            continue
        values = {labels[matcher.name] for labels in series if matcher.name in labels}
        is_regex = matcher.op in (promql.MatchOp.Re, promql.MatchOp.NotRe)
        # Each alternative is a word of its own.
        for value in matcher.value.split("|") if is_regex else [matcher.value]:
            pattern = value if is_regex else re.escape(value)
            if not any(re.fullmatch(pattern, known) for known in values):
                faults.append(f"no series {selector.name} with {matcher.name} {value}")
    return faults


def _nodes(query: promql.Expr) -> list[promql.Expr]:
    nodes: list[promql.Expr] = []
    promql.walk(query, pre_visit=nodes.append)
    return nodes


def _selectors(query: promql.Expr) -> Iterator[promql.VectorSelector]:
    for node in _nodes(query):
        if isinstance(node, promql.VectorSelector):
            yield node
        elif isinstance(node, promql.MatrixSelector):
            yield node.vector_selector


def _grouping(node: promql.Expr) -> list[str]:
    if isinstance(node, promql.AggregateExpr) and node.modifier:
        return node.modifier.labels
    if isinstance(node, promql.BinaryExpr) and node.modifier and node.modifier.matching:
        return node.modifier.matching.labels
    return []
