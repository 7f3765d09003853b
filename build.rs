//! Builds again when a migration is added: `sqlx::migrate!` only watches those that it has seen.

fn main() {
    println!("cargo::rerun-if-changed=migrations");
}
