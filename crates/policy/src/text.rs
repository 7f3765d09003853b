//! Texts of participants and rooms that conditions read whole: how long they may be, what reading them comes to,
//! and how often a decision does it.
//!
//! ```text
//! policies of an owner --reads--> TextWork (bounded when written)
//! their `contains` literals --> Needles --+
//! facts of a decision ---------------------+--> TextReader: a pass over a text for all needles of one length
//! ```
//!
//! Literal comparisons, `startsWith` and `endsWith` read no more than the literal, and are not counted.

mod needles;
mod reader;
mod rolling;
#[cfg(test)]
mod tests;
mod work;

pub(crate) use needles::Needles;
pub(crate) use reader::{PairTest, TextLimit, TextReader};
pub use work::{TextFact, TextRead, TextWork};
