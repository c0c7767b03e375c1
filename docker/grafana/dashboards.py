#!/usr/bin/env python3
"""Writes the dashboards of the fleet and of one stream into `dashboards/`.

Each panel is one line here. Every query keeps the label `stream`, and every legend begins with it: of
forty streams in one panel, each line says whose it is. `tests/dashboards.rs` asks a real Prometheus.
"""

import json
from pathlib import Path

SOURCE = {"type": "prometheus", "uid": "${datasource}"}
# What every query of the dashboard of a stream is restricted to.
OF = 'stream=~"$stream",instance=~"$instance"'
FOR = 'stream=~"$stream",instance=~"$instance",consumer=~"$consumer"'
GREEN, YELLOW, ORANGE, RED, GREY = "green", "yellow", "orange", "red", "#8e8e8e"
GRADES = {
    0: ("healthy", GREEN),
    1: ("recovering", YELLOW),
    2: ("late", ORANGE),
    3: ("not known", GREY),
    4: ("outage", RED),
    5: ("no answer", "dark-red"),
}
PAGE = {"title": "Status page of ${__field.labels.instance}", "url": "http://${__field.labels.instance}/", "targetBlank": True}
RUNBOOKS = {"title": "Runbook of its state", "url": "http://${__field.labels.instance}/runbooks/", "targetBlank": True}
STREAM = {"title": "Dashboard of ${__field.labels.stream}", "url": "/d/binpulse-stream?var-stream=${__field.labels.stream}&${__url_time_range}"}


def age(metric: str, labels: str, keep: str = "stream, instance", only: str = "") -> str:
    """Seconds since a timestamp, by the process's own clock."""
    clock = "binpulse_clock_timestamp_seconds - on (job, instance) group_right ()"
    return f"max by ({keep}) ({clock} ({metric}{{{labels}}}{only}))"


def severity(labels: str) -> str:
    of = f"{labels}," if labels else ""
    grade = lambda name: f'max by (stream, instance) (binpulse_verdict_grade{{{of}grade="{name}"}})'
    answers = f'{grade("outage")} * 4 + {grade("unknown")} * 3 + {grade("late")} * 2 + {grade("recovering")}'
    known = labels or 'stream!=""'
    gone = f"max by (stream, instance) (last_over_time(binpulse_build_info{{{known}}}[6h]))"
    return f"({answers}) or (({gone} and on (instance) up == 0) * 5)"


def panel(kind, title, queries, unit="short", width=8, height=7, about="", steps=None, links=(PAGE, RUNBOOKS), **more):
    """`queries`: expression and legend. `steps`: from which value on which colour holds."""
    steps = steps or [(None, GREEN)]
    table = kind == "table"
    defaults = {
        "unit": unit,
        "links": list(links),
        "thresholds": {"mode": "absolute", "steps": [{"value": value, "color": color} for value, color in steps]},
    }
    if len(steps) > 1:
        defaults["color"] = {"mode": "thresholds"} if kind == "stat" else {"mode": "palette-classic"}
        if kind == "timeseries":
            defaults["custom"] = {"thresholdsStyle": {"mode": "line"}}
    defaults |= more.pop("defaults", {})
    targets = [
        {"refId": chr(65 + at), "datasource": SOURCE, "expr": expression, "legendFormat": legend}
        | ({"instant": True, "format": "table"} if table else {})
        | ({"instant": True} if kind == "stat" else {})
        for at, (expression, legend) in enumerate(queries)
    ]
    return {
        "type": kind,
        "title": title,
        "description": about,
        "datasource": SOURCE,
        "size": (width, height),
        "fieldConfig": {"defaults": defaults, "overrides": more.pop("overrides", [])},
        "targets": targets,
    } | more


def placed(panels: list) -> list:
    x = y = row = 0
    for number, one in enumerate(panels, 1):
        width, height = one.pop("size")
        if x + width > 24:
            x, y, row = 0, y + row, 0
        one["id"], one["gridPos"] = number, {"x": x, "y": y, "w": width, "h": height}
        x, row = x + width, max(row, height)
    return panels


def variable(name: str, query: str, label: str) -> dict:
    return {
        "name": name, "label": label, "type": "query", "datasource": SOURCE, "query": {"query": query, "refId": name},
        "definition": query, "includeAll": True, "allValue": ".*", "multi": True, "refresh": 2, "sort": 1,
        "current": {"text": ["All"], "value": ["$__all"]},
    }


