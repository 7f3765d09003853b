//! quell alone: decisions, and how long it takes until a change of policies is in force.

use std::hint::black_box;

use chrono::TimeDelta;
use criterion::measurement::WallTime;
use criterion::{
    BatchSize, BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main,
};
use mimalloc::MiMalloc;
use quell_peers::mix::{HOURS, Rule, When, events, now, rules};
use quell_peers::ours::{facts, muted_by, policies, snapshot, when};
use quell_policy::{Change, Document, Expression, Facts, PolicySet, StoredPolicy, Window, decide};

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// How many events are asked about in turn.
const EVENTS: usize = 1_000;
/// Enough events that none finds its data still in the processor's caches from the round before.
const EVENTS_COLD: usize = 50_000;

/// Events of these tenants' rooms, one after the other.
fn asked(count: usize, rules: &[Rule], tenants: usize) -> Vec<Facts> {
    let of_tenant = |(n, event)| facts(event, &format!("tenant-{}", n % tenants));
    let read = events(count, rules);
    let made: Vec<_> = read.iter().enumerate().map(of_tenant).collect();
    // Copied: then the texts of an event lie side by side, as they do where it has just been read,
    // and not wherever the JSON that they are made from left a hole.
    made.clone()
}

fn decisions(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    set: &PolicySet,
    asked: &[Facts],
) {
    let matched: usize = asked
        .iter()
        .map(|facts| decide(set, facts, now()).trace.len())
        .sum();
    let muted = asked
        .iter()
        .filter(|facts| muted_by(&decide(set, facts, now())).is_some())
        .count();
    let each = |count: usize| count as f64 / asked.len() as f64;
    eprintln!(
        "{name}: {:.2} policies match an event, {:.2} mute it",
        each(matched),
        each(muted)
    );
    group.throughput(Throughput::Elements(asked.len() as u64));
    group.bench_function(name, |b| {
        b.iter(|| {
            for facts in asked {
                black_box(decide(set, black_box(facts), now()));
            }
        });
    });
}

fn decide_with_many(c: &mut Criterion) {
    let mut group = c.benchmark_group("decide");
    for (name, tenants, each) in [
        ("1_tenant_10000", 1, 10_000),
        ("1_tenant_100000", 1, 100_000),
        ("200_tenants_500", 200, 500),
    ] {
        let rules = rules(each);
        let set = snapshot(&policies(&rules, tenants));
        decisions(&mut group, name, &set, &asked(EVENTS, &rules, tenants));
        if tenants * each == 100_000 {
            let asked = asked(EVENTS_COLD, &rules, tenants);
            decisions(&mut group, &format!("{name}_cold"), &set, &asked);
        }
    }
    group.finish();
}

fn build(c: &mut Criterion) {
    let mut group = c.benchmark_group("build");
    group.sample_size(10);
    let policies = policies(&rules(100_000), 1);
    group.bench_function("checked_100000", |b| {
        b.iter_batched(|| (), |()| snapshot(&policies), BatchSize::PerIteration);
    });
    let rows: Vec<_> = policies.iter().map(StoredPolicy::first_revision).collect();
    group.bench_function("stored_100000", |b| {
        let build = |rows| PolicySet::from_stored(rows).unwrap();
        b.iter_batched(|| rows.clone(), build, BatchSize::PerIteration);
    });
    group.finish();
}

/// One policy of 100,000 is another than before.
fn change(c: &mut Criterion) {
    let mut group = c.benchmark_group("change");
    group.sample_size(20);
    for (name, tenants, each) in [
        ("1_tenant_100000", 1, 100_000),
        ("200_tenants_500", 200, 500),
    ] {
        let policies = policies(&rules(each), tenants);
        let set = snapshot(&policies);
        let mut policy = policies[each / 2].clone();
        policy.priority += 1;
        let change = Change {
            key: policy.key(),
            stored: Some(StoredPolicy::first_revision(&policy)),
        };
        group.bench_function(name, |b| {
            let change_one = |change| set.with_changes([change]).0;
            b.iter_batched(|| change.clone(), change_one, BatchSize::PerIteration);
        });
    }
    group.finish();
}

/// One condition of facts, of each form that is in the mix.
fn condition(c: &mut Criterion) {
    let asked = asked(EVENTS, &rules(1_000), 1);
    let mut group = c.benchmark_group("condition");
    group.throughput(Throughput::Elements(asked.len() as u64));
    for (name, form) in [
        ("number", When::Crowded(25)),
        ("text", When::NotStaff),
        ("list_in_metadata", When::Plan),
        ("number_deep_in_metadata", When::Level(3)),
        ("two_fields", When::Publishers(3)),
        ("attribute_is_there", When::Watched),
    ] {
        let expression = Expression::parse(&when(form)).unwrap();
        eprintln!("{name}: {}", expression.text());
        group.bench_function(name, |b| {
            b.iter(|| {
                for facts in &asked {
                    black_box(expression.holds(black_box(facts)));
                }
            });
        });
    }
    group.throughput(Throughput::Elements(1));
    let text = when(When::Level(3));
    group.bench_function("parse_and_check", |b| {
        b.iter(|| Expression::parse(black_box(&text)).unwrap());
    });
    group.finish();
}

/// One window, asked about a time in the stretch that it was asked about last, and in another one.
fn window(c: &mut Criterion) {
    let mut group = c.benchmark_group("window");
    group.throughput(Throughput::Elements(EVENTS as u64));
    for hours in [&HOURS[1], &HOURS[4]] {
        let window = Window::new(hours.cron, hours.duration, hours.timezone).unwrap();
        let same = vec![now(); EVENTS];
        let other: Vec<_> = (0..EVENTS as i64)
            .map(|n| now() + TimeDelta::hours(197 * n))
            .collect();
        for (name, times) in [("same_stretch", &same), ("another_stretch", &other)] {
            group.bench_function(format!("{name}_of_{}", hours.name), |b| {
                b.iter(|| {
                    for time in times {
                        black_box(window.is_open(black_box(*time)));
                    }
                });
            });
        }
    }
    group.finish();
}

/// Documents from strangers, which are refused.
fn refuse(c: &mut Criterion) {
    let mut group = c.benchmark_group("refuse");
    group.sample_size(10);
    let policy = |more: &str| {
        format!("policies:\n  - name: a\n    effect: mute\n    match: {{}}\n    {more}\n")
    };
    let nested = |depth: usize| format!("{}true{}", "(".repeat(depth), ")".repeat(depth));
    let rooms = (0..100_000)
        .map(|n| format!("room-{n}"))
        .collect::<Vec<_>>();
    let aliases = (1..10).fold("a0: &a0 [x, x]\n".to_owned(), |text, n| {
        let last = format!("*a{}, ", n - 1).repeat(9);
        text + &format!("a{n}: &a{n} [{last}]\n")
    });
    for (name, text) in [
        (
            "10_MB_of_YAML",
            policy(&format!("reason: {}", "x".repeat(10 << 20))),
        ),
        (
            "10000_nested_brackets",
            policy(&format!("when: '{}'", nested(10_000))),
        ),
        ("a_bomb_of_aliases", aliases + "policies: [*a9]\n"),
        (
            "a_list_of_100000",
            policy(&format!("unless: {{ room: [{}] }}", rooms.join(", "))),
        ),
    ] {
        group.bench_function(name, |b| {
            b.iter(|| Document::load([("p.yaml", black_box(text.as_str()))]).unwrap_err());
        });
    }
    group.finish();
}

criterion_group!(
    benches,
    decide_with_many,
    build,
    change,
    condition,
    window,
    refuse
);
criterion_main!(benches);
