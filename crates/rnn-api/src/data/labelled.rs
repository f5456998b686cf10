//! Windows with a label each, to classify what happens in them.

use super::host::HostArray;
use super::labels::Classes;
use super::recordings::Recordings;
use super::windows::{WindowConfig, WindowLabel, Windows};
use crate::{Error, Result};

/// Windows over [`Recordings`], each with the class of its steps. Made by [`Windows::labelled`]. Cheap to clone.
#[derive(Clone, Debug)]
pub struct LabelledWindows {
    windows: Windows,
    labels: Vec<u32>,
    /// The group of each recording.
    groups: Vec<String>,
}

/// Some windows with their labels as a batch.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct LabelledBatch {
    /// Inputs, `[window, B, features]`.
    pub x: HostArray<f32>,
    /// Class numbers, `[B]`.
    pub y: HostArray<u32>,
}

impl Windows {
    /// Cuts all windows of the recordings and gives each the class that [`WindowConfig::label`] says. No window spans two
    /// recordings. Split the recordings before ([`Recordings::split`]): windows that overlap must not be on both sides.
    ///
    /// # Errors
    /// A size is 0; targets, a gap or a horizon are set, which labelled windows do not have; a value is missing; a label
    /// is not among the classes; a recording is too short and such recordings are not skipped; or there is no window at
    /// all.
    pub fn labelled(
        recordings: &Recordings,
        classes: &Classes,
        config: &WindowConfig,
    ) -> Result<LabelledWindows> {
        let unused = [
            ("horizon", config.horizon != 1, config.horizon.to_string()),
            ("gap", config.gap != 0, config.gap.to_string()),
            ("targets", config.targets.is_some(), format!("{:?}", config.targets)),
        ];
        if let Some((field, _, got)) = unused.into_iter().find(|(_, set, _)| *set) {
            return Err(Error::config("WindowConfig", field, "the default, as the targets are labels", got));
        }
        let windows = Windows::inputs(recordings.sequences().to_vec(), config)?;
        let of_steps: Vec<Vec<u32>> = (0..recordings.len())
            .map(|recording| classes.encode(&recordings.labels_of_recording(recording)))
            .collect::<Result<_>>()?;
        let mut counts = vec![0; classes.len()];
        let mut labels = Vec::with_capacity(windows.len());
        let windows = windows.filtered(|recording, start| {
            let steps = &of_steps[recording][start..start + config.window];
            let label = label(steps, config.label, &mut counts);
            labels.extend(label);
            label.is_some()
        })?;
        Ok(LabelledWindows { windows, labels, groups: recordings.groups().to_vec() })
    }
}

/// The label of a window with these labels; `None` if the window is left out. `counts` has a place per class, with 0.
fn label(steps: &[u32], rule: WindowLabel, counts: &mut [u32]) -> Option<u32> {
    let last = *steps.last()?;
    match rule {
        WindowLabel::Last => Some(last),
        WindowLabel::Unanimous => steps.iter().all(|&step| step == last).then_some(last),
        WindowLabel::Majority => {
            steps.iter().for_each(|&step| counts[step as usize] += 1);
            let better = |best: u32, step: u32| {
                if counts[step as usize] > counts[best as usize] { step } else { best }
            };
            let best = steps.iter().rev().copied().fold(last, better);
            steps.iter().for_each(|&step| counts[step as usize] = 0);
            Some(best)
        }
    }
}

impl LabelledWindows {
    /// The number of windows, at least 1.
    pub fn len(&self) -> usize {
        self.windows.len()
    }

    /// Always false.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// The class number of each window.
    pub fn labels(&self) -> &[u32] {
        &self.labels
    }

    /// The group of each window.
    pub fn groups(&self) -> Vec<&str> {
        let group = |window| self.origin(window).map_or("", |(recording, _)| self.groups[recording].as_str());
        (0..self.len()).map(group).collect()
    }

    /// The recording and the first step of a window.
    pub fn origin(&self, window: usize) -> Option<(usize, usize)> {
        self.windows.origin(window)
    }

