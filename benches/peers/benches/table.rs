//! Prints the tables of `docs/BENCHMARKS.md` from what was measured last.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use quell_peers::loaded::{Loaded, read, target_dir};
use serde_json::Value;

/// What is measured of quell alone: criterion's name, ours, and the goal in seconds.
const OURS: &[(&str, &str, Option<f64>)] = &[
    (
        "decide/1_tenant_100000",
        "decide on an event, 100,000 policies of one tenant",
        Some(0.5e-6),
    ),
    (
        "decide/1_tenant_100000_cold",
        "the same, 50,000 events in turn",
        None,
    ),
    (
        "decide/200_tenants_500",
        "decide on an event, 500 policies of each of 200 tenants",
        Some(0.5e-6),
    ),
    (
        "decide/200_tenants_500_cold",
        "the same, 50,000 events in turn",
        None,
    ),
    (
        "decide/1_tenant_10000",
        "decide on an event, 10,000 policies of one tenant",
        None,
    ),
    (
        "build/checked_100000",
        "build the snapshot of 100,000 checked policies",
        Some(0.250),
    ),
    (
        "build/stored_100000",
        "the same from stored rows, which are checked first",
        None,
    ),
    (
        "change/1_tenant_100000",
        "change one policy of a tenant's 100,000",
        None,
    ),
    (
        "change/200_tenants_500",
        "change one policy of 200 tenants' 500 each",
        None,
    ),
];

/// The others; the first is what all are compared with.
const PEERS: &[(&str, &str)] = &[
    ("quell", "quell"),
    ("cel", "cel: a program for each rule"),
    ("cedar-policy", "cedar-policy: a policy for each rule"),
    ("casbin", "casbin: a line for each rule"),
    ("regorus_rules", "regorus: a rule for each rule"),
    (
        "regorus_data_interpreter",
        "regorus: data by room and identity, interpreter",
    ),
    (
        "regorus_data_vm",
        "regorus: data by room and identity, virtual machine",
    ),
];

/// A median of seconds, and where it lies with 95 % confidence.
struct Measured {
    seconds: f64,
    low: f64,
    high: f64,
}

fn main() {
    println!("{}", machine());
    let criterion = target_dir().join("criterion");
    println!("| | measured | 95 % between | goal |\n|---|---|---|---|");
    for (id, name, goal) in OURS {
        if let Some(measured) = measured(&criterion, id) {
            println!("{}", row(name, &measured, *goal));
        }
    }
    for (id, name, goal) in parts(&criterion) {
        if let Some(measured) = measured(&criterion, &id) {
            println!("{}", row(&name, &measured, goal));
        }
    }
    for of in read("memory") {
        let goal = if of.rules == 100_000 { "100 MB" } else { "" };
        let (name, rules) = (&of.name, thousands(of.rules));
        println!(
            "| memory of {rules} policies ({name}) | {} | | {goal} |",
            megabytes(of.bytes)
        );
    }
    println!();
    println!("| 10,000 rules | an event | 95 % between | beside quell | loaded in | memory |");
    println!("|---|---|---|---|---|---|");
    let quell = measured(&criterion, "peers/quell");
    let loaded = read("peers_memory");
    for (id, name) in PEERS {
        let Some(theirs) = measured(&criterion, &format!("peers/{id}")) else {
            continue;
        };
        let times = quell
            .as_ref()
            .map_or(f64::NAN, |quell| theirs.seconds / quell.seconds);
        let of = loaded
            .iter()
            .find(|of| of.name == *id && of.rules <= 10_000);
        println!(
            "| {name} | {} | {} to {} | {} | {} | {} |",
            time(theirs.seconds),
            time(theirs.low),
            time(theirs.high),
            if *id == "quell" {
                "1".to_owned()
            } else {
                format!("{} times", thousands(times as usize))
            },
            of.map_or(String::new(), |of| time(of.seconds)),
            of.map_or(String::new(), |of: &Loaded| megabytes(of.bytes)),
        );
    }
}

