//! Files of policies: what is read is all that is written, and is written back to the same; what is
//! not read says why and where.
#![no_main]

use libfuzzer_sys::fuzz_target;
use quell_fuzz::{laws, problems};
use quell_policy::Document;

fuzz_target!(|input: &[u8]| {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    let checked = match Document::load([("policies.yaml", text)]) {
        Ok(checked) => checked,
        Err(refused) => return problems::check_in_text(&refused, text),
    };
    for warning in &checked.warnings {
        problems::check_message(warning);
        problems::check_place(warning, text);
    }
    let written = checked
        .value
        .to_yaml()
        .unwrap_or_else(|error| panic!("cannot be written: {error}"));
    match Document::load([("again.yaml", written.as_str())]) {
        Ok(again) => assert_eq!(again.value, checked.value, "{written}"),
        Err(refused) => panic!("what is written cannot be read: {refused}\n{written}"),
    }
    laws::nothing_is_lost(&checked.value.policies, text);
    laws::check(&checked.value.policies, input);
});
