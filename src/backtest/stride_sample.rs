//! A sample of a stream, evenly spaced over it, in bounded memory.

/// Keeps every `step`th item, at most `2 * wanted` of them: whenever it is full, it drops every other
/// item and doubles the step.
#[derive(Debug)]
pub(super) struct StrideSample<T> {
    wanted: usize,
    step: usize,
    seen: usize,
    kept: Vec<T>,
}

impl<T> StrideSample<T> {
    pub(super) fn new(wanted: usize) -> Self {
        Self {
            wanted,
            step: 1,
            seen: 0,
            kept: Vec::new(),
        }
    }

    /// Offers the next item; `make` is called only where the item is kept.
    pub(super) fn offer(&mut self, make: impl FnOnce() -> T) {
        if self.wanted == 0 {
            return;
        }
        if self.seen.is_multiple_of(self.step) {
            if self.kept.len() == self.wanted.saturating_mul(2) {
                every(&mut self.kept, 2);
                self.step = self.step.saturating_mul(2);
            }
            // The doubled step may leave this one out.
            if self.seen.is_multiple_of(self.step) {
                self.kept.push(make());
            }
        }
        self.seen += 1;
    }

    /// At most `wanted` items, the first item of the stream among them.
    pub(super) fn finish(mut self) -> Vec<T> {
        if self.kept.len() > self.wanted {
            let (len, wanted) = (self.kept.len(), self.wanted);
            let mut index = 0;
            self.kept.retain(|_| {
                // Keeps `wanted` of `len`, with gaps that differ by one at most.
                let keep = (index * wanted) % len < wanted;
                index += 1;
                keep
            });
        }
        self.kept
    }
}

fn every<T>(items: &mut Vec<T>, step: usize) {
    let mut index = 0;
    items.retain(|_| {
        index += 1;
        (index - 1) % step == 0
    });
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(wanted: usize, count: usize) -> Vec<usize> {
        let mut sample = StrideSample::new(wanted);
        for item in 0..count {
            sample.offer(|| item);
        }
        sample.finish()
    }

    #[test]
    fn few_are_all_kept_and_many_are_spread() {
        assert_eq!(of(3, 2), [0, 1]);
        assert_eq!(of(3, 3), [0, 1, 2]);
        assert_eq!(of(2, 4), [0, 2]);
        assert_eq!(of(0, 10), [0; 0]);
    }

    proptest! {
        #[test]
        fn as_many_as_wanted_in_order_with_even_gaps(wanted in 1..20_usize, count in 0..3_000_usize) {
            let kept = of(wanted, count);
            prop_assert_eq!(kept.len(), wanted.min(count));
            let gaps: Vec<_> = kept.iter().zip(kept.iter().skip(1)).map(|(a, b)| b - a).collect();
            prop_assert!(kept.first().is_none_or(|first| *first == 0));
            if let (Some(least), Some(most)) = (gaps.iter().min(), gaps.iter().max()) {
                prop_assert!(*least >= 1 && *most <= least * 2, "{:?}", kept);
                let last = kept.last().unwrap();
                prop_assert!(count - last <= 4 * most, "{kept:?} of {count}");
            }
        }
    }
}
