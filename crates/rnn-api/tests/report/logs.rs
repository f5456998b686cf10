//! Pages from logs, whole ones and others.

use crate::check_page;
use crate::folder::Folder;
use rnn_api::train::report_of_logs;
use std::fmt::Write as _;
use std::io::Write as _;

/// The lines of a run with this many steps and a validation after each `every` of them.
fn log(steps: u64, every: u64, rate: f64, ended: bool) -> String {
    let mut text = format!(
        "{{\"event\":\"started\",\"format\":1,\"num_parameters\":12,\"device\":\"cpu\",\"epochs\":3,\
         \"steps_per_epoch\":{every},\"resumed_step\":0,\"planned_steps\":{steps},\
         \"settings\":{{\"lr\":\"{rate}\",\"seed\":\"1\"}},\"shapes\":[[\"weight\",[3,4]]]}}\n"
    );
    let mut best = f64::INFINITY;
    for step in 1..=steps {
        let loss = 1.0 / (1.0 + step as f64 * rate);
        writeln!(
            text,
            "{{\"event\":\"step\",\"step\":{step},\"epoch\":{},\"loss\":{loss},\"lr\":{rate},\"grad_norm\":0.5,\
             \"skipped\":false,\"update_ratio\":0.001,\"update_ratios\":{{\"weight\":0.001}},\"seconds\":{}}}",
            (step - 1) / every,
            step as f64 * 0.01
        )
        .unwrap();
        if step.is_multiple_of(every) {
            let is_best = loss < best;
            best = best.min(loss);
            writeln!(
                text,
                "{{\"event\":\"validated\",\"step\":{step},\"epoch\":0,\"score\":{{\"name\":\"mse\",\"value\":{loss},\
                 \"goal\":\"Min\",\"baseline\":0.9}},\"is_best\":{is_best}}}"
            )
            .unwrap();
        }
    }
    if ended {
        writeln!(
            text,
            "{{\"event\":\"ended\",\"why\":\"all epochs are done\",\"reason\":\"completed\",\"steps\":{steps},\"best\":null,\
             \"last\":null,\"epochs\":[],\"seconds\":{}}}",
            steps as f64 * 0.01
        )
        .unwrap();
    }
    text
}

/// The page of a log with this content.
fn page(content: impl AsRef<[u8]>) -> rnn_api::Result<String> {
    let folder = Folder::new();
    let path = folder.write("run.jsonl", content);
    report_of_logs(&[path], folder.join("below/x.html"))?;
    let page = folder.read("below/x.html");
    check_page(&page);
    Ok(page)
}

#[test]
fn a_log_that_is_cut_off_gives_a_page_at_every_byte() {
    let whole = log(3, 2, 0.1, true);
    let first = whole.find('\n').unwrap();
    for end in (first + 1..=whole.len()).step_by(7) {
        let page = page(&whole[..end]).unwrap();
        let complete = whole[..end].ends_with('\n') || whole[..end].ends_with("}");
        assert_eq!(page.contains("cannot be read"), !complete, "{end} bytes");
    }
    let page = page(&whole[..whole.len() - 30]).unwrap();
    assert!(page.contains("line 6 of the log cannot be read") && page.contains("The log has no end"));
    assert!(page.contains("data-state=\"unfinished\""));
}

#[test]
fn later_formats_are_refused_and_later_lines_left_out() {
    let later = log(2, 1, 0.1, true).replace("\"format\":1", "\"format\":2");
    let refused = page(later).unwrap_err().to_string();
    assert!(
        refused.contains("run.jsonl") && refused.contains("a log of format 2; this version reads up to 1")
    );
    let more = log(2, 1, 0.1, true).replace("\"skipped\":false", "\"skipped\":false,\"colour\":{\"of\":[1]}")
        + "{\"event\":\"dreamt\",\"of\":\"sheep\"}\n";
    let page = page(more).unwrap();
    assert!(page.contains("1 lines of kinds that this version does not know") && page.contains("Best mse"));
}

#[test]
fn what_is_no_log_is_refused() {
    for (content, why) in [
        (&b""[..], "an empty log"),
        (b"\n\n", "an empty log"),
        (b"hello\nworld\n", "not a log"),
        (b"\xff\xfe\x00\x01", "not a log"),
        (b"{\"loss\":1}", "not a log"),
    ] {
        let refused = page(content).unwrap_err().to_string();
        assert!(refused.contains(why) && refused.contains("run.jsonl"), "{refused}");
    }
    let folder = Folder::new();
    let absent =
        report_of_logs(&[folder.join("absent.jsonl")], folder.join("x.html")).unwrap_err().to_string();
    assert!(absent.contains("absent.jsonl"), "{absent}");
    let none: [&str; 0] = [];
    let none = report_of_logs(&none, folder.join("x.html")).unwrap_err().to_string();
    assert!(none.contains("at least one"), "{none}");
    let log = folder.write("a.jsonl", log(1, 1, 0.1, true));
    let in_the_way = folder.write("file", "");
    let refused = report_of_logs(&[&log], in_the_way.join("x.html")).unwrap_err().to_string();
    assert!(refused.contains("x.html"), "{refused}");
    let many = vec![log; 25];
    let refused = report_of_logs(&many, folder.join("x.html")).unwrap_err().to_string();
    assert!(refused.contains("at most 24 runs"), "{refused}");
}

