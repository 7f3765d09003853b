//! Files of tests: run on the example policies, and some more.
#![no_main]

use std::path::Path;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use quell_fuzz::problems;
use quell_policy::case::CaseFile;
use quell_policy::{Document, Policy};

static POLICIES: LazyLock<Vec<Policy>> = LazyLock::new(|| {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../policies");
    let files = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{error}"));
    let mut texts: Vec<_> = files
        .filter_map(|file| {
            let path = file.ok()?.path();
            // Not `.test.yaml`, which are tests.
            let (_, extension) = path.file_name()?.to_str()?.split_once('.')?;
            let text = || std::fs::read_to_string(&path).ok();
            (extension == "yaml").then(text)?
        })
        .collect();
    texts.sort();
    let named = texts.iter().map(|text| ("policies.yaml", text.as_str()));
    match Document::load(named) {
        Ok(read) => read.value.policies,
        Err(problems) => panic!("{problems}"),
    }
});

fuzz_target!(|input: &[u8]| {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    let file = match CaseFile::read("policies.test.yaml", text) {
        Ok(file) => file,
        Err(refused) => return problems::check_in_text(&refused, text),
    };
    let report = match file.run(&POLICIES) {
        Ok(report) => report,
        Err(refused) => return problems::check_in_text(&refused, text),
    };
    assert_eq!(report.passed() + report.failed(), file.cases.len());
    assert_eq!(report.lines(true).count(), file.cases.len());
    assert_eq!(report.lines(false).count(), report.failed());
});
