//! The text of one file of policies or tests.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use anyhow::Context as _;
use quell_policy::limits::DOCUMENT_BYTES_MAX;

/// The text of a file; of one that is too long, enough to be refused for it.
pub(super) fn text_of(file: &Path) -> anyhow::Result<String> {
    let failed = || format!("{} cannot be read", file.display());
    let mut bytes = Vec::new();
    // One byte more than is allowed is enough to be told that it is too long.
    let limit = u64::try_from(DOCUMENT_BYTES_MAX)?.saturating_add(1);
    File::open(file)
        .with_context(failed)?
        .take(limit)
        .read_to_end(&mut bytes)
        .with_context(failed)?;
    if bytes.len() > DOCUMENT_BYTES_MAX {
        // Its end may be in the midst of a letter; it is refused for its length.
        return Ok(String::from_utf8_lossy(&bytes).into_owned());
    }
    String::from_utf8(bytes).map_err(|error| {
        anyhow::anyhow!(
            "{} is not UTF-8 text: the byte at {} is not; save it as UTF-8",
            file.display(),
            error.utf8_error().valid_up_to()
        )
    })
}

#[cfg(test)]
mod tests {
    use quell_policy::Document;

    use super::*;

    fn text(bytes: &[u8]) -> Result<String, String> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("p.yaml");
        std::fs::write(&file, bytes).unwrap();
        let told = |error: anyhow::Error| format!("{error:#}");
        text_of(&file)
            .map_err(told)
            .map_err(|error| error.replace(&file.display().to_string(), "p.yaml"))
    }

    #[test]
    fn a_file_that_is_no_text_says_so() {
        for (bytes, says) in [
            (b"a: \xff".as_slice(), "the byte at 3"),
            (b"a: \xc3", "the byte at 3"),
            (b"\xff\xfea\0", "the byte at 0"),
            (b"\xfe\xff\0a", "the byte at 0"),
            (b"\xed\xa0\x80", "the byte at 0"),
        ] {
            let expected = format!("p.yaml is not UTF-8 text: {says} is not; save it as UTF-8");
            assert_eq!(text(bytes), Err(expected), "{bytes:?}");
        }
    }

    /// No more of it is read than is needed to refuse it, wherever that cuts a letter.
    #[test]
    fn a_file_that_is_too_long_is_refused_for_its_length() {
        let long = "é".repeat(5 << 20);
        for text_of_file in [long.clone(), format!("x{long}"), "x".repeat(10 << 20)] {
            let read = text(text_of_file.as_bytes()).unwrap();
            assert!(read.len() < DOCUMENT_BYTES_MAX + 8);
            let refused = Document::load([("p.yaml", read.as_str())]).unwrap_err();
            let says = "p.yaml: this has more than 1048576 bytes; split it";
            assert_eq!(refused.to_string(), says);
        }
        let fits = "x".repeat(DOCUMENT_BYTES_MAX);
        assert_eq!(text(fits.as_bytes()), Ok(fits));
    }
}
