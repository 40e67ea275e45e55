//! Suggestions for misspelled names.

/// The candidate with the smallest edit distance to `name`, if it is small enough for a typing error. Case is ignored.
pub fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (name.chars().count() / 3).max(1);
    let upper = name.to_uppercase();
    candidates.map(|c| (edit_distance(&upper, &c.to_uppercase()), c)).filter(|(d, _)| *d <= limit).min().map(|(_, c)| c)
}

/// The edit distance (optimal string alignment): insertions, deletions, replacements and swaps of neighbours.
fn edit_distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before: Vec<usize> = vec![0; b.len() + 1];
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for i in 0..a.len() {
        let mut next = vec![i + 1; b.len() + 1];
        for j in 0..b.len() {
            let mut best = (row[j] + usize::from(a[i] != b[j])).min(next[j] + 1).min(row[j + 1] + 1);
            if i > 0 && j > 0 && a[i] == b[j - 1] && a[i - 1] == b[j] {
                best = best.min(before[j - 1] + 1);
            }
            next[j + 1] = best;
        }
        before = std::mem::replace(&mut row, next);
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_nearest_name_only_when_it_is_near() {
        let names = ["SELECT", "FROM", "WHERE"];
        assert_eq!(nearest("selct", names.into_iter()), Some("SELECT"));
        assert_eq!(nearest("FORM", names.into_iter()), Some("FROM"));
        assert_eq!(nearest("apple", names.into_iter()), None);
    }
}
