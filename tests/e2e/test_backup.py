"""A backup and its restore, by the commands of docs/OPERATIONS.md as they stand there."""

import re
import subprocess
from pathlib import Path
from uuid import uuid4

import httpx
import psycopg

from support.postgres import Postgres, rows
from support.processes import REPOSITORY, eventually
from support.quell import Quell, clean_environment, executable

NOWHERE = "http://127.0.0.1:9"


def _commands(what: str) -> str:
    """The commands that stand below this mark in the manual."""
    manual = (REPOSITORY / "docs/OPERATIONS.md").read_text()
    found = re.search(rf"<!-- tested: {what} -->\n *```sh\n(.*?)```", manual, re.DOTALL)
    assert found is not None, what
    return found[1]


async def test_an_older_dump_is_restored_and_quell_goes_on(tmp_path: Path, postgres: Postgres) -> None:
    mark = uuid4().hex[:12]
    owner, service, name = f"owner_{mark}", f"service_{mark}", f"quell_{mark}"

    def administer(*statements: str) -> None:
        with psycopg.connect(postgres.url, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement)

    def url(login: str) -> str:
        return postgres.url.replace("//postgres@", f"//{login}@").replace("/postgres?", f"/{name}?")

    def run(what: str) -> None:
        env = clean_environment() | {
            "DATABASE_URL": url(service),
            "QUELL_MIGRATE_DATABASE_URL": url(owner),
            "PATH": f"{executable().parent}:/usr/local/bin:/usr/bin:/bin",
        }
        subprocess.run(["sh", "-euc", _commands(what)], env=env, cwd=tmp_path, check=True)

    administer(
        f"create role {owner} login createrole",
        f"create role {service} login",
        f"create database {name} owner {owner}",
    )
    quell = Quell(tmp_path, url(owner), name="quell-backup")
    quell.start(NOWHERE, QUELL_SWEEP_CRON="off", DATABASE_URL=url(service), QUELL_MIGRATE_DATABASE_URL=url(owner))
    try:
        dumped = quell.store([{"name": "dumped", "match": {}, "effect": "mute", "mode": "dry_run"}])
        await quell.in_force(dumped)
        with psycopg.connect(url(owner), autocommit=True) as connection:
            # A job that nobody came to, long over when the dump is restored.
            connection.execute(
                """with event as (insert into webhook_event (created_at, event_id, event, room_sid, room_name, identity, track_sid, body)
                       values (date_trunc('second', now()), 'EV_old', 'track_published', 'RM_1', 'standup', 'ann', 'TR_1', '{}')
                       returning *)
                   insert into job (event_created_at, event_id, received_at, state, deadline, room_sid, leased_by)
                   select created_at, event_id, now() - interval '1 hour', 'leased', now() - interval '1 hour', room_sid,
                          (select id from replica where alive_until > now() limit 1)
                   from event"""
            )
        run("upgrade")
        assert httpx.get(f"{quell.url}/readyz", timeout=5).status_code == 200
        run("backup")
        await quell.in_force(quell.store([{"name": "later", "match": {}, "effect": "mute", "mode": "dry_run"}]))
    finally:
        quell.stop()
    administer(f"drop database {name}", f"create database {name} owner {owner}")
    run("restore")

    quell.start(NOWHERE, QUELL_SWEEP_CRON="off", DATABASE_URL=url(service), QUELL_MIGRATE_DATABASE_URL=url(owner))
    try:
        assert quell.newest_revision() == dumped
        assert [row["name"] for row in rows(url(owner), "select name from policy")] == ["dumped"]
        assert httpx.get(f"{quell.url}/readyz", timeout=5).status_code == 200

        def is_given_up() -> bool:
            return [row["state"] for row in rows(url(owner), "select state from job")] == ["dead"]

        await eventually(is_given_up, "the old job is a dead letter")
        assert not rows(url(owner), "select 1 from audit_log where action = 'mute'")
        # A new change has a revision of its own, and the service's login its limits.
        await quell.in_force(quell.store([{"name": "newer", "match": {}, "effect": "mute", "mode": "dry_run"}]))
        [limit] = rows(url(service), "select current_setting('statement_timeout') as text")
        assert limit["text"] == "4s"
    finally:
        quell.stop()
        administer(f"drop database {name} with (force)", f"drop role {service}", f"drop role {owner}")
