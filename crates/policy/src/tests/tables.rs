//! Every rule of matching and deciding, one line an example.

use super::make::{self, attributes, facts, now, policies, set, short};
use crate::{
    Decision, Fact, Facts, Kind, KindDetail, Owner, Source, TrackType, Tri, Verdict, decide,
};

/// `mute <policy>`, `exempt <policy> by <exemption>`, `nothing` or `indeterminate`.
fn in_words(verdict: &Verdict) -> String {
    let name = |policy: &crate::PolicyRef| match &policy.owner {
        Owner::Tenant(tenant) => format!("{tenant}/{}", policy.name),
        Owner::Operator => policy.name.to_string(),
    };
    match verdict {
        Verdict::Nothing { exempted: None } => "nothing".to_owned(),
        Verdict::Nothing {
            exempted: Some(exempted),
        } => format!("exempt {} by {}", name(&exempted.mute), name(&exempted.by)),
        Verdict::Mute { policy } => format!("mute {}", name(policy)),
        Verdict::Indeterminate => "indeterminate".to_owned(),
    }
}

fn of_acme() -> Facts {
    let mut facts = facts();
    facts.room.tenant = Fact::Known(Some(make::tenant("acme")));
    facts
}

fn unknown_attributes() -> Facts {
    let mut facts = of_acme();
    facts.participant.attributes = Fact::Unknown;
    facts
}

#[track_caller]
fn check(facts: &Facts, lines: &[&str], enforced: &str, dry_run: &str) {
    let policies = short(lines);
    let decision = decide(&set(&policies), facts, now());
    assert_eq!(
        in_words(&decision.enforced),
        enforced,
        "enforced: {lines:?}"
    );
    assert_eq!(in_words(&decision.dry_run), dry_run, "dry_run: {lines:?}");
}

#[test]
fn who_wins() {
    for (lines, outcome) in [
        (vec![], "nothing"),
        (vec!["exempt e"], "nothing"),
        (vec!["mute m never"], "nothing"),
        (vec!["mute m"], "mute m"),
        (vec!["mute m off"], "nothing"),
        // Within one owner an exemption needs at least the mute's priority.
        (vec!["mute m 100", "exempt e 99"], "mute m"),
        (vec!["mute m 100", "exempt e 100"], "exempt m by e"),
        (vec!["mute m 100", "exempt e 101"], "exempt m by e"),
        (vec!["mute m 100", "exempt e 100 never"], "mute m"),
        (vec!["mute m 100", "exempt e 100 off"], "mute m"),
        (vec!["mute acme/m 100", "exempt acme/e 99"], "mute acme/m"),
        (
            vec!["mute acme/m 100", "exempt acme/e 100"],
            "exempt acme/m by acme/e",
        ),
        // Any mute that is left mutes.
        (vec!["mute m 100", "mute n 300", "exempt e 200"], "mute n"),
        (
            vec!["mute m 100", "mute n 200", "exempt e 200"],
            "exempt n by e",
        ),
        // The operator's exemption cancels tenants' mutes whatever the priorities.
        (vec!["mute acme/m 9999", "exempt e 0"], "exempt acme/m by e"),
        // A tenant's cancels the operator's only where that is overridable.
        (vec!["mute m 0", "exempt acme/e 9999"], "mute m"),
        (
            vec!["mute m 9999 overridable", "exempt acme/e 0"],
            "exempt m by acme/e",
        ),
        (
            vec!["mute m overridable", "mute n", "exempt acme/e"],
            "mute n",
        ),
        // Another tenant's policies are not there.
        (vec!["mute globex/m"], "nothing"),
        (vec!["mute acme/m", "exempt globex/e 9999"], "mute acme/m"),
        (vec!["mute m overridable", "exempt globex/e 9999"], "mute m"),
        // Attribution: the operator's, then the highest priority, then the name.
        (vec!["mute acme/a 9999", "mute z 0"], "mute z"),
        (vec!["mute a 100", "mute z 200"], "mute z"),
        (vec!["mute b 100", "mute a 100"], "mute a"),
        // The first exemption that cancels is named.
        (
            vec!["mute m 100", "exempt e 100", "exempt f 200"],
            "exempt m by f",
        ),
        (
            vec!["mute m overridable", "exempt acme/e 500", "exempt f"],
            "exempt m by f",
        ),
        (
            vec!["mute m 100 overridable", "exempt acme/e 500", "exempt f 0"],
            "exempt m by acme/e",
        ),
    ] {
        check(&of_acme(), &lines, outcome, outcome);
        let reversed: Vec<_> = lines.into_iter().rev().collect();
        check(&of_acme(), &reversed, outcome, outcome);
    }
}

