//! Suppression against somebody who knows the table but for what is suppressed, and solves for it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use graduated_response::domain::suppression::{suppress_line, suppress_table};
use proptest::prelude::*;

const LIMIT: u64 = 6;

/// A prime: what is told over the whole numbers is told modulo it.
const MODULUS: i128 = 1_000_000_007;

fn inverse(value: i128) -> i128 {
    let (mut base, mut power, mut result) = (value.rem_euclid(MODULUS), MODULUS - 2, 1);
    while power > 0 {
        if power & 1 == 1 {
            result = result * base % MODULUS;
        }
        base = base * base % MODULUS;
        power >>= 1;
    }
    result
}

/// Which unknowns of a system of equations have one value only: those alone in a row of its reduced form.
fn told(mut equations: Vec<Vec<i128>>, unknowns: usize) -> Vec<usize> {
    let mut rank = 0;
    for column in 0..unknowns {
        let Some(pivot) = (rank..equations.len()).find(|row| equations[*row][column] != 0) else {
            continue;
        };
        equations.swap(rank, pivot);
        let scale = inverse(equations[rank][column]);
        for value in &mut equations[rank] {
            *value = *value * scale % MODULUS;
        }
        let reduced = equations[rank].clone();
        for (row, equation) in equations.iter_mut().enumerate() {
            if row != rank && equation[column] != 0 {
                let factor = equation[column];
                for (value, of_pivot) in equation.iter_mut().zip(&reduced) {
                    *value = (*value - factor * of_pivot).rem_euclid(MODULUS);
                }
            }
        }
        rank += 1;
    }
    let alone = equations.iter().filter_map(|equation| {
        let mut places = (0..unknowns).filter(|place| equation[*place] != 0);
        places.next().filter(|_| places.next().is_none())
    });
    alone.collect()
}

/// The counts with the totals of rows and columns.
fn with_totals(cells: &[Vec<u64>]) -> Vec<Vec<u64>> {
    let mut table: Vec<Vec<u64>> = cells
        .iter()
        .map(|row| row.iter().copied().chain([row.iter().sum()]).collect())
        .collect();
    let sums = (0..table[0].len()).map(|column| table.iter().map(|row| row[column]).sum());
    let sums: Vec<u64> = sums.collect();
    table.push(sums);
    table
}

/// The suppressed counts of a table that follow from the rest.
fn told_of_table(hidden: &[Vec<bool>]) -> Vec<usize> {
    let (rows, columns) = (hidden.len(), hidden[0].len());
    let place = |row: usize, column: usize| row * columns + column;
    let unknowns = rows * columns;
    let mut equations = Vec::new();
    for row in 0..rows {
        let mut equation = vec![0; unknowns];
        for column in 0..columns {
            equation[place(row, column)] = if column + 1 == columns { MODULUS - 1 } else { 1 };
        }
        equations.push(equation);
    }
    for column in 0..columns {
        let mut equation = vec![0; unknowns];
        for row in 0..rows {
            equation[place(row, column)] = if row + 1 == rows { MODULUS - 1 } else { 1 };
        }
        equations.push(equation);
    }
    // What is shown is a number, and no unknown.
    for equation in &mut equations {
        for (place, value) in equation.iter_mut().enumerate() {
            if !hidden[place / columns][place % columns] {
                *value = 0;
            }
        }
    }
    told(equations, unknowns)
}

fn count() -> impl Strategy<Value = u64> {
    prop_oneof![4 => Just(0), 3 => 1u64..LIMIT, 3 => LIMIT..300]
}

fn table() -> impl Strategy<Value = Vec<Vec<u64>>> {
    (1usize..8, 1usize..8)
        .prop_flat_map(|(rows, columns)| prop::collection::vec(prop::collection::vec(count(), columns), rows))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn no_suppressed_count_of_a_table_follows_from_the_others(cells in table()) {
        let hidden = suppress_table(&cells, LIMIT);
        for (row, (values, hidden)) in with_totals(&cells).iter().zip(&hidden).enumerate() {
            prop_assert_eq!(values.len(), hidden.len());
            for (column, (value, hidden)) in values.iter().zip(hidden).enumerate() {
                prop_assert!(*hidden || !(1..LIMIT).contains(value), "{} at {},{} is shown", value, row, column);
            }
        }
        prop_assert_eq!(told_of_table(&hidden), Vec::<usize>::new(), "{:?}", hidden);
    }

    #[test]
    fn a_table_without_small_counts_is_shown_whole(cells in table()) {
        let cells: Vec<Vec<u64>> = cells
            .iter()
            .map(|row| row.iter().map(|value| if (1..LIMIT).contains(value) { LIMIT } else { *value }).collect())
            .collect();
        let hidden = suppress_table(&cells, LIMIT);
        prop_assert!(hidden.iter().flatten().all(|hidden| !hidden));
    }

    #[test]
    fn no_suppressed_count_of_a_line_follows_from_the_others(cells in prop::collection::vec(count(), 1..50)) {
        let total: u64 = cells.iter().sum();
        let line = suppress_line(&cells, total, LIMIT);
        for (value, hidden) in cells.iter().zip(&line.cells) {
            prop_assert!(*hidden || !(1..LIMIT).contains(value));
            // A 0 is shown: it tells of nobody.
            prop_assert!(!(*hidden && *value == 0));
        }
        prop_assert!(line.total || !(1..LIMIT).contains(&total));
        let hidden: Vec<u64> = cells.iter().zip(&line.cells).filter(|(_, hidden)| **hidden).map(|(value, _)| *value).collect();
        if !line.total && !hidden.is_empty() {
            // One is the difference; as many as their sum are ones.
            prop_assert!(hidden.len() >= 2);
            prop_assert!(hidden.iter().sum::<u64>() > hidden.len() as u64);
        }
        if line.total {
            prop_assert!(!hidden.is_empty());
        }
    }
}

#[test]
fn a_small_count_takes_the_smallest_of_its_neighbours_with_it() {
    let line = suppress_line(&[40, 3, 12, 0], 55, LIMIT);
    assert_eq!((line.cells, line.total), (vec![false, true, true, false], false));
    // A total that is small itself goes with its parts.
    let line = suppress_line(&[0, 3, 0], 3, LIMIT);
    assert_eq!((line.cells, line.total), (vec![false, true, false], true));
    let line = suppress_line(&[], 3, LIMIT);
    assert_eq!((line.cells, line.total), (vec![], true));
}

#[test]
fn counts_whose_sum_leaves_no_room_but_for_ones_take_another_with_them() {
    let line = suppress_line(&[1, 1, 1, 1, 1, 1, 9], 15, LIMIT);
    assert_eq!((line.cells, line.total), (vec![true; 7], false));
    let line = suppress_line(&[1, 1, 1, 1, 1, 1], 6, LIMIT);
    assert_eq!((line.cells, line.total), (vec![true; 6], true));
}

#[test]
fn a_small_count_of_a_table_is_hidden_by_a_circle_of_others() {
    let cells = vec![vec![20, 30, 4], vec![25, 50, 60], vec![70, 80, 90]];
    let hidden = suppress_table(&cells, LIMIT);
    // 4 with the cheapest of its row and column, and where these meet.
    let expected = [
        [true, false, true, false],
        [true, false, true, false],
        [false; 4],
        [false; 4],
    ];
    assert_eq!(hidden, expected.map(Vec::from));
}