    /// A batch of these windows, in this order.
    ///
    /// # Errors
    /// No windows are given, a window does not exist, or the batch does not fit into memory.
    pub fn batch(&self, indices: &[usize]) -> Result<LabelledBatch> {
        let x = self.windows.input(indices)?;
        let labels = indices.iter().map(|&window| self.labels[window]).collect();
        Ok(LabelledBatch { x, y: HostArray::from_parts(labels, &[indices.len()]) })
    }

    /// All windows as one batch.
    ///
    /// # Errors
    /// The batch does not fit into memory.
    pub fn all(&self) -> Result<LabelledBatch> {
        self.batch(&(0..self.len()).collect::<Vec<_>>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Labels, Missing, RecordingColumns, Table, TableOptions};

    /// Recordings of one letter per step as its label; the value counts the rows of the table.
    fn recordings(of_groups: &[&str]) -> Recordings {
        let mut text = "group,x,label\n".to_string();
        for (group, labels) in of_groups.iter().enumerate() {
            for label in labels.chars() {
                text += &format!("g{group},{},{label}\n", text.lines().count() - 1);
            }
        }
        let table = Table::parse(&text, &TableOptions::new()).unwrap();
        table.recordings(&RecordingColumns::new(["x"], "group", "label"), Missing::Error).unwrap()
    }

    fn classes() -> Classes {
        Classes::fit(&Labels::new(["a", "b", "c"])).unwrap()
    }

    #[test]
    fn windows_have_the_label_of_their_steps() {
        let all = recordings(&["aabbbc", "ccab"]);
        let config = WindowConfig::new(4).with_stride(2);
        let windows = Windows::labelled(&all, &classes(), &config).unwrap();
        // aabb: the later of two equal counts; bbbc; ccab.
        assert_eq!((windows.labels(), windows.groups()), (&[1, 1, 2][..], vec!["g0", "g0", "g1"]));
        assert_eq!((windows.len(), windows.origin(2), windows.origin(3)), (3, Some((1, 0)), None));
        let batch = windows.batch(&[2, 1]).unwrap();
        assert_eq!((batch.x.dims(), batch.y.dims()), (&[4, 2, 1][..], &[2][..]));
        assert_eq!(batch.x.values(), [6.0, 2.0, 7.0, 3.0, 8.0, 4.0, 9.0, 5.0]);
        assert_eq!(batch.y.values(), [2, 1]);
        assert_eq!(windows.all().unwrap().y.values(), windows.labels());

        let last =
            Windows::labelled(&all, &classes(), &config.clone().with_label(WindowLabel::Last)).unwrap();
        assert_eq!(last.labels(), [1, 2, 1]);
        let config = WindowConfig::new(2).with_label(WindowLabel::Unanimous);
        let same = Windows::labelled(&all, &classes(), &config).unwrap();
        assert_eq!((same.labels(), same.origin(3)), (&[0, 1, 1, 2][..], Some((1, 0))));
    }

    #[test]
    fn nonsense_is_refused_by_name() {
        let error = |of_groups: &[&str], config: &WindowConfig| {
            Windows::labelled(&recordings(of_groups), &classes(), config).unwrap_err().to_string()
        };
        let config = WindowConfig::new(3);
        assert_eq!(
            error(&["abc", "ab"], &config),
            "sequence 1: a sequence of 2 steps is too short, 3 are needed"
        );
        assert_eq!(error(&["ab"], &config.clone().with_skip_short(true)), "the list of windows is empty");
        assert_eq!(
            error(&["abc"], &config.clone().with_label(WindowLabel::Unanimous)),
            "the list of windows is empty"
        );
        assert!(error(&["abd"], &config).starts_with("line 4: the label \"d\" is not among"));
        assert!(
            error(&["abc"], &config.clone().with_horizon(2))
                .contains("WindowConfig: horizon must be the default")
        );
        assert!(
            error(&["abc"], &config.clone().with_gap(1)).contains("WindowConfig: gap must be the default")
        );
        assert!(error(&["abc"], &config.clone().with_targets([0])).contains("WindowConfig: targets must be"));
        assert!(error(&["abc"], &WindowConfig::new(0)).contains("window must be at least 1"));
        let windows = Windows::labelled(&recordings(&["abc"]), &classes(), &config).unwrap();
        assert!(windows.batch(&[]).is_err() && windows.batch(&[1]).is_err());
    }
}
