//! Patterns to parts: which letters there are, and how often each may be repeated.

use super::Part;
use std::iter::Peekable;
use std::str::Chars;

/// The most digits of a second's fraction.
const FRACTION_DIGITS_MAX: usize = 9;

/// The parts of a pattern, or Java's words for what is wrong with it.
pub(super) fn parts(pattern: &str) -> Result<Vec<Part>, String> {
    let mut stack: Vec<Vec<Part>> = vec![Vec::new()];
    let mut chars = pattern.chars().peekable();
    while let Some(c) = chars.next() {
        let part = match c {
            '\'' => Part::Literal(
                quoted(&mut chars)
                    .ok_or_else(|| format!("Pattern ends with an incomplete string literal: {pattern}"))?,
            ),
            '[' => {
                stack.push(Vec::new());
                continue;
            }
            ']' => match stack.pop() {
                Some(inner) if !stack.is_empty() => Part::Optional(inner),
                _ => return Err("Pattern invalid as it contains ] without previous [".to_owned()),
            },
            'p' => {
                let width = repeated('p', &mut chars);
                let letter = chars
                    .next()
                    .filter(|c| c.is_ascii_alphabetic() && *c != 'p')
                    .ok_or_else(|| format!("Pad letter 'p' must be followed by valid pad pattern: {pattern}"))?;
                let count = repeated(letter, &mut chars);
                check(letter, count)?;
                Part::Padded(width, letter, count)
            }
            c if c.is_ascii_alphabetic() => {
                let count = repeated(c, &mut chars);
                check(c, count)?;
                Part::Field(c, count)
            }
            '{' | '}' | '#' => return Err(format!("Pattern includes reserved character: '{c}'")),
            c => Part::Literal(c.to_string()),
        };
        stack.last_mut().expect("the outermost list is never closed").push(part);
    }
    // Java closes what is open at the end.
    while stack.len() > 1 {
        let inner = stack.pop().unwrap_or_default();
        stack.last_mut().expect("the outermost list is never closed").push(Part::Optional(inner));
    }
    Ok(stack.pop().unwrap_or_default())
}

/// The text after an opening quote; `None` = it is not closed.
fn quoted(chars: &mut Peekable<Chars<'_>>) -> Option<String> {
    if chars.next_if_eq(&'\'').is_some() {
        return Some("'".to_owned());
    }
    let mut text = String::new();
    loop {
        match chars.next()? {
            '\'' if chars.next_if_eq(&'\'').is_some() => text.push('\''),
            '\'' => return Some(text),
            c => text.push(c),
        }
    }
}

/// How often the letter just read is repeated.
fn repeated(letter: char, chars: &mut Peekable<Chars<'_>>) -> usize {
    let mut count = 1;
    while chars.next_if_eq(&letter).is_some() {
        count += 1;
    }
    count
}

fn check(letter: char, count: usize) -> Result<(), String> {
    let most = match letter {
        'u' | 'y' | 'Y' | 'A' | 'n' | 'N' | 'g' => 19,
        'M' | 'L' | 'Q' | 'q' | 'E' | 'e' | 'c' | 'G' | 'X' | 'x' | 'Z' => 5,
        'd' | 'h' | 'H' | 'k' | 'K' | 'm' | 's' | 'w' => 2,
        'a' | 'F' | 'W' => 1,
        'D' => 3,
        'z' => 4,
        'S' if count > FRACTION_DIGITS_MAX => {
            return Err(format!("Maximum width must be from 1 to {FRACTION_DIGITS_MAX} inclusive but was {count}"));
        }
        'S' => FRACTION_DIGITS_MAX,
        'V' if count != 2 => return Err("Pattern letter count must be 2: V".to_owned()),
        'O' if count != 1 && count != 4 => return Err("Pattern letter count must be 1 or 4: O".to_owned()),
        'v' if count != 1 && count != 4 => return Err("Wrong number of pattern letters: v".to_owned()),
        'V' | 'O' | 'v' => 4,
        _ => return Err(format!("Unknown pattern letter: {letter}")),
    };
    if letter == 'c' && count == 2 {
        return Err("Invalid pattern \"cc\"".to_owned());
    }
    if count > most {
        return Err(format!("Too many pattern letters: {letter}"));
    }
    Ok(())
}
