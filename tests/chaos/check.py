"""Whether ledger, inbox, audit and double agree. Pure: `seen.py` reads what is compared here.

    journal (what LiveKit was answered)  --+
    inbox (webhook_event, job)           --+--> disagreements(...)
    audit (audit_log, open_intent, lease)--+
    double (its calls, its tracks)       --+

Nothing is under way any more: all faults are healed, and the inbox was given time to become empty.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from load import Track

# From a sweep's look at a room to its mute of what it saw there.
SWEEP_LOOK_SECONDS = 2.0


@dataclass(frozen=True)
class Told:
    """An event that LiveKit told of: which, and of which track."""

    event: str
    track: str


@dataclass(frozen=True)
class Stored:
    """A row of webhook_event."""

    event_id: str
    event: str
    track: str
    settlement: str | None
    received_at: float
    """Unix time, by Postgres's clock."""
    settled_at: float | None = None


@dataclass(frozen=True)
class Job:
    """A row of job: what is left of the inbox."""

    event_id: str
    state: str
    error: str


@dataclass(frozen=True)
class Row:
    """A row of audit_log about a track. Times are Unix times by Postgres's clock, which is the double's."""

    action_id: str
    phase: str
    action: str
    origin: str
    track: str
    outcome: str | None
    started_at: float
    recorded_at: float
    changed: bool | None = None
    event_id: str | None = None
    request_id: str | None = None


@dataclass(frozen=True)
class Lease:
    """A row of track_lease that somebody holds."""

    action_id: str
    is_over: bool


@dataclass(frozen=True)
class Call:
    """A call of MutePublishedTrack that reached the double, in the order in which they came."""

    track: str
    muted: bool
    status: int | None
    """None: the caller hung up before the answer; it may have been carried out."""
    at: float


@dataclass
class Seen:
    """All that there is at the end of a round."""

    acknowledged: Mapping[str, Told]
    """Events that were answered 2xx, by id."""
    refused: Sequence[str]
    """Events that were answered what LiveKit takes for success and was none."""
    tracks: Mapping[str, Track]
    muted: Mapping[str, bool]
    """Tracks that are in the double now."""
    stored: Sequence[Stored] = ()
    jobs: Sequence[Job] = ()
    rows: Sequence[Row] = ()
    open_intents: Sequence[str] = ()
    leases: Sequence[Lease] = ()
    calls: Sequence[Call] = ()


@dataclass(frozen=True)
class Disagreement:
    """What does not agree, and where."""

    kind: str
    what: str


@dataclass
class Repeats:
    """Mutes that reached the double more than once, by what had become of the one before."""

    after_unknown: int = 0
    after_failed: int = 0
    """The one before never reached the double."""
    after_gone: int = 0
    """The track was gone, so that the one before had done nothing: a sweep had looked before that was known."""


@dataclass
class Verdict:
    """What a round comes to."""

    disagreements: list[Disagreement] = field(default_factory=list)
    lost: int = 0
    """Acknowledged events that are not stored."""
    repeats: Repeats = field(default_factory=Repeats)


def verdict(seen: Seen) -> Verdict:
    """Compares everything with everything."""
    found = Verdict()
    for disagreement in (
        *_inbox(seen), *_people(seen), *_intents(seen), *_leases(seen), *_calls(seen), *_double(seen), *_changes(seen),
        *_repeated(seen, found.repeats),
    ):
        found.disagreements.append(disagreement)
        found.lost += disagreement.kind == "lost"
    return found


def _inbox(seen: Seen) -> Iterator[Disagreement]:
    """200 means committed, and each track that is told of is dealt with."""
    stored = {row.event_id: row for row in seen.stored}
    done = {row.track for row in seen.rows if row.outcome in ("done", "unknown") and row.action == "mute"}
    unmutes = _Unmutes(seen)
    ends_at = {row.track: row.received_at for row in seen.stored if row.event == "track_unpublished"}
    ends_told = {
        row.track
        for row in seen.stored
        if row.event == "track_published" and row.settled_at and row.track in ends_at
        and row.received_at <= ends_at[row.track] <= row.settled_at
    }
    for event_id, told in seen.acknowledged.items():
        if event_id not in stored:
            yield Disagreement("lost", f"{told.event} {event_id} was answered 2xx and is not stored")
    for event_id in seen.refused:
        yield Disagreement("refused", f"{event_id} was answered as if LiveKit had sent nonsense")
    for job in seen.jobs:
        track = seen.tracks.get(stored[job.event_id].track) if job.event_id in stored else None
        if job.state != "dead":
            yield Disagreement("job left", f"the job of {job.event_id} is {job.state}: {job.error}")
        elif track is None or not track.is_over or track.sid in ends_told:
            yield Disagreement("dead", f"the job of {job.event_id} is dead: {job.error}")
    for row in seen.stored:
        if row.event != "track_published" or row.track not in seen.tracks:
            continue
        track = seen.tracks[row.track]
        what = f"{row.event_id} of {describe(track)} is settled as {row.settlement}"
        if row.settlement is None:
            yield Disagreement("unsettled", f"{row.event_id} of {describe(track)} has no settlement")
        elif row.settlement == "muted" and (not track.forbidden or row.track not in done):
            yield Disagreement("settlement", what)
        elif row.settlement == "nothing" and track.forbidden:
            yield Disagreement("settlement", what)
        elif row.settlement == "gone" and not track.is_over:
            yield Disagreement("settlement", what)
        elif row.settlement == "superseded" and not unmutes.stands(track, row.received_at):
            yield Disagreement("settlement", what)
        elif row.settlement == "undecided" and track.is_over and row.track not in ends_told:
            # LiveKit gave the event of its end up or sent it too late, or a second URL's queue told of its beginning after the first one's
            # had told of its end. A track that LiveKit does not show may be shown later: where no event ends its job,
            # it is asked for until the deadline, and is a dead letter then.
            continue
        elif row.settlement in ("stale", "refused", "undecided", "dead_letter"):
            yield Disagreement("settlement", what)


