//! Delta debugging over a list.

/// The part of `list` for which `fails` still holds and from which no single element can be left out. `fails` is not asked about the whole
/// list, of which it is known; a later answer may not depend on earlier ones.
pub fn ddmin<T: Clone>(mut list: Vec<T>, fails: &mut impl FnMut(&[T]) -> bool) -> Vec<T> {
    if list.is_empty() || fails(&[]) {
        return Vec::new();
    }
    let mut parts = 2;
    while list.len() > 1 {
        let size = list.len().div_ceil(parts);
        let starts: Vec<usize> = (0..list.len()).step_by(size).collect();
        let part = |start: &usize| list[*start..list.len().min(start + size)].to_vec();
        let rest = |start: &usize| [&list[..*start], &list[list.len().min(start + size)..]].concat();
        if let Some(kept) = starts.iter().map(part).find(|kept| fails(kept)) {
            (list, parts) = (kept, 2);
        } else if let Some(kept) = starts.iter().filter(|_| parts > 2).map(rest).find(|kept| fails(kept)) {
            // With two parts, what one leaves out is the other.
            (list, parts) = (kept, (parts - 1).max(2));
        } else if parts < list.len() {
            parts = (parts * 2).min(list.len());
        } else {
            break;
        }
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_needed_is_left_and_nothing_else() {
        let numbers: Vec<u32> = (0..40).collect();
        let cases: [&[u32]; 6] = [&[], &[7], &[39], &[0, 39], &[3, 4, 5], &[1, 8, 17, 30, 31]];
        for needed in cases {
            let mut asked = 0;
            let left = ddmin(numbers.clone(), &mut |kept| {
                asked += 1;
                needed.iter().all(|number| kept.contains(number))
            });
            assert_eq!(left, needed);
            assert!(asked < 200, "{asked} questions for {needed:?}");
        }
        assert!(ddmin(Vec::<u32>::new(), &mut |_| false).is_empty());
    }

    #[test]
    fn with_alternatives_one_is_left_from_which_nothing_can_go() {
        let left = ddmin((0..9).collect(), &mut |kept: &[i32]| kept.len() >= 2 && kept.iter().any(|n| n % 2 == 1));
        assert_eq!(left.len(), 2);
    }
}