def dashboard(uid: str, title: str, panels: list, variables: list, links: list) -> None:
    source = {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus",
              "current": {"text": "prometheus", "value": "prometheus"}}
    document = {
        "uid": uid, "title": title, "tags": ["binpulse"], "timezone": "browser", "schemaVersion": 39, "version": 1,
        "refresh": "10s", "time": {"from": "now-1h", "to": "now"}, "editable": False, "links": links,
        "templating": {"list": [source, *variables]}, "panels": placed(panels),
    }
    path = Path(__file__).parent / "dashboards" / f"{uid}.json"
    path.write_text(json.dumps(document, indent=1) + "\n")


GRADE_MAPPING = {"mappings": [{"type": "value", "options": {str(value): {"text": text, "color": color, "index": value} for value, (text, color) in GRADES.items()}}]}
GRADE_STEPS = [(None, GREEN), (1, YELLOW), (2, ORANGE), (3, GREY), (4, RED), (5, "dark-red")]
LAG = [(None, GREEN), (15, YELLOW), (30, RED)]
BUDGET = [(None, GREEN), (0.001, YELLOW), (0.006, ORANGE), (0.0144, RED)]
ANY = [(None, GREEN), (1, RED)]
MARGIN = [(None, RED), (86400, YELLOW), (259200, GREEN)]


def count(grade: str) -> str:
    return f'count by (stream) (binpulse_verdict_grade{{grade="{grade}"}} == 1)'


def column(ref: str, name: str, unit: str, steps: list, more: dict | None = None) -> dict:
    properties = [
        {"id": "displayName", "value": name}, {"id": "unit", "value": unit},
        {"id": "thresholds", "value": {"mode": "absolute", "steps": [{"value": value, "color": color} for value, color in steps]}},
        {"id": "custom.cellOptions", "value": {"type": "color-text"}},
    ]
    properties += [{"id": key, "value": value} for key, value in (more or {}).items()]
    return {"matcher": {"id": "byName", "options": f"Value #{ref}"}, "properties": properties}


def linked(field: str, name: str, title: str, url: str) -> dict:
    link = {"title": title, "url": url, "targetBlank": url.startswith("http")}
    return {"matcher": {"id": "byName", "options": field}, "properties": [{"id": "displayName", "value": name}, {"id": "links", "value": [link]}]}


