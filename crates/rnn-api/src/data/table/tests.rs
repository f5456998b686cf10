//! Tables as programs and people write them.

use super::*;

fn parse(text: &str) -> Result<Table> {
    Table::parse(text, &TableOptions::new())
}

fn error(text: &str) -> String {
    parse(text).unwrap_err().to_string()
}

#[test]
fn columns_by_name_and_number() {
    let table = parse("\"year\",\"a b\"\r\n\r\n1700,5\r\n1701,-1e1\r\n").unwrap();
    assert_eq!((table.rows(), table.width()), (2, 2));
    assert_eq!(table.numbers("a b", Missing::Error).unwrap(), [5.0, -10.0]);
    assert_eq!(table.numbers(0, Missing::Error).unwrap(), [1700.0, 1701.0]);
    let both = table.sequence(&["a b", "year"], Missing::Error).unwrap();
    assert_eq!(both.values(), [5.0, 1700.0, -10.0, 1701.0]);
    let text = table.strings("b").unwrap_err().to_string();
    assert_eq!(text, "there is no field \"b\" among year, a b");
    assert!(table.strings(2).is_err() && table.sequence::<usize>(&[], Missing::Error).is_err());
    let bare = Table::parse("1;2\n3;4", &TableOptions::new().with_header(false)).unwrap();
    assert_eq!(bare.numbers(1, Missing::Error).unwrap(), [2.0, 4.0]);
    assert!(bare.numbers("x", Missing::Error).is_err());
}

#[test]
fn quotes_delimiters_and_line_ends() {
    let table = parse("a\tb\n\"x\ty \"\"z\"\"\nsecond\"\t1\n\"\"\t2\n").unwrap();
    assert_eq!(table.strings("a").unwrap(), ["x\ty \"z\"\nsecond", ""]);
    assert_eq!(table.numbers("b", Missing::Error).unwrap(), [1.0, 2.0]);
    // The line break inside quotes counts for the line numbers that follow.
    assert_eq!(table.labels("a").unwrap_err().to_string().split(':').next(), Some("line 4, field \"a\""));
    assert!(error("a,b\n\"1,2\n3,4\n").starts_with("line 2: expected a closing quote"));
    assert!(error("a,b\n\"1\"x,2\n").starts_with("line 2: expected a delimiter"));
    let options = TableOptions::new().with_header(false).with_delimiter('→');
    assert_eq!(Table::parse("1→2", &options).unwrap().strings(1).unwrap(), ["2"]);
    assert!(Table::parse("a", &options.with_delimiter('"')).is_err());
    assert_eq!(parse("a,b\n1,\n").unwrap().strings("b").unwrap(), [""]);
}

#[test]
fn bad_rows_and_fields_are_named() {
    assert_eq!(error("a,b\n1,2\n1,2,3\n"), "line 3: expected 2 fields, got 3");
    assert_eq!(error("a,b\n"), "the table is empty");
    assert_eq!(error(""), "the table is empty");
    let twice = parse("a,a\n1,2\n").unwrap();
    assert!(twice.strings("a").unwrap_err().to_string().starts_with("field \"a\": expected a name that"));
    assert_eq!(twice.strings(1).unwrap(), ["2"]);
    let table = parse("a,b\n1,2\n3,x\nNA,1e40\n").unwrap();
    let text = |c: &str, missing| table.numbers(c, missing).unwrap_err().to_string();
    assert_eq!(text("b", Missing::Keep), "line 3, field \"b\": expected a number, got \"x\"");
    assert!(text("a", Missing::Error).starts_with("line 4, field \"a\": a value is missing"));
    assert!(table.numbers("a", Missing::Keep).unwrap()[2].is_nan());
}

/// The reader returns what a quoting writer wrote.
#[test]
fn any_fields_survive_quoting() {
    let mut rng = rnn_testing::data::SplitMix64::new(5);
    for _ in 0..200 {
        let (rows, width) = (1 + rng.next_below(5), 1 + rng.next_below(4));
        let alphabet = ['a', '"', ',', '\n', 'é', ' ', '\r', ';'];
        let mut field = || (0..rng.next_below(6)).map(|_| alphabet[rng.next_below(8)]).collect::<String>();
        let fields: Vec<Vec<String>> = (0..rows).map(|_| (0..width).map(|_| field()).collect()).collect();
        let quote = |field: &String| format!("\"{}\"", field.replace('"', "\"\""));
        let line = |row: &Vec<String>| row.iter().map(quote).collect::<Vec<_>>().join(",") + "\n";
        let text: String = fields.iter().map(line).collect();
        let options = TableOptions::new().with_header(false).with_delimiter(',');
        let table = Table::parse(&text, &options).unwrap();
        for (r, row) in fields.iter().enumerate() {
            for (c, want) in row.iter().enumerate() {
                assert_eq!(table.cell(r, c), want, "{text:?}");
            }
        }
    }
}

