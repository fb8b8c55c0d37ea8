//! The figures: a table for people, a file for machines.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::Serialize;
use serde_json::{Value, json};

use crate::Plan;
use crate::machine::Machine;
use crate::samples::Samples;

/// One line of the table.
#[derive(Clone, Debug, Serialize)]
pub struct Figure {
    pub what: String,
    pub measured: String,
    pub target: String,
    pub reached: Option<bool>,
    /// A count, the same on every machine: a quick run fails on it.
    pub exact: bool,
}

/// All that was measured.
pub struct Report {
    machine: Machine,
    command: String,
    figures: Vec<Figure>,
    samples: serde_json::Map<String, Value>,
}

impl Report {
    pub fn new(plan: &Plan) -> Result<Self> {
        let machine = Machine::look()?;
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        let command = format!("bench {}", arguments.join(" ")).trim().to_owned();
        eprintln!(
            "{command}, of {}, on {} cores of {}, {} GiB; load {}",
            machine.commit, machine.cores, machine.cpu, machine.memory_gib, machine.load_at_start
        );
        let mut report = Self {
            machine,
            command,
            figures: Vec::new(),
            samples: serde_json::Map::new(),
        };
        if !plan.quick {
            report.binary(plan)?;
        }
        Ok(report)
    }

    fn binary(&mut self, plan: &Plan) -> Result<()> {
        let operator = &plan.operator;
        let bytes = fs::metadata(operator)
            .with_context(|| format!("{}; has it been built?", operator.display()))?
            .len();
        let mib = bytes as f64 / f64::from(1 << 20);
        self.at_most("the binary", mib, 15.0, "MiB");
        Ok(())
    }

    /// A count that must be this.
    pub fn exactly(&mut self, what: &str, measured: usize, target: usize) {
        self.add(Figure {
            what: what.into(),
            measured: measured.to_string(),
            target: format!("exactly {target}"),
            reached: Some(measured == target),
            exact: true,
        });
    }

    /// A count that must not be exceeded.
    pub fn no_more(&mut self, what: &str, measured: usize, target: usize) {
        self.add(Figure {
            what: what.into(),
            measured: measured.to_string(),
            target: format!("≤ {target}"),
            reached: Some(measured <= target),
            exact: true,
        });
    }

    pub fn at_most(&mut self, what: &str, measured: f64, target: f64, unit: &str) {
        self.add(Figure {
            what: what.into(),
            measured: with_unit(measured, unit),
            target: format!("≤ {}", with_unit(target, unit)),
            reached: Some(measured <= target),
            exact: false,
        });
    }

    /// Medians, one beside the other.
    pub fn beside(&mut self, what: &str, unit: &str, ours: &Samples, floor: &Samples, most: f64) {
        let factor = ours.median() / floor.median();
        self.add(Figure {
            what: what.into(),
            measured: format!(
                "{} ({}–{}) beside {} ({}–{}): {factor:.2} ×",
                with_unit(ours.median(), unit),
                number(ours.least()),
                number(ours.most()),
                with_unit(floor.median(), unit),
                number(floor.least()),
                number(floor.most()),
            ),
            target: format!("≤ {most:.2} ×"),
            reached: Some(factor <= most),
            exact: false,
        });
    }

    /// What is told without a target.
    pub fn note(&mut self, what: &str, measured: String) {
        self.add(Figure {
            what: what.into(),
            measured,
            target: String::new(),
            reached: None,
            exact: false,
        });
    }

    fn add(&mut self, figure: Figure) {
        let Figure {
            what,
            measured,
            target,
            ..
        } = &figure;
        let missed = if figure.reached == Some(false) {
            "   MISSED"
        } else {
            ""
        };
        eprintln!("  {what}: {measured}   [{target}]{missed}");
        self.figures.push(figure);
    }

    /// The samples behind the figures, for the file.
    pub fn keep(&mut self, name: &str, samples: &impl Serialize) -> Result<()> {
        self.samples
            .insert(name.to_owned(), serde_json::to_value(samples)?);
        Ok(())
    }

    /// Prints the table and writes the file. A quick run fails on a count that is not exact.
    pub fn finish(self, json: &Path) -> Result<()> {
        let figures = json!({
            "machine": self.machine,
            "command": self.command,
            "figures": self.figures,
            "samples": self.samples,
        });
        if let Some(folder) = json.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(json, format!("{figures:#}\n"))?;
        println!("{}", self.table());
        let missed = |it: &&Figure| it.exact && it.reached == Some(false);
        let missed: Vec<&str> = self
            .figures
            .iter()
            .filter(missed)
            .map(|it| it.what.as_str())
            .collect();
        if !missed.is_empty() {
            bail!("not exact: {}", missed.join("; "));
        }
        Ok(())
    }

    fn table(&self) -> String {
        let machine = &self.machine;
        let mut text = format!(
            "`{}`, of {}; {} cores of {}, {} GiB, Linux {}\n\n\
             | figure | measured | to reach | |\n|---|---|---|---|\n",
            self.command,
            machine.commit,
            machine.cores,
            machine.cpu,
            machine.memory_gib,
            machine.kernel,
        );
        for figure in &self.figures {
            let mark = match figure.reached {
                Some(true) => "reached",
                Some(false) => "**missed**",
                None => "",
            };
            let Figure {
                what,
                measured,
                target,
                ..
            } = figure;
            let _ = writeln!(text, "| {what} | {measured} | {target} | {mark} |");
        }
        text
    }
}

fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

fn with_unit(value: f64, unit: &str) -> String {
    format!("{} {unit}", number(value))
}