def _people(seen: Seen) -> Iterator[Disagreement]:
    """What is forbidden is muted, unless a person's later unmute stands."""
    told = {
        row.track: row.received_at
        for row in seen.stored
        if row.event == "track_published" and row.event_id in seen.acknowledged
    }
    unmutes = _Unmutes(seen)
    for track in seen.tracks.values():
        if track.is_over or track.sid not in seen.muted:
            continue
        muted = seen.muted[track.sid]
        # Words without a 200 may have been carried out: then only the double and the audit are compared.
        if any(word.status != 200 for word in track.words):
            continue
        if track.words:
            if track.words[-1].muted != muted:
                # A person's mute is no unmute to give way to; a policy mutes what it forbids in any case.
                yield Disagreement("overruled", f"{describe(track)}: the last person's word is not how it is")
        elif track.forbidden and track.sid in told and not muted and not unmutes.stands(track, told[track.sid]):
            yield Disagreement("heard", f"{describe(track)} is forbidden, was told of, and is not muted")
        elif not track.forbidden and muted:
            yield Disagreement("muted wrongly", f"{describe(track)} is allowed and muted")


class _Unmutes:
    """Where a policy gives way to a person (docs/ARCHITECTURE.md, "Which of two is newer"): to an unmute of the same
    track, and to one of another track of the same source that began after the event was stored."""

    def __init__(self, seen: Seen) -> None:
        # One that failed may have reached LiveKit, and stands then.
        refused = {row.action_id for row in seen.rows if row.outcome in ("refused", "gone")}
        self._at: dict[tuple[str, str, str], list[tuple[str, float]]] = defaultdict(list)
        for row in seen.rows:
            if row.phase == "intent" and row.action == "unmute" and row.track in seen.tracks:
                if row.action_id not in refused:
                    place = seen.tracks[row.track].place
                    self._at[place].append((row.track, row.started_at))

    def stands(self, track: Track, told_at: float) -> bool:
        """Whether one stands against a mute of this track."""
        return any(sid == track.sid or at > told_at for sid, at in self._at[track.place])


def _intents(seen: Seen) -> Iterator[Disagreement]:
    """Intent before the call, outcome after: one each."""
    intents: dict[str, int] = defaultdict(int)
    outcomes: dict[str, list[Row]] = defaultdict(list)
    for row in seen.rows:
        if row.phase == "intent":
            intents[row.action_id] += 1
        else:
            outcomes[row.action_id].append(row)
    for action_id, count in intents.items():
        ends = outcomes.get(action_id, [])
        if count != 1 or len(ends) != 1:
            yield Disagreement("outcome", f"action {action_id} has {count} intents and {len(ends)} outcomes")
    for action_id, ends in outcomes.items():
        # What was refused, given up or gave way was never begun, nor is an exemption.
        if action_id not in intents and any(end.action != "exempt" and end.outcome in ("done", "unknown", "gone") for end in ends):
            yield Disagreement("outcome", f"action {action_id} ended as {ends[0].outcome} and has no intent")
    for action_id in seen.open_intents:
        yield Disagreement("open intent", f"action {action_id} is still open")


def _leases(seen: Seen) -> Iterator[Disagreement]:
    """A lease is given back with the outcome. One that a dead replica held stays in its row until somebody
    acts there again: then its outcome is `unknown`, and its time is over."""
    outcomes = {row.action_id: row.outcome for row in seen.rows if row.phase == "outcome"}
    for lease in seen.leases:
        if not lease.is_over or outcomes.get(lease.action_id) != "unknown":
            how = outcomes.get(lease.action_id, "without an outcome")
            yield Disagreement("lease", f"action {lease.action_id} ({how}) still holds its lease")