def fleet() -> list:
    published = age("binpulse_stage_heartbeat_timestamp_seconds", 'stage="published"')
    worst = panel(
        "table", "Streams, worst first",
        [
            (severity(""), ""),
            ("max by (stream, instance, state) (binpulse_verdict == 1)", ""),
            ("max by (stream, instance, hop) (binpulse_verdict_hop == 1)", ""),
            (age("binpulse_verdict_since_timestamp_seconds", ""), ""),
            ("max by (stream, instance, reason) (binpulse_halted == 1)", ""),
            (published, ""),
            ("max by (stream, instance) (binpulse_unaccounted_transactions_total)", ""),
            ("max by (stream, instance) (increase(binpulse_canary_lost_total[1h]) / (increase(binpulse_canary_sent_total[1h]) > 0))", ""),
            ("min by (stream, instance) (binpulse_purge_margin_seconds)", ""),
        ],
        width=24, height=11, links=(),
        about="Which stream is broken, at which hop, since when. A click on a stream opens its dashboard, on an instance its page, on a state its runbook.",
        transformations=[
            {"id": "merge", "options": {}},
            {"id": "organize", "options": {"excludeByName": {"Time": True, "Value #B": True, "Value #C": True, "Value #E": True},
                                           "renameByName": {"hop": "Where", "reason": "Halted because"}}},
            {"id": "sortBy", "options": {"sort": [{"field": "Value #A", "desc": True}]}},
        ],
        overrides=[
            linked("stream", "Stream", "Dashboard of the stream", "/d/binpulse-stream?var-stream=${__value.raw}"),
            linked("instance", "Instance", "Status page", "http://${__value.raw}/"),
            linked("state", "State", "Runbook", "http://${__data.fields.instance}/runbooks/"),
            column("A", "Verdict", "short", GRADE_STEPS, {"mappings": GRADE_MAPPING["mappings"]}),
            column("D", "Since", "s", [(None, "text")]),
            column("F", "Lag", "s", LAG),
            column("G", "Unaccounted", "short", ANY),
            column("H", "Canaries lost, 1 h", "percentunit", BUDGET),
            column("I", "Purge margin", "s", MARGIN),
        ],
    )
    return [
        panel("stat", "Outage", [(count("outage"), "{{stream}}")], width=6, height=4, steps=ANY, links=(STREAM,),
              about="Streams with an outage.", options={"textMode": "name"}),
        panel("stat", "Late or recovering", [(f'{count("late")} or {count("recovering")}', "{{stream}}")], width=6, height=4,
              steps=[(None, GREEN), (1, ORANGE)], links=(STREAM,), options={"textMode": "name"}),
        panel("stat", "Not known", [(count("unknown"), "{{stream}}")], width=6, height=4,
              steps=[(None, GREEN), (1, GREY)], links=(STREAM,), options={"textMode": "name"}),
        panel("stat", "Healthy", [(count("healthy"), "{{stream}}")], width=6, height=4, links=(STREAM,), options={"textMode": "name"}),
        worst,
        panel("state-timeline", "Verdict of each stream", [(severity(""), "{{stream}} {{instance}}")], width=24, height=8,
              steps=GRADE_STEPS, defaults=GRADE_MAPPING, links=(STREAM, PAGE, RUNBOOKS)),
        panel("timeseries", "Lag: age of the newest heartbeat that is published", [(published, "{{stream}} {{instance}}")], "s", steps=LAG),
        panel("timeseries", "Rows published", [("sum by (stream) (rate(binpulse_changes_published_total[$__rate_interval]))", "{{stream}}")], "ops", links=(STREAM,)),
        panel("timeseries", "Transactions that did not come through the stream", [("max by (stream, instance) (binpulse_unaccounted_transactions_total)", "{{stream}} {{instance}}")], steps=ANY),
        panel("timeseries", "Conditions that do not hold", [('sum by (stream, condition) (binpulse_condition{status="false",condition!="user_rows"}) > 0', "{{stream}} {{condition}}")], links=(STREAM,),
              about="Each condition that there is evidence against. That no rows of users come is no fault."),
        panel("timeseries", "Canaries lost, of those sent in the last hour", [("sum by (stream, consumer) (increase(binpulse_canary_lost_total[1h])) / (sum by (stream, consumer) (increase(binpulse_canary_sent_total[1h])) > 0)", "{{stream}} {{consumer}}")], "percentunit", steps=BUDGET, links=(STREAM,),
              about="The objective is 0.1 % over 30 days. At 1.44 % an alert fires."),
        panel("timeseries", "Time until the source may purge what is still needed", [("min by (stream, instance) (binpulse_purge_margin_seconds)", "{{stream}} {{instance}}")], "s", steps=MARGIN),
    ]


