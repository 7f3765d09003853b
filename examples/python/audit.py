"""Actions of the audit, the newest first."""

from quell import line, pages, run


def main(*conditions: str) -> None:
    query = {name: value for name, _, value in (condition.partition("=") for condition in conditions)}
    for action in pages("/v1/audit", "actions", **query):
        print(line(action))


run(main, "[CONDITION=VALUE...]    such as: room_name=webinar-1 since=1d", 0)