#[test]
fn dry_run_policies_change_the_dry_run_verdict_only() {
    for (lines, enforced, dry_run) in [
        (vec!["mute m dry_run"], "nothing", "mute m"),
        (
            vec!["mute m", "exempt e dry_run"],
            "mute m",
            "exempt m by e",
        ),
        (vec!["mute m 100", "mute n 200 dry_run"], "mute m", "mute n"),
        (
            vec!["mute m dry_run", "exempt e"],
            "nothing",
            "exempt m by e",
        ),
        (
            vec!["mute m", "exempt e", "mute n 500 dry_run"],
            "exempt m by e",
            "mute n",
        ),
        (vec!["mute m dry_run unknown"], "nothing", "nothing"),
    ] {
        check(&of_acme(), &lines, enforced, dry_run);
    }
    check(
        &unknown_attributes(),
        &["mute m dry_run unknown"],
        "nothing",
        "indeterminate",
    );
}

#[test]
fn unknown_facts_matter_only_where_they_could_change_the_outcome() {
    for (lines, outcome) in [
        (vec!["mute m unknown"], "indeterminate"),
        (vec!["mute m", "exempt e unknown"], "indeterminate"),
        // A sure exemption cancels whatever the mute turns out to be.
        (vec!["mute m unknown", "exempt e"], "nothing"),
        // A sure mute of higher rank mutes whatever the lower one turns out to be.
        (vec!["mute m 200", "mute n 100 unknown"], "mute m"),
        // A higher one would take over the attribution: not known yet.
        (vec!["mute m 100", "mute n 200 unknown"], "indeterminate"),
        // An exemption that cannot cancel does not matter.
        (vec!["mute m 200", "exempt e 100 unknown"], "mute m"),
        (vec!["mute m", "exempt acme/e unknown"], "mute m"),
        (
            vec!["mute m overridable", "exempt acme/e unknown"],
            "indeterminate",
        ),
        // What is false elsewhere is false.
        (vec!["mute m unknown never"], "nothing"),
        (vec!["mute m unknown off"], "nothing"),
    ] {
        check(&unknown_attributes(), &lines, outcome, outcome);
    }
}

#[test]
fn an_unknown_tenant_may_be_anyones() {
    let mut unknown = facts();
    unknown.room.tenant = Fact::Unknown;
    for (facts, lines, outcome) in [
        (&unknown, vec!["mute acme/m"], "indeterminate"),
        (&unknown, vec!["mute acme/m never"], "nothing"),
        (&unknown, vec!["mute acme/m", "mute n"], "mute n"),
        (&unknown, vec!["mute acme/m", "exempt e"], "nothing"),
        (
            &unknown,
            vec!["mute m overridable", "exempt acme/e"],
            "indeterminate",
        ),
        (&unknown, vec!["mute m", "exempt acme/e"], "mute m"),
        // A room without a tenant is seen by the operator's policies alone.
        (&facts(), vec!["mute acme/m"], "nothing"),
        (&facts(), vec!["mute acme/m", "mute n"], "mute n"),
    ] {
        check(facts, &lines, outcome, outcome);
    }
}