#[test]
fn a_log_without_its_beginning_or_of_the_first_version_has_a_page() {
    let whole = log(4, 2, 0.1, true);
    let page_of = page(&whole[whole.find('\n').unwrap() + 1..]).unwrap();
    assert!(page_of.contains("the log has no beginning") && page_of.contains("Best mse"));
    // The first version had neither format, settings, shapes nor reasons in words.
    let first = whole.replace("\"format\":1,", "").replace("\"why\":\"all epochs are done\",", "");
    let start = first.find(",\"settings\"").unwrap();
    let first = format!("{}}}{}", &first[..start], &first[first.find('\n').unwrap()..]);
    let page = page(first).unwrap();
    assert!(page.contains("It ended: completed.") && page.contains("Best mse"));
}

#[test]
fn findings_of_a_log_are_part_of_the_answer() {
    let finding = "\"findings\":[{\"rule\":\"clipping\",\"severity\":\"warning\",\"sentence\":\"Clipped in most <steps>.\",\
                   \"evidence\":\"90 %\",\"remedy\":\"A smaller rate.\",\"code\":\"\"}],";
    let text = log(4, 2, 0.1, true).replace("\"last\":null,", &format!("\"last\":null,{finding}"));
    let page = page(text).unwrap();
    let answer = &page[..page.find("<h2>").unwrap()];
    assert!(answer.contains("Clipped in most &lt;steps&gt;.") && answer.contains("A smaller rate."));
}

#[test]
fn two_runs_in_a_log_are_two_runs() {
    let page = page(log(4, 2, 0.1, true) + &log(6, 2, 0.4, true)).unwrap();
    assert!(page.contains("2 runs side by side") && page.contains("the log holds 2 runs"));
    assert!(page.contains("Best is <strong>run (2)</strong>"));
}

#[test]
fn runs_stand_side_by_side_with_what_differs() {
    let folder = Folder::new();
    let a = folder.write("a.jsonl", log(40, 10, 0.1, true));
    let b = folder.write("b<i>.jsonl", log(30, 10, 0.3, false));
    report_of_logs(&[a.clone(), b, a], folder.join("x.html")).unwrap();
    let page = folder.read("x.html");
    check_page(&page);
    assert!(
        page.contains("3 runs side by side")
            && page.contains("Best is <strong>b&lt;i&gt;</strong> with mse 0.1")
    );
    assert!(!page.contains("<i>.jsonl") && page.contains("a [2]"));
    let differ = &page[page.find("<h2>Settings that differ").unwrap()..];
    let differ = &differ[..differ.find("settings are the same").unwrap()];
    assert!(differ.contains("<th>lr</th><td>0.1</td><td>0.3</td><td>0.1</td>") && !differ.contains("seed"));
    // A chart has a line per run, in colours of their own.
    let chart = &page[page.find("Validation: mse").unwrap()..];
    let chart = &chart[..chart.find("</figure>").unwrap()];
    assert_eq!(chart.matches("class=\"l c").count(), 6, "in the legend and in the drawing");
    assert!(["l c0", "l c1", "l c2"].iter().all(|line| chart.contains(line)));
}

#[test]
fn names_are_never_markup() {
    let evil = "<img/onerror=alert(1)>\\\"'</script><script>";
    let text = log(4, 2, 0.1, true);
    let text = text.replace("\"mse\"", &format!("\"{evil}\"")).replace("\"weight\"", &format!("\"{evil}\""));
    let text = text.replace("\"seed\"", &format!("\"{evil}\"")).replace("\"cpu\"", &format!("\"{evil}\""));
    let page = page(text.replace("all epochs are done", evil)).unwrap();
    assert!(page.contains("&lt;img/onerror=alert(1)&gt;"));
    assert!(!page.contains("<img") && page.matches("</script>").count() == 1);
}

#[test]
fn values_that_are_not_finite_are_marked() {
    let text = log(6, 2, 0.1, true).replace(
        "\"step\":3,\"epoch\":1,\"loss\":0.7692307692307692",
        "\"step\":3,\"epoch\":1,\"loss\":null",
    );
    assert!(text.contains("null,\"lr\""));
    let page = page(text.replace("\"weight\":0.001", "\"weight\":null")).unwrap();
    assert!(page.contains("not finite") && page.contains("class=\"bad\" style="));
}

#[test]
fn a_million_steps_are_a_small_page() {
    let folder = Folder::new();
    let path = folder.join("long.jsonl");
    let mut file = std::io::BufWriter::new(std::fs::File::create(&path).unwrap());
    let head = log(1, 1, 0.1, false);
    writeln!(file, "{}", head.lines().next().unwrap()).unwrap();
    for step in 1..=1_000_000u64 {
        let loss = if step == 654_321 { 9.5 } else { 1.0 };
        writeln!(file, "{{\"event\":\"step\",\"step\":{step},\"loss\":{loss},\"lr\":0.1,\"grad_norm\":0.5}}")
            .unwrap();
        if step % 100 == 0 {
            writeln!(file, "{{\"event\":\"validated\",\"step\":{step},\"epoch\":0,\"score\":{{\"name\":\"mse\",\"value\":1.0,\"goal\":\"Min\",\"baseline\":null}},\"is_best\":{}}}", step == 100).unwrap();
        }
    }
    drop(file);
    report_of_logs(&[&path], folder.join("x.html")).unwrap();
    let page = folder.read("x.html");
    check_page(&page);
    assert!(page.len() < 200_000, "{} bytes", page.len());
    assert!(page.contains("1\u{202f}000\u{202f}000") && page.contains("The pale area is the range"));
}
