"""A check that cannot fail is worthless: each kind of disagreement is planted, and has to be found."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from check import Call, Job, Lease, Row, Seen, Stored, Told, verdict
from load import Track, Word

MIC = Track("TR_mic", "chaos-0", "attendee-1", "MICROPHONE", forbidden=True)
CAM = Track("TR_cam", "chaos-0", "attendee-1", "CAMERA", forbidden=False)


def row(phase: str, at: float, outcome: str | None = None, **other: object) -> Row:
    """A row of a webhook's mute of the microphone."""
    usual: dict[str, object] = {
        "action_id": "one", "action": "mute", "origin": "webhook", "track": MIC.sid,
        "changed": True if outcome == "done" else None,
    }
    return Row(phase=phase, outcome=outcome, started_at=at, recorded_at=at + 0.5, **(usual | other))  # type: ignore[arg-type]


def agreeing() -> Seen:
    """A microphone that is muted and a camera that is not, told of and settled."""
    return Seen(
        acknowledged={"EV_mic": Told("track_published", MIC.sid), "EV_cam": Told("track_published", CAM.sid)},
        refused=(),
        tracks={MIC.sid: replace(MIC, words=[]), CAM.sid: replace(CAM, words=[])},
        muted={MIC.sid: True, CAM.sid: False},
        stored=(
            Stored("EV_mic", "track_published", MIC.sid, "muted", 1.0),
            Stored("EV_cam", "track_published", CAM.sid, "nothing", 1.0),
        ),
        rows=(row("intent", 2.0), row("outcome", 2.0, "done")),
        calls=(Call(MIC.sid, True, 200, 2.2),),
    )


def unmuted_by_a_person(seen: Seen, *, muted_after: bool) -> None:
    """A moderator lets the microphone speak, at 5 s."""
    seen.tracks[MIC.sid].words.append(Word("req", False, 200))
    person = {"action_id": "two", "action": "unmute", "origin": "manual"}
    seen.rows = (*seen.rows, row("intent", 5.0, **person), row("outcome", 5.0, "done", **person))
    seen.calls = (*seen.calls, Call(MIC.sid, False, 200, 5.2))
    seen.muted = {**seen.muted, MIC.sid: muted_after}


def again(seen: Seen, at: float, before: str, written_at: float, **other: object) -> None:
    """Another mute of the microphone, begun at `at`; what came of the first, and when that was written."""
    usual: dict[str, object] = {"action_id": "two", "changed": False}
    first = replace(row("outcome", 2.0, before), recorded_at=written_at)
    first = replace(first, origin=str(other.get("origin", "webhook")))
    begun = replace(row("intent", 2.0), origin=first.origin)
    seen.rows = (
        begun, first, row("intent", at, **(usual | {"changed": None} | other)),
        row("outcome", at, "done", **(usual | other)),
    )
    seen.calls = (*seen.calls, Call(MIC.sid, True, 200, at + 0.2))


def kinds(seen: Seen) -> list[str]:
    """What is found."""
    return sorted({found.kind for found in verdict(seen).disagreements})


def test_what_agrees_agrees() -> None:
    seen = agreeing()
    assert kinds(seen) == []
    assert verdict(seen).lost == 0


def lose(seen: Seen) -> None:
    seen.stored = seen.stored[:1]


def refuse(seen: Seen) -> None:
    seen.refused = ("EV_x 401",)


def leave_a_job(seen: Seen) -> None:
    seen.jobs = (Job("EV_mic", "leased", ""),)


def let_a_job_die(seen: Seen) -> None:
    seen.jobs = (Job("EV_mic", "dead", "LiveKit is away"),)


def settle_nothing(seen: Seen) -> None:
    seen.stored = (replace(seen.stored[0], settlement=None), seen.stored[1])


def settle_as_nothing(seen: Seen) -> None:
    seen.stored = (replace(seen.stored[0], settlement="nothing"), seen.stored[1])