#[track_caller]
fn applies(condition: &str, facts: &Facts, expected: Tri) {
    let yaml = format!("policies:\n  - name: p\n    {condition}\n    effect: mute\n");
    let set = set(&policies(&yaml));
    let (policy, _) = set.visible(facts).next().unwrap();
    assert_eq!(policy.ask(facts, now()).applies(), expected, "{condition}");
}

#[test]
fn fields_match_by_any_of_their_values_and_all_of_the_fields() {
    for (condition, expected) in [
        ("match: {}", true),
        ("match: { room: 'webinar-*' }", true),
        ("match: { room: ['x', 'webinar-?'] }", true),
        ("match: { room: 'Webinar-*' }", false),
        ("match: { identity: ['attendee-*'] }", true),
        ("match: { identity: host-* }", false),
        ("match: { source: [CAMERA, MICROPHONE] }", true),
        ("match: { source: CAMERA }", false),
        ("match: { source: UNKNOWN }", false),
        ("match: { type: AUDIO }", true),
        ("match: { type: [VIDEO] }", false),
        ("match: { room: 'webinar-*', type: VIDEO }", false),
        ("match: { kind: [SIP, STANDARD] }", true),
        ("match: { kind: SIP }", false),
        ("match: { kind_details: FORWARDED }", false),
        ("match: {}\n    unless: { kind_details: FORWARDED }", true),
        ("match: { attributes: { role: attendee } }", true),
        ("match: { attributes: { role: [host, attendee] } }", true),
        ("match: { attributes: { role: host } }", false),
        ("match: { attributes: { role: 'attend*' } }", false),
        ("match: { attributes: { absent: x } }", false),
        ("match: { attributes: { absent: '' } }", false),
        (
            "match: { attributes: { role: attendee, absent: x } }",
            false,
        ),
        ("match: {}\n    unless: { identity: 'attendee-*' }", false),
        ("match: {}\n    unless: { identity: 'host-*' }", true),
        (
            "match: { type: VIDEO }\n    unless: { identity: 'host-*' }",
            false,
        ),
    ] {
        applies(condition, &facts(), expected.into());
    }
}

#[test]
fn any_of_a_participants_kind_details_matches_any_that_is_named() {
    for (words, condition, expected) in [
        (&["CONNECTOR_TWILIO"][..], "CONNECTOR_TWILIO", true),
        (
            &["CONNECTOR_TWILIO"],
            "[CONNECTOR_WHATSAPP, CONNECTOR_TWILIO]",
            true,
        ),
        (
            &["CONNECTOR_TWILIO"],
            "[CONNECTOR_WHATSAPP, FORWARDED]",
            false,
        ),
        (&["FORWARDED", "CONNECTOR_TWILIO"], "CONNECTOR_TWILIO", true),
        (&["FORWARDED", "TELEPATHY"], "CONNECTOR_TWILIO", false),
        (&["TELEPATHY", "CONNECTOR_TWILIO"], "CONNECTOR_TWILIO", true),
        (&[], "CONNECTOR_TWILIO", false),
    ] {
        let mut facts = facts();
        let details = words.iter().map(|word| KindDetail::from(*word)).collect();
        facts.participant.kind_details = Fact::Known(details);
        let of = |key: &str| format!("match: {key}{{ kind_details: {condition} }}");
        applies(&of(""), &facts, expected.into());
        applies(&of("{}\n    unless: "), &facts, (!expected).into());
        facts.participant.kind_details = Fact::Unknown;
        applies(&of(""), &facts, Tri::Unknown);
    }
}

