//! How many bytes the policies of quell, and of the others, take once they are loaded, and how long
//! loading takes. Counts what is asked of the allocator and not given back, not what the process
//! has: so it is the same on every run and every machine of 64 bits.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use quell::policy::PolicySet;
use quell_peers::mix::rules;
use quell_peers::ours::{policies, stored};
use quell_peers::peer::{Casbin, Cedar, Cel, Form, Machine, Regorus, ranked};
use quell_peers::results::{Loaded, write};

struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

fn add(bytes: usize) {
    let live = LIVE.fetch_add(bytes, Ordering::Relaxed) + bytes;
    MOST.fetch_max(live, Ordering::Relaxed);
}

// SAFETY: everything is the system's; what is counted changes nothing of it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        add(layout.size());
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        add(bytes);
        unsafe { System.realloc(pointer, layout, bytes) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn loaded<T>(name: &str, rules: usize, load: impl FnOnce() -> T) -> Loaded {
    let before = LIVE.load(Ordering::Relaxed);
    MOST.store(before, Ordering::Relaxed);
    let begun = Instant::now();
    let kept = load();
    let seconds = begun.elapsed().as_secs_f64();
    let loaded = Loaded {
        name: name.to_owned(),
        rules,
        seconds,
        bytes: LIVE.load(Ordering::Relaxed) - before,
        bytes_most: MOST.load(Ordering::Relaxed) - before,
    };
    drop(kept);
    eprintln!(
        "{name}, {rules} rules: {:.1} MB ({:.1} MB while loading), loaded in {seconds:.3} s",
        loaded.bytes as f64 / 1e6,
        loaded.bytes_most as f64 / 1e6,
    );
    loaded
}

fn main() {
    let mut all = Vec::new();
    for (name, tenants, each) in [
        ("quell", 1, 10_000),
        ("quell", 1, 100_000),
        ("quell, 200 tenants", 200, 500),
    ] {
        let policies = policies(&rules(each), tenants);
        // From rows, as a snapshot of checked policies shares texts with them. The rows are made
        // and dropped in between.
        all.push(loaded(name, policies.len(), || {
            let rows: Vec<_> = policies.iter().map(stored).collect();
            PolicySet::from_stored(rows).unwrap()
        }));
    }
    let ranked = ranked(&rules(10_000));
    all.push(loaded("cel", ranked.len(), || Cel::load(&ranked)));
    all.push(loaded("cedar-policy", ranked.len(), || {
        Cedar::load(&ranked)
    }));
    all.push(loaded("casbin", ranked.len(), || Casbin::load(&ranked)));
    for (name, form, machine) in [
        ("regorus_rules", Form::Rules, Machine::Interpreter),
        ("regorus_data_interpreter", Form::Data, Machine::Interpreter),
        ("regorus_data_vm", Form::Data, Machine::Vm),
    ] {
        all.push(loaded(name, ranked.len(), || {
            let mut peer = Regorus::load(&ranked, form, machine);
            peer.warm_up();
            peer
        }));
    }
    write(&all);
}
