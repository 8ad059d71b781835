//! Text in columns.

/// Rows under a head, columns as wide as their widest cell; numbers stand at the right.
pub fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let width = |at: usize| {
        let cells = rows.iter().filter_map(|row| row.get(at)).map(|cell| cell.chars().count());
        cells.chain([head[at].chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let numeric: Vec<bool> = (0..head.len())
        .map(|at| {
            let mut cells = rows.iter().filter_map(|row| row.get(at));
            rows.iter().any(|row| row.get(at).is_some_and(|cell| !cell.is_empty()))
                && cells.all(|cell| cell.chars().all(|c| c.is_ascii_digit() || c == '-'))
        })
        .collect();
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let padded: Vec<String> = cells
            .enumerate()
            .map(|(at, cell)| {
                let fill = " ".repeat(widths[at].saturating_sub(cell.chars().count()));
                if numeric[at] { format!("{fill}{cell}") } else { format!("{cell}{fill}") }
            })
            .collect();
        padded.join("  ").trim_end().to_owned() + "\n"
    };
    let mut text = line(&mut head.iter().copied());
    for row in rows {
        text.push_str(&line(&mut row.iter().map(String::as_str)));
    }
    text
}

/// `1536` is `1.5 KiB`.
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if count < 1024 {
        return format!("{count} B");
    }
    let (mut value, mut unit) = (count, 0);
    while value >= 1024 * 1024 && unit + 1 < UNITS.len() {
        (value, unit) = (value / 1024, unit + 1);
    }
    format!("{}.{} {}", value / 1024, value % 1024 * 10 / 1024, UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let rows = vec![vec!["ä".to_owned(), "7".to_owned()], vec!["long".to_owned(), "12".to_owned()]];
        assert_eq!(table(&["name", "n"], &rows), "name   n\nä      7\nlong  12\n");
        assert_eq!(table(&["a"], &[]), "a\n");
    }

    #[test]
    fn sizes_are_read_at_a_glance() {
        for (count, text) in
            [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (5 << 20, "5.0 MiB"), (3 << 40, "3.0 TiB")]
        {
            assert_eq!(bytes(count), text);
        }
    }
}