def _calls(seen: Seen) -> Iterator[Disagreement]:
    """Nothing is called that is not written down before, and what is `done` was called."""
    intents: dict[tuple[str, bool], list[float]] = defaultdict(list)
    for row in seen.rows:
        if row.phase == "intent":
            intents[row.track, row.action == "mute"].append(row.started_at)
    calls: dict[tuple[str, bool], list[Call]] = defaultdict(list)
    for call in seen.calls:
        calls[call.track, call.muted].append(call)
    # A sweep's mute that failed before has no intent of its own (`open_intent.repeats_id`).
    failed_sweeps = {row.track for row in seen.rows if row.origin == "sweep" and row.outcome in ("failed", "unknown")}
    for (track, muted), found in calls.items():
        begun = intents.get((track, muted), [])
        for call in found:
            if not any(started <= call.at for started in begun):
                yield Disagreement("no intent", f"the double was asked to set {track} muted={muted} without an intent")
        if len(found) > len(begun) and track not in failed_sweeps:
            yield Disagreement("no intent", f"{track}: {len(found)} calls of muted={muted} for {len(begun)} intents")
    for row in seen.rows:
        if row.outcome == "done" and row.action in ("mute", "unmute"):
            asked = calls.get((row.track, row.action == "mute"), [])
            if not any(row.started_at <= call.at <= row.recorded_at for call in asked):
                yield Disagreement("not called", f"{row.action} of {row.track} is done, and the double was not asked")


def _double(seen: Seen) -> Iterator[Disagreement]:
    """A track is as the last call left it; nobody else changes it."""
    by_track: dict[str, list[Call]] = defaultdict(list)
    for call in seen.calls:
        by_track[call.track].append(call)
    for sid, muted in seen.muted.items():
        may_be = {False}
        for call in by_track.get(sid, []):
            if call.status == 200:
                may_be = {call.muted}
            elif call.status is None:
                may_be.add(call.muted)
        if muted not in may_be:
            yield Disagreement("double", f"{sid} is muted={muted}, and no call made it so")


def _changes(seen: Seen) -> Iterator[Disagreement]:
    """What the audit says was changed was otherwise before. (Where an outcome is unknown, or failed since the answer
    was lost, nobody can tell.)"""
    calls: dict[str, list[Call]] = defaultdict(list)
    for call in seen.calls:
        calls[call.track].append(call)
    unknown = {row.track for row in seen.rows if row.outcome in ("unknown", "failed")}
    ends = {row.track: row.recorded_at for row in seen.rows if row.outcome == "done" and row.origin != "sweep"}
    for row in seen.rows:
        if row.outcome != "done" or not row.changed or row.track in unknown:
            continue
        # A sweep that had looked before says what it saw.
        if row.origin == "sweep" and 0 < row.started_at - ends.get(row.track, 0.0) < SWEEP_LOOK_SECONDS:
            continue
        found = calls.get(row.track, [])
        if any(call.status != 200 for call in found):
            continue
        muted = row.action == "mute"
        own = [n for n, call in enumerate(found) if row.started_at <= call.at <= row.recorded_at and call.muted == muted]
        # Where two may be meant, either may be.
        if own and all((found[n - 1].muted if n else False) == muted for n in own):
            yield Disagreement("changed", f"{row.action} of {row.track} ({row.action_id}) changed nothing, says the double")


def _repeated(seen: Seen, repeats: Repeats) -> Iterator[Disagreement]:
    """A policy mutes a track once, unless it cannot know that it did.

    docs/ARCHITECTURE.md, "A replica dies": "An automatic mute may take the lease of a dead replica's mute at once: it
    does the same thing", and the outcome of the one before is `unknown` then, whatever comes of it. AUDIT.md: `failed` says
    that "LiveKit did not do it". So each mute of a track but the last has to be unknown, or not to have reached the double, or
    to have found nothing, whoever made it: webhooks' and sweeps' alike. Only tracks count that no person unmuted, and mutes
    that reached the double.
    """
    called = {call.track for call in seen.calls if call.muted}
    unmuted = {call.track for call in seen.calls if not call.muted}
    mutes: dict[str, list[Row]] = defaultdict(list)
    ends = {row.action_id: row for row in seen.rows if row.phase == "outcome"}
    for row in seen.rows:
        if row.phase == "intent" and row.action == "mute" and row.origin != "manual" and row.track in called:
            mutes[row.track].append(row)
    for track, begun in mutes.items():
        if track in unmuted:
            continue
        begun.sort(key=lambda row: row.started_at)
        for one, after in zip(begun, begun[1:], strict=False):
            yield from _again(seen, one, after, ends.get(one.action_id), repeats)


def _again(seen: Seen, one: Row, after: Row, end: Row | None, repeats: Repeats) -> Iterator[Disagreement]:
    """A mute that was begun after another of the same track, which ended so."""
    if end is None or end.outcome == "unknown":
        repeats.after_unknown += 1
    elif end.outcome == "failed" and not any(
        call.track == one.track and call.muted and one.started_at <= call.at <= end.recorded_at for call in seen.calls
    ):
        repeats.after_failed += 1
    elif end.outcome == "gone":
        repeats.after_gone += 1
    else:
        yield Disagreement("repeated", f"{after.origin} muted {after.track} again after it was {end.outcome}")


def describe(track: Track) -> str:
    """A track, for people."""
    words = ", ".join(f"{'mute' if word.muted else 'unmute'} {word.status}" for word in track.words)
    return f"{track.room}/{track.identity}/{track.source} {track.sid}" + (f" [{words}]" if words else "")
