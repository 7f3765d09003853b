mod documents;
mod examples;
pub(in crate::policy) mod generate;
mod globs;
mod laws;
pub(in crate::policy) mod make;
mod manual;
mod sets;
mod tables;