#[test]
fn what_is_unknown_matters_only_where_it_decides() {
    let mut unknown = facts();
    unknown.participant.kind = Fact::Unknown;
    unknown.participant.attributes = Fact::Unknown;
    for (condition, expected) in [
        ("match: { type: AUDIO }", Tri::True),
        ("match: { kind: SIP }", Tri::Unknown),
        ("match: { kind: SIP, type: VIDEO }", Tri::False),
        ("match: { attributes: { role: host } }", Tri::Unknown),
        ("match: { attributes: { role: host }, room: x }", Tri::False),
        (
            "match: {}\n    unless: { attributes: { role: host } }",
            Tri::Unknown,
        ),
        (
            "match: { type: VIDEO }\n    unless: { kind: SIP }",
            Tri::False,
        ),
        (
            "match: {}\n    unless: { kind: SIP, identity: host-* }",
            Tri::True,
        ),
        (
            "match: { kind: SIP }\n    unless: { type: AUDIO }",
            Tri::False,
        ),
    ] {
        applies(condition, &unknown, expected);
    }
    // What is known to be false is false, whatever else is unknown.
    unknown.participant.kind = Fact::Known(Kind::Standard);
    let condition = "match: { kind: SIP, attributes: { role: host } }";
    applies(condition, &unknown, Tri::False);
    unknown.participant.kind = Fact::Unknown;
    unknown.participant.attributes = Fact::Known(attributes(&[]));
    applies(condition, &unknown, Tri::False);
}

#[test]
fn words_of_a_newer_livekit_match_no_word() {
    let mut facts = facts();
    facts.track.source = Source::Unknown;
    applies("match: { source: UNKNOWN }", &facts, Tri::True);
    facts.track.source = Source::from("HOLOGRAM");
    facts.track.type_ = TrackType::from("SMELL");
    facts.participant.kind = Fact::Known(Kind::from("ROBOT"));
    facts.participant.kind_details = Fact::Known(vec![KindDetail::from("TELEPATHY")]);
    for (field, words) in [
        ("source", Source::WORDS),
        ("type", TrackType::WORDS),
        ("kind", Kind::WORDS),
        ("kind_details", KindDetail::WORDS),
    ] {
        let condition = format!("match: {{ {field}: [{}] }}", words.join(", "));
        applies(&condition, &facts, Tri::False);
    }
}

#[test]
fn an_expression_must_hold_besides_the_rest() {
    let mut known = facts();
    known.room.num_participants = Fact::Known(12);
    for (when, on_known, on_unknown) in [
        ("room.num_participants > 10", Tri::True, Tri::Unknown),
        ("room.num_participants > 20", Tri::False, Tri::Unknown),
        ("room.name == 'webinar-1'", Tri::True, Tri::True),
        ("room.name == 'other'", Tri::False, Tri::False),
    ] {
        let of = |match_: &str| format!("match: {match_}\n    when: \"{when}\"");
        applies(&of("{ type: AUDIO }"), &known, on_known);
        applies(&of("{ type: AUDIO }"), &facts(), on_unknown);
        applies(&of("{ type: VIDEO }"), &known, Tri::False);
        let exempted = format!("{}\n    unless: {{ kind: STANDARD }}", of("{}"));
        applies(&exempted, &known, Tri::False);
    }
}

#[test]
fn the_trace_names_what_matched_or_may_have() {
    let mut facts = of_acme();
    facts.participant.attributes = Fact::Known(attributes(&[]));
    let policies = short(&[
        "mute acme/m 300",
        "exempt e 50 dry_run",
        "mute n 200 never",
        "mute globex/o",
        "mute p off",
        "mute q 100",
    ]);
    let mut decision = decide(&set(&policies), &facts, now());
    insta::assert_json_snapshot!("decision", decision);
    let json = serde_json::to_string(&decision).unwrap();
    let back: Decision = serde_json::from_str(&json).unwrap();
    assert_eq!(back, decision, "a stored decision reads back the same");
    let policies = short(&["mute m", "exempt e 200"]);
    decision = decide(&set(&policies), &facts, now());
    insta::assert_json_snapshot!("decision_exempted", decision);
}

#[test]
fn a_long_trace_is_cut_and_counted() {
    let lines: Vec<_> = (0..250).map(|n| format!("mute m{n:03}")).collect();
    let lines: Vec<_> = lines.iter().map(String::as_str).collect();
    let decision = decide(&set(&short(&lines)), &facts(), now());
    assert_eq!((decision.trace.len(), decision.trace_left_off), (200, 50));
    assert_eq!(in_words(&decision.enforced), "mute m000");
}
