mod brute;
mod documents;
mod lines;
mod oracle;
mod schedules;
mod states;
mod write;
mod zones;
