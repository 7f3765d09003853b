//! How many bytes rules take once they are loaded, and how long loading takes.
//!
//! Counted is what is asked of the allocator and not given back, not what the process has: so it is
//! the same on every run and every machine of 64 bits.

use std::alloc::{GlobalAlloc, Layout, System};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use serde_json::{Value, json};

/// The system's allocator, and how much of it is in use.
pub struct Counting;

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

/// Loads rules and drops them again. The program's allocator must be [`Counting`].
pub fn loaded<T>(name: &str, rules: usize, load: impl FnOnce() -> T) -> Loaded {
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

/// How much it takes to have rules loaded.
pub struct Loaded {
    pub name: String,
    pub rules: usize,
    pub seconds: f64,
    /// Once it is loaded.
    pub bytes: usize,
    /// The most at any time meanwhile.
    pub bytes_most: usize,
}

/// Where cargo and criterion put what they make.
pub fn target_dir() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from)
}

fn file(of: &str) -> PathBuf {
    target_dir().join(format!("{of}.json"))
}

/// Keeps this for the table, under this name.
pub fn write(of: &str, all: &[Loaded]) {
    let row = |loaded: &Loaded| {
        json!({
            "name": loaded.name, "rules": loaded.rules, "seconds": loaded.seconds,
            "bytes": loaded.bytes, "bytes_most": loaded.bytes_most,
        })
    };
    let rows: Vec<Value> = all.iter().map(row).collect();
    std::fs::write(file(of), json!(rows).to_string()).unwrap();
}

/// What was kept last under this name.
pub fn read(of: &str) -> Vec<Loaded> {
    let Ok(text) = std::fs::read_to_string(file(of)) else {
        return Vec::new();
    };
    let rows: Vec<Value> = serde_json::from_str(&text).unwrap();
    let number = |row: &Value, key: &str| usize::try_from(row[key].as_u64().unwrap()).unwrap();
    rows.iter()
        .map(|row| Loaded {
            name: row["name"].as_str().unwrap().to_owned(),
            rules: number(row, "rules"),
            seconds: row["seconds"].as_f64().unwrap(),
            bytes: number(row, "bytes"),
            bytes_most: number(row, "bytes_most"),
        })
        .collect()
}
