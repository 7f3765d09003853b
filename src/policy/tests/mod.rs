mod documents;
mod examples;
mod generate;
mod globs;
mod laws;
mod make;
mod sets;
mod tables;