def settle_as_gone(seen: Seen) -> None:
    seen.stored = (replace(seen.stored[0], settlement="gone"), seen.stored[1])


def settle_as_superseded(seen: Seen) -> None:
    seen.stored = (replace(seen.stored[0], settlement="superseded"), seen.stored[1])


def settle_as_undecided(seen: Seen) -> None:
    seen.stored = (replace(seen.stored[0], settlement="undecided"), seen.stored[1])


def settle_as_muted_without_a_mute(seen: Seen) -> None:
    seen.rows, seen.calls = (), ()
    seen.muted = {**seen.muted, MIC.sid: False}
    seen.tracks[MIC.sid].words.append(Word("req", True, 0))


def leave_it_heard(seen: Seen) -> None:
    """As if the call had changed nothing; the double's own state is then wrong too."""
    seen.muted = {**seen.muted, MIC.sid: False}


def mute_what_is_allowed(seen: Seen) -> None:
    seen.muted = {**seen.muted, CAM.sid: True}


def overrule(seen: Seen) -> None:
    unmuted_by_a_person(seen, muted_after=True)


def forget_the_outcome(seen: Seen) -> None:
    seen.rows = seen.rows[:1]


def write_two_outcomes(seen: Seen) -> None:
    seen.rows = (*seen.rows, row("outcome", 2.0, "unknown"))


def forget_the_intent(seen: Seen) -> None:
    seen.rows = seen.rows[1:]


def leave_an_intent_open(seen: Seen) -> None:
    seen.open_intents = ("one",)


def hold_a_lease(seen: Seen) -> None:
    seen.leases = (Lease("one", True),)


def call_before_the_intent(seen: Seen) -> None:
    seen.calls = (Call(MIC.sid, True, 200, 1.5), *seen.calls)


def call_twice_for_one_intent(seen: Seen) -> None:
    seen.calls = (*seen.calls, Call(MIC.sid, True, 200, 2.3))


def never_call(seen: Seen) -> None:
    seen.calls = ()


def change_the_double_silently(seen: Seen) -> None:
    seen.tracks[MIC.sid].is_over = True
    seen.muted = {**seen.muted, MIC.sid: False}


def mute_again_after_done(seen: Seen) -> None:
    again(seen, 9.0, "done", written_at=2.5)


def sweep_again_much_later(seen: Seen) -> None:
    again(seen, 9.0, "done", written_at=2.5, origin="sweep")


def claim_a_change(seen: Seen) -> None:
    again(seen, 3.0, "done", written_at=3.1, changed=True)


@pytest.mark.parametrize(
    ("plant", "found"),
    [
        (lose, ["lost"]),
        (refuse, ["refused"]),
        (leave_a_job, ["job left"]),
        (let_a_job_die, ["dead"]),
        (settle_nothing, ["unsettled"]),
        (settle_as_nothing, ["settlement"]),
        (settle_as_gone, ["settlement"]),
        (settle_as_superseded, ["settlement"]),
        (settle_as_undecided, ["settlement"]),
        (settle_as_muted_without_a_mute, ["settlement"]),
        (leave_it_heard, ["double", "heard"]),
        (mute_what_is_allowed, ["double", "muted wrongly"]),
        (overrule, ["double", "overruled"]),
        (forget_the_outcome, ["outcome", "settlement"]),
        (write_two_outcomes, ["outcome"]),
        (forget_the_intent, ["no intent", "outcome"]),
        (leave_an_intent_open, ["open intent"]),
        (hold_a_lease, ["lease"]),
        (call_before_the_intent, ["changed", "no intent"]),
        (call_twice_for_one_intent, ["no intent"]),
        (never_call, ["double", "not called"]),
        (change_the_double_silently, ["double"]),
        (mute_again_after_done, ["repeated"]),
        (sweep_again_much_later, ["repeated"]),
        (claim_a_change, ["changed", "repeated"]),
    ],
)
def test_what_is_planted_is_found(plant: Callable[[Seen], None], found: list[str]) -> None:
    seen = agreeing()
    plant(seen)
    assert kinds(seen) == found
    assert verdict(seen).lost == found.count("lost")


