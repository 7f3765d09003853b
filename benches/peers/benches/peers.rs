//! quell beside the others on the same rules and events. First all must decide alike.

use std::hint::black_box;
use std::time::Duration;

use criterion::measurement::WallTime;
use criterion::{
    BenchmarkGroup, Criterion, SamplingMode, Throughput, criterion_group, criterion_main,
};
use mimalloc::MiMalloc;
use quell_peers::mix::{Event, events, now, rules};
use quell_peers::ours::{self, TENANT, facts};
use quell_peers::peer::{Casbin, Cedar, Cel, Form, Machine, Peer, Regorus, ranked};
use quell_peers::proof::{agree, decided};
use quell_policy::{Facts, decide};

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

const RULES: usize = 10_000;
/// How many events all engines must decide alike.
const EVENTS_PROVEN: usize = 500;
/// How many of those events are timed, all in one go.
const EVENTS_TIMED: usize = 100;

struct Peers<'c> {
    group: BenchmarkGroup<'c, WallTime>,
    rules: Vec<quell_peers::mix::Rule>,
    events: Vec<Event>,
    decided: Vec<Option<String>>,
}

impl Peers<'_> {
    fn run<P: Peer>(&mut self, name: &str, mut peer: P) {
        agree(name, &mut peer, &self.rules, &self.events, &self.decided);
        eprintln!("{name}: decides {EVENTS_PROVEN} events as quell does");
        let asked: Vec<_> = self
            .events
            .iter()
            .take(EVENTS_TIMED)
            .map(|event| peer.prepare(event))
            .collect();
        self.group.bench_function(name, |b| {
            b.iter(|| {
                for asked in &asked {
                    black_box(peer.first(black_box(asked)));
                }
            });
        });
    }
}

fn peers(c: &mut Criterion) {
    let rules = rules(RULES);
    let events = events(EVENTS_PROVEN, &rules);
    let decided = decided(&rules, &events);
    let mut group = c.benchmark_group("peers");
    group.throughput(Throughput::Elements(EVENTS_TIMED as u64));

    let set = ours::snapshot(&ours::policies(&rules, 1));
    let asked: Vec<Facts> = events
        .iter()
        .take(EVENTS_TIMED)
        .map(|event| facts(event, TENANT))
        .collect();
    group.bench_function("quell", |b| {
        b.iter(|| {
            for facts in &asked {
                black_box(decide(&set, black_box(facts), now()));
            }
        });
    });

    group.sample_size(10);
    group.sampling_mode(SamplingMode::Flat);
    group.warm_up_time(Duration::from_secs(1));
    let ranked = ranked(&rules);
    let mut peers = Peers {
        group,
        rules,
        events,
        decided,
    };
    peers.run("cel", Cel::load(&ranked));
    peers.run("cedar-policy", Cedar::load(&ranked));
    peers.run("casbin", Casbin::load(&ranked));
    let regorus = |form, machine| Regorus::load(&ranked, form, machine);
    peers.run("regorus_rules", regorus(Form::Rules, Machine::Interpreter));
    peers.run(
        "regorus_data_interpreter",
        regorus(Form::Data, Machine::Interpreter),
    );
    peers.run("regorus_data_vm", regorus(Form::Data, Machine::Vm));
    peers.group.finish();
}

criterion_group!(benches, peers);
criterion_main!(benches);
