//! What the rules found.

use serde::{Deserialize, Serialize};
use std::fmt;

/// How much a finding matters. Findings are ranked by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Worth knowing.
    Note,
    /// It costs quality or time.
    Warning,
    /// The network does not learn what it should, most likely because of this.
    Problem,
}

/// What a rule is about. Among findings of the same severity, those of earlier rules come first: they are causes of later
/// ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Rule {
    /// The state is carried from batch to batch, but the batches are shuffled.
    ShuffledStreams,
    /// Inputs of a recurrent layer are far from unit scale.
    InputScale,
    /// The learning rate is too high.
    RateTooHigh,
    /// The learning rate is too low.
    RateTooLow,
    /// A value was not finite.
    NonFinite,
    /// Forget gates are shut, so the memory is short.
    ShortMemory,
    /// The gradient grows on its way back in time.
    GradientExplodes,
    /// The gradient vanishes on its way back in time.
    GradientVanishes,
    /// Relu units are always zero.
    DeadUnits,
    /// Gates are saturated.
    SaturatedGates,
    /// The first loss is far from what chance gives.
    FirstLoss,
    /// Most labels are of one class.
    UnbalancedLabels,
    /// The score is not better than the baseline.
    NotBetterThanBaseline,
    /// The validation score gets worse while the training loss falls.
    Overfitting,
    /// The validation loss is far below the training loss.
    ValidationBelowTraining,
    /// The gradient is clipped in most steps.
    Clipping,
    /// Most steps of the batch are padding.
    Padding,
    /// The loss has stopped falling.
    Plateau,
}

impl Rule {
    /// All rules.
    pub const ALL: [Rule; 18] = [
        Rule::ShuffledStreams,
        Rule::InputScale,
        Rule::RateTooHigh,
        Rule::RateTooLow,
        Rule::NonFinite,
        Rule::ShortMemory,
        Rule::GradientExplodes,
        Rule::GradientVanishes,
        Rule::DeadUnits,
        Rule::SaturatedGates,
        Rule::FirstLoss,
        Rule::UnbalancedLabels,
        Rule::NotBetterThanBaseline,
        Rule::Overfitting,
        Rule::ValidationBelowTraining,
        Rule::Clipping,
        Rule::Padding,
        Rule::Plateau,
    ];

    /// The name in JSON, which is also that of its section in `docs/doctor.md`.
    pub fn name(self) -> &'static str {
        match self {
            Rule::NonFinite => "non_finite",
            Rule::GradientExplodes => "gradient_explodes",
            Rule::GradientVanishes => "gradient_vanishes",
            Rule::InputScale => "input_scale",
            Rule::RateTooHigh => "rate_too_high",
            Rule::RateTooLow => "rate_too_low",
            Rule::SaturatedGates => "saturated_gates",
            Rule::ShortMemory => "short_memory",
            Rule::DeadUnits => "dead_units",
            Rule::FirstLoss => "first_loss",
            Rule::NotBetterThanBaseline => "not_better_than_baseline",
            Rule::Overfitting => "overfitting",
            Rule::ValidationBelowTraining => "validation_below_training",
            Rule::UnbalancedLabels => "unbalanced_labels",
            Rule::ShuffledStreams => "shuffled_streams",
            Rule::Padding => "padding",
            Rule::Clipping => "clipping",
            Rule::Plateau => "plateau",
        }
    }

    /// The address of its section of the documentation.
    pub fn section(self) -> String {
        format!("docs/doctor.md#{}", self.name())
    }
}

/// One thing that is wrong, or worth knowing.
///
/// Its `Display` is for people: the sentence, the evidence, the remedy, and where to read more.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Finding {
    /// The rule.
    pub rule: Rule,
    /// How much it matters.
    pub severity: Severity,
    /// What is wrong, in one sentence.
    pub sentence: String,
    /// The numbers behind it.
    pub evidence: String,
    /// What to do, in one or two sentences.
    pub remedy: String,
    /// The remedy as code; empty if there is none.
    pub code: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.sentence)?;
        writeln!(f, "  evidence: {}", self.evidence)?;
        writeln!(f, "  remedy:   {}", self.remedy)?;
        for line in self.code.lines() {
            writeln!(f, "            {line}")?;
        }
        write!(f, "  more:     {}", self.rule.section())
    }
}