def stream() -> list:
    def rate(metric: str, by: str, labels: str = OF) -> str:
        return f"sum by ({by}) (rate({metric}{{{labels}}}[$__rate_interval]))"

    def grown(metric: str, by: str, labels: str = OF) -> str:
        return f"sum by ({by}) (increase({metric}{{{labels}}}[5m]))"

    def quantile(at: str, metric: str, by: str, labels: str = OF) -> str:
        return f"histogram_quantile({at}, sum by (le, {by}) (rate({metric}_bucket{{{labels}}}[$__rate_interval])))"

    probe = 'stream=~"$stream"'
    return [
        panel("stat", "Verdict", [(severity(OF), "{{stream}} {{instance}}")], width=6, height=4, steps=GRADE_STEPS, defaults=GRADE_MAPPING),
        panel("stat", "State", [(f"max by (stream, state) (binpulse_verdict{{{OF}}} == 1)", "{{stream}}: {{state}}")], width=6, height=4, options={"textMode": "name"}, links=()),
        panel("stat", "In this state for", [(age("binpulse_verdict_since_timestamp_seconds", OF), "{{stream}} {{instance}}")], "s", width=4, height=4),
        panel("stat", "Lag", [(age("binpulse_stage_heartbeat_timestamp_seconds", f'{OF},stage="published"'), "{{stream}}")], "s", width=4, height=4, steps=LAG),
        panel("stat", "Did not come through", [(f"max by (stream, instance) (binpulse_unaccounted_transactions_total{{{OF}}})", "{{stream}}")], width=4, height=4, steps=ANY, about="Transactions of the source that the stream did not bring: loss."),
        panel("state-timeline", "Conditions", [(f'max by (stream, condition) (binpulse_condition{{{OF},status="true"}}) * 2 + max by (stream, condition) (binpulse_condition{{{OF},status="unknown"}})', "{{stream}} {{condition}}")], width=24, height=10, links=(PAGE,),
              steps=[(None, RED), (1, GREY), (2, GREEN)], about="2: holds; 1: not known; 0: does not hold.",
              defaults={"mappings": [{"type": "value", "options": {"0": {"text": "no", "color": RED}, "1": {"text": "not known", "color": GREY}, "2": {"text": "yes", "color": GREEN}}}]}),
        panel("timeseries", "Age of the newest heartbeat, by stage", [(age("binpulse_stage_heartbeat_timestamp_seconds", OF, "stream, stage"), "{{stream}} {{stage}}")], "s", steps=LAG),
        panel("timeseries", "Rows: committed beside published", [(rate("binpulse_transactions_total", "stream", f'{OF},class="user"'), "{{stream}} transactions read"), (rate("binpulse_changes_published_total", "stream, op"), "{{stream}} {{op}} published")], "ops"),
        panel("timeseries", "Transactions read, by whose they are", [(rate("binpulse_transactions_total", "stream, class"), "{{stream}} {{class}}")], "ops"),
        panel("timeseries", "Canaries, by consumer", [(grown("binpulse_canary_sent_total", "stream, consumer", FOR), "{{stream}} {{consumer}} sent"), (grown("binpulse_canary_resolved_total", "stream, consumer", FOR), "{{stream}} {{consumer}} back"), (grown("binpulse_canary_lost_total", "stream, consumer", FOR), "{{stream}} {{consumer}} lost")]),
        panel("timeseries", "Canary round trip", [(quantile("0.5", "binpulse_canary_roundtrip_seconds", "stream, consumer", FOR), "{{stream}} {{consumer}} p50"), (quantile("0.99", "binpulse_canary_roundtrip_seconds", "stream, consumer", FOR), "{{stream}} {{consumer}} p99")], "s", steps=[(None, GREEN), (15, RED)]),
        panel("timeseries", "Error budget: canaries lost, of those sent in the last hour", [(f"sum by (stream, consumer) (increase(binpulse_canary_lost_total{{{FOR}}}[1h])) / (sum by (stream, consumer) (increase(binpulse_canary_sent_total{{{FOR}}}[1h])) > 0)", "{{stream}} {{consumer}}")], "percentunit", steps=BUDGET),
        panel("timeseries", "Heartbeat round trip", [(quantile("0.5", "binpulse_heartbeat_roundtrip_seconds", "stream"), "{{stream}} p50"), (quantile("0.99", "binpulse_heartbeat_roundtrip_seconds", "stream"), "{{stream}} p99")], "s", steps=[(None, GREEN), (5, RED)]),
        panel("timeseries", "Heartbeat writes, by how they ended", [(rate("binpulse_heartbeat_writes_total", "stream, result"), "{{stream}} {{result}}")], "ops"),
        panel("timeseries", "Publish calls, by how they ended", [(rate("binpulse_publish_attempts_total", "stream, result"), "{{stream}} {{result}}")], "ops"),
        panel("timeseries", "Duration of a publish call", [(quantile("0.5", "binpulse_publish_duration_seconds", "stream"), "{{stream}} p50"), (quantile("0.99", "binpulse_publish_duration_seconds", "stream"), "{{stream}} p99")], "s"),
        panel("timeseries", "Queue before the sink", [(f"max by (stream, instance) (binpulse_queue_bytes{{{OF}}})", "{{stream}} waiting"), (f"max by (stream, instance) (binpulse_queue_capacity_bytes{{{OF}}})", "{{stream}} capacity")], "bytes"),
        panel("timeseries", "Rows per message", [(f'{rate("binpulse_changes_published_total", "stream")} / ({rate("binpulse_messages_published_total", "stream")} > 0)', "{{stream}}")]),
        panel("timeseries", "Bytes", [(rate("binpulse_stream_bytes_total", "stream"), "{{stream}} read from the source"), (rate("binpulse_published_bytes_total", "stream"), "{{stream}} published")], "Bps"),
        panel("timeseries", "Checkpoint, age", [(age("binpulse_checkpoint_saved_timestamp_seconds", OF), "{{stream}} {{instance}}")], "s", steps=[(None, GREEN), (120, RED)]),
        panel("timeseries", "Purge margin", [(f"min by (stream, instance) (binpulse_purge_margin_seconds{{{OF}}})", "{{stream}} {{instance}}")], "s", steps=MARGIN),
        panel("timeseries", "Halted, by reason", [(f"max by (stream, reason) (binpulse_halted{{{OF}}}) > 0", "{{stream}} {{reason}}")]),
        panel("timeseries", "Consumers in maintenance", [(f"max by (stream, consumer) (binpulse_maintenance{{{OF}}}) > 0", "{{stream}} {{consumer}}")]),
        panel("timeseries", "Canary paths that can't be written", [(f"max by (stream, path) (binpulse_canary_path_failing{{{OF}}}) > 0", "{{stream}} {{path}}")]),
        panel("timeseries", "Newest canary of a path on the stream, age", [(age("binpulse_canary_path_seen_timestamp_seconds", OF, "stream, path", " > 0"), "{{stream}} {{path}}")], "s"),
        panel("timeseries", "Connections opened again, by reason", [(grown("binpulse_reconnects_total", "stream, reason"), "{{stream}} {{reason}}")]),
        panel("timeseries", "Source's clock minus ours", [(f"max by (stream, instance) (binpulse_source_clock_offset_seconds{{{OF}}})", "{{stream}} offset"), (f"max by (stream, instance) (binpulse_source_clock_offset_error_seconds{{{OF}}})", "{{stream}} error, plus or minus")], "s"),
        panel("timeseries", "Left out or put aside", [(grown("binpulse_oversize_total", "stream, action"), "{{stream}} too large: {{action}}"), (grown("binpulse_quarantined_messages_total", "stream"), "{{stream}} quarantined")]),
        panel("timeseries", "Snapshot, rows", [(rate("binpulse_snapshot_rows_total", "stream"), "{{stream}} published"), (rate("binpulse_snapshot_superseded_rows_total", "stream"), "{{stream}} left out")], "ops"),
        panel("timeseries", "Snapshot, what it waits for", [(f"max by (stream) (binpulse_snapshot_running{{{OF}}}) > 0", "{{stream}} runs"), (f"max by (stream, reason) (binpulse_snapshot_waiting{{{OF}}}) > 0", "{{stream}} waits: {{reason}}")]),
        panel("timeseries", "Snapshot, chunks", [(grown("binpulse_snapshot_chunks_total", "stream"), "{{stream}} published"), (grown("binpulse_snapshot_discarded_chunks_total", "stream, reason"), "{{stream}} discarded: {{reason}}")]),
        panel("timeseries", "Newest canary at the consumers' probes, age", [(f"max by (stream, instance) (binpulse_clock_timestamp_seconds - on (job, instance) group_right () binpulse_probe_newest_canary_timestamp_seconds{{{probe}}})", "{{stream}} {{instance}}")], "s", steps=[(None, GREEN), (120, RED)], links=()),
        panel("timeseries", "Canary messages at the consumers' probes", [(f"sum by (stream, instance) (increase(binpulse_probe_{name}_total{{{probe}}}[5m]))", "{{stream}} {{instance}} " + name) for name in ("received", "lost", "late", "duplicate", "reordered")], links=()),
    ]


if __name__ == "__main__":
    top = lambda title, url: {"title": title, "type": "link", "url": url, "icon": "dashboard", "targetBlank": False}
    dashboard("binpulse-fleet", "binpulse: all streams", fleet(), [], [top("One stream", "/d/binpulse-stream")])
    dashboard(
        "binpulse-stream", "binpulse: one stream", stream(),
        [
            variable("stream", 'label_values(binpulse_build_info{stream!=""}, stream)', "Stream"),
            variable("instance", 'label_values(binpulse_build_info{stream=~"$stream"}, instance)', "Instance"),
            variable("consumer", 'label_values(binpulse_canary_sent_total{stream=~"$stream"}, consumer)', "Consumer"),
        ],
        [top("All streams", "/d/binpulse-fleet"), top("Relays", "/d/binpulse-relay")],
    )