@pytest.mark.parametrize(
    ("before", "written_at", "origin", "counted"),
    [
        ("unknown", 8.0, "webhook", "after_unknown"),
        ("unknown", 8.0, "sweep", "after_unknown"),
        ("gone", 2.5, "sweep", "after_gone"),
    ],
)
def test_what_may_come_again_is_counted(before: str, written_at: float, origin: str, counted: str) -> None:
    seen = agreeing()
    again(seen, 3.0, before, written_at, origin=origin)
    found = verdict(seen)
    assert found.disagreements == []
    assert getattr(found.repeats, counted) == 1


def test_what_failed_before_it_reached_livekit_is_made_again_and_what_may_have_been_done_did_not_fail() -> None:
    for reached, found in ((2.2, ["repeated"]), (None, [])):
        seen = agreeing()
        again(seen, 3.0, "failed", 2.5)
        if reached is None:
            seen.calls = seen.calls[1:]
        assert kinds(seen) == found


def test_what_is_done_is_not_done_again_however_late_that_was_written() -> None:
    seen = agreeing()
    again(seen, 3.0, "done", 4.0, origin="webhook")
    assert kinds(seen) == ["repeated"]


def test_a_persons_unmute_stands() -> None:
    seen = agreeing()
    unmuted_by_a_person(seen, muted_after=False)
    assert kinds(seen) == []


def test_an_unmute_of_another_track_of_the_source_stands_where_it_is_newer() -> None:
    for told_at, found in ((4.0, []), (6.0, ["heard", "settlement"])):
        seen = agreeing()
        unmuted_by_a_person(seen, muted_after=False)
        other = replace(MIC, sid="TR_other", words=[])
        seen.tracks = {**seen.tracks, other.sid: other}
        seen.muted = {**seen.muted, other.sid: False}
        seen.acknowledged = {**seen.acknowledged, "EV_other": Told("track_published", other.sid)}
        seen.stored = (*seen.stored, Stored("EV_other", "track_published", other.sid, "superseded", told_at))
        assert kinds(seen) == found


def test_a_track_of_whose_end_nothing_tells_may_be_undecided() -> None:
    for ended_at, found in ((None, []), (0.5, []), (9.0, []), (3.0, ["dead", "settlement"])):
        seen = agreeing()
        seen.tracks[CAM.sid].is_over = True
        seen.muted = {MIC.sid: True}
        seen.stored = (seen.stored[0], replace(seen.stored[1], settlement="undecided", settled_at=8.0))
        seen.jobs = (Job("EV_cam", "dead", "LiveKit does not show the track"),)
        if ended_at is not None:
            seen.acknowledged = {**seen.acknowledged, "EV_end": Told("track_unpublished", CAM.sid)}
            seen.stored = (*seen.stored, Stored("EV_end", "track_unpublished", CAM.sid, None, ended_at))
        assert kinds(seen) == found


def test_a_call_without_an_answer_may_have_been_carried_out() -> None:
    for muted in (True, False):
        seen = agreeing()
        seen.tracks[MIC.sid].is_over = True
        seen.rows = (row("intent", 2.0), row("outcome", 2.0, "unknown"))
        seen.calls = (Call(MIC.sid, True, None, 2.2),)
        seen.muted = {**seen.muted, MIC.sid: muted}
        assert kinds(seen) == []


def test_a_dead_replicas_lease_may_stay() -> None:
    seen = agreeing()
    seen.rows = (row("intent", 2.0), row("outcome", 2.0, "unknown"))
    seen.leases = (Lease("one", True),)
    assert kinds(seen) == []