fn options() -> TableOptions {
    TableOptions::new()
}

#[test]
fn decimal_commas_and_own_marks() {
    let text = "Date;CO;T;;\r\n10/03/2004;2,6;-200;;\r\n10/03/2004;2;9,5;;\r\n;;;;\r\n;;;;\r\n";
    let table = Table::parse(text, &options().with_decimal_comma().with_missing_marks(["-200"])).unwrap();
    assert_eq!((table.rows(), table.width()), (2, 5));
    assert_eq!(table.numbers("CO", Missing::Error).unwrap(), [2.6, 2.0]);
    let error = table.numbers("T", Missing::Error).unwrap_err().to_string();
    assert!(error.starts_with("line 2, field \"T\": a value is missing"), "{error}");
    assert_eq!(table.doubles("T", Missing::Keep).unwrap()[1], 9.5);
    // Without the option the message names it.
    let plain = Table::parse(text, &options()).unwrap();
    let error = plain.numbers("CO", Missing::Error).unwrap_err().to_string();
    assert!(error.contains("got \"2,6\"; TableOptions::with_decimal_comma"), "{error}");
    // Quotes keep decimal commas apart from the delimiter; spaces do as well.
    for (text, options) in [
        ("a,b\n\"1,5\",\"2,5\"\n", options()),
        ("a,b\n\"1,5\",\"2,5\"\n", options().with_delimiter(',')),
        ("a b\n1,5 2,5\n", options()),
        ("1,5 2,5\n1,5  2,5\n", options().with_header(false)),
        ("a;b\n1,5;2,5\n", options()),
    ] {
        let table = Table::parse(text, &options.with_decimal_comma()).unwrap();
        assert_eq!(table.sequence(&[0, 1], Missing::Error).unwrap().values()[..2], [1.5, 2.5], "{text:?}");
    }
}

#[test]
fn empty_rows_end_a_table_and_count_within_it() {
    let table = parse("a,b\n1,2\n,\n3,4\n , \n,\n").unwrap();
    assert_eq!(table.rows(), 3);
    assert!(table.numbers("a", Missing::Keep).unwrap()[1].is_nan());
    // Quoted fields are values, though empty ones.
    assert_eq!(parse("a,b\n1,2\n\"\",\"\"\n").unwrap().rows(), 2);
    assert_eq!(error("a,b\n,\n"), "the table is empty");
}

#[test]
fn comments_and_skipped_lines() {
    let text = "# one, two\n  # three\nyear,co2\n1958,315.7\n#1959,0\n\n1960,316\n";
    let table = Table::parse(text, &options().with_comment('#')).unwrap();
    assert_eq!(table.names().unwrap(), ["year", "co2"]);
    assert_eq!(table.numbers("year", Missing::Error).unwrap(), [1958.0, 1960.0]);
    assert_eq!(table.labels("co2").map(|labels| labels.len()).unwrap(), 2);
    let skipped = Table::parse("made by X\nat noon\na;b\n1;x\n", &options().with_skip_lines(2)).unwrap();
    let message = skipped.numbers("b", Missing::Error).unwrap_err().to_string();
    assert!(message.starts_with("line 4, field \"b\""), "{message}");
    assert!(error("# note\na,b\n1,2\n").contains("TableOptions::with_comment"));
    for beyond in [9, usize::MAX] {
        assert!(Table::parse(text, &options().with_skip_lines(beyond)).is_err());
    }
    for comment in ['"', ' ', '\n'] {
        assert!(Table::parse(text, &options().with_comment(comment)).is_err());
    }
    let same = options().with_delimiter('#').with_comment('#');
    assert!(Table::parse(text, &same).unwrap_err().to_string().contains("TableOptions: comment"));
}

#[test]
fn runs_of_spaces() {
    let text = "  year   spots \n 1700\t 5.0\n1701    11  \n";
    for options in [options(), options().with_spaces()] {
        let table = Table::parse(text, &options).unwrap();
        assert_eq!(table.numbers("spots", Missing::Error).unwrap(), [5.0, 11.0]);
    }
    let quoted = Table::parse("a b\n\"x y\"  1\n", &options().with_spaces()).unwrap();
    assert_eq!(quoted.strings("a").unwrap(), ["x y"]);
    assert!(Table::parse("a b\n\"x\"y 1\n", &options().with_spaces()).is_err());
    // Words are one column unless told otherwise.
    assert_eq!(parse("name\nAnna Karenina\n").unwrap().width(), 1);
    assert_eq!(parse("a name\nAnna Karenina\n").unwrap().width(), 1);
}

