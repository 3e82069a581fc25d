//! "Did you mean …?"

/// A hint that names the candidate most like `word`, or all candidates if none is like it and they are few.
pub(crate) fn hint<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let candidates: Vec<&str> = candidates.into_iter().collect();
    let near = candidates
        .iter()
        .filter(|candidate| candidate.len().abs_diff(word.len()) <= 3)
        .map(|candidate| (distance(word, candidate), *candidate))
        .filter(|(distance, candidate)| *distance <= (candidate.chars().count() / 3).max(1))
        .min();
    match near {
        Some((_, candidate)) => Some(format!("did you mean '{candidate}'?")),
        None if candidates.is_empty() || candidates.len() > 24 => None,
        None => Some(format!("known are {}", candidates.join(", "))),
    }
}

/// Least number of characters to insert, delete or replace.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replace = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = replace.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_words_are_suggested_and_far_ones_are_not() {
        assert_eq!(
            hint("adresses", ["addresses", "device"]).as_deref(),
            Some("did you mean 'addresses'?")
        );
        assert_eq!(hint("prd", ["prod", "dev"]).as_deref(), Some("did you mean 'prod'?"));
        assert_eq!(hint("xyzzy", ["prod", "dev"]).as_deref(), Some("known are prod, dev"));
        assert_eq!(hint("xyzzy", []), None);
    }

    #[test]
    fn distance_counts_edits() {
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("same", "same"), 0);
    }
}