fn row(name: &str, measured: &Measured, goal: Option<f64>) -> String {
    format!(
        "| {name} | {} | {} to {} | {} |",
        time(measured.seconds),
        time(measured.low),
        time(measured.high),
        goal.map_or(String::new(), time),
    )
}

/// Conditions, windows and documents that are refused, as many as there are.
fn parts(criterion: &Path) -> Vec<(String, String, Option<f64>)> {
    let mut parts = Vec::new();
    for (group, goal) in [
        ("condition", Some(50e-9)),
        ("window", None),
        ("refuse", None),
    ] {
        let Ok(entries) = criterion.join(group).read_dir() else {
            continue;
        };
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.filter(|name| name != "report").collect();
        names.sort();
        for name in names {
            let id = format!("{group}/{name}");
            let goal = goal.filter(|_| !name.starts_with("parse"));
            parts.push((id, format!("{group}: {}", name.replace('_', " ")), goal));
        }
    }
    parts
}

fn measured(criterion: &Path, id: &str) -> Option<Measured> {
    let json = |name: &str| -> Option<Value> {
        let text = std::fs::read_to_string(criterion.join(id).join("new").join(name)).ok()?;
        serde_json::from_str(&text).ok()
    };
    let (estimates, benchmark) = (json("estimates.json")?, json("benchmark.json")?);
    let elements = benchmark["throughput"]["Elements"].as_f64().unwrap_or(1.0);
    let median = &estimates["median"];
    let seconds = |value: &Value| value.as_f64().map(|ns| ns / elements / 1e9);
    Some(Measured {
        seconds: seconds(&median["point_estimate"])?,
        low: seconds(&median["confidence_interval"]["lower_bound"])?,
        high: seconds(&median["confidence_interval"]["upper_bound"])?,
    })
}

/// Three digits that count.
fn time(seconds: f64) -> String {
    let (value, unit) = match seconds {
        s if s < 1e-6 => (s * 1e9, "ns"),
        s if s < 1e-3 => (s * 1e6, "us"),
        s if s < 1.0 => (s * 1e3, "ms"),
        s => (s, "s"),
    };
    let digits = match value {
        v if v < 10.0 => 2,
        v if v < 100.0 => 1,
        _ => 0,
    };
    format!("{value:.digits$} {unit}")
}

fn megabytes(bytes: usize) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// What it was measured on.
fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let field = |text: &str, key: &str, between: char| {
        let line = text.lines().find(|line| line.starts_with(key))?;
        Some(
            line.split_once(between)?
                .1
                .trim()
                .trim_matches('"')
                .to_owned(),
        )
    };
    let output = |program: &str, argument: &str| {
        let output = Command::new(program).arg(argument).output().ok()?;
        Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let cores = std::thread::available_parallelism().map_or(0, |cores| cores.get());
    let mut text = "| | |\n|---|---|\n".to_owned();
    for (key, value) in [
        (
            "processor",
            field(&read("/proc/cpuinfo"), "model name", ':'),
        ),
        ("cores", Some(cores.to_string())),
        (
            "system",
            field(&read("/etc/os-release"), "PRETTY_NAME", '='),
        ),
        ("kernel", output("uname", "-sr")),
        ("compiler", output("rustc", "--version")),
        (
            "busy with (load of the last minute)",
            read("/proc/loadavg").split(' ').next().map(str::to_owned),
        ),
        ("engines", Some(versions())),
    ] {
        let _ = writeln!(text, "| {key} | {} |", value.unwrap_or_default());
    }
    text
}

/// The versions of the others, as they are locked.
fn versions() -> String {
    let lock = include_str!("../Cargo.lock");
    let version = |name: &str| {
        let entry = lock
            .split_once(&format!("name = \"{name}\"\nversion = \""))?
            .1;
        Some(format!("{name} {}", entry.split_once('"')?.0))
    };
    ["cel", "cedar-policy", "casbin", "regorus"]
        .into_iter()
        .filter_map(version)
        .collect::<Vec<_>>()
        .join(", ")
}
