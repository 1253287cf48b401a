//! Suppression of small numbers: what of a table of counts may be shown to whoever has no leave to see single pupils.
//!
//! Counts from 1 to below the limit are suppressed; 0 is shown. Further counts are suppressed with them, so that none follows
//! from its total and its neighbours: not by subtraction along one line, not by combining several lines, and not from there
//! being no room for anything but ones. Two answers put side by side (of two periods that overlap) are not looked at.

/// What of a row of counts has to be suppressed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SuppressedLine {
    /// For each count, whether it is suppressed.
    pub cells: Vec<bool>,
    /// Whether their total is.
    pub total: bool,
}

/// What of a row of counts that add up to a total has to be suppressed. A total below the sum (a pupil who counts in two groups,
/// once in the total) is treated alike.
pub fn suppress_line(cells: &[u64], total: u64, limit: u64) -> SuppressedLine {
    let mut values = cells.to_vec();
    values.push(total);
    let mut hidden: Vec<bool> = values.iter().map(|value| is_small(*value, limit)).collect();
    while let Some(place) = next_of_line(&values, &hidden) {
        hidden[place] = true;
    }
    let total = hidden.pop().unwrap_or_default();
    SuppressedLine { cells: hidden, total }
}

fn is_small(value: u64, limit: u64) -> bool {
    (1..limit).contains(&value)
}

/// What else of a line has to be hidden, the last of which is the total; nothing where what is hidden cannot be worked out.
fn next_of_line(values: &[u64], hidden: &[bool]) -> Option<usize> {
    let last = values.len() - 1;
    let count = hidden.iter().filter(|hidden| **hidden).count();
    if count == 0 {
        return None;
    }
    let sum: u64 = (0..last)
        .filter(|place| hidden[*place])
        .map(|place| values[place])
        .sum();
    // Of counts that add up to as many as they are, each is 1.
    let told_by_total = !hidden[last] && sum < count as u64 + 1;
    if count >= 2 && !told_by_total {
        return None;
    }
    let shown = (0..values.len()).filter(|place| !hidden[*place]);
    // The smallest that is left, cells before the total; one that is 0 only where there is no other.
    shown.min_by_key(|place| (values[*place] == 0, *place == last, values[*place]))
}

/// What of a table of counts with the totals of its rows and columns has to be suppressed: a row and a column more than the
/// table, the last of each for the totals.
///
/// The rows are to be of one length; what a shorter one lacks counts as 0.
pub fn suppress_table(cells: &[Vec<u64>], limit: u64) -> Vec<Vec<bool>> {
    let values = with_totals(cells);
    let mut hidden: Vec<Vec<bool>> = values
        .iter()
        .map(|row| row.iter().map(|value| is_small(*value, limit)).collect())
        .collect();
    loop {
        if let Some((row, column)) = told_alone(&hidden) {
            for (row, column) in cheapest_detour(&values, &hidden, row, column) {
                hidden[row][column] = true;
            }
        } else if let Some((row, column)) = told_by_its_line(&values, &hidden) {
            hidden[row][column] = true;
        } else {
            return hidden;
        }
    }
}

fn with_totals(cells: &[Vec<u64>]) -> Vec<Vec<u64>> {
    let width = cells.iter().map(Vec::len).max().unwrap_or(0);
    let mut values: Vec<Vec<u64>> = cells
        .iter()
        .map(|row| {
            let mut row = row.clone();
            row.resize(width, 0);
            row.push(row.iter().sum());
            row
        })
        .collect();
    values.push(
        (0..=width)
            .map(|column| values.iter().map(|row| row[column]).sum())
            .collect(),
    );
    values
}

/// A hidden count that follows from those that are shown. Rows and columns, those of the totals among them, are the nodes of a
/// graph, and hidden counts its edges: every line is an equation, and what solves them all with nothing shown is a circle on
/// which one is added and taken away in turn. So a count is told if and only if its edge lies on no circle.
fn told_alone(hidden: &[Vec<bool>]) -> Option<(usize, usize)> {
    let width = hidden.first().map_or(0, Vec::len);
    let all = (0..hidden.len()).flat_map(|row| (0..width).map(move |column| (row, column)));
    all.filter(|(row, column)| hidden[*row][*column]).find(|(row, column)| {
        let cost = |edge: (usize, usize)| hidden[edge.0][edge.1].then_some(0);
        shortest_path(hidden.len(), width, (*row, *column), cost).is_none()
    })
}

/// The counts that close a circle through a hidden one, those of the least sum that have to be hidden for it.
fn cheapest_detour(values: &[Vec<u64>], hidden: &[Vec<bool>], row: usize, column: usize) -> Vec<(usize, usize)> {
    // A 0 hides little: rather any other count than that.
    const OF_ZERO: u64 = 1 << 40;
    let cost = |(row, column): (usize, usize)| match (hidden[row][column], values[row][column]) {
        (true, _) => Some(0),
        (false, 0) => Some(OF_ZERO),
        (false, value) => Some(value.min(OF_ZERO - 1)),
    };
    let width = values.first().map_or(0, Vec::len);
    // A table has two rows and two columns at least, so there always is one; and if not, everything is hidden.
    shortest_path(values.len(), width, (row, column), cost).unwrap_or_else(|| {
        let all = (0..values.len()).flat_map(|row| (0..width).map(move |column| (row, column)));
        all.collect()
    })
}

/// The edges of the cheapest path from an edge's row to its column that does not use the edge itself.
fn shortest_path(
    rows: usize,
    columns: usize,
    edge: (usize, usize),
    cost: impl Fn((usize, usize)) -> Option<u64>,
) -> Option<Vec<(usize, usize)>> {
    // Rows are the nodes 0 to `rows`, columns those after them.
    let nodes = rows + columns;
    let (start, goal) = (edge.0, rows + edge.1);
    let mut best: Vec<Option<u64>> = vec![None; nodes];
    let mut before = vec![start; nodes];
    let mut done = vec![false; nodes];
    best[start] = Some(0);
    while let Some((so_far, node)) = (0..nodes)
        .filter(|node| !done[*node])
        .filter_map(|node| Some((best[node]?, node)))
        .min()
    {
        if node == goal {
            break;
        }
        done[node] = true;
        let others = if node < rows { rows..nodes } else { 0..rows };
        for other in others {
            let step = if node < rows {
                (node, other - rows)
            } else {
                (other, node - rows)
            };
            let Some(cost) = cost(step).filter(|_| step != edge) else {
                continue;
            };
            if best[other].is_none_or(|known| so_far + cost < known) {
                best[other] = Some(so_far + cost);
                before[other] = node;
            }
        }
    }
    best[goal]?;
    let mut path = Vec::new();
    let mut node = goal;
    while node != start {
        let from = before[node];
        path.push(if from < rows {
            (from, node - rows)
        } else {
            (node, from - rows)
        });
        node = from;
    }
    Some(path)
}

/// What else has to be hidden of a line whose hidden counts are told by their sum.
fn told_by_its_line(values: &[Vec<u64>], hidden: &[Vec<bool>]) -> Option<(usize, usize)> {
    let of_rows = (0..values.len()).find_map(|row| Some((row, next_of_line(&values[row], &hidden[row])?)));
    let width = values.first().map_or(0, Vec::len);
    of_rows.or_else(|| {
        (0..width).find_map(|column| {
            let of_column: Vec<u64> = values.iter().map(|row| row[column]).collect();
            let hidden: Vec<bool> = hidden.iter().map(|row| row[column]).collect();
            Some((next_of_line(&of_column, &hidden)?, column))
        })
    })
}