#[test]
fn spaces_around_quotes_do_not_count() {
    let table = parse("a, \"b\" ,c\n \"1, 2\" , \"x\"\t,3\n").unwrap();
    assert_eq!(table.names().unwrap(), ["a", "b", "c"]);
    assert_eq!((table.strings("a").unwrap(), table.strings("b").unwrap()), (vec!["1, 2"], vec!["x"]));
    // A quote inside a field is a character.
    assert_eq!(parse("a,b\n5\" pipe,2\n").unwrap().strings("a").unwrap(), ["5\" pipe"]);
}

#[test]
fn delimiters_are_guessed_outside_quotes() {
    for (text, delimiter) in [
        ("\"a;b\",c\n1,2\n", ','),
        ("a;\"b,c,d\"\n1;2\n", ';'),
        ("\"x\ty\"|z\n1|2\n", '|'),
        ("temp; C,y\n1,2\n3,4\n", ','),
        ("a;b,c\n1,5;2,5\n", ';'),
        ("a\tb;c\n1\t2;3\n", '\t'),
        ("sep=|\na,b|c\n1,1|2\n", '|'),
    ] {
        let guessed = parse(text).unwrap();
        let known =
            Table::parse(text.trim_start_matches("sep=|\n"), &options().with_delimiter(delimiter)).unwrap();
        assert_eq!((guessed.width(), guessed.names()), (2, known.names()), "{text:?}");
    }
    // A long text, whose sample ends within a line.
    let long = format!("a;b\n{}", "\"1,1\";2\n".repeat(20_000));
    assert_eq!(parse(&long).unwrap().width(), 2);
}

#[test]
fn line_ends_of_every_system() {
    let rows = |text: &str| parse(text).unwrap().numbers("y", Missing::Error).unwrap();
    for text in ["x,y\r1,2\r3,4\r", "x,y\r\n1,2\r\n3,4", "x,y\n\n1,2\r\r\n3,4\n\n", "x,y\r\r1,2\n3,4\r"] {
        assert_eq!(rows(text), [2.0, 4.0], "{text:?}");
    }
    // Line breaks inside quotes count, whatever they are.
    let table = parse("a,b\r\"1\r\n2\r3\n4\",5\rx,y\r").unwrap();
    let message = table.numbers("b", Missing::Error).unwrap_err().to_string();
    assert!(message.starts_with("line 6, field \"b\""), "{message}");
}

#[test]
fn integers_that_f32_rounds_are_refused_by_column() {
    let table = parse("id,volume\n1,31234567\n2,5\n").unwrap();
    let message = table.numbers("volume", Missing::Error).unwrap_err().to_string();
    assert!(
        message.starts_with("line 2, field \"volume\": the integer 31234567 would be rounded"),
        "{message}"
    );
    assert!(message.contains("Table::doubles") && message.contains("with_rounded_integers"), "{message}");
    assert!(table.sequence(&["id", "volume"], Missing::Keep).is_err());
    assert_eq!(table.doubles("volume", Missing::Error).unwrap(), [31_234_567.0, 5.0]);
    let rounded = Table::parse("volume\n31234567\n", &options().with_rounded_integers()).unwrap();
    assert_eq!(rounded.numbers(0, Missing::Error).unwrap(), [31_234_568.0]);
}

/// Fields and rows whose lengths need more than a byte.
#[test]
fn long_fields_and_far_lines() {
    let (long, gap) = ("x".repeat(300), "\n".repeat(700));
    let text = format!("a,b\n{long},1\n{gap}y,{long}\n\"{gap}\",z\n");
    let table = parse(&text).unwrap();
    assert_eq!(table.strings("a").unwrap(), [&long[..], "y", &gap]);
    assert_eq!(table.strings("b").unwrap(), ["1", &long, "z"]);
    assert!(table.numbers("b", Missing::Error).unwrap_err().to_string().starts_with("line 703,"));
    let many: String = (0..1000).map(|row| format!("{row},{}\n", 2 * row)).collect();
    let table = Table::parse(&many, &options().with_header(false)).unwrap();
    assert_eq!(table.strings(1).unwrap()[777], "1554");
}
