//! What is measured other than by criterion, kept in a file for the table.

use std::path::PathBuf;

use serde_json::{Value, json};

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

fn file() -> PathBuf {
    target_dir().join("loaded.json")
}

/// Keeps this for the table.
pub fn write(all: &[Loaded]) {
    let row = |loaded: &Loaded| {
        json!({
            "name": loaded.name, "rules": loaded.rules, "seconds": loaded.seconds,
            "bytes": loaded.bytes, "bytes_most": loaded.bytes_most,
        })
    };
    let rows: Vec<Value> = all.iter().map(row).collect();
    std::fs::write(file(), json!(rows).to_string()).unwrap();
}

/// What was kept last.
pub fn read() -> Vec<Loaded> {
    let Ok(text) = std::fs::read_to_string(file()) else {
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
