//! `src/policy` by itself, and what several targets ask of what it reads.
//!
//! ```text
//! bytes --target--> read -- refused --> the problems are clear, and in the text
//!                     '---- read -----> written, read again: the same; decides by its laws
//! ```

#[path = "../../src/policy/mod.rs"]
pub mod policy;
#[path = "../../src/terminal.rs"]
mod terminal;

pub mod laws;
pub mod problems;
pub mod samples;
