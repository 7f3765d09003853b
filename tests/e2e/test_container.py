"""Dockerfile and compose.yaml, as far as they can be tried without Docker: what the image is built of, and the settings on the real servers."""

import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
import yaml

from support.livekit_server import LiveKitServer
from support.processes import REPOSITORY, eventually
from support.quell import Quell, clean_environment, executable
from support.site import Join
from support.twirp import RoomService

DOCKERFILE = (REPOSITORY / "Dockerfile").read_text()
SERVICES = yaml.safe_load((REPOSITORY / "compose.yaml").read_text())["services"]
LIVEKIT = yaml.safe_load((REPOSITORY / "packaging/compose/livekit.yaml").read_text())
[_ENV] = re.findall(r"^ENV (.*)$", DOCKERFILE, re.MULTILINE)
IMAGE_ENVIRONMENT = dict(setting.split("=", 1) for setting in shlex.split(_ENV))


@pytest.fixture
def build_context(tmp_path: Path) -> Path:
    """What the Dockerfile copies, where it copies it to."""
    for sources, target in re.findall(r"^COPY (?!--from)(.+) (\S+)$", DOCKERFILE, re.MULTILINE):
        for source in sources.split():
            if (REPOSITORY / source).is_dir():
                shutil.copytree(REPOSITORY / source, tmp_path / target)
            else:
                (tmp_path / target).mkdir(parents=True, exist_ok=True)
                shutil.copy(REPOSITORY / source, tmp_path / target)
    return tmp_path


def test_the_image_is_built_of_all_that_the_program_is_built_of(build_context: Path) -> None:
    # Cargo's note of what it read; prepared SQL and settings of Cargo are not in it.
    _, _, noted = Path(f"{executable()}.d").read_text().partition(":")
    needed = [Path(path).relative_to(REPOSITORY) for path in shlex.split(noted)]
    assert len(needed) > 200
    needed += [Path(".sqlx"), Path(".cargo/config.toml"), Path("Cargo.lock")]
    assert [path for path in needed if not (build_context / path).exists()] == []
    metadata = ["cargo", "metadata", "--no-deps", "--offline", "--locked", "--format-version=1"]
    read = subprocess.run(metadata, cwd=build_context, capture_output=True, text=True, check=False)
    assert read.returncode == 0, read.stderr
    targets = [target for package in json.loads(read.stdout)["packages"] for target in package["targets"]]
    assert [target["src_path"] for target in targets if not Path(target["src_path"]).exists()] == []


def test_services_of_compose_find_each_other_and_are_open_to_this_machine_alone() -> None:
    environment = SERVICES["quell"]["environment"]
    database, login = urlsplit(environment["DATABASE_URL"]), SERVICES["postgres"]["environment"]
    assert database.hostname == "postgres"
    assert (database.username, database.password) == (login["POSTGRES_USER"], login["POSTGRES_PASSWORD"])
    assert database.path == f"/{login['POSTGRES_DB']}"
    livekit = urlsplit(environment["LIVEKIT_URL"])
    assert (livekit.hostname, livekit.port) == ("livekit", LIVEKIT["port"])
    [webhook] = [urlsplit(url) for url in LIVEKIT["webhook"]["urls"]]
    assert (webhook.hostname, webhook.port) == ("quell", int(IMAGE_ENVIRONMENT["PORT"]))
    published = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert len(published) == 4
    assert all(port.startswith("127.0.0.1:") for port in published)
    for port in (LIVEKIT["port"], LIVEKIT["rtc"]["tcp_port"], f"{LIVEKIT['rtc']['udp_port']}/udp"):
        assert f"127.0.0.1:{port}".removesuffix("/udp") + f":{port}" in published


@pytest.fixture
def livekit_url(directory: Path, quell: Quell) -> Iterator[str]:
    """A livekit-server with the settings of compose, at addresses of this test's own."""
    livekit = LiveKitServer(
        directory, webhook_urls=[quell.webhook_url], remote_unmute=True, settings=LIVEKIT, name="livekit-compose"
    )
    yield livekit.url
    livekit.stop()


@pytest.mark.livekit
async def test_a_moderator_mutes_and_unmutes_with_the_settings_of_compose(
    quell: Quell, livekit_url: str, join: Join
) -> None:
    settings = dict(SERVICES["quell"]["environment"])
    assert {"DATABASE_URL", "LIVEKIT_URL"} <= settings.keys()
    settings |= {"DATABASE_URL": quell.database_url, "LIVEKIT_URL": livekit_url.replace("http", "ws", 1)}
    quell.start(livekit_url, **settings)
    livekit = RoomService(livekit_url)
    await livekit.create_room("compose", json.dumps({"auth_id": "acme"}))
    await livekit.aclose()
    ears = await join(livekit_url, "compose", "ears")
    ben = await join(livekit_url, "compose", "ben")
    track = await ben.publish_tone()
    await ears.hears("ben")
    secrets = {caller["id"]: caller["secret"] for caller in json.loads(settings["AUTH_API_SECRETS_JSON"])}
    authorization = {"Authorization": f"Bearer {secrets['acme']}"}
    for muted in (True, False):
        mute = {"room_name": "compose", "participant_identity": "ben", "track_sid": track, "muted": muted}
        url = f"{quell.url}/livekit/participant/mute"
        answer = httpx.post(url, json=mute, headers=authorization, timeout=20)
        assert (answer.status_code, answer.json()) == (200, mute)
    await eventually(lambda: quell.webhooks() > 0, "a webhook comes")
    said = quell.command("doctor", **settings)
    # In compose too, one login does everything.
    assert re.findall(r"^(?:FAIL|warn) .* (owns .*),", said, re.MULTILINE) == ["owns the tables"], said
    assert len(re.findall(r"^(?:FAIL|warn) ", said, re.MULTILINE)) == 1, said


def test_the_image_asks_itself_whether_it_is_healthy(quell: Quell) -> None:
    [check] = re.findall(r"^HEALTHCHECK .*CMD (\[.*\])$", DOCKERFILE, re.MULTILINE)
    program, *arguments = json.loads(check)
    assert [program] == json.loads(re.findall(r"^ENTRYPOINT (.*)$", DOCKERFILE, re.MULTILINE)[0])
    # As in the image: HOST says to listen on all addresses, none of which can be asked.
    env = clean_environment() | {"HOST": IMAGE_ENVIRONMENT["HOST"], "PORT": str(quell.port)}

    def ask() -> int:
        return subprocess.run([executable(), *arguments], env=env, capture_output=True, check=False).returncode

    assert ask() == 1
    quell.start("http://127.0.0.1:9")
    assert ask() == 0
