//! A page by keys (keyset pagination) of a list that comes whole and in no order.

use std::collections::BTreeMap;

/// The first elements behind a name, by name: at most so many, and so many bytes; at least one.
#[derive(Debug)]
pub(super) struct KeysetPage<Element> {
    after: Option<String>,
    count_max: usize,
    bytes_max: usize,
    kept: BTreeMap<String, (Element, usize)>,
    bytes: usize,
    /// The first name that was left out: those behind it are, too.
    cut_at: Option<String>,
}

impl<Element> KeysetPage<Element> {
    pub(super) fn new(after: Option<String>, count_max: usize, bytes_max: usize) -> Self {
        Self {
            after,
            count_max,
            bytes_max,
            kept: BTreeMap::new(),
            bytes: 0,
            cut_at: None,
        }
    }

    pub(super) fn add(&mut self, name: String, element: Element, bytes: usize) {
        let is_before = self.after.as_ref().is_some_and(|after| name <= *after);
        if is_before || self.cut_at.as_ref().is_some_and(|cut_at| name >= *cut_at) {
            return;
        }
        self.bytes += bytes;
        if let Some((_, bytes)) = self.kept.insert(name, (element, bytes)) {
            self.bytes -= bytes;
        }
        while self.kept.len() > self.count_max.max(1)
            || self.bytes > self.bytes_max && self.kept.len() > 1
        {
            let Some((name, (_, bytes))) = self.kept.pop_last() else {
                return;
            };
            self.bytes -= bytes;
            self.cut_at = Some(name);
        }
    }

    /// Them, and the name behind which the next page begins.
    pub(super) fn into_elements(self) -> (Vec<Element>, Option<String>) {
        let next = self.kept.last_key_value().filter(|_| self.cut_at.is_some());
        let next = next.map(|(name, _)| name.clone());
        let elements = self.kept.into_values().map(|(element, _)| element);
        (elements.collect(), next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every element of one byte, but those of `large`.
    fn pages(count_max: usize, bytes_max: usize, names: &[&str], large: &[&str]) -> Vec<String> {
        let (mut pages, mut after) = (Vec::new(), None);
        loop {
            let mut page = KeysetPage::new(after.take(), count_max, bytes_max);
            for name in names {
                let bytes = if large.contains(name) { 10 } else { 1 };
                page.add((*name).to_owned(), *name, bytes);
            }
            let (page, next) = page.into_elements();
            pages.push(page.concat());
            if next.is_none() {
                return pages;
            }
            after = next;
        }
    }

    #[test]
    fn pages_hold_every_element_once_in_order_whatever_the_order_in_which_they_come() {
        let names = ["d", "a", "g", "c", "b", "f", "e"];
        assert_eq!(pages(3, 100, &names, &[]), ["abc", "def", "g"]);
        assert_eq!(pages(7, 100, &names, &[]), ["abcdefg"]);
        assert_eq!(pages(5, 3, &names, &[]), ["abc", "def", "g"]);
        // One that is larger than a page is a page of its own.
        assert_eq!(pages(5, 3, &names, &["c"]), ["ab", "c", "def", "g"]);
        assert_eq!(pages(5, 3, &names, &["g"]), ["abc", "def", "g"]);
        assert_eq!(pages(5, 3, &[], &[]), [""]);
    }
}
